//! `freezer admin`.

use freezer_format::retention::Period;

use super::browse::StorageArgs;

/// Options of `freezer admin`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AdminArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// List what killed runs left: data without a backup, unfinished uploads, claims
    #[arg(long, required = true)]
    pub(crate) gc: bool,
    /// Leave alone what changed since; 0h says that no run is writing [default: 7d]
    #[arg(long, value_name = "PERIOD")]
    pub(crate) grace: Option<Period>,
    /// Remove what an earlier run saw unchanged, an hour ago or more
    #[arg(long)]
    pub(crate) remove: bool,
}
