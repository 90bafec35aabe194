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

#[cfg(test)]
mod tests {
    use crate::index::{EntryBlocks, EntryKind, Header, IndexWriter};
    use crate::time::Time;

    use super::*;

    fn index(rows: u64) -> IndexReader<Vec<u8>> {
        let header = Header {
            flags: 0,
            frame_size: 1,
            segment_size: 1,
        };
        let mut writer = IndexWriter::new(Vec::new(), &header).unwrap();
        let mut blocks = EntryBlocks::new();
        let mut write = |both: Option<(crate::index::Block, crate::index::Block)>| {
            for block in both.into_iter().flat_map(|(entries, states)| [entries, states]) {
                writer.write(block).unwrap();
            }
        };
        for row in 0..rows {
            let entry = Entry {
                offset: row,
                ..Entry::new(format!("{row:08}"), EntryKind::File)
            };
            let ctime = Time {
                seconds: 1,
                nanoseconds: 0,
            };
            write(
                blocks
                    .push(
                        &entry,
                        &State {
                            inode: row,
                            ctime,
                            nlink: 1,
                            racy: false,
                        },
                    )
                    .unwrap(),
            );
        }
        write(blocks.flush());
        let finished = writer.finish(&[]).unwrap();
        IndexReader::open(finished.inner, finished.body_bytes, Some(&finished.trailer)).unwrap()
    }

    #[test]
    fn blocks_are_read_in_any_order() {
        let reader = index(50_000);
        let mut blocks = reader.row_blocks().unwrap();
        let count = blocks.count();
        assert!(count > 5, "{count} blocks");
        let forth = (0..count).chain((0..count).rev());
        for number in forth {
            let mut rows = Vec::new();
            blocks
                .read(number, |entry, state| {
                    rows.push((entry.path.clone(), entry.offset, state.inode))
                })
                .unwrap();
            for (path, offset, inode) in &rows {
                assert_eq!(*path, format!("{offset:08}").into_bytes());
                assert_eq!(offset, inode);
                assert_eq!(blocks.holding(path), number);
            }
        }
        assert!(blocks.read(count, |_, _| {}).is_err());
    }
}
