//! `freezer backup`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::hooks::{HookArgs, MemoryArgs};
use super::login::LoginArgs;
use super::snapshot::SnapshotArgs;
use super::stream::StreamArgs;
use super::values::{CompressionText, Days, DereferenceText, PairText, StorageFailureText, StorageText};
use crate::config::size::Size;

/// Options of `freezer backup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct BackupArgs {
    /// The directory or file to back up
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Name of the backup; a [backup.NAME] of the configuration file brings its own options
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Host part of the backup's name [default: this machine's host name]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Storage to write to, such as local:/srv/backups; given several times, to all of them at once
    #[arg(long, value_name = "URL")]
    pub(crate) to: Vec<StorageText>,
    /// Setting of the storage plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) storage_option: Vec<PairText>,
    /// What to take instead of PATH.
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// How to log in to a cloud.
    #[command(flatten)]
    pub(crate) login: LoginArgs,
    /// Mode plugin that prepares the source [default: fs]
    #[arg(long, value_name = "MODE", help_heading = "Plugins")]
    pub(crate) mode: Option<String>,
    /// Setting of the mode plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) mode_option: Vec<PairText>,
    /// When to begin a new chain.
    #[command(flatten)]
    pub(crate) level: LevelArgs,
    /// What of the tree to take.
    #[command(flatten)]
    pub(crate) tree: TreeArgs,
    /// Whether it is frozen first.
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArgs,
    /// How to store it.
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    /// What to do to the kernel's memory.
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// What to run around it.
    #[command(flatten)]
    pub(crate) hooks: HookArgs,
    /// What to do if one of several storages fails: go on with the others, or end the run [default: continue]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) on_storage_failure: Option<StorageFailureText>,
    /// Go on with an interrupted run of this backup: what it stored isn't sent again. Keeps what is stored if this run
    /// is interrupted
    #[arg(long)]
    pub(crate) resume: bool,
    /// Tag the backup; may be given several times
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Do everything but write: shows what would be stored
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options that decide the level of the next backup.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Levels")]
pub(crate) struct LevelArgs {
    /// Make a full backup (level 0) even if there is a chain to continue
    #[arg(long, conflicts_with = "differential")]
    pub(crate) full: bool,
    /// Store all changes since level 0, not since the last backup
    #[arg(long)]
    pub(crate) differential: bool,
    /// The same as --full
    #[arg(long, conflicts_with = "differential")]
    pub(crate) no_incremental: bool,
    /// Begin a new chain after this level
    #[arg(long, value_name = "LEVEL")]
    pub(crate) max_level: Option<u32>,
    /// Stay at this level once it is reached: each backup replaces the last one of it
    #[arg(long, value_name = "LEVEL")]
    pub(crate) always_level: Option<u32>,
    /// Begin a new chain when the newest backup is older than this
    #[arg(long, value_name = "DAYS")]
    pub(crate) restart_always_level: Option<Days>,
    /// Begin a new chain after this many levels; 0 for never [default: 30]
    #[arg(long, value_name = "COUNT")]
    pub(crate) chain_levels: Option<u32>,
    /// Begin a new chain when level 0 is older than this; 0 for never [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub(crate) chain_days: Option<Days>,
}

/// Options that choose what of the tree is taken.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tree")]
pub(crate) struct TreeArgs {
    /// Leave out what matches, as in .gitignore; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<OsString>,
    /// Leave out what matches a line of this file; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Leave out directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Stay on the file system of PATH; this is the default
    #[arg(long, conflicts_with = "cross_file_systems")]
    pub(crate) one_file_system: bool,
    /// Go into other file systems mounted below PATH
    #[arg(long)]
    pub(crate) cross_file_systems: bool,
    /// Which links to follow [default: none]
    #[arg(long, value_name = "LINKS", value_enum)]
    pub(crate) dereference: Option<DereferenceText>,
}

/// Options that say how the stream is stored.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Stored form")]
pub(crate) struct EncodingArgs {
    /// gzip, bzip2, xz, zstd or none, with an optional :LEVEL [default: gzip]
    #[arg(long, value_name = "NAME[:LEVEL]")]
    pub(crate) compression: Option<CompressionText>,
    /// Encrypt with the password in the first line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_pass_file: Option<PathBuf>,
    /// Store so that the original Freezer restores it
    #[arg(long)]
    pub(crate) compat: bool,
    /// Size of a stored piece, the unit of upload and retry; a storage may take smaller ones only (local: at most 8M)
    /// [default: 32M]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_segment_size: Option<Size>,
    /// Segments on their way to a storage at the same time [default: as the storage prefers]
    #[arg(long, value_name = "COUNT", help_heading = "Resources")]
    pub(crate) uploads: Option<u32>,
    /// Threads that compress and read [default: one for each processor]
    #[arg(long, value_name = "COUNT", help_heading = "Resources")]
    pub(crate) workers: Option<u16>,
    /// Memory to stay within [default: 128M]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub(crate) memory: Option<Size>,
}
