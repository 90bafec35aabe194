//! Entries from the last to the first, a block at a time: modes and times of directories are set in this order.
//!
//! Paths of a block aren't kept whole, since rows below a long common path would need much more memory than the
//! block itself; each row keeps what the row after it cut off, so the path is rebuilt going backwards.

use super::block::BlockKind;
use super::entry::EntryCursor;
use super::number::Take;
use super::path::compare_paths;
use super::window::BlockStream;
use super::{Entry, IndexError, IndexReader, ReadRange};

impl<R: ReadRange> IndexReader<R> {
    /// Streams all entries from the last to the first.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn entries_reversed(&self) -> Result<EntriesReversed<'_, R>, IndexError> {
        Ok(EntriesReversed {
            reader: self,
            stream: BlockStream::new(&self.sources)?,
            block: self.footer.blocks(BlockKind::Entries).len(),
            payload: Vec::new(),
            rows: Vec::new(),
            tails: Vec::new(),
            entry: Entry::new("", super::EntryKind::Directory),
            cut: None,
            count: 0,
            is_over: false,
        })
    }
}

/// A row of the block at hand; `entry` has no path.
struct Row {
    entry: Entry,
    cut: Cut,
}

/// How the path before is made of a row's path.
#[derive(Clone, Copy)]
struct Cut {
    /// Bytes that both share.
    shared: usize,
    /// Where the rest of the path before starts in `tails`; it is the last one there.
    tail: usize,
}

/// Entries of an index from the last to the first.
pub struct EntriesReversed<'a, R> {
    reader: &'a IndexReader<R>,
    stream: BlockStream<'a, R>,
    /// Number of blocks before the one at hand.
    block: usize,
    payload: Vec<u8>,
    /// Rows of the block at hand that weren't handed out yet.
    rows: Vec<Row>,
    tails: Vec<u8>,
    entry: Entry,
    /// How the path of the next row is made of that in `entry`; `None` when it stands there already.
    cut: Option<Cut>,
    count: u64,
    is_over: bool,
}

impl<R: ReadRange> EntriesReversed<'_, R> {
    /// Goes to the row before; `false` after the first one.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::Newer`], [`IndexError::MissingPlace`], [`IndexError::Io`]. The stream is
    /// over then.
    pub fn advance(&mut self) -> Result<bool, IndexError> {
        if self.is_over {
            return Ok(false);
        }
        let result = self.step();
        self.is_over = !matches!(result, Ok(true));
        result
    }

    /// Lends the row that [`EntriesReversed::advance`] went to last.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    fn step(&mut self) -> Result<bool, IndexError> {
        if self.rows.is_empty() {
            if self.block == 0 {
                return match self.count == self.reader.entry_count() {
                    true => Ok(false),
                    false => Err(IndexError::Damaged(
                        "it holds another number of rows than it says",
                    )),
                };
            }
            self.read_block()?;
        }
        let Some(row) = self.rows.pop() else {
            return Ok(false);
        };
        let mut path = std::mem::take(&mut self.entry.path);
        if let Some(cut) = self.cut {
            path.truncate(cut.shared);
            path.extend_from_slice(&self.tails[cut.tail..]);
            self.tails.truncate(cut.tail);
        }
        self.entry = Entry { path, ..row.entry };
        self.cut = Some(row.cut);
        self.count += 1;
        Ok(true)
    }

    /// Decodes the block before the one at hand; `entry` then has the path of its last row.
    fn read_block(&mut self) -> Result<(), IndexError> {
        let footer = &self.reader.footer;
        let blocks = footer.blocks(BlockKind::Entries);
        self.block -= 1;
        let earlier = blocks[..self.block].iter().rev();
        self.stream
            .fetch(&blocks[self.block], earlier, &mut self.payload)?;
        self.tails.clear();
        self.cut = None;
        let mut cursor = EntryCursor::new();
        let mut at = 0;
        while at < self.payload.len() {
            let tail = self.tails.len();
            let mut take = Take::new(&self.payload, at);
            let is_first = at == 0;
            cursor.take(&mut take, is_first, Some(&mut self.tails))?;
            if is_first && cursor.entry.path != footer.first_path(&blocks[self.block]) {
                return Err(IndexError::Damaged(
                    "a block doesn't begin with the path the footer names",
                ));
            }
            at = take.at();
            // The path stays with the cursor; the rest of the row moves out, and the next row needs its numbers.
            let path = std::mem::take(&mut cursor.entry.path);
            let entry = cursor.entry.clone();
            cursor.entry.path = path;
            self.rows.push(Row {
                entry,
                cut: Cut {
                    shared: cursor.shared,
                    tail,
                },
            });
        }
        let follows = blocks.get(self.block + 1).map(|next| footer.first_path(next));
        if follows.is_some_and(|next| compare_paths(&cursor.entry.path, next).is_ge()) {
            return Err(IndexError::Damaged("paths aren't in order"));
        }
        self.entry.path = cursor.entry.path;
        match self.rows.is_empty() {
            true => Err(IndexError::Damaged("a block holds no row")),
            false => Ok(()),
        }
    }
}

impl<R: ReadRange> Iterator for EntriesReversed<'_, R> {
    type Item = Result<Entry, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => Some(Ok(self.entry().clone())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
