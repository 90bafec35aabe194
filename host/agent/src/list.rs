//! The list of backups, read from what lies in clear: no key is derived unless verification is asked for.
//!
//! A damaged or foreign backup is a row with its trouble in it and never hides the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use freezer_format::chain::chains;
use freezer_format::manifest::Status;
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::Store;
use serde::{Serialize, Serializer};

use crate::backup::STREAM_OPTION;
use crate::catalogue::{Filter, Place, StoredLevel, chains_of, label};
use crate::date::date;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::seen::{SeenBackups, Sighting};
use crate::survey::{Survey, Unreadable, is_refusal, survey};

/// Which backups are listed, and how closely they are looked at.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which.
    pub filter: Filter,
    /// Whether each manifest is authenticated by the password.
    pub verify: bool,
    /// Where is remembered what the storage showed before; `None` for nowhere.
    pub seen: Option<SeenBackups>,
}

/// What is known of a backup's health from its documents: its data isn't looked at, which is the check's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything was stored when it was made.
    Committed,
    /// Something could not be read when it was made.
    Partial,
    /// Written by the original: it recorded nothing to judge by.
    Original,
    /// Its documents are damaged or contradict each other.
    Damaged,
    /// Its manifest isn't authentic (only told when verifying).
    Unauthenticated,
    /// A level that it is built on is missing, so it can't be restored.
    Incomplete,
    /// The storage refuses to show its documents, or a later freezer wrote them.
    Unreadable,
}

/// One backup.
#[derive(Debug, Clone, Serialize)]
pub struct BackupRow {
    /// Host and backup name as the storage spells them.
    pub name: HostBackupName,
    /// The host, as recorded; guessed as what stands before the first underscore if not.
    pub host: String,
    /// The backup name without the host.
    pub backup_name: String,
    /// `tar`, `rsync` …
    pub engine: String,
    /// True if it lies in the layout of the original's first releases.
    pub old_layout: bool,
    /// Place in its chain.
    #[serde(flatten, serialize_with = "serialize_id")]
    pub id: LevelId,
    /// What was backed up: a path of the host, or the name of a stream.
    pub path: Option<String>,
    /// The mode that made it.
    pub mode: Option<String>,
    /// Bytes stored, data and index together.
    pub stored_bytes: Option<u64>,
    /// Bytes of all files.
    pub bytes: Option<u64>,
    /// Number of files.
    pub files: Option<u64>,
    /// The compression, if recorded.
    pub compression: Option<String>,
    /// Whether it is encrypted, if recorded.
    pub encrypted: Option<bool>,
    /// Its health.
    pub state: State,
    /// Whether the password authenticated it; `None` if that wasn't tried.
    pub authentic: Option<bool>,
    /// The level that is missing, for [`State::Incomplete`].
    pub missing_level: Option<u32>,
    /// What is wrong, for the states that aren't good.
    pub trouble: Option<String>,
    /// What its manifest says it was made against.
    #[serde(skip)]
    parent: Option<LevelId>,
    /// SHA-256 of the manifest's first line.
    #[serde(skip)]
    pub manifest_sha256: Option<[u8; 32]>,
}

/// What a storage holds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Listing {
    /// By name, then chain, then level and time.
    pub backups: Vec<BackupRow>,
    /// Names and places that the storage doesn't show.
    pub unreadable: Vec<Unreadable>,
}

impl Listing {
    /// What the exit code is to say: what can't be looked into is missing from the list.
    pub fn exit_class(&self) -> ExitClass {
        let hidden = |row: &BackupRow| row.state == State::Unreadable;
        match self.unreadable.is_empty() && !self.backups.iter().any(hidden) {
            true => ExitClass::Ok,
            false => ExitClass::Partial,
        }
    }
}

fn serialize_id<S: Serializer>(id: &LevelId, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("zero", &id.zero)?;
    map.serialize_entry("level", &id.level)?;
    map.serialize_entry("time", &id.time)?;
    map.end()
}

/// Lists backups, by name, then chain, then level and time.
///
/// # Errors
/// The storage fails, the run was cancelled, or verifying lacks a password. What the storage refuses to show is in the
/// answer.
pub fn list(
    store: &Arc<dyn Store>,
    options: &ListOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<Listing, AgentError> {
    let without_key = Keyring::new(None, true);
    let keyring = if options.verify { keyring } else { &without_key };
    let mut listing = Listing::default();
    let Survey { names, refused } = survey(&**store)?;
    let asked = |name: &HostBackupName| options.filter.matches(name);
    for refused in &refused {
        if refused.name.as_ref().is_none_or(|(name, _)| asked(name)) {
            listing.unreadable.push(refused.told());
        }
    }
    for (name, place) in names.into_iter().filter(|(name, _)| asked(name)) {
        let found = match chains_of(&**store, &name, place) {
            Ok(found) => found,
            Err(error) if is_refusal(&error) => {
                listing.unreadable.push(Unreadable {
                    object: error.key.trim_end_matches('/').to_owned(),
                    reason: error.message,
                });
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut rows = Vec::new();
        for id in found.chains.iter().flat_map(|chain| &chain.levels) {
            context.cancel.check()?;
            rows.extend(row(&**store, found.level(*id), options.verify, keyring)?);
        }
        mark_incomplete(&mut rows);
        listing.backups.extend(rows);
    }
    if let Some(seen) = &options.seen {
        let shown: Vec<Sighting> = listing.backups.iter().map(sighting).collect();
        seen.compare(store.url(), &shown, asked, context);
    }
    Ok(listing)
}

/// Finds what can't be restored because something below it isn't there.
fn mark_incomplete(rows: &mut [BackupRow]) {
    let chains = chains(rows.iter().map(|row| row.id));
    let mut missing: BTreeMap<LevelId, (u32, Option<Timestamp>)> = BTreeMap::new();
    // Parents come first.
    for row in rows {
        let Some(below) = row.id.level.0.checked_sub(1) else {
            continue;
        };
        let chain = chains.iter().find(|chain| chain.zero == row.id.zero);
        let present = |id: &LevelId| chain.is_some_and(|chain| chain.levels.contains(id));
        let by_name = || chain.and_then(|chain| chain.parent_of(row.id));
        let gap = match row.parent {
            Some(parent) if present(&parent) => missing.get(&parent).copied(),
            Some(parent) => Some((below, Some(parent.time))),
            None => match by_name() {
                Some(parent) => missing.get(&parent).copied(),
                None => Some((below, None)),
            },
        };
        let Some((level, time)) = gap else { continue };
        missing.insert(row.id, (level, time));
        row.missing_level = Some(level);
        if matches!(row.state, State::Committed | State::Partial | State::Original) {
            row.state = State::Incomplete;
            let of = time.map(|time| format!(" of {}", date(time))).unwrap_or_default();
            row.trouble = Some(format!(
                "{} can't be restored: level {level}{of}, which it is built on, is missing",
                label(&row.name, row.id)
            ));
        }
    }
}

fn sighting(row: &BackupRow) -> Sighting {
    Sighting {
        name: row.name.clone(),
        id: row.id,
        manifest: row.manifest_sha256,
        authentic: row.authentic == Some(true),
    }
}

/// One backup's row; `None` if it was never committed.
fn row(
    store: &dyn Store,
    stored: StoredLevel,
    verify: bool,
    keyring: &Keyring,
) -> Result<Option<BackupRow>, AgentError> {
    let mut row = bare_row(&stored);
    let strictness = if verify {
        Strictness::Enforce
    } else {
        Strictness::Look
    };
    match crate::select::is_committed(store, &stored) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) if error.is_refusal() => return Ok(Some(unreadable(row, &error))),
        Err(error) => return Err(error),
    }
    let level = match Level::read(store, stored.clone(), keyring, strictness) {
        Ok(level) => level,
        Err(error @ (AgentError::Damaged { .. } | AgentError::Key { .. })) => {
            row.state = State::Damaged;
            row.trouble = Some(chain_text(&error));
            return Ok(Some(row));
        }
        Err(error @ AgentError::Unauthenticated { .. }) => {
            row.trouble = Some(chain_text(&error));
            let level = Level::read(store, stored, keyring, Strictness::Look)?;
            fill(&mut row, &level, store)?;
            row.state = State::Unauthenticated;
            row.authentic = Some(false);
            return Ok(Some(row));
        }
        Err(error) if error.is_refusal() => return Ok(Some(unreadable(row, &error))),
        Err(error) => return Err(error),
    };
    match fill(&mut row, &level, store) {
        Err(error) if error.is_refusal() => return Ok(Some(unreadable(row, &error))),
        filled => filled?,
    }
    row.authentic = verify.then(|| level.is_authentic());
    Ok(Some(row))
}

/// A row that says why there is no more to it.
fn unreadable(mut row: BackupRow, error: &AgentError) -> BackupRow {
    row.state = State::Unreadable;
    row.trouble = Some(chain_text(error));
    row
}

fn bare_row(stored: &StoredLevel) -> BackupRow {
    let text = stored.name.as_str();
    let (host, backup_name) = text.split_once('_').unwrap_or(("", text));
    let (engine, old_layout) = match stored.place {
        Place::New(engine) => (engine.dir(), false),
        Place::Old => ("tar", true),
    };
    BackupRow {
        name: stored.name.clone(),
        host: host.to_owned(),
        backup_name: backup_name.to_owned(),
        engine: engine.to_owned(),
        old_layout,
        id: stored.id,
        path: None,
        mode: None,
        stored_bytes: None,
        bytes: None,
        files: None,
        compression: None,
        encrypted: None,
        state: State::Original,
        authentic: None,
        missing_level: None,
        trouble: None,
        parent: None,
        manifest_sha256: None,
    }
}

fn fill(row: &mut BackupRow, level: &Level, store: &dyn Store) -> Result<(), AgentError> {
    row.compression = level
        .compression()
        .map(|compression| compression.name().to_owned());
    let Some(manifest) = level.manifest() else {
        row.encrypted = level.metadata.as_ref().map(|metadata| metadata.encryption);
        row.stored_bytes = store.stat(&level.stored.data_key())?.map(|entry| entry.size);
        return Ok(());
    };
    if let Some(host) = manifest
        .options
        .get(crate::plan::HOST_OPTION)
        .and_then(|host| host.as_str())
        && let Some(rest) = level
            .stored
            .name
            .as_str()
            .strip_prefix(host)
            .and_then(|rest| rest.strip_prefix('_'))
    {
        row.host = host.to_owned();
        row.backup_name = rest.to_owned();
    }
    row.parent = manifest.parent_id();
    let stream = manifest.options.get(STREAM_OPTION).and_then(|name| name.as_str());
    row.path = manifest.path.clone().or(stream.map(str::to_owned));
    row.manifest_sha256 = level.line_sha256();
    row.mode = Some(manifest.mode.clone());
    row.stored_bytes = Some(manifest.data.bytes.saturating_add(manifest.index.bytes));
    row.bytes = Some(manifest.counts.bytes);
    row.files = Some(manifest.counts.files);
    row.encrypted = Some(manifest.encryption.is_some());
    row.state = match manifest.status {
        Status::Whole => State::Committed,
        Status::Partial => State::Partial,
    };
    Ok(())
}
