//! The archive of one level as something to seek in: fetches the frames that are wanted, and only those.
//!
//! Frame number = offset in the archive ÷ frame size. Frames that lie close together come by one request; each is
//! decrypted, compared with its digest and only then decompressed. Memory: one window of stored bytes and one frame.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use freezer_format::compression::Compression;
use freezer_format::index::FrameRow;
use sha2::{Digest, Sha256};

use super::{LevelData, RestoreError};
use crate::counters::Counters;
use crate::decompress::FrameDecoder;
use crate::job::RunContext;
use crate::object::{ObjectError, StoredIndex, StoredObject};

/// Most stored bytes that are fetched at once, apart from a single larger frame: hides a storage's latency, and is
/// the greater part of a worker's memory.
pub(super) const WINDOW_BYTES: u64 = 4 << 20;
/// Unwanted archive bytes between two wanted frames that are fetched with them rather than by a second request:
/// about 1 MiB as it is stored.
const GAP_BYTES: u64 = 2 << 20;
/// Most rows that are looked up at once.
const ROWS_MAX: u64 = 256;
/// Largest frame in bytes: a hostile index must not make us allocate more.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// A level whose frames can be found: shared by all threads.
pub(super) struct LevelFrames<'a> {
    pub(super) level: u32,
    index: &'a StoredIndex,
    data: StoredObject,
    compression: Compression,
    frame_bytes: u64,
}

impl<'a> LevelFrames<'a> {
    /// Opens the stream of a level that has an index.
    pub(super) fn open(level: &'a LevelData, index: &'a StoredIndex) -> Result<Self, RestoreError> {
        let number = level.id.level.0;
        let frame_bytes = index.header().frame_size;
        let own = index.levels().iter().find(|row| row.level == number);
        let compression = own.map(|row| row.compression).or(level.compression);
        let (Some(compression), 1..=FRAME_BYTES_MAX) = (compression, frame_bytes) else {
            return Err(RestoreError::Damaged {
                object: level.data_key.clone(),
                level: number,
                offset: 0,
                reason: "its index doesn't say how its frames are made".to_owned(),
            });
        };
        let data = open_data(level)?;
        Ok(Self {
            level: number,
            index,
            data,
            compression,
            frame_bytes,
        })
    }

    /// Bytes of archive per frame.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// Makes a decoder for its frames.
    pub(super) fn decoder(&self) -> FrameDecoder {
        FrameDecoder::new(self.compression, self.frame_bytes as usize)
    }

    /// Makes the error that says that something in the stored stream is wrong.
    pub(super) fn damaged(&self, offset: u64, reason: impl Into<String>) -> RestoreError {
        let object = self.data.key().to_owned();
        RestoreError::Damaged {
            object,
            level: self.level,
            offset,
            reason: reason.into(),
        }
    }

    fn object_error(&self, source: ObjectError) -> RestoreError {
        RestoreError::Object {
            level: self.level,
            source,
        }
    }
}

/// Opens the stored stream of a level.
pub(super) fn open_data(level: &LevelData) -> Result<StoredObject, RestoreError> {
    let (store, key, bytes) = (Arc::clone(&level.store), &level.data_key, level.data_bytes);
    let opened = match (&level.cipher, &level.data_salt) {
        (Some(cipher), Some(salt)) => Ok(StoredObject::with_salt(store, key, bytes, cipher, salt)),
        (cipher, _) => StoredObject::open(store, key, bytes, cipher.as_ref()),
    };
    opened.map_err(|source| RestoreError::Object {
        level: level.id.level.0,
        source,
    })
}

/// Reads the archive of one level, for one thread.
pub(super) struct FrameReader<'a> {
    frames: &'a LevelFrames<'a>,
    context: &'a RunContext<'a>,
    decoder: FrameDecoder,
    /// Frames that will be wanted, joined where they lie close together.
    wanted: Vec<Range<u64>>,
    rows: Vec<FrameRow>,
    first_row: u64,
    /// Compressed bytes, decrypted, from `window_start` on in the compressed stream.
    window: Vec<u8>,
    window_start: u64,
    /// The frame at hand.
    plain: Vec<u8>,
    number: Option<u64>,
    offset: u64,
    failure: Option<RestoreError>,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(frames: &'a LevelFrames<'a>, context: &'a RunContext<'a>) -> Self {
        Self {
            frames,
            context,
            decoder: frames.decoder(),
            wanted: Vec::new(),
            rows: Vec::new(),
            first_row: 0,
            window: Vec::new(),
            window_start: 0,
            plain: Vec::new(),
            number: None,
            offset: 0,
            failure: None,
        }
    }

    /// Says which ranges of the archive will be read, rising; a hint, anything else is read too.
    pub(super) fn plan(&mut self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let size = self.frames.frame_bytes;
        self.wanted.clear();
        for range in ranges {
            let frames = range.start / size..range.end.saturating_sub(1) / size + 1;
            match self.wanted.last_mut() {
                Some(last) if frames.start <= last.end.saturating_add(GAP_BYTES / size) => {
                    last.end = last.end.max(frames.end);
                }
                _ => self.wanted.push(frames),
            }
        }
    }

    /// Goes to an offset in the archive.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// What reading failed of; the `io::Error` that came out of `read` only says that it did.
    pub(super) fn take_failure(&mut self) -> Option<RestoreError> {
        self.failure.take()
    }

    /// Makes the frame that holds the present offset the one at hand; `false` behind the last.
    fn load(&mut self) -> Result<bool, RestoreError> {
        let number = self.offset / self.frames.frame_bytes;
        if self.number == Some(number) {
            return Ok(true);
        }
        self.context.cancel.check()?;
        // A short frame is the last one.
        let is_behind_end =
            self.number.is_some_and(|at| at < number) && (self.plain.len() as u64) < self.frames.frame_bytes;
        if is_behind_end {
            return Ok(false);
        }
        self.number = None;
        let Some(row) = self.row(number)? else {
            return Ok(false);
        };
        let offset = self.frames.data.head_bytes().saturating_add(row.offset);
        if u64::from(row.length) > self.frames.frame_bytes.saturating_mul(2).saturating_add(1 << 16) {
            return Err(self
                .frames
                .damaged(offset, "a frame is longer than frames can be"));
        }
        self.fetch(number, row)?;
        let start = (row.offset - self.window_start) as usize;
        let Some(stored) = self.window.get(start..start + row.length as usize) else {
            return Err(self.frames.damaged(offset, "a frame's row points beside it"));
        };
        if <[u8; 32]>::from(Sha256::digest(stored)) != row.sha256 {
            return Err(self.frames.damaged(offset, "a frame's digest doesn't match"));
        }
        if let Err(error) = self.decoder.decode(stored, &mut self.plain) {
            return Err(self.frames.damaged(offset, error.to_string()));
        }
        self.number = Some(number);
        Ok(true)
    }

    /// The row of a frame, and with it those of the wanted frames that follow.
    fn row(&mut self, number: u64) -> Result<Option<FrameRow>, RestoreError> {
        if let Some(row) = number
            .checked_sub(self.first_row)
            .and_then(|at| self.rows.get(at as usize))
        {
            return Ok(Some(*row));
        }
        let end = self.planned_end(number).min(number.saturating_add(ROWS_MAX));
        let level = self.frames.level;
        let failed = |source| RestoreError::Index { level, source };
        self.rows.clear();
        self.first_row = number;
        for row in self
            .frames
            .index
            .frames_from(number)
            .map_err(failed)?
            .take((end - number) as usize)
        {
            self.rows.push(row.map_err(failed)?);
        }
        Ok(self.rows.first().copied())
    }

    /// The end of the wanted range that a frame lies in.
    fn planned_end(&self, number: u64) -> u64 {
        let after = self.wanted.partition_point(|range| range.end <= number);
        let range = self.wanted.get(after).filter(|range| range.start <= number);
        range.map_or(number + 1, |range| range.end)
    }

    /// Sees to it that the window holds a frame; fetches those with it that are wanted next.
    fn fetch(&mut self, number: u64, row: FrameRow) -> Result<(), RestoreError> {
        let end = row.offset.saturating_add(u64::from(row.length));
        if row.offset >= self.window_start && end <= self.window_start + self.window.len() as u64 {
            return Ok(());
        }
        let mut end = end;
        let planned = self.planned_end(number);
        let following = (number - self.first_row + 1) as usize
            ..(planned - self.first_row).min(self.rows.len() as u64) as usize;
        for next in self.rows.get(following).unwrap_or_default() {
            let next_end = next.offset.saturating_add(u64::from(next.length));
            // Frames lie end to end; rows that say otherwise are judged one by one.
            if next.offset != end || next_end - row.offset > WINDOW_BYTES {
                break;
            }
            end = next_end;
        }
        // Freed first, so that there is never more than one window.
        self.window = Vec::new();
        self.window_start = row.offset;
        let length = (end - row.offset) as usize;
        self.window = self
            .frames
            .data
            .read_at(row.offset, length)
            .map_err(|source| self.frames.object_error(source))?;
        Counters::add(&self.context.counters.bytes_stored, length as u64);
        Ok(())
    }
}

impl Read for FrameReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.load() {
            Ok(true) => {}
            Ok(false) => return Ok(0),
            Err(error) => {
                self.failure = Some(error);
                return Err(io::Error::other("a frame can't be read"));
            }
        }
        let at = (self.offset % self.frames.frame_bytes) as usize;
        let available = self.plain.get(at..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.offset += length as u64;
        Ok(length)
    }
}
