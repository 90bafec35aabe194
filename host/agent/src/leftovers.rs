//! What killed runs left, looked at twice before it is removed: data without a commit point, unfinished uploads,
//! claims, level folders without their document.
//!
//! A listing only proposes. The first look notes what it saw in an object of the storage; a later run removes what
//! it finds unchanged, at least an hour after that note and untouched for the grace, all by the storage's clock, and
//! only after each object was looked at by itself. A folder with a manifest is a backup that lost its commit point:
//! named, never removed. Without times from the storage nothing is removed.

mod find;
mod note;

use freezer_format::name::Timestamp;
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{ErrorKind, Store};
use serde::Serialize;

use crate::catalogue::names;
use crate::error::AgentError;
use crate::storage_clock::{is_older, machine_now, storage_now};

use find::Content;
use note::Note;

/// Between two looks: a listing may lag, and what a run does in between shows.
const LOOKS_APART_SECONDS: i64 = 3600;

/// How to go about leftovers.
#[derive(Debug, Clone, Copy)]
pub struct LeftoverOptions {
    /// What changed since is a run's at work. 0 says that no run is writing, and also lets the two looks follow
    /// each other at once.
    pub grace_seconds: i64,
    /// Whether what both looks saw is removed.
    pub remove: bool,
}

/// What becomes of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A run may be at work on it.
    Young,
    /// Seen for the first time, or changed since.
    Noted,
    /// Seen twice: the next run with removal takes it.
    Confirmed,
    /// Removed.
    Removed,
    /// A backup that lost its commit point: never removed.
    Spared,
}

/// One thing that no backup needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The folder, or the key of the upload.
    pub object: String,
    /// What it is.
    pub reason: String,
    /// Stored bytes, as far as they are known.
    pub bytes: u64,
    /// Its last change by the storage's clock.
    pub modified: Option<Timestamp>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftoverReport {
    /// By key.
    pub leftovers: Vec<Leftover>,
    /// True if the look could be noted, so that a later run can confirm it.
    pub noted: bool,
}

impl LeftoverReport {
    /// How many leftovers have this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.leftovers
            .iter()
            .filter(|leftover| leftover.fate == fate)
            .count()
    }
}

/// Finds leftovers, and on request removes those that a look before this one saw unchanged.
///
/// # Errors
/// There is no container, the storage fails, or the run was cancelled. A storage that can't be written to is no
/// error unless something is to be removed.
pub fn leftovers(
    store: &dyn Store,
    options: &LeftoverOptions,
    context: &RunContext<'_>,
) -> Result<LeftoverReport, AgentError> {
    // A mistyped place isn't an empty one.
    names(store)?;
    let (now, writable) = match storage_now(store, context) {
        Ok(now) => (now, true),
        Err(error) if is_read_only(error.kind) && !options.remove => (machine_now(context), false),
        Err(error) => return Err(error.into()),
    };
    let before = Note::read(store)?;
    let candidates = find::candidates(store, context)?;
    let note = before.renewed(&candidates, now);
    let apart = options.grace_seconds.clamp(0, LOOKS_APART_SECONDS);
    let mut report = LeftoverReport {
        noted: writable,
        ..LeftoverReport::default()
    };
    let mut removed = Vec::new();
    for candidate in &candidates {
        context.cancel.check()?;
        let seen = before.seen_unchanged(candidate);
        let mut fate = match candidate.content {
            Content::LostCommitPoint => Fate::Spared,
            _ if !is_older(candidate.modified, options.grace_seconds, now) => Fate::Young,
            _ if is_older(seen, apart, now) => Fate::Confirmed,
            _ => Fate::Noted,
        };
        if fate == Fate::Confirmed && options.remove && find::remove(store, candidate)? {
            fate = Fate::Removed;
            removed.push(candidate.id());
        }
        report.leftovers.push(Leftover {
            object: candidate.object.clone(),
            reason: candidate.reason(),
            bytes: candidate.bytes,
            modified: candidate.modified,
            fate,
        });
    }
    if writable {
        note.without(&removed).write(store, &before)?;
    }
    Ok(report)
}

fn is_read_only(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Unsupported)
}
