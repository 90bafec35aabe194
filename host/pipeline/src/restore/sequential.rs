//! Restores without an index: the levels front to back, with the meaning that GNU tar's `--incremental` gives them.
//!
//! A directory's list of names says what is renamed (`R T X`), and what was there at the level before and is no more.
//! To remove such names safely, everything happens in a directory of this run's own making: the target itself if it
//! was empty, else a hidden one in it, whose content is moved to its place at the end. Nothing foreign is touched.

use std::io;

use freezer_format::tar::{End, Member, MemberKind, MemberReader, ReadOptions, TarError};
use rustix::fs::{Dir, FileType, OFlags};

use super::content::{ContentError, ContentMover};
use super::finish::{count_special, finish_directories};
use super::frames::open_data;
use super::merge::merge;
use super::names::{Listed, renames};
use super::report::Reporter;
use super::selection::Selection;
use super::spool::Spool;
use super::target::{EntryError, Target, TargetWriter};
use super::{LevelData, RestoreError, RestoreJob};
use crate::counters::WarningKind;
use crate::decompress::{ArchiveStream, StreamError, open_stream};
use crate::object::ObjectError;

/// Restores all levels front to back.
pub(super) fn restore(
    job: &RestoreJob<'_>,
    selection: &Selection,
    reporter: &Reporter<'_>,
    run: &str,
) -> Result<(), RestoreError> {
    let levels: Vec<&LevelData> = job.levels.iter().collect();
    if job.dry_run {
        return read_through(&levels, selection, reporter);
    }
    let target = Target::open(&job.target, job.overwrite, run)?;
    if target.was_empty() && selection.is_all() {
        replay(&levels, &target, reporter)?;
        return target.finish();
    }
    let (staging, name) = target.staging()?;
    let merged = replay(&levels, &staging, reporter)
        .and_then(|()| merge(&staging, name.as_bytes(), &target, selection, reporter));
    let removed = target.remove_staging(&name);
    merged.and(removed)?;
    target.finish()
}

/// Brings an empty target to the state of the last of the levels.
pub(super) fn replay(
    levels: &[&LevelData],
    target: &Target,
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    let mut maker = TargetWriter::new(target, 0);
    let mut mover = ContentMover::new();
    for (number, level) in levels.iter().enumerate() {
        let mut replay = Replay {
            level,
            is_first: number == 0,
            maker: &mut maker,
            mover: &mut mover,
            reporter,
            directories: Spool::new(),
        };
        replay.run()?;
        finish_directories(
            vec![replay.directories],
            &mut maker,
            reporter,
            &Selection::new(&[]),
        )?;
    }
    Ok(())
}

/// Reads all levels and counts what is selected of them.
fn read_through(
    levels: &[&LevelData],
    selection: &Selection,
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    let mut mover = ContentMover::new();
    for level in levels {
        let mut archive = Archive::open(level, reporter)?;
        while let Some(member) = archive.next()? {
            reporter.context.cancel.check()?;
            if !selection.contains(&member.path) {
                continue;
            }
            match member.kind {
                MemberKind::File => {
                    let read = mover.make_file(None, &member, &mut archive.members, reporter);
                    read.map_err(|error| archive.content_error(error))?;
                }
                MemberKind::Directory => reporter.count_directory(),
                MemberKind::HardLink => reporter.count_other(|report| report.hard_links += 1),
                kind => reporter.count_other(|report| count_special(report, kind)),
            }
        }
    }
    Ok(())
}

/// The archive of one level, front to back.
pub(super) struct Archive<'a> {
    level: &'a LevelData,
    pub(super) members: MemberReader<ArchiveStream>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(level: &'a LevelData, reporter: &Reporter<'_>) -> Result<Self, RestoreError> {
        let number = level.id.level.0;
        reporter.context.cancel.check()?;
        let object = |source| RestoreError::Object {
            level: number,
            source,
        };
        let reader = open_data(level)?.reader().map_err(object)?;
        let stream = open_stream(reader, level.compression).map_err(|error| match error {
            StreamError::Read(error) => failure(level, 0, error),
            StreamError::Unrecognised { .. } if level.cipher.is_some() => {
                object(ObjectError::Undecipherable {
                    key: level.data_key.clone(),
                })
            }
            error => RestoreError::Damaged {
                object: level.data_key.clone(),
                level: number,
                offset: 0,
                reason: error.to_string(),
            },
        })?;
        Ok(Self {
            level,
            members: MemberReader::new(stream, 0, ReadOptions::default()),
        })
    }

    /// The next member; `None` at the end of a whole archive, whose stream has been read to its end.
    pub(super) fn next(&mut self) -> Result<Option<Member>, RestoreError> {
        let next = self.members.next_member();
        let member = next.map_err(|error| self.tar_error(error))?;
        if member.is_none() {
            if self.members.end() != Some(End::Marked) {
                let reason = "the archive has no end: it was cut off".to_owned();
                return Err(damaged(self.level, self.members.position(), reason));
            }
            self.drain()?;
        }
        Ok(member)
    }

    /// What follows the archive's end is padding; reading it makes the codec check its sums.
    fn drain(&mut self) -> Result<(), RestoreError> {
        let position = self.members.position();
        let ended = MemberReader::new(
            Box::new(io::empty()) as ArchiveStream,
            position,
            ReadOptions::default(),
        );
        // The reader that takes its place keeps saying that the archive is over.
        let mut stream = std::mem::replace(&mut self.members, ended).into_inner();
        io::copy(&mut stream, &mut io::sink())
            .map(drop)
            .map_err(|error| failure(self.level, position, error))
    }

    pub(super) fn content_error(&self, error: ContentError) -> RestoreError {
        let position = self.members.position();
        match error {
            ContentError::Read(error) => failure(self.level, position, error),
            ContentError::Short => damaged(self.level, position, "the archive is cut off".to_owned()),
            ContentError::Fatal(error) => error,
        }
    }

    /// Something in the archive, up to where it is read, makes no sense.
    pub(super) fn damaged(&self, reason: &str) -> RestoreError {
        damaged(self.level, self.members.position(), reason.to_owned())
    }

    pub(super) fn tar_error(&self, error: TarError) -> RestoreError {
        match error {
            TarError::Io { offset, source } => failure(self.level, offset, source),
            TarError::Truncated { offset }
            | TarError::Damaged { offset, .. }
            | TarError::Unsupported { offset, .. } => damaged(self.level, offset, error.reason()),
            TarError::Unwritable { reason } => {
                damaged(self.level, self.members.position(), reason.to_owned())
            }
        }
    }
}

pub(super) fn damaged(level: &LevelData, offset: u64, reason: String) -> RestoreError {
    let reason = format!("{reason} (offset in the archive inside it)");
    RestoreError::Damaged {
        object: level.data_key.clone(),
        level: level.id.level.0,
        offset,
        reason,
    }
}

/// Tells a failure of the storage, which comes through the codec as it is, from damage that the codec found.
fn failure(level: &LevelData, offset: u64, error: io::Error) -> RestoreError {
    match error.downcast::<ObjectError>() {
        Ok(source) => RestoreError::Object {
            level: level.id.level.0,
            source,
        },
        Err(error) => damaged(level, offset, format!("it can't be decompressed: {error}")),
    }
}

/// One level being replayed.
struct Replay<'r, 'a> {
    level: &'r LevelData,
    /// At the first level there is nothing yet to rename or remove.
    is_first: bool,
    maker: &'r mut TargetWriter<'a>,
    mover: &'r mut ContentMover,
    reporter: &'r Reporter<'r>,
    directories: Spool,
}

impl Replay<'_, '_> {
    fn run(&mut self) -> Result<(), RestoreError> {
        let mut archive = Archive::open(self.level, self.reporter)?;
        while let Some(member) = archive.next()? {
            self.reporter.context.cancel.check()?;
            if let Err(error) = self.maker.make_parents(&member.path) {
                self.reporter.left_out(&member.path, &error)?;
                continue;
            }
            match member.kind {
                MemberKind::Directory => self.directory(&member)?,
                MemberKind::File => {
                    let made = self.mover.make_file(
                        Some(&mut *self.maker),
                        &member,
                        &mut archive.members,
                        self.reporter,
                    );
                    made.map_err(|error| archive.content_error(error))?;
                }
                MemberKind::HardLink => match self.maker.hard_link(&member.path, &member.link) {
                    Ok(()) => self.reporter.count_other(|report| report.hard_links += 1),
                    Err(error) => self.reporter.left_out(&member.path, &error)?,
                },
                _ => match self.maker.make_special(&member) {
                    Ok(outcome) => {
                        self.reporter
                            .count_other(|report| count_special(report, member.kind));
                        self.reporter.attributes(&member.path, outcome)?;
                    }
                    Err(error) => self.reporter.left_out(&member.path, &error)?,
                },
            }
        }
        Ok(())
    }

    fn directory(&mut self, member: &Member) -> Result<(), RestoreError> {
        if let Err(error) = self.maker.make_directory(&member.path) {
            return self.reporter.left_out(&member.path, &error);
        }
        self.reporter.count_directory();
        self.directories.push(member).map_err(RestoreError::Spool)?;
        match &member.dumpdir {
            Some(names) if !self.is_first => {
                self.rename(names)?;
                self.remove_absent(&member.path, names)
            }
            _ => Ok(()),
        }
    }

    /// Follows the rename records of a list, in the order in which they stand.
    fn rename(&mut self, names: &[u8]) -> Result<(), RestoreError> {
        let renames = renames(names).map_err(|error| damaged(self.level, 0, error.to_string()))?;
        renames
            .iter()
            .try_for_each(|(from, to)| self.rename_one(from, to))
    }

    fn rename_one(&mut self, from: &[u8], to: &[u8]) -> Result<(), RestoreError> {
        let renamed = self
            .maker
            .make_parents(to)
            .and_then(|()| self.maker.rename(from, to));
        let Err(error) = renamed else { return Ok(()) };
        if error.fatal().is_some() {
            return self.reporter.left_out(from, &error);
        }
        let text = format!(
            "{error} (to \"{}\", as level {} says)",
            to.escape_ascii(),
            self.level.id.level
        );
        self.reporter.warn(from, WarningKind::Replay, text, true);
        Ok(())
    }

    /// Removes what the list doesn't name, or names as something else.
    fn remove_absent(&mut self, path: &[u8], names: &[u8]) -> Result<(), RestoreError> {
        let listed = Listed::new(names).map_err(|error| damaged(self.level, 0, error.to_string()))?;
        let absent = match self.absent(path, &listed) {
            Ok(absent) => absent,
            Err(error) => return self.reporter.left_out(path, &error),
        };
        for name in absent {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let gone = [path, slash, &name].concat();
            match self.maker.remove(&gone) {
                Ok(()) => self.reporter.count(|report| report.removed += 1),
                Err(error) => self.reporter.left_out(&gone, &error)?,
            }
        }
        Ok(())
    }

    /// The names in a directory that don't stand in a list, or stand there as the other of file and directory.
    fn absent(&self, path: &[u8], listed: &Listed) -> Result<Vec<Vec<u8>>, EntryError> {
        let fail = EntryError::system("list the directory");
        let directory = self.maker.directory(path, OFlags::RDONLY).map_err(&fail)?;
        let mut absent = Vec::new();
        for entry in Dir::read_from(&directory).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Unknown => {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    let seen = rustix::fs::statat(&directory, name, flags).map_err(&fail)?;
                    FileType::from_raw_mode(seen.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            if !listed.holds(name, is_directory) {
                absent.push(name.to_vec());
            }
        }
        Ok(absent)
    }
}

/// A path of a rename record in the form of member paths.
pub(super) fn simplify(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path == b"." { b"" } else { path }
}
