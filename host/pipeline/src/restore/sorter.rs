//! Sorts records by path in bounded memory: runs that fill it go to unlinked temporary files and are merged.
//!
//! Of several records of one path the last one that came counts, as when an archive is extracted.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use freezer_format::index::compare_paths;
use tempfile::SpooledTempFile;

/// Records that are sorted in memory, in bytes; a run that is written is about as long.
const CHUNK_BYTES: usize = 8 << 20;
/// Runs that are kept before all are merged into one: bounds open files, and a buffer for each.
const RUNS_MAX: usize = 64;
/// A short run stays in memory.
const RUN_MEMORY_BYTES: usize = 128 * 1024;
/// What is read of a run at once.
const WINDOW_BYTES: usize = 64 * 1024;
/// What a record takes in memory besides its bytes.
const RECORD_BYTES: usize = 2 * size_of::<Vec<u8>>();

/// A path and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// Takes records in any order.
#[derive(Default)]
pub(super) struct Sorter {
    chunk: Vec<Record>,
    bytes: usize,
    /// From the earliest to the latest.
    runs: Vec<Sorted>,
}

impl Sorter {
    pub(super) fn push(&mut self, record: Record) -> io::Result<()> {
        self.bytes += RECORD_BYTES + record.path.len() + record.payload.len();
        self.chunk.push(record);
        if self.bytes < CHUNK_BYTES {
            return Ok(());
        }
        self.spill()
    }

    /// Ends taking; gives all back in order.
    pub(super) fn finish(mut self) -> io::Result<Merged> {
        self.spill()?;
        Merged::new(self.runs)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.bytes = 0;
        let mut chunk = std::mem::take(&mut self.chunk);
        // Equal paths keep the order in which they came.
        chunk.sort_by(|a, b| compare_paths(&a.path, &b.path));
        let mut run = RunWriter::default();
        let mut records = chunk.into_iter().peekable();
        while let Some(record) = records.next() {
            if records.peek().is_none_or(|next| next.path != record.path) {
                run.push(&record)?;
            }
        }
        self.runs.push(run.finish()?);
        if self.runs.len() == RUNS_MAX {
            let mut all = RunWriter::default();
            let mut merged = Merged::new(std::mem::take(&mut self.runs))?;
            while let Some(record) = merged.next()? {
                all.push(&record)?;
            }
            self.runs.push(all.finish()?);
        }
        Ok(())
    }
}

/// Writes records that come in order.
pub(super) struct RunWriter {
    file: BufWriter<SpooledTempFile>,
    count: u64,
}

impl Default for RunWriter {
    fn default() -> Self {
        let file = SpooledTempFile::new(RUN_MEMORY_BYTES);
        let file = BufWriter::with_capacity(WINDOW_BYTES, file);
        Self { file, count: 0 }
    }
}

impl RunWriter {
    pub(super) fn push(&mut self, record: &Record) -> io::Result<()> {
        for bytes in [&record.path, &record.payload] {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            self.file.write_all(&length.to_le_bytes())?;
            self.file.write_all(bytes)?;
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<Sorted> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Sorted {
            file: BufReader::with_capacity(WINDOW_BYTES, file),
            left: self.count,
        })
    }
}

/// A run that is read once.
pub(super) struct Sorted {
    file: BufReader<SpooledTempFile>,
    left: u64,
}

impl Sorted {
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut part = || {
            let mut length = [0; 4];
            self.file.read_exact(&mut length)?;
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            self.file.read_exact(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let (path, payload) = (part()?, part()?);
        Ok(Some(Record { path, payload }))
    }
}

/// Several runs read together, each path once.
pub(super) struct Merged {
    /// Each run's next record; later runs stand later.
    runs: Vec<(Option<Record>, Sorted)>,
}

impl Merged {
    pub(super) fn new(runs: Vec<Sorted>) -> io::Result<Self> {
        let mut opened = Vec::with_capacity(runs.len());
        for mut run in runs {
            opened.push((run.next()?, run));
        }
        Ok(Self { runs: opened })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut least: Option<Record> = None;
        for at in 0..self.runs.len() {
            let Some(record) = &self.runs[at].0 else { continue };
            let is_least = least
                .as_ref()
                .is_none_or(|least| compare_paths(&record.path, &least.path).is_le());
            if is_least {
                least = Some(record.clone());
            }
        }
        let Some(least) = least else { return Ok(None) };
        for (next, run) in &mut self.runs {
            if next.as_ref().is_some_and(|next| next.path == least.path) {
                *next = run.next()?;
            }
        }
        Ok(Some(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_each_path_comes_in_order() {
        let mut sorter = Sorter::default();
        let count = 3000;
        // More than some chunks, so that equal paths lie in one run and in several.
        for round in 0..4u8 {
            for number in 0..count {
                let number = number * 7919 % count;
                sorter
                    .push(Record {
                        path: format!("d/{number:05}").into_bytes(),
                        payload: vec![round; 2000],
                    })
                    .unwrap();
            }
        }
        assert!(sorter.runs.len() > 1, "{} runs", sorter.runs.len());
        let mut merged = sorter.finish().unwrap();
        for number in 0..count {
            let record = merged.next().unwrap().unwrap();
            assert_eq!(record.path, format!("d/{number:05}").into_bytes());
            assert_eq!(record.payload, [3; 2000]);
        }
        assert_eq!(merged.next().unwrap(), None);
    }

    #[test]
    fn runs_are_merged_before_they_are_too_many() {
        let mut sorter = Sorter::default();
        for number in 0..2 * RUNS_MAX {
            let path = format!("{number:05}").into_bytes();
            sorter
                .push(Record {
                    path,
                    payload: vec![0; 9],
                })
                .unwrap();
            sorter.spill().unwrap();
            assert!(sorter.runs.len() < RUNS_MAX);
        }
        let mut merged = sorter.finish().unwrap();
        let mut count = 0;
        while merged.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 2 * RUNS_MAX);
    }
}
