//! The directory that receives a tree: one open root, below which everything is created and nothing followed.
//!
//! [`Target`] is shared by all threads, each writes through a [`TargetWriter`] of its own. A file is written under
//! a temporary name and renamed when it is whole, so an existing file is replaced, never opened. Directories are
//! 0700 while they are filled; what they shall be in the end is set last (`attributes`).

mod acl;
mod attributes;
mod directories;
mod error;
mod leftovers;
mod owner;
pub(crate) mod path;
mod remove;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::error::RestoreError;
use owner::Owners;

pub(crate) use attributes::Outcome;
pub(crate) use error::EntryError;
pub(crate) use writer::{NewFile, TargetWriter};

/// What all temporary names begin with, so that leftovers of a killed run can be told.
const TEMPORARY: &str = ".freezer-";

/// An open root directory and what is known of it.
pub(crate) struct Target {
    root: OwnedFd,
    path: PathBuf,
    /// Distinguishes the temporary names of this run.
    run: String,
    /// Whether leftovers of killed runs may lie here and are this run's to remove.
    has_leftovers: bool,
    owners: Owners,
    /// Whether it held nothing at the start, so that every directory below is of this run's making.
    was_empty: bool,
    /// Permission bits that new files don't get, whatever is asked for; all, unless `was_empty`.
    masked: u32,
    /// Whether new files may get another group than the process's.
    inherits_group: bool,
    /// Who owns new files here; with the process's own account unless the file system has its own idea.
    new_owner: u32,
    /// The mode that the root gets at the end, if this run made it: until then only its owner may enter.
    final_mode: Option<AtomicU32>,
}

impl Target {
    /// Opens the target, and makes it and its parents if they are absent. Tries out that it can be written.
    pub(crate) fn open(path: &Path, overwrite: bool, run: &str) -> Result<Self, RestoreError> {
        let fail = |operation| {
            move |source: std::io::Error| RestoreError::Target {
                operation,
                path: path.to_path_buf(),
                source,
            }
        };
        let is_made = make_root(path).map_err(fail("create the target"))?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail("open the target")(e.into()))?;
        let was_empty = is_empty(root.as_fd()).map_err(|e| fail("list the target")(e.into()))?;
        if !was_empty && !overwrite {
            return Err(RestoreError::TargetNotEmpty {
                path: path.to_path_buf(),
            });
        }
        let owners = Owners::of_this_process();
        let is_alone = leftovers::lock(root.as_fd());
        let run = if is_alone {
            run.to_owned()
        } else {
            leftovers::shared_name(run)
        };
        let has_leftovers = is_alone && !was_empty;
        if has_leftovers {
            leftovers::remove_from(root.as_fd(), &run);
        }
        let (mode, new_owner, gid) =
            probe(root.as_fd(), &run).map_err(|e| fail("write to the target")(e.into()))?;
        let masked = if was_empty { 0o777 & !mode } else { 0o777 };
        let inherits_group = !was_empty || gid != rustix::process::getegid().as_raw();
        Ok(Self {
            root,
            path: path.to_path_buf(),
            run,
            has_leftovers,
            owners,
            was_empty,
            masked,
            inherits_group,
            new_owner,
            final_mode: is_made.then(|| AtomicU32::new(0o777 & mode)),
        })
    }

    /// Opens a root that this run made to whom it shall be open: by the mode that the backup has for it, or else the
    /// one that any new directory gets here. One that was there before is left as it is.
    pub(crate) fn finish(&self) -> Result<(), RestoreError> {
        let Some(mode) = &self.final_mode else {
            return Ok(());
        };
        let opened = rustix::fs::fstat(&self.root).and_then(|seen| {
            let inherited = seen.st_mode & 0o2000;
            let mode = mode.load(Ordering::Relaxed) | inherited;
            rustix::fs::fchmod(&self.root, Mode::from_raw_mode(mode))
        });
        opened.map_err(|e| self.failure("set the mode of the target", e.into()))
    }

    /// Opens a directory of this run's own making below the target as a target of its own.
    pub(crate) fn staging(&self) -> Result<(Self, String), RestoreError> {
        let name = format!("{TEMPORARY}{}-stage", self.run);
        let path = self.path.join(&name);
        rustix::fs::mkdirat(&self.root, &name, Mode::RWXU)
            .map_err(|e| self.failure("create a directory in the target", e.into()))?;
        Ok((Self::open(&path, false, &self.run)?, name))
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether it held nothing at the start.
    pub(crate) fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Makes an error about the target as a whole.
    pub(crate) fn failure(&self, operation: &'static str, source: std::io::Error) -> RestoreError {
        RestoreError::Target {
            operation,
            path: self.path.clone(),
            source,
        }
    }

    /// Removes a directory of this run's making from the root, with everything in it. The root keeps the time that
    /// the backup gave it, which a removal would set to now.
    pub(crate) fn remove_staging(&self, name: &str) -> Result<(), RestoreError> {
        self.remove_untimed(name.as_bytes())
            .map_err(|e| self.failure("remove a temporary directory from the target", e.into()))
    }

    fn remove_untimed(&self, name: &[u8]) -> Result<(), rustix::io::Errno> {
        let before = rustix::fs::fstat(self.root())?;
        remove::remove(self.root(), name)?;
        let unchanged = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        let modified = Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: i64::try_from(before.st_mtime_nsec).unwrap_or(0),
        };
        let times = Timestamps {
            last_access: unchanged,
            last_modification: modified,
        };
        match rustix::fs::futimens(self.root(), &times) {
            // A target that belongs to somebody else never got the backup's time in the first place.
            Err(rustix::io::Errno::PERM) => Ok(()),
            result => result,
        }
    }
}

/// Makes the root, open to its owner alone, and its parents. Answers whether it wasn't there.
fn make_root(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::DirBuilderExt;
    let make = || std::fs::DirBuilder::new().mode(0o700).create(path);
    let made = match (make(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(parent)?;
            make()
        }
        (made, _) => made,
    };
    match made {
        Ok(()) => Ok(true),
        Err(_) if path.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_empty(directory: BorrowedFd<'_>) -> Result<bool, rustix::io::Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Finds out what a new file is given here: permission bits that the umask or a default ACL leaves, owner and group.
fn probe(root: BorrowedFd<'_>, run: &str) -> Result<(u32, u32, u32), rustix::io::Errno> {
    let name = format!("{TEMPORARY}{run}-probe");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, &name, flags, Mode::from_raw_mode(0o777))?;
    let seen = rustix::fs::fstat(&file);
    rustix::fs::unlinkat(root, &name, AtFlags::empty())?;
    let seen = seen?;
    Ok((seen.st_mode & 0o777, seen.st_uid, seen.st_gid))
}
