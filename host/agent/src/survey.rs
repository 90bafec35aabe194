//! All names of a storage, and what it refuses to show: one bad entry is told and never hides the others.
//!
//! A refusal concerns one thing: a folder that this user may not open, a link in the place of a folder. What keeps the
//! storage from being asked at all is an error here as everywhere.

use std::collections::BTreeSet;

use freezer_format::layout::{Engine, METADATA_PREFIX, names_prefix, parse_zero_directory};
use freezer_format::legacy::legacy_chains_prefix;
use freezer_format::name::HostBackupName;
use freezer_pipeline::store::{ErrorKind, Store, StoreError};
use serde::Serialize;

use crate::catalogue::{Place, folders, folders_among, list_on};
use crate::error::AgentError;

/// Something that the storage doesn't show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The object's key, or the folder of several.
    pub object: String,
    /// The storage's words.
    pub reason: String,
}

/// A refusal, and whose backups it hides.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The name, or none where it may be any.
    pub(crate) name: Option<(HostBackupName, Place)>,
    /// What is hidden.
    pub(crate) object: String,
    /// Why.
    pub(crate) error: StoreError,
}

impl Refused {
    pub(crate) fn told(&self) -> Unreadable {
        Unreadable {
            object: self.object.clone(),
            reason: self.error.message.clone(),
        }
    }
}

/// What a storage holds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Sorted.
    pub(crate) names: Vec<(HostBackupName, Place)>,
    pub(crate) refused: Vec<Refused>,
}

/// Tells whether the storage refuses one thing, and may still show others.
pub(crate) fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Other
    )
}

/// All names in all places.
///
/// # Errors
/// [`AgentError::NoContainer`] if not even the container is there: a mistyped place isn't an empty one.
pub(crate) fn survey(store: &dyn Store) -> Result<Survey, AgentError> {
    let root = store.list("", None).map_err(|source| match source.kind {
        ErrorKind::NotFound => AgentError::NoContainer {
            storage: store.url().to_owned(),
            reason: source.message,
        },
        _ => source.into(),
    })?;
    let root = list_on(store, "", root)?;
    let mut found = BTreeSet::new();
    let mut refused = Vec::new();
    for engine in engines(store)? {
        let prefix = names_prefix(engine);
        let Some(folders) = told(folders(store, &prefix), (None, &prefix), &mut refused)? else {
            continue;
        };
        let names = folders
            .iter()
            .filter_map(|folder| HostBackupName::from_stored(folder).ok());
        found.extend(names.map(|name| (name, Place::New(engine))));
    }
    for folder in folders_among(&root, "") {
        // An old backup name always holds the underscore between host and name.
        let Ok(name) = HostBackupName::from_stored(&folder) else {
            continue;
        };
        if !folder.contains('_') {
            continue;
        }
        let prefix = legacy_chains_prefix(&name);
        let place = Some((name.clone(), Place::Old));
        let chains = told(folders_of_chains(store, &prefix), (place, &prefix), &mut refused)?;
        if chains.is_some_and(|chains| chains > 0) {
            found.insert((name, Place::Old));
        }
    }
    Ok(Survey {
        names: found.into_iter().collect(),
        refused,
    })
}

/// The engines that may have backups there: ours, since a storage may leave out of a listing what it refuses to open, such as a
/// link in the place of a folder, and others that it shows. Of those it leaves out, only the storage's own warning tells.
fn engines(store: &dyn Store) -> Result<Vec<Engine>, StoreError> {
    let shown = match folders(store, METADATA_PREFIX) {
        Ok(shown) => shown,
        // Each of them may be refused, or not.
        Err(error) if is_refusal(&error) => return Ok(Engine::ALL.to_vec()),
        Err(error) => return Err(error),
    };
    let may_be = |engine: &Engine| engine.is_ours() || shown.iter().any(|folder| folder == engine.dir());
    Ok(Engine::ALL.into_iter().filter(may_be).collect())
}

fn folders_of_chains(store: &dyn Store, prefix: &str) -> Result<usize, StoreError> {
    let folders = folders(store, prefix)?;
    Ok(folders
        .iter()
        .filter(|folder| parse_zero_directory(folder).is_some())
        .count())
}

/// Notes a refusal; other errors end the survey.
fn told<T>(
    answer: Result<T, StoreError>,
    (name, object): (Option<(HostBackupName, Place)>, &str),
    refused: &mut Vec<Refused>,
) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_refusal(&error) => {
            refused.push(Refused {
                name,
                object: object.trim_end_matches('/').to_owned(),
                error,
            });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
