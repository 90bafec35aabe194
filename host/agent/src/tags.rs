//! Tags and pins of backups: those that a backup was made with, and those that were given later.
//!
//! Later ones lie in an object of their own beside the level, sealed by the chain's key if the password is at
//! hand. They only ever keep a backup: so one without that seal counts too and is said, and one that can't be read
//! counts as a pin.

use std::collections::BTreeSet;
use std::sync::Arc;

use freezer_format::chain_key::ChainKey;
use freezer_format::manifest::ManifestError;
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_format::tags::{FORMAT, MAX_TAGS_BYTES, Tags, TagsError};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{Existing, Store};
use serde::Serialize;

use crate::catalogue::{Filter, Place, StoredLevel, chains_of, label};
use crate::check::{is_finding, nothing_matches};
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::objects::read_small;
use crate::select::{Wanted, is_committed, target};
use crate::survey::{Survey, Unreadable, is_refusal, survey};

/// The manifest's option that holds the tags which a backup was made with.
pub const TAGS_OPTION: &str = "tags";

/// The tags of one level, with what is odd about them.
#[derive(Debug, Clone, Default)]
pub(crate) struct LevelTags {
    pub(crate) tags: BTreeSet<String>,
    pub(crate) pinned: bool,
    pub(crate) trouble: Option<String>,
}

/// Which backups of a name a change of tags is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest at or before the date, or of all.
    One(Wanted),
    /// Every one.
    All(HostBackupName),
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These tags are added.
    Add(Vec<String>),
    /// These tags are taken away.
    Remove(Vec<String>),
    /// Retention must keep it.
    Pin,
    /// Retention is free again.
    Unpin,
}

/// A backup and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaggedBackup {
    /// Host and backup name as the storage spells them.
    pub name: HostBackupName,
    /// Level-0 time of its chain.
    pub zero: Timestamp,
    /// Its level.
    pub level: u32,
    /// Its time.
    pub time: Timestamp,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Whether retention must keep it.
    pub pinned: bool,
    /// Whether the last change made a difference.
    pub changed: bool,
    /// What is odd about its tags.
    pub trouble: Option<String>,
}

/// Reads the tags of a level.
pub(crate) fn tags_of(store: &dyn Store, level: &Level) -> Result<LevelTags, AgentError> {
    if level.stored.place == Place::Old {
        return Ok(LevelTags::default());
    }
    let key = level.stored.keys().tags();
    let Some(bytes) = read_small(store, &key, MAX_TAGS_BYTES)? else {
        return Ok(LevelTags {
            tags: made_with(level),
            ..LevelTags::default()
        });
    };
    let mac_key = level.key.as_ref().map(ChainKey::mac_key);
    Ok(match Tags::open(&bytes, mac_key.as_ref(), level.line_sha256()) {
        Ok(opened) => LevelTags {
            tags: opened.tags.tags,
            pinned: opened.tags.pinned,
            trouble: (mac_key.is_some() && !opened.authentic)
                .then(|| format!("{key:?} was written without the password: anybody may have done it")),
        },
        Err(error) => LevelTags {
            tags: made_with(level),
            pinned: true,
            trouble: Some(format!("{key:?} counts as a pin: {error}")),
        },
    })
}

/// The tags in the manifest.
fn made_with(level: &Level) -> BTreeSet<String> {
    let option = level
        .manifest()
        .and_then(|manifest| manifest.options.get(TAGS_OPTION));
    let list = option.and_then(serde_json::Value::as_array);
    let texts = list.into_iter().flatten().filter_map(serde_json::Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Backups with their tags, and what the storage doesn't show.
#[derive(Debug, Default)]
pub struct TagListing {
    /// By name, then chain, then level.
    pub backups: Vec<TaggedBackup>,
    /// Names, places and backups whose tags can't be read.
    pub unreadable: Vec<Unreadable>,
}

impl TagListing {
    /// What the exit code is to say: what can't be looked into is missing from the list.
    #[must_use]
    pub fn exit_class(&self) -> ExitClass {
        match self.unreadable.is_empty() {
            true => ExitClass::Ok,
            false => ExitClass::Partial,
        }
    }
}

/// Lists backups with their tags and pins, by name, then chain, then level.
///
/// # Errors
/// The storage fails, no backup matches, or the run was cancelled. What the storage refuses to show is in the answer.
pub fn list_tags(
    store: &dyn Store,
    filter: &Filter,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<TagListing, AgentError> {
    let Survey { names, refused } = survey(store)?;
    let mut listing = TagListing::default();
    let asked = |name: &HostBackupName| filter.matches(name);
    for refused in &refused {
        if refused.name.as_ref().is_none_or(|(name, _)| asked(name)) {
            listing.unreadable.push(refused.told());
        }
    }
    for (name, place) in names.iter().filter(|(name, _)| asked(name)) {
        let found = match chains_of(store, name, *place) {
            Ok(found) => found,
            Err(error) if is_refusal(&error) => {
                let object = error.key.trim_end_matches('/').to_owned();
                let reason = error.message;
                listing.unreadable.push(Unreadable { object, reason });
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for id in found.chains.iter().flat_map(|chain| &chain.levels) {
            context.cancel.check()?;
            match tags_of_stored(store, found.level(*id), keyring) {
                Ok(backup) => listing.backups.extend(backup),
                Err(error) if error.is_refusal() => listing.unreadable.push(Unreadable {
                    object: label(name, *id),
                    reason: match error {
                        AgentError::Newer { format, .. } => ManifestError::Newer { format }.to_string(),
                        error => chain_text(&error),
                    },
                }),
                Err(error) => return Err(error),
            }
        }
    }
    if listing.backups.is_empty() && listing.unreadable.is_empty() {
        let stored: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        return Err(nothing_matches(store.url(), filter, &stored));
    }
    Ok(listing)
}

/// A backup with its tags; `None` if it was never committed.
fn tags_of_stored(
    store: &dyn Store,
    stored: StoredLevel,
    keyring: &Keyring,
) -> Result<Option<TaggedBackup>, AgentError> {
    if !is_committed(store, &stored)? {
        return Ok(None);
    }
    let (name, id) = (stored.name.clone(), stored.id);
    let tags = match Level::read(store, stored, keyring, Strictness::Look) {
        Ok(level) => tags_of(store, &level)?,
        Err(error) if is_finding(&error) => LevelTags {
            trouble: Some(chain_text(&error)),
            ..LevelTags::default()
        },
        Err(error) => return Err(error),
    };
    Ok(Some(tagged(&name, id, tags)))
}

fn tagged(name: &HostBackupName, id: LevelId, tags: LevelTags) -> TaggedBackup {
    TaggedBackup {
        name: name.clone(),
        zero: id.zero,
        level: id.level.0,
        time: id.time,
        tags: tags.tags,
        pinned: tags.pinned,
        changed: false,
        trouble: tags.trouble,
    }
}

/// Changes tags or pins and answers the backups as they are now.
///
/// # Errors
/// The storage fails, there is no such backup, it lies in the old layout, or there would be too many tags.
pub fn change_tags(
    store: &dyn Store,
    which: &Which,
    change: &Change,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<Vec<TaggedBackup>, AgentError> {
    let levels = match which {
        Which::One(wanted) => vec![target(store, wanted)?.1],
        Which::All(name) => {
            let mut levels = Vec::new();
            for found in crate::catalogue::find(store, name)? {
                for id in found.chains.iter().flat_map(|chain| &chain.levels) {
                    let stored = found.level(*id);
                    if is_committed(store, &stored)? {
                        levels.push(stored);
                    }
                }
            }
            levels
        }
    };
    let mut changed = Vec::new();
    for stored in levels {
        context.cancel.check()?;
        if stored.place == Place::Old {
            return Err(AgentError::Unsupported {
                reason: format!(
                    "{} lies in the layout of the original's first releases, which has no place for tags",
                    stored.label()
                ),
                next: "tag backups of the newer layout; copies of it are made by `freezer copy`".to_owned(),
            });
        }
        let strictness = match keyring.passphrase() {
            Some(_) => Strictness::Enforce,
            None => Strictness::Look,
        };
        let level = Level::read(store, stored, keyring, strictness)?;
        changed.push(change_level(store, &level, change)?);
    }
    Ok(changed)
}

fn change_level(store: &dyn Store, level: &Level, change: &Change) -> Result<TaggedBackup, AgentError> {
    let before = tags_of(store, level)?;
    let mut after = Tags {
        format: FORMAT,
        manifest: level.line_sha256(),
        tags: before.tags.clone(),
        pinned: before.pinned,
    };
    match change {
        Change::Add(tags) => after.tags.extend(tags.iter().cloned()),
        Change::Remove(tags) => after.tags.retain(|tag| !tags.contains(tag)),
        Change::Pin => after.pinned = true,
        Change::Unpin => after.pinned = false,
    }
    after.check().map_err(|error| refused(&error))?;
    // What can't be read or isn't sealed is written anew in any case: that mends it.
    let changed = before.trouble.is_some() || (&after.tags, after.pinned) != (&before.tags, before.pinned);
    if changed {
        let mac_key = level.key.as_ref().map(ChainKey::mac_key);
        let sealed = after.seal(mac_key.as_ref());
        store.put(&level.stored.keys().tags(), Arc::new(sealed), Existing::Replace)?;
    }
    let tags = LevelTags {
        tags: after.tags,
        pinned: after.pinned,
        trouble: None,
    };
    Ok(TaggedBackup {
        changed,
        ..tagged(&level.stored.name, level.stored.id, tags)
    })
}

fn refused(error: &TagsError) -> AgentError {
    AgentError::Unsupported {
        reason: error.to_string(),
        next: "take fewer or shorter tags; freezer tag list shows those there are".to_owned(),
    }
}
