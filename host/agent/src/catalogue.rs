//! What backups a storage holds, by listing alone: names, chains, levels, in the new and the old layout.
//!
//! Foreign entries are passed over. Nothing here opens an object, so nothing here is authenticated: a listing says
//! what to look at, the manifest says what it is.

use std::collections::BTreeSet;

use freezer_format::chain::{Chain, chains};
use freezer_format::layout::{
    BackupKeys, Engine, chains_prefix, levels_prefix, parse_level_directory, parse_zero_directory,
};
use freezer_format::legacy::{LegacyKeys, legacy_chains_prefix, legacy_levels_prefix, parse_legacy_id};
use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest};
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::store::{ErrorKind, KeyEntry, Page, PendingUpload, Store, StoreError};

use crate::date::date;
use crate::error::AgentError;
use crate::objects::read_small;
use crate::plan::HOST_OPTION;
use crate::survey::survey;

/// Most pages of unfinished uploads that are looked at.
const MAX_PAGES: u32 = 1000;

/// Most pages without an entry in one listing: services give some between others, none gives many.
const MAX_EMPTY_PAGES: u32 = 1000;

/// Most entries of one listing that are taken in: what a hostile storage may cost in memory.
const MAX_ENTRIES: usize = 1_000_000;

/// Which backups, of all in a storage.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this host.
    pub host: Option<String>,
    /// Only of this backup name.
    pub name: Option<String>,
}

impl Filter {
    /// Tells whether a stored name is asked for.
    pub fn matches(&self, stored: &HostBackupName) -> bool {
        match (&self.host, &self.name) {
            (Some(host), Some(name)) => HostBackupName::new(host, name).is_ok_and(|wanted| wanted == *stored),
            (Some(host), None) => stored
                .as_str()
                .strip_prefix(host.as_str())
                .is_some_and(|rest| rest.starts_with('_')),
            (None, Some(name)) => stored.is_of_backup(name),
            (None, None) => true,
        }
    }
}

/// Where in a storage a name's backups lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The layout since 3.0, below this engine's folder.
    New(Engine),
    /// The layout before that; always tar.
    Old,
}

/// One backup that a listing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLevel {
    /// Host and backup name.
    pub(crate) name: HostBackupName,
    /// Where it lies.
    pub(crate) place: Place,
    /// Which one it is.
    pub(crate) id: LevelId,
}

impl Place {
    /// True for the places that this program writes to.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::New(engine) if engine.is_ours())
    }
}

impl StoredLevel {
    /// Name, level and date, for messages.
    pub(crate) fn label(&self) -> String {
        label(&self.name, self.id)
    }

    /// The keys in the new layout.
    pub(crate) fn keys(&self) -> BackupKeys {
        let engine = match self.place {
            Place::New(engine) => engine,
            Place::Old => Engine::Tar,
        };
        BackupKeys::new(engine, &self.name, self.id)
    }

    /// The key of the stream.
    pub(crate) fn data_key(&self) -> String {
        match self.place {
            Place::New(_) => self.keys().data(),
            Place::Old => LegacyKeys::new(&self.name, self.id).data(),
        }
    }
}

/// Name, level and date, for messages.
pub(crate) fn label(name: &HostBackupName, id: LevelId) -> String {
    format!("{name} level {} ({})", id.level, date(id.time))
}

/// All chains of one name in one place.
#[derive(Debug, Clone)]
pub(crate) struct NamedChains {
    pub(crate) name: HostBackupName,
    pub(crate) place: Place,
    pub(crate) chains: Vec<Chain>,
}

impl NamedChains {
    /// A level of these chains.
    pub(crate) fn level(&self, id: LevelId) -> StoredLevel {
        StoredLevel {
            name: self.name.clone(),
            place: self.place,
            id,
        }
    }
}

/// The unfinished uploads below a prefix, all pages; none where the storage can't tell. A list without an end is cut.
pub(crate) fn pending_all(store: &dyn Store, prefix: &str) -> Result<Vec<PendingUpload>, StoreError> {
    match pending_pages(store, prefix) {
        Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::NotFound) => Ok(Vec::new()),
        found => found,
    }
}

/// All unfinished uploads below a prefix, as far as the storage tells.
///
/// # Errors
/// It doesn't.
pub(crate) fn pending_pages(store: &dyn Store, prefix: &str) -> Result<Vec<PendingUpload>, StoreError> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let page = store.pending(prefix, cursor.as_deref())?;
        found.extend(page.uploads);
        match page.next {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => break,
        }
    }
    Ok(found)
}

/// Lists one level below a prefix, all pages. A prefix that isn't there is empty.
pub(crate) fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<KeyEntry>, StoreError> {
    match store.list(prefix, None) {
        Ok(page) => list_on(store, prefix, page),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The entries of a first page and of all that follow it.
pub(crate) fn list_on(store: &dyn Store, prefix: &str, first: Page) -> Result<Vec<KeyEntry>, StoreError> {
    let (mut page, mut cursor, mut entries, mut empty_pages) = (first, None, Vec::new(), 0);
    loop {
        empty_pages += u32::from(page.entries.is_empty());
        entries.extend(page.entries);
        let endless = entries.len() > MAX_ENTRIES || empty_pages > MAX_EMPTY_PAGES;
        if endless || (page.next.is_some() && page.next == cursor) {
            return Err(StoreError {
                kind: ErrorKind::Corrupt,
                storage: store.url().to_owned(),
                operation: "list",
                key: prefix.to_owned(),
                message: "the listing has no end".to_owned(),
                cause: None,
            });
        }
        let Some(next) = page.next else {
            return Ok(entries);
        };
        page = store.list(prefix, Some(&next))?;
        cursor = Some(next);
    }
}

/// The last components of the folders below a prefix.
pub(crate) fn folders(store: &dyn Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    Ok(folders_among(&list_all(store, prefix)?, prefix))
}

/// The same of a listing.
pub(crate) fn folders_among(entries: &[KeyEntry], prefix: &str) -> Vec<String> {
    let below = |entry: &KeyEntry| {
        let name = entry.key.strip_prefix(prefix)?.strip_suffix('/')?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    let folders = entries.iter().filter(|entry| entry.is_prefix);
    folders.filter_map(below).collect()
}

/// All names in all places, sorted, for what must see all or nothing.
///
/// # Errors
/// As [`survey`], and whatever a part of the storage refuses to show.
pub(crate) fn names(store: &dyn Store) -> Result<Vec<(HostBackupName, Place)>, AgentError> {
    let mut survey = survey(store)?;
    match survey.refused.pop() {
        Some(refused) => Err(refused.error.into()),
        None => Ok(survey.names),
    }
}

/// The chains of one name in one place, oldest first.
pub(crate) fn chains_of(
    store: &dyn Store,
    name: &HostBackupName,
    place: Place,
) -> Result<NamedChains, StoreError> {
    let ids = match place {
        Place::New(engine) => new_levels(store, name, engine)?,
        Place::Old => old_levels(store, name)?,
    };
    Ok(NamedChains {
        name: name.clone(),
        place,
        chains: chains(ids),
    })
}

fn new_levels(store: &dyn Store, name: &HostBackupName, engine: Engine) -> Result<Vec<LevelId>, StoreError> {
    let mut ids = Vec::new();
    for folder in folders(store, &chains_prefix(engine, name))? {
        let Some(zero) = parse_zero_directory(&folder) else {
            continue;
        };
        for folder in folders(store, &levels_prefix(engine, name, zero))? {
            if let Some((level, time)) = parse_level_directory(&folder) {
                ids.push(LevelId { zero, level, time });
            }
        }
    }
    Ok(ids)
}

fn old_levels(store: &dyn Store, name: &HostBackupName) -> Result<Vec<LevelId>, StoreError> {
    let mut ids = Vec::new();
    for folder in folders(store, &legacy_chains_prefix(name))? {
        let Some(zero) = parse_zero_directory(&folder) else {
            continue;
        };
        let prefix = legacy_levels_prefix(name, zero);
        for entry in list_all(store, &prefix)? {
            let id = entry.key.strip_prefix(&prefix).and_then(parse_legacy_id);
            if let Some(id) = id.filter(|id| !entry.is_prefix && id.name == name.as_str()) {
                ids.push(LevelId {
                    zero,
                    level: id.level,
                    time: id.time,
                });
            }
        }
    }
    Ok(ids)
}

/// Where backups lie that can be restored.
const READABLE: [Place; 3] = [Place::New(Engine::Tar), Place::New(Engine::Stream), Place::Old];

/// The chains of a name wherever they lie: the new layout first, then the old one.
///
/// # Errors
/// [`AgentError::UnknownName`] suggests the nearest name; engines that can't be read yet are said so.
pub(crate) fn find(store: &dyn Store, name: &HostBackupName) -> Result<Vec<NamedChains>, AgentError> {
    let mut found = Vec::new();
    for place in READABLE {
        let chains = chains_of(store, name, place)?;
        if !chains.chains.is_empty() {
            found.push(chains);
        }
    }
    if found.is_empty() {
        return Err(unknown(store, name)?);
    }
    Ok(found)
}

fn unknown(store: &dyn Store, name: &HostBackupName) -> Result<AgentError, AgentError> {
    let all = survey(store)?.names;
    if let Some((_, Place::New(engine))) = all.iter().find(|(found, _)| found == name)
        && !engine.is_ours()
    {
        return Ok(AgentError::Unsupported {
            reason: format!("{name} was written by the {engine} engine, which this version can't read"),
            next: "restore it with the freezer that wrote it".to_owned(),
        });
    }
    // The right name at the wrong host comes before what merely looks alike.
    let same_name = |stored: &&str| {
        let mut ends = stored.match_indices('_').map(|(at, _)| &stored[at..]);
        ends.any(|end| name.as_str().ends_with(end))
    };
    let stored = || all.iter().map(|(found, _)| found.as_str());
    let nearest = stored()
        .find(same_name)
        .map(str::to_owned)
        .or_else(|| nearest_of(name.as_str(), stored()));
    let nearest = match nearest {
        Some(nearest) => Some(as_options(store, nearest, name)?),
        None => None,
    };
    Ok(AgentError::UnknownName {
        name: name.to_string(),
        storage: store.url().to_owned(),
        nearest,
        empty: all.is_empty(),
    })
}

/// A stored name as the options that ask for it, the host only if another one was asked for. Which part is the
/// host its newest manifest tells; without one the stored name must do.
fn as_options(store: &dyn Store, stored: String, asked: &HostBackupName) -> Result<String, AgentError> {
    let Ok(name) = HostBackupName::from_stored(&stored) else {
        return Ok(stored);
    };
    let mut tip = None;
    for engine in Engine::OURS {
        let found = chains_of(store, &name, Place::New(engine))?;
        let newest = found.chains.last().and_then(Chain::tip);
        tip = tip.or(newest.map(|tip| found.level(tip)));
    }
    let Some(tip) = tip else {
        return Ok(stored);
    };
    let bytes = read_small(store, &tip.keys().manifest(), MAX_MANIFEST_BYTES)?;
    let opened = bytes.and_then(|bytes| Manifest::open(&bytes, None).ok());
    let host = opened
        .as_ref()
        .and_then(|opened| opened.manifest.options.get(HOST_OPTION)?.as_str());
    let split = host.and_then(|host| Some((host, stored.strip_prefix(host)?.strip_prefix('_')?)));
    Ok(match split {
        Some((host, short))
            if asked
                .as_str()
                .strip_prefix(host)
                .is_some_and(|rest| rest.starts_with('_')) =>
        {
            format!("--name {short}")
        }
        Some((host, short)) => format!("--name {short} --host {host}"),
        None => stored,
    })
}

/// The most similar name, if one is similar; where there is only one, that.
pub(crate) fn nearest_of<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<&str> = names.collect();
    let only = names.len() == 1;
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(name, wanted), name))
        .filter(|(likeness, _)| only || *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
