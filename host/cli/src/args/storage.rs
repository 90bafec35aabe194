//! `freezer info` and `freezer storage`: what storages hold, what they can do, which there are.

use clap::Subcommand;

use super::login::LoginArgs;
use super::values::{PairText, StorageText};
use crate::config::size::Size;

/// Options of `freezer info`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct InfoArgs {
    /// Storage to ask, such as local:/srv/backups; may be given several times [default: those of the configuration file]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Vec<StorageText>,
    /// Setting of the storage plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) storage_option: Vec<PairText>,
    /// How to log in to a cloud.
    #[command(flatten)]
    pub(crate) login: LoginArgs,
}

/// `freezer storage VERB`.
#[derive(Debug, clap::Args)]
pub(crate) struct StoragesArgs {
    /// What to do with storages.
    #[command(subcommand)]
    pub(crate) verb: StorageVerb,
}

/// The verbs of `freezer storage`.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageVerb {
    /// List the storages of the configuration file, and the schemes that plugins serve
    List,
    /// Try a storage out: what works, and how fast
    Test(TestArgs),
}

/// Options of `freezer storage test`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TestArgs {
    /// The storage, such as local:/srv/backups
    #[arg(value_name = "URL")]
    pub(crate) url: StorageText,
    /// Bytes to write and to read in each measurement
    #[arg(long, value_name = "SIZE", default_value = "32M")]
    pub(crate) size: Size,
    /// Calls at the same time [default: as the storage prefers]
    #[arg(long, value_name = "COUNT")]
    pub(crate) uploads: Option<u32>,
    /// Setting of the storage plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) storage_option: Vec<PairText>,
    /// How to log in to a cloud.
    #[command(flatten)]
    pub(crate) login: LoginArgs,
}
