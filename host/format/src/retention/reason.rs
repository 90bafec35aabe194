//! Why a backup stays or goes, and why a whole name is left alone, in words for tables and documents.

use std::fmt;

use super::bucket::Bucket;
use super::period::Period;
use crate::name::{LevelId, Timestamp};

/// Why one backup stays or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is the newest.
    Newest,
    /// It is one of the last, counted from the newest, which is 1.
    Last(usize),
    /// It is the newest of a stretch of the calendar.
    Bucket(Bucket, String),
    /// It lies so near before the newest.
    Within(Period),
    /// It has these tags.
    Tagged(Vec<String>),
    /// It is younger than the date given.
    Young(Timestamp),
    /// The user pinned it.
    Pinned,
    /// A run may be writing in its chain.
    Busy,
    /// It is dated in the future.
    Future,
    /// It can't be restored as it is, and no date speaks against it.
    NotRestorable,
    /// A backup that stays is built on it.
    NeededBy(LevelId),
    /// The whole name is left alone.
    HeldBack,
    /// It goes: no rule keeps it.
    NoRule,
    /// It goes: it is as old as the date given, and no other rule keeps it.
    Old(Timestamp),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest backup"),
            Self::Last(place) => write!(f, "last {place}"),
            Self::Bucket(bucket, label) => write!(f, "{} {label}", bucket.word()),
            Self::Within(period) => write!(f, "within {period}"),
            Self::Tagged(tags) => write!(f, "tag {}", tags.join(",")),
            Self::Young(cut) => write!(f, "younger than {}", date(*cut)),
            Self::Pinned => f.write_str("pinned"),
            Self::Busy => f.write_str("a run may be writing in its chain"),
            Self::Future => f.write_str("dated in the future"),
            Self::NotRestorable => f.write_str("can't be restored as it is; only a date removes it"),
            Self::NeededBy(child) => write!(f, "needed by level {} of {}", child.level, date(child.time)),
            Self::HeldBack => f.write_str("held back"),
            Self::NoRule => f.write_str("no rule keeps it"),
            Self::Old(cut) => write!(f, "not younger than {}", date(*cut)),
        }
    }
}

/// Why nothing of a name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The newest backup can't be restored: older ones may be all there is.
    NewestNotRestorable(LevelId),
    /// More would go than may.
    Limit {
        /// So many would go.
        going: usize,
        /// So many may.
        limit: usize,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewestNotRestorable(id) => write!(
                f,
                "its newest backup, level {} of {}, can't be restored",
                id.level,
                date(id.time)
            ),
            Self::Limit { going, limit } => write!(f, "{going} backups would go and {limit} may"),
        }
    }
}

/// What is odd about the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// So many backups are dated after now.
    FutureBackups(usize),
    /// The clock is far ahead of the newest backup, or there was a long pause.
    LongPause {
        /// The newest backup.
        newest: Timestamp,
        /// The clock.
        now: Timestamp,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FutureBackups(1) => f.write_str("1 backup is dated in the future: is the clock right?"),
            Self::FutureBackups(count) => {
                write!(f, "{count} backups are dated in the future: is the clock right?")
            }
            Self::LongPause { newest, now } => write!(
                f,
                "the newest backup is of {}, long before now, {}: is the clock right?",
                date(*newest),
                date(*now)
            ),
        }
    }
}

/// `2026-03-01T02:00:00Z`; a number of seconds that is no date stays a number.
fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.to_string(), |time| time.to_string())
}
