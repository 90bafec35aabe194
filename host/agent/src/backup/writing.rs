//! Filling a claimed place: the mode's tree or stream goes down the road, the manifest says what it was.

use std::io::Read;
use std::sync::Arc;

use freezer_format::chain_key::Cipher;
use freezer_format::layout::BackupKeys;
use freezer_format::manifest::{
    Encryption, FORMAT, FileSystem, IndexFacts, MAX_WARNINGS, Manifest, ObjectFacts, ParentLink, Status,
    StreamKdf,
};
use freezer_format::openssl::Kdf;
use freezer_format::time::Time;
use freezer_pipeline::counters::Warning;
use freezer_pipeline::source::{ExcludeRules, FileSystemId};
use freezer_pipeline::store::Store;
use freezer_pipeline::{
    BackupError, BackupJob, BackupReport, Encoding, ObjectKeys, RunContext, StreamJob, TreeSource,
};
use freezer_plugin::ModeSource;

use super::noted::{Noted, source_warning};
use super::offer::Offer;
use super::{BackupOptions, SOURCE_OPTION, STREAM_OPTION};
use crate::catalogue::label;
use crate::commit;
use crate::continuity::{KIND_OPTION, source_kind};
use crate::error::AgentError;
use crate::estimate::estimate;
use crate::facts::{counts, data_facts, noted_warning};
use crate::keys::Keyring;
use crate::mode::PreparedBackup;
use crate::own_storage;
use crate::plan::{HOST_OPTION, Plan};
use crate::prune::require_staying;
use crate::restore::outcome_of;
use crate::resume::RunIdentity;
use crate::seen::Sighting;
use crate::several::{FailedStorage, Sites};

/// What was sent down the road.
struct Sent {
    /// The name that the mode gave to it.
    source: String,
    /// The name of the file that a stream is restored to.
    file_name: Option<String>,
    report: BackupReport,
}

/// A claimed place and all that is needed to fill it.
pub(super) struct Writing<'a> {
    pub(super) sites: &'a Sites,
    /// All storages as one.
    pub(super) target: &'a Arc<dyn Store>,
    pub(super) options: &'a BackupOptions,
    pub(super) keyring: &'a Keyring,
    pub(super) context: &'a RunContext<'a>,
    pub(super) keys: &'a BackupKeys,
    pub(super) identity: &'a RunIdentity,
    pub(super) noted: &'a Noted<'a>,
}

impl Writing<'_> {
    /// Writes everything. Answers the name of a stream's file, and what the road reports.
    pub(super) fn write(
        &self,
        plan: &mut Plan,
        mut offer: Offer,
    ) -> Result<(Option<String>, BackupReport), AgentError> {
        if let Err(error) = self.require_staying(plan) {
            return Err(offer.give_up(error));
        }
        let sent = self.send(plan, &mut offer).and_then(|sent| {
            offer.prepared.verify()?;
            Ok(sent)
        });
        let finished = offer.finish(&outcome_of(&sent));
        let sent = sent?;
        let note = finished?;
        self.noted.keep_mode(&note);
        self.noted.lacking(self.sites);
        let told = self.sites.failed().len();
        let warnings = self.noted.all();
        let manifest = self.manifest(plan, &sent, note, &warnings);
        let mac_key = plan.key.as_ref().map(|(key, _)| key.mac_key());
        let sealed = manifest.seal(mac_key.as_ref());
        let line = Manifest::peek(&sealed).ok().map(|peeked| peeked.line_sha256);
        self.context.cancel.check()?;
        let journals = self.sites.all().filter_map(|(_, site)| site.journal.as_ref());
        journals.for_each(|journal| journal.finishing());
        commit::write_documents(self.sites, self.keys, (sealed, &manifest), self.context.cancel)?;
        self.remember(&manifest, line);
        for FailedStorage { storage, reason } in self.sites.failed().into_iter().skip(told) {
            self.noted.tell(&Warning {
                partial: true,
                ..source_warning(format!("{storage} doesn't get this backup: {reason}"))
            });
        }
        Ok((sent.file_name, sent.report))
    }

    /// Remembers the backup as the newest one of each storage that has it.
    fn remember(&self, manifest: &Manifest, line: Option<[u8; 32]>) {
        let Some(seen) = self.options.seen.as_ref().filter(|_| !self.options.dry_run) else {
            return;
        };
        let sighting = Sighting {
            name: manifest.name.clone(),
            id: manifest.id(),
            manifest: line,
            authentic: true,
        };
        for (_, site) in self.sites.live() {
            seen.made(&site.url, &sighting);
        }
    }

    fn require_staying(&self, plan: &Plan) -> Result<(), AgentError> {
        self.context.cancel.check()?;
        for (number, site) in self.sites.live() {
            let staying = require_staying(&*site.store, &self.options.name, &plan.ancestors);
            self.sites.settle(number, staying)?;
        }
        Ok(())
    }

    /// Sends the mode's one source down the road.
    fn send(&self, plan: &mut Plan, offer: &mut Offer) -> Result<Sent, AgentError> {
        let sent = match offer.take_source()? {
            ModeSource::Stream {
                name,
                suffix,
                content,
            } => self.send_stream(plan, (name, suffix), content)?,
            source => self.send_tree(plan, source, &*offer.prepared)?,
        };
        offer.require_end()?;
        Ok(sent)
    }

    fn send_stream(
        &self,
        plan: &Plan,
        (name, suffix): (String, String),
        content: Box<dyn Read + Send>,
    ) -> Result<Sent, AgentError> {
        let file_name = match suffix.as_str() {
            "" => name.clone(),
            suffix => format!("{name}.{suffix}"),
        };
        let job = StreamJob {
            content,
            file_name: file_name.clone(),
            time: Time::new(plan.id.time.0, 0),
            allow_empty: self.options.allow_empty,
            store: Arc::clone(self.target),
            keys: ObjectKeys {
                engine_metadata: None,
                ..self.object_keys()
            },
            encoding: self.encoding(plan),
            data_salt: self.identity.salt,
            segment_bytes: self.options.segment_bytes,
            memory_bytes: self.options.memory_bytes,
            workers: self.options.workers,
            levels: plan.level_rows(self.options),
            context: self.context,
        };
        estimate(&**self.target, &self.options.name, plan, self.context.counters);
        let report = freezer_pipeline::backup_stream(job).map_err(|error| self.failed(plan, error))?;
        Ok(Sent {
            source: name,
            file_name: Some(file_name),
            report,
        })
    }

    fn failed(&self, plan: &Plan, source: BackupError) -> AgentError {
        AgentError::Backup {
            backup: label(&self.options.name, plan.id),
            source,
        }
    }

    fn send_tree(
        &self,
        plan: &mut Plan,
        source: ModeSource,
        prepared: &dyn PreparedBackup,
    ) -> Result<Sent, AgentError> {
        let (name, source) = self.tree(source, prepared)?;
        estimate(&**self.target, &self.options.name, plan, self.context.counters);
        let parent = plan.take_parent_state(&**self.target)?;
        let file_system = plan.parent().and_then(|parent| parent.manifest()?.file_system);
        let job = BackupJob {
            source,
            store: Arc::clone(self.target),
            keys: self.object_keys(),
            encoding: self.encoding(plan),
            data_salt: self.identity.salt,
            segment_bytes: self.options.segment_bytes,
            memory_bytes: self.options.memory_bytes,
            workers: self.options.workers,
            level: plan.id.level.0,
            levels: plan.level_rows(self.options),
            parent,
            parent_file_system: file_system.map(|FileSystem { id, kind }| FileSystemId { kind, id }),
            context: self.context,
        };
        let report = freezer_pipeline::backup(job).map_err(|error| self.failed(plan, error))?;
        Ok(Sent {
            source: name,
            file_name: None,
            report,
        })
    }

    fn tree(
        &self,
        source: ModeSource,
        prepared: &dyn PreparedBackup,
    ) -> Result<(String, TreeSource), AgentError> {
        let ModeSource::Tree {
            name,
            root,
            one_file_system,
            exclude,
        } = source
        else {
            return Err(AgentError::Unsupported {
                reason: "the mode offers no tree of files".to_owned(),
                next: "use another mode".to_owned(),
            });
        };
        let excludes = &self.options.excludes;
        let live = prepared.live_path(&root);
        let own = own_storage::patterns(&live, &self.options.storage_directories)?;
        for directory in own.iter().map(|(directory, _)| directory) {
            let text = format!("{} is left out: it is the storage", directory.display());
            self.noted.add(source_warning(text));
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
                gives_memory_back: self.options.gives_memory_back,
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

    fn manifest(&self, plan: &Plan, sent: &Sent, note: String, noted: &[Warning]) -> Manifest {
        let (options, report) = (self.options, &sent.report);
        let mut recorded = options.options.clone();
        recorded.insert(HOST_OPTION.to_owned(), options.host.clone().into());
        recorded.insert(SOURCE_OPTION.to_owned(), sent.source.clone().into());
        if let Some(file_name) = &sent.file_name {
            recorded.insert(STREAM_OPTION.to_owned(), file_name.clone().into());
        }
        if let Some(kind) = options.path.as_deref().and_then(source_kind) {
            recorded.insert(KIND_OPTION.to_owned(), kind.into());
        }
        let partial = report.partial || noted.iter().any(|warning| warning.partial);
        Manifest {
            format: FORMAT,
            run: self.identity.run.clone(),
            engine: plan.engine,
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
            file_system: report
                .file_system
                .map(|FileSystemId { kind, id }| FileSystem { id, kind }),
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
