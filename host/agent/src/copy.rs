//! Copying backups between storages: the stored bytes as they are, whole chains or what is missing of them.
//!
//! Parents go first and `metadata` last, so at no moment the target shows an increment without what it is built on.
//! Digests and sizes are compared with the manifest on the way; who sealed it isn't: that takes the password, and
//! `check` has it. What the target has already is looked at and left alone.

mod level;

use std::collections::BTreeSet;
use std::sync::Arc;

use freezer_format::chain::{SelectError, select};
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::Store;
use serde::Serialize;

use crate::catalogue::{Filter, NamedChains, Place, StoredLevel, chains_of};
use crate::check::{is_finding, nothing_matches};
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::resume::JournalOptions;
use crate::select::{Wanted, ancestry, is_committed, target};
use crate::survey::{Survey, is_refusal, survey};
use level::LevelCopy;

/// Which states of a backup are copied, each with all that it is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyWhich {
    /// The newest.
    Newest,
    /// The one of a date.
    At(Timestamp),
    /// All.
    All,
}

/// What is to be copied, and how.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Which backups.
    pub filter: Filter,
    /// Which of their states.
    pub which: CopyWhich,
    /// Bytes of a segment of backups that don't tell theirs.
    pub segment_bytes: u64,
    /// Bytes of buffers that may be held.
    pub memory_bytes: u64,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Where unfinished copies are written down; `None` for nowhere.
    pub journal: Option<JournalOptions>,
}

/// What became of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// It was copied, or would be.
    Copied,
    /// The target has it, whole.
    Present,
    /// The target had it, and objects that it lacked were copied.
    Mended,
}

/// One backup of a copy.
#[derive(Debug, Clone, Serialize)]
pub struct CopiedLevel {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Its level.
    pub level: u32,
    /// Its time.
    pub time: Timestamp,
    /// Bytes that were, or would be, written.
    pub bytes: u64,
    /// What became of it.
    pub state: CopyState,
    /// Whether its bytes could be compared with a manifest; the original's backups have none.
    pub compared: bool,
}

/// What a copy came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CopyReport {
    /// Every backup that was looked at, parents first.
    pub levels: Vec<CopiedLevel>,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes that an interrupted copy had stored and that weren't sent again.
    pub reused_bytes: u64,
    /// Names of which something couldn't be copied, because it is damaged or isn't shown.
    pub failed: Vec<FailedCopy>,
}

/// A name that wasn't copied whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedCopy {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Why, on one line.
    pub reason: String,
    /// True if what is stored is damaged or incomplete.
    pub damaged: bool,
}

impl CopyReport {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        match self.failed.iter().map(|failed| failed.damaged).max() {
            None => ExitClass::Ok,
            Some(true) => ExitClass::Damaged,
            Some(false) => ExitClass::Partial,
        }
    }
}

/// Copies backups from one storage to another. A name that can't be copied is told and doesn't keep others from it.
///
/// # Errors
/// Nothing matches, a storage fails, or the only name asked for can't be copied: what is read differs from its manifest,
/// another backup lies in a place. What was copied until then stays: parents are there before anything built on them, and
/// the same call goes on.
pub fn copy(
    (from, to): (&Arc<dyn Store>, &Arc<dyn Store>),
    options: &CopyOptions,
    context: &RunContext<'_>,
) -> Result<CopyReport, AgentError> {
    let Survey { names, refused } = survey(&**from)?;
    let copying = LevelCopy {
        from,
        to,
        options,
        context,
    };
    let mut report = CopyReport::default();
    let mut failures = Vec::new();
    for refused in refused {
        match refused.name {
            Some((name, _)) if options.filter.matches(&name) => failures.push((name, refused.error.into())),
            Some(_) => {}
            // Any name may be among what isn't shown.
            None => return Err(refused.error.into()),
        }
    }
    let (mut seen, mut is_found) = (BTreeSet::new(), false);
    for (name, place) in names.iter().filter(|(name, _)| options.filter.matches(name)) {
        // Both layouts are looked through at once.
        if !seen.insert(name) && options.which != CopyWhich::All {
            continue;
        }
        match copying.name(name, *place, &mut report) {
            Ok(found) => is_found |= found,
            Err(error) if concerns_a_name(&error, from.url()) => failures.push((name.clone(), error)),
            Err(error) => return Err(error),
        }
    }
    match failures.pop() {
        None if is_found => return Ok(report),
        None => {
            let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
            return Err(nothing_matches(from.url(), &options.filter, &names));
        }
        // Nothing else was asked for: it is the answer.
        Some((_, error)) if failures.is_empty() && seen.len() <= 1 => return Err(error),
        Some(last) => failures.push(last),
    }
    report.failed = failures.into_iter().map(FailedCopy::from).collect();
    Ok(report)
}

/// True for what is wrong with one name, so that others can be copied all the same.
fn concerns_a_name(error: &AgentError, from: &str) -> bool {
    let refused = error
        .store_error()
        .is_some_and(|error| is_refusal(error) && error.storage == from);
    refused
        || is_finding(error)
        || matches!(
            error,
            AgentError::Select { .. }
                | AgentError::Newer { .. }
                | AgentError::Unsupported { .. }
                | AgentError::Taken { .. }
        )
}

impl From<(HostBackupName, AgentError)> for FailedCopy {
    fn from((name, error): (HostBackupName, AgentError)) -> Self {
        Self {
            name,
            damaged: error.exit_class() == ExitClass::Damaged,
            reason: chain_text(&error),
        }
    }
}

impl LevelCopy<'_> {
    /// Copies what is wanted of one name; false if there is nothing of it.
    fn name(&self, name: &HostBackupName, place: Place, report: &mut CopyReport) -> Result<bool, AgentError> {
        let wanted = match self.options.which {
            CopyWhich::All => every_level(&**self.from, name, place)?,
            CopyWhich::Newest => state(&**self.from, (name, place), None)?,
            CopyWhich::At(at) => state(&**self.from, (name, place), Some(at))?,
        };
        let is_found = !wanted.is_empty();
        for stored in wanted {
            self.context.cancel.check()?;
            let (copied, reused) = self.run(stored)?;
            report.bytes = report.bytes.saturating_add(copied.bytes);
            report.reused_bytes = report.reused_bytes.saturating_add(reused);
            report.levels.push(copied);
        }
        Ok(is_found)
    }
}

/// All committed levels, parents before what is built on them.
fn every_level(
    store: &dyn Store,
    name: &HostBackupName,
    place: Place,
) -> Result<Vec<StoredLevel>, AgentError> {
    let found = chains_of(store, name, place)?;
    let ids = found.chains.iter().flat_map(|chain| &chain.levels);
    let mut levels = Vec::new();
    for level in ids.map(|id| found.level(*id)) {
        if is_committed(store, &level)? {
            levels.push(level);
        }
    }
    require_parents(store, &found, &levels)?;
    Ok(levels)
}

/// Every level must have what it is built on, or the copy would look whole and not be.
fn require_parents(store: &dyn Store, found: &NamedChains, levels: &[StoredLevel]) -> Result<(), AgentError> {
    let keyring = Keyring::new(None, true);
    let mut known: BTreeSet<LevelId> = BTreeSet::new();
    for level in levels.iter().rev().filter(|level| level.place != Place::Old) {
        if known.contains(&level.id) {
            continue;
        }
        let built_on = ancestry(store, found, level.id, (&keyring, Strictness::Look))?;
        known.extend(built_on.iter().map(|level| level.stored.id));
    }
    Ok(())
}

/// One state with all that it is built on; nothing for a name that has none of then.
fn state(
    store: &dyn Store,
    (name, place): (&HostBackupName, Place),
    at: Option<Timestamp>,
) -> Result<Vec<StoredLevel>, AgentError> {
    let wanted = Wanted {
        name: name.clone(),
        at,
    };
    // What other engines of the original wrote has no manifests to go by.
    if place != Place::Old && !place.is_ours() {
        let found = chains_of(store, name, place)?;
        let ids = select(&found.chains, at).unwrap_or_default();
        return Ok(ids.into_iter().map(|id| found.level(id)).collect());
    }
    let (found, level) = match target(store, &wanted) {
        Err(AgentError::Select {
            reason: SelectError::NoneBefore { .. },
            ..
        }) => return Ok(Vec::new()),
        other => other?,
    };
    let keyring = Keyring::new(None, true);
    let levels: Vec<Level> = ancestry(store, &found, level.id, (&keyring, Strictness::Look))?;
    Ok(levels.into_iter().map(|level| level.stored).collect())
}
