//! Makes single entries below a target: the only place that creates, renames and links.
//!
//! One per thread. Every method takes paths as archives have them and judges them first; a failure concerns that
//! entry alone. Nothing that exists is opened for writing, and no link is followed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use freezer_format::tar::{Member, MemberKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Handle, Outcome};
use super::directories::{Directories, open_below};
use super::path::{refusal, split};
use super::{EntryError, TEMPORARY, Target, leftovers, remove};

/// Creates entries for one thread.
pub(crate) struct TargetWriter<'a> {
    target: &'a Target,
    directories: Directories<'a>,
    /// The name of whatever this thread is making, until it gets its own.
    temporary: String,
}

/// A file under its temporary name.
pub(crate) struct NewFile {
    file: File,
    mode_given: bool,
}

impl NewFile {
    /// Appends content.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Writes content at its place in a file with holes.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Gives a file with holes its full size.
    pub(crate) fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

impl<'a> TargetWriter<'a> {
    /// Makes a writer; `number` differs between the threads of a run.
    pub(crate) fn new(target: &'a Target, number: usize) -> Self {
        let temporary = format!("{TEMPORARY}{}-{number}", target.run);
        Self {
            target,
            directories: Directories::new(target.root()),
            temporary,
        }
    }

    /// Makes a directory that only its owner may enter; one that is there is kept and opened to its owner.
    pub(crate) fn make_directory(&mut self, path: &[u8]) -> Result<(), EntryError> {
        const OPERATION: &str = "create the directory";
        judge(OPERATION, path)?;
        if path.is_empty() {
            return Ok(());
        }
        let fail = EntryError::system(OPERATION);
        let (parent, name) = split(path);
        let parent = self.directories.get(parent).map_err(&fail)?;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(fail(errno)),
        }
        let seen = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(&fail)?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::Directory {
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(&fail)?;
            return rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(&fail);
        }
        if seen.st_mode & 0o700 != 0o700 {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(&fail)?;
            let mode = Mode::from_raw_mode(seen.st_mode & 0o7777) | Mode::RWXU;
            rustix::fs::chmod(super::attributes::own_path(opened.as_fd()), mode).map_err(&fail)?;
        }
        if self.target.has_leftovers {
            let there = self.directories.get(path).map_err(&fail)?;
            leftovers::remove_from(there, &self.target.run);
        }
        Ok(())
    }

    /// Makes all directories that lead to `path`, for archives that don't list them.
    pub(crate) fn make_parents(&mut self, path: &[u8]) -> Result<(), EntryError> {
        judge("create the directory", path)?;
        let (parent, _) = split(path);
        if self.directories.get(parent).is_ok() {
            return Ok(());
        }
        let fail = EntryError::system("create the directory");
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (above, name) = split(&path[..at]);
            let above = self.directories.get(above).map_err(&fail)?;
            match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o777)) {
                // Unlike a directory that the archive has, one it only implies never replaces anything.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        self.directories.get(parent).map(drop).map_err(&fail)
    }

    /// Begins a file.
    pub(crate) fn create_file(&mut self, member: &Member) -> Result<NewFile, EntryError> {
        const OPERATION: &str = "create the file";
        judge(OPERATION, &member.path)?;
        let fail = EntryError::system(OPERATION);
        if member.path.is_empty() {
            return Err(EntryError::refused(
                OPERATION,
                "it would replace the target itself",
            ));
        }
        let mode_given = self.target.gives_mode(member);
        let mode = Mode::from_raw_mode(if mode_given { member.mode & 0o777 } else { 0o600 });
        let parent = self.directories.get(split(&member.path).0).map_err(&fail)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, &self.temporary, flags, mode).map_err(&fail)?;
        Ok(NewFile {
            file: file.into(),
            mode_given,
        })
    }

    /// Gives a complete file its attributes and its name.
    pub(crate) fn finish_file(&mut self, file: NewFile, member: &Member) -> Result<Outcome, EntryError> {
        let outcome = self
            .target
            .set_attributes(Handle::Open(file.file.as_fd()), member, file.mode_given);
        match self.take_place(&member.path, "name the file") {
            Ok(()) => Ok(outcome),
            Err(error) => {
                self.drop_file(&member.path);
                Err(error)
            }
        }
    }

    /// Removes a file that can't be completed.
    pub(crate) fn drop_file(&mut self, path: &[u8]) {
        if let Ok(parent) = self.directories.get(split(path).0) {
            // If even this fails, the temporary name says what it is.
            rustix::fs::unlinkat(parent, &self.temporary, AtFlags::empty()).ok();
        }
    }

    /// Gives the file at `existing` another name.
    pub(crate) fn hard_link(&mut self, path: &[u8], existing: &[u8]) -> Result<(), EntryError> {
        const OPERATION: &str = "make the hard link";
        judge(OPERATION, path)?;
        judge(OPERATION, existing)?;
        let fail = EntryError::system(OPERATION);
        let (from, from_name) = split(existing);
        let from = self.directory(from, OFlags::PATH).map_err(&fail)?;
        let parent = self.directories.get(split(path).0).map_err(&fail)?;
        let link = |name: &[u8]| rustix::fs::linkat(&from, from_name, parent, name, AtFlags::empty());
        match link(split(path).1) {
            Err(Errno::EXIST) => link(self.temporary.as_bytes()).map_err(&fail)?,
            linked => return linked.map_err(&fail),
        }
        let placed = self.take_place(path, OPERATION);
        // Renaming over another name of the same file does nothing and leaves both.
        self.drop_file(path);
        placed
    }

    /// Makes a symbolic link, FIFO or device.
    pub(crate) fn make_special(&mut self, member: &Member) -> Result<Outcome, EntryError> {
        let operation = match member.kind {
            MemberKind::Symlink => "make the symbolic link",
            MemberKind::Fifo => "make the FIFO",
            _ => "make the device",
        };
        judge(operation, &member.path)?;
        if matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice)
            && !self.target.owners.is_root
        {
            return Err(EntryError::refused(operation, "only root may make devices"));
        }
        let fail = EntryError::system(operation);
        let (parent, name) = split(&member.path);
        let parent_fd = self.directories.get(parent).map_err(&fail)?;
        let made = match create_special(parent_fd, name, member) {
            Err(Errno::EXIST) => create_special(parent_fd, self.temporary.as_bytes(), member)
                .map_err(&fail)
                .and_then(|()| self.take_place(&member.path, operation)),
            made => made.map_err(&fail),
        };
        if made.is_err() {
            self.drop_file(&member.path);
        }
        made?;
        let parent_fd = self.directories.get(parent).map_err(&fail)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(parent_fd, name, flags, Mode::empty()).map_err(&fail)?;
        let seen = rustix::fs::fstat(&opened).map_err(&fail)?;
        // Whoever may write in the directory could have put another file here, whose owner and mode would change.
        if seen.st_uid != self.target.new_owner || !is_as_made(&seen, member) {
            return Err(EntryError::refused(
                operation,
                "something else took its place at once",
            ));
        }
        Ok(self
            .target
            .set_attributes(Handle::Path(opened.as_fd()), member, false))
    }

    /// Brings a directory to its final state; nothing can be made in it afterwards.
    pub(crate) fn finish_directory(&mut self, member: &Member) -> Result<Outcome, EntryError> {
        let fail = EntryError::system("open the directory");
        judge("open the directory", &member.path)?;
        let opened = self.directory(&member.path, OFlags::RDONLY).map_err(&fail)?;
        let cleared = self.target.clear_attributes(opened.as_fd(), member);
        let mut outcome = match &self.target.final_mode {
            Some(last) if member.path.is_empty() => {
                last.store(member.mode & 0o3777, Ordering::Relaxed);
                let closed = Member {
                    mode: 0o700,
                    ..member.clone()
                };
                self.target
                    .set_attributes(Handle::Open(opened.as_fd()), &closed, false)
            }
            _ => self
                .target
                .set_attributes(Handle::Open(opened.as_fd()), member, false),
        };
        let failed = cleared.map_err(EntryError::system("remove an extended attribute"));
        outcome.failures.extend(failed.err());
        Ok(outcome)
    }

    /// Opens a directory below the root, without keeping it.
    pub(crate) fn directory(&self, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
        open_below(self.target.root(), path, access)
    }

    /// Removes an entry and everything below it.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<(), EntryError> {
        const OPERATION: &str = "remove";
        judge(OPERATION, path)?;
        let fail = EntryError::system(OPERATION);
        let (parent, name) = split(path);
        if name.is_empty() {
            return Err(EntryError::refused(OPERATION, "it is the target itself"));
        }
        self.directories.forget();
        let parent = self.directories.get(parent).map_err(&fail)?;
        remove::remove(parent, name).map_err(&fail)
    }

    /// Removes an entry that isn't a directory; absent is a success.
    pub(crate) fn remove_file(&mut self, path: &[u8]) -> Result<(), EntryError> {
        judge("remove", path)?;
        let fail = EntryError::system("remove");
        let (parent, name) = split(path);
        let parent = self.directories.get(parent).map_err(&fail)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(fail(errno)),
        }
    }

    /// Renames an entry, replacing an empty directory or a file at its new path.
    pub(crate) fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), EntryError> {
        const OPERATION: &str = "rename";
        judge(OPERATION, from)?;
        judge(OPERATION, to)?;
        let fail = EntryError::system(OPERATION);
        self.directories.forget();
        let source = self.directory(split(from).0, OFlags::PATH).map_err(&fail)?;
        let goal = self.directory(split(to).0, OFlags::PATH).map_err(&fail)?;
        rustix::fs::renameat(&source, split(from).1, &goal, split(to).1).map_err(&fail)
    }

    /// Renames what has the temporary name to its own.
    fn take_place(&mut self, path: &[u8], operation: &'static str) -> Result<(), EntryError> {
        let (parent, name) = split(path);
        let fail = EntryError::system(operation);
        let parent = self.directories.get(parent).map_err(&fail)?;
        match rustix::fs::renameat(parent, &self.temporary, parent, name) {
            // Something else becomes of an empty directory only where there was one before this run or level.
            Err(Errno::ISDIR) => {
                rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(&fail)?;
                rustix::fs::renameat(parent, &self.temporary, parent, name).map_err(&fail)
            }
            placed => placed.map_err(&fail),
        }
    }
}

/// Whether an entry is the link or node that [`create_special`] makes of `member`, and has no other name.
fn is_as_made(seen: &rustix::fs::Stat, member: &Member) -> bool {
    let (major, minor) = member.rdev;
    let expected = match member.kind {
        MemberKind::Symlink => FileType::Symlink,
        MemberKind::CharDevice => FileType::CharacterDevice,
        MemberKind::BlockDevice => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let is_device = matches!(expected, FileType::CharacterDevice | FileType::BlockDevice);
    FileType::from_raw_mode(seen.st_mode) == expected
        && seen.st_nlink == 1
        && (!is_device || seen.st_rdev == rustix::fs::makedev(major, minor))
}

fn create_special(parent: rustix::fd::BorrowedFd<'_>, name: &[u8], member: &Member) -> Result<(), Errno> {
    let (major, minor) = member.rdev;
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::RUSR | Mode::WUSR;
    match member.kind {
        MemberKind::Symlink => rustix::fs::symlinkat(&member.link[..], parent, name),
        MemberKind::CharDevice => rustix::fs::mknodat(parent, name, FileType::CharacterDevice, mode, device),
        MemberKind::BlockDevice => rustix::fs::mknodat(parent, name, FileType::BlockDevice, mode, device),
        _ => rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0),
    }
}

fn judge(operation: &'static str, path: &[u8]) -> Result<(), EntryError> {
    match refusal(path) {
        Some(reason) => Err(EntryError::refused(operation, reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, linkat, lstat, mknodat};

    #[test]
    fn only_what_was_made_is_given_owner_and_mode() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let member = |kind, rdev| Member {
            rdev,
            ..Member::new("f", kind)
        };
        let fifo = member(MemberKind::Fifo, (0, 0));
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(is_as_made(&lstat(at("fifo")).unwrap(), &fifo));
        std::fs::write(at("file"), b"").unwrap();
        assert!(!is_as_made(&lstat(at("file")).unwrap(), &fifo));
        // A second name is how somebody else's file gets here.
        linkat(CWD, at("fifo"), CWD, at("other"), AtFlags::empty()).unwrap();
        assert!(!is_as_made(&lstat(at("fifo")).unwrap(), &fifo));
        let null = lstat("/dev/null").unwrap();
        assert!(is_as_made(&null, &member(MemberKind::CharDevice, (1, 3))));
        assert!(!is_as_made(&null, &member(MemberKind::CharDevice, (1, 5))));
        assert!(!is_as_made(&null, &member(MemberKind::BlockDevice, (1, 3))));
    }
}
