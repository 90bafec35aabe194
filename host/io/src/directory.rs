//! A directory of this machine out of which no path leads.
//!
//! Every path is looked up anew, with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)` from an open
//! handle of the root, so there is nothing between check and use that a rename could change. What is published is
//! synced to disk first, the folders on the way included. Calls block; they are short or move bytes.

mod folder;
mod listing;
mod lookup;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind};
use crate::file::FileReader;

pub use folder::{Folder, RangeReader};
pub use listing::ListPage;
pub(crate) use listing::PAGE_ENTRIES;
pub(crate) use lookup::parts;

/// The longest relative path, in bytes, as the contract says.
pub const MAX_PATH_BYTES: usize = 4096;
/// The piece in which a stream is written: large enough that system calls don't count, small beside a segment.
const COPY_BYTES: usize = 1 << 20;

/// What may be done below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looking and reading.
    ReadOnly,
    /// Also making, writing, renaming and removing.
    ReadWrite,
}

/// What happens to a target that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced in one step.
    Replace,
    /// The call fails and changes nothing.
    Refuse,
}

/// What an entry is; symlinks are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a FIFO, a socket.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for all else.
    pub size: u64,
    /// Seconds since 1970 of the last change of its content.
    pub modified_seconds: i64,
    /// And nanoseconds.
    pub modified_nanoseconds: u32,
}

/// How full a file system is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Used by anyone.
    pub used: u64,
    /// Available to us.
    pub available: u64,
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    below: PathBuf,
    access: Access,
    /// Empty while the directory of a read-write handle doesn't exist yet.
    handle: OnceLock<OwnedFd>,
}

impl Directory {
    /// Opens `below` under `root`. `root` is the word of an operator or user: its symlinks are followed. `below` may lead
    /// over symlinks, but never out of `root`.
    ///
    /// A read-write directory that doesn't exist yet is made (0700) by the first call that writes, so that merely
    /// looking at a mistyped place leaves no trace.
    ///
    /// # Errors
    /// `NotFound` for a read-only one that doesn't exist; `Invalid` if it is no directory; `Denied`.
    pub fn open(root: &Path, below: &Path, access: Access) -> Result<Self, Error> {
        let directory = Self {
            root: root.to_owned(),
            below: below.to_owned(),
            access,
            handle: OnceLock::new(),
        };
        match directory.open_handle() {
            Ok(handle) => Ok(Self {
                handle: OnceLock::from(handle),
                ..directory
            }),
            Err(Errno::NOENT) if access == Access::ReadWrite => Ok(directory),
            Err(errno) => Err(directory.failed("open directory", "", errno)),
        }
    }

    /// Facts about one entry; `""` is the directory itself.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Invalid` for a path that the contract forbids.
    pub fn stat(&self, path: &str) -> Result<Entry, Error> {
        let parts = parts(path)?;
        let found = self.parent(&parts).and_then(|(parent, name)| {
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
            rustix::fs::statx(&parent, name, flags, StatxFlags::BASIC_STATS)
        });
        let facts = found.map_err(|errno| self.failed("look at", path, errno))?;
        Ok(entry(parts.last().copied().unwrap_or_default(), &facts))
    }

    /// Reads `length` bytes from `offset` on, or all to the end that the file has now.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is no regular file or shorter than that; `Denied`.
    pub fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<FileReader, Error> {
        let parts = parts(path)?;
        // NONBLOCK: a FIFO must not hang the open; it is refused below.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = self.lookup(&parts, flags, Mode::empty());
        let file = opened.map_err(|errno| self.failed("read", path, errno))?;
        let facts = rustix::fs::fstat(&file).map_err(|errno| self.failed("read", path, errno))?;
        if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
            return Err(self.invalid("read", path, "it is no regular file"));
        }
        let size = u64::try_from(facts.st_size).unwrap_or(0);
        let Some(rest) = size.checked_sub(offset) else {
            return Err(self.invalid("read", path, &format!("it has {size} bytes, not {offset}")));
        };
        let length = length.unwrap_or(rest);
        if length > rest {
            let message = format!(
                "can't read {}: {} bytes are missing",
                self.shown(path),
                length - rest
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(FileReader::new(file, self.shown(path), offset, length))
    }

    /// Writes all of `content` at `offset`; makes the file (0600) and its parents (0700). Not durable before `publish`.
    /// Answers the bytes written.
    ///
    /// # Errors
    /// `Other` for a full disk, `Denied`, `Invalid`; what was written so far stays.
    pub fn write(&self, path: &str, offset: u64, content: &[u8]) -> Result<u64, Error> {
        let file = self.open_for_writing(path)?;
        check_end(offset, content.len() as u64).map_err(|errno| self.failed("write", path, errno))?;
        file.write_all_at(content, offset)
            .map_err(|error| self.write_failed(path, &error))?;
        Ok(content.len() as u64)
    }

    /// Writes a stream to its end at `offset`, as `write` does.
    ///
    /// # Errors
    /// As `write`, and what broke the stream.
    pub fn write_stream(&self, path: &str, offset: u64, content: &mut dyn Read) -> Result<u64, Error> {
        let file = self.open_for_writing(path)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut written = 0_u64;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(written),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let Error { kind, message, .. } = Error::from_io(&error);
                    let message = format!(
                        "can't write {}: its source broke off: {message}",
                        self.shown(path)
                    );
                    return Err(Error::new(kind, message));
                }
            };
            let place = offset.checked_add(written).ok_or(Errno::FBIG);
            let place = place.and_then(|place| check_end(place, count as u64).map(|()| place));
            let place = place.map_err(|errno| self.failed("write", path, errno))?;
            file.write_all_at(&buffer[..count], place)
                .map_err(|error| self.write_failed(path, &error))?;
            written += count as u64;
        }
    }

    /// Syncs `source`, renames it to `target`, syncs the folders: afterwards `target` is whole and survives a power cut.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a source that is no file; `AlreadyExists` or `Unsupported` with [`Existing::Refuse`].
    pub fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<(), Error> {
        self.check_writable(target)?;
        let (source_parts, target_parts) = (parts(source)?, parts(target)?);
        if source_parts.is_empty() || target_parts.is_empty() {
            return Err(self.invalid("publish", target, "the directory itself can't be renamed"));
        }
        let opened = self.lookup(&source_parts, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        let file = File::from(opened.map_err(|errno| self.failed("publish", source, errno))?);
        if !file.metadata().is_ok_and(|facts| facts.is_file()) {
            return Err(self.invalid("publish", source, "it is no regular file"));
        }
        rustix::fs::fsync(&file).map_err(|errno| self.failed("sync", source, errno))?;
        let folders = &target_parts[..target_parts.len() - 1];
        self.make_folders(folders)
            .map_err(|errno| self.failed("make the folder of", target, errno))?;
        self.rename(&source_parts, &target_parts, existing)
            .map_err(|errno| match errno {
                Errno::EXIST => Error::new(
                    ErrorKind::AlreadyExists,
                    format!("can't publish {}: it exists already", self.shown(target)),
                ),
                errno => self.failed("publish", target, errno),
            })?;
        self.sync_folders(folders)
            .map_err(|errno| self.failed("sync the folder of", target, errno))?;
        let source_folders = &source_parts[..source_parts.len() - 1];
        if source_folders != folders {
            self.sync_folder(source_folders)
                .map_err(|errno| self.failed("sync the folder of", source, errno))?;
        }
        Ok(())
    }

    /// Makes a directory (0700) and its parents; one that is there is a success.
    ///
    /// # Errors
    /// `AlreadyExists` if something else has that name; `Denied`; `Other` for a full disk.
    pub fn make_directory(&self, path: &str) -> Result<(), Error> {
        self.check_writable(path)?;
        let parts = parts(path)?;
        self.make_folders(&parts).map_err(|errno| match errno {
            Errno::NOTDIR => Error::new(
                ErrorKind::AlreadyExists,
                format!(
                    "can't make directory {}: something else has that name",
                    self.shown(path)
                ),
            ),
            errno => self.failed("make directory", path, errno),
        })
    }

    /// Removes a file, a symlink or an empty directory; absent is a success.
    ///
    /// # Errors
    /// `Invalid` for a directory that isn't empty, or the root; `Denied`.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.check_writable(path)?;
        let parts = parts(path)?;
        if parts.is_empty() {
            return Err(self.invalid("remove", path, "it is the directory itself"));
        }
        let removed = self.parent(&parts).and_then(|(parent, name)| {
            match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
                other => other,
            }
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", path, errno)),
        }
    }

    /// How full the file system is that holds the directory.
    ///
    /// # Errors
    /// `Unsupported` where the machine can't tell; `NotFound` before the directory exists.
    pub fn space(&self) -> Result<Space, Error> {
        let facts = self.handle().and_then(rustix::fs::fstatvfs);
        let facts = facts.map_err(|errno| self.failed("measure", "", errno))?;
        let unit = facts.f_frsize;
        Ok(Space {
            used: facts.f_blocks.saturating_sub(facts.f_bfree).saturating_mul(unit),
            available: facts.f_bavail.saturating_mul(unit),
        })
    }

    fn open_for_writing(&self, path: &str) -> Result<File, Error> {
        self.check_writable(path)?;
        let parts = parts(path)?;
        let Some((_, folders)) = parts.split_last() else {
            return Err(self.invalid("write", path, "it is a directory"));
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = match self.lookup(&parts, flags, mode) {
            Err(Errno::NOENT) => self
                .make_folders(folders)
                .and_then(|()| self.lookup(&parts, flags, mode)),
            other => other,
        };
        let file = File::from(opened.map_err(|errno| self.failed("write", path, errno))?);
        if !file.metadata().is_ok_and(|facts| facts.is_file()) {
            return Err(self.invalid("write", path, "it is no regular file"));
        }
        Ok(file)
    }

    fn rename(&self, source: &[&str], target: &[&str], existing: Existing) -> Result<(), Errno> {
        let (source_folder, source_name) = self.parent(source)?;
        let (target_folder, target_name) = self.parent(target)?;
        let flags = match existing {
            Existing::Replace => RenameFlags::empty(),
            Existing::Refuse => RenameFlags::NOREPLACE,
        };
        match rustix::fs::renameat_with(&source_folder, source_name, &target_folder, target_name, flags) {
            // Some file systems know no flags; a hard link refuses an existing name just as atomically.
            Err(Errno::INVAL | Errno::NOSYS) if existing == Existing::Refuse => {
                let linked = rustix::fs::linkat(
                    &source_folder,
                    source_name,
                    &target_folder,
                    target_name,
                    AtFlags::empty(),
                );
                linked.map_err(|errno| {
                    if errno == Errno::PERM {
                        Errno::OPNOTSUPP
                    } else {
                        errno
                    }
                })?;
                rustix::fs::unlinkat(&source_folder, source_name, AtFlags::empty())
            }
            other => other,
        }
    }

    fn check_writable(&self, path: &str) -> Result<(), Error> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "can't change {}: the directory was opened read-only",
                    self.shown(path)
                ),
            )),
        }
    }

    /// The whole path, for messages.
    fn shown(&self, path: &str) -> String {
        let mut whole = self.root.join(&self.below);
        if !path.is_empty() {
            whole.push(path);
        }
        whole.display().to_string()
    }

    fn failed(&self, verb: &str, path: &str, errno: Errno) -> Error {
        Error::system(&format!("{verb} {}", self.shown(path)), errno)
    }

    fn invalid(&self, verb: &str, path: &str, why: &str) -> Error {
        Error::new(
            ErrorKind::Invalid,
            format!("can't {verb} {}: {why}", self.shown(path)),
        )
    }

    fn write_failed(&self, path: &str, error: &std::io::Error) -> Error {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        self.failed("write", path, errno)
    }
}

/// Refuses to write past the largest offset that the system knows.
fn check_end(offset: u64, length: u64) -> Result<(), Errno> {
    match offset.checked_add(length) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(Errno::FBIG),
    }
}

fn entry(name: &str, facts: &Statx) -> Entry {
    let kind = match FileType::from_raw_mode(facts.stx_mode.into()) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    Entry {
        name: name.to_owned(),
        kind,
        size: if kind == EntryKind::File {
            facts.stx_size
        } else {
            0
        },
        modified_seconds: facts.stx_mtime.tv_sec,
        modified_nanoseconds: facts.stx_mtime.tv_nsec,
    }
}
