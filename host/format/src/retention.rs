//! Retention: which backups of a name are kept, which may go, and why.
//!
//! Pure: history, policy, time zone and present time are arguments. A backup goes only if no rule keeps it, and
//! never if a kept one needs it, so chains get shorter from their tips down and never lose a level in between.
//! The newest backup stays with all that it needs, unless the caller says otherwise in so many words. Removing is
//! the caller's work; what the plan says twice in a row, it says the same.

mod bucket;
mod period;
mod reason;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use crate::name::{LevelId, Timestamp};

pub use bucket::Bucket;
pub use period::{Period, PeriodError};
pub use reason::{Doubt, Hold, Reason};

/// So far may a machine's clock be off before a backup counts as one from the future.
const CLOCK_TOLERANCE_SECONDS: i64 = 86_400;

/// When the newest backup is older than this, a clock that runs ahead is as likely as a pause: most jobs run at
/// least monthly.
const LONG_PAUSE_SECONDS: i64 = 35 * 86_400;

/// Most backups of a name that go while the clock is in doubt and no limit is given.
pub const DOUBT_LIMIT: usize = 10;

/// What keeps a backup. Rules add up: one that applies is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: u32,
    /// The newest backup of each of the newest so many hours, days, …, that have one.
    pub buckets: BTreeMap<Bucket, u32>,
    /// Everything within this time before the newest backup.
    pub within: Option<Period>,
    /// Whatever has all tags of one of these lists.
    pub tags: Vec<Vec<String>>,
    /// Everything younger than this.
    pub cut: Option<Cut>,
}

/// The date that `--remove-before-date` and `--remove-older-than` give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Backups up to this second are old.
    pub at: Timestamp,
    /// Whether it was counted back from the machine's clock, which may be wrong.
    pub by_clock: bool,
}

impl Cut {
    /// `days` before `now`; fractions count.
    pub fn older_than(days: f64, now: Timestamp) -> Self {
        // Days of any sense fit; what doesn't is cut off at the ends of time by the conversion.
        #[expect(clippy::cast_possible_truncation, reason = "float to integer saturates")]
        let seconds = (days.max(0.0) * 86_400.0) as i64;
        Self {
            at: Timestamp(now.0.saturating_sub(seconds)),
            by_clock: true,
        }
    }
}

impl Policy {
    /// True if nothing is said: then nothing may be removed.
    pub fn is_empty(&self) -> bool {
        self.last == 0
            && self.buckets.values().all(|count| *count == 0)
            && self.within.is_none()
            && self.tags.is_empty()
            && self.cut.is_none()
    }
}

/// One committed level of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its place.
    pub id: LevelId,
    /// What it was made against; `None` at level 0.
    pub parent: Option<LevelId>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Whether the user pinned it.
    pub pinned: bool,
    /// Whether all of its own that must be there is there and can be trusted.
    pub complete: bool,
    /// Whether a run may be writing in its chain at this moment.
    pub busy: bool,
}

/// The circumstances under which the policy is applied.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// Whose hours, days and weeks count.
    pub zone: &'a TimeZone,
    /// The machine's clock.
    pub now: Timestamp,
    /// More than this many removals hold the whole name back.
    pub limit: Option<usize>,
    /// True if the newest backup may go too: the user named the backup for that.
    pub even_newest: bool,
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub id: LevelId,
    /// Whether it stays.
    pub keep: bool,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// What becomes of all backups of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Oldest first.
    pub verdicts: Vec<Verdict>,
    /// Why nothing at all goes.
    pub hold: Option<Hold>,
    /// What is odd about the clock.
    pub doubts: Vec<Doubt>,
}

impl Plan {
    /// What goes, in the order in which it must: of a chain, children before their parents.
    pub fn removals(&self) -> Vec<LevelId> {
        let mut ids: Vec<LevelId> = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.keep)
            .map(|verdict| verdict.id)
            .collect();
        ids.sort_unstable_by_key(|id| (id.zero, std::cmp::Reverse((id.level, id.time))));
        ids
    }
}

/// A policy without rules would keep nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule says what to keep")]
pub struct EmptyPolicy;

/// Decides about all backups of one name.
///
/// # Errors
/// [`EmptyPolicy`]: without a rule everything would go.
pub fn plan(backups: &[Backup], policy: &Policy, around: &Circumstances<'_>) -> Result<Plan, EmptyPolicy> {
    if policy.is_empty() {
        return Err(EmptyPolicy);
    }
    let history = History::of(backups, around.now);
    let mut reasons: BTreeMap<LevelId, Vec<Reason>> = BTreeMap::new();
    let mut say = |id: LevelId, reason: Reason| reasons.entry(id).or_default().push(reason);
    history.standing(&mut say);
    if !around.even_newest
        && let Some(newest) = history.newest()
    {
        say(newest.id, Reason::Newest);
    }
    history.by_rules(policy, around.zone, &mut say);
    history.what_is_needed(&mut reasons);
    let doubts = history.doubts(policy, around.now);
    let hold = history.hold(&reasons, around, !doubts.is_empty());
    let verdicts = history
        .oldest_first()
        .map(|backup| verdict(backup.id, reasons.remove(&backup.id), policy, hold.as_ref()))
        .collect();
    Ok(Plan {
        verdicts,
        hold,
        doubts,
    })
}

fn verdict(id: LevelId, said: Option<Vec<Reason>>, policy: &Policy, hold: Option<&Hold>) -> Verdict {
    let (keep, reasons) = match (said, hold) {
        (Some(reasons), _) => (true, reasons),
        (None, Some(_)) => (true, vec![Reason::HeldBack]),
        (None, None) => (
            false,
            vec![match policy.cut {
                Some(cut) => Reason::Old(cut.at),
                None => Reason::NoRule,
            }],
        ),
    };
    Verdict { id, keep, reasons }
}

/// A name's backups, looked up by place and ordered by time.
struct History<'a> {
    by_id: BTreeMap<LevelId, &'a Backup>,
    /// Newest first.
    ordered: Vec<&'a Backup>,
    /// Those that a restore could use.
    restorable: BTreeSet<LevelId>,
    now: Timestamp,
}

impl<'a> History<'a> {
    fn of(backups: &'a [Backup], now: Timestamp) -> Self {
        let by_id: BTreeMap<LevelId, &Backup> = backups.iter().map(|backup| (backup.id, backup)).collect();
        let mut ordered: Vec<&Backup> = by_id.values().copied().collect();
        ordered.sort_unstable_by_key(|backup| std::cmp::Reverse((backup.id.time, backup.id.level)));
        let mut history = Self {
            by_id,
            ordered,
            restorable: BTreeSet::new(),
            now,
        };
        let restorable = |backup: &&&Backup| history.is_restorable(backup);
        let restorable = history.ordered.iter().filter(restorable).map(|backup| backup.id);
        history.restorable = restorable.collect();
        history
    }

    /// The parent, if it is there and can be one: below its child in the same chain.
    fn parent(&self, backup: &Backup) -> Option<&'a Backup> {
        let parent = backup.parent?;
        let possible = parent.zero == backup.id.zero && parent.level < backup.id.level;
        self.by_id.get(&parent).copied().filter(|_| possible)
    }

    fn is_restorable(&self, backup: &Backup) -> bool {
        let mut level = backup;
        while level.complete {
            match self.parent(level) {
                Some(parent) => level = parent,
                None => return level.id.level.0 == 0,
            }
        }
        false
    }

    fn newest(&self) -> Option<&'a Backup> {
        self.ordered.first().copied()
    }

    fn oldest_first(&self) -> impl Iterator<Item = &'a Backup> {
        self.ordered.iter().rev().copied()
    }

    fn is_future(&self, backup: &Backup) -> bool {
        backup.id.time.0 > self.now.0.saturating_add(CLOCK_TOLERANCE_SECONDS)
    }

    /// What keeps a backup whatever the policy says.
    fn standing(&self, say: &mut dyn FnMut(LevelId, Reason)) {
        for backup in &self.ordered {
            if backup.pinned {
                say(backup.id, Reason::Pinned);
            }
            if backup.busy {
                say(backup.id, Reason::Busy);
            }
            if self.is_future(backup) {
                say(backup.id, Reason::Future);
            }
        }
    }

    /// The policy's rules. What can't be restored, or comes from the future, takes nobody's place in them.
    fn by_rules(&self, policy: &Policy, zone: &TimeZone, say: &mut dyn FnMut(LevelId, Reason)) {
        let counted: Vec<&Backup> = self
            .ordered
            .iter()
            .copied()
            .filter(|backup| self.restorable.contains(&backup.id) && !self.is_future(backup))
            .collect();
        for (place, backup) in counted.iter().enumerate().take(policy.last as usize) {
            say(backup.id, Reason::Last(place + 1));
        }
        for (bucket, count) in &policy.buckets {
            keep_buckets(&counted, (*bucket, *count), zone, say);
        }
        if let (Some(within), Some(newest)) = (policy.within, counted.first()) {
            let since = within.before(newest.id.time, zone);
            let young = counted.iter().filter(|backup| backup.id.time >= since);
            young.for_each(|backup| say(backup.id, Reason::Within(within)));
        }
        for backup in &counted {
            let has = |list: &&Vec<String>| list.iter().all(|tag| backup.tags.contains(tag));
            if let Some(list) = policy.tags.iter().find(has) {
                say(backup.id, Reason::Tagged(list.clone()));
            }
        }
        for backup in &self.ordered {
            match policy.cut {
                Some(cut) if backup.id.time > cut.at => say(backup.id, Reason::Young(cut.at)),
                // Its missing part may be copied back; only a date is a clear enough word against it.
                None if !self.restorable.contains(&backup.id) => say(backup.id, Reason::NotRestorable),
                _ => {}
            }
        }
    }

    /// Whatever stays keeps what it is built on.
    fn what_is_needed(&self, reasons: &mut BTreeMap<LevelId, Vec<Reason>>) {
        let mut needed = Vec::new();
        for backup in self
            .ordered
            .iter()
            .filter(|backup| reasons.contains_key(&backup.id))
        {
            let mut level = *backup;
            while let Some(parent) = self.parent(level) {
                needed.push((parent.id, backup.id));
                level = parent;
            }
        }
        for (parent, child) in needed {
            let said = reasons.entry(parent).or_default();
            if !said.iter().any(|reason| matches!(reason, Reason::NeededBy(_))) {
                said.push(Reason::NeededBy(child));
            }
        }
    }

    fn doubts(&self, policy: &Policy, now: Timestamp) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let future = self
            .ordered
            .iter()
            .filter(|backup| self.is_future(backup))
            .count();
        if future > 0 {
            doubts.push(Doubt::FutureBackups(future));
        }
        if let Some(newest) = self.newest()
            && policy.cut.is_some_and(|cut| cut.by_clock)
            && now.0.saturating_sub(newest.id.time.0) > LONG_PAUSE_SECONDS
        {
            doubts.push(Doubt::LongPause {
                newest: newest.id.time,
                now,
            });
        }
        doubts
    }

    /// Whether the whole name is left alone.
    fn hold(
        &self,
        reasons: &BTreeMap<LevelId, Vec<Reason>>,
        around: &Circumstances<'_>,
        doubtful: bool,
    ) -> Option<Hold> {
        let newest = self.newest()?;
        if !around.even_newest && !self.restorable.contains(&newest.id) {
            return Some(Hold::NewestNotRestorable(newest.id));
        }
        let going = self.ordered.len() - reasons.len();
        let limit = around.limit.or(doubtful.then_some(DOUBT_LIMIT));
        limit
            .filter(|limit| going > *limit)
            .map(|limit| Hold::Limit { going, limit })
    }
}

/// Keeps the newest backup of each of the newest `count` buckets; while there are fewer, also the oldest backup of
/// all, so that a young history grows into its rule.
fn keep_buckets(
    counted: &[&Backup],
    (bucket, count): (Bucket, u32),
    zone: &TimeZone,
    say: &mut dyn FnMut(LevelId, Reason),
) {
    let mut left = count;
    let mut last: Option<String> = None;
    for (place, backup) in counted.iter().enumerate() {
        if left == 0 {
            return;
        }
        let label = bucket.label(backup.id.time, zone);
        let oldest = place + 1 == counted.len();
        if last.as_ref() != Some(&label) || oldest {
            say(backup.id, Reason::Bucket(bucket, label.clone()));
            left -= 1;
        }
        last = Some(label);
    }
}
