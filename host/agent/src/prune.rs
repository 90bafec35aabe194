//! Removing old backups: mark, wait out the grace, look again, remove.
//!
//! One run does both phases: it marks what the policy lets go, and removes what was marked a grace ago and still may
//! go. How a run that writes and one that removes stay out of each other's way: the newest backup and all it is
//! built on are never chosen (unless the user named the backup for that); a chain with a young claim or upload is
//! left alone; right before a chain is touched, its levels and claims are looked at again; and a backup that builds
//! on marked levels stops (see `mark`). Times are the storage's.

mod history;
mod mark;
mod remove;

use std::collections::BTreeSet;

use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_format::retention::{self, Circumstances, Cut, Policy, Reason};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{Store, StoreError};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::catalogue::{Filter, Place, chains_of};
use crate::check::nothing_matches;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::chain_text;
use crate::seen::SeenBackups;
use crate::storage_clock::{is_older, machine_now, storage_now};
use crate::survey::{Survey, is_refusal, survey};

pub(crate) use mark::{GOING, is_going, require_staying};

use history::NameHistory;
use mark::Marks;

/// What may go, and when.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Which backups.
    pub filter: Filter,
    /// What keeps a backup.
    pub policy: Policy,
    /// Keep what is younger than so many days, by the machine's clock; instead of the policy's own date.
    pub older_than_days: Option<f64>,
    /// Whose days and weeks count.
    pub zone: TimeZone,
    /// More removals than this hold a name back.
    pub limit: Option<usize>,
    /// True if the newest backup may go too: the user named the backup for that.
    pub even_newest: bool,
    /// Seconds between mark and removal, by the storage's clock; 0 removes at once.
    pub grace_seconds: i64,
    /// Whether only is told what would happen.
    pub dry_run: bool,
    /// Where is remembered what the storage showed before: what this run removes is missed by nobody.
    pub seen: Option<SeenBackups>,
}

/// What becomes of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It stays.
    Keep,
    /// It goes once the grace is over.
    Mark,
    /// It is removed; in a dry run it would be marked or removed.
    Remove,
}

/// One backup and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedBackup {
    /// Level-0 time of its chain.
    pub zero: Timestamp,
    /// Its level.
    pub level: u32,
    /// Its time.
    pub time: Timestamp,
    /// Stored bytes, if recorded.
    pub stored_bytes: Option<u64>,
    /// What becomes of it.
    pub action: Action,
    /// Why.
    pub reasons: Vec<String>,
}

/// One name and what became of its backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedName {
    /// Host and backup name as the storage spells them.
    pub name: HostBackupName,
    /// `tar`, `rsync` …, `old` for the layout of the original's first releases.
    pub place: &'static str,
    /// Why the name was left alone.
    pub held: Option<String>,
    /// True if it was left alone because its newest backup is damaged, incomplete or not authentic.
    pub doubtful: bool,
    /// True if it was left alone because something of it can't be looked into: the storage refuses to show it, or a later freezer
    /// wrote it.
    pub unreadable: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Oldest first.
    pub backups: Vec<PrunedBackup>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// By name.
    pub names: Vec<PrunedName>,
}

impl PruneReport {
    /// How many backups have this action.
    pub fn count(&self, action: Action) -> usize {
        let backups = self.names.iter().flat_map(|name| &name.backups);
        backups.filter(|backup| backup.action == action).count()
    }

    /// What the exit code is to say: a name that was held back is a result in part, or a sign of damage.
    pub fn exit_class(&self) -> ExitClass {
        if self.names.iter().any(|name| name.doubtful) {
            ExitClass::Damaged
        } else if self.names.iter().any(|name| name.held.is_some()) {
            ExitClass::Partial
        } else {
            ExitClass::Ok
        }
    }
}

/// Applies a policy to backups.
///
/// # Errors
/// The storage fails, no backup matches, the policy has no rule, or the run was cancelled. What was removed by then
/// is removed; every other backup is whole.
pub fn prune(
    store: &dyn Store,
    options: &PruneOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<PruneReport, AgentError> {
    let Survey { names, refused } = survey(store)?;
    let mut hidden = Vec::new();
    for refused in refused {
        match refused.name {
            Some((name, place)) if options.filter.matches(&name) => {
                hidden.push(unreadable(&name, place, &refused.error));
            }
            Some(_) => {}
            // Any name may be among what isn't shown.
            None => return Err(refused.error.into()),
        }
    }
    let asked: Vec<(HostBackupName, Place)> = names
        .iter()
        .filter(|(name, _)| options.filter.matches(name))
        .cloned()
        .collect();
    if asked.is_empty() && hidden.is_empty() {
        let stored: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        return Err(nothing_matches(store.url(), &options.filter, &stored));
    }
    let now = match options.dry_run {
        true => machine_now(context),
        false => storage_now(store, context)?,
    };
    let mut report = PruneReport {
        dry_run: options.dry_run,
        names: hidden,
    };
    for (name, place) in asked {
        let pruning = Pruning {
            store,
            options,
            keyring,
            context,
            now,
        };
        report.names.extend(pruning.name(&name, place)?);
    }
    Ok(report)
}

struct Pruning<'a> {
    store: &'a dyn Store,
    options: &'a PruneOptions,
    keyring: &'a Keyring,
    context: &'a RunContext<'a>,
    /// By the storage's clock.
    now: Timestamp,
}

impl Pruning<'_> {
    /// Both phases for one name; `None` if it has no backup.
    fn name(&self, name: &HostBackupName, place: Place) -> Result<Option<PrunedName>, AgentError> {
        let (before, mut history) = match self.read(name, place) {
            Ok(read) => read,
            Err(error) => return hidden(name, place, error).map(Some),
        };
        if !self.options.dry_run {
            self.finish_removals(&history, &before)?;
        }
        let removing: BTreeSet<LevelId> = before.ids().collect();
        let busy = match history::busy_chains(self.store, &history.found, &removing, self.now) {
            Ok(busy) => busy,
            Err(error) => return hidden(name, place, error).map(Some),
        };
        for backup in &mut history.backups {
            backup.busy = busy.contains(&backup.id.zero);
        }
        let plan = self.plan(&history)?;
        let chosen = plan.removals();
        let mut pruned = describe(&history, &plan);
        if self.options.dry_run {
            return Ok(Some(pruned).filter(|pruned| !pruned.backups.is_empty()));
        }
        let mut marks = before.renewed(chosen.iter().copied(), self.now);
        marks.write(self.store, name, place, &before)?;
        let removed = self.remove_ripe(&history, &chosen, &mut marks, &mut pruned)?;
        if let Some(seen) = &self.options.seen {
            seen.removed(self.store.url(), name, |id| removed.contains(&id));
        }
        let left = marks.renewed(chosen.into_iter().filter(|id| !removed.contains(id)), self.now);
        left.write(self.store, name, place, &marks)?;
        marks = left;
        for backup in &mut pruned.backups {
            let id = id_of(backup);
            backup.action = match (removed.contains(&id), marks.since(id)) {
                (true, _) => Action::Remove,
                (false, Some(_)) => Action::Mark,
                (false, None) => Action::Keep,
            };
        }
        Ok(Some(pruned).filter(|pruned| !pruned.backups.is_empty()))
    }

    fn read(&self, name: &HostBackupName, place: Place) -> Result<(Marks, NameHistory), AgentError> {
        let found = chains_of(self.store, name, place)?;
        let before = Marks::read(self.store, name, place)?;
        Ok((
            before,
            history::read(self.store, found, self.keyring, self.context)?,
        ))
    }

    fn plan(&self, history: &NameHistory) -> Result<retention::Plan, AgentError> {
        let now = machine_now(self.context);
        let mut policy = self.options.policy.clone();
        if let Some(days) = self.options.older_than_days {
            policy.cut = Some(Cut::older_than(days, now));
        }
        let around = Circumstances {
            zone: &self.options.zone,
            now,
            limit: self.options.limit,
            even_newest: self.options.even_newest,
        };
        retention::plan(&history.backups, &policy, &around).map_err(|error| AgentError::Unsupported {
            reason: format!("{error}: everything would go"),
            next: "give a rule such as --keep-daily 7; a [backup.NAME] of the configuration file may hold it"
                .to_owned(),
        })
    }

    /// Ends what an earlier run began. A level that is only marked and has lost its commit point stays: it may be had back.
    fn finish_removals(&self, history: &NameHistory, before: &Marks) -> Result<(), AgentError> {
        let present: BTreeSet<LevelId> = history.backups.iter().map(|backup| backup.id).collect();
        for id in before.begun().filter(|id| !present.contains(id)) {
            self.context.cancel.check()?;
            let level = history.found.level(id);
            // The listing may lag: only the object itself tells that it is gone.
            if level.place == Place::Old || !crate::select::is_committed(self.store, &level)? {
                remove::remove_level(self.store, &level)?;
            }
        }
        Ok(())
    }

    /// The second phase. Answers what was removed.
    fn remove_ripe(
        &self,
        history: &NameHistory,
        chosen: &[LevelId],
        marks: &mut Marks,
        pruned: &mut PrunedName,
    ) -> Result<BTreeSet<LevelId>, AgentError> {
        let grace = self.options.grace_seconds;
        let ripe: BTreeSet<LevelId> = chosen
            .iter()
            .copied()
            .filter(|id| is_older(marks.since(*id), grace, self.now))
            .collect();
        let mut removed = BTreeSet::new();
        let mut zeros: Vec<Timestamp> = chosen.iter().map(|id| id.zero).collect();
        zeros.dedup();
        for zero in zeros {
            let of_chain: Vec<LevelId> = chosen.iter().copied().filter(|id| id.zero == zero).collect();
            if !of_chain.iter().any(|id| ripe.contains(id)) {
                continue;
            }
            if let Some(change) = self.change_since(history, zero, marks)? {
                pruned.warnings.push(format!(
                    "the chain begun at {} is left alone: {change}",
                    crate::date::date(zero)
                ));
                continue;
            }
            for id in of_chain {
                // Never what something that is still there is built on: not even what is only marked yet.
                let needed = history
                    .backups
                    .iter()
                    .any(|other| other.parent == Some(id) && !removed.contains(&other.id));
                if needed || !ripe.contains(&id) {
                    continue;
                }
                self.context.cancel.check()?;
                let _whole = self.context.cancel.mask();
                let begun = marks.removing(&[id]);
                begun.write(self.store, &history.found.name, history.found.place, marks)?;
                *marks = begun;
                remove::remove_level(self.store, &history.found.level(id))?;
                removed.insert(id);
            }
        }
        Ok(removed)
    }

    /// Looks at a chain once more: what other runs did in it since the decision.
    fn change_since(
        &self,
        history: &NameHistory,
        zero: Timestamp,
        marks: &Marks,
    ) -> Result<Option<&'static str>, AgentError> {
        let found = chains_of(self.store, &history.found.name, history.found.place)?;
        let removing: BTreeSet<LevelId> = marks.ids().collect();
        if history::busy_chains(self.store, &found, &removing, self.now)?.contains(&zero) {
            return Ok(Some("a run is writing in it"));
        }
        let known: BTreeSet<LevelId> = history.backups.iter().map(|backup| backup.id).collect();
        let chain = found.chains.iter().find(|chain| chain.zero == zero);
        for id in chain.iter().flat_map(|chain| chain.levels.iter()) {
            if !known.contains(id) && crate::select::is_committed(self.store, &found.level(*id))? {
                return Ok(Some("it grew meanwhile"));
            }
        }
        Ok(None)
    }
}

fn id_of(backup: &PrunedBackup) -> LevelId {
    LevelId {
        zero: backup.zero,
        level: freezer_format::name::Level(backup.level),
        time: backup.time,
    }
}

/// The decision in words; everything chosen as if it went at once.
fn describe(history: &NameHistory, plan: &retention::Plan) -> PrunedName {
    let backups = plan.verdicts.iter().map(|verdict| PrunedBackup {
        zero: verdict.id.zero,
        level: verdict.id.level.0,
        time: verdict.id.time,
        stored_bytes: history.bytes.get(&verdict.id).copied(),
        action: match verdict.keep {
            true => Action::Keep,
            false => Action::Remove,
        },
        reasons: verdict.reasons.iter().map(Reason::to_string).collect(),
    });
    let doubts = plan.doubts.iter().map(ToString::to_string);
    PrunedName {
        name: history.found.name.clone(),
        place: place_word(history.found.place),
        held: plan.hold.as_ref().map(ToString::to_string),
        doubtful: matches!(plan.hold, Some(retention::Hold::NewestNotRestorable(_))),
        unreadable: false,
        warnings: history.warnings.iter().cloned().chain(doubts).collect(),
        backups: backups.collect(),
    }
}

/// A name of which something can't be looked into: nothing of it goes, and the others are looked at.
///
/// # Errors
/// What concerns more than this name.
fn hidden(name: &HostBackupName, place: Place, error: AgentError) -> Result<PrunedName, AgentError> {
    match (&error, error.store_error()) {
        (_, Some(refusal)) if is_refusal(refusal) => Ok(unreadable(name, place, refusal)),
        (AgentError::Newer { .. }, _) => Ok(held(name, place, chain_text(&error))),
        _ => Err(error),
    }
}

fn unreadable(name: &HostBackupName, place: Place, error: &StoreError) -> PrunedName {
    held(
        name,
        place,
        format!("{:?} can't be read: {}", error.key, error.message),
    )
}

fn held(name: &HostBackupName, place: Place, why: String) -> PrunedName {
    PrunedName {
        name: name.clone(),
        place: place_word(place),
        held: Some(why),
        doubtful: false,
        unreadable: true,
        warnings: Vec::new(),
        backups: Vec::new(),
    }
}

fn place_word(place: Place) -> &'static str {
    match place {
        Place::New(engine) => engine.dir(),
        Place::Old => "old",
    }
}
