//! `freezer tag`.

use super::browse::{SourceArgs, StorageArgs};

/// Options of `freezer tag`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TagArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: TagVerb,
}

/// What is done with tags.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum TagVerb {
    /// Give tags to a backup
    Add(TagChangeArgs),
    /// Take tags from a backup
    Remove(TagChangeArgs),
    /// Let prune keep a backup whatever its rules say
    Pin(PinArgs),
    /// Take a pin away
    Unpin(PinArgs),
    /// List backups with their tags and pins
    List(TagListArgs),
}

/// Options of `freezer tag add` and `remove`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TagChangeArgs {
    /// Which backup.
    #[command(flatten)]
    pub(crate) target: PinArgs,
    /// The tags
    #[arg(value_name = "TAG", required = true)]
    pub(crate) tags: Vec<String>,
}

/// Which backup.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PinArgs {
    /// The backup.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// All backups of the name
    #[arg(long, conflicts_with = "at")]
    pub(crate) all: bool,
}

/// Options of `freezer tag list`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TagListArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Only backups of this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only backups of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}
