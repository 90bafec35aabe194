//! Where segments and small objects go: the trait that a storage implements, owned by its consumer.
//!
//! The plugin host implements it over storage components, [`crate::testing::MemoryStore`] in memory.
//! Keys are the full keys of `freezer_format::layout`; prefixes end with `/`. Nothing here retries: a call that
//! is worth repeating is repeated by the implementation.

use std::io::Read;
use std::sync::Arc;

use freezer_format::name::Timestamp;

/// The closed set of reasons for which a storage call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object, upload or container isn't there.
    NotFound,
    /// Something is there already and must not be replaced.
    AlreadyExists,
    /// Credentials, permissions or a missing grant forbid it.
    Denied,
    /// The request makes no sense to this storage; repeating it can't help.
    Invalid,
    /// The storage asks to come back later.
    Busy,
    /// The storage can't be reached or failed on its side.
    Unavailable,
    /// What the storage holds contradicts itself or its own checksums.
    Corrupt,
    /// This storage can't do it at all.
    Unsupported,
    /// The run was cancelled.
    Cancelled,
    /// None of the above.
    Other,
}

impl ErrorKind {
    /// Tells whether the same call may succeed a little later; the only retry rule there is.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

/// What exactly stood in the way, where it is known: advice goes by it, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// User name, password, key or token isn't accepted.
    Login,
    /// A machine that isn't known answered.
    UnknownMachine,
    /// A machine answered with another key than it is known by.
    ChangedMachine,
    /// No machine has that name.
    NoSuchHost,
    /// Nothing accepts connections there.
    NoConnection,
    /// The certificate doesn't count.
    Certificate,
    /// The plugin used more than it may. No plugin can say so: it has no word.
    Limit,
}

impl Cause {
    /// All that have words in error codes.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Login, "login"),
        (Self::UnknownMachine, "unknown-machine"),
        (Self::ChangedMachine, "changed-machine"),
        (Self::NoSuchHost, "no-such-host"),
        (Self::NoConnection, "no-connection"),
        (Self::Certificate, "certificate"),
    ];

    /// The cause that an error code tells, if it does: its first word, before a service's own.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        let word = code.split(' ').next()?;
        Self::ALL
            .iter()
            .find(|(_, own)| *own == word)
            .map(|(cause, _)| *cause)
    }
}

/// A storage call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't {operation} {key:?} in {storage}: {message}")]
pub struct StoreError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// The storage's URL, without secrets.
    pub storage: String,
    /// The call, in words that fit after "can't".
    pub operation: &'static str,
    /// The key, prefix or upload that the call was about; empty if none.
    pub key: String,
    /// The storage's own words, already escaped and bounded.
    pub message: String,
    /// What stood in the way, if that is known.
    pub cause: Option<Cause>,
}

/// What `put` does when the key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Replaces the old content, atomically.
    Replace,
    /// Fails with [`ErrorKind::AlreadyExists`] and changes nothing. Where what is there may have been stored by an earlier
    /// try of this call, whose answer was lost, it fails with [`ErrorKind::Unavailable`]: the caller has to look.
    Refuse,
}

/// What a storage can take; the road keeps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most segments of one object.
    pub max_segments: u32,
    /// Fewest bytes of a segment that isn't the last.
    pub min_segment_bytes: u64,
    /// Most bytes of a segment.
    pub max_segment_bytes: u64,
    /// Most calls that may be under way at once.
    pub parallel_calls: u32,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The full key; of a prefix, with the closing `/`.
    pub key: String,
    /// Whether this is a prefix with more keys below it, not an object.
    pub is_prefix: bool,
    /// Bytes of the object; 0 for a prefix.
    pub size: u64,
    /// The storage's own time of the last change, where it has one.
    pub modified: Option<Timestamp>,
}

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most 1000 entries, in the storage's order.
    pub entries: Vec<KeyEntry>,
    /// What to hand to `list` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// An upload that was begun and neither committed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The name that `put_segment`, `commit` and `abort` take.
    pub upload: String,
    /// The key that it would have made visible.
    pub key: String,
    /// When it was begun, by the storage's clock, where known.
    pub started: Option<Timestamp>,
}

/// A part of the list of unfinished uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingPage {
    /// At most 1000 uploads.
    pub uploads: Vec<PendingUpload>,
    /// What to hand to `pending` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// How full a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container's name.
    pub name: String,
    /// Objects in it.
    pub objects: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that still fit, where the storage can say.
    pub available: Option<u64>,
}

/// A place for objects. Every call blocks and may come from any thread, several at once up to
/// [`Limits::parallel_calls`].
///
/// Large objects are written as *uploads*: `begin`, any number of `put_segment` in any order, then `commit`, which
/// makes the object visible, whole and durable, or `abort`, after which nothing of it remains.
///
/// # Errors
/// Every method answers a [`StoreError`]; its kind alone says whether the caller may try again.
pub trait Store: Send + Sync {
    /// The storage's URL as messages show it, without secrets.
    fn url(&self) -> &str;

    /// What this storage can take; constant during a run.
    fn limits(&self) -> Limits;

    /// Lists one level below `prefix`. The answer may lag behind: it never proves absence.
    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError>;

    /// Looks at one object; `None` if it isn't there.
    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError>;

    /// Reads exactly `length` bytes from `offset` on, or all to the end; a short answer ends in an error of the reader.
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Writes a small object atomically: whole and durable, or absent.
    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError>;

    /// Removes at most 1000 objects; absent ones are a success.
    fn remove(&self, keys: &[String]) -> Result<(), StoreError>;

    /// Begins an upload and answers its name. `size` is a hint in bytes.
    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError>;

    /// Stores segment `number` (from 0), which lies at byte `offset`, and answers its receipt. Idempotent.
    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError>;

    /// Makes the object of `size` bytes visible; `receipts` in the order of their segments.
    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError>;

    /// Forgets an upload and its segments; an unknown one is a success.
    fn abort(&self, upload: &str) -> Result<(), StoreError>;

    /// Lists unfinished uploads for keys below `prefix`.
    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError>;

    /// Tells how full the containers of this storage are.
    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError>;
}
