//! Fake `directories` and `files`.

use std::rc::Rc;

use super::bodies::Body;
use crate::bindings::imports::freezer::plugin::directories::{Access, Entry, EntryPage, Existing};
use crate::bindings::imports::freezer::plugin::types::Error;
use crate::error::ErrorKind;
use crate::testing::body::FakeBody;
use crate::testing::disk::Disk;
use crate::testing::machine::{call, fault};

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Directory {
    disk: Rc<Disk>,
    access: Access,
}

impl Directory {
    pub(super) fn open(disk: Rc<Disk>, access: Access) -> Result<Self, Error> {
        disk.open(access == Access::ReadWrite)?;
        Ok(Directory { disk, access })
    }

    fn writing(&self) -> Result<&Disk, Error> {
        if self.access == Access::ReadOnly {
            return Err(fault(ErrorKind::Denied, "opened for reading only"));
        }
        self.reading()
    }

    /// What was opened may have been taken away since.
    fn reading(&self) -> Result<&Disk, Error> {
        if !self.disk.has_root() {
            return Err(fault(ErrorKind::NotFound, "no such directory"));
        }
        Ok(&self.disk)
    }

    /// `directory.list`.
    pub fn list(&self, path: &str, cursor: Option<&str>) -> Result<EntryPage, Error> {
        call("directory.list", path, |_| self.reading()?.list(path, cursor))
    }

    /// `directory.stat`.
    pub fn stat(&self, path: &str) -> Result<Entry, Error> {
        call("directory.stat", path, |_| self.reading()?.stat(path))
    }

    /// `directory.read`.
    pub fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<Body, Error> {
        call("directory.read", path, |_| {
            let (content, whole) = self.reading()?.read(path, offset, length)?;
            let end = (!whole).then(|| fault(ErrorKind::Corrupt, "the file is too short"));
            Ok(FakeBody::stream(&content, end).into())
        })
    }

    /// `directory.write`.
    pub fn write(&self, path: &str, offset: u64, content: &Body) -> Result<u64, Error> {
        call("directory.write", path, |_| {
            self.writing()?.write(path, offset, &content.drain()?)
        })
    }

    /// `directory.publish`.
    pub fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<(), Error> {
        call("directory.publish", target, |_| {
            self.writing()?.publish(source, target, existing)
        })
    }

    /// `directory.make-directory`.
    pub fn make_directory(&self, path: &str) -> Result<(), Error> {
        call("directory.make-directory", path, |_| {
            self.writing()?.make_directory(path)
        })
    }

    /// `directory.remove`.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        call("directory.remove", path, |_| self.writing()?.remove(path))
    }

    /// `directory.space`.
    pub fn space(&self) -> Result<(u64, u64), Error> {
        call("directory.space", "", |_| Ok(self.reading()?.space()))
    }
}

/// Fake `files`.
pub mod files {
    use super::{Access, Directory, Error, call};

    /// `files.open`.
    pub fn open(root: &str, access: Access) -> Result<Directory, Error> {
        call("files.open", root, |machine| {
            Directory::open(machine.granted(root)?, access)
        })
    }
}
