//! Finds wanted rows: only the blocks that can hold one are read, those that lie close together by one read.

use std::ops::Range;

use super::block::BlockKind;
use super::path::{compare_paths, is_within};
use super::{Entries, Entry, IndexError, IndexReader, ReadRange};

/// What is wanted of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    path: Vec<u8>,
    has_below: bool,
}

impl Part {
    /// The row of a path alone.
    #[must_use]
    pub fn only(path: &[u8]) -> Part {
        let (path, has_below) = (path.to_vec(), false);
        Part { path, has_below }
    }

    /// The row of a path and all rows below it.
    #[must_use]
    pub fn below(path: &[u8]) -> Part {
        let (path, has_below) = (path.to_vec(), true);
        Part { path, has_below }
    }

    fn holds(&self, path: &[u8]) -> bool {
        match self.has_below {
            true => is_within(path, &self.path),
            false => path == self.path,
        }
    }

    /// Whether neither `path` nor anything after it belongs to this part.
    fn is_over_at(&self, path: &[u8]) -> bool {
        compare_paths(&self.path, path).is_lt() && !self.holds(path)
    }
}

impl<R: ReadRange> IndexReader<R> {
    /// Streams the entries of all parts in order, each once; nothing for those that aren't there.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn parts(&self, mut parts: Vec<Part>) -> Result<Parts<'_, R>, IndexError> {
        parts.sort_by(|a, b| compare_paths(&a.path, &b.path).then(a.has_below.cmp(&b.has_below)));
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for part in &parts {
            let blocks = self.blocks_of(part);
            match stretches.last_mut() {
                _ if blocks.is_empty() => {}
                Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
                _ => stretches.push(blocks),
            }
        }
        Ok(Parts {
            entries: Entries::new(self, stretches, false)?,
            parts,
            at: 0,
            is_over: false,
        })
    }

    /// Streams the entry of a path and all below it, in order; nothing if there are none.
    ///
    /// # Errors
    /// [`IndexError::Io`] when no decompressor can be made. Errors of reading come with the rows.
    pub fn subtree(&self, path: &[u8]) -> Result<Parts<'_, R>, IndexError> {
        self.parts(vec![Part::below(path)])
    }

    /// The blocks that can hold rows of a part.
    fn blocks_of(&self, part: &Part) -> Range<usize> {
        let blocks = self.footer.blocks(BlockKind::Entries);
        let first = |path: &[u8]| compare_paths(path, &part.path).is_le();
        let after = blocks.partition_point(|block| first(self.footer.first_path(block)));
        let end = blocks.partition_point(|block| {
            let path = self.footer.first_path(block);
            first(path) || part.holds(path)
        });
        after.saturating_sub(1)..end
    }
}

/// The entries of some parts of an index, in order.
pub struct Parts<'a, R> {
    entries: Entries<'a, R>,
    parts: Vec<Part>,
    /// Number of the part that rows are held against.
    at: usize,
    is_over: bool,
}

impl<R: ReadRange> Parts<'_, R> {
    /// Goes to the next row; `false` at the end.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], [`IndexError::Newer`], [`IndexError::MissingPlace`], [`IndexError::Io`]. The stream is
    /// over then.
    pub fn advance(&mut self) -> Result<bool, IndexError> {
        while !self.is_over && self.entries.advance()? {
            let path = &self.entries.entry().path;
            while self.parts.get(self.at).is_some_and(|part| part.is_over_at(path)) {
                self.at += 1;
            }
            match self.parts.get(self.at) {
                Some(part) if part.holds(path) => return Ok(true),
                // Rows beside a part share its blocks.
                Some(_) => {}
                None => break,
            }
        }
        self.is_over = true;
        Ok(false)
    }

    /// Lends the row that [`Parts::advance`] went to last.
    pub fn entry(&self) -> &Entry {
        self.entries.entry()
    }
}

impl<R: ReadRange> Iterator for Parts<'_, R> {
    type Item = Result<Entry, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => Some(Ok(self.entry().clone())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    use crate::index::{Block, EntryBlocks, EntryKind, FrameRows, Header, IndexWriter, State};
    use proptest::prelude::*;

    use super::*;

    /// A body that notes the length of each read.
    #[derive(Clone, Default)]
    struct Noting {
        body: Vec<u8>,
        reads: Rc<RefCell<Vec<usize>>>,
    }

    impl ReadRange for Noting {
        fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
            self.reads.borrow_mut().push(length);
            self.body.read_range(offset, length)
        }
    }

    /// An index of directories with files, larger than what is fetched whole; its directories.
    fn index(directories: usize, files: usize) -> (IndexReader<Noting>, Vec<Vec<u8>>) {
        let header = Header {
            flags: 0,
            frame_size: 1,
            segment_size: 1,
        };
        let mut writer = IndexWriter::new(Vec::new(), &header).unwrap();
        let mut blocks = EntryBlocks::new();
        let mut write = |both: Option<(Block, Block)>| {
            for block in both.into_iter().flat_map(|(entries, states)| [entries, states]) {
                writer.write(block).unwrap();
            }
        };
        let mut paths = Vec::new();
        for directory in 0..directories {
            let path = format!("{directory:04}").into_bytes();
            write(
                blocks
                    .push(&Entry::new(path.clone(), EntryKind::Directory), &State::ZERO)
                    .unwrap(),
            );
            for file in 0..files {
                // Numbers that don't compress, so that the index is as large as one of many names.
                let mixed = (directory * files + file).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let file = format!("{directory:04}/{file:06}-{mixed:016x}");
                write(
                    blocks
                        .push(&Entry::new(file, EntryKind::File), &State::ZERO)
                        .unwrap(),
                );
            }
            paths.push(path);
        }
        write(blocks.flush());
        let mut frames = FrameRows::new();
        assert!(frames.push(0, 9, &[1; 32]).unwrap().is_none());
        writer.write(frames.flush().unwrap()).unwrap();
        let finished = writer.finish(&[]).unwrap();
        assert!(finished.body_bytes > 256 << 10, "{} bytes", finished.body_bytes);
        let body = Noting {
            body: finished.inner,
            ..Noting::default()
        };
        let reader = IndexReader::open(body, finished.body_bytes, Some(&finished.trailer)).unwrap();
        (reader, paths)
    }

    fn reads(reader: &IndexReader<Noting>) -> Vec<usize> {
        reader.sources.own.reads.take()
    }

    #[test]
    fn a_file_and_the_directory_above_it_cost_one_read() {
        let (reader, directories) = index(40, 1000);
        reads(&reader);
        let wanted = [&directories[23][..], b"/000007"].concat();
        let mut rows = reader.subtree(&directories[23]).unwrap();
        let file = loop {
            assert!(rows.advance().unwrap());
            if rows.entry().path.starts_with(&wanted) {
                break rows.entry().path.clone();
            }
        };
        reads(&reader);
        let parts = vec![Part::below(&file), Part::only(&directories[23])];
        let found: Vec<_> = reader
            .parts(parts)
            .unwrap()
            .map(|row| row.unwrap().path)
            .collect();
        assert_eq!(found, [directories[23].clone(), file]);
        let reads = reads(&reader);
        assert!(reads.len() == 1 && reads[0] < 64 << 10, "{reads:?}");
    }

    #[test]
    fn one_row_costs_one_block_and_the_frames_nothing() {
        let (reader, directories) = index(40, 1000);
        assert_eq!(reads(&reader).len(), 1, "opening it");
        assert!(reader.find(&directories[11]).unwrap().is_some());
        let after = reads(&reader);
        assert!(after.len() == 1 && after[0] < 64 << 10, "{after:?}");
        assert_eq!(reader.frame(0).unwrap().unwrap().length, 9);
        assert_eq!(reads(&reader), Vec::<usize>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn parts_are_what_a_pass_over_all_rows_finds(
            picks in proptest::collection::vec((0usize..9000, any::<bool>(), any::<bool>()), 0..6),
        ) {
            let (reader, _) = index(30, 1000);
            let all: Vec<_> = reader.entries().unwrap().map(|row| row.unwrap().path).collect();
            let parts: Vec<Part> = picks
                .iter()
                .map(|(at, is_there, has_below)| {
                    let mut path = all[at * 3 % all.len()].clone();
                    if !is_there {
                        path.push(b'!');
                    }
                    Part { path, has_below: *has_below }
                })
                .collect();
            let expected: Vec<_> = all
                .iter()
                .filter(|path| parts.iter().any(|part| part.holds(path)))
                .cloned()
                .collect();
            let found: Vec<_> = reader.parts(parts).unwrap().map(|row| row.unwrap().path).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
