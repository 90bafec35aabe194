//! `freezer list`, `ls`, `dump` and `check`: what looks into a storage without changing it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::login::LoginArgs;
use super::values::{PairText, StorageText};
use crate::config::date::DateText;

/// Which storage to read, and how to open what is in it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct StorageArgs {
    /// Storage to read, such as local:/srv/backups; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) from: Vec<StorageText>,
    /// Setting of the storage plugin, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Plugins")]
    pub(crate) storage_option: Vec<PairText>,
    /// How to log in to a cloud.
    #[command(flatten)]
    pub(crate) login: LoginArgs,
    /// The password is the first line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_pass_file: Option<PathBuf>,
    /// Also accept backups that the original Freezer wrote: they are not authenticated
    #[arg(long)]
    pub(crate) compat: bool,
}

/// Which backup, as it was when.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SourceArgs {
    /// Name of the backup
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Host part of the backup's name [default: this machine's host name]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// As it was then: RFC 3339, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS in local time, or Unix seconds [default: newest]
    #[arg(long, value_name = "DATE")]
    pub(crate) at: Option<DateText>,
    /// Where it is.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Options of `freezer list`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Only backups of this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only backups of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Print the commands that restore with openssl, a decompressor and GNU tar alone
    #[arg(long, requires = "name")]
    pub(crate) recovery: bool,
    /// As it was then, for --recovery
    #[arg(long, value_name = "DATE", requires = "recovery")]
    pub(crate) at: Option<DateText>,
    /// Authenticate what is shown; needs the password of encrypted backups
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Options of `freezer ls`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LsArgs {
    /// Which backup, from where.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Path below the backup's root [default: the root]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<OsString>,
    /// List directories with all that is below them
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

/// Options of `freezer dump`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct DumpArgs {
    /// Which backup, from where.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Path of a file below the backup's root
    #[arg(value_name = "PATH")]
    pub(crate) path: OsString,
}

/// Options of `freezer check`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct CheckArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Only backups of this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only backups of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Read, decrypt, decompress and compare everything
    #[arg(long)]
    pub(crate) read_data: bool,
}
