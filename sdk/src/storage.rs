//! What a storage implements: a place for objects.
//!
//! Every call may come again after its answer was lost, and uploads may be continued by another instance: keep no state but what
//! the upload-id says or the service knows.

use crate::error::{Error, Result};
use crate::host::bodies::Body;
use crate::settings::Settings;

pub use crate::bindings::storage_plugin::exports::freezer::plugin::storage::{
    ContainerUsage, KeyEntry, KeyKind, KeyPage, Limits, PendingPage, PendingUpload,
};
pub use crate::host::directories::Existing;

/// Longest key in bytes.
pub const KEY_BYTES: usize = 1024;
/// Most entries in a page and most keys in one `remove`.
pub const PAGE_ENTRIES: usize = 1000;

/// A place for objects. Export it with [`export_storage!`](crate::export_storage).
///
/// Keys are relative and `/`-separated, see [`check_key`]; a prefix is "" or ends with `/`, see [`check_prefix`].
pub trait Storage: Sized + 'static {
    /// Opens the storage that the settings describe. Cheap: it connects on first use, since the host does this in every instance.
    ///
    /// # Errors
    /// `invalid` for settings that make no sense.
    fn open(settings: Settings) -> Result<Self>;

    /// What the host keeps to when it cuts segments. Makes no request. By default: 10 000 segments of at most 32 MiB, two calls
    /// at once.
    fn limits(&self) -> Limits {
        Limits {
            max_segments: 10_000,
            min_segment_bytes: 1,
            max_segment_bytes: 32 << 20,
            parallel_calls: 2,
        }
    }

    /// The objects and prefixes one level below `prefix`, at most [`PAGE_ENTRIES`] a page.
    ///
    /// # Errors
    /// `not-found` if there is no container at all; `invalid` for a foreign cursor.
    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage>;

    /// Facts about one object, up to date.
    ///
    /// # Errors
    /// `not-found`, also for a mere prefix.
    fn stat(&self, key: &str) -> Result<KeyEntry>;

    /// The bytes from `offset` on: `length` of them, or all to the end without a length; fewer must end in an error. For an object kept in
    /// pieces, a body of known size may hold the first of them: the host asks again for the rest.
    ///
    /// # Errors
    /// `not-found`; `invalid` behind the end; `corrupt` if the object is too short; `unsupported` without a length, if the object is
    /// kept in pieces: the host asks again with one.
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body>;

    /// Stores a small object in one step: whole and durable, or absent.
    ///
    /// # Errors
    /// `already-exists` with [`Existing::Refuse`].
    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()>;

    /// Removes these objects and no others; absent ones are a success.
    ///
    /// # Errors
    /// Any; some may be gone then.
    fn remove(&self, keys: &[String]) -> Result<()>;

    /// Starts a large object, which can't be seen before `commit`. Returns a text of at most 2048 bytes that names the upload in any
    /// instance and in later runs.
    ///
    /// # Errors
    /// `already-exists` if an object of that key is there.
    fn begin(&self, key: &str, size: Option<u64>) -> Result<String>;

    /// Stores segment `number` (from 0), which lies at `offset`; the same number again replaces it. Returns what `commit` must
    /// know of it, at most 256 bytes.
    ///
    /// # Errors
    /// `not-found` if the upload is gone.
    fn put_segment(&self, upload: &str, number: u32, offset: u64, content: &Body) -> Result<String>;

    /// Makes the object visible, whole and durable; a repetition after success is a success.
    ///
    /// # Errors
    /// `corrupt` if what is stored isn't `size` bytes long; `already-exists`; `not-found` if the upload is gone.
    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()>;

    /// Forgets an upload and its segments; absent is a success. Never touches a committed object.
    ///
    /// # Errors
    /// Any; the call may be repeated.
    fn abort(&self, upload: &str) -> Result<()>;

    /// Unfinished uploads whose key begins with `prefix`, in any depth.
    ///
    /// # Errors
    /// As `list`. By default `unsupported`: then leftovers of killed runs can't be found here.
    fn pending(&self, _prefix: &str, _cursor: Option<&str>) -> Result<PendingPage> {
        Err(Error::unsupported("this storage can't list unfinished uploads"))
    }

    /// How full the containers are.
    ///
    /// # Errors
    /// By default `unsupported`.
    fn usage(&self) -> Result<Vec<ContainerUsage>> {
        Err(Error::unsupported("this storage can't tell how full it is"))
    }
}

/// Refuses what is no key: empty, longer than [`KEY_BYTES`], absolute, or with empty parts, `.`, `..` or control characters.
///
/// # Errors
/// `invalid`, naming the key.
pub fn check_key(key: &str) -> Result<()> {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    if key.len() <= KEY_BYTES && key.split('/').all(part) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    // A key may be huge or hold anything: only the beginning is shown, escaped.
    let shown: String = key.chars().take(60).collect();
    Err(Error::invalid(format!("{shown:?} is no key")))
}

/// Refuses what is no prefix: neither "" nor a key with a `/` at its end. Returns it without that `/`.
///
/// # Errors
/// `invalid`, naming the prefix.
pub fn check_prefix(prefix: &str) -> Result<&str> {
    if prefix.is_empty() {
        return Ok(prefix);
    }
    let Some(folder) = prefix.strip_suffix('/') else {
        let shown: String = prefix.chars().take(60).collect();
        return Err(Error::invalid(format!(
            "the prefix {shown:?} doesn't end with \"/\""
        )));
    };
    check_key(folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_backups_are_keys() {
        check_key("data/tar/web01_etc/1700000000/0_1700000000/data").unwrap();
        check_key("a").unwrap();
        check_key("ключ/ё").unwrap();
        check_key(&"k".repeat(KEY_BYTES)).unwrap();
    }

    #[test]
    fn whatever_could_escape_is_no_key() {
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb", "\u{85}",
        ] {
            check_key(key).unwrap_err();
        }
        let error = check_key(&"k".repeat(KEY_BYTES + 1)).unwrap_err();
        assert!(error.message.len() < 100);
    }

    #[test]
    fn a_prefix_is_empty_or_ends_with_a_slash() {
        assert_eq!(check_prefix("").unwrap(), "");
        assert_eq!(check_prefix("data/tar/").unwrap(), "data/tar");
        for prefix in ["/", "data", "data//", "../"] {
            check_prefix(prefix).unwrap_err();
        }
    }
}
