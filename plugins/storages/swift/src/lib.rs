//! Storage swift: a container of OpenStack Swift.
//!
//! A small object is one object. A large one lies in numbered segments (`upload.rs`), and what bears its key is a manifest: a dynamic
//! one, whose header also the original follows, or a static one if asked. Its sizes stand in the manifest's own headers (`layout.rs`), so
//! that no listing decides what belongs to an object, and it is read segment by segment.
//!
//! `session.rs` logs in (`login.rs`, `identity.rs`) and sends; `status.rs` says what an answer means; `read.rs`, `write.rs` and
//! `clean.rs` hold the calls of the contract; `old.rs` shows the original's old layout as folders.

mod clean;
mod identity;
mod layout;
mod listing;
mod login;
mod object;
mod old;
mod place;
mod read;
mod session;
mod status;
mod upload;
mod write;

use std::cell::{OnceCell, RefCell};

use freezer_sdk::error::Result;
use freezer_sdk::export_storage;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{ContainerUsage, Existing, KeyEntry, KeyPage, Limits, PendingPage, Storage};

use object::{Cache, Info};
use place::Place;
use session::Session;

/// Host and catalogue hold that many receipts of 50 bytes; of 32 MiB each they make 3 TiB, and the host makes them larger for more.
const SEGMENTS: u32 = 100_000;
/// Largest object of nearly all clusters.
const SEGMENT_BYTES: u64 = 5 << 30;
/// Each call waits for a server somewhere: more at once hide that.
const PARALLEL_CALLS: u32 = 4;

/// A container, or a part of one.
struct Swift {
    session: Session,
    place: Place,
    /// True to write static manifests.
    is_static: bool,
    /// The upload that was last seen to be there: it isn't looked for at each segment.
    alive: RefCell<Option<String>>,
    cache: Cache,
    info: OnceCell<Info>,
}

export_storage!(Swift);

impl Storage for Swift {
    fn open(settings: Settings) -> Result<Self> {
        Ok(Swift {
            session: Session::new(&settings)?,
            place: Place::parse(settings.text("container")?)?,
            is_static: settings.flag("swift-slo")?,
            alive: RefCell::default(),
            cache: Cache::default(),
            info: OnceCell::new(),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: SEGMENTS,
            min_segment_bytes: 1,
            max_segment_bytes: SEGMENT_BYTES,
            parallel_calls: PARALLEL_CALLS,
        }
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        self.list_page(prefix, cursor)
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        self.stat_object(key)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        self.read_object(key, offset, length)
    }

    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        self.put_object(key, content, existing)
    }

    fn remove(&self, keys: &[String]) -> Result<()> {
        self.remove_objects(keys)
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String> {
        self.begin_upload(key)
    }

    fn put_segment(&self, upload: &str, number: u32, _offset: u64, content: &Body) -> Result<String> {
        self.put_piece(upload, number, content)
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        self.commit_upload(upload, size, receipts)
    }

    fn abort(&self, upload: &str) -> Result<()> {
        self.abort_upload(upload)
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        self.pending_page(prefix, cursor)
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>> {
        self.container_usage()
    }
}

#[cfg(test)]
mod tests;
