//! The numbered tables of an index: frames and segments of the level's own data object, and the run's warnings.

use super::block::BlockKind;
use super::footer::BlockRef;
use super::number::Take;
use super::window::BlockStream;
use super::{IndexError, IndexReader, ReadRange};

/// Bytes of a frame's row; a block begins with the offset of its first frame, 8 bytes.
const FRAME_ROW: usize = 4 + 32;
const FRAME_HEAD: usize = 8;

/// Bytes of a segment's row.
const SEGMENT_ROW: usize = 32 + 16;

/// One compressed frame of the level's own archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRow {
    /// Offset of its first byte in the compressed stream before encryption; an encrypted object holds it 16 bytes later.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u32,
    /// SHA-256 of these bytes before encryption.
    pub sha256: [u8; 32],
}

/// One segment of the level's own data object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRow {
    /// SHA-256 of its stored bytes.
    pub sha256: [u8; 32],
    /// MD5 of its stored bytes, where it was computed.
    pub md5: Option<[u8; 16]>,
}

impl<R: ReadRange> IndexReader<R> {
    /// Returns the number of frames, reading at most one block.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::MissingPlace`], [`IndexError::Io`].
    pub fn frame_count(&self) -> Result<u64, IndexError> {
        match self.footer.blocks(BlockKind::Frames).last() {
            None => Ok(0),
            Some(block) => {
                let rows = parse_frames(&self.sources.payload(block)?)?.len();
                Ok(block.first_row.saturating_add(rows as u64))
            }
        }
    }

    /// Returns a frame, reading one block; `None` above the last. For frames in a row, [`IndexReader::frames_from`]
    /// reads each block once.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::MissingPlace`], [`IndexError::Io`].
    pub fn frame(&self, number: u64) -> Result<Option<FrameRow>, IndexError> {
        self.frames_from(number)?.next().transpose()
    }

    /// Streams the frames from a number on.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn frames_from(&self, number: u64) -> Result<Frames<'_, R>, IndexError> {
        let blocks = Blocks::starting_at(self, BlockKind::Frames, number)?;
        let skip = number.saturating_sub(blocks.next_row());
        Ok(Frames {
            blocks,
            rows: Vec::new().into_iter(),
            skip,
        })
    }

    /// Streams all segments.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn segments(&self) -> Result<Segments<'_, R>, IndexError> {
        let blocks = Blocks::starting_at(self, BlockKind::Segments, 0)?;
        Ok(Segments {
            blocks,
            rows: Vec::new().into_iter(),
        })
    }

    /// Streams the warnings of the run.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn warnings(&self) -> Result<Warnings<'_, R>, IndexError> {
        let blocks = Blocks::starting_at(self, BlockKind::Warnings, 0)?;
        Ok(Warnings {
            blocks,
            rows: Vec::new().into_iter(),
        })
    }
}

/// The blocks of a table in order, their row numbers checked.
struct Blocks<'a, R> {
    stream: BlockStream<'a, R>,
    blocks: &'a [BlockRef],
    payload: Vec<u8>,
}

impl<'a, R: ReadRange> Blocks<'a, R> {
    fn starting_at(
        reader: &'a IndexReader<R>,
        kind: BlockKind,
        row: u64,
    ) -> Result<Blocks<'a, R>, IndexError> {
        let blocks = reader.footer.blocks(kind);
        let after = blocks.partition_point(|block| block.first_row <= row);
        let blocks = &blocks[after.saturating_sub(1)..];
        Ok(Blocks {
            stream: BlockStream::new(&reader.sources)?,
            blocks,
            payload: Vec::new(),
        })
    }

    /// Number of the first row of the next block.
    fn next_row(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.first_row)
    }

    /// Fetches the next block and parses its rows; `None` after the last.
    fn next<T>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> Result<Vec<T>, IndexError>,
    ) -> Result<Option<Vec<T>>, IndexError> {
        let Some((block, later)) = self.blocks.split_first() else {
            return Ok(None);
        };
        self.stream.fetch(block, later.iter(), &mut self.payload)?;
        let rows = parse(&self.payload)?;
        let end = block.first_row.checked_add(rows.len() as u64);
        if rows.is_empty() || later.first().is_some_and(|next| Some(next.first_row) != end) {
            return Err(IndexError::Damaged("a table's rows aren't numbered without gaps"));
        }
        self.blocks = later;
        Ok(Some(rows))
    }

    /// Ends the stream, after an error.
    fn stop(&mut self) {
        self.blocks = &[];
    }
}

/// Frames of the level's own archive in order.
pub struct Frames<'a, R> {
    blocks: Blocks<'a, R>,
    rows: std::vec::IntoIter<FrameRow>,
    skip: u64,
}

impl<R: ReadRange> Iterator for Frames<'_, R> {
    type Item = Result<FrameRow, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rows.next() {
                Some(_) if self.skip > 0 => self.skip -= 1,
                Some(row) => return Some(Ok(row)),
                None => match refill(&mut self.blocks, parse_frames)? {
                    Ok(rows) => self.rows = rows,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

/// Segments of the level's own data object in order.
pub struct Segments<'a, R> {
    blocks: Blocks<'a, R>,
    rows: std::vec::IntoIter<SegmentRow>,
}

impl<R: ReadRange> Iterator for Segments<'_, R> {
    type Item = Result<SegmentRow, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rows.next() {
                Some(row) => return Some(Ok(row)),
                None => match refill(&mut self.blocks, parse_segments)? {
                    Ok(rows) => self.rows = rows,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

/// Warnings of the run in order.
pub struct Warnings<'a, R> {
    blocks: Blocks<'a, R>,
    rows: std::vec::IntoIter<String>,
}

impl<R: ReadRange> Iterator for Warnings<'_, R> {
    type Item = Result<String, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rows.next() {
                Some(text) => return Some(Ok(text)),
                None => match refill(&mut self.blocks, parse_warnings)? {
                    Ok(rows) => self.rows = rows,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

type Refill<T> = Option<Result<std::vec::IntoIter<T>, IndexError>>;

/// Fetches the rows of the next block; after an error the stream is over.
fn refill<R: ReadRange, T>(
    blocks: &mut Blocks<'_, R>,
    parse: impl FnOnce(&[u8]) -> Result<Vec<T>, IndexError>,
) -> Refill<T> {
    match blocks.next(parse) {
        Ok(rows) => rows.map(|rows| Ok(rows.into_iter())),
        Err(error) => {
            blocks.stop();
            Some(Err(error))
        }
    }
}

fn parse_frames(payload: &[u8]) -> Result<Vec<FrameRow>, IndexError> {
    if payload.len() < FRAME_HEAD || !(payload.len() - FRAME_HEAD).is_multiple_of(FRAME_ROW) {
        return Err(IndexError::Damaged("a block of frames has a wrong length"));
    }
    let mut take = Take::new(payload, 0);
    let mut offset = u64::from_le_bytes(take.array()?);
    let mut rows = Vec::with_capacity((payload.len() - FRAME_HEAD) / FRAME_ROW);
    while !take.is_empty() {
        let length = u32::from_le_bytes(take.array()?);
        rows.push(FrameRow {
            offset,
            length,
            sha256: take.array()?,
        });
        offset = offset
            .checked_add(u64::from(length))
            .ok_or(IndexError::Damaged("a frame's end overflows"))?;
    }
    Ok(rows)
}

fn parse_segments(payload: &[u8]) -> Result<Vec<SegmentRow>, IndexError> {
    if !payload.len().is_multiple_of(SEGMENT_ROW) {
        return Err(IndexError::Damaged("a block of segments has a wrong length"));
    }
    let mut take = Take::new(payload, 0);
    let mut rows = Vec::with_capacity(payload.len() / SEGMENT_ROW);
    while !take.is_empty() {
        let sha256 = take.array()?;
        let md5: [u8; 16] = take.array()?;
        rows.push(SegmentRow {
            sha256,
            md5: (md5 != [0; 16]).then_some(md5),
        });
    }
    Ok(rows)
}

fn parse_warnings(payload: &[u8]) -> Result<Vec<String>, IndexError> {
    let mut take = Take::new(payload, 0);
    let mut rows = Vec::new();
    while !take.is_empty() {
        let text =
            std::str::from_utf8(take.counted()?).map_err(|_| IndexError::Damaged("a warning isn't text"))?;
        rows.push(text.to_owned());
    }
    Ok(rows)
}
