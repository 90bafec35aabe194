//! Chains: a level 0 and the increments on it, and which levels a restore needs.
//!
//! Pure arithmetic over names found in a storage; whether a level's objects exist is the caller's question.
//! A level 0 without increments is a chain too. Foreign entries never reach this module.

use std::collections::BTreeMap;

use crate::name::{Level, LevelId, Timestamp};

/// The levels that share one level-0 time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Time of level 0; it names the chain even if level 0 itself is lost.
    pub zero: Timestamp,
    /// All levels found, sorted by level, then time; a level may stand there several times.
    pub levels: Vec<LevelId>,
}

impl Chain {
    /// The newest level by time; of equal times the higher level.
    pub fn tip(&self) -> Option<LevelId> {
        self.levels.iter().copied().max_by_key(|id| (id.time, id.level))
    }

    /// The level that `child` was made against by name alone: one lower, the newest not younger than it.
    pub fn parent_of(&self, child: LevelId) -> Option<LevelId> {
        let level = child.level.0.checked_sub(1)?;
        self.levels
            .iter()
            .copied()
            .filter(|id| id.level.0 == level && id.time <= child.time)
            .max_by_key(|id| id.time)
    }

    /// The levels 0 … n to apply, in order, for the state that `target` holds.
    ///
    /// # Errors
    /// [`SelectError::MissingLevel`] names the first absent level below `target`.
    pub fn ancestry(&self, target: LevelId) -> Result<Vec<LevelId>, SelectError> {
        let mut levels = vec![target];
        let mut child = target;
        while child.level.0 > 0 {
            child = self.parent_of(child).ok_or(SelectError::MissingLevel {
                zero: self.zero,
                level: Level(child.level.0 - 1),
                wanted: target,
            })?;
            levels.push(child);
        }
        levels.reverse();
        Ok(levels)
    }
}

/// Groups levels into chains, oldest chain first. Duplicates are kept once.
pub fn chains(ids: impl IntoIterator<Item = LevelId>) -> Vec<Chain> {
    let mut by_zero: BTreeMap<Timestamp, Vec<LevelId>> = BTreeMap::new();
    for id in ids {
        by_zero.entry(id.zero).or_default().push(id);
    }
    by_zero
        .into_iter()
        .map(|(zero, mut levels)| {
            levels.sort_unstable();
            levels.dedup();
            Chain { zero, levels }
        })
        .collect()
}

/// Chooses the levels that restore the newest state at or before `at` (the newest of all without it).
///
/// The newest chain begun by then decides; in it the newest backup by then; below it, per level, the newest
/// one that is not younger than its child.
///
/// # Errors
/// Nothing is there, nothing is old enough, or a level in between is missing.
pub fn select(chains: &[Chain], at: Option<Timestamp>) -> Result<Vec<LevelId>, SelectError> {
    let oldest = chains
        .iter()
        .map(|chain| chain.zero)
        .min()
        .ok_or(SelectError::Empty)?;
    let in_time = |time: Timestamp| at.is_none_or(|at| time <= at);
    let mut newest_first: Vec<&Chain> = chains.iter().filter(|chain| in_time(chain.zero)).collect();
    newest_first.sort_unstable_by_key(|chain| std::cmp::Reverse(chain.zero));
    for chain in newest_first {
        let target = chain
            .levels
            .iter()
            .copied()
            .filter(|id| in_time(id.time))
            .max_by_key(|id| (id.time, id.level));
        if let Some(target) = target {
            return chain.ancestry(target);
        }
    }
    Err(SelectError::NoneBefore {
        at: at.unwrap_or(Timestamp(i64::MAX)),
        oldest,
    })
}

/// Why no levels can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no backup at all.
    #[error("there is no backup")]
    Empty,
    /// All backups are younger than the asked date.
    #[error("no backup is as old as {at}; the oldest is of {oldest}")]
    NoneBefore {
        /// The asked date.
        at: Timestamp,
        /// The oldest backup there is.
        oldest: Timestamp,
    },
    /// A level below the wanted one is not there.
    #[error(
        "level {level} of the chain begun at {zero} is missing, so level {} of {} can't be restored",
        wanted.level, wanted.time
    )]
    MissingLevel {
        /// The chain.
        zero: Timestamp,
        /// The absent level.
        level: Level,
        /// The level that was to be restored.
        wanted: LevelId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(zero: i64, level: u32, time: i64) -> LevelId {
        LevelId {
            zero: Timestamp(zero),
            level: Level(level),
            time: Timestamp(time),
        }
    }

    fn history() -> Vec<Chain> {
        chains([
            id(100, 0, 100),
            id(100, 1, 110),
            id(200, 1, 220),
            id(200, 0, 200),
            id(100, 2, 120),
        ])
    }

    #[test]
    fn chains_are_grouped_and_sorted() {
        let chains = history();
        assert_eq!(chains.iter().map(|c| c.zero.0).collect::<Vec<_>>(), [100, 200]);
        assert_eq!(
            chains[0].levels,
            [id(100, 0, 100), id(100, 1, 110), id(100, 2, 120)]
        );
    }

    #[test]
    fn without_a_date_the_newest_is_chosen() {
        assert_eq!(
            select(&history(), None).unwrap(),
            [id(200, 0, 200), id(200, 1, 220)]
        );
    }

    #[test]
    fn a_date_is_inclusive() {
        assert_eq!(
            select(&history(), Some(Timestamp(110))).unwrap(),
            [id(100, 0, 100), id(100, 1, 110)]
        );
        assert_eq!(
            select(&history(), Some(Timestamp(109))).unwrap(),
            [id(100, 0, 100)]
        );
        assert_eq!(
            select(&history(), Some(Timestamp(219))).unwrap(),
            [id(200, 0, 200)]
        );
    }

    #[test]
    fn a_date_before_the_first_backup_names_the_oldest() {
        let error = select(&history(), Some(Timestamp(99))).unwrap_err();
        assert_eq!(
            error,
            SelectError::NoneBefore {
                at: Timestamp(99),
                oldest: Timestamp(100)
            }
        );
        assert_eq!(select(&[], None), Err(SelectError::Empty));
    }

    #[test]
    fn a_missing_middle_level_is_named() {
        let chains = chains([id(1, 0, 1), id(1, 2, 3)]);
        let expected = SelectError::MissingLevel {
            zero: Timestamp(1),
            level: Level(1),
            wanted: id(1, 2, 3),
        };
        assert_eq!(select(&chains, None), Err(expected));
        assert_eq!(select(&chains, Some(Timestamp(2))).unwrap(), [id(1, 0, 1)]);
    }

    #[test]
    fn a_missing_level_zero_is_named() {
        let chains = chains([id(1, 1, 2)]);
        let expected = SelectError::MissingLevel {
            zero: Timestamp(1),
            level: Level(0),
            wanted: id(1, 1, 2),
        };
        assert_eq!(select(&chains, None), Err(expected));
    }

    #[test]
    fn of_a_repeated_level_only_the_newest_is_applied() {
        let chains = chains([id(1, 0, 1), id(1, 1, 2), id(1, 2, 3), id(1, 2, 4), id(1, 2, 5)]);
        assert_eq!(
            select(&chains, None).unwrap(),
            [id(1, 0, 1), id(1, 1, 2), id(1, 2, 5)]
        );
        assert_eq!(
            select(&chains, Some(Timestamp(4))).unwrap(),
            [id(1, 0, 1), id(1, 1, 2), id(1, 2, 4)]
        );
    }

    #[test]
    fn a_newer_differential_hides_the_levels_above_it() {
        let chains = chains([id(1, 0, 1), id(1, 1, 2), id(1, 2, 3), id(1, 1, 4)]);
        assert_eq!(select(&chains, None).unwrap(), [id(1, 0, 1), id(1, 1, 4)]);
    }

    proptest! {
        /// Histories made level by level: whatever the date, the newest state at that date is chosen.
        #[test]
        fn selection_agrees_with_a_naive_replay(steps in prop::collection::vec((0u8..4, 1i64..50), 1..60), at in 0i64..3000) {
            let (mut now, mut zero, mut stack) = (0i64, 0i64, Vec::<LevelId>::new());
            let (mut all, mut expected) = (Vec::new(), None);
            for (kind, pause) in steps {
                now += pause;
                match kind {
                    0 => { zero = now; stack.clear(); }
                    1 => stack.truncate(1),
                    2 if stack.len() > 1 => { stack.pop(); }
                    _ => {}
                }
                if stack.is_empty() { zero = now; }
                let made = id(zero, u32::try_from(stack.len()).unwrap(), now);
                stack.push(made);
                all.push(made);
                if now <= at { expected = Some(stack.clone()); }
            }
            let chosen = select(&chains(all), Some(Timestamp(at)));
            prop_assert_eq!(chosen.ok(), expected);
        }

        #[test]
        fn selection_never_panics(ids in prop::collection::vec((0i64..4, 0u32..4, 0i64..9), 0..20), at in prop::option::of(0i64..9)) {
            let chains = chains(ids.into_iter().map(|(zero, level, time)| id(zero, level, time)));
            if let Ok(levels) = select(&chains, at.map(Timestamp)) {
                for (index, level) in levels.iter().enumerate() {
                    prop_assert_eq!(level.level.0 as usize, index);
                }
                prop_assert!(levels.windows(2).all(|pair| pair[0].time <= pair[1].time));
            }
        }
    }
}
