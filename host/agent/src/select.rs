//! From a name and a date to the levels of a chain, each read, authenticated and linked to its parent.
//!
//! Names propose, manifests decide: two children of one parent may both exist, so a level of ours is followed
//! by the parent link in its manifest, one of the original's by the rule of names. A level folder without its
//! `metadata` was never committed (or is removed already) and is passed over.

use freezer_format::chain::{Chain, SelectError, select};
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_pipeline::store::Store;

use crate::catalogue::{NamedChains, Place, StoredLevel, find};
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, damaged};

/// Which state of which backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Host and backup name.
    pub name: HostBackupName,
    /// As it was then; absent means the newest.
    pub at: Option<Timestamp>,
}

/// Finds the newest committed level at or before the date, wherever the name's backups lie.
pub(crate) fn target(store: &dyn Store, wanted: &Wanted) -> Result<(NamedChains, StoredLevel), AgentError> {
    let mut first_error = None;
    let mut newest: Option<(NamedChains, StoredLevel)> = None;
    for mut found in find(store, &wanted.name)? {
        loop {
            match select(&found.chains, wanted.at) {
                Ok(levels) => {
                    let Some(id) = levels.last().copied() else { break };
                    let level = found.level(id);
                    let is_older = newest
                        .as_ref()
                        .is_some_and(|(_, newest)| newest.id.time >= id.time);
                    if is_older {
                        break;
                    }
                    if is_committed(store, &level)? {
                        newest = Some((found, level));
                        break;
                    }
                    forget(&mut found.chains, id);
                }
                Err(reason) => {
                    first_error.get_or_insert(reason);
                    break;
                }
            }
        }
    }
    if let Some(newest) = newest {
        return Ok(newest);
    }
    Err(AgentError::Select {
        name: wanted.name.to_string(),
        reason: first_error.unwrap_or(SelectError::Empty),
    })
}

/// True if the level's commit point exists.
pub(crate) fn is_committed(store: &dyn Store, level: &StoredLevel) -> Result<bool, AgentError> {
    match level.place {
        Place::Old => Ok(true),
        Place::New(_) => Ok(store.stat(&level.keys().metadata())?.is_some()),
    }
}

/// Takes a level out of the picture.
pub(crate) fn forget(chains: &mut Vec<Chain>, id: LevelId) {
    for chain in chains.iter_mut() {
        chain.levels.retain(|level| *level != id);
    }
    chains.retain(|chain| !chain.levels.is_empty());
}

/// Reads a level and all that it is built on, ascending, and checks the links between them.
pub(crate) fn ancestry(
    store: &dyn Store,
    found: &NamedChains,
    target: LevelId,
    (keyring, strictness): (&Keyring, Strictness),
) -> Result<Vec<Level>, AgentError> {
    let mut levels = vec![Level::read(store, found.level(target), keyring, strictness)?];
    while let Some(child) = levels.last() {
        let Some(parent) = parent_id(found, child, target)? else {
            break;
        };
        let parent = Level::read(store, found.level(parent), keyring, strictness)?;
        check_link(child, &parent)?;
        levels.push(parent);
    }
    levels.reverse();
    Ok(levels)
}

/// The level that `child` was made against; `None` at level 0.
fn parent_id(found: &NamedChains, child: &Level, target: LevelId) -> Result<Option<LevelId>, AgentError> {
    let id = child.stored.id;
    let manifest_key = child.stored.keys().manifest();
    let linked = child
        .manifest()
        .map(freezer_format::manifest::Manifest::parent_id);
    let Some(below) = id.level.0.checked_sub(1) else {
        return match linked.flatten() {
            Some(_) => Err(damaged(
                &child.stored,
                &manifest_key,
                "names a parent of a level 0",
            )),
            None => Ok(None),
        };
    };
    let chain = found.chains.iter().find(|chain| chain.zero == id.zero);
    let parent = match linked {
        Some(Some(parent)) if parent.level.0 == below && parent.time <= id.time => Some(parent),
        Some(_) => return Err(damaged(&child.stored, &manifest_key, "names no possible parent")),
        None => chain.and_then(|chain| chain.parent_of(id)),
    };
    let present = |parent: &LevelId| chain.is_some_and(|chain| chain.levels.contains(parent));
    parent
        .filter(present)
        .map(Some)
        .ok_or_else(|| AgentError::Select {
            name: found.name.to_string(),
            reason: SelectError::MissingLevel {
                zero: id.zero,
                level: freezer_format::name::Level(below),
                wanted: target,
            },
        })
}

/// A parent that is another one than the child was made against was replaced.
fn check_link(child: &Level, parent: &Level) -> Result<(), AgentError> {
    let Some(link) = child.manifest().and_then(|manifest| manifest.parent.as_ref()) else {
        return Ok(());
    };
    if link.manifest == parent.line_sha256() {
        return Ok(());
    }
    let reason = format!(
        "isn't the one that level {} of {} was made against",
        child.stored.id.level,
        crate::date::date(child.stored.id.time)
    );
    Err(damaged(&parent.stored, &parent.stored.keys().manifest(), &reason))
}
