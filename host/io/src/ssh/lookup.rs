//! From a relative path to what it names on the other machine, and single requests with their refusals.
//!
//! SFTP has no `openat2`. Every folder on the way is looked at first, and a symlink among them is refused; somebody who may write
//! there could still put one in its place before the next request.

use std::sync::MutexGuard;

use super::directory::RemoteDirectory;
use super::packet::{Attributes, Reply, Request, kind, status};
use super::wire::{Wire, refusal};
use crate::directory::{Access, EntryKind};
use crate::error::{Error, ErrorKind};

/// What POSIX calls the type bits of a mode, and three of their values.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
/// Directories that are made here are for us alone.
const FOLDER_MODE: u32 = 0o700;

impl Attributes {
    /// What the entry is; a server that tells no mode is taken for one that shows plain files.
    pub(super) fn kind(self) -> EntryKind {
        match self.mode.map(|mode| mode & TYPE_BITS) {
            Some(TYPE_DIRECTORY) => EntryKind::Directory,
            Some(TYPE_LINK) => EntryKind::Symlink,
            Some(TYPE_FILE | 0) | None => EntryKind::File,
            Some(_) => EntryKind::Other,
        }
    }
}

impl Wire {
    /// Sends a request that is answered by a status.
    pub(super) fn order(&mut self, request: Request, what: &str) -> Result<(), Error> {
        match self.ask(request)? {
            Reply::Status { code: status::OK, .. } => Ok(()),
            Reply::Status { code, message } => Err(refusal(what, code, &message)),
            _ => Err(self.link.lost("an answer of SFTP is of the wrong kind")),
        }
    }

    /// Sends a request that is answered by a handle.
    pub(super) fn open(&mut self, request: Request, what: &str) -> Result<Vec<u8>, Error> {
        match self.ask(request)? {
            Reply::Handle(handle) => Ok(handle),
            Reply::Status { code, message } => Err(refusal(what, code, &message)),
            _ => Err(self.link.lost("an answer of SFTP is of the wrong kind")),
        }
    }

    /// What an answer to LSTAT or STAT says.
    pub(super) fn attributes(&mut self, reply: Reply, what: &str) -> Result<Attributes, Error> {
        match reply {
            Reply::Attributes(attributes) => Ok(attributes),
            Reply::Status { code, message } => Err(refusal(what, code, &message)),
            _ => Err(self.link.lost("an answer of SFTP is of the wrong kind")),
        }
    }

    /// The absolute form of a path.
    pub(super) fn real_path(&mut self, path: &str) -> Result<String, Error> {
        let what = format!("resolve {path}");
        match self.ask(Request::new(kind::REALPATH).text(path.as_bytes()))? {
            Reply::Names(names) => {
                let name = names.into_iter().next().map(|(name, _)| name);
                let name = name.and_then(|name| String::from_utf8(name).ok());
                name.filter(|name| name.starts_with('/'))
                    .ok_or_else(|| self.link.lost("the home directory has no usable path"))
            }
            Reply::Status { code, message } => Err(refusal(&what, code, &message)),
            _ => Err(self.link.lost("an answer of SFTP is of the wrong kind")),
        }
    }

    /// Makes an absolute directory and its parents.
    pub(super) fn make_path(&mut self, path: &str) -> Result<(), Error> {
        let mut missing = Vec::new();
        let mut rest = path.trim_end_matches('/');
        while !rest.is_empty() {
            let reply = self.ask(Request::new(kind::STAT).text(rest.as_bytes()))?;
            match self.attributes(reply, &format!("look at {rest}")) {
                Ok(found) if found.kind() == EntryKind::Directory => break,
                Ok(_) => {
                    let message = format!("can't make directory {path}: {rest} is none");
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                Err(error) if error.kind == ErrorKind::NotFound => missing.push(rest),
                Err(error) => return Err(error),
            }
            rest = rest.rfind('/').map_or("", |slash| &rest[..slash]);
        }
        for folder in missing.into_iter().rev() {
            self.make_folder(folder, STAT_FOLLOWS)?;
        }
        Ok(())
    }

    /// Makes one directory; one that is there is a success. `look` tells whether a symlink to a directory counts as one.
    pub(super) fn make_folder(&mut self, path: &str, look: u8) -> Result<(), Error> {
        let what = format!("make directory {path}");
        let made = self.order(
            Request::new(kind::MKDIR).text(path.as_bytes()).mode(FOLDER_MODE),
            &what,
        );
        let Err(refused) = made else { return Ok(()) };
        if refused.kind == ErrorKind::Unavailable || refused.kind == ErrorKind::Cancelled {
            return Err(refused);
        }
        // The draft has no word for "exists already".
        let reply = self.ask(Request::new(look).text(path.as_bytes()))?;
        match self.attributes(reply, &what).map(Attributes::kind) {
            Ok(EntryKind::Directory) => Ok(()),
            Ok(_) => {
                let message = format!("can't {what}: something else has that name");
                Err(Error::new(ErrorKind::AlreadyExists, message))
            }
            Err(_) => Err(refused),
        }
    }
}

/// Symlinks above the opened directory are the operator's own.
const STAT_FOLLOWS: u8 = kind::STAT;

impl RemoteDirectory {
    /// The absolute path of some parts.
    pub(super) fn path(&self, parts: &[&str]) -> String {
        let root = self.root.trim_end_matches('/');
        match parts {
            [] if root.is_empty() => "/".to_owned(),
            [] => root.to_owned(),
            parts => format!("{root}/{}", parts.join("/")),
        }
    }

    /// Looks at all parts of a path in one round trip: the last one's attributes, `NotFound` if it or a folder isn't there.
    pub(super) fn look(&self, wire: &mut Wire, parts: &[&str], what: &str) -> Result<Attributes, Error> {
        let request = |depth: usize| {
            // The opened directory itself may be a symlink: it is the operator's word.
            let look = if depth == 0 { kind::STAT } else { kind::LSTAT };
            Request::new(look).text(self.path(&parts[..depth]).as_bytes())
        };
        let first = parts.len().min(1);
        let sent: Result<Vec<u32>, Error> = (first..=parts.len())
            .map(|depth| wire.send(request(depth)))
            .collect();
        let mut replies = Vec::new();
        for number in sent? {
            replies.push(wire.answer(number)?);
        }
        let last = replies.pop();
        for reply in replies {
            match wire.attributes(reply, what)?.kind() {
                EntryKind::Directory => {}
                EntryKind::Symlink => return Err(symlink(what)),
                EntryKind::File | EntryKind::Other => {
                    let message = format!("can't {what}: a part of the path is no directory");
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
            }
        }
        match last {
            Some(reply) => wire.attributes(reply, what),
            None => Err(Error::new(
                ErrorKind::Invalid,
                format!("can't {what}: the path is empty"),
            )),
        }
    }

    /// As [`RemoteDirectory::look`], for a folder to work in.
    pub(super) fn look_for_folder(&self, wire: &mut Wire, parts: &[&str], what: &str) -> Result<(), Error> {
        match self.look(wire, parts, what)?.kind() {
            EntryKind::Directory => Ok(()),
            EntryKind::Symlink => Err(symlink(what)),
            EntryKind::File | EntryKind::Other => Err(Error::new(
                ErrorKind::Invalid,
                format!("can't {what}: it is no directory"),
            )),
        }
    }

    /// As [`RemoteDirectory::look`], for a regular file; its size.
    pub(super) fn look_for_file(&self, wire: &mut Wire, parts: &[&str], what: &str) -> Result<u64, Error> {
        let found = self.look(wire, parts, what)?;
        match found.kind() {
            EntryKind::File => found.size.ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!("can't {what}: the other machine doesn't tell its size"),
                )
            }),
            EntryKind::Symlink => Err(symlink(what)),
            EntryKind::Directory | EntryKind::Other => Err(Error::new(
                ErrorKind::Invalid,
                format!("can't {what}: it is no regular file"),
            )),
        }
    }

    /// Makes the opened directory if need be, and the folders below it.
    pub(super) fn make_folders(&self, wire: &mut Wire, parts: &[&str]) -> Result<(), Error> {
        let what = format!("make directory {}", self.path(parts));
        match self.look_for_folder(wire, parts, &what) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) if error.kind == ErrorKind::Invalid => {
                let message = format!("can't {what}: something else has that name");
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
            other => return other,
        }
        wire.make_path(&self.root)?;
        for depth in 1..=parts.len() {
            wire.make_folder(&self.path(&parts[..depth]), kind::LSTAT)?;
        }
        Ok(())
    }

    /// The wire, for a call that changes something.
    pub(super) fn writing(&self, what: &str) -> Result<MutexGuard<'_, Wire>, Error> {
        match self.access {
            Access::ReadWrite => Ok(self.connection.wire()),
            Access::ReadOnly => Err(Error::new(
                ErrorKind::Denied,
                format!("can't {what}: the directory was opened read-only"),
            )),
        }
    }
}

fn symlink(what: &str) -> Error {
    let message = format!("can't {what}: a symbolic link lies on the way, and those aren't followed here");
    Error::new(ErrorKind::Denied, message)
}
