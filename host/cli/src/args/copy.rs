//! `freezer copy`.

use super::login::LoginArgs;
use super::values::{PairText, StorageText};
use crate::config::date::DateText;
use crate::config::size::Size;

/// Options of `freezer copy`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct CopyArgs {
    /// Storage to copy from
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<StorageText>,
    /// Storage to copy to
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<StorageText>,
    /// Only backups of this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only backups of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The state of then and all that it is built on [default: the newest]
    #[arg(long, value_name = "DATE", conflicts_with = "all")]
    pub(crate) at: Option<DateText>,
    /// All backups, not only the newest of each name
    #[arg(long)]
    pub(crate) all: bool,
    /// Setting of the storage plugins, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) storage_option: Vec<PairText>,
    /// How to log in to a cloud.
    #[command(flatten)]
    pub(crate) login: LoginArgs,
    /// Memory to stay within [default: 128M]
    #[arg(long, value_name = "SIZE", help_heading = "Resources")]
    pub(crate) memory: Option<Size>,
    /// Say what would be copied, but write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
