//! Looking into a backup by its index: listing files, and one file's content with the few frames it needs.
//!
//! Only the wanted level's manifest and index are read; a level that holds content is trusted by its digest in
//! that index. The original's backups have no index: to list them or find a file, their streams are read.

use std::io::Write;
use std::sync::Arc;

use freezer_format::index::{Entry, EntryKind};
use freezer_format::name::LevelId;
use freezer_pipeline::RunContext;
use freezer_pipeline::object::StoredIndex;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::Store;

use crate::catalogue::NamedChains;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, damaged};
use crate::restore::OpenedChain;
use crate::select::{Wanted, target};

/// What is to be listed.
#[derive(Debug, Clone)]
pub struct LsOptions {
    /// Which state of which backup.
    pub wanted: Wanted,
    /// The file or directory below the root; empty for the root.
    pub path: Vec<u8>,
    /// With all that is below.
    pub recursive: bool,
}

/// One entry of a listing and the date of the level that holds its content.
#[derive(Debug, Clone)]
pub struct LsEntry {
    /// The index's row; its path is below the backup's root.
    pub entry: Entry,
    /// The level that holds the content.
    pub content: Option<LevelId>,
}

/// What a listing tells.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// There is no index: before anything is listed, the streams of all levels are read to their end.
    ReadsStreams {
        /// The backup, for people.
        backup: &'a str,
        /// Bytes of all streams as they are stored.
        bytes: u64,
    },
    /// One entry.
    Entry(&'a LsEntry),
}

/// Lists the files of a backup in the order of their paths, handing each to `visit`. Answers their number.
///
/// # Errors
/// Nothing matches, something needed is missing, damaged or not authentic, or `visit` fails, which ends the listing.
pub fn ls(
    store: &Arc<dyn Store>,
    options: &LsOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
    visit: &mut dyn FnMut(Listed<'_>) -> std::io::Result<()>,
) -> Result<u64, AgentError> {
    let (found, level) = read_newest(store, &options.wanted, keyring)?;
    let Some(index) = level.index(store)? else {
        return ls_unindexed(store, options, keyring, context, visit);
    };
    let failed = |source| {
        let number = level.stored.id.level.0;
        restore_error(
            &level,
            RestoreError::Index {
                level: number,
                source,
            },
        )
    };
    let path = trim(&options.path);
    let mut entries = index.subtree(path).map_err(failed)?;
    let mut count = 0;
    let mut seen = false;
    while entries.advance().map_err(failed)? {
        context.cancel.check()?;
        let entry = entries.entry();
        seen = true;
        if !is_shown(entry, path, options.recursive) {
            continue;
        }
        count += 1;
        let listed = LsEntry {
            entry: entry.clone(),
            content: content_level(&index, &found, &level, entry.level),
        };
        visit(Listed::Entry(&listed))
            .map_err(|source| restore_error(&level, RestoreError::Output(source)))?;
    }
    match seen {
        true => Ok(count),
        false => Err(restore_error(&level, not_found(path))),
    }
}

/// The same for levels of the original: they are read front to back.
fn ls_unindexed(
    store: &Arc<dyn Store>,
    options: &LsOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
    visit: &mut dyn FnMut(Listed<'_>) -> std::io::Result<()>,
) -> Result<u64, AgentError> {
    let chain = OpenedChain::open(store, &options.wanted, keyring)?;
    let failed = |source| restore_error(chain.newest(), source);
    let output = |source| failed(RestoreError::Output(source));
    visit(Listed::ReadsStreams {
        backup: &chain.newest().stored.label(),
        bytes: chain.data.iter().map(|level| level.data_bytes).sum(),
    })
    .map_err(output)?;
    let path = trim(&options.path);
    let (mut count, mut seen) = (0, false);
    let mut show = |entry: &Entry| {
        if !is_within(&entry.path, path) {
            return Ok(());
        }
        seen = true;
        if !is_shown(entry, path, options.recursive) {
            return Ok(());
        }
        count += 1;
        let number = freezer_format::name::Level(entry.level);
        let level = chain.levels.iter().find(|level| level.stored.id.level == number);
        let listed = LsEntry {
            entry: entry.clone(),
            content: level.map(|level| level.stored.id),
        };
        visit(Listed::Entry(&listed)).map_err(RestoreError::Output)
    };
    freezer_pipeline::restore::list(&chain.data, &mut show, context).map_err(failed)?;
    match seen {
        true => Ok(count),
        false => Err(failed(not_found(path))),
    }
}

fn not_found(path: &[u8]) -> RestoreError {
    RestoreError::NotFound {
        path: path.escape_ascii().to_string(),
    }
}

/// Whether `path` is `directory` or lies below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| directory.is_empty() || rest.is_empty() || rest[0] == b'/')
}

/// Of a directory its children, of anything else itself.
fn is_shown(entry: &Entry, path: &[u8], recursive: bool) -> bool {
    if entry.path == path {
        return entry.kind != EntryKind::Directory;
    }
    let below = entry.path.strip_prefix(path).unwrap_or_default();
    let below = below.strip_prefix(b"/").unwrap_or(below);
    recursive || !below.contains(&b'/')
}

/// Writes the content of one file to `out`, reading only the frames it needs. Answers the number of bytes.
///
/// # Errors
/// The path isn't a file of the backup, something is missing, damaged or not authentic, or the output fails.
pub fn dump(
    store: &Arc<dyn Store>,
    (wanted, path): (&Wanted, &[u8]),
    keyring: &Keyring,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, AgentError> {
    let path = trim(path);
    let (found, newest) = read_newest(store, wanted, keyring)?;
    let Some(index) = newest.index(store)? else {
        return dump_unindexed(store, (wanted, path), keyring, out, context);
    };
    let row = index.find(path).map_err(|source| {
        restore_error(
            &newest,
            RestoreError::Index {
                level: newest.stored.id.level.0,
                source,
            },
        )
    })?;
    if row.as_ref().is_some_and(|row| row.unindexed) {
        return dump_unindexed(store, (wanted, path), keyring, out, context);
    }
    let mut levels = Vec::new();
    let newest_level = newest.stored.id.level.0;
    if let Some(row) = row.filter(|row| row.level != newest_level) {
        let level = level_of_content(store, (&found, &newest), (&index, row.level), keyring)?;
        let mut data = level.data(store, keyring)?;
        data.index = level.index(store)?;
        levels.push(data);
    }
    let mut data = newest.data(store, keyring)?;
    data.index = Some(index);
    levels.push(data);
    freezer_pipeline::restore::dump(&levels, path, out, context)
        .map_err(|source| restore_error(&newest, source))
}

/// The same for content in the original's levels: they are read front to back, from the newest on.
fn dump_unindexed(
    store: &Arc<dyn Store>,
    (wanted, path): (&Wanted, &[u8]),
    keyring: &Keyring,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, AgentError> {
    let chain = OpenedChain::open(store, wanted, keyring)?;
    freezer_pipeline::restore::dump(&chain.data, path, out, context)
        .map_err(|source| restore_error(chain.newest(), source))
}

/// Reads the level that holds a file's content; it must be the one that the index was made upon.
fn level_of_content(
    store: &Arc<dyn Store>,
    (found, newest): (&NamedChains, &Level),
    (index, number): (&StoredIndex, u32),
    keyring: &Keyring,
) -> Result<Level, AgentError> {
    let index_key = newest.stored.keys().index();
    let row = index
        .levels()
        .iter()
        .find(|row| row.level == number)
        .ok_or_else(|| {
            damaged(
                &newest.stored,
                &index_key,
                &format!("doesn't know level {number}"),
            )
        })?;
    let id = LevelId {
        zero: newest.stored.id.zero,
        level: freezer_format::name::Level(number),
        time: row.time,
    };
    let level = Level::read(&**store, found.level(id), keyring, Strictness::Enforce)?;
    if level.line_sha256().unwrap_or([0; 32]) == row.manifest_sha256 {
        Ok(level)
    } else {
        Err(damaged(
            &level.stored,
            &level.stored.keys().manifest(),
            "isn't the one that later levels were made against",
        ))
    }
}

fn read_newest(
    store: &Arc<dyn Store>,
    wanted: &Wanted,
    keyring: &Keyring,
) -> Result<(NamedChains, Level), AgentError> {
    let (found, stored) = target(&**store, wanted)?;
    let level = Level::read(&**store, stored, keyring, Strictness::Enforce)?;
    Ok((found, level))
}

fn content_level(index: &StoredIndex, found: &NamedChains, newest: &Level, number: u32) -> Option<LevelId> {
    let row = index.levels().iter().find(|row| row.level == number)?;
    let id = LevelId {
        zero: newest.stored.id.zero,
        level: freezer_format::name::Level(number),
        time: row.time,
    };
    found
        .chains
        .iter()
        .any(|chain| chain.levels.contains(&id))
        .then_some(id)
}

/// `./a/b/`, `/a/b` and `a/b` are the same path below the root.
fn trim(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some(rest) = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")) {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    if path == b"." { b"" } else { path }
}

fn restore_error(level: &Level, source: RestoreError) -> AgentError {
    AgentError::Restore {
        operation: "reading",
        backup: level.stored.label(),
        source,
    }
}
