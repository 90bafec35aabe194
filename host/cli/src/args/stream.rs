//! Options that name a stream instead of a path.

use std::ffi::OsString;

/// What a backup takes instead of a PATH.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Streams")]
pub(crate) struct StreamArgs {
    /// Back up standard input; it is restored as a file of this NAME, such as db.sql
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "mode", "from_command", "snapshot", "lvm_auto_snap"])]
    pub(crate) stdin: Option<String>,
    /// Back up what CMD, a line for sh, writes to standard output. No backup is made unless it ends with exit status 0
    #[arg(long, value_name = "CMD", conflicts_with_all = ["path", "mode", "snapshot", "lvm_auto_snap"])]
    pub(crate) from_command: Option<OsString>,
    /// Name of the file that --from-command's output is restored as [default: the backup's name]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "stdin"])]
    pub(crate) stream_name: Option<String>,
    /// Let a stream without a single byte be a backup; it mostly means that what feeds it went wrong
    #[arg(long)]
    pub(crate) allow_empty: bool,
}
