//! Backing up: decide the level, let the mode freeze, claim a place, send the bytes down the road, thaw, commit.
//!
//! The mode is told the outcome before the manifest is written, since the manifest holds its note and a dump that
//! failed must not become a backup. Whatever ends a run early leaves nothing that looks like a backup; the first
//! cause is what the user sees.

mod noted;
mod offer;
mod run;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use freezer_format::compression::Compression;
use freezer_format::level::{FullReason, LevelPolicy};
use freezer_format::manifest::PluginUse;
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::store::Store;
use freezer_pipeline::{BackupReport, Dereference, RunContext};

use crate::dry::DryStore;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::chain_text;
use crate::mode::BackupMode;
use crate::resume::{self, JournalOptions, JournalStore};
use crate::seen::SeenBackups;
use crate::several::{FailedStorage, OnFailure, Sites, Storage};
use noted::source_warning;
use run::Running;

/// The manifest's option that holds the name which the mode gave to its source.
pub(crate) const SOURCE_OPTION: &str = "source";

/// The manifest's option that holds the name of the file that a stream is restored to.
pub(crate) const STREAM_OPTION: &str = "stream";

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
    /// Tell the kernel that the memory of files that were read isn't needed any more.
    pub gives_memory_back: bool,
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
    /// Whether a stream without a single byte is a backup.
    pub allow_empty: bool,
    /// Whether everything is read and nothing written.
    pub dry_run: bool,
    /// What the failure of one of several storages means.
    pub on_failure: OnFailure,
    /// Whether an interrupted run is continued, and this one kept for that if it is interrupted.
    pub resume: bool,
    /// Where unfinished backups are written down; `None` for nowhere.
    pub journal: Option<JournalOptions>,
    /// Where is remembered what the storages showed before; `None` for nowhere.
    pub seen: Option<SeenBackups>,
}

/// What was backed up.
#[derive(Debug, Clone)]
pub struct BackupOutcome {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Its place in the chain.
    pub id: LevelId,
    /// The name of the file that it is restored to, if it is a stream.
    pub stream: Option<String>,
    /// The level it was made against.
    pub parent: Option<LevelId>,
    /// Why a chain was begun; `None` for an increment.
    pub full_reason: Option<FullReason>,
    /// The URLs of the storages that hold it.
    pub storages: Vec<String>,
    /// The storages that lack it.
    pub failed: Vec<FailedStorage>,
    /// Bytes that an interrupted run had stored and that weren't sent again, of all storages together.
    pub reused_bytes: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How it is compressed.
    pub compression: Compression,
    /// Nothing was written.
    pub dry_run: bool,
    /// What the mode says of it: JSON by custom, of which a text `summary` is for people.
    pub mode_note: Option<String>,
    /// What the road reports.
    pub report: BackupReport,
}

impl BackupOutcome {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        if self.report.partial || !self.failed.is_empty() {
            ExitClass::Partial
        } else {
            ExitClass::Ok
        }
    }
}

/// Backs up a tree to all storages at once.
///
/// # Errors
/// The options don't go together, the storages (one of them, if that ends the run), the mode or the source fails, or
/// the user stops it. Nothing visible is left, except after [`AgentError::CommitUnknown`].
pub fn backup(
    storages: Vec<Storage>,
    options: &BackupOptions,
    keyring: &Keyring,
    mode: &dyn BackupMode,
    context: &RunContext<'_>,
) -> Result<BackupOutcome, AgentError> {
    check_compat(options)?;
    let sites = Sites::new(storages, options.on_failure, |store| target(store, options))?;
    let run = Running {
        sites: Arc::new(sites),
        options,
        keyring,
        mode,
        context,
    };
    match run.attempt(options.resume) {
        Err(error) if run.sites.is_stale() => {
            (context.warn)(&source_warning(format!(
                "the interrupted backup can't be continued: {}; a new one is begun",
                chain_text(&error)
            )));
            let journals = run.sites.all().filter_map(|(_, site)| site.journal.as_ref());
            journals.for_each(|journal| journal.renew());
            run.attempt(false)
        }
        result => result,
    }
}

/// What is written to instead of a storage: nothing in a dry run, else the storage behind its journal.
fn target(store: &Arc<dyn Store>, options: &BackupOptions) -> (Arc<dyn Store>, Option<Arc<JournalStore>>) {
    if options.dry_run {
        return (Arc::new(DryStore::new(Arc::clone(store))), None);
    }
    let journal = options.journal.as_ref();
    match journal.and_then(|journal| resume::journaled(store, journal, options.name.as_str())) {
        Some(journal) => (Arc::clone(&journal) as Arc<dyn Store>, Some(journal)),
        None => (Arc::clone(store), None),
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
