//! Header, footer and trailer: what makes a reader find and trust the blocks.
//!
//! ```text
//! footer = u32 flags, u64 frame size, u64 segment size                      the header again, under the digest
//!          uv count, per level: uv level, sv time, manifest sha256[32], uv frame size, u8 compression
//!          uv count, per block: u8 kind, uv place, uv offset, uv length, sha256[32], entries: uv length, first path
//!                                                                                    others: uv first row number
//! ```
//! `place` is 0 for a block of this object, else 1 + the level whose index holds it. Compression: 0 none, 1 gzip,
//! 2 bzip2, 3 xz, 4 zstd. Blocks stand in the order of their rows, kinds interleaved.

use std::ops::Range;

use super::block::BlockKind;
use super::number::{Take, put_signed, put_unsigned};
use super::path::{compare_paths, is_plain};
use super::{BLOCK_PAYLOAD_MAX, HEADER_BYTES, IndexError, TRAILER_BYTES};
use crate::compression::Compression;
use crate::name::Timestamp;

const MAGIC: &[u8; 8] = b"FRZRIDX1";

/// Largest plain footer in bytes: blocks of some hundred million paths. It bounds what a hostile index can claim.
pub(super) const FOOTER_MAX: u32 = 64 * 1024 * 1024;

/// Largest stored footer in bytes: zstd adds less than this to one that doesn't shrink.
const FOOTER_STORED_MAX: u32 = FOOTER_MAX + FOOTER_MAX / 128;

/// Largest stored block in bytes: zstd adds less than this to a payload that doesn't shrink.
const BLOCK_STORED_MAX: u64 = BLOCK_PAYLOAD_MAX as u64 + 1024;

/// What an index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Marks: [`Header::STREAM`], or none. Unknown ones are refused.
    pub flags: u32,
    /// Bytes of tar, or of the stream, per frame of the level's own archive: frame number = offset ÷ this.
    pub frame_size: u64,
    /// Bytes per segment of the level's own data object.
    pub segment_size: u64,
}

impl Header {
    /// The data object is no archive but the content of the one file that the index lists.
    pub const STREAM: u32 = 1;

    /// True if the data object is a plain stream.
    pub fn is_stream(&self) -> bool {
        self.flags & Self::STREAM != 0
    }

    /// Returns the header as it begins the body.
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.frame_size.to_le_bytes());
        bytes[24..].copy_from_slice(&self.segment_size.to_le_bytes());
        bytes
    }
}

/// One level of the chain, 0 up to the index's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelRow {
    /// The level.
    pub level: u32,
    /// Its time.
    pub time: Timestamp,
    /// SHA-256 of its manifest's first line; zeros for the index's own level, whose manifest comes later.
    pub manifest_sha256: [u8; 32],
    /// Bytes of tar per frame of its archive.
    pub frame_size: u64,
    /// Compression of its archive.
    pub compression: Compression,
}

const COMPRESSIONS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Xz,
    Compression::Zstd,
];

/// Least bytes of a stored block: a compressor's frame header, one block header and a byte.
const BLOCK_STORED_MIN: u32 = 8;

/// Where a block lies and what its bytes must hash to.
#[derive(Debug, Clone)]
pub(super) struct BlockRef {
    pub(super) kind: BlockKind,
    /// 0 = this object, else 1 + the level whose index holds it.
    pub(super) place: u32,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) sha256: [u8; 32],
    /// First row number; not for entries.
    pub(super) first_row: u64,
    /// Where the first path stands in the footer; only for entries.
    pub(super) path: Range<usize>,
}

/// Appends the row of a block to the table.
pub(super) fn put_block(block: &BlockRef, first: &[u8], out: &mut Vec<u8>) {
    out.push(block.kind.code());
    put_unsigned(out, u64::from(block.place));
    put_unsigned(out, block.offset);
    put_unsigned(out, u64::from(block.length));
    out.extend_from_slice(&block.sha256);
    if block.kind == BlockKind::Entries {
        put_unsigned(out, first.len() as u64);
        out.extend_from_slice(first);
    } else {
        put_unsigned(out, block.first_row);
    }
}

impl BlockRef {
    /// Describes a block to be put into the table.
    pub(super) fn new(
        kind: BlockKind,
        offset: u64,
        length: u32,
        sha256: [u8; 32],
        first_row: u64,
    ) -> BlockRef {
        BlockRef {
            kind,
            place: 0,
            offset,
            length,
            sha256,
            first_row,
            path: 0..0,
        }
    }
}

/// Joins the parts of a plain footer. `table` holds `blocks` rows of [`put_block`].
pub(super) fn footer_bytes(header: &Header, levels: &[LevelRow], blocks: u64, table: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.len() + levels.len() * 56 + 40);
    out.extend_from_slice(&header.flags.to_le_bytes());
    out.extend_from_slice(&header.frame_size.to_le_bytes());
    out.extend_from_slice(&header.segment_size.to_le_bytes());
    put_unsigned(&mut out, levels.len() as u64);
    for row in levels {
        put_unsigned(&mut out, u64::from(row.level));
        put_signed(&mut out, i128::from(row.time.0));
        out.extend_from_slice(&row.manifest_sha256);
        put_unsigned(&mut out, row.frame_size);
        out.push(
            COMPRESSIONS
                .iter()
                .position(|&one| one == row.compression)
                .unwrap_or(0) as u8,
        );
    }
    put_unsigned(&mut out, blocks);
    out.extend_from_slice(table);
    out
}

/// The parsed footer: the table of blocks, by kind.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) header: Header,
    pub(super) levels: Vec<LevelRow>,
    bytes: Vec<u8>,
    /// Blocks of each kind in the order of their rows, at the place `kind as usize`.
    blocks: [Vec<BlockRef>; 5],
}

impl Footer {
    /// Parses a plain footer whose digest matched. `end` is the offset in the body where the blocks end.
    pub(super) fn parse(bytes: Vec<u8>, end: u64) -> Result<Footer, IndexError> {
        let mut take = Take::new(&bytes, 0);
        let header = Header {
            flags: u32::from_le_bytes(take.array()?),
            frame_size: u64::from_le_bytes(take.array()?),
            segment_size: u64::from_le_bytes(take.array()?),
        };
        if header.flags & !Header::STREAM != 0 {
            return Err(IndexError::Newer("the header has an unknown flag"));
        }
        let levels = take_levels(&mut take)?;
        let mut blocks: [Vec<BlockRef>; 5] = Default::default();
        let mut free = HEADER_BYTES as u64;
        for _ in 0..take.unsigned()? {
            let block = take_block(&mut take, &bytes, end)?;
            if block.place == 0 {
                // Blocks lie in the order of the table, so their number is bounded by the object's size.
                if block.offset < free || block.length < BLOCK_STORED_MIN {
                    return Err(IndexError::Damaged("blocks overlap"));
                }
                free = block.offset + u64::from(block.length);
            }
            blocks[block.kind as usize].push(block);
        }
        if !take.is_empty() {
            return Err(IndexError::Newer("the footer has more than a table of blocks"));
        }
        let footer = Footer {
            header,
            levels,
            bytes,
            blocks,
        };
        footer.check()?;
        Ok(footer)
    }

    /// Returns the blocks of a kind in the order of their rows.
    pub(super) fn blocks(&self, kind: BlockKind) -> &[BlockRef] {
        &self.blocks[kind as usize]
    }

    /// Returns the first path of a block of entries.
    pub(super) fn first_path(&self, block: &BlockRef) -> &[u8] {
        &self.bytes[block.path.clone()]
    }

    fn check(&self) -> Result<(), IndexError> {
        let entries = self.blocks(BlockKind::Entries);
        if entries.len() != self.blocks(BlockKind::State).len() {
            return Err(IndexError::Damaged("entries and states aren't in step"));
        }
        let rising =
            |pair: &[BlockRef]| compare_paths(self.first_path(&pair[0]), self.first_path(&pair[1])).is_lt();
        if !entries.windows(2).all(rising) {
            return Err(IndexError::Damaged("the first paths of blocks aren't in order"));
        }
        for kind in [
            BlockKind::State,
            BlockKind::Frames,
            BlockKind::Segments,
            BlockKind::Warnings,
        ] {
            let blocks = self.blocks(kind);
            let starts_at_0 = blocks.first().is_none_or(|block| block.first_row == 0);
            if !starts_at_0
                || !blocks
                    .windows(2)
                    .all(|pair| pair[0].first_row < pair[1].first_row)
            {
                return Err(IndexError::Damaged("the first rows of blocks aren't in order"));
            }
        }
        Ok(())
    }
}

fn take_levels(take: &mut Take<'_>) -> Result<Vec<LevelRow>, IndexError> {
    let mut levels: Vec<LevelRow> = Vec::new();
    for _ in 0..take.unsigned()? {
        let level = take.unsigned_u32()?;
        let time = i64::try_from(take.signed()?)
            .map_err(|_| IndexError::Damaged("a level's time is out of range"))?;
        let manifest_sha256 = take.array()?;
        let frame_size = take.unsigned()?;
        let compression = *COMPRESSIONS
            .get(usize::from(take.byte()?))
            .ok_or(IndexError::Newer("a level has an unknown compression"))?;
        if levels.last().is_some_and(|last| last.level >= level) {
            return Err(IndexError::Damaged("levels aren't in order"));
        }
        levels.push(LevelRow {
            level,
            time: Timestamp(time),
            manifest_sha256,
            frame_size,
            compression,
        });
    }
    Ok(levels)
}

fn take_block(take: &mut Take<'_>, bytes: &[u8], end: u64) -> Result<BlockRef, IndexError> {
    let kind = BlockKind::from_code(take.byte()?)
        .ok_or(IndexError::Newer("the footer lists a block of unknown kind"))?;
    let place = take.unsigned_u32()?;
    let offset = take.unsigned()?;
    let length = take.unsigned_u32()?;
    let sha256 = take.array()?;
    let stop = offset
        .checked_add(u64::from(length))
        .ok_or(IndexError::Damaged("a block's end overflows"))?;
    if u64::from(length) > BLOCK_STORED_MAX || offset < HEADER_BYTES as u64 || (place == 0 && stop > end) {
        return Err(IndexError::Damaged("a block lies outside of the index"));
    }
    let (mut first_row, mut path) = (0, 0..0);
    if kind == BlockKind::Entries {
        let length = take.counted()?.len();
        path = take.at() - length..take.at();
        if !is_plain(&bytes[path.clone()], 0) {
            return Err(IndexError::Damaged("a path leads out of the tree"));
        }
    } else {
        first_row = take.unsigned()?;
    }
    Ok(BlockRef {
        kind,
        place,
        offset,
        length,
        sha256,
        first_row,
        path,
    })
}

/// The last 64 bytes of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) footer_offset: u64,
    pub(super) footer_length: u32,
    /// Length of the footer after decompression.
    pub(super) footer_plain: u32,
    /// Digest of the footer as it is stored, compressed.
    pub(super) footer_sha256: [u8; 32],
    pub(super) entries: u64,
}

impl Trailer {
    pub(super) fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.footer_length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.footer_plain.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.footer_sha256);
        bytes[48..56].copy_from_slice(&self.entries.to_le_bytes());
        bytes[56..].copy_from_slice(MAGIC);
        bytes
    }

    /// Parses a trailer and holds it against the length of the body.
    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES], body_bytes: u64) -> Result<Trailer, IndexError> {
        if &bytes[56..] != MAGIC {
            return Err(IndexError::Damaged("it doesn't end as an index does"));
        }
        let mut take = Take::new(bytes, 0);
        let trailer = Trailer {
            footer_offset: u64::from_le_bytes(take.array()?),
            footer_length: u32::from_le_bytes(take.array()?),
            footer_plain: u32::from_le_bytes(take.array()?),
            footer_sha256: take.array()?,
            entries: u64::from_le_bytes(take.array()?),
        };
        let end = trailer
            .footer_offset
            .checked_add(u64::from(trailer.footer_length));
        let fits = end.and_then(|end| end.checked_add(TRAILER_BYTES as u64)) == Some(body_bytes);
        let is_large = trailer.footer_plain > FOOTER_MAX || trailer.footer_length > FOOTER_STORED_MAX;
        if !fits || is_large || trailer.footer_offset < HEADER_BYTES as u64 {
            return Err(IndexError::Damaged("its length doesn't fit its trailer"));
        }
        Ok(trailer)
    }
}
