//! `freezer prune`.

use freezer_format::retention::Period;

use super::browse::StorageArgs;
use super::values::{BeforeText, Days};

/// Options of `freezer prune`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PruneArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Only backups of this name; its [backup.NAME] of the configuration file may hold the rules
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only backups of this host [default: this machine's host name]
    #[arg(long, value_name = "HOST", conflicts_with = "all_hosts")]
    pub(crate) host: Option<String>,
    /// Backups of every host in the storage
    #[arg(long)]
    pub(crate) all_hosts: bool,
    /// What to keep.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Remove at once, not only what an earlier run marked
    #[arg(long, conflicts_with = "grace")]
    pub(crate) now: bool,
    /// Time between the run that marks a backup and the one that removes it [default: 1h]
    #[arg(long, value_name = "PERIOD")]
    pub(crate) grace: Option<Period>,
    /// Leave a name alone if more than this many of its backups would go [default: 10 if the clock is in doubt]
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Let the newest backups of NAME go too, if no rule keeps them
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) all_of: Option<String>,
    /// Show what would go and why, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The rules: a backup stays if one of them keeps it.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Rules (a backup stays if one keeps it)")]
pub(crate) struct KeepArgs {
    /// Keep the newest so many
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_last: Option<u32>,
    /// Keep the newest of each of the last so many hours that have a backup
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_hourly: Option<u32>,
    /// The same for days
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_daily: Option<u32>,
    /// The same for weeks
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_weekly: Option<u32>,
    /// The same for months
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_monthly: Option<u32>,
    /// The same for years
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_yearly: Option<u32>,
    /// Keep all within this time before the newest, such as 1y5m7d2h
    #[arg(long, value_name = "PERIOD")]
    pub(crate) keep_within: Option<Period>,
    /// Keep all that have these tags, TAG or TAG,TAG; may be given several times
    #[arg(long, value_name = "TAGS")]
    pub(crate) keep_tag: Vec<String>,
    /// Keep all that are younger than this, fractions allowed
    #[arg(long, value_name = "DAYS", conflicts_with = "remove_before_date")]
    pub(crate) remove_older_than: Option<Days>,
    /// Keep all that are younger than this date
    #[arg(long, value_name = "DATE")]
    pub(crate) remove_before_date: Option<BeforeText>,
}
