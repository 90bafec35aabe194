//! What retention decides on: all committed levels of a name, what each is built on, and whether it can be trusted.

use std::collections::{BTreeMap, BTreeSet};

use freezer_format::layout::{parse_level_directory, parse_zero_directory};
use freezer_format::name::{LevelId, Timestamp};
use freezer_format::retention::Backup;
use freezer_pipeline::RunContext;
use freezer_pipeline::store::Store;

use crate::catalogue::{NamedChains, Place, folders, list_all, pending_all};
use crate::check::is_finding;
use crate::continuity::require_objects;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::select::{ancestry, forget, is_committed};
use crate::storage_clock::{LEASE_SECONDS, is_older};
use crate::tags::tags_of;

/// A name's levels as retention takes them.
pub(super) struct NameHistory {
    pub(super) found: NamedChains,
    pub(super) backups: Vec<Backup>,
    /// Bytes of data, where the manifest tells them.
    pub(super) bytes: BTreeMap<LevelId, u64>,
    /// What is wrong with some of them.
    pub(super) warnings: Vec<String>,
}

/// What a child must find in its parent.
struct Link {
    parent: Option<LevelId>,
    /// The digest that the parent's manifest must have; `None` if that isn't recorded.
    expected: Option<Option<[u8; 32]>>,
    own: Option<[u8; 32]>,
}

/// Reads the documents of all committed levels.
pub(super) fn read(
    store: &dyn Store,
    mut found: NamedChains,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<NameHistory, AgentError> {
    let all: Vec<LevelId> = found
        .chains
        .iter()
        .flat_map(|chain| chain.levels.iter().copied())
        .collect();
    for id in all {
        context.cancel.check()?;
        if !is_committed(store, &found.level(id))? {
            forget(&mut found.chains, id);
        }
    }
    let mut history = NameHistory {
        found,
        backups: Vec::new(),
        bytes: BTreeMap::new(),
        warnings: Vec::new(),
    };
    let mut links = BTreeMap::new();
    let ids: Vec<LevelId> = history.ids().collect();
    for id in ids {
        context.cancel.check()?;
        let link = history.take_in(store, id, keyring)?;
        links.insert(id, link);
    }
    history.compare_links(&links);
    history.look_closely_at_newest(store, keyring)?;
    Ok(history)
}

impl NameHistory {
    fn ids(&self) -> impl Iterator<Item = LevelId> {
        self.found
            .chains
            .iter()
            .flat_map(|chain| chain.levels.iter().copied())
    }

    fn take_in(&mut self, store: &dyn Store, id: LevelId, keyring: &Keyring) -> Result<Link, AgentError> {
        let chain = self.found.chains.iter().find(|chain| chain.zero == id.zero);
        let by_name = chain.and_then(|chain| chain.parent_of(id));
        let mut backup = Backup {
            id,
            parent: by_name,
            tags: BTreeSet::new(),
            pinned: false,
            complete: true,
            busy: false,
        };
        let mut link = Link {
            parent: by_name,
            expected: None,
            own: None,
        };
        match Level::read(store, self.found.level(id), keyring, strictness(keyring)) {
            Ok(level) => {
                let tags = tags_of(store, &level)?;
                self.warnings.extend(tags.trouble);
                backup.tags = tags.tags;
                backup.pinned = tags.pinned;
                if let Some(manifest) = level.manifest() {
                    self.bytes
                        .insert(id, manifest.data.bytes.saturating_add(manifest.index.bytes));
                    backup.parent = manifest.parent_id();
                    link = Link {
                        parent: manifest.parent_id(),
                        expected: manifest.parent.as_ref().map(|parent| parent.manifest),
                        own: level.line_sha256(),
                    };
                }
            }
            Err(error) if is_finding(&error) || matches!(error, AgentError::NoPassphrase { .. }) => {
                self.warnings.push(chain_text(&error));
                backup.complete = false;
            }
            Err(error) => return Err(error),
        }
        self.backups.push(backup);
        Ok(link)
    }

    /// A level whose parent is another one than it was made against can't be restored.
    fn compare_links(&mut self, links: &BTreeMap<LevelId, Link>) {
        for backup in &mut self.backups {
            let Some(link) = links.get(&backup.id) else {
                continue;
            };
            let parent = link.parent.and_then(|parent| links.get(&parent));
            if let (Some(expected), Some(parent)) = (link.expected, parent)
                && expected != parent.own
            {
                backup.complete = false;
            }
        }
    }

    /// The newest backup is what everything else is judged by: its objects are looked at one by one.
    fn look_closely_at_newest(&mut self, store: &dyn Store, keyring: &Keyring) -> Result<(), AgentError> {
        let newest = self
            .backups
            .iter_mut()
            .max_by_key(|backup| (backup.id.time, backup.id.level));
        let Some(newest) = newest else { return Ok(()) };
        let policy = (keyring, strictness(keyring));
        let whole = ancestry(store, &self.found, newest.id, policy)
            .and_then(|levels| require_objects(store, &levels));
        match whole {
            Ok(()) => Ok(()),
            Err(error) if is_finding(&error) || matches!(error, AgentError::Select { .. }) => {
                let text = chain_text(&error);
                if !self.warnings.contains(&text) {
                    self.warnings.push(text);
                }
                newest.complete = false;
                Ok(())
            }
            Err(AgentError::NoPassphrase { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn strictness(keyring: &Keyring) -> Strictness {
    match keyring.passphrase() {
        Some(_) => Strictness::Enforce,
        None => Strictness::Look,
    }
}

/// The chains in which a run may be writing: level folders without commit point of which something is younger than
/// the lease, and unfinished uploads. What `removing` names is left of a removal.
pub(super) fn busy_chains(
    store: &dyn Store,
    found: &NamedChains,
    removing: &BTreeSet<LevelId>,
    now: Timestamp,
) -> Result<BTreeSet<Timestamp>, AgentError> {
    let Place::New(engine) = found.place else {
        return Ok(BTreeSet::new());
    };
    let mut busy = BTreeSet::new();
    let prefix = format!("data/{engine}/{}/", found.name);
    for folder in folders(store, &prefix)? {
        let Some(zero) = parse_zero_directory(&folder) else {
            continue;
        };
        for folder in folders(store, &format!("{prefix}{zero}/"))? {
            let Some((level, time)) = parse_level_directory(&folder) else {
                continue;
            };
            let id = LevelId { zero, level, time };
            if busy.contains(&zero) || removing.contains(&id) || is_committed(store, &found.level(id))? {
                continue;
            }
            let keys = found.level(id).keys();
            let entries = list_all(store, &format!("{}/", keys.data_directory()))?;
            if entries
                .iter()
                .any(|entry| !is_older(entry.modified, LEASE_SECONDS, now))
            {
                busy.insert(zero);
            }
        }
    }
    busy.extend(chains_with_uploads(store, &prefix, now)?);
    Ok(busy)
}

/// The chains with uploads that are younger than the lease.
fn chains_with_uploads(
    store: &dyn Store,
    prefix: &str,
    now: Timestamp,
) -> Result<BTreeSet<Timestamp>, AgentError> {
    let zero = |key: &str| parse_zero_directory(key.strip_prefix(prefix)?.split('/').next()?);
    let uploads = pending_all(store, prefix)?;
    let young = uploads
        .iter()
        .filter(|upload| !is_older(upload.started, LEASE_SECONDS, now));
    Ok(young.filter_map(|upload| zero(&upload.key)).collect())
}
