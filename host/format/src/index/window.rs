//! Fetches blocks with few large reads, checks their digests and decompresses them.
//!
//! A stream of blocks is known beforehand from the footer, so a window reads ahead exactly as far as the stream goes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::footer::BlockRef;
use super::{BLOCK_PAYLOAD_MAX, IndexError, ReadRange};

/// First read of a stream in bytes: looking at a few rows shouldn't fetch megabytes.
const WINDOW_FIRST: u64 = 256 * 1024;

/// Largest read of a stream in bytes: one storage request per some hundred thousand rows.
const WINDOW_MAX: u64 = 2 * 1024 * 1024;

/// Largest number of unwanted bytes between two blocks that are read over rather than asked for anew.
const GAP_MAX: u64 = 256 * 1024;

/// Where blocks come from: this object and, by level, the objects of other places.
#[derive(Debug)]
pub(super) struct Sources<R> {
    pub(super) own: R,
    pub(super) places: BTreeMap<u32, R>,
    /// What opening fetched: the whole body if it is small.
    pub(super) tail: Tail,
}

/// Bytes of an index's own object that are at hand.
#[derive(Debug, Default)]
pub(super) struct Tail {
    start: u64,
    bytes: Vec<u8>,
}

impl Tail {
    fn get(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(start..start.checked_add(length)?)
    }
}

impl<R: ReadRange> Sources<R> {
    /// Fetches the bytes from `start` to `end` and keeps them.
    pub(super) fn keep_from(&mut self, start: u64, end: u64) -> Result<(), IndexError> {
        let bytes = self.read(0, start, end.saturating_sub(start))?;
        self.tail = Tail { start, bytes };
        Ok(())
    }

    pub(super) fn read(&self, place: u32, offset: u64, length: u64) -> Result<Vec<u8>, IndexError> {
        let length = usize::try_from(length).map_err(|_| IndexError::Damaged("a block is too large"))?;
        if place == 0
            && let Some(bytes) = self.tail.get(offset, length)
        {
            return Ok(bytes.to_vec());
        }
        let source = match place {
            0 => &self.own,
            _ => self
                .places
                .get(&(place - 1))
                .ok_or(IndexError::MissingPlace { level: place - 1 })?,
        };
        let bytes = source.read_range(offset, length)?;
        if bytes.len() != length {
            return Err(IndexError::Damaged(
                "the storage returned another length than asked for",
            ));
        }
        Ok(bytes)
    }

    /// Fetches one block and returns its payload.
    pub(super) fn payload(&self, block: &BlockRef) -> Result<Vec<u8>, IndexError> {
        let stored = self.read(block.place, block.offset, u64::from(block.length))?;
        let mut payload = Vec::new();
        Unpacker::new()?.unpack(block, &stored, &mut payload)?;
        Ok(payload)
    }
}

/// Checks and decompresses blocks.
pub(super) struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Unpacker {
    pub(super) fn new() -> Result<Unpacker, IndexError> {
        Ok(Unpacker {
            decompressor: zstd::bulk::Decompressor::new()?,
        })
    }

    /// Replaces `payload` with that of the block stored as `stored`.
    fn unpack(&mut self, block: &BlockRef, stored: &[u8], payload: &mut Vec<u8>) -> Result<(), IndexError> {
        if <[u8; 32]>::from(Sha256::digest(stored)) != block.sha256 {
            return Err(IndexError::Damaged("a block's digest doesn't match"));
        }
        payload.clear();
        payload.reserve(BLOCK_PAYLOAD_MAX);
        self.decompressor
            .decompress_to_buffer(stored, payload)
            .map_err(|_| IndexError::Damaged("a block can't be decompressed"))?;
        Ok(())
    }
}

/// Bytes read ahead from one place.
#[derive(Debug, Default)]
struct Window {
    place: u32,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&self, block: &BlockRef) -> Option<&[u8]> {
        let start = usize::try_from(block.offset.checked_sub(self.start)?).ok()?;
        let end = start.checked_add(usize::try_from(block.length).ok()?)?;
        if self.place == block.place {
            self.bytes.get(start..end)
        } else {
            None
        }
    }
}

/// Blocks of one stream, fetched in windows.
pub(super) struct BlockStream<'a, R> {
    sources: &'a Sources<R>,
    /// One window for this object and one for all other places, so that mixed streams don't fetch anew each time.
    windows: [Window; 2],
    window_bytes: u64,
    unpacker: Unpacker,
}

impl<'a, R: ReadRange> BlockStream<'a, R> {
    pub(super) fn new(sources: &'a Sources<R>) -> Result<BlockStream<'a, R>, IndexError> {
        let windows = Default::default();
        Ok(BlockStream {
            sources,
            windows,
            window_bytes: WINDOW_FIRST,
            unpacker: Unpacker::new()?,
        })
    }

    /// Replaces `payload` with that of `block`. `later` names the blocks the stream will ask for after it.
    pub(super) fn fetch<'b>(
        &mut self,
        block: &BlockRef,
        later: impl Iterator<Item = &'b BlockRef>,
        payload: &mut Vec<u8>,
    ) -> Result<(), IndexError> {
        let window = &mut self.windows[usize::from(block.place != 0)];
        if window.get(block).is_none() {
            let (start, end) = span(block, later, self.window_bytes);
            *window = Window {
                place: block.place,
                start,
                bytes: self.sources.read(block.place, start, end - start)?,
            };
            self.window_bytes = (self.window_bytes * 2).min(WINDOW_MAX);
        }
        let stored = window
            .get(block)
            .ok_or(IndexError::Damaged("a block lies outside of the index"))?;
        self.unpacker.unpack(block, stored, payload)
    }
}

/// Returns the range that holds `block` and as many later blocks as lie near it, to either side, within `limit` bytes.
fn span<'b>(block: &BlockRef, later: impl Iterator<Item = &'b BlockRef>, limit: u64) -> (u64, u64) {
    let (mut start, mut end) = (block.offset, block.offset + u64::from(block.length));
    for next in later {
        if next.place != block.place {
            continue;
        }
        let stop = next.offset + u64::from(next.length);
        let (low, high) = (start.min(next.offset), end.max(stop));
        let is_near = next.offset <= end.saturating_add(GAP_MAX) && stop.saturating_add(GAP_MAX) >= start;
        if !is_near || high - low > limit {
            break;
        }
        (start, end) = (low, high);
    }
    (start, end)
}
