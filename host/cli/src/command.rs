//! What is to be done, fully judged: the one type that both faces of the command line end in.
//!
//! `config` makes it from our verbs and `compat` from the original's options; `run` does it. It
//! holds no half-made decisions: every default is filled in and every contradiction refused.

mod author;
mod plugin;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use freezer_agent::{Change, CopyWhich, DropCaches, Hooks, OnFailure, StreamFeed};
use freezer_format::compression::Compression;
use freezer_format::level::LevelPolicy;
use freezer_format::name::Timestamp;
use freezer_format::retention::Policy;

use crate::config::layer::Setting;

pub(crate) use author::{AuthorCommand, Work};
pub(crate) use plugin::{Accept, Consent, PluginCommand, Renewal};

/// One action.
#[derive(Debug)]
pub(crate) enum Command {
    /// Back up a tree.
    Backup(Box<Backup>),
    /// Restore a backup.
    Restore(Box<Restore>),
    /// List backups.
    List(List),
    /// List the files of a backup.
    Ls(Ls),
    /// Write one file's content to standard output.
    Dump(Dump),
    /// Verify what is stored.
    Check(Check),
    /// Copy backups between storages.
    Copy(Box<Copy>),
    /// Tell what storages hold.
    Info(Info),
    /// Try a storage out.
    StorageTest(StorageTest),
    /// List the storages of the configuration file and what plugins serve.
    StorageList,
    /// Remove old backups.
    Prune(Box<Prune>),
    /// Do the first; if it went well wholly, remove old backups.
    Then(Box<Command>, Box<Prune>),
    /// List or change tags.
    Tag(Tag),
    /// Find what killed runs left.
    Admin(Admin),
    /// Run a command.
    Exec(Exec),
    /// Something with plugins.
    Plugin(Box<PluginCommand>),
    /// Print a completion script.
    Completions(clap_complete::Shell),
    /// Print or write manual pages.
    Man(Man),
    /// Print the version, shortly or with its parts.
    Version(Detail),
    /// Print this text and a line end; nothing for an empty one.
    Print(String),
}

/// How much to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// One line.
    Short,
    /// Everything.
    Full,
}

/// A storage to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageSpec {
    /// Its name in the configuration file, if it has one.
    pub(crate) name: Option<String>,
    /// Its URL, `scheme:…`.
    pub(crate) url: String,
    /// Further settings of its plugin, by name. Those for whichever storage has them stand here too.
    pub(crate) settings: Vec<(String, Setting)>,
    /// Segments that are on their way to it at the same time; absent means what the storage prefers.
    pub(crate) uploads: Option<u32>,
    /// One of several in this run: settings that its plugin doesn't have may be another's.
    pub(crate) shared: bool,
}

/// A mode to prepare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModeSpec {
    /// The plugin's name.
    pub(crate) name: String,
    /// Its settings, by name.
    pub(crate) settings: Vec<(String, Setting)>,
}

/// Whose patterns exclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExcludeStyle {
    /// As in .gitignore.
    Gitignore,
    /// As GNU tar's `--exclude`.
    Tar,
}

/// What of a tree is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excludes {
    /// How patterns are read.
    pub(crate) style: ExcludeStyle,
    /// The patterns, any bytes.
    pub(crate) patterns: Vec<OsString>,
    /// Files with a pattern on each line.
    pub(crate) files: Vec<PathBuf>,
    /// Directories with a CACHEDIR.TAG.
    pub(crate) caches: bool,
}

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// None.
    Keep,
    /// Symbolic ones.
    Soft,
    /// Hard ones become files of their own.
    Hard,
    /// Both.
    All,
}

/// Threads and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Threads that compress, or decompress and write.
    pub(crate) workers: usize,
    /// Bytes to stay within.
    pub(crate) memory_bytes: u64,
}

/// A stream and what feeds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamSpec {
    /// The name of the file that it is restored as.
    pub(crate) name: String,
    /// What feeds it.
    pub(crate) feed: StreamFeed,
}

/// A backup to make.
#[derive(Debug)]
pub(crate) struct Backup {
    /// The directory or file; modes may do without, streams do.
    pub(crate) path: Option<PathBuf>,
    /// The stream that is taken instead.
    pub(crate) stream: Option<StreamSpec>,
    /// Let an empty stream be a backup.
    pub(crate) allow_empty: bool,
    /// Host part of its name.
    pub(crate) host: String,
    /// Its name.
    pub(crate) name: String,
    /// Where to, at least one.
    pub(crate) storages: Vec<StorageSpec>,
    /// How it is prepared.
    pub(crate) mode: ModeSpec,
    /// When a new chain begins.
    pub(crate) policy: LevelPolicy,
    /// What is left out.
    pub(crate) excludes: Excludes,
    /// Go into other file systems.
    pub(crate) cross_file_systems: bool,
    /// Which links are followed.
    pub(crate) links: Links,
    /// How it is compressed.
    pub(crate) compression: Compression,
    /// How hard; absent means the format's usual level.
    pub(crate) compression_level: Option<u32>,
    /// The password's file.
    pub(crate) pass_file: Option<PathBuf>,
    /// Store as the original reads it.
    pub(crate) compat: bool,
    /// Bytes of a segment.
    pub(crate) segment_bytes: u64,
    /// Threads and memory.
    pub(crate) resources: Resources,
    /// What the failure of one of several storages means.
    pub(crate) on_storage_failure: OnFailure,
    /// Write the kernel's buffered memory to the disks first.
    pub(crate) sync: bool,
    /// What of that memory is given back.
    pub(crate) drop_caches: DropCaches,
    /// What is run around it.
    pub(crate) hooks: Hooks,
    /// Go on with an interrupted run.
    pub(crate) resume: bool,
    /// Tags of the new backup.
    pub(crate) tags: Vec<String>,
    /// Write nothing.
    pub(crate) dry_run: bool,
    /// Where the original's document about the run goes.
    pub(crate) document: Option<Document>,
}

/// The original's `--metadata-out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// The file, `-` for standard output; absent prints a table.
    pub(crate) target: Option<PathBuf>,
    /// Pairs that come from options, in the order of the document.
    pub(crate) options: Vec<(&'static str, serde_json::Value)>,
}

/// The storages to read and how to open what is in them.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The storages that may hold it, at least one.
    pub(crate) storages: Vec<StorageSpec>,
    /// The password's file.
    pub(crate) pass_file: Option<PathBuf>,
    /// Accept what is not authenticated.
    pub(crate) compat: bool,
}

impl Reading {
    /// The storages for a message.
    pub(crate) fn places(&self) -> String {
        let urls: Vec<&str> = self.storages.iter().map(|spec| spec.url.as_str()).collect();
        urls.join(", ")
    }
}

/// Which backup, as it was when.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Where.
    pub(crate) reading: Reading,
    /// Host part of its name.
    pub(crate) host: String,
    /// Its name.
    pub(crate) name: String,
    /// As it was then; absent means the newest.
    pub(crate) at: Option<Timestamp>,
}

/// Where a restore goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestoreGoal {
    /// Into a directory.
    Directory(PathBuf),
    /// A stream to a file; `-` is standard output.
    File(PathBuf),
    /// A stream to the standard input of a line for `sh -c`.
    Command(OsString),
    /// A stream to the mode that is named.
    Mode,
}

/// A restore.
#[derive(Debug)]
pub(crate) struct Restore {
    /// Which backup.
    pub(crate) selection: Selection,
    /// Where to.
    pub(crate) goal: RestoreGoal,
    /// The mode plugin, if one was named.
    pub(crate) mode: Option<String>,
    /// Paths below the backup's root; none for all.
    pub(crate) paths: Vec<Vec<u8>>,
    /// Into a directory that isn't empty.
    pub(crate) overwrite: bool,
    /// Use earlier content of files whose latest content couldn't be read at backup time.
    pub(crate) stale: bool,
    /// Settings of the mode plugin.
    pub(crate) mode_settings: Vec<(String, Setting)>,
    /// Threads and memory.
    pub(crate) resources: Resources,
    /// Write nothing.
    pub(crate) dry_run: bool,
}

/// Which backups, of all in a storage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only of this name.
    pub(crate) name: Option<String>,
    /// Only of this host.
    pub(crate) host: Option<String>,
}

/// A list of backups.
#[derive(Debug)]
pub(crate) struct List {
    /// Where.
    pub(crate) reading: Reading,
    /// Which.
    pub(crate) filter: Filter,
    /// Authenticate them.
    pub(crate) verify: bool,
    /// Print the commands that restore without us, for this backup.
    pub(crate) recovery: Option<Selection>,
}

/// A list of files.
#[derive(Debug)]
pub(crate) struct Ls {
    /// Of which backup.
    pub(crate) selection: Selection,
    /// Below this path; empty for the root.
    pub(crate) path: Vec<u8>,
    /// With all that is below.
    pub(crate) recursive: bool,
}

/// One file's content.
#[derive(Debug)]
pub(crate) struct Dump {
    /// Of which backup.
    pub(crate) selection: Selection,
    /// The file.
    pub(crate) path: Vec<u8>,
}

/// A copy from one storage to another.
#[derive(Debug)]
pub(crate) struct Copy {
    /// Where from.
    pub(crate) from: StorageSpec,
    /// Where to.
    pub(crate) to: StorageSpec,
    /// Which backups.
    pub(crate) filter: Filter,
    /// Which of their states.
    pub(crate) which: CopyWhich,
    /// Bytes of a segment of backups that don't tell theirs.
    pub(crate) segment_bytes: u64,
    /// Bytes to stay within.
    pub(crate) memory_bytes: u64,
    /// Write nothing.
    pub(crate) dry_run: bool,
}

/// A verification.
#[derive(Debug)]
pub(crate) struct Check {
    /// Where.
    pub(crate) reading: Reading,
    /// Which.
    pub(crate) filter: Filter,
    /// Read everything.
    pub(crate) read_data: bool,
}

/// A question about storages.
#[derive(Debug)]
pub(crate) struct Info {
    /// Which.
    pub(crate) storages: Vec<StorageSpec>,
    /// Where the original's document goes, `-` for standard output; absent prints a table.
    pub(crate) document: Option<PathBuf>,
}

/// A trial of a storage.
#[derive(Debug)]
pub(crate) struct StorageTest {
    /// Which.
    pub(crate) storage: StorageSpec,
    /// Bytes to write and to read in each measurement.
    pub(crate) size_bytes: u64,
}

/// What keeps a backup.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removal {
    /// All rules but the next.
    pub(crate) policy: Policy,
    /// Those younger than so many days, by the clock of the run.
    pub(crate) older_than_days: Option<f64>,
}

impl Removal {
    /// True if no rule is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.policy.is_empty() && self.older_than_days.is_none()
    }
}

/// A removal of old backups.
#[derive(Debug)]
pub(crate) struct Prune {
    /// Where.
    pub(crate) reading: Reading,
    /// Which.
    pub(crate) filter: Filter,
    /// By which rules.
    pub(crate) removal: Removal,
    /// More than this hold a name back.
    pub(crate) limit: Option<usize>,
    /// The newest too.
    pub(crate) even_newest: bool,
    /// Between mark and removal.
    pub(crate) grace_seconds: i64,
    /// Write nothing.
    pub(crate) dry_run: bool,
}

/// What is to be done with tags.
#[derive(Debug)]
pub(crate) enum Tag {
    /// List them.
    List {
        /// Where.
        reading: Reading,
        /// Of which backups.
        filter: Filter,
    },
    /// Change them.
    Change(TagChange),
}

/// A change of tags.
#[derive(Debug)]
pub(crate) struct TagChange {
    /// Of which backup.
    pub(crate) selection: Selection,
    /// Of all of that name.
    pub(crate) all: bool,
    /// What is changed.
    pub(crate) change: Change,
}

/// A search for what killed runs left.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Where.
    pub(crate) reading: Reading,
    /// What changed since is left alone.
    pub(crate) grace_seconds: i64,
    /// Remove what was confirmed.
    pub(crate) remove: bool,
}

/// A command to run.
#[derive(Debug)]
pub(crate) struct Exec {
    /// The programs of a pipeline, each with its arguments.
    pub(crate) commands: Vec<Vec<OsString>>,
    /// How long it may take.
    pub(crate) time_limit: Option<Duration>,
}

/// Manual pages.
#[derive(Debug)]
pub(crate) enum Man {
    /// Print the page of this verb, or of freezer itself.
    Print(Option<String>),
    /// Write all pages into this directory.
    Write(PathBuf),
}
