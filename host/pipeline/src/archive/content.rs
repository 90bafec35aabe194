//! Archives regular files: read straight into the frame, padded or cut to the size in their header.

use std::ffi::CStr;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use freezer_format::index::EntryKind;
use freezer_format::tar::{MemberKind, SPARSE_PIECES_MAX, content_bytes};
use rustix::fs::{Advice, OFlags, SeekFrom, fadvise, seek};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::Archiver;
use super::children::Child;
use crate::channel::Halt;
use crate::counters::{Counters, WarningKind};
use crate::error::BackupError;
use crate::source::{Kind, Reach, ReadAhead, Stat, open_quietly};

/// Holes must save this much, since readers that don't know sparse files see a map in front of the content.
const LEAST_HOLES_BYTES: u64 = 64 << 10;

/// After so many bytes of a large file their memory is given back, so that it never fills the machine's.
const GIVE_BACK_BYTES: u64 = 16 << 20;

/// How reading a file's content went.
enum Outcome {
    Whole,
    /// It ended early; the rest is zeros.
    Shrunk {
        missing_bytes: u64,
    },
    /// The rest is zeros.
    Failed(Errno),
}

impl Archiver<'_> {
    pub(super) fn dump_file(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        child: &Child,
    ) -> Result<(), Halt> {
        let follow = if self.follows_symlinks() {
            OFlags::empty()
        } else {
            OFlags::NOFOLLOW
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | follow;
        let opened = open_quietly(directory, name, flags).and_then(|file| Ok((Stat::of(&file)?, file)));
        match opened {
            Ok((stat, file)) if stat.kind == Kind::File => self.dump_open_file(&file, &stat),
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => self.without_content(child, None),
            Err(error) => self.without_content(child, Some(error)),
        }
    }

    /// The file can't be archived under this name; its next name, if any, will carry the content.
    fn without_content(&mut self, child: &Child, error: Option<Errno>) -> Result<(), Halt> {
        self.links.forget((child.stat.device, child.stat.inode));
        match error {
            Some(error) => self.unreadable(&child.stat, format!("can't open it: {error}")),
            None => self.vanished(),
        }
    }

    fn dump_open_file(&mut self, file: &OwnedFd, stat: &Stat) -> Result<(), Halt> {
        let is_racy = self.rule.is_racy(stat, (self.context.now)().as_nanos());
        let attributes = self.read_attributes(Reach::Open(file.as_fd()))?;
        let mut member = self.member(MemberKind::File, stat, attributes);
        member.size = stat.size;
        member.sparse = data_pieces(file.as_fd(), stat);
        let mut place = self.here(is_racy);
        if !self.write_header(&mut member, None)? {
            self.links.forget((stat.device, stat.inode));
            return Ok(());
        }
        let whole = [(0, stat.size)];
        let mut outcome = Outcome::Whole;
        for (offset, length) in member.sparse.as_deref().unwrap_or(&whole) {
            match outcome {
                Outcome::Whole => outcome = self.copy(file.as_fd(), *offset, *length)?,
                _ => self.tar.zeros(*length)?,
            }
        }
        self.tar.pad(content_bytes(&member))?;
        place.is_inexact = self.judge_outcome(file.as_fd(), stat, &outcome)?;
        self.count_kind(stat, false);
        if self.is_linked(stat) {
            self.note_dumped(stat);
        }
        self.write_row(EntryKind::File, stat, place, b"")
    }

    /// Copies a part of a file, in pieces where the kernel's memory of them is given back.
    fn copy(&mut self, file: BorrowedFd<'_>, start: u64, length: u64) -> Result<Outcome, Halt> {
        if !self.source.gives_memory_back {
            return self.copy_piece(file, start, length);
        }
        let mut done = 0;
        while done < length {
            let piece = GIVE_BACK_BYTES.min(length - done);
            let outcome = self.copy_piece(file, start + done, piece)?;
            give_back(file, start + done, piece);
            done += piece;
            if !matches!(outcome, Outcome::Whole) {
                self.tar.zeros(length - done)?;
                return Ok(match outcome {
                    Outcome::Shrunk { missing_bytes } => Outcome::Shrunk {
                        missing_bytes: missing_bytes + (length - done),
                    },
                    other => other,
                });
            }
        }
        Ok(Outcome::Whole)
    }

    /// Copies a part of a file, filling up with zeros what can't be read.
    fn copy_piece(&mut self, file: BorrowedFd<'_>, start: u64, length: u64) -> Result<Outcome, Halt> {
        let mut done = 0;
        while done < length {
            self.context.cancel.check().map_err(BackupError::from)?;
            let room = self.tar.room()?;
            let wanted = room
                .len()
                .min(usize::try_from(length - done).unwrap_or(usize::MAX));
            match read_at(file, &mut room[..wanted], start + done, &mut self.read_ahead) {
                Ok(0) => {
                    let missing_bytes = length - done;
                    self.tar.zeros(missing_bytes)?;
                    return Ok(Outcome::Shrunk { missing_bytes });
                }
                Ok(read) => {
                    done += read as u64;
                    Counters::add(&self.context.counters.bytes_read, read as u64);
                    self.tar.advance(read)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.tar.zeros(length - done)?;
                    return Ok(Outcome::Failed(error));
                }
            }
        }
        Ok(Outcome::Whole)
    }

    /// Warns if what was archived isn't what the file was when it was opened; answers whether that is so.
    fn judge_outcome(
        &mut self,
        file: BorrowedFd<'_>,
        before: &Stat,
        outcome: &Outcome,
    ) -> Result<bool, Halt> {
        let (kind, message) = match outcome {
            Outcome::Whole => {
                if Stat::of(file).is_ok_and(|after| after.is_same_content(before)) {
                    return Ok(false);
                }
                (WarningKind::Changed, "changed while it was read".to_owned())
            }
            Outcome::Shrunk { missing_bytes } => (
                WarningKind::Changed,
                format!("shrank by {missing_bytes} bytes while it was read; padded with zeros"),
            ),
            Outcome::Failed(error) => {
                self.counts.unreadable += 1;
                (
                    WarningKind::Unreadable,
                    format!("can't read all of it: {error}; padded with zeros"),
                )
            }
        };
        self.counts.inexact += 1;
        self.warn(kind, message, true)?;
        Ok(true)
    }
}

/// Tells the kernel that the memory of a part of a file isn't needed any more.
fn give_back(file: BorrowedFd<'_>, offset: u64, length: u64) {
    if let Err(error) = fadvise(file, offset, NonZeroU64::new(length), Advice::DontNeed) {
        tracing::debug!(%error, "can't give memory back");
    }
}

/// Reads a part of a file. Only its beginning is asked for so that a file that isn't in memory shows: what lies behind
/// the kernel reads ahead itself.
fn read_at(
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    offset: u64,
    read_ahead: &mut ReadAhead,
) -> rustix::io::Result<usize> {
    if offset == 0 {
        match preadv2(file, &mut [IoSliceMut::new(buffer)], 0, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => read_ahead.note_cold(),
            // Not a file system that can tell.
            Err(_) => {}
            Ok(read) => return Ok(read),
        }
    }
    pread(file, buffer, offset)
}

/// The pieces of a file that hold data, if its holes are worth a map.
fn data_pieces(file: BorrowedFd<'_>, stat: &Stat) -> Option<Vec<(u64, u64)>> {
    if stat.occupied_bytes.saturating_add(LEAST_HOLES_BYTES) > stat.size {
        return None;
    }
    let mut pieces = Vec::new();
    let mut data_bytes = 0;
    let mut at = 0;
    while at < stat.size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        if start >= stat.size {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start)).ok()?.min(stat.size);
        if end <= start || pieces.len() == SPARSE_PIECES_MAX {
            return None;
        }
        pieces.push((start, end - start));
        data_bytes += end - start;
        at = end;
    }
    (stat.size - data_bytes >= LEAST_HOLES_BYTES).then_some(pieces)
}
