//! Moves a replayed tree from its hidden directory to its place, among what the target holds already.
//!
//! A directory that the target doesn't have is moved whole; one that both have is merged. Files replace files of
//! the same name in one step. What the backup doesn't have stays as it is.

use freezer_format::tar::{Member, MemberKind};
use freezer_format::time::Time;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::RestoreError;
use super::finish::finish_directories;
use super::report::Reporter;
use super::selection::{Selection, for_people};
use super::spool::Spool;
use super::target::{EntryError, Target, TargetWriter};
use crate::counters::WarningKind;

/// Moves what is selected from `staging`, a directory called `name` in the target, to the target.
pub(super) fn merge(
    staging: &Target,
    name: &[u8],
    target: &Target,
    selection: &Selection,
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    let from = TargetWriter::new(staging, 0);
    judge(&from, selection, reporter)?;
    let mut merge = Merge {
        from,
        name,
        maker: TargetWriter::new(target, 0),
        selection,
        reporter,
        directories: Spool::new(),
    };
    if selection.is_all() {
        let (_, member) = merge
            .enter(b"")
            .map_err(|errno| target.failure("list a temporary directory", errno.into()))?;
        merge.directories.push(&member).map_err(RestoreError::Spool)?;
    }
    // Directories that both sides have, not yet looked into.
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        reporter.context.cancel.check()?;
        merge.directory(&path, &mut waiting)?;
    }
    let Merge {
        mut maker,
        directories,
        ..
    } = merge;
    finish_directories(vec![directories], &mut maker, reporter, selection)
}

/// Names the paths asked for that aren't there.
fn judge(
    from: &TargetWriter<'_>,
    selection: &Selection,
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    let is_there = |path: &[u8]| {
        let (parent, name) = super::target::path::split(path);
        let parent = from.directory(parent, OFlags::PATH);
        parent.is_ok_and(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    };
    let absent: Vec<&Vec<u8>> = selection.paths().iter().filter(|path| !is_there(path)).collect();
    if !selection.is_all() && absent.len() == selection.paths().len() {
        return Err(RestoreError::NothingMatched {
            paths: for_people(selection.paths()),
        });
    }
    for path in absent {
        reporter.warn(path, WarningKind::Source, "isn't in the backup".to_owned(), true);
    }
    Ok(())
}

struct Merge<'m, 'a> {
    from: TargetWriter<'a>,
    name: &'m [u8],
    maker: TargetWriter<'a>,
    selection: &'m Selection,
    reporter: &'m Reporter<'m>,
    /// Directories that both sides have; each after those above it.
    directories: Spool,
}

impl Merge<'_, '_> {
    /// Moves the entries of one directory; those to be merged go to `waiting`.
    fn directory(&mut self, path: &[u8], waiting: &mut Vec<Vec<u8>>) -> Result<(), RestoreError> {
        let listed = self.enter(path).and_then(|(directory, _)| names(&directory));
        let listed = match listed {
            Ok(listed) => listed,
            Err(errno) => {
                return self
                    .reporter
                    .left_out(path, &EntryError::system("list a temporary directory")(errno));
            }
        };
        for (name, is_directory) in listed {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let entry = [path, slash, &name].concat();
            let is_wanted = self.selection.contains(&entry);
            let is_on_the_way = is_directory && self.selection.leads_to(&entry);
            if !is_wanted && !is_on_the_way {
                continue;
            }
            let moved = match is_directory {
                true => self.move_directory(&entry, is_wanted, waiting),
                false => self.maker.rename(&self.staged(&entry), &entry),
            };
            moved.or_else(|error| self.reporter.left_out(&entry, &error))?;
        }
        Ok(())
    }

    fn move_directory(
        &mut self,
        path: &[u8],
        is_wanted: bool,
        waiting: &mut Vec<Vec<u8>>,
    ) -> Result<(), EntryError> {
        let fail = EntryError::system("move the directory");
        let (directory, member) = self.enter(path).map_err(&fail)?;
        if is_wanted && self.maker.directory(path, OFlags::PATH).is_err() {
            // A link or file of that name gives way, as anywhere else.
            self.maker.remove_file(path)?;
            // Moving a directory writes to it; its mode comes back afterwards.
            self.maker.rename(&self.staged(path), path)?;
            return rustix::fs::fchmod(&directory, Mode::from_raw_mode(member.mode)).map_err(&fail);
        }
        self.maker.make_directory(path)?;
        self.directories
            .push(&member)
            .map_err(|error| fail(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        waiting.push(path.to_vec());
        Ok(())
    }

    /// Opens a directory of the replayed tree, whatever its mode; answers its state as a member too.
    fn enter(&self, path: &[u8]) -> Result<(OwnedFd, Member), Errno> {
        let opened = self.from.directory(path, OFlags::PATH)?;
        let state = rustix::fs::fstat(&opened)?;
        if state.st_mode & 0o700 != 0o700 {
            let own_path = format!(
                "/proc/self/fd/{}",
                rustix::fd::AsRawFd::as_raw_fd(&opened.as_fd())
            );
            rustix::fs::chmod(own_path, Mode::from_raw_mode(state.st_mode & 0o7777) | Mode::RWXU)?;
        }
        let opened = self.from.directory(path, OFlags::RDONLY)?;
        let member = as_member(path, &state, &opened)?;
        Ok((opened, member))
    }

    fn staged(&self, path: &[u8]) -> Vec<u8> {
        [self.name, b"/", path].concat()
    }
}

/// What a directory is, in the form in which directories are finished.
fn as_member(path: &[u8], state: &Stat, directory: &OwnedFd) -> Result<Member, Errno> {
    let mut member = Member::new(path, MemberKind::Directory);
    member.mode = state.st_mode & 0o7777;
    member.uid = u64::from(state.st_uid);
    member.gid = u64::from(state.st_gid);
    member.mtime = Time::new(state.st_mtime, u32::try_from(state.st_mtime_nsec).unwrap_or(0));
    let mut names = vec![0; 64 * 1024];
    let listed = match rustix::fs::flistxattr(directory, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0; 64 * 1024];
    for name in names[..listed]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        // Lists of rights come back as the attributes that they are.
        let length = rustix::fs::fgetxattr(directory, name, &mut value[..])?;
        member.xattrs.push((name.to_vec(), value[..length].to_vec()));
    }
    Ok(member)
}

/// The names in a directory, and whether each is a directory.
fn names(directory: &OwnedFd) -> Result<Vec<(Vec<u8>, bool)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let seen = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(seen.st_mode)
            }
            kind => kind,
        };
        names.push((name.to_vec(), kind == FileType::Directory));
    }
    Ok(names)
}
