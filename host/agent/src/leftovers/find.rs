//! Finding leftovers by their places, and removing one after a last look at each of its objects.

use freezer_format::layout::{
    BackupKeys, Engine, data_names_prefix, names_prefix, parse_level_directory, parse_zero_directory,
};
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{PendingUpload, Store};

use crate::catalogue::{folders, list_all, pending_all};
use crate::error::AgentError;

/// What a leftover is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A level's data without its commit point.
    Data { keys: BackupKeys, claim_only: bool },
    /// The same with a manifest: all but the commit point is there.
    LostCommitPoint,
    /// A level's folder of documents without the one that counts.
    Documents { keys: BackupKeys },
    /// An upload that was begun and neither committed nor aborted; its name.
    Upload(String),
}

/// Something that no backup seems to need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The folder, or the key that an upload is for.
    pub(super) object: String,
    pub(super) content: Content,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// The last change of all its objects; `None` if the storage doesn't tell one of them.
    pub(super) modified: Option<Timestamp>,
}

impl Candidate {
    /// What tells it from all others: an upload's own name, else the folder.
    pub(super) fn id(&self) -> &str {
        match &self.content {
            Content::Upload(upload) => upload,
            _ => &self.object,
        }
    }

    /// What it is, in words that follow the key.
    pub(super) fn reason(&self) -> String {
        match &self.content {
            Content::Data { claim_only: true, .. } => "holds nothing but the claim of a run".to_owned(),
            Content::Data { .. } => "belongs to no backup".to_owned(),
            Content::LostCommitPoint => {
                "is complete but for its commit point: copy its `metadata` back from another copy".to_owned()
            }
            Content::Documents { .. } => "holds no backup's `metadata`".to_owned(),
            Content::Upload(_) => "has an upload that was never finished".to_owned(),
        }
    }
}

/// Everything that looks left over, by place.
pub(super) fn candidates(store: &dyn Store, context: &RunContext<'_>) -> Result<Vec<Candidate>, AgentError> {
    let mut found = Vec::new();
    for engine in Engine::ALL {
        for keys in levels_below(store, &data_names_prefix(engine), engine, context)? {
            found.extend(data(store, keys)?);
        }
        for keys in levels_below(store, &names_prefix(engine), engine, context)? {
            found.extend(documents(store, keys)?);
        }
    }
    found.extend(uploads(store)?);
    found.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(found)
}

/// The level folders of all names below a prefix.
fn levels_below(
    store: &dyn Store,
    prefix: &str,
    engine: Engine,
    context: &RunContext<'_>,
) -> Result<Vec<BackupKeys>, AgentError> {
    let mut levels = Vec::new();
    for folder in folders(store, prefix)? {
        let Ok(name) = HostBackupName::from_stored(&folder) else {
            continue;
        };
        for folder in folders(store, &format!("{prefix}{name}/"))? {
            context.cancel.check()?;
            let Some(zero) = parse_zero_directory(&folder) else {
                continue;
            };
            for folder in folders(store, &format!("{prefix}{name}/{zero}/"))? {
                if let Some((level, time)) = parse_level_directory(&folder) {
                    let id = LevelId { zero, level, time };
                    levels.push(BackupKeys::new(engine, &name, id));
                }
            }
        }
    }
    Ok(levels)
}

fn is_committed(store: &dyn Store, keys: &BackupKeys) -> Result<bool, AgentError> {
    Ok(store.stat(&keys.metadata())?.is_some())
}

fn data(store: &dyn Store, keys: BackupKeys) -> Result<Option<Candidate>, AgentError> {
    if is_committed(store, &keys)? {
        return Ok(None);
    }
    let directory = keys.data_directory();
    Ok(of_folder(store, directory, |found| {
        if found.contains(&keys.manifest()) {
            return Content::LostCommitPoint;
        }
        let claim_only = *found == [keys.claim()];
        Content::Data { keys, claim_only }
    })?)
}

fn documents(store: &dyn Store, keys: BackupKeys) -> Result<Option<Candidate>, AgentError> {
    if is_committed(store, &keys)? {
        return Ok(None);
    }
    let directory = keys.metadata_directory();
    Ok(of_folder(store, directory, |_| Content::Documents { keys })?)
}

/// A folder with something in it; an empty one is nothing.
fn of_folder(
    store: &dyn Store,
    directory: String,
    content: impl FnOnce(&Vec<String>) -> Content,
) -> Result<Option<Candidate>, freezer_pipeline::store::StoreError> {
    let entries = list_all(store, &format!("{directory}/"))?;
    let objects: Vec<_> = entries.iter().filter(|entry| !entry.is_prefix).collect();
    if entries.is_empty() {
        return Ok(None);
    }
    let times: Option<Vec<Timestamp>> = objects.iter().map(|entry| entry.modified).collect();
    let keys = objects.iter().map(|entry| entry.key.clone()).collect();
    Ok(Some(Candidate {
        content: content(&keys),
        object: directory,
        objects: entries.len() as u64,
        bytes: objects
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.size)),
        modified: times.and_then(|times| times.into_iter().max()),
    }))
}

fn uploads(store: &dyn Store) -> Result<Vec<Candidate>, AgentError> {
    let candidate = |upload: PendingUpload| Candidate {
        object: upload.key,
        content: Content::Upload(upload.upload),
        objects: 1,
        bytes: 0,
        modified: upload.started,
    };
    Ok(pending_all(store, "")?.into_iter().map(candidate).collect())
}

/// True if an upload got another segment since it was seen: a run is at work on it.
fn has_grown(store: &dyn Store, upload: &str, candidate: &Candidate) -> Result<bool, AgentError> {
    let folder = candidate.object.rsplit_once('/');
    let prefix = folder.map_or_else(String::new, |(folder, _)| format!("{folder}/"));
    let now = pending_all(store, &prefix)?;
    let found = now.iter().find(|found| found.upload == *upload);
    Ok(found.is_some_and(|found| found.started != candidate.modified))
}

/// Removes a leftover that is still as it was seen. Answers false if it isn't.
pub(super) fn remove(store: &dyn Store, candidate: &Candidate) -> Result<bool, AgentError> {
    let keys = match &candidate.content {
        Content::Upload(upload) => {
            if has_grown(store, upload, candidate)? {
                return Ok(false);
            }
            store.abort(upload)?;
            return Ok(true);
        }
        Content::LostCommitPoint => return Ok(false),
        Content::Data { keys, .. } | Content::Documents { keys } => keys,
    };
    // The listing may have lagged: each object is asked for by itself, the commit point first and last.
    if is_committed(store, keys)? || store.stat(&keys.manifest())?.is_some() {
        return Ok(false);
    }
    let entries = list_all(store, &format!("{}/", candidate.object))?;
    for entry in entries.iter().filter(|entry| !entry.is_prefix) {
        let looked_at = store.stat(&entry.key)?;
        let changed = looked_at.is_some_and(|now| now.modified > candidate.modified);
        if changed {
            return Ok(false);
        }
    }
    // The claim keeps other runs out of the place until everything else is gone.
    let (claims, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .filter(|entry| !entry.is_prefix)
        .partition(|entry| entry.key == keys.claim());
    if is_committed(store, keys)? {
        return Ok(false);
    }
    for entry in others.into_iter().chain(claims) {
        store.remove(&[entry.key])?;
    }
    Ok(true)
}
