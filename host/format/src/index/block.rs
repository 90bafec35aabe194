//! Blocks: rows collected until 64 KiB, or 1024 rows of a table. [`super::IndexWriter`] compresses and writes them.
//!
//! Collectors hold at most one block. They know no writer, so that entries, frames and segments may be collected
//! by different threads and written by one.

use super::entry::put_entry;
use super::number::put_unsigned;
use super::path::{compare_paths, is_plain};
use super::{BLOCK_PAYLOAD_MAX, Entry, IndexError, State, TABLE_ROWS};

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Entries of paths.
    Entries,
    /// States of the same paths.
    State,
    /// Offsets, lengths and digests of compressed frames.
    Frames,
    /// Digests of stored segments.
    Segments,
    /// Warnings of the run as text.
    Warnings,
}

impl BlockKind {
    pub(super) const ALL: [BlockKind; 5] = [
        BlockKind::Entries,
        BlockKind::State,
        BlockKind::Frames,
        BlockKind::Segments,
        BlockKind::Warnings,
    ];

    /// Its number in the footer.
    pub(super) fn code(self) -> u8 {
        self as u8 + 1
    }

    pub(super) fn from_code(code: u8) -> Option<BlockKind> {
        BlockKind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A full block, to be handed to [`super::IndexWriter::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub(super) kind: BlockKind,
    pub(super) payload: Vec<u8>,
    /// First path, for entries.
    pub(super) first: Vec<u8>,
    /// Number of the first row.
    pub(super) first_row: u64,
    /// Number of rows.
    pub(super) rows: u64,
}

impl Block {
    /// Returns what the block holds.
    pub fn kind(&self) -> BlockKind {
        self.kind
    }
}

/// Collects entries and states in step.
#[derive(Debug)]
pub struct EntryBlocks {
    entries: Vec<u8>,
    states: Vec<u8>,
    first: Vec<u8>,
    first_row: u64,
    rows: u64,
    entry: Entry,
    state: State,
}

impl Default for EntryBlocks {
    fn default() -> EntryBlocks {
        EntryBlocks::new()
    }
}

impl EntryBlocks {
    /// Makes an empty collector.
    pub fn new() -> EntryBlocks {
        EntryBlocks {
            entries: Vec::with_capacity(BLOCK_PAYLOAD_MAX),
            states: Vec::with_capacity(BLOCK_PAYLOAD_MAX),
            first: Vec::new(),
            first_row: 0,
            rows: 0,
            entry: Entry::new("", super::EntryKind::Directory),
            state: State::ZERO,
        }
    }

    /// Adds the rows of one path and returns the blocks that became full before it: entries and states.
    ///
    /// # Errors
    /// [`IndexError::Unwritable`] when the path isn't above the last one, isn't a plain relative path, its link or mode
    /// has no form, or the row is larger than a block. The collector is then as before.
    pub fn push(&mut self, entry: &Entry, state: &State) -> Result<Option<(Block, Block)>, IndexError> {
        let is_first_ever = self.first_row == 0 && self.rows == 0;
        if !is_first_ever && compare_paths(&self.entry.path, &entry.path).is_ge() {
            return Err(IndexError::Unwritable(
                "its path doesn't come after the one before",
            ));
        }
        check(entry)?;
        let mut full = None;
        if !self.append(entry, state) {
            full = self.flush();
            // A row that passed `check` fits into an empty block.
            self.append(entry, state);
        }
        self.remember(entry, state);
        Ok(full)
    }

    /// Returns the blocks of the rows left, if there are any.
    pub fn flush(&mut self) -> Option<(Block, Block)> {
        if self.rows == 0 {
            return None;
        }
        let block = |kind, payload, first| Block {
            kind,
            payload,
            first,
            first_row: self.first_row,
            rows: self.rows,
        };
        let fresh = || Vec::with_capacity(BLOCK_PAYLOAD_MAX);
        let entries = block(
            BlockKind::Entries,
            std::mem::replace(&mut self.entries, fresh()),
            std::mem::take(&mut self.first),
        );
        let states = block(
            BlockKind::State,
            std::mem::replace(&mut self.states, fresh()),
            Vec::new(),
        );
        self.first_row += self.rows;
        self.rows = 0;
        Some((entries, states))
    }

    /// Appends the rows, or leaves all as it was if a block would become too large.
    fn append(&mut self, entry: &Entry, state: &State) -> bool {
        let (entries, states) = (self.entries.len(), self.states.len());
        let is_first = self.rows == 0;
        put_entry(entry, (!is_first).then_some(&self.entry), &mut self.entries);
        state.put(
            if is_first { &State::ZERO } else { &self.state },
            &mut self.states,
        );
        if self.entries.len() > BLOCK_PAYLOAD_MAX || self.states.len() > BLOCK_PAYLOAD_MAX {
            self.entries.truncate(entries);
            self.states.truncate(states);
            return false;
        }
        if is_first {
            self.first.clear();
            self.first.extend_from_slice(&entry.path);
        }
        self.rows += 1;
        true
    }

    fn remember(&mut self, entry: &Entry, state: &State) {
        self.entry.path.clear();
        self.entry.path.extend_from_slice(&entry.path);
        self.entry.offset = entry.offset;
        self.entry.mtime = entry.mtime;
        self.state = *state;
    }
}

/// Largest size in bytes of all numbers of a row together.
pub(super) const NUMBERS_MAX: usize = 128;

/// Refuses what a reader would refuse.
fn check(entry: &Entry) -> Result<(), IndexError> {
    if entry.path.len() + entry.link.len() + NUMBERS_MAX > BLOCK_PAYLOAD_MAX {
        return Err(IndexError::Unwritable("it is larger than a block"));
    }
    if !is_plain(&entry.path, 0) {
        return Err(IndexError::Unwritable("its path isn't a plain relative path"));
    }
    if entry.kind == super::EntryKind::HardLink && !is_plain(&entry.link, 0) {
        return Err(IndexError::Unwritable("its link isn't a plain relative path"));
    }
    if entry.mode > 0o7777 {
        return Err(IndexError::Unwritable("its mode has more than permission bits"));
    }
    Ok(())
}

/// Rows of a table that are numbered from 0 and collected 1024 at a time.
#[derive(Debug)]
struct TableRows {
    kind: BlockKind,
    payload: Vec<u8>,
    first_row: u64,
    rows: u64,
}

impl TableRows {
    fn new(kind: BlockKind) -> TableRows {
        TableRows {
            kind,
            payload: Vec::new(),
            first_row: 0,
            rows: 0,
        }
    }

    fn flush(&mut self) -> Option<Block> {
        if self.rows == 0 {
            return None;
        }
        let (first_row, rows) = (self.first_row, self.rows);
        self.first_row += self.rows;
        self.rows = 0;
        let payload = std::mem::take(&mut self.payload);
        Some(Block {
            kind: self.kind,
            payload,
            first: Vec::new(),
            first_row,
            rows,
        })
    }

    /// Counts a row that was just appended and returns the block if it is full now.
    fn count(&mut self) -> Option<Block> {
        self.rows += 1;
        if self.rows == TABLE_ROWS as u64 {
            self.flush()
        } else {
            None
        }
    }
}

/// Collects the frames of the level's own stream, in order.
#[derive(Debug)]
pub struct FrameRows {
    table: TableRows,
    next_offset: Option<u64>,
}

impl Default for FrameRows {
    fn default() -> FrameRows {
        FrameRows::new()
    }
}

impl FrameRows {
    /// Makes an empty collector.
    pub fn new() -> FrameRows {
        FrameRows {
            table: TableRows::new(BlockKind::Frames),
            next_offset: None,
        }
    }

    /// Adds a frame: its offset and length in the compressed stream before encryption, and the SHA-256 of these bytes.
    ///
    /// # Errors
    /// [`IndexError::Unwritable`] when the frame doesn't start where the one before ended.
    pub fn push(&mut self, offset: u64, length: u32, sha256: &[u8; 32]) -> Result<Option<Block>, IndexError> {
        if self.next_offset.is_some_and(|next| next != offset) {
            return Err(IndexError::Unwritable(
                "a frame doesn't start where the one before ends",
            ));
        }
        let next = offset
            .checked_add(u64::from(length))
            .ok_or(IndexError::Unwritable("a frame's end overflows"))?;
        self.next_offset = Some(next);
        if self.table.rows == 0 {
            self.table.payload.extend_from_slice(&offset.to_le_bytes());
        }
        self.table.payload.extend_from_slice(&length.to_le_bytes());
        self.table.payload.extend_from_slice(sha256);
        Ok(self.table.count())
    }

    /// Returns the block of the rows left, if there are any.
    pub fn flush(&mut self) -> Option<Block> {
        self.table.flush()
    }
}

/// Collects the segments of the level's own data object, in order.
#[derive(Debug)]
pub struct SegmentRows {
    table: TableRows,
}

impl Default for SegmentRows {
    fn default() -> SegmentRows {
        SegmentRows::new()
    }
}

impl SegmentRows {
    /// Makes an empty collector.
    pub fn new() -> SegmentRows {
        SegmentRows {
            table: TableRows::new(BlockKind::Segments),
        }
    }

    /// Adds a segment: the digests of its stored bytes. MD5 only where the storage uses it.
    pub fn push(&mut self, sha256: &[u8; 32], md5: Option<&[u8; 16]>) -> Option<Block> {
        self.table.payload.extend_from_slice(sha256);
        self.table.payload.extend_from_slice(md5.unwrap_or(&[0; 16]));
        self.table.count()
    }

    /// Returns the block of the rows left, if there are any.
    pub fn flush(&mut self) -> Option<Block> {
        self.table.flush()
    }
}

/// Longest warning in bytes; a longer one is cut.
const WARNING_MAX: usize = 8 * 1024;

/// Collects the warnings of the run.
#[derive(Debug)]
pub struct WarningRows {
    table: TableRows,
}

impl Default for WarningRows {
    fn default() -> WarningRows {
        WarningRows::new()
    }
}

impl WarningRows {
    /// Makes an empty collector.
    pub fn new() -> WarningRows {
        WarningRows {
            table: TableRows::new(BlockKind::Warnings),
        }
    }

    /// Adds a warning, cut to 8 KiB, and returns the block that became full before it.
    pub fn push(&mut self, text: &str) -> Option<Block> {
        let text = &text[..text.floor_char_boundary(WARNING_MAX)];
        let room = BLOCK_PAYLOAD_MAX - self.table.payload.len();
        // Three bytes hold the length of 8 KiB.
        let full = if room < text.len() + 3 {
            self.table.flush()
        } else {
            None
        };
        put_unsigned(&mut self.table.payload, text.len() as u64);
        self.table.payload.extend_from_slice(text.as_bytes());
        self.table.rows += 1;
        full
    }

    /// Returns the block of the rows left, if there are any.
    pub fn flush(&mut self) -> Option<Block> {
        self.table.flush()
    }
}
