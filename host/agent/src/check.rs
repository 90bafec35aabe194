//! Checking what is stored: structure, presence, sizes, digests; with `read_data` every byte.
//!
//! Works without the pass phrase as far as that goes: segment digests are under the manifest's seal and cover the
//! stored bytes. Each problem names the object, the backups it hits and what to do next; the check goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use freezer_format::name::LevelId;
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{ErrorKind, Store, StoreError};
use serde::Serialize;

use crate::catalogue::{Filter, NamedChains, chains_of, names};
use crate::check::level::LevelCheck;
use crate::date::date;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::select::is_committed;

mod garbage;
mod level;

/// Most problems that a report lists.
const MAX_PROBLEMS: usize = 1000;

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Which backups.
    pub filter: Filter,
    /// Whether everything is read.
    pub read_data: bool,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is left over or was removed; no backup is hit.
    Notice,
    /// Stored data is damaged, missing, or not authentic.
    Damage,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The object's key, or the folder of several.
    pub object: String,
    /// What is wrong with it, in words that follow the key.
    pub reason: String,
    /// The backups that can't be restored wholly because of it.
    pub hits: Vec<String>,
    /// What to do.
    pub next: String,
}

/// What was checked and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Backups looked at.
    pub backups: u64,
    /// Backups whose manifest the pass phrase authenticated.
    pub authenticated: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read for digests and contents.
    pub bytes_read: u64,
    /// The first 1000 problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl CheckReport {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        if self
            .problems
            .iter()
            .any(|problem| problem.severity == Severity::Damage)
        {
            ExitClass::Damaged
        } else if self.backups == 0 {
            ExitClass::NothingFound
        } else {
            ExitClass::Ok
        }
    }

    fn push(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else if problem.severity == Severity::Damage
            && let Some(notice) = self
                .problems
                .iter_mut()
                .find(|other| other.severity == Severity::Notice)
        {
            // Damage is never crowded out by notices.
            *notice = problem;
        }
    }
}

/// Checks backups.
///
/// # Errors
/// The storage fails, a name is asked for that isn't there, or the run was cancelled. Damage is in the report.
pub fn check(
    store: &Arc<dyn Store>,
    options: &CheckOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<CheckReport, AgentError> {
    let mut checker = Checker {
        store,
        options,
        keyring,
        context,
        report: CheckReport::default(),
        committed: BTreeSet::new(),
    };
    for (name, place) in names(&**store)? {
        if options.filter.matches(&name) {
            checker.check_name(&chains_of(&**store, &name, place)?)?;
        }
    }
    checker.check_garbage()?;
    if checker.report.backups == 0 && checker.report.problems.is_empty() {
        let asked = options
            .filter
            .name
            .clone()
            .or_else(|| options.filter.host.clone())
            .unwrap_or_default();
        let empty = options.filter.name.is_none() && options.filter.host.is_none();
        return Err(AgentError::UnknownName {
            name: asked,
            storage: store.url().to_owned(),
            nearest: None,
            empty,
        });
    }
    Ok(checker.report)
}

struct Checker<'a> {
    store: &'a Arc<dyn Store>,
    options: &'a CheckOptions,
    keyring: &'a Keyring,
    context: &'a RunContext<'a>,
    report: CheckReport,
    /// Data folders that belong to a backup.
    committed: BTreeSet<String>,
}

impl Checker<'_> {
    fn check_name(&mut self, found: &NamedChains) -> Result<(), AgentError> {
        let mut levels = Vec::new();
        for id in found.chains.iter().flat_map(|chain| chain.levels.iter().copied()) {
            self.context.cancel.check()?;
            let stored = found.level(id);
            if is_committed(&**self.store, &stored)? {
                self.committed.insert(stored.keys().data_directory());
                self.report.backups += 1;
                levels.push((id, self.read_level(found, id)?));
            } else {
                self.notice(
                    stored.keys().metadata_directory(),
                    "holds no backup: a run was killed, or the backup is being removed",
                );
            }
        }
        let all: Vec<LevelId> = levels.iter().map(|(id, _)| *id).collect();
        let parents = parents(found, &levels);
        for (id, level) in &levels {
            let hits = hits(*id, &parents);
            match level {
                Ok(level) => LevelCheck {
                    checker: self,
                    found,
                    level,
                    hits: &hits,
                    all: &all,
                }
                .run()?,
                Err(error) => self.push_error(error, found, *id, &hits),
            }
        }
        Ok(())
    }

    /// Damage is kept as a finding; anything else ends the check.
    fn read_level(&self, found: &NamedChains, id: LevelId) -> Result<Result<Level, AgentError>, AgentError> {
        let strictness = if self.keyring.passphrase().is_some() {
            Strictness::Enforce
        } else {
            Strictness::Look
        };
        match Level::read(&**self.store, found.level(id), self.keyring, strictness) {
            Err(error) if !is_finding(&error) => Err(error),
            result => Ok(result),
        }
    }

    fn push_error(&mut self, error: &AgentError, found: &NamedChains, id: LevelId, hits: &[LevelId]) {
        let (object, reason) = match error {
            AgentError::Damaged { object, reason, .. } => (object.clone(), reason.clone()),
            other => (found.level(id).keys().manifest(), chain_text(other)),
        };
        self.damage(found, id, hits, (object, reason));
    }

    fn damage(
        &mut self,
        found: &NamedChains,
        id: LevelId,
        hits: &[LevelId],
        (object, reason): (String, String),
    ) {
        let unharmed = found
            .chains
            .iter()
            .flat_map(|chain| &chain.levels)
            .filter(|other| other.time < id.time && !hits.contains(other))
            .max_by_key(|other| other.time);
        let next = match unharmed {
            Some(other) => format!(
                "copy the object back from another copy; or restore --at {}, and run backup --full",
                date(other.time)
            ),
            None => "copy the object back from another copy, and run backup --full".to_owned(),
        };
        let hits = hits.iter().map(|id| found.level(*id).label()).collect();
        self.report.push(Problem {
            severity: Severity::Damage,
            object,
            reason,
            hits,
            next,
        });
    }

    fn notice(&mut self, object: String, reason: &str) {
        let next = "nothing needs it; remove it when no run is writing".to_owned();
        self.report.push(Problem {
            severity: Severity::Notice,
            object,
            reason: reason.to_owned(),
            hits: Vec::new(),
            next,
        });
    }
}

/// True for what a check is there to find.
fn is_finding(error: &AgentError) -> bool {
    match error {
        AgentError::Store(error) => matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound),
        AgentError::Object { source, .. } => source.is_damage(),
        AgentError::Restore { source, .. } => source.is_damage(),
        error => matches!(
            error,
            AgentError::Damaged { .. } | AgentError::Unauthenticated { .. } | AgentError::Key { .. }
        ),
    }
}

/// True for a storage error that is a finding.
fn is_lost(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound)
}

type ReadLevel = (LevelId, Result<Level, AgentError>);

/// Who was made against whom: by the manifest's link, else by the rule of names.
fn parents(found: &NamedChains, levels: &[ReadLevel]) -> Vec<(LevelId, Option<LevelId>)> {
    let parent = |(id, level): &ReadLevel| {
        let linked = level
            .as_ref()
            .ok()
            .and_then(Level::manifest)
            .and_then(|manifest| manifest.parent_id());
        let by_name = || {
            found
                .chains
                .iter()
                .find(|chain| chain.zero == id.zero)?
                .parent_of(*id)
        };
        (*id, linked.or_else(by_name))
    };
    levels.iter().map(parent).collect()
}

/// The level and all that is built on it.
fn hits(id: LevelId, parents: &[(LevelId, Option<LevelId>)]) -> Vec<LevelId> {
    let mut hits = vec![id];
    // Children follow their parents in the order of levels, so one pass finds all descendants.
    for (child, parent) in parents {
        if parent.is_some_and(|parent| hits.contains(&parent)) && !hits.contains(child) {
            hits.push(*child);
        }
    }
    hits
}
