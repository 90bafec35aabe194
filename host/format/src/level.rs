//! The level of the next backup.
//!
//! The original's rules (no increment asked, no chain, max level, always level, restart always level) with
//! one mended: `restart-always-level` counts from level 0, as its help says, not from the latest backup,
//! which never let it happen. Ours are added: chains end after a number of levels or days.

use std::fmt;

use crate::chain::Chain;
use crate::name::{Level, LevelId, Timestamp};

/// What the user asked about levels.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelPolicy {
    /// False makes every backup a level 0.
    pub incremental: bool,
    /// True makes every increment against level 0.
    pub differential: bool,
    /// Begin a new chain once this level exists.
    pub max_level: Option<u32>,
    /// Once this level exists, make it again and again against the level below.
    pub always_level: Option<u32>,
    /// Begin a new chain when level 0 is older than this many days.
    pub restart_always_days: Option<f64>,
    /// Most levels in a chain, level 0 included.
    pub chain_levels: Option<u32>,
    /// Most days between level 0 and its last increment.
    pub chain_days: Option<f64>,
}

impl Default for LevelPolicy {
    /// Increments of increments, a new chain after 30 levels or 30 days.
    fn default() -> Self {
        Self {
            incremental: true,
            differential: false,
            max_level: None,
            always_level: None,
            restart_always_days: None,
            chain_levels: Some(30),
            chain_days: Some(30.0),
        }
    }
}

/// Why a level 0 is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FullReason {
    /// It was asked for.
    Requested,
    /// Streams have no increments.
    Stream,
    /// The name has no backup yet.
    FirstBackup,
    /// `max_level` is reached.
    MaxLevel(u32),
    /// `always_level` is 0 or lower than what is there.
    AlwaysLevel(u32),
    /// `restart_always_days` are over.
    RestartAlways,
    /// The chain has as many levels as it may have.
    ChainLevels(u32),
    /// The chain is as old as it may become.
    ChainDays,
    /// A level that the increment would need is missing.
    MissingLevel(Level),
    /// The increments store more than level 0 does.
    IncrementsOutgrewFull,
    /// An option that a chain can't change was changed; the text names it.
    OptionChanged(String),
    /// The parent can't be continued; the text says why.
    ParentUnusable(String),
    /// One of several storages lacks the chain: an increment would be worthless there.
    StorageLacksChain {
        /// The storage's URL.
        storage: String,
        /// What it lacks.
        why: String,
    },
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("a full backup was asked for"),
            Self::Stream => f.write_str("a stream is stored whole each time"),
            Self::FirstBackup => f.write_str("it is the first backup of this name"),
            Self::MaxLevel(level) => write!(f, "the chain reached level {level}"),
            Self::AlwaysLevel(level) => write!(f, "the chain goes above the level {level} to be kept"),
            Self::RestartAlways => f.write_str("the chain is due to be restarted"),
            Self::ChainLevels(levels) => write!(f, "the chain has {levels} levels"),
            Self::ChainDays => f.write_str("the chain's level 0 is too old"),
            Self::MissingLevel(level) => write!(f, "level {level} of the newest chain is missing"),
            Self::IncrementsOutgrewFull => f.write_str("the increments store more than level 0"),
            Self::OptionChanged(option) => write!(f, "{option} changed"),
            Self::ParentUnusable(why) => write!(f, "the newest chain can't be continued: {why}"),
            Self::StorageLacksChain { storage, why } => {
                write!(f, "the newest chain isn't whole in {storage}: {why}")
            }
        }
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextLevel {
    /// Begin a new chain.
    Full(FullReason),
    /// Continue a chain.
    Increment {
        /// The new backup's level.
        level: Level,
        /// What it is made against.
        parent: LevelId,
        /// The chain.
        zero: Timestamp,
    },
}

/// Decides from the policy, the newest chain of the name and the present time.
pub fn next_level(policy: &LevelPolicy, newest: Option<&Chain>, now: Timestamp) -> NextLevel {
    match decide(policy, newest, now) {
        Ok(increment) => increment,
        Err(reason) => NextLevel::Full(reason),
    }
}

fn decide(policy: &LevelPolicy, newest: Option<&Chain>, now: Timestamp) -> Result<NextLevel, FullReason> {
    if !policy.incremental {
        return Err(FullReason::Requested);
    }
    let (chain, tip) = newest
        .and_then(|c| Some((c, c.tip()?)))
        .ok_or(FullReason::FirstBackup)?;
    let top = tip.level.0;
    if let Some(max) = policy.max_level.filter(|max| *max <= top) {
        return Err(FullReason::MaxLevel(max));
    }
    if let Some(always) = policy.always_level.filter(|always| *always == 0 || top > *always) {
        return Err(FullReason::AlwaysLevel(always));
    }
    if is_older(chain.zero, policy.restart_always_days, now) {
        return Err(FullReason::RestartAlways);
    }
    if is_older(chain.zero, policy.chain_days, now) {
        return Err(FullReason::ChainDays);
    }
    let ancestry = chain.ancestry(tip).map_err(|error| match error {
        crate::chain::SelectError::MissingLevel { level, .. } => FullReason::MissingLevel(level),
        _ => FullReason::FirstBackup,
    })?;
    let parent_index = if policy.differential {
        0
    } else if policy.always_level == Some(top) {
        ancestry.len().saturating_sub(2)
    } else {
        ancestry.len() - 1
    };
    let parent = ancestry[parent_index];
    let level = parent
        .level
        .0
        .checked_add(1)
        .ok_or(FullReason::ChainLevels(u32::MAX))?;
    if let Some(levels) = policy.chain_levels.filter(|levels| level >= *levels) {
        return Err(FullReason::ChainLevels(levels));
    }
    Ok(NextLevel::Increment {
        level: Level(level),
        parent,
        zero: chain.zero,
    })
}

/// True if more than `days` lie between `since` and `now`; a clock set back is never older.
fn is_older(since: Timestamp, days: Option<f64>, now: Timestamp) -> bool {
    // Seconds of any real date are exact in an f64 (2^53).
    #[expect(clippy::cast_precision_loss, reason = "whole seconds below 2^53 are exact")]
    let age = now.0.saturating_sub(since.0) as f64;
    days.is_some_and(|days| age > days * 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::chains;
    use rstest::rstest;

    const DAY: i64 = 86_400;

    /// A chain with level-0 time 1000 and these (level, days after level 0).
    fn chain(levels: &[(u32, i64)]) -> Chain {
        let zero = Timestamp(1000);
        let ids = levels.iter().map(|(level, days)| LevelId {
            zero,
            level: Level(*level),
            time: Timestamp(1000 + days * DAY),
        });
        chains(ids).remove(0)
    }

    fn after(days: i64) -> Timestamp {
        Timestamp(1001 + days * DAY)
    }

    fn increment(level: u32, parent: (u32, i64)) -> NextLevel {
        let zero = Timestamp(1000);
        let parent = LevelId {
            zero,
            level: Level(parent.0),
            time: Timestamp(1000 + parent.1 * DAY),
        };
        NextLevel::Increment {
            level: Level(level),
            parent,
            zero,
        }
    }

    #[test]
    fn the_first_backup_is_full() {
        assert_eq!(
            next_level(&LevelPolicy::default(), None, after(0)),
            NextLevel::Full(FullReason::FirstBackup)
        );
    }

    #[test]
    fn a_full_one_can_be_asked_for() {
        let policy = LevelPolicy {
            incremental: false,
            ..Default::default()
        };
        let next = next_level(&policy, Some(&chain(&[(0, 0)])), after(0));
        assert_eq!(next, NextLevel::Full(FullReason::Requested));
    }

    #[test]
    fn the_next_level_is_made_against_the_newest() {
        let policy = LevelPolicy::default();
        assert_eq!(
            next_level(&policy, Some(&chain(&[(0, 0), (1, 1)])), after(2)),
            increment(2, (1, 1))
        );
    }

    #[rstest]
    #[case(&[(0, 0)], increment(1, (0, 0)))]
    #[case(&[(0, 0), (1, 1)], increment(2, (1, 1)))]
    #[case(&[(0, 0), (1, 1), (2, 2)], NextLevel::Full(FullReason::MaxLevel(2)))]
    fn max_level_ends_the_chain(#[case] levels: &[(u32, i64)], #[case] expected: NextLevel) {
        let policy = LevelPolicy {
            max_level: Some(2),
            ..Default::default()
        };
        assert_eq!(next_level(&policy, Some(&chain(levels)), after(3)), expected);
    }

    #[rstest]
    #[case(2, &[(0, 0), (1, 1)], increment(2, (1, 1)))]
    #[case(2, &[(0, 0), (1, 1), (2, 2)], increment(2, (1, 1)))]
    #[case(2, &[(0, 0), (1, 1), (2, 2), (2, 3)], increment(2, (1, 1)))]
    #[case(1, &[(0, 0), (1, 1), (2, 2)], NextLevel::Full(FullReason::AlwaysLevel(1)))]
    #[case(0, &[(0, 0)], NextLevel::Full(FullReason::AlwaysLevel(0)))]
    fn always_level_repeats_it(
        #[case] always: u32,
        #[case] levels: &[(u32, i64)],
        #[case] expected: NextLevel,
    ) {
        let policy = LevelPolicy {
            always_level: Some(always),
            ..Default::default()
        };
        assert_eq!(next_level(&policy, Some(&chain(levels)), after(4)), expected);
    }

    #[test]
    fn restart_always_level_counts_from_level_zero() {
        let policy = LevelPolicy {
            always_level: Some(1),
            restart_always_days: Some(3.5),
            ..Default::default()
        };
        let daily = chain(&[(0, 0), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(next_level(&policy, Some(&daily), after(3)), increment(1, (0, 0)));
        assert_eq!(
            next_level(&policy, Some(&daily), after(4)),
            NextLevel::Full(FullReason::RestartAlways)
        );
    }

    #[test]
    fn a_differential_is_always_level_one() {
        let policy = LevelPolicy {
            differential: true,
            ..Default::default()
        };
        let next = next_level(&policy, Some(&chain(&[(0, 0), (1, 1), (2, 2)])), after(3));
        assert_eq!(next, increment(1, (0, 0)));
    }

    #[test]
    fn a_chain_has_thirty_levels_and_thirty_days() {
        let policy = LevelPolicy::default();
        let levels: Vec<_> = (0..29).map(|level| (level, 0)).collect();
        assert_eq!(
            next_level(&policy, Some(&chain(&levels)), after(1)),
            increment(29, (28, 0))
        );
        let levels: Vec<_> = (0..30).map(|level| (level, 0)).collect();
        let full = next_level(&policy, Some(&chain(&levels)), after(1));
        assert_eq!(full, NextLevel::Full(FullReason::ChainLevels(30)));
        let full = next_level(&policy, Some(&chain(&[(0, 0), (1, 29)])), after(30));
        assert_eq!(full, NextLevel::Full(FullReason::ChainDays));
    }

    #[test]
    fn a_clock_set_back_continues_the_chain() {
        let next = next_level(
            &LevelPolicy::default(),
            Some(&chain(&[(0, 0)])),
            Timestamp(i64::MIN),
        );
        assert_eq!(next, increment(1, (0, 0)));
    }

    #[test]
    fn a_broken_chain_is_not_continued() {
        let next = next_level(&LevelPolicy::default(), Some(&chain(&[(0, 0), (2, 2)])), after(3));
        assert_eq!(next, NextLevel::Full(FullReason::MissingLevel(Level(1))));
    }

    #[test]
    fn the_highest_level_there_can_be_is_not_continued() {
        let policy = LevelPolicy {
            chain_levels: None,
            chain_days: None,
            ..Default::default()
        };
        let next = next_level(&policy, Some(&chain(&[(u32::MAX, 0)])), after(0));
        assert!(matches!(next, NextLevel::Full(FullReason::MissingLevel(_))));
    }
}
