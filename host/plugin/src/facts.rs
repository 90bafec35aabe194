//! What was seen in component files, kept between runs, so that not every run reads and hashes all of them.
//!
//! A file is known by its path, place on disk, size and times. Its change time can't be set by anybody, so a file that has
//! another content has another one, unless it was changed within one step of the clock: what was that young when it was
//! looked at isn't known. And nothing is decided by it that matters: code is loaded only from a cache that is keyed by the
//! digest, or compiled from bytes that have it. Who outwits this gets the component that was there before.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::component::ComponentFacts;

/// The name of the file; another form gets another number.
const NAME: &str = "facts-1";
/// The largest such file: a plugin's entry has some kilobytes.
const MAX_BYTES: u64 = 16 << 20;
/// The coarsest clock of a file system that has change times.
const CLOCK_STEP_SECONDS: i64 = 2;

/// What tells a file's content from any other that was or will be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Identity {
    /// That of an opened file.
    pub(crate) fn of(file: &File) -> Option<Self> {
        let facts: Stat = rustix::fs::fstat(file).ok()?;
        Some(Self {
            device: facts.st_dev,
            inode: facts.st_ino,
            size: facts.st_size,
            modified: (facts.st_mtime, facts.st_mtime_nsec),
            changed: (facts.st_ctime, facts.st_ctime_nsec),
        })
    }
}

/// What there is to know of a component without compiling it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The digest of the whole file, in hex.
    pub(crate) sha256: String,
    /// What stands at its top level.
    pub(crate) facts: ComponentFacts,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    identity: Identity,
    seen: Seen,
}

/// All that is known.
pub(crate) struct KnownFiles<'a> {
    cache: &'a Cache,
    state: Mutex<State>,
}

struct State {
    entries: BTreeMap<PathBuf, Entry>,
    is_changed: bool,
}

impl<'a> KnownFiles<'a> {
    /// What earlier runs kept.
    pub(crate) fn load(cache: &'a Cache) -> Self {
        let read = || {
            let (content, written) = cache.document(NAME, MAX_BYTES)?;
            let mut entries: BTreeMap<PathBuf, Entry> = serde_json::from_slice(&content).ok()?;
            entries.retain(|_, entry| written.saturating_sub(entry.identity.changed.0) > CLOCK_STEP_SECONDS);
            Some(entries)
        };
        Self {
            cache,
            state: Mutex::new(State {
                entries: read().unwrap_or_default(),
                is_changed: false,
            }),
        }
    }

    /// What was seen in a file, if it is still the same.
    pub(crate) fn get(&self, path: &Path, identity: &Identity) -> Option<Seen> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = state.entries.get(path)?;
        (entry.identity == *identity).then(|| entry.seen.clone())
    }

    /// Remembers what was seen in a file.
    pub(crate) fn put(&self, path: &Path, identity: Identity, seen: Seen) {
        // Documents have no place for other paths.
        if path.to_str().is_none() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entries.insert(path.to_owned(), Entry { identity, seen });
        state.is_changed = true;
    }

    /// Keeps it for later runs, without files that are gone.
    pub(crate) fn save(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut state.is_changed) {
            return;
        }
        state.entries.retain(|path, _| path.exists());
        match serde_json::to_vec(&state.entries) {
            Ok(content) => self.cache.keep_document(NAME, &content),
            Err(error) => tracing::debug!(%error, "can't keep what was seen of plugins"),
        }
    }
}
