//! Directories of this machine ([`open`]) or of another ([`crate::host::ssh`]).
//!
//! Paths are relative to the directory and never leave it, not by a symlink either.

use crate::bindings::imports::freezer::plugin::directories as wit;
use crate::error::{Error, Result};
use crate::host::backend::{directories as backend, files};
use crate::host::bodies::Body;

pub use crate::bindings::imports::freezer::plugin::directories::{Access, Entry, EntryKind, EntryPage};
pub use crate::bindings::imports::freezer::plugin::types::Timestamp;

/// Longest path in bytes.
pub const PATH_BYTES: usize = 4096;

/// Opens a directory of this machine, an absolute path. Needs the grant `files`. With [`Access::ReadWrite`] a missing one is made.
///
/// # Errors
/// `denied` without a grant; `not-found`; `invalid` if it is no directory.
pub fn open(root: &str, access: Access) -> Result<Directory> {
    Ok(Directory(files::open(root, access)?))
}

/// What happens if the target is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced in one step.
    Replace,
    /// The call fails with `already-exists` and changes nothing.
    Refuse,
}

impl From<Existing> for wit::Existing {
    fn from(existing: Existing) -> Self {
        match existing {
            Existing::Replace => wit::Existing::Replace,
            Existing::Refuse => wit::Existing::Refuse,
        }
    }
}

/// Used and available bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in use, by anyone.
    pub used_bytes: u64,
    /// Bytes that we may still write.
    pub available_bytes: u64,
}

/// An open directory; dropping it closes it.
#[derive(Debug)]
pub struct Directory(pub(crate) backend::Directory);

impl Directory {
    /// The entries of one folder ("" is the directory itself), at most 1000 a page, in the order of names.
    ///
    /// # Errors
    /// `not-found`; `invalid` if `path` is no directory.
    pub fn list(&self, path: &str, cursor: Option<&str>) -> Result<EntryPage> {
        Ok(self.0.list(path, cursor)?)
    }

    /// Facts about one entry; symlinks are told as such.
    ///
    /// # Errors
    /// `not-found`, `denied`.
    pub fn stat(&self, path: &str) -> Result<Entry> {
        Ok(self.0.stat(path)?)
    }

    /// As [`Directory::stat`], with `None` for what isn't there.
    ///
    /// # Errors
    /// All but `not-found`.
    pub fn find(&self, path: &str) -> Result<Option<Entry>> {
        absent_is_none(self.stat(path))
    }

    /// A stream of exactly `length` bytes from `offset` (to the end without a length).
    ///
    /// # Errors
    /// `not-found`; `invalid` if it is no regular file or ends before `offset`. The stream fails if the file is too short.
    pub fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        Ok(Body(self.0.read(path, offset, length)?))
    }

    /// Writes the whole body at `offset`; makes the file and its parents. Not durable before [`Directory::publish`].
    ///
    /// # Errors
    /// `other` for a full disk, `denied` for a read-only file system; what was written so far stays.
    pub fn write(&self, path: &str, offset: u64, content: &Body) -> Result<u64> {
        Ok(self.0.write(path, offset, &content.0)?)
    }

    /// Syncs the file `source`, renames it to `target`, syncs the folder: afterwards `target` is whole and survives a power cut.
    ///
    /// # Errors
    /// `not-found`; with [`Existing::Refuse`] `already-exists`.
    pub fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<()> {
        Ok(self.0.publish(source, target, existing.into())?)
    }

    /// Makes a directory and its parents; one that is there is a success.
    ///
    /// # Errors
    /// `already-exists` if something else has that name.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        Ok(self.0.make_directory(path)?)
    }

    /// Removes a file, a symlink or an empty directory; absent is a success.
    ///
    /// # Errors
    /// `invalid` for a directory that isn't empty; `denied`.
    pub fn remove(&self, path: &str) -> Result<()> {
        Ok(self.0.remove(path)?)
    }

    /// How full the file system is.
    ///
    /// # Errors
    /// `unsupported` where the machine can't tell.
    pub fn space(&self) -> Result<Space> {
        let (used_bytes, available_bytes) = self.0.space()?;
        Ok(Space {
            used_bytes,
            available_bytes,
        })
    }
}

/// Turns `not-found` into `None`.
///
/// # Errors
/// All others.
pub fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error {
            kind: crate::error::ErrorKind::NotFound,
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}
