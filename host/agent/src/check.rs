//! Checking what is stored: structure, presence, sizes, digests; with `read_data` every byte.
//!
//! Works without the password as far as that goes: segment digests are under the manifest's seal and cover the
//! stored bytes. Each problem names the object, the backups it hits and what to do next; the check goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use freezer_format::chain_key::KeyError;
use freezer_format::manifest::ManifestError;
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{ErrorKind, Store, StoreError};
use serde::Serialize;

use crate::catalogue::{Filter, NamedChains, chains_of, nearest_of};
use crate::check::level::{Finding, LevelCheck};
use crate::date::date;
use crate::error::{AgentError, ExitClass, WITH_A_NEWER};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::seen::{SeenBackups, Sighting};
use crate::select::is_committed;
use crate::survey::{Survey, is_refusal, survey};

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
    /// Where is remembered what the storage showed before; `None` for nowhere.
    pub seen: Option<SeenBackups>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is left over or was removed; no backup is hit.
    Notice,
    /// The password doesn't open it, so its content wasn't looked at.
    Locked,
    /// The storage refuses to show it, or a later freezer wrote it, so nobody knows how it is.
    Unreadable,
    /// Its documents agree, but the password's key didn't seal them.
    Unauthentic,
    /// Stored data is damaged or missing.
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
    /// Backups whose manifest the password authenticated.
    pub authenticated: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read for digests and contents.
    pub bytes_read: u64,
    /// Encrypted backups of which, for want of the password, only the stored bytes were compared.
    pub not_decrypted: u64,
    /// The first 1000 problems and notices.
    pub problems: Vec<Problem>,
    /// How many problems there are, notices not counted.
    pub problem_count: u64,
    /// How many notices there are.
    pub notice_count: u64,
}

impl CheckReport {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        match self.problems.iter().map(|problem| problem.severity).max() {
            Some(Severity::Damage | Severity::Unauthentic) => ExitClass::Damaged,
            Some(Severity::Locked | Severity::Unreadable) => ExitClass::Failed,
            _ if self.backups == 0 => ExitClass::NothingFound,
            _ => ExitClass::Ok,
        }
    }

    fn push(&mut self, problem: Problem) {
        match problem.severity {
            Severity::Notice => self.notice_count += 1,
            _ => self.problem_count += 1,
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else if problem.severity > Severity::Notice
            && let Some(notice) = self
                .problems
                .iter_mut()
                .find(|other| other.severity == Severity::Notice)
        {
            // Problems are never crowded out by notices.
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
        without_key: Keyring::new(None, true),
        context,
        report: CheckReport::default(),
        committed: BTreeSet::new(),
        hidden: BTreeSet::new(),
    };
    let Survey { names, refused } = survey(&**store)?;
    let mut all_shown = true;
    for refused in refused {
        match refused.name {
            Some((name, _)) if !options.filter.matches(&name) => continue,
            Some((name, _)) => drop(checker.hidden.insert(name)),
            None => all_shown = false,
        }
        checker.unreadable(refused.object, &refused.error, Vec::new());
    }
    let mut shown = Vec::new();
    for (name, place) in &names {
        if options.filter.matches(name) {
            match chains_of(&**store, name, *place) {
                Ok(found) => shown.extend(checker.check_name(&found)?),
                Err(error) if is_refusal(&error) => {
                    checker.hidden.insert(name.clone());
                    checker.unreadable(error.key.trim_end_matches('/').to_owned(), &error, Vec::new());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    if let Some(seen) = &options.seen {
        seen.compare(store.url(), &shown, |name| options.filter.matches(name), context);
    }
    // What looks like garbage may belong to a backup that can't be seen.
    if all_shown {
        checker.check_garbage()?;
    }
    if checker.report.backups == 0 && checker.report.problems.is_empty() {
        let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        return Err(nothing_matches(store.url(), &options.filter, &names));
    }
    Ok(checker.report)
}

/// Nothing is there, or nothing of what was asked for.
pub(crate) fn nothing_matches(storage: &str, filter: &Filter, names: &[HostBackupName]) -> AgentError {
    let stored = names.iter().map(HostBackupName::as_str);
    let nearest = match (&filter.name, &filter.host) {
        (Some(name), Some(host)) => nearest_of(&format!("{host}_{name}"), stored),
        (Some(name), None) => {
            let short = stored.map(|stored| stored.split_once('_').map_or(stored, |(_, name)| name));
            nearest_of(name, short)
        }
        (None, Some(host)) => nearest_of(host, stored.filter_map(|stored| Some(stored.split_once('_')?.0))),
        (None, None) => None,
    };
    let asked = match (&filter.host, &filter.name) {
        (Some(host), Some(name)) => format!("{host}_{name}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    };
    AgentError::UnknownName {
        name: asked,
        storage: storage.to_owned(),
        nearest,
        empty: names.is_empty(),
    }
}

/// A level whose documents were read as far as they can be.
struct Opened {
    level: Option<Level>,
    refusal: Option<AgentError>,
}

struct Checker<'a> {
    store: &'a Arc<dyn Store>,
    options: &'a CheckOptions,
    keyring: &'a Keyring,
    /// For looking at what the password doesn't open.
    without_key: Keyring,
    context: &'a RunContext<'a>,
    report: CheckReport,
    /// Data folders that belong to a backup, or may.
    committed: BTreeSet<String>,
    /// Names whose backups can't be seen.
    hidden: BTreeSet<HostBackupName>,
}

/// What to do with what a killed run left.
const UNNEEDED: &str = "nothing needs it; remove it when no run is writing";
/// What to do about what the storage doesn't show.
const UNSHOWN: &str =
    "let this user read it (links aren't followed: the object itself must lie there), then check again";
/// What to do where unfinished uploads can't be seen.
const UNSEEN: &str = "check with credentials that may list uploads, if you want to know";

impl Checker<'_> {
    /// Checks all backups of a name; answers the newest one.
    fn check_name(&mut self, found: &NamedChains) -> Result<Option<Sighting>, AgentError> {
        let mut levels = Vec::new();
        for id in found.chains.iter().flat_map(|chain| chain.levels.iter().copied()) {
            self.context.cancel.check()?;
            let stored = found.level(id);
            match is_committed(&**self.store, &stored) {
                Ok(true) => {
                    self.committed.insert(stored.keys().data_directory());
                    self.report.backups += 1;
                    levels.push((id, self.read_level(found, id)?));
                }
                Ok(false) => self.uncommitted(&stored)?,
                Err(AgentError::Store(error)) if is_refusal(&error) => {
                    self.committed.insert(stored.keys().data_directory());
                    self.unreadable(stored.keys().metadata(), &error, vec![stored.label()]);
                }
                Err(error) => return Err(error),
            }
        }
        let all: Vec<LevelId> = levels.iter().map(|(id, _)| *id).collect();
        let parents = parents(found, &levels);
        for (id, opened) in &levels {
            let hits = hits(*id, &parents);
            match &opened.refusal {
                Some(error) if opened.level.is_some() => self.refused(error, found, *id),
                Some(error) => self.push_error(error, found, *id, &hits),
                None => {}
            }
            let Some(level) = &opened.level else { continue };
            LevelCheck {
                checker: self,
                found,
                level,
                hits: &hits,
                all: &all,
                said: BTreeSet::new(),
            }
            .run()?;
        }
        let newest = levels.iter().max_by_key(|(id, _)| (id.time, id.level));
        Ok(newest.map(|(id, opened)| match &opened.level {
            Some(level) => level.sighting(),
            None => Sighting {
                name: found.name.clone(),
                id: *id,
                manifest: None,
                authentic: false,
            },
        }))
    }

    /// The storage doesn't show something.
    fn unreadable(&mut self, object: String, error: &StoreError, hits: Vec<String>) {
        self.report.push(Problem {
            severity: Severity::Unreadable,
            object,
            reason: format!("can't be read: {}", error.message),
            hits,
            next: UNSHOWN.to_owned(),
        });
    }

    /// Damage is kept as a finding; anything else ends the check. What the password doesn't open or didn't
    /// seal is still looked at from outside.
    fn read_level(&self, found: &NamedChains, id: LevelId) -> Result<Opened, AgentError> {
        let read = |keyring, strictness| Level::read(&**self.store, found.level(id), keyring, strictness);
        let strictness = match self.keyring.passphrase() {
            Some(_) => Strictness::Enforce,
            None => Strictness::Look,
        };
        let error = match read(self.keyring, strictness) {
            Ok(level) => {
                return Ok(Opened {
                    level: Some(level),
                    refusal: None,
                });
            }
            Err(error) if !is_finding(&error) && !error.is_refusal() => return Err(error),
            Err(error) => error,
        };
        let outside = match &error {
            AgentError::Key { .. } | AgentError::Unauthenticated { .. } => {
                match read(&self.without_key, Strictness::Look) {
                    Err(second) if !is_finding(&second) => return Err(second),
                    // Documents that contradict each other: it is damage, not a wrong password.
                    outside => outside.ok(),
                }
            }
            _ => None,
        };
        Ok(Opened {
            level: outside,
            refusal: Some(error),
        })
    }

    /// The password doesn't open a level, or didn't seal it; its documents agree with each other. Levels of one
    /// name that are refused for the same reason are one problem.
    fn refused(&mut self, error: &AgentError, found: &NamedChains, id: LevelId) {
        let stored = found.level(id);
        let (severity, reason, next) = match error {
            AgentError::Unauthenticated { reason, .. } => (
                Severity::Unauthentic,
                format!("is not authenticated: {reason}"),
                "if it was written without a password or by the original, and you trust the storage: --compat, \
                 or --name to check others alone",
            ),
            AgentError::Key { source, .. } => (
                match source {
                    KeyError::Wrong => Severity::Locked,
                    KeyError::Malformed(_) => Severity::Damage,
                },
                format!("can't be opened: {}", chain_text(source)),
                match source {
                    KeyError::Wrong => {
                        "check the pass file: its first line is the password. Without the right one only presence, \
                         sizes and stored bytes are checked"
                    }
                    KeyError::Malformed(_) => "copy the object back from another copy",
                },
            ),
            other => (
                Severity::Damage,
                chain_text(other),
                "copy the object back from another copy",
            ),
        };
        let prefix = format!("{}/", found.name);
        let same = self.report.problems.iter_mut().find(|problem| {
            problem.severity == severity && problem.reason == reason && problem.object.contains(&prefix)
        });
        match same {
            Some(problem) => problem.hits.push(stored.label()),
            None => self.report.push(Problem {
                severity,
                object: stored.keys().manifest(),
                reason,
                hits: vec![stored.label()],
                next: next.to_owned(),
            }),
        }
    }

    fn push_error(&mut self, error: &AgentError, found: &NamedChains, id: LevelId, hits: &[LevelId]) {
        if let Some(error) = error.store_error().filter(|error| is_refusal(error)) {
            let hits = hits.iter().map(|id| found.level(*id).label()).collect();
            self.unreadable(error.key.clone(), error, hits);
            return;
        }
        if let AgentError::Newer { format, .. } = error {
            self.report.push(Problem {
                severity: Severity::Unreadable,
                object: found.level(id).keys().manifest(),
                reason: format!("can't be read: {}", ManifestError::Newer { format: *format }),
                hits: hits.iter().map(|id| found.level(*id).label()).collect(),
                next: WITH_A_NEWER.to_owned(),
            });
            return;
        }
        let (object, reason) = match error {
            AgentError::Damaged { object, reason, .. } => (object.clone(), reason.clone()),
            other => (found.level(id).keys().manifest(), chain_text(other)),
        };
        self.damage(found, id, hits, Finding::of(object, reason));
    }

    fn damage(&mut self, found: &NamedChains, id: LevelId, hits: &[LevelId], finding: Finding) {
        let Finding {
            object,
            reason,
            remedy,
        } = finding;
        let unharmed = found
            .chains
            .iter()
            .flat_map(|chain| &chain.levels)
            .filter(|other| other.time < id.time && !hits.contains(other))
            .filter(|other| {
                self.committed
                    .contains(&found.level(**other).keys().data_directory())
            })
            .max_by_key(|other| other.time);
        let next = match unharmed {
            Some(other) => format!(
                "{remedy}; or restore --at {}, and run backup --full",
                date(other.time)
            ),
            None => format!("{remedy}, or run backup --full"),
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

    fn notice(&mut self, object: String, reason: &str, next: &str) {
        self.report.push(Problem {
            severity: Severity::Notice,
            object,
            reason: reason.to_owned(),
            hits: Vec::new(),
            next: next.to_owned(),
        });
    }
}

/// True for what a check is there to find.
pub(crate) fn is_finding(error: &AgentError) -> bool {
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

type ReadLevel = (LevelId, Opened);

/// Who was made against whom: by the manifest's link, else by the rule of names.
fn parents(found: &NamedChains, levels: &[ReadLevel]) -> Vec<(LevelId, Option<LevelId>)> {
    let parent = |(id, opened): &ReadLevel| {
        let linked = opened
            .level
            .as_ref()
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
