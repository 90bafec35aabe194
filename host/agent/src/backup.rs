//! Backing up: decide the level, claim its place, let the mode freeze, send the bytes down the road, thaw, commit.
//!
//! The mode is told the outcome before the manifest is written, since the manifest holds its note and a dump that
//! failed must not become a backup. Whatever ends a run early leaves nothing that looks like a backup; the first
//! cause is what the user sees.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::layout::{BackupKeys, Engine};
use freezer_format::level::{FullReason, LevelPolicy};
use freezer_format::manifest::{
    Encryption, FORMAT, FileSystem, IndexFacts, MAX_WARNINGS, Manifest, ObjectFacts, ParentLink, PluginUse,
    Status, StreamKdf,
};
use freezer_format::name::{HostBackupName, LevelId};
use freezer_format::openssl::Kdf;
use freezer_pipeline::counters::{Warning, WarningKind};
use freezer_pipeline::source::{ExcludeRules, FileSystemId};
use freezer_pipeline::store::Store;
use freezer_pipeline::{
    BackupError, BackupJob, BackupReport, Dereference, Encoding, ObjectKeys, RunContext, TreeSource,
};
use freezer_plugin::ModeSource;

use crate::catalogue::label;
use crate::commit;
use crate::continuity::{KIND_OPTION, source_kind};
use crate::dry::DryStore;
use crate::error::{AgentError, ExitClass};
use crate::estimate::estimate;
use crate::facts::{counts, data_facts, noted_warning};
use crate::keys::Keyring;
use crate::mode::{BackupMode, PreparedBackup};
use crate::own_storage;
use crate::plan::{HOST_OPTION, Plan, decide};
use crate::restore::outcome_of;

/// The manifest's option that holds the name which the mode gave to its source.
pub(crate) const SOURCE_OPTION: &str = "source";

/// What is left out of a tree.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    /// Lines with gitignore's meaning.
    pub gitignore: Vec<String>,
    /// Patterns with the meaning of GNU tar's `--exclude`.
    pub tar: Vec<String>,
    /// Whether tagged cache directories are kept without their content.
    pub caches: bool,
}

/// What is to be backed up, and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Host and backup name.
    pub name: HostBackupName,
    /// The host alone, for the list.
    pub host: String,
    /// When a new chain begins.
    pub policy: LevelPolicy,
    /// The path that the user named, for the manifest.
    pub path: Option<PathBuf>,
    /// The mode's name.
    pub mode: String,
    /// The plugins that take part.
    pub plugins: Vec<PluginUse>,
    /// Program and version.
    pub tool: String,
    /// The options that shape the content, for the manifest.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What is left out.
    pub excludes: Excludes,
    /// Directories of this machine in which the storage keeps its objects: left out too.
    pub storage_directories: Vec<PathBuf>,
    /// Whether directories on other file systems are kept as empty ones.
    pub one_file_system: bool,
    /// Which links are replaced by what they point to.
    pub dereference: Dereference,
    /// How the stream is compressed.
    pub compression: Compression,
    /// How hard; `None` is the format's usual level.
    pub compression_level: Option<u32>,
    /// Whether the original must be able to restore and continue it.
    pub compat: bool,
    /// Iterations of a new chain key's wrapping; `None` is the usual number, 1 suits a pass file of 256 random bits.
    pub wrap_iterations: Option<u32>,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of buffers that the road may hold.
    pub memory_bytes: u64,
    /// Most threads that compress.
    pub workers: usize,
    /// Whether everything is read and nothing written.
    pub dry_run: bool,
}

/// What was backed up.
#[derive(Debug, Clone)]
pub struct BackupOutcome {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Its place in the chain.
    pub id: LevelId,
    /// The level it was made against.
    pub parent: Option<LevelId>,
    /// Why a chain was begun; `None` for an increment.
    pub full_reason: Option<FullReason>,
    /// The storage's URL.
    pub storage: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How it is compressed.
    pub compression: Compression,
    /// Nothing was written.
    pub dry_run: bool,
    /// What the road reports.
    pub report: BackupReport,
}

impl BackupOutcome {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        if self.report.partial {
            ExitClass::Partial
        } else {
            ExitClass::Ok
        }
    }
}

/// Backs up a tree.
///
/// # Errors
/// The options don't go together, the storage, the mode or the source fails, or the user stops it. Nothing
/// visible is left, except after [`AgentError::CommitUnknown`].
pub fn backup(
    store: &Arc<dyn Store>,
    options: &BackupOptions,
    keyring: &Keyring,
    mode: &dyn BackupMode,
    context: &RunContext<'_>,
) -> Result<BackupOutcome, AgentError> {
    check_compat(options)?;
    let mut plan = decide(store, options, keyring, context)?;
    check_source(options, &plan)?;
    // Warnings from all sides go into the manifest; the road reports only its own.
    let noted = Mutex::new(Vec::new());
    let note = |warning: Warning| {
        (context.warn)(&warning);
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    };
    for warning in plan_warnings(&plan, options, keyring) {
        note(warning);
    }
    let mut run = [0; 8];
    (context.random)(&mut run);
    let run = hex::encode(run);
    let target: Arc<dyn Store> = if options.dry_run {
        Arc::new(DryStore::new(Arc::clone(store)))
    } else {
        Arc::clone(store)
    };
    let keys = commit::claim(&*target, &options.name, &mut plan, (&run, context.cancel))?;
    let writing = Writing {
        store,
        target: &target,
        options,
        keyring,
        context,
        keys: &keys,
        run: &run,
    };
    let written = writing.write(&mut plan, mode, &noted);
    match written {
        Ok(report) => Ok(BackupOutcome {
            name: options.name.clone(),
            id: plan.id,
            parent: plan.parent().map(|parent| parent.stored.id),
            full_reason: plan.reason,
            storage: store.url().to_owned(),
            encrypted: plan.key.is_some(),
            compression: options.compression,
            dry_run: options.dry_run,
            report,
        }),
        Err(error) => {
            // Where the last write's fate is unknown, or the place is another run's, hands off.
            if !matches!(error, AgentError::CommitUnknown { .. } | AgentError::Taken { .. })
                && let Err((remaining, cause)) = commit::clean_up(&*target, &keys, (&run, context.cancel))
            {
                note(source_warning(commit::remains_message(
                    &options.name,
                    plan.id,
                    &remaining,
                    &cause,
                )));
            }
            Err(error)
        }
    }
}

/// What the original can't read is refused before anything is done.
fn check_compat(options: &BackupOptions) -> Result<(), AgentError> {
    if options.compat && options.compression.original_name().is_none() {
        return Err(AgentError::Unsupported {
            reason: format!("the original can't read compression {}", options.compression),
            next: "take gzip, bzip2 or xz, or leave out --compat".to_owned(),
        });
    }
    Ok(())
}

/// A mistyped source must leave nothing in the storage.
fn check_source(options: &BackupOptions, plan: &Plan) -> Result<(), AgentError> {
    let Some(path) = &options.path else {
        return Ok(());
    };
    std::fs::symlink_metadata(path)
        .map(drop)
        .map_err(|source| AgentError::Backup {
            backup: label(&options.name, plan.id),
            source: BackupError::Source {
                operation: "open",
                path: path.clone(),
                source,
            },
        })
}

fn plan_warnings(plan: &Plan, options: &BackupOptions, keyring: &Keyring) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = plan.warnings.iter().cloned().map(source_warning).collect();
    if let Some(
        reason @ (FullReason::ParentUnusable(_) | FullReason::MissingLevel(_) | FullReason::OptionChanged(_)),
    ) = &plan.reason
    {
        warnings.push(source_warning(format!("a new chain is begun: {reason}")));
    }
    if options.compat && keyring.passphrase().is_some() {
        let text = "--compat: the pass phrase can be guessed at the speed of a hash, and the snapshot file shows \
                    all file names";
        warnings.push(source_warning(text.to_owned()));
    }
    warnings
}

fn source_warning(message: String) -> Warning {
    Warning {
        path: Vec::new(),
        kind: WarningKind::Source,
        message,
        partial: false,
    }
}

/// A claimed place and all that is needed to fill it.
struct Writing<'a> {
    /// Where the chain is read from.
    store: &'a Arc<dyn Store>,
    /// Where it is written to; differs in a dry run.
    target: &'a Arc<dyn Store>,
    options: &'a BackupOptions,
    keyring: &'a Keyring,
    context: &'a RunContext<'a>,
    keys: &'a BackupKeys,
    run: &'a str,
}

impl Writing<'_> {
    fn write(
        &self,
        plan: &mut Plan,
        mode: &dyn BackupMode,
        noted: &Mutex<Vec<Warning>>,
    ) -> Result<BackupReport, AgentError> {
        self.context.cancel.check()?;
        let parent_note = plan.parent().and_then(|parent| parent.manifest()?.note.clone());
        let mut prepared = mode.prepare(plan.id.level.0, parent_note)?;
        let sent = self.send(plan, &mut *prepared, noted);
        let finished = prepared.finish(&outcome_of(&sent));
        let (source, report) = sent?;
        let note = finished?;
        let warnings = noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let manifest = self.manifest(plan, &report, (source, note), &warnings);
        let mac_key = plan.key.as_ref().map(|(key, _)| key.mac_key());
        let sealed = manifest.seal(mac_key.as_ref());
        let documents = (sealed, &manifest);
        commit::write_documents(&**self.target, self.keys, documents, self.context.cancel)?;
        Ok(report)
    }

    /// Sends the mode's one tree down the road. Answers the name that the mode gave to it.
    fn send(
        &self,
        plan: &mut Plan,
        prepared: &mut dyn PreparedBackup,
        noted: &Mutex<Vec<Warning>>,
    ) -> Result<(String, BackupReport), AgentError> {
        let (name, source) = self.tree(prepared, noted)?;
        estimate(&**self.store, &self.options.name, plan, self.context.counters);
        let parent = plan.take_parent_state(&**self.store)?;
        let file_system = plan.parent().and_then(|parent| parent.manifest()?.file_system);
        let job = BackupJob {
            source,
            store: Arc::clone(self.target),
            keys: self.object_keys(),
            encoding: self.encoding(plan),
            segment_bytes: self.options.segment_bytes,
            memory_bytes: self.options.memory_bytes,
            workers: self.options.workers,
            level: plan.id.level.0,
            levels: plan.level_rows(self.options),
            parent,
            parent_file_system: file_system.map(|FileSystem { id, kind }| FileSystemId { kind, id }),
            context: self.context,
        };
        let report = freezer_pipeline::backup(job).map_err(|source| AgentError::Backup {
            backup: label(&self.options.name, plan.id),
            source,
        })?;
        match prepared.next_source()? {
            None => Ok((name, report)),
            Some(_) => Err(not_yet("several sources")),
        }
    }

    fn tree(
        &self,
        prepared: &mut dyn PreparedBackup,
        noted: &Mutex<Vec<Warning>>,
    ) -> Result<(String, TreeSource), AgentError> {
        let (name, root, one_file_system, exclude) = match prepared.next_source()? {
            Some(ModeSource::Tree {
                name,
                root,
                one_file_system,
                exclude,
            }) => (name, root, one_file_system, exclude),
            Some(ModeSource::Stream { .. }) => return Err(not_yet("a stream")),
            Some(ModeSource::External { .. }) => return Err(not_yet("data that the service keeps")),
            None => return Err(not_yet("no source at all")),
        };
        let excludes = &self.options.excludes;
        let own = own_storage::patterns(&root, &self.options.storage_directories)?;
        for directory in own.iter().map(|(directory, _)| directory) {
            let warning = source_warning(format!("{} is left out: it is the storage", directory.display()));
            (self.context.warn)(&warning);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
        }
        // The last line wins, so no pattern of the user's takes the storage back in.
        let own = own.into_iter().map(|(_, pattern)| pattern).collect();
        let gitignore = [exclude, excludes.gitignore.clone(), own].concat();
        let exclude = ExcludeRules::new(&gitignore, &excludes.tar, excludes.caches).map_err(|error| {
            AgentError::Unsupported {
                reason: error.to_string(),
                next: "mend the pattern; gitignore's rules hold, tar's under the original's option names"
                    .to_owned(),
            }
        })?;
        let one_file_system = one_file_system && self.options.one_file_system;
        Ok((
            name,
            TreeSource {
                root,
                one_file_system,
                exclude,
                dereference: self.options.dereference,
            },
        ))
    }

    /// The snapshot file shows every name in clear, so an encrypted backup has one only for the original's sake.
    fn object_keys(&self) -> ObjectKeys {
        let with_snar = self.keyring.passphrase().is_none() || self.options.compat;
        ObjectKeys {
            data: self.keys.data(),
            index: self.keys.index(),
            engine_metadata: with_snar.then(|| self.keys.engine_metadata()),
        }
    }

    fn encoding(&self, plan: &Plan) -> Encoding {
        let index_cipher = plan.key.as_ref().map(|(key, _)| Cipher::Chain(key.clone()));
        let cipher = match (self.options.stream_kdf(), self.keyring.passphrase()) {
            (StreamKdf::BytesToKeySha256, Some(passphrase)) => Some(Cipher::Password {
                passphrase: passphrase.clone(),
                kdf: Kdf::BytesToKeySha256,
            }),
            _ => index_cipher.clone(),
        };
        Encoding {
            compression: self.options.compression,
            level: self.options.compression_level,
            cipher,
            index_cipher,
        }
    }

    fn manifest(
        &self,
        plan: &Plan,
        report: &BackupReport,
        (source, note): (String, String),
        noted: &[Warning],
    ) -> Manifest {
        let options = self.options;
        let mut recorded = options.options.clone();
        recorded.insert(HOST_OPTION.to_owned(), options.host.clone().into());
        recorded.insert(SOURCE_OPTION.to_owned(), source.into());
        if let Some(kind) = options.path.as_deref().and_then(source_kind) {
            recorded.insert(KIND_OPTION.to_owned(), kind.into());
        }
        let partial = report.partial || noted.iter().any(|warning| warning.partial);
        Manifest {
            format: FORMAT,
            run: self.run.to_owned(),
            engine: Engine::Tar,
            name: options.name.clone(),
            zero: plan.id.zero,
            level: plan.id.level,
            time: plan.id.time,
            parent: plan.parent().map(|parent| ParentLink {
                level: parent.stored.id.level,
                time: parent.stored.id.time,
                manifest: parent.line_sha256(),
            }),
            previous: plan.previous.clone(),
            mode: options.mode.clone(),
            path: options
                .path
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            options: recorded,
            tool: options.tool.clone(),
            plugins: options.plugins.clone(),
            encryption: report.data.salt.map(|salt| Encryption {
                cipher: "aes-256-cfb".to_owned(),
                kdf: options.stream_kdf(),
                iterations: 1,
                salt,
            }),
            key: plan.key.as_ref().map(|(_, info)| info.clone()),
            compression: options.compression,
            frame: options.compression.frame_bytes(),
            data: data_facts(report),
            index: IndexFacts {
                bytes: report.index.bytes,
                sha256: report.index.sha256,
                trailer: report.index.trailer,
                salt: report.index.salt,
            },
            engine_metadata: report.engine_metadata.as_ref().map(|facts| ObjectFacts {
                bytes: facts.bytes,
                sha256: facts.sha256,
            }),
            file_system: Some(FileSystem {
                id: report.file_system.id,
                kind: report.file_system.kind,
            }),
            counts: counts(report),
            warnings: noted
                .iter()
                .chain(&report.warnings)
                .take(MAX_WARNINGS)
                .map(noted_warning)
                .collect(),
            status: if partial { Status::Partial } else { Status::Whole },
            note: Some(note),
        }
    }
}

fn not_yet(what: &str) -> AgentError {
    AgentError::Unsupported {
        reason: format!("the mode offers {what}; this version backs up exactly one tree of files"),
        next: "use mode fs, or a version that knows this mode".to_owned(),
    }
}
