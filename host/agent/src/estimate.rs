//! How much there will be to do, for the progress line: a guess from what is cheap to know, or none.
//!
//! The level before tells the size of the tree. An increment reads only what changed, so of it the number of entries
//! is told, not the bytes. Of a first level 0 nothing is known; the road counts it if somebody watches.

use std::sync::atomic::Ordering;

use freezer_format::manifest::{Counts, MAX_MANIFEST_BYTES, Manifest};
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::counters::Counters;
use freezer_pipeline::store::Store;

use crate::catalogue::{Place, StoredLevel};
use crate::objects::read_small;
use crate::plan::Plan;

/// Tells the counters what a backup will come to, as far as that is known.
pub(crate) fn estimate(store: &dyn Store, name: &HostBackupName, plan: &Plan, counters: &Counters) {
    if let Some(parent) = plan.parent() {
        let entries = parent.manifest().map_or(0, |manifest| entries(&manifest.counts));
        counters.total_entries.store(entries, Ordering::Relaxed);
        return;
    }
    let before = plan.previous.as_ref().and_then(|link| {
        let id = LevelId {
            zero: link.zero,
            level: link.level,
            time: link.time,
        };
        let place = Place::New(plan.engine);
        let name = name.clone();
        counted(store, &StoredLevel { name, place, id })
    });
    let bytes = before.unwrap_or(0);
    counters.total_bytes.store(bytes, Ordering::Relaxed);
}

/// The bytes of a stored tree. A guess needs no authenticity, and a failure here will be met again where it matters.
fn counted(store: &dyn Store, level: &StoredLevel) -> Option<u64> {
    let bytes = read_small(store, &level.keys().manifest(), MAX_MANIFEST_BYTES).ok()??;
    let opened = Manifest::open(&bytes, None).ok()?;
    Some(opened.manifest.counts.bytes)
}

fn entries(counts: &Counts) -> u64 {
    [
        counts.directories,
        counts.symlinks,
        counts.hard_links,
        counts.others,
    ]
    .iter()
    .fold(counts.files, |sum, more| sum.saturating_add(*more))
}
