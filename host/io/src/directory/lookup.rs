//! From a relative path to an open handle, and nowhere else: every way below a root starts here.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Access, Directory, MAX_PATH_BYTES};
use crate::error::{Error, ErrorKind};

/// `openat2` answers AGAIN when a rename crosses its way; more than a few in a row is an attack or a wonder.
const LOOKUP_ATTEMPTS: u32 = 16;

impl Directory {
    /// The open handle of an existing directory.
    pub(super) fn handle(&self) -> Result<&OwnedFd, Errno> {
        if let Some(handle) = self.handle.get() {
            return Ok(handle);
        }
        // Somebody else may have made it since.
        let opened = self.open_handle()?;
        Ok(self.handle.get_or_init(|| opened))
    }

    pub(super) fn open_handle(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.root, flags, Mode::empty())?;
        if self.below.as_os_str().is_empty() {
            return Ok(root);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&root, &self.below, flags, Mode::empty(), resolve)
    }

    /// The handle; makes the directory if it doesn't exist.
    fn handle_for_writing(&self) -> Result<&OwnedFd, Errno> {
        match self.handle() {
            Err(Errno::NOENT) => {
                make_path(&self.root)?;
                if !self.below.as_os_str().is_empty() {
                    let root = Self::open(&self.root, Path::new(""), Access::ReadWrite);
                    let below = self.below.to_str().ok_or(Errno::INVAL)?;
                    let made = root.and_then(|root| root.make_directory(below));
                    made.map_err(|_| Errno::NOENT)?;
                }
                self.handle()
            }
            other => other,
        }
    }

    /// Opens what `parts` name, strictly below the root and over no symlink.
    pub(super) fn lookup(&self, parts: &[&str], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let root = if flags.contains(OFlags::CREATE) {
            self.handle_for_writing()?
        } else {
            self.handle()?
        };
        let path = if parts.is_empty() {
            ".".to_owned()
        } else {
            parts.join("/")
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match rustix::fs::openat2(root, &path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < LOOKUP_ATTEMPTS => {}
                other => return other,
            }
        }
    }

    /// The folder that holds the last part, and that part; the directory itself is `("." , "")`.
    pub(super) fn parent<'a>(&self, parts: &[&'a str]) -> Result<(OwnedFd, &'a str), Errno> {
        let (name, folders) = match parts.split_last() {
            Some((name, folders)) => (*name, folders),
            None => ("", parts),
        };
        Ok((
            self.lookup(folders, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?,
            name,
        ))
    }

    pub(super) fn make_folders(&self, parts: &[&str]) -> Result<(), Errno> {
        self.handle_for_writing()?;
        let mut made = 0;
        // From the deepest that exists on downwards: mostly all do.
        while made < parts.len() {
            match self.lookup(
                &parts[..parts.len() - made],
                OFlags::PATH | OFlags::DIRECTORY,
                Mode::empty(),
            ) {
                Err(Errno::NOENT) => made += 1,
                found => {
                    found?;
                    break;
                }
            }
        }
        for depth in parts.len() - made..parts.len() {
            let (parent, name) = self.parent(&parts[..=depth])?;
            match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        // A name that exists may be something else than a directory.
        self.lookup(parts, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map(drop)
    }

    /// Syncs a folder and all above it up to the root: any of them may have been made just now, perhaps by another run.
    pub(super) fn sync_folders(&self, parts: &[&str]) -> Result<(), Errno> {
        (0..=parts.len())
            .rev()
            .try_for_each(|depth| self.sync_folder(&parts[..depth]))
    }

    pub(super) fn sync_folder(&self, parts: &[&str]) -> Result<(), Errno> {
        let folder = self.lookup(parts, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        rustix::fs::fsync(&folder)
    }
}

/// Takes a path of the contract apart; `""` has no parts.
pub(crate) fn parts(path: &str) -> Result<Vec<&str>, Error> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let good = |part: &&str| !part.is_empty() && *part != "." && *part != ".." && !part.contains('\0');
    let parts: Vec<&str> = path.split('/').collect();
    if path.len() > MAX_PATH_BYTES || !parts.iter().all(good) {
        let shown: String = path.chars().take(80).flat_map(char::escape_default).collect();
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{shown:?} is no relative path without . and .."),
        ));
    }
    Ok(parts)
}

/// Makes an absolute directory (0700) and its parents, each synced into the one that holds it.
fn make_path(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    for folder in missing.into_iter().rev() {
        match rustix::fs::mkdir(folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        if let Some(parent) = folder.parent() {
            let parent = rustix::fs::open(parent, flags, Mode::empty())?;
            rustix::fs::fsync(parent.as_fd())?;
        }
    }
    Ok(())
}
