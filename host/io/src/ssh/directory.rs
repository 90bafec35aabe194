//! A directory of another machine, with the meaning that `crate::directory` has for one of this machine.
//!
//! What the draft of SFTP lacks comes from OpenSSH's extensions: replacing renames, syncing, free space. A server without them gets
//! `Unsupported` where it would matter, and no sync where it can't be had.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use super::Connection;
use super::packet::{Attributes, Fields, Reply, Request, kind, status};
use super::transfer::{RemoteReader, Sending};
use super::wire::{Wire, refusal};
use crate::directory::{
    Access, Entry, EntryKind, Existing, Folder, ListPage, PAGE_ENTRIES, RangeReader, Space, parts,
};
use crate::error::{Error, ErrorKind};
use crate::stop::Stop;

/// OPEN: to read; to write; make it if it isn't there.
const OPEN_READ: u32 = 1;
const OPEN_WRITE: u32 = 2;
const OPEN_CREATE: u32 = 8;
/// Files that are made here are for us alone.
const FILE_MODE: u32 = 0o600;
/// The longest path of an opened directory.
const MAX_ROOT_BYTES: usize = 4096;
/// The piece in which a stream is read before it is sent.
const COPY_BYTES: usize = 1 << 20;

/// An open directory of another machine; keeps its connection open.
#[derive(Debug)]
pub struct RemoteDirectory {
    pub(super) connection: Arc<Connection>,
    /// Absolute.
    pub(super) root: String,
    pub(super) access: Access,
}

impl RemoteDirectory {
    /// Opens a directory: an absolute path, or one relative to the user's home. A read-write one that doesn't exist yet is made
    /// by the first call that writes.
    ///
    /// # Errors
    /// `NotFound` for a read-only one that doesn't exist; `Invalid` if it is no directory; `Denied`.
    pub fn open(connection: &Arc<Connection>, root: &str, access: Access) -> Result<Self, Error> {
        if root.len() > MAX_ROOT_BYTES || root.contains('\0') || root.split('/').any(|part| part == "..") {
            let message = "the path of a directory of another machine may hold neither \"..\" nor NUL, and 4096 bytes at most";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut wire = connection.wire();
        let absolute = match root.starts_with('/') {
            true => root.to_owned(),
            false => format!("{}/{root}", wire.real_path(".")?.trim_end_matches('/')),
        };
        let plain: Vec<&str> = absolute
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let directory = Self {
            connection: Arc::clone(connection),
            root: format!("/{}", plain.join("/")),
            access,
        };
        let what = format!("open directory {}", directory.shown(&[]));
        match directory.look_for_folder(&mut wire, &[], &what) {
            Err(error) if error.kind == ErrorKind::NotFound && access == Access::ReadWrite => {}
            other => other?,
        }
        drop(wire);
        Ok(directory)
    }
}

impl Folder for RemoteDirectory {
    fn list(&self, path: &str, cursor: Option<&str>) -> Result<ListPage, Error> {
        let parts = parts(path)?;
        let what = format!("list {}", self.shown(&parts));
        if cursor.is_some_and(|cursor| cursor.is_empty() || cursor.contains(['/', '\0'])) {
            let message = format!("can't {what}: the cursor isn't from this listing");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut wire = self.connection.wire();
        self.look_for_folder(&mut wire, &parts, &what)?;
        let folder = self.path(&parts);
        let handle = wire.open(Request::new(kind::OPENDIR).text(folder.as_bytes()), &what)?;
        let page = read_page(&mut wire, &handle, cursor, &what);
        wire.close(&handle);
        page
    }

    fn stat(&self, path: &str) -> Result<Entry, Error> {
        let parts = parts(path)?;
        let what = format!("look at {}", self.shown(&parts));
        let found = self.look(&mut self.connection.wire(), &parts, &what)?;
        Ok(entry(parts.last().copied().unwrap_or_default(), found))
    }

    fn read(&self, path: &str, offset: u64, length: Option<u64>) -> Result<RangeReader, Error> {
        let parts = parts(path)?;
        let what = format!("read {}", self.shown(&parts));
        let mut wire = self.connection.wire();
        let size = self.look_for_file(&mut wire, &parts, &what)?;
        let Some(rest) = size.checked_sub(offset) else {
            let message = format!("can't {what}: it has {size} bytes, not {offset}");
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let length = length.unwrap_or(rest);
        if length > rest {
            let message = format!("can't {what}: {} bytes are missing", length - rest);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let handle = self.open_file(&mut wire, &parts, OPEN_READ, &what)?;
        drop(wire);
        let range = (offset, length);
        let reader = RemoteReader::new(Arc::clone(&self.connection), handle, self.shown(&parts), range);
        Ok(RangeReader {
            content: Box::new(reader),
            size: length,
        })
    }

    fn write(&self, path: &str, offset: u64, content: &mut dyn Read) -> Result<u64, Error> {
        let parts = parts(path)?;
        let what = format!("write {}", self.shown(&parts));
        let Some((_, folders)) = parts.split_last() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("can't {what}: it is a directory"),
            ));
        };
        let mut wire = self.writing(&what)?;
        match self.look_for_file(&mut wire, &parts, &what) {
            Err(error) if error.kind == ErrorKind::NotFound => self.make_folders(&mut wire, folders)?,
            other => drop(other?),
        }
        let handle = self.open_file(&mut wire, &parts, OPEN_WRITE | OPEN_CREATE, &what)?;
        let written = send_all(&mut wire, (&handle, offset), content, &what);
        // The server may have kept an error for the end.
        let closed = match written.is_ok() {
            true => wire.order(Request::new(kind::CLOSE).text(&handle), &what),
            false => {
                wire.close(&handle);
                Ok(())
            }
        };
        let result = written.and_then(|written| closed.map(|()| written));
        result.map_err(|error| self.explain(&mut wire, error, &what))
    }

    fn publish(&self, source: &str, target: &str, existing: Existing) -> Result<(), Error> {
        let (source_parts, target_parts) = (parts(source)?, parts(target)?);
        let what = format!("publish {}", self.shown(&target_parts));
        let Some((_, folders)) = target_parts.split_last() else {
            let message = format!("can't {what}: the directory itself can't be renamed");
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let mut wire = self.writing(&what)?;
        self.look_for_file(&mut wire, &source_parts, &what)?;
        self.sync(&mut wire, &source_parts, &what)?;
        if source_parts != target_parts {
            self.make_folders(&mut wire, folders)?;
            self.rename(&mut wire, (&source_parts, &target_parts), existing, &what)?;
        }
        self.sync_folder(&mut wire, folders)
    }

    fn make_directory(&self, path: &str) -> Result<(), Error> {
        let parts = parts(path)?;
        let mut wire = self.writing(&format!("make directory {}", self.shown(&parts)))?;
        self.make_folders(&mut wire, &parts)
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        let parts = parts(path)?;
        let what = format!("remove {}", self.shown(&parts));
        if parts.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("can't {what}: it is the directory itself"),
            ));
        }
        let mut wire = self.writing(&what)?;
        let found = match self.look(&mut wire, &parts, &what) {
            Ok(found) => found.kind(),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let order = if found == EntryKind::Directory {
            kind::RMDIR
        } else {
            kind::REMOVE
        };
        match wire.order(Request::new(order).text(self.path(&parts).as_bytes()), &what) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind == ErrorKind::Other && found == EntryKind::Directory => {
                let message = format!("can't {what}: the directory isn't empty");
                Err(Error::new(ErrorKind::Invalid, message))
            }
            other => other,
        }
    }

    fn space(&self) -> Result<Space, Error> {
        self.measure(&mut self.connection.wire())
    }

    fn stop_by(&self, stop: Stop) {
        self.connection.stop_by(stop);
    }
}

impl RemoteDirectory {
    fn measure(&self, wire: &mut Wire) -> Result<Space, Error> {
        let what = format!("measure {}", self.shown(&[]));
        if !wire.abilities.space {
            return Err(refusal(&what, status::UNSUPPORTED, ""));
        }
        let request = Request::extended("statvfs@openssh.com").text(self.path(&[]).as_bytes());
        let content = match wire.ask(request)? {
            Reply::Extended(content) => content,
            Reply::Status { code, message } => return Err(refusal(&what, code, &message)),
            _ => return Err(wire.link.lost("an answer of SFTP is of the wrong kind")),
        };
        let mut fields = Fields::new(&content);
        // bsize, frsize, blocks, bfree, bavail and more.
        let mut next = || fields.long();
        let (Some(_), Some(unit), Some(blocks), Some(free), Some(available)) =
            (next(), next(), next(), next(), next())
        else {
            return Err(wire.link.lost("an answer about space makes no sense"));
        };
        Ok(Space {
            used: blocks.saturating_sub(free).saturating_mul(unit),
            available: available.saturating_mul(unit),
        })
    }

    fn open_file(&self, wire: &mut Wire, parts: &[&str], flags: u32, what: &str) -> Result<Vec<u8>, Error> {
        let request = Request::new(kind::OPEN).text(self.path(parts).as_bytes());
        wire.open(request.number(flags).mode(FILE_MODE), what)
    }

    /// Syncs a file, where the other machine offers it.
    fn sync(&self, wire: &mut Wire, parts: &[&str], what: &str) -> Result<(), Error> {
        if !wire.abilities.fsync {
            return Ok(());
        }
        let handle = self.open_file(wire, parts, OPEN_READ, what)?;
        let synced = wire.order(Request::extended("fsync@openssh.com").text(&handle), what);
        wire.close(&handle);
        synced
    }

    /// Syncs a folder where the other machine opens folders as files, as OpenSSH on Linux does; elsewhere it can't be had.
    fn sync_folder(&self, wire: &mut Wire, folders: &[&str]) -> Result<(), Error> {
        match self.sync(wire, folders, "sync a folder") {
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Cancelled) => Err(error),
            _ => Ok(()),
        }
    }

    fn rename(
        &self,
        wire: &mut Wire,
        (source, target): (&[&str], &[&str]),
        existing: Existing,
        what: &str,
    ) -> Result<(), Error> {
        let present = match self.look(wire, target, what) {
            Ok(found) => Some(found.kind()),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if present.is_some() && existing == Existing::Refuse {
            return Err(exists(what));
        }
        let request = match existing {
            Existing::Replace if wire.abilities.posix_rename => Request::extended("posix-rename@openssh.com"),
            Existing::Replace if present.is_some() => {
                let message = format!("can't {what}: the other machine can't replace a file in one step");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            // The draft's own rename refuses a name that is taken; OpenSSH does it by a hard link, which is atomic.
            Existing::Replace | Existing::Refuse => Request::new(kind::RENAME),
        };
        let request = request
            .text(self.path(source).as_bytes())
            .text(self.path(target).as_bytes());
        let renamed = wire.order(request, what);
        match renamed {
            Err(error) if error.kind == ErrorKind::Other && existing == Existing::Refuse => {
                match self.look(wire, target, what) {
                    Ok(_) => Err(exists(what)),
                    Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    /// SFTP has one word for all that fails on a disk: asks whether it is full.
    fn explain(&self, wire: &mut Wire, error: Error, what: &str) -> Error {
        /// What is left may be too little for the piece that failed.
        const NEARLY_FULL: u64 = 256 << 10;
        if error.kind == ErrorKind::Other
            && let Ok(space) = self.measure(wire)
            && space.available < NEARLY_FULL
        {
            return Error::new(ErrorKind::Other, format!("can't {what}: the file system is full"));
        }
        error
    }

    /// Machine and path, for messages.
    fn shown(&self, parts: &[&str]) -> String {
        format!("{}:{}", self.connection.place(), self.path(parts))
    }
}

fn exists(what: &str) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("can't {what}: it exists already"),
    )
}

fn send_all(wire: &mut Wire, place: (&[u8], u64), content: &mut dyn Read, what: &str) -> Result<u64, Error> {
    let mut sending = Sending::new(wire, place);
    let mut buffer = vec![0; COPY_BYTES];
    let mut written = 0_u64;
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                sending.send(&buffer[..count], what)?;
                written += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let Error { kind, message, .. } = Error::from_io(&error);
                return Err(Error::new(
                    kind,
                    format!("can't {what}: its source broke off: {message}"),
                ));
            }
        }
    }
    sending.finish(what)?;
    Ok(written)
}

/// The smallest names behind the cursor, in constant memory however many there are.
fn read_page(wire: &mut Wire, handle: &[u8], cursor: Option<&str>, what: &str) -> Result<ListPage, Error> {
    let mut page = ListPage::default();
    let mut found: BTreeMap<String, Attributes> = BTreeMap::new();
    let mut more = false;
    loop {
        let names = match wire.ask(Request::new(kind::READDIR).text(handle))? {
            Reply::Names(names) => names,
            Reply::Status {
                code: status::EOF, ..
            } => break,
            Reply::Status { code, message } => return Err(refusal(what, code, &message)),
            _ => return Err(wire.link.lost("an answer of SFTP is of the wrong kind")),
        };
        for (name, attributes) in names {
            let Ok(name) = String::from_utf8(name) else {
                page.unreadable_names += u64::from(cursor.is_none());
                continue;
            };
            let is_name = !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
            if is_name && cursor.is_none_or(|cursor| name.as_str() > cursor) {
                found.insert(name, attributes);
            }
            if found.len() > PAGE_ENTRIES {
                found.pop_last();
                more = true;
            }
        }
    }
    page.next = found.keys().next_back().filter(|_| more).cloned();
    page.entries = found
        .iter()
        .map(|(name, attributes)| entry(name, *attributes))
        .collect();
    Ok(page)
}

fn entry(name: &str, attributes: Attributes) -> Entry {
    let kind = attributes.kind();
    Entry {
        name: name.to_owned(),
        kind,
        size: attributes.size.filter(|_| kind == EntryKind::File).unwrap_or(0),
        modified_seconds: attributes.modified.map_or(0, i64::from),
        modified_nanoseconds: 0,
    }
}
