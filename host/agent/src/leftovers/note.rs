//! The first look's note: what was seen, how large, last changed when, and since when by the storage's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use freezer_format::layout::LEFTOVERS_KEY;
use freezer_format::name::Timestamp;
use freezer_pipeline::store::{Existing, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::find::Candidate;
use crate::objects::read_small;

/// Some two hundred bytes for each of 50 000 leftovers.
const MAX_NOTE_BYTES: usize = 16 << 20;

/// The version that this module writes and reads.
const FORMAT: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    since: Timestamp,
    modified: Option<Timestamp>,
    objects: u64,
    bytes: u64,
}

/// What was seen by an earlier run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    format: u32,
    seen: BTreeMap<String, Seen>,
}

impl Note {
    /// Reads the note; one that can't be read is none.
    pub(super) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let bytes = read_small(store, LEFTOVERS_KEY, MAX_NOTE_BYTES)?;
        let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        Ok(parsed.filter(|note| note.format == FORMAT).unwrap_or_default())
    }

    /// Since when something is seen as it is now.
    pub(super) fn seen_unchanged(&self, candidate: &Candidate) -> Option<Timestamp> {
        let seen = self.seen.get(candidate.id())?;
        let same = (seen.modified, seen.objects, seen.bytes)
            == (candidate.modified, candidate.objects, candidate.bytes);
        same.then_some(seen.since)
    }

    /// The note of this look.
    pub(super) fn renewed(&self, candidates: &[Candidate], now: Timestamp) -> Self {
        let seen = |candidate: &Candidate| Seen {
            since: self.seen_unchanged(candidate).map_or(now, |since| since.min(now)),
            modified: candidate.modified,
            objects: candidate.objects,
            bytes: candidate.bytes,
        };
        Self {
            format: FORMAT,
            seen: candidates
                .iter()
                .map(|candidate| (candidate.id().to_owned(), seen(candidate)))
                .collect(),
        }
    }

    /// The same without what is gone.
    pub(super) fn without(mut self, gone: &[&str]) -> Self {
        self.seen.retain(|id, _| !gone.contains(&id.as_str()));
        self
    }

    /// Writes the note, or takes it away when nothing is left.
    pub(super) fn write(&self, store: &dyn Store, before: &Self) -> Result<(), StoreError> {
        if self.seen == before.seen {
            return Ok(());
        }
        if self.seen.is_empty() {
            return store.remove(&[LEFTOVERS_KEY.to_owned()]);
        }
        let bytes = serde_json::to_vec(self).expect("texts and numbers always serialise");
        store.put(LEFTOVERS_KEY, Arc::new(bytes), Existing::Replace)
    }
}
