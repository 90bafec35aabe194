//! A whole [`Storage`] over a directory: of this machine, of another one, of whatever opens a [`Directory`].
//!
//! A plugin says where the directory is ([`Place`]) and exports [`DirectoryStorage`]; that is all:
//!
//! ```
//! use std::{fmt, rc::Rc};
//! use freezer_sdk::directory_storage::{DirectoryStorage, Place};
//! use freezer_sdk::error::Result;
//! use freezer_sdk::host::directories::{Access, Directory, open};
//! use freezer_sdk::settings::Settings;
//! use freezer_sdk::storage::Limits;
//!
//! struct Shelf(String);
//!
//! freezer_sdk::export_storage!(DirectoryStorage<Shelf>);
//!
//! impl fmt::Display for Shelf {
//!     fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
//!         write!(formatter, "shelf \"{}\"", self.0)
//!     }
//! }
//!
//! impl Place for Shelf {
//!     fn open(settings: &Settings) -> Result<Self> {
//!         Ok(Shelf(settings.text("path")?.to_owned()))
//!     }
//!     fn limits(&self) -> Limits {
//!         Limits { max_segments: 10_000, min_segment_bytes: 1, max_segment_bytes: 8 << 20, parallel_calls: 2 }
//!     }
//!     fn name(&self) -> String {
//!         self.0.clone()
//!     }
//!     fn reading(&self) -> Result<Rc<Directory>> {
//!         open(&self.0, Access::ReadOnly).map(Rc::new)
//!     }
//!     fn writing(&self) -> Result<Rc<Directory>> {
//!         open(&self.0, Access::ReadWrite).map(Rc::new)
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! An object is a file whose path below the directory is its key. Until it is whole it lies beside its place under a temporary name,
//! `.NAME.RUN.partial`, that no listing shows; making it visible is one rename, after its bytes are on disk. So nothing but a whole
//! object ever bears a key, whatever breaks off when. An object once there is replaced by `put` only, and only if asked.
//! Segments are written at their offsets.

mod objects;
mod receipt;
mod upload;
mod walk;

use std::fmt;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::host::bodies::Body;
use crate::host::directories::Directory;
use crate::settings::Settings;
use crate::storage::{ContainerUsage, Existing, KeyEntry, KeyPage, Limits, PendingPage, Storage};
use objects::Objects;

pub use upload::is_temporary;

/// Where the directory is. Its `Display` form names it in messages: `container "/srv/backups"`.
pub trait Place: fmt::Display + Sized + 'static {
    /// Reads the settings. Cheap: nothing is opened yet.
    ///
    /// # Errors
    /// `invalid` for settings that make no sense.
    fn open(settings: &Settings) -> Result<Self>;

    /// What the host keeps to; segments are written at their places, so they may be small.
    fn limits(&self) -> Limits;

    /// Its name in the answer to `usage`.
    fn name(&self) -> String;

    /// The directory, to read from it; opened when it is first needed. It must not be made: a mistyped path is to be told, not
    /// answered with an empty storage.
    ///
    /// # Errors
    /// `not-found` if it isn't there.
    fn reading(&self) -> Result<Rc<Directory>>;

    /// The directory, to write into it; made if it isn't there.
    ///
    /// # Errors
    /// `denied` if it can't be made.
    fn writing(&self) -> Result<Rc<Directory>>;

    /// Comes before calls that the host makes once only: whoever holds a connection makes sure that it still is one. By default
    /// nothing.
    ///
    /// # Errors
    /// Whatever makes the call hopeless.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Hears of each failure before the host does: whoever holds a connection may have to let it go. By default nothing.
    fn failed(&self, _error: &Error) {}
}

/// The storage below a place.
#[derive(Debug)]
pub struct DirectoryStorage<P> {
    objects: Objects<P>,
}

impl<P: Place> DirectoryStorage<P> {
    fn watch<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.objects.place.failed(error))
    }

    fn once<T>(&self, call: impl FnOnce(&Objects<P>) -> Result<T>) -> Result<T> {
        let prepared = self.objects.place.prepare();
        self.watch(prepared.and_then(|()| call(&self.objects)))
    }
}

impl<P: Place> Storage for DirectoryStorage<P> {
    fn open(settings: Settings) -> Result<Self> {
        let place = P::open(&settings)?;
        Ok(DirectoryStorage {
            objects: Objects { place },
        })
    }

    fn limits(&self) -> Limits {
        self.objects.place.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        self.watch(self.objects.list(prefix, cursor))
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        self.watch(self.objects.stat(key))
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        self.watch(self.objects.read(key, offset, length))
    }

    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        self.once(|objects| objects.put(key, content, existing))
    }

    fn remove(&self, keys: &[String]) -> Result<()> {
        self.watch(self.objects.remove(keys))
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String> {
        self.once(|objects| objects.begin(key))
    }

    fn put_segment(&self, upload: &str, number: u32, offset: u64, content: &Body) -> Result<String> {
        self.watch(self.objects.put_segment(upload, (number, offset), content))
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        self.watch(self.objects.commit(upload, size, receipts))
    }

    fn abort(&self, upload: &str) -> Result<()> {
        self.watch(self.objects.abort(upload))
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        self.watch(self.objects.pending(prefix, cursor))
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>> {
        self.watch(self.objects.usage())
    }
}
