//! The rules of `prune`, as a section of the configuration file or the command line gives them.

use freezer_format::retention::Period;
use serde::{Deserialize, Deserializer};

use super::written::{days, parsed};
use crate::args::{BeforeText, Days, KeepArgs};

/// What keeps a backup; the names are those of the options.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Rules {
    /// The newest so many.
    pub(crate) keep_last: Option<u32>,
    /// One of each of so many hours.
    pub(crate) keep_hourly: Option<u32>,
    /// One of each of so many days.
    pub(crate) keep_daily: Option<u32>,
    /// One of each of so many weeks.
    pub(crate) keep_weekly: Option<u32>,
    /// One of each of so many months.
    pub(crate) keep_monthly: Option<u32>,
    /// One of each of so many years.
    pub(crate) keep_yearly: Option<u32>,
    /// All within this time before the newest.
    #[serde(deserialize_with = "parsed")]
    pub(crate) keep_within: Option<Period>,
    /// All with these tags, lists separated by commas.
    #[serde(deserialize_with = "texts")]
    pub(crate) keep_tag: Vec<String>,
    /// All younger than so many days.
    #[serde(deserialize_with = "days")]
    pub(crate) remove_older_than: Option<Days>,
    /// All younger than this date.
    #[serde(deserialize_with = "parsed")]
    pub(crate) remove_before_date: Option<BeforeText>,
}

impl Rules {
    /// These, or `below` if none is given: rules of two places are never mixed, since together they mean another thing.
    pub(crate) fn or(self, below: Rules) -> Rules {
        match self == Rules::default() {
            true => below,
            false => self,
        }
    }

    /// The first rule that is given and keeps nothing.
    pub(crate) fn first_zero(&self) -> Option<&'static str> {
        let counts = [
            ("keep-last", self.keep_last),
            ("keep-hourly", self.keep_hourly),
            ("keep-daily", self.keep_daily),
            ("keep-weekly", self.keep_weekly),
            ("keep-monthly", self.keep_monthly),
            ("keep-yearly", self.keep_yearly),
        ];
        let zero = counts.into_iter().find(|(_, count)| *count == Some(0));
        zero.map(|(rule, _)| rule)
    }
}

impl From<KeepArgs> for Rules {
    fn from(args: KeepArgs) -> Rules {
        Rules {
            keep_last: args.keep_last,
            keep_hourly: args.keep_hourly,
            keep_daily: args.keep_daily,
            keep_weekly: args.keep_weekly,
            keep_monthly: args.keep_monthly,
            keep_yearly: args.keep_yearly,
            keep_within: args.keep_within,
            keep_tag: args.keep_tag,
            remove_older_than: args.remove_older_than,
            remove_before_date: args.remove_before_date,
        }
    }
}

/// One text or a list of them.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Texts::deserialize(deserializer)? {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    })
}
