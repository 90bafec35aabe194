//! Opens an index and finds rows in it.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::block::BlockKind;
use super::footer::{Footer, Trailer};
use super::window::{Sources, Tail};
use super::{Entry, Header, IndexError, LevelRow, Part, TRAILER_BYTES};

/// Largest body in bytes that is fetched at once on opening: one request instead of three for a small tree.
const WHOLE_MAX: u64 = 128 * 1024;

/// What is fetched before the footer of a larger one, in bytes: the table of frames lies there unless the archive has
/// gigabytes, and comes without a request of its own.
const TAIL_BYTES: u64 = 48 * 1024;

/// The plain body of an index object, read by ranges.
pub trait ReadRange {
    /// Reads exactly `length` bytes from `offset`; both count in the body, after decryption.
    ///
    /// # Errors
    /// Fewer bytes are there (`UnexpectedEof`), or the storage failed; whether a retry helps is the storage's matter.
    fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

impl ReadRange for Vec<u8> {
    fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = self.get(start..start.saturating_add(length));
        range
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// An open index. Rows are read by the streams it hands out; several may run at once.
#[derive(Debug)]
pub struct IndexReader<R> {
    pub(super) sources: Sources<R>,
    pub(super) footer: Footer,
    entries: u64,
}

impl<R: ReadRange> IndexReader<R> {
    /// Opens the index whose body is `body_bytes` long.
    ///
    /// `trailer` comes from an authenticated manifest and is what the rows are trusted by. Without it the trailer is
    /// read from the body: that detects damage, not forgery.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when digests or lengths don't match, [`IndexError::Newer`], [`IndexError::Io`].
    pub fn open(
        own: R,
        body_bytes: u64,
        trailer: Option<&[u8; TRAILER_BYTES]>,
    ) -> Result<IndexReader<R>, IndexError> {
        let mut sources = Sources {
            own,
            places: Default::default(),
            tail: Tail::default(),
        };
        let trailer_offset = body_bytes
            .checked_sub(TRAILER_BYTES as u64)
            .ok_or(IndexError::Damaged("it is shorter than a trailer"))?;
        if body_bytes <= WHOLE_MAX {
            sources.keep_from(0, body_bytes)?;
        }
        let trailer = match trailer {
            Some(bytes) => *bytes,
            None => sources
                .read(0, trailer_offset, TRAILER_BYTES as u64)?
                .try_into()
                .map_err(|_| IndexError::Damaged("it is shorter than a trailer"))?,
        };
        let trailer = Trailer::parse(&trailer, body_bytes)?;
        if body_bytes > WHOLE_MAX {
            sources.keep_from(trailer.footer_offset.saturating_sub(TAIL_BYTES), trailer_offset)?;
        }
        let stored = sources.read(0, trailer.footer_offset, u64::from(trailer.footer_length))?;
        if <[u8; 32]>::from(Sha256::digest(&stored)) != trailer.footer_sha256 {
            return Err(IndexError::Damaged("the footer's digest doesn't match"));
        }
        let footer = Footer::parse(
            decompress_footer(&stored, trailer.footer_plain)?,
            trailer.footer_offset,
        )?;
        Ok(IndexReader {
            sources,
            footer,
            entries: trailer.entries,
        })
    }

    /// Returns what the index says of itself.
    pub fn header(&self) -> &Header {
        &self.footer.header
    }

    /// Returns the levels of the chain, ascending, the index's own last.
    pub fn levels(&self) -> &[LevelRow] {
        &self.footer.levels
    }

    /// Returns the number of paths.
    pub fn entry_count(&self) -> u64 {
        self.entries
    }

    /// Returns the levels in whose indexes blocks of this one lie; empty for all that are written today.
    pub fn places(&self) -> Vec<u32> {
        let mut levels: Vec<u32> = BlockKind::ALL
            .iter()
            .flat_map(|&kind| self.footer.blocks(kind))
            .filter_map(|block| block.place.checked_sub(1))
            .collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// Gives the body of another level's index, for the blocks that lie in it.
    pub fn add_place(&mut self, level: u32, source: R) {
        self.sources.places.insert(level, source);
    }

    /// Finds the row of a path, reading at most one block.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::Newer`], [`IndexError::MissingPlace`], [`IndexError::Io`].
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, IndexError> {
        let mut rows = self.parts(vec![Part::only(path)])?;
        rows.next().transpose()
    }
}

/// Decompresses the footer, never more than it claims to be.
fn decompress_footer(stored: &[u8], plain: u32) -> Result<Vec<u8>, IndexError> {
    const BROKEN: IndexError = IndexError::Damaged("the footer can't be decompressed");
    let decoder = zstd::stream::read::Decoder::with_buffer(stored)?.single_frame();
    let mut bytes = Vec::new();
    decoder
        .take(u64::from(plain) + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| BROKEN)?;
    if bytes.len() != plain as usize {
        return Err(BROKEN);
    }
    Ok(bytes)
}
