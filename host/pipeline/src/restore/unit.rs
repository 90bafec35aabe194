//! What one thread does with a unit of work: read each member, compare it with its row, make what it says.
//!
//! Files are made at once. Links and nodes wait until all files are there, so that nothing can be written through
//! one; directories wait for their final state until nothing is made in them any more.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use freezer_format::index::EntryKind;
use freezer_format::tar::{Member, MemberKind, MemberReader, ReadOptions};

use super::RestoreError;
use super::content::{ContentError, ContentMover};
use super::frames::{FrameReader, LevelFrames};
use super::plan::{Row, Unit};
use super::report::Reporter;
use super::spool::Spool;
use super::target::TargetWriter;

/// Most files remembered as failed, so that no hard link is made to something else of their name.
const FAILED_MAX: usize = 100_000;

/// What all threads share.
pub(super) struct Shared<'a> {
    pub(super) levels: Vec<LevelFrames<'a>>,
    pub(super) reporter: &'a Reporter<'a>,
    /// What couldn't be made: hard links to it are left out.
    failed: Mutex<HashSet<Vec<u8>>>,
    /// Set by the first thread that ends with an error, so that the others don't go on.
    stopped: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(super) fn new(levels: Vec<LevelFrames<'a>>, reporter: &'a Reporter<'a>) -> Self {
        Self {
            levels,
            reporter,
            failed: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// The opened level of a number.
    pub(super) fn level(&self, number: u32) -> Option<&LevelFrames<'a>> {
        self.levels.iter().find(|level| level.level == number)
    }

    /// Tells all threads to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether some thread ended with an error.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether something that isn't a directory couldn't be made.
    pub(super) fn has_failed(&self, path: &[u8]) -> bool {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(path)
    }

    /// Remembers that something couldn't be made, as far as there is room.
    pub(super) fn remember_failure(&self, path: &[u8]) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() < FAILED_MAX {
            failed.insert(path.to_vec());
        }
    }
}

/// What must wait until all files are there.
#[derive(Default)]
pub(super) struct Later {
    /// Directories: a list per level, each in rising order.
    pub(super) directories: Vec<Spool>,
    /// Symbolic links, FIFOs and devices.
    pub(super) specials: Option<Spool>,
}

/// One thread's work.
pub(super) struct Worker<'s, 'a> {
    shared: &'s Shared<'a>,
    /// `None`: everything is read and compared, nothing written.
    writer: Option<TargetWriter<'s>>,
    reader: Option<(u32, FrameReader<'s>)>,
    later: Later,
    mover: ContentMover,
}

impl<'s, 'a> Worker<'s, 'a> {
    pub(super) fn new(shared: &'s Shared<'a>, writer: Option<TargetWriter<'s>>) -> Self {
        Self {
            shared,
            writer,
            reader: None,
            later: Later::default(),
            mover: ContentMover::new(),
        }
    }

    /// Ends the work; answers what must wait.
    pub(super) fn finish(self) -> Later {
        self.later
    }

    /// Takes the links and nodes that wait so far.
    pub(super) fn take_specials(&mut self) -> Option<Spool> {
        self.later.specials.take()
    }

    /// Restores the rows of a unit.
    pub(super) fn run(&mut self, unit: &Unit) -> Result<(), RestoreError> {
        let shared = self.shared;
        let Some(frames) = shared.level(unit.level) else {
            return Err(RestoreError::MissingLevel { level: unit.level });
        };
        let mut reader = match self.reader.take() {
            Some((level, reader)) if level == unit.level => reader,
            _ => {
                self.later.directories.push(Spool::new());
                FrameReader::new(frames, shared.reporter.context)
            }
        };
        reader.plan(unit.rows.iter().map(Row::range));
        for row in &unit.rows {
            if shared.is_stopped() {
                break;
            }
            shared.reporter.context.cancel.check()?;
            self.restore(row, &mut reader, frames)?;
        }
        self.reader = Some((unit.level, reader));
        Ok(())
    }

    fn restore(
        &mut self,
        row: &Row,
        reader: &mut FrameReader<'_>,
        frames: &LevelFrames<'_>,
    ) -> Result<(), RestoreError> {
        let source = Source { row, frames };
        reader.seek(row.offset);
        let mut archive = MemberReader::new(&mut *reader, row.offset, ReadOptions::default());
        let mut member = match archive.next_member() {
            Ok(Some(member)) => member,
            Ok(None) => return Err(source.damaged("there is no member where the index has one")),
            Err(error) => return Err(source.failure(reader, &error)),
        };
        source.agree(&member)?;
        if let Some(place) = &row.place {
            member.path.clone_from(place);
        }
        match member.kind {
            MemberKind::Directory => self.keep_directory(&member),
            MemberKind::File => {
                let made =
                    self.mover
                        .make_file(self.writer.as_mut(), &member, &mut archive, self.shared.reporter);
                match made {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        self.shared.remember_failure(&member.path);
                        Ok(())
                    }
                    Err(ContentError::Read(error)) => Err(source.failure(reader, &error)),
                    Err(ContentError::Short) => Err(source.failure(reader, &"a file's content is cut off")),
                    Err(ContentError::Fatal(error)) => Err(error),
                }
            }
            _ => self.keep_special(&member),
        }
    }

    fn keep_directory(&mut self, member: &Member) -> Result<(), RestoreError> {
        let list = self.later.directories.last_mut();
        list.map_or(Ok(()), |list| list.push(member))
            .map_err(RestoreError::Spool)
    }

    fn keep_special(&mut self, member: &Member) -> Result<(), RestoreError> {
        self.later
            .specials
            .get_or_insert_with(Spool::new)
            .push(member)
            .map_err(RestoreError::Spool)
    }
}

/// A row and where its member is read from, for judging and naming what is wrong.
pub(super) struct Source<'r, 'a> {
    pub(super) row: &'r Row,
    pub(super) frames: &'r LevelFrames<'a>,
}

impl Source<'_, '_> {
    pub(super) fn damaged(&self, reason: &str) -> RestoreError {
        let path = self.row.path.escape_ascii();
        self.frames.damaged(
            self.row.offset,
            format!("{reason} (in the archive, at \"{path}\")"),
        )
    }

    /// Why reading failed: what the reader says, else what the archive's structure is.
    pub(super) fn failure(
        &self,
        reader: &mut FrameReader<'_>,
        error: &dyn std::fmt::Display,
    ) -> RestoreError {
        reader
            .take_failure()
            .unwrap_or_else(|| self.damaged(&error.to_string()))
    }

    /// Checks that the member is what the row says.
    pub(super) fn agree(&self, member: &Member) -> Result<(), RestoreError> {
        let row = self.row;
        if member.path != row.path || kind(member.kind) != row.kind {
            return Err(self.damaged("another member lies where the index has this one"));
        }
        if row.kind == EntryKind::File && member.size != row.size && !row.is_stale {
            return Err(self.damaged("a file's size in the archive isn't the one in the index"));
        }
        Ok(())
    }
}

/// The index's word for what a member is.
pub(super) fn kind(kind: MemberKind) -> EntryKind {
    match kind {
        MemberKind::File => EntryKind::File,
        MemberKind::Directory => EntryKind::Directory,
        MemberKind::Symlink => EntryKind::Symlink,
        MemberKind::HardLink => EntryKind::HardLink,
        MemberKind::Fifo => EntryKind::Fifo,
        MemberKind::CharDevice => EntryKind::CharDevice,
        MemberKind::BlockDevice => EntryKind::BlockDevice,
    }
}
