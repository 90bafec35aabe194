//! The parent level's rows, looked up directory by directory.
//!
//! Both the walk and the rows are in the archive's order, but a directory is judged as a whole before what lies below
//! it, so the lookup jumps over subtrees: by comparison within a block, by the footer's first paths between blocks.
//! A few decoded blocks are kept; each is decoded about once per level of directories that it spans.

use std::cmp::Ordering;
use std::rc::Rc;

use freezer_format::index::{Entry, EntryKind, IndexReader, ReadRange, RowBlocks, State, compare_paths};
use freezer_format::time::Time;

use crate::channel::Halt;
use crate::error::BackupError;

/// Decoded blocks that are kept: one per level of directories being walked, in the usual case. 0.5 MiB each.
const CACHED_BLOCKS: usize = 8;

/// A row of the parent's index, its path apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) kind: EntryKind,
    pub(super) is_unreadable: bool,
    pub(super) is_inexact: bool,
    pub(super) is_unindexed: bool,
    pub(super) level: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) state: State,
    path: (u32, u32),
    link: (u32, u32),
}

/// The rows of one block.
#[derive(Default)]
struct RowBlock {
    rows: Vec<Row>,
    text: Vec<u8>,
}

impl RowBlock {
    fn text(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.text[start as usize..end as usize]
    }

    fn path(&self, row: usize) -> &[u8] {
        self.text(self.rows[row].path)
    }

    fn push(&mut self, entry: &Entry, state: &State) {
        let path = self.add(&entry.path);
        let link = self.add(&entry.link);
        self.rows.push(Row {
            kind: entry.kind,
            is_unreadable: entry.unreadable,
            is_inexact: entry.inexact,
            is_unindexed: entry.unindexed,
            level: entry.level,
            offset: entry.offset,
            size: entry.size,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            state: *state,
            path,
            link,
        });
    }

    fn add(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        (start, self.text.len() as u32)
    }
}

/// The parent level's rows.
pub(crate) struct IndexParent<'a, R> {
    reader: &'a IndexReader<R>,
    blocks: RowBlocks<'a, R>,
    /// Most recently used last.
    cache: Vec<(usize, Rc<RowBlock>)>,
    /// Rows that the walk has found again.
    matched: u64,
}

impl<'a, R: ReadRange> IndexParent<'a, R> {
    pub(super) fn new(reader: &'a IndexReader<R>) -> Result<Self, BackupError> {
        let blocks = reader.row_blocks().map_err(BackupError::ParentIndex)?;
        Ok(Self {
            reader,
            blocks,
            cache: Vec::new(),
            matched: 0,
        })
    }

    /// The number of the level that the rows are of.
    pub(super) fn level(&self) -> u32 {
        self.reader.levels().last().map_or(0, |level| level.level)
    }

    /// Rows that the walk hasn't found again.
    pub(super) fn unmatched(&self) -> u64 {
        self.reader.entry_count().saturating_sub(self.matched)
    }

    /// Counts a row as found again.
    pub(super) fn count_match(&mut self) {
        self.matched += 1;
    }

    /// Finds the row of one path.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Entry>, BackupError> {
        self.reader.find(path).map_err(BackupError::ParentIndex)
    }

    /// Shows all rows below a directory, in order, and counts them as found again.
    pub(super) fn subtree(
        &mut self,
        directory: &[u8],
        mut visit: impl FnMut(&Entry, &State) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut number = self.blocks.holding(directory);
        while number < self.blocks.count() {
            let mut result = Ok(());
            let mut is_past = false;
            let mut matched = 0;
            let read = self.blocks.read(number, |entry, state| {
                if is_below(&entry.path, directory) {
                    matched += 1;
                    if result.is_ok() {
                        result = visit(entry, state);
                    }
                } else {
                    is_past |= compare_paths(&entry.path, directory).is_gt();
                }
            });
            read.map_err(BackupError::ParentIndex)?;
            result?;
            self.matched += matched;
            if is_past {
                break;
            }
            number += 1;
        }
        Ok(())
    }

    /// Opens the direct children of a directory.
    pub(super) fn children(&mut self, directory: &[u8]) -> Result<ChildRows, BackupError> {
        let number = self.blocks.holding(directory);
        let mut rows = ChildRows {
            directory: directory.to_vec(),
            block: None,
            number,
            row: 0,
        };
        if self.blocks.count() > 0 {
            let block = self.block(number)?;
            rows.row = block
                .rows
                .partition_point(|row| compare_paths(block.text(row.path), directory).is_le());
            rows.block = Some(block);
        }
        Ok(rows)
    }

    /// An empty block: the oldest one's memory, once the cache is full and nobody looks into it any more.
    fn spare_block(&mut self) -> RowBlock {
        let oldest = (self.cache.len() >= CACHED_BLOCKS).then(|| self.cache.remove(0).1);
        let mut block = oldest.and_then(Rc::into_inner).unwrap_or_default();
        block.rows.clear();
        block.text.clear();
        block
    }

    fn block(&mut self, number: usize) -> Result<Rc<RowBlock>, BackupError> {
        if let Some(at) = self.cache.iter().position(|(cached, _)| *cached == number) {
            let hit = self.cache.remove(at);
            let block = Rc::clone(&hit.1);
            self.cache.push(hit);
            return Ok(block);
        }
        let mut block = self.spare_block();
        self.blocks
            .read(number, |entry, state| block.push(entry, state))
            .map_err(BackupError::ParentIndex)?;
        let block = Rc::new(block);
        self.cache.push((number, Rc::clone(&block)));
        Ok(block)
    }
}

/// The direct children of one directory, ascending.
pub(super) struct ChildRows {
    directory: Vec<u8>,
    block: Option<Rc<RowBlock>>,
    number: usize,
    row: usize,
}

/// A row with the text that belongs to it.
pub(super) struct FoundRow {
    block: Rc<RowBlock>,
    row: usize,
}

impl FoundRow {
    /// The row.
    pub(super) fn row(&self) -> &Row {
        &self.block.rows[self.row]
    }

    /// What a link points to; empty for all else.
    pub(super) fn link(&self) -> &[u8] {
        self.block.text(self.row().link)
    }
}

impl ChildRows {
    /// Goes forward to the child of this name. Names must be asked for in ascending order.
    pub(super) fn find<R: ReadRange>(
        &mut self,
        parent: &mut IndexParent<'_, R>,
        name: &[u8],
    ) -> Result<Option<FoundRow>, BackupError> {
        while let Some(block) = self.load(parent)? {
            let path = block.path(self.row);
            if !is_below(path, &self.directory) {
                self.block = None;
                return Ok(None);
            }
            let prefix = if self.directory.is_empty() {
                0
            } else {
                self.directory.len() + 1
            };
            let below = &path[prefix..];
            // A child without a row of its own can't be in a sound index; what lies below it is passed over.
            let child = below.split(|byte| *byte == b'/').next().unwrap_or(below);
            match child.cmp(name) {
                Ordering::Less => self.skip(parent, prefix + child.len())?,
                Ordering::Equal if child.len() == below.len() => {
                    let found = FoundRow {
                        block: Rc::clone(&block),
                        row: self.row,
                    };
                    self.skip(parent, path.len())?;
                    return Ok(Some(found));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Goes behind the current row and all that lie below the first `length` bytes of its path.
    fn skip<R: ReadRange>(
        &mut self,
        parent: &mut IndexParent<'_, R>,
        length: usize,
    ) -> Result<(), BackupError> {
        let Some(block) = self.block.clone() else {
            return Ok(());
        };
        let child = &block.path(self.row)[..length];
        self.row += 1;
        if self.row < block.rows.len() {
            if !is_below(block.path(self.row), child) {
                return Ok(());
            }
            let later = &block.rows[self.row..];
            self.row += later.partition_point(|row| is_below(block.text(row.path), child));
        }
        if self.row < block.rows.len() {
            return Ok(());
        }
        // `/` sorts as 0, so a byte of 1 is the least that can follow the child's subtree.
        let after = [child, &[1]].concat();
        let number = parent.blocks.holding(&after);
        if number > self.number {
            let block = parent.block(number)?;
            self.row = block
                .rows
                .partition_point(|row| compare_paths(block.text(row.path), &after).is_lt());
            self.number = number;
            self.block = Some(block);
        }
        Ok(())
    }

    /// Lends the block of the current row; `None` at the end of the index.
    fn load<R: ReadRange>(
        &mut self,
        parent: &mut IndexParent<'_, R>,
    ) -> Result<Option<Rc<RowBlock>>, BackupError> {
        while let Some(block) = &self.block {
            if self.row < block.rows.len() {
                break;
            }
            self.number += 1;
            self.row = 0;
            let is_there = self.number < parent.blocks.count();
            self.block = if is_there {
                Some(parent.block(self.number)?)
            } else {
                None
            };
        }
        Ok(self.block.clone())
    }
}

/// Says whether `path` lies below `directory`.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) if directory.is_empty() => !rest.is_empty(),
        Some(rest) => rest.first() == Some(&b'/'),
        None => false,
    }
}
