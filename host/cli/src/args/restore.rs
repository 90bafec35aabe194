//! `freezer restore`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::browse::SourceArgs;
use super::values::PairText;
use crate::config::size::Size;

/// Options of `freezer restore`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Directory to restore into; made if absent
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["output", "to_command"])]
    pub(crate) target: Option<PathBuf>,
    /// Write a stream to this file, or to standard output if it is -
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["to_command", "path"])]
    pub(crate) output: Option<PathBuf>,
    /// Feed a stream to CMD, a line for sh, which must end with exit status 0
    #[arg(long, value_name = "CMD", conflicts_with_all = ["path", "overwrite"])]
    pub(crate) to_command: Option<OsString>,
    /// Mode plugin that takes the backup back; without --target it gets the stream
    /// [default: for trees the one that made it]
    #[arg(long, value_name = "MODE", help_heading = "Plugins", conflicts_with_all = ["output", "to_command"])]
    pub(crate) mode: Option<String>,
    /// Restore only this path and what is below it; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<OsString>,
    /// Restore into a directory that isn't empty, or to a file that is there, replacing what has the same name
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Restore files that were unreadable at that date as an earlier backup of the chain has them
    #[arg(long)]
    pub(crate) stale: bool,
    /// Setting of the mode plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) mode_option: Vec<PairText>,
    /// Threads that decompress and write [default: one for each processor]
    #[arg(long, value_name = "COUNT", help_heading = "Resources")]
    pub(crate) workers: Option<u16>,
    /// Memory to stay within [default: 128M]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub(crate) memory: Option<Size>,
    /// Verify that it can be restored and say what would be written, but write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Which backup, from where.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}
