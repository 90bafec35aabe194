//! What can be done below an opened directory, wherever it lies: on this machine or, by SFTP, on another.

use std::io::Read;

use super::{Directory, Entry, Existing, ListPage, Space};
use crate::error::Error;
use crate::stop::Stop;

/// Exactly the announced bytes of a file; fewer end in an error.
pub struct RangeReader {
    /// The bytes.
    pub content: Box<dyn Read + Send>,
    /// How many there are.
    pub size: u64,
}

/// An opened directory. All paths are relative to it and never lead out of it.
pub trait Folder: Send {
    /// One page of a folder; the cursor is the `next` of the page before.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if `path` is no directory or the cursor isn't from here; `Denied`.
    fn list(&self, path: &str, cursor: Option<&str>) -> Result<ListPage, Error>;

    /// Facts about one entry; `""` is the directory itself.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Invalid` for a path that the contract forbids.
    fn stat(&self, path: &str) -> Result<Entry, Error>;

    /// Reads `length` bytes from `offset` on, or all to the end that the file has now.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is no regular file; `Corrupt` if it is too short; `Denied`.
    fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<RangeReader, Error>;

    /// Writes `content` to its end at `offset`; makes the file and its parents. Answers the bytes written.
    ///
    /// # Errors
    /// `Other` for a full disk, `Denied`, `Invalid`, and what broke the content; what was written so far stays.
    fn write(&self, path: &str, offset: u64, content: &mut dyn Read) -> Result<u64, Error>;

    /// The same for bytes that are in memory.
    ///
    /// # Errors
    /// As [`Folder::write`].
    fn write_bytes(&self, path: &str, offset: u64, mut content: &[u8]) -> Result<u64, Error> {
        self.write(path, offset, &mut content)
    }

    /// Makes `source` durable and renames it to `target`.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a source that is no file; `AlreadyExists` or `Unsupported` with [`Existing::Refuse`].
    fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<(), Error>;

    /// Makes a directory and its parents; one that is there is a success.
    ///
    /// # Errors
    /// `AlreadyExists` if something else has that name; `Denied`; `Other` for a full disk.
    fn make_directory(&self, path: &str) -> Result<(), Error>;

    /// Removes a file, a symlink or an empty directory; absent is a success.
    ///
    /// # Errors
    /// `Invalid` for a directory that isn't empty, or the root; `Denied`.
    fn remove(&self, path: &str) -> Result<(), Error>;

    /// How full the file system is that holds the directory.
    ///
    /// # Errors
    /// `Unsupported` where the machine can't tell; `NotFound` before the directory exists.
    fn space(&self) -> Result<Space, Error>;

    /// Says what ends the waits of the calls to come, where a call may wait at all.
    fn stop_by(&self, stop: Stop);
}

impl Folder for Directory {
    fn list(&self, path: &str, cursor: Option<&str>) -> Result<ListPage, Error> {
        self.list(path, cursor)
    }

    fn stat(&self, path: &str) -> Result<Entry, Error> {
        self.stat(path)
    }

    fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<RangeReader, Error> {
        let reader = self.read(path, offset, length)?;
        Ok(RangeReader {
            size: reader.remaining(),
            content: Box::new(reader),
        })
    }

    fn write(&self, path: &str, offset: u64, content: &mut dyn Read) -> Result<u64, Error> {
        self.write_stream(path, offset, content)
    }

    fn write_bytes(&self, path: &str, offset: u64, content: &[u8]) -> Result<u64, Error> {
        self.write(path, offset, content)
    }

    fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<(), Error> {
        self.publish(source, target, existing)
    }

    fn make_directory(&self, path: &str) -> Result<(), Error> {
        self.make_directory(path)
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        self.remove(path)
    }

    fn space(&self) -> Result<Space, Error> {
        self.space()
    }

    /// Calls on this machine's own files don't wait.
    fn stop_by(&self, _stop: Stop) {}
}
