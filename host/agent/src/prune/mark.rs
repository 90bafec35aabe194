//! The note about what retention will remove of a name: written before anything goes.
//!
//! Between note and removal lies the grace, in which a user can still pin. A run that builds on a level reads the
//! note after it claimed its own, and a removal looks for claims after it wrote the note, so one of both sees the
//! other. After a crash the note tells a removal that was begun from a backup whose commit point was lost.
//!
//! Not sealed: whoever can write it can remove the backups themselves, and an entry alone removes nothing that the
//! policy keeps.

use std::sync::Arc;

use freezer_format::layout::marks_key;
use freezer_format::name::{HostBackupName, Level, LevelId, Timestamp};
use freezer_pipeline::store::{Existing, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::catalogue::Place;
use crate::error::AgentError;
use crate::level::Level as BackupLevel;
use crate::objects::read_small;

/// About 60 bytes for each of a hundred thousand levels, and then some.
const MAX_MARKS_BYTES: usize = 16 << 20;

/// The version that this module writes and reads.
const FORMAT: u32 = 1;

/// What is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    format: u32,
    levels: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    zero: Timestamp,
    level: Level,
    time: Timestamp,
    since: Timestamp,
    /// Its removal was begun: whatever is left of it may go.
    #[serde(default)]
    removing: bool,
}

impl Mark {
    fn id(&self) -> LevelId {
        LevelId {
            zero: self.zero,
            level: self.level,
            time: self.time,
        }
    }
}

impl Marks {
    /// Reads the note of a name. One that can't be read is none: the grace begins anew.
    pub(crate) fn read(store: &dyn Store, name: &HostBackupName, place: Place) -> Result<Self, StoreError> {
        let bytes = read_small(store, &key(name, place), MAX_MARKS_BYTES)?;
        let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        Ok(parsed.filter(|marks| marks.format == FORMAT).unwrap_or_default())
    }

    /// Writes the note, or takes it away when nothing is marked. `before` is what stands there.
    pub(crate) fn write(
        &self,
        store: &dyn Store,
        name: &HostBackupName,
        place: Place,
        before: &Self,
    ) -> Result<(), StoreError> {
        if self.levels == before.levels {
            return Ok(());
        }
        let key = key(name, place);
        if self.levels.is_empty() {
            return store.remove(&[key]);
        }
        let bytes = serde_json::to_vec(self).expect("numbers always serialise");
        store.put(&key, Arc::new(bytes), Existing::Replace)
    }

    /// Marks exactly these levels; those that were marked keep their time.
    pub(crate) fn renewed(&self, chosen: impl Iterator<Item = LevelId>, now: Timestamp) -> Self {
        let mark = |id: LevelId| Mark {
            zero: id.zero,
            level: id.level,
            time: id.time,
            // A mark from the future would never become ripe.
            since: self.since(id).map_or(now, |since| since.min(now)),
            removing: self.levels.iter().any(|mark| mark.id() == id && mark.removing),
        };
        Self {
            format: FORMAT,
            levels: chosen.map(mark).collect(),
        }
    }

    /// Since when a level is marked.
    pub(crate) fn since(&self, id: LevelId) -> Option<Timestamp> {
        self.levels
            .iter()
            .find(|mark| mark.id() == id)
            .map(|mark| mark.since)
    }

    /// The same, with these levels about to be removed.
    pub(crate) fn removing(&self, ids: &[LevelId]) -> Self {
        let mut marks = self.clone();
        for mark in marks.levels.iter_mut().filter(|mark| ids.contains(&mark.id())) {
            mark.removing = true;
        }
        marks
    }

    /// The levels whose removal was begun.
    pub(crate) fn begun(&self) -> impl Iterator<Item = LevelId> {
        self.levels.iter().filter(|mark| mark.removing).map(Mark::id)
    }

    /// All marked levels.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LevelId> {
        self.levels.iter().map(Mark::id)
    }
}

/// Why a chain isn't continued.
pub(crate) const GOING: &str = "it is marked for removal";

/// True if retention is about to remove one of these levels of a name.
pub(crate) fn is_going(
    store: &dyn Store,
    name: &HostBackupName,
    levels: &[BackupLevel],
) -> Result<bool, StoreError> {
    let Some(tip) = levels.last() else {
        return Ok(false);
    };
    let marks = Marks::read(store, name, tip.stored.place)?;
    Ok(levels.iter().any(|level| marks.since(level.stored.id).is_some()))
}

/// Looks once more, now that the claim is written: a removal that didn't see it wrote its note before.
pub(crate) fn require_staying(
    store: &dyn Store,
    name: &HostBackupName,
    ancestors: &[BackupLevel],
) -> Result<(), AgentError> {
    if ancestors.is_empty() || !is_going(store, name, ancestors)? {
        return Ok(());
    }
    Err(AgentError::Unsupported {
        reason: format!("the chain of {name} is being removed"),
        next: "run it again: a new chain is begun".to_owned(),
    })
}

fn key(name: &HostBackupName, place: Place) -> String {
    let place = match place {
        Place::New(engine) => engine.dir(),
        Place::Old => "old",
    };
    marks_key(place, name)
}
