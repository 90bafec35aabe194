//! Reads the rows of single blocks in any order, for readers that compare a tree with the index directory by directory.
//!
//! Reading blocks in rising order fetches ahead as the streams do; going back costs a read of its own.

use super::block::BlockKind;
use super::path::compare_paths;
use super::{Entry, IndexError, IndexReader, ReadRange, Rows, State};

impl<R: ReadRange> IndexReader<R> {
    /// Opens the rows by blocks.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made.
    pub fn row_blocks(&self) -> Result<RowBlocks<'_, R>, IndexError> {
        Ok(RowBlocks {
            reader: self,
            rows: self.rows()?,
        })
    }
}

/// Entries and states of an index, block by block.
pub struct RowBlocks<'a, R> {
    reader: &'a IndexReader<R>,
    rows: Rows<'a, R>,
}

impl<R: ReadRange> RowBlocks<'_, R> {
    /// Returns the number of blocks.
    pub fn count(&self) -> usize {
        self.reader.footer.blocks(BlockKind::Entries).len()
    }

    /// Returns the block that holds `path` if any does: the last one whose first path doesn't come after it.
    pub fn holding(&self, path: &[u8]) -> usize {
        let footer = &self.reader.footer;
        let blocks = footer.blocks(BlockKind::Entries);
        blocks
            .partition_point(|block| compare_paths(footer.first_path(block), path).is_le())
            .saturating_sub(1)
    }

    /// Shows each row of block `number` to `visit`, in order.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] (also when there is no such block), [`IndexError::Newer`],
    /// [`IndexError::MissingPlace`], [`IndexError::Io`].
    pub fn read(&mut self, number: usize, mut visit: impl FnMut(&Entry, &State)) -> Result<(), IndexError> {
        self.rows.seek_block(number)?;
        while self.rows.advance()? {
            visit(self.rows.entry(), &self.rows.state());
            if self.rows.is_block_over() {
                return Ok(());
            }
        }
        Err(IndexError::Damaged("it has fewer blocks than asked for"))
    }
}
