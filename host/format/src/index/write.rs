//! Writes an index: header, blocks as they come, footer, trailer.
//!
//! The caller collects rows ([`super::EntryBlocks`] and its siblings) and hands over full blocks in any mixture of
//! kinds; the writer keeps about 60 bytes for each.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::block::{Block, BlockKind};
use super::footer::{BlockRef, FOOTER_MAX, Trailer, footer_bytes, put_block};
use super::{HEADER_BYTES, Header, IndexError, LevelRow, TRAILER_BYTES};

/// Of the rows of a system's files, 3 gains 1 % and costs a third more time, 5 gains 4 % and costs nearly three times as much.
const COMPRESSION_LEVEL: i32 = 2;

/// Writes an index to `inner`, front to back.
pub struct IndexWriter<W> {
    inner: W,
    header: Header,
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    offset: u64,
    /// Rows of the footer's table.
    table: Vec<u8>,
    blocks: u64,
    /// Rows written so far, by kind.
    rows: [u64; 5],
}

impl<W> std::fmt::Debug for IndexWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexWriter")
            .field("offset", &self.offset)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

/// A finished index.
#[derive(Debug)]
pub struct Finished<W> {
    /// The writer below, not flushed.
    pub inner: W,
    /// The last bytes of the body; they go into the manifest.
    pub trailer: [u8; TRAILER_BYTES],
    /// Length of the body in bytes.
    pub body_bytes: u64,
}

impl<W: Write> IndexWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`IndexError::Io`] of the writer below.
    pub fn new(mut inner: W, header: &Header) -> Result<IndexWriter<W>, IndexError> {
        inner.write_all(&header.to_bytes())?;
        let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
        // The SHA-256 of the footer's table covers every stored byte already.
        compressor.include_checksum(false)?;
        Ok(IndexWriter {
            inner,
            header: *header,
            compressor,
            compressed: Vec::new(),
            offset: HEADER_BYTES as u64,
            table: Vec::new(),
            blocks: 0,
            rows: [0; 5],
        })
    }

    /// Compresses and writes a block. Blocks of one kind must come in the order in which they were filled.
    ///
    /// # Errors
    /// [`IndexError::Unwritable`] when a block is out of order, [`IndexError::Io`] of the writer below.
    pub fn write(&mut self, block: Block) -> Result<(), IndexError> {
        let rows = &mut self.rows[block.kind as usize];
        if *rows != block.first_row {
            return Err(IndexError::Unwritable("its block is out of order"));
        }
        *rows += block.rows;
        let (length, sha256) = self.write_compressed(&block.payload)?;
        let row = BlockRef::new(
            block.kind,
            self.offset - u64::from(length),
            length,
            sha256,
            block.first_row,
        );
        put_block(&row, &block.first, &mut self.table);
        self.blocks += 1;
        Ok(())
    }

    /// Writes footer and trailer. `levels` are those of the chain, ascending, the index's own last.
    ///
    /// # Errors
    /// [`IndexError::Unwritable`] when entries and states differ in number or the footer is too large,
    /// [`IndexError::Io`] of the writer below.
    pub fn finish(mut self, levels: &[LevelRow]) -> Result<Finished<W>, IndexError> {
        let entries = self.rows[BlockKind::Entries as usize];
        if entries != self.rows[BlockKind::State as usize] {
            return Err(IndexError::Unwritable("entries and states aren't in step"));
        }
        let footer = footer_bytes(&self.header, levels, self.blocks, &self.table);
        let footer_plain = u32::try_from(footer.len())
            .ok()
            .filter(|&bytes| bytes <= FOOTER_MAX)
            .ok_or(IndexError::Unwritable("its footer is too large"))?;
        let footer_offset = self.offset;
        let (footer_length, footer_sha256) = self.write_compressed(&footer)?;
        let trailer = Trailer {
            footer_offset,
            footer_length,
            footer_plain,
            footer_sha256,
            entries,
        }
        .to_bytes();
        self.inner.write_all(&trailer)?;
        Ok(Finished {
            inner: self.inner,
            trailer,
            body_bytes: self.offset + TRAILER_BYTES as u64,
        })
    }

    /// Writes `plain` as one zstd frame; returns its length and digest.
    fn write_compressed(&mut self, plain: &[u8]) -> Result<(u32, [u8; 32]), IndexError> {
        self.compressed.clear();
        self.compressed
            .reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.compressor.compress_to_buffer(plain, &mut self.compressed)?;
        let length = u32::try_from(self.compressed.len())
            .map_err(|_| IndexError::Unwritable("a block is too large"))?;
        self.inner.write_all(&self.compressed)?;
        self.offset += u64::from(length);
        Ok((length, Sha256::digest(&self.compressed).into()))
    }
}
