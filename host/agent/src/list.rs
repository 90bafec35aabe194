//! The list of backups, read from what lies in clear: no key is derived unless verification is asked for.
//!
//! A damaged or foreign backup is a row with its trouble in it and never hides the others.

use std::sync::Arc;

use freezer_format::manifest::Status;
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::Store;
use serde::{Serialize, Serializer};

use crate::backup::STREAM_OPTION;
use crate::catalogue::{Filter, Place, StoredLevel, chains_of, names};
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::seen::{SeenBackups, Sighting};

/// Which backups are listed, and how closely they are looked at.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which.
    pub filter: Filter,
    /// Whether each manifest is authenticated by the pass phrase.
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
    /// Whether the pass phrase authenticated it; `None` if that wasn't tried.
    pub authentic: Option<bool>,
    /// What is wrong, for [`State::Damaged`] and [`State::Unauthenticated`].
    pub trouble: Option<String>,
    /// SHA-256 of the manifest's first line.
    #[serde(skip)]
    pub manifest_sha256: Option<[u8; 32]>,
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
/// The storage fails, the run was cancelled, or verifying lacks a pass phrase.
pub fn list(
    store: &Arc<dyn Store>,
    options: &ListOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<Vec<BackupRow>, AgentError> {
    let without_key = Keyring::new(None, true);
    let keyring = if options.verify { keyring } else { &without_key };
    let mut rows = Vec::new();
    for (name, place) in names(&**store)? {
        if !options.filter.matches(&name) {
            continue;
        }
        let found = chains_of(&**store, &name, place)?;
        for id in found.chains.iter().flat_map(|chain| &chain.levels) {
            context.cancel.check()?;
            rows.extend(row(&**store, found.level(*id), options.verify, keyring)?);
        }
    }
    if let Some(seen) = &options.seen {
        let shown: Vec<Sighting> = rows.iter().map(sighting).collect();
        seen.compare(store.url(), &shown, |name| options.filter.matches(name), context);
    }
    Ok(rows)
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
    let committed = crate::select::is_committed(store, &stored)?;
    if !committed {
        return Ok(None);
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
        Err(error) => return Err(error),
    };
    fill(&mut row, &level, store)?;
    row.authentic = verify.then(|| level.is_authentic());
    Ok(Some(row))
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
        trouble: None,
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
