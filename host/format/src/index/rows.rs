//! Streams of rows in order: entries, and entries with states.
//!
//! Each stream lends its current row (`advance`, `entry`) so that a pass over millions of rows allocates nothing per
//! row; as iterators they hand out clones.

use std::ops::Range;

use super::block::BlockKind;
use super::entry::EntryCursor;
use super::number::Take;
use super::window::BlockStream;
use super::{Entry, IndexError, IndexReader, ReadRange, State};

impl<R: ReadRange> IndexReader<R> {
    /// Streams all entries in order.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn entries(&self) -> Result<Entries<'_, R>, IndexError> {
        let all = 0..self.footer.blocks(BlockKind::Entries).len();
        Entries::new(self, vec![all], true)
    }

    /// Streams all entries with their states in order.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn rows(&self) -> Result<Rows<'_, R>, IndexError> {
        Ok(Rows {
            entries: self.entries()?,
            states: Vec::new(),
            at: 0,
            state: State::ZERO,
        })
    }
}

impl<R> IndexReader<R> {
    fn first_path(&self, block: usize) -> &[u8] {
        let block = self.footer.blocks(BlockKind::Entries).get(block);
        block.map_or(&[], |block| self.footer.first_path(block))
    }
}

/// Entries of an index in order.
pub struct Entries<'a, R> {
    reader: &'a IndexReader<R>,
    stream: BlockStream<'a, R>,
    /// Number of the block that comes next, and where the stretch of blocks ends that it lies in.
    block: usize,
    stretch_end: usize,
    /// The stretches after it, the next one last.
    stretches: Vec<Range<usize>>,
    payload: Vec<u8>,
    at: usize,
    cursor: EntryCursor,
    count: u64,
    /// Whether the count of rows is to be held against the trailer at the end: not when rows were skipped.
    is_whole: bool,
    failed: bool,
}

impl<'a, R: ReadRange> Entries<'a, R> {
    /// Streams the rows of stretches of blocks, which rise and don't overlap.
    pub(super) fn new(
        reader: &'a IndexReader<R>,
        mut stretches: Vec<Range<usize>>,
        is_whole: bool,
    ) -> Result<Entries<'a, R>, IndexError> {
        stretches.reverse();
        let first = stretches.pop().unwrap_or_default();
        Ok(Entries {
            reader,
            stream: BlockStream::new(&reader.sources)?,
            block: first.start,
            stretch_end: first.end,
            stretches,
            payload: Vec::new(),
            at: 0,
            cursor: EntryCursor::new(),
            count: 0,
            is_whole,
            failed: false,
        })
    }

    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::Newer`], [`IndexError::MissingPlace`], [`IndexError::Io`]. The stream is
    /// over then.
    pub fn advance(&mut self) -> Result<bool, IndexError> {
        self.advance_with(None)
    }

    /// Lends the row that [`Entries::advance`] went to last.
    pub fn entry(&self) -> &Entry {
        &self.cursor.entry
    }

    /// Goes to the next row and, with each new block of entries, fetches that of states into `states`.
    fn advance_with(&mut self, states: Option<&mut Vec<u8>>) -> Result<bool, IndexError> {
        if self.failed {
            return Ok(false);
        }
        let result = self.step(states);
        self.failed = !matches!(result, Ok(true));
        result
    }

    fn step(&mut self, states: Option<&mut Vec<u8>>) -> Result<bool, IndexError> {
        let mut is_first = false;
        if self.at >= self.payload.len() {
            if !self.next_block(states)? {
                return match self.is_whole && self.count != self.reader.entry_count() {
                    true => Err(IndexError::Damaged(
                        "it holds another number of rows than it says",
                    )),
                    false => Ok(false),
                };
            }
            is_first = true;
        }
        let mut take = Take::new(&self.payload, self.at);
        self.cursor.take(&mut take, is_first, None)?;
        if is_first && self.cursor.entry.path != self.reader.first_path(self.block - 1) {
            return Err(IndexError::Damaged(
                "a block doesn't begin with the path the footer names",
            ));
        }
        self.at = take.at();
        self.count += 1;
        Ok(true)
    }

    /// Fetches the next block; `false` when there is none.
    fn next_block(&mut self, states: Option<&mut Vec<u8>>) -> Result<bool, IndexError> {
        if self.block == self.stretch_end {
            let Some(next) = self.stretches.pop() else {
                return Ok(false);
            };
            (self.block, self.stretch_end) = (next.start, next.end);
        }
        let footer = &self.reader.footer;
        let blocks = footer.blocks(BlockKind::Entries);
        let Some((block, later)) = blocks[self.block..self.stretch_end].split_first() else {
            return Ok(false);
        };
        match states {
            None => {
                let further = self.stretches.iter().rev().flat_map(|part| &blocks[part.clone()]);
                self.stream
                    .fetch(block, later.iter().chain(further), &mut self.payload)?;
            }
            Some(payload) => {
                let states = &footer.blocks(BlockKind::State)[self.block..];
                let (state, later_states) = states
                    .split_first()
                    .ok_or(IndexError::Damaged("entries and states aren't in step"))?;
                if state.first_row != self.count {
                    return Err(IndexError::Damaged("entries and states aren't in step"));
                }
                let both = || {
                    later
                        .iter()
                        .zip(later_states)
                        .flat_map(|(entry, state)| [entry, state])
                };
                self.stream
                    .fetch(block, std::iter::once(state).chain(both()), &mut self.payload)?;
                self.stream.fetch(state, both(), payload)?;
            }
        }
        self.block += 1;
        self.at = 0;
        if self.payload.is_empty() {
            return Err(IndexError::Damaged("a block holds no row"));
        }
        Ok(true)
    }
}

impl<R: ReadRange> Iterator for Entries<'_, R> {
    type Item = Result<Entry, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => Some(Ok(self.entry().clone())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Entries and states of an index in order.
pub struct Rows<'a, R> {
    entries: Entries<'a, R>,
    states: Vec<u8>,
    at: usize,
    state: State,
}

impl<R: ReadRange> Rows<'_, R> {
    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::Newer`], [`IndexError::MissingPlace`], [`IndexError::Io`]. The stream is
    /// over then.
    pub fn advance(&mut self) -> Result<bool, IndexError> {
        let block = self.entries.block;
        if !self.entries.advance_with(Some(&mut self.states))? {
            return Ok(false);
        }
        let result = self.take_state(self.entries.block != block);
        self.entries.failed = result.is_err();
        result.map(|()| true)
    }

    fn take_state(&mut self, is_first: bool) -> Result<(), IndexError> {
        if is_first {
            self.at = 0;
            self.state = State::ZERO;
        }
        let mut take = Take::new(&self.states, self.at);
        self.state = State::take(&self.state, &mut take)?;
        self.at = take.at();
        if self.entries.at >= self.entries.payload.len() && self.at < self.states.len() {
            return Err(IndexError::Damaged("entries and states aren't in step"));
        }
        Ok(())
    }

    /// Makes block `number` the next one.
    pub(super) fn seek_block(&mut self, number: usize) -> Result<(), IndexError> {
        let states = self.entries.reader.footer.blocks(BlockKind::State);
        let state = states
            .get(number)
            .ok_or(IndexError::Damaged("it has fewer blocks than asked for"))?;
        // The order of paths holds within the stream that is left behind, not across the jump.
        self.entries.cursor = EntryCursor::new();
        self.entries.count = state.first_row;
        self.entries.block = number;
        self.entries.stretch_end = states.len();
        self.entries.payload.clear();
        self.entries.at = 0;
        self.entries.is_whole = false;
        self.entries.failed = false;
        Ok(())
    }

    /// Says whether the row that [`Rows::advance`] went to last is the last one of its block.
    pub(super) fn is_block_over(&self) -> bool {
        self.entries.at >= self.entries.payload.len()
    }

    /// Lends the entry of the row that [`Rows::advance`] went to last.
    pub fn entry(&self) -> &Entry {
        self.entries.entry()
    }

    /// Returns the state of the row that [`Rows::advance`] went to last.
    pub fn state(&self) -> State {
        self.state
    }
}

impl<R: ReadRange> Iterator for Rows<'_, R> {
    type Item = Result<(Entry, State), IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => Some(Ok((self.entry().clone(), self.state()))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
