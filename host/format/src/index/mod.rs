//! The index of a level: every live path of the tree with the level and offset where its content lies.
//!
//! ```text
//! body    = header(32) block* footer trailer(64)        little endian; uv = LEB128, sv = zigzag LEB128
//! header  = "FRZRIDX1"  u32 flags  u32 0  u64 frame size  u64 segment size
//! block   = one zstd frame of at most 64 KiB of payload
//! footer  = one zstd frame: flags, frame and segment size again, levels, table of blocks with digests and first keys
//! trailer = u64 footer offset, u32 footer length, u32 its plain length, sha256(footer)[32], u64 entries, "FRZRIDX1"
//! ```
//! Rows are sorted by [`compare_paths`], entries and their states in step. Nothing is decompressed or parsed before
//! its digest matched: manifest → trailer → footer → block. Writer and reader hold one block of each kind, the
//! table and one window, whatever the size of the tree. `docs/format.md` has the rest.

mod block;
mod entry;
mod error;
mod footer;
mod number;
mod parts;
mod path;
mod read;
mod reverse;
mod row_blocks;
mod rows;
mod tables;
mod window;
mod write;

pub use block::{Block, BlockKind, EntryBlocks, FrameRows, SegmentRows, WarningRows};
pub use entry::{Entry, EntryKind, State};
pub use error::IndexError;
pub use footer::{Header, LevelRow};
pub use parts::{Part, Parts};
pub use path::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, compare_paths, path_excess};
pub use read::{IndexReader, ReadRange};
pub use reverse::EntriesReversed;
pub use row_blocks::RowBlocks;
pub use rows::{Entries, Rows};
pub use tables::{FrameRow, Frames, SegmentRow, Segments, Warnings};
pub use write::{Finished, IndexWriter};

/// Size of the header in bytes.
pub const HEADER_BYTES: usize = 32;

/// Size of the trailer in bytes.
pub const TRAILER_BYTES: usize = 64;

/// Largest payload of a block in bytes: what a reader decompresses at once, and the price of looking up one path.
pub const BLOCK_PAYLOAD_MAX: usize = 64 * 1024;

/// Rows in a block of frames or segments.
pub const TABLE_ROWS: usize = 1024;

#[cfg(test)]
mod tests;
