//! A stored stream on its way back: to an output, or to the one file that its index lists.
//!
//! Frames are fetched, verified and decompressed on a thread of their own, some pieces ahead of whoever takes the bytes.

use std::io::{self, Read, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use freezer_format::index::{Entry, EntryKind};
use freezer_format::tar::{Member, MemberKind};

use super::content::{ContentError, ContentMover};
use super::frames::{FrameReader, LevelFrames};
use super::report::Reporter;
use super::selection::Selection;
use super::target::{Target, TargetWriter};
use super::{LevelData, RestoreError, RestoreJob};
use crate::counters::Counters;
use crate::job::RunContext;
use crate::object::StoredIndex;

/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that may wait.
const PIECES: usize = 8;

/// Restores the file of a stream.
pub(super) fn restore(
    job: &RestoreJob<'_>,
    (level, index): (&LevelData, &StoredIndex),
    selection: &Selection,
    reporter: &Reporter<'_>,
    run: &str,
) -> Result<(), RestoreError> {
    let member = member(&row(level, index)?);
    if !selection.contains(&member.path) {
        let paths: Vec<_> = selection
            .paths()
            .iter()
            .map(|path| path.escape_ascii().to_string())
            .collect();
        let paths = paths.join(", ");
        return Err(RestoreError::NothingMatched { paths });
    }
    if job.dry_run {
        return make(None, &member, (level, index), reporter);
    }
    let target = Target::open(&job.target, job.overwrite, run)?;
    let mut writer = TargetWriter::new(&target, 0);
    make(Some(&mut writer), &member, (level, index), reporter)?;
    target.finish()
}

/// Makes the file, or only reads its content if there is no writer.
fn make(
    writer: Option<&mut TargetWriter<'_>>,
    member: &Member,
    (level, index): (&LevelData, &StoredIndex),
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    with_content((level, index), member.size, reporter.context, |content| {
        // Of an empty file nothing would be read, so that its size would never be held against the data.
        if member.size == 0 && content.read(&mut [0]).is_err() {
            return Err(None);
        }
        let made = ContentMover::new().make_file(writer, member, content, reporter);
        made.map(drop).map_err(|error| match error {
            ContentError::Read(_) | ContentError::Short => None,
            ContentError::Fatal(error) => Some(error),
        })
    })
}

/// Writes a stream to an output; answers its bytes.
pub(super) fn write(
    level: &LevelData,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    let number = level.id.level.0;
    let index = level
        .index
        .as_ref()
        .ok_or(RestoreError::NotAStream { level: number })?;
    let size = row(level, index)?.size;
    with_content((level, index), size, context, |content| {
        let failed = |error| Some(RestoreError::Output(error));
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            context
                .cancel
                .check()
                .map_err(|cancelled| Some(cancelled.into()))?;
            let count = content.read(&mut piece).map_err(|_| None)?;
            if count == 0 {
                break;
            }
            out.write_all(&piece[..count]).map_err(failed)?;
            Counters::add(&context.counters.bytes_read, count as u64);
        }
        out.flush().map_err(failed)
    })?;
    Ok(size)
}

/// The one row of a stream's index.
pub(super) fn row(level: &LevelData, index: &StoredIndex) -> Result<Entry, RestoreError> {
    let number = level.id.level.0;
    if !index.header().is_stream() {
        return Err(RestoreError::NotAStream { level: number });
    }
    let failed = |source| RestoreError::Index {
        level: number,
        source,
    };
    let mut entries = index.entries().map_err(failed)?;
    let first = entries
        .advance()
        .map_err(failed)?
        .then(|| entries.entry().clone());
    let is_alone = !entries.advance().map_err(failed)?;
    let is_file = |entry: &Entry| {
        let is_plain = !entry.unreadable && !entry.unindexed && entry.level == number;
        entry.kind == EntryKind::File && is_plain && !entry.path.is_empty() && !entry.path.contains(&b'/')
    };
    first
        .filter(|entry| is_alone && is_file(entry))
        .ok_or_else(|| damaged(level, "its index doesn't list the one file that a stream is"))
}

fn member(entry: &Entry) -> Member {
    Member {
        mode: entry.mode & 0o777,
        // Whoever restores it owns it: it came from no file.
        uid: u64::from(rustix::process::geteuid().as_raw()),
        gid: u64::from(rustix::process::getegid().as_raw()),
        mtime: entry.mtime,
        size: entry.size,
        ..Member::new(entry.path.clone(), MemberKind::File)
    }
}

/// Runs `take` against the content. Its `None` says that reading failed: then the reader knows why.
fn with_content<T>(
    (level, index): (&LevelData, &StoredIndex),
    size: u64,
    context: &RunContext<'_>,
    take: impl FnOnce(&mut Pieces) -> Result<T, Option<RestoreError>>,
) -> Result<T, RestoreError> {
    let frames = LevelFrames::open(level, index)?;
    let (sender, receiver) = bounded(PIECES);
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(&frames, (level, size), sender, context));
        let mut pieces = Pieces {
            receiver,
            piece: Vec::new(),
            at: 0,
            is_over: false,
        };
        let taken = take(&mut pieces);
        // The reader ends when nobody takes its pieces.
        drop(pieces);
        match (taken, reading.join()) {
            (_, Err(panic)) => std::panic::resume_unwind(panic),
            (Ok(taken), Ok(_)) => Ok(taken),
            (Err(Some(error)), Ok(_)) | (Err(None), Ok(Err(error))) => Err(error),
            (Err(None), Ok(Ok(()))) => Err(damaged(level, "it ended while it was read")),
        }
    })
}

/// Reads everything and hands it over, an empty piece at the end, until nobody wants it.
///
/// The last piece goes out only when all is known to be there, so that no file gets its name before.
fn read(
    frames: &LevelFrames<'_>,
    (level, size): (&LevelData, u64),
    sender: Sender<Vec<u8>>,
    context: &RunContext<'_>,
) -> Result<(), RestoreError> {
    let mut reader = FrameReader::new(frames, context);
    reader.plan(std::iter::once(0..size.max(1)));
    let (mut held, mut total) = (None, 0);
    loop {
        let piece = next_piece(&mut reader, frames)?;
        total += piece.len() as u64;
        let is_last = piece.len() < PIECE_BYTES;
        if total > size || is_last && total < size {
            let reason =
                format!("the stream has another length than the {size} bytes that its index tells of");
            return Err(damaged(level, &reason));
        }
        let last = is_last.then(Vec::new);
        let ready = held.replace(piece);
        let ending = last.and_then(|last| Some([held.take()?, last]));
        for piece in ready.into_iter().chain(ending.into_iter().flatten()) {
            if sender.send(piece).is_err() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The next bytes of the stream; fewer than a piece only at its end.
fn next_piece(reader: &mut FrameReader<'_>, frames: &LevelFrames<'_>) -> Result<Vec<u8>, RestoreError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) => {
                let failure = reader.take_failure();
                return Err(failure.unwrap_or_else(|| frames.damaged(0, error.to_string())));
            }
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// What was read ahead, as a reader; it fails if the reading thread ends without an empty piece.
struct Pieces {
    receiver: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.is_over {
            let next = self.receiver.recv();
            self.piece = next.map_err(|_| io::Error::other("the stream can't be read on"))?;
            self.at = 0;
            self.is_over = self.piece.is_empty();
        }
        let available = &self.piece[self.at..];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.at += count;
        Ok(count)
    }
}

fn damaged(level: &LevelData, reason: &str) -> RestoreError {
    RestoreError::Damaged {
        object: level.data_key.clone(),
        level: level.id.level.0,
        offset: 0,
        reason: reason.to_owned(),
    }
}
