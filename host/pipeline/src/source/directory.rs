//! Lists a directory in order, in constant memory.
//!
//! Names are gathered in one buffer and sorted by bytes. Beyond [`MEMORY_BYTES`] of names they go as sorted runs into
//! an unlinked temporary file and are merged from there, as many as there may be.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, RawDir, SeekFrom as Position, seek};

/// Bytes of names (and their places) held in memory: about 200 000 names of 30 bytes.
const MEMORY_BYTES: usize = 8 << 20;

/// Buffer for the kernel's directory entries; larger ones don't make it faster.
const ENTRIES_BYTES: usize = 64 << 10;

/// Buffer per run while merging; runs are 8 MiB each, so a million names need four.
const RUN_BUFFER_BYTES: usize = 64 << 10;

/// The names of a directory, ascending by bytes, `.` and `..` left out.
pub(crate) enum Names {
    Memory(SortedNames),
    Spilled(MergedRuns),
}

/// Names in memory, each ended by a zero byte and led by one that tells its kind.
#[derive(Default)]
pub(crate) struct SortedNames {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    next: usize,
    has_unknown_kinds: bool,
}

/// Sorted runs in a temporary file.
pub(crate) struct MergedRuns {
    runs: Vec<Run>,
    current: Vec<u8>,
}

struct Run {
    reader: BufReader<Section>,
    /// The run's next name with its zero byte; empty at the end of the run.
    head: Vec<u8>,
}

/// A part of a file that several runs share.
struct Section {
    file: std::sync::Arc<File>,
    position: u64,
    end: u64,
}

/// Buffers that listing needs, kept from one directory to the next.
pub(crate) struct Lister {
    entries: Box<[MaybeUninit<u8>]>,
    memory_bytes: usize,
}

impl Default for Lister {
    fn default() -> Self {
        Self::with_memory(MEMORY_BYTES)
    }
}

impl Lister {
    /// Makes a lister that spills names beyond so many bytes.
    pub(crate) fn with_memory(memory_bytes: usize) -> Self {
        Self {
            entries: Box::new_uninit_slice(ENTRIES_BYTES),
            memory_bytes,
        }
    }

    /// Reads all names of an open directory, from its beginning.
    pub(crate) fn list(&mut self, directory: impl AsFd) -> Result<Names, ListError> {
        seek(&directory, Position::Start(0)).map_err(ListError::Directory)?;
        let mut names = SortedNames::default();
        let mut spill: Option<Spill> = None;
        let mut entries = RawDir::new(directory.as_fd(), &mut self.entries);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(ListError::Directory)?;
            let name = entry.file_name().to_bytes_with_nul();
            if matches!(name, b".\0" | b"..\0") {
                continue;
            }
            names.push(name, entry.file_type());
            if names.memory_bytes() > self.memory_bytes {
                let spill = match &mut spill {
                    Some(spill) => spill,
                    None => spill.insert(Spill::new().map_err(ListError::Spool)?),
                };
                spill.add(&mut names).map_err(ListError::Spool)?;
            }
        }
        let Some(mut spill) = spill else {
            names.sort();
            return Ok(Names::Memory(names));
        };
        spill.add(&mut names).map_err(ListError::Spool)?;
        Ok(Names::Spilled(spill.merge().map_err(ListError::Spool)?))
    }
}

impl Lister {
    /// Reads all names of a directory just opened; `None` if they take more memory than this lister has.
    pub(crate) fn list_small(&mut self, directory: impl AsFd) -> rustix::io::Result<Option<SortedNames>> {
        let mut names = SortedNames::default();
        let mut entries = RawDir::new(directory.as_fd(), &mut self.entries);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if matches!(name, b".\0" | b"..\0") {
                continue;
            }
            names.push(name, entry.file_type());
            if names.memory_bytes() > self.memory_bytes {
                return Ok(None);
            }
        }
        names.sort();
        Ok(Some(names))
    }
}

/// Why a directory can't be listed.
#[derive(Debug)]
pub(crate) enum ListError {
    /// The directory itself fails.
    Directory(rustix::io::Errno),
    /// The temporary file fails.
    Spool(io::Error),
}

impl Names {
    /// Lends the next name.
    pub(crate) fn next(&mut self) -> io::Result<Option<&CStr>> {
        let name = match self {
            Self::Memory(names) => names.next(),
            Self::Spilled(runs) => runs.next()?,
        };
        Ok(name.and_then(|name| CStr::from_bytes_with_nul(name).ok()))
    }
}

impl SortedNames {
    fn push(&mut self, name: &[u8], kind: FileType) {
        self.has_unknown_kinds |= kind == FileType::Unknown;
        self.bytes.push(u8::from(kind == FileType::Directory));
        // The buffer is spilled long before offsets could exceed 32 bits.
        self.starts
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(name);
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<u32>()
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        // Names end with their zero byte, the smallest there is, so what follows in the buffer decides nothing.
        self.starts
            .sort_unstable_by(|a, b| bytes[*a as usize..].cmp(&bytes[*b as usize..]));
    }

    /// Lends the next name with its zero byte.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let start = *self.starts.get(self.next)?;
        self.next += 1;
        Some(self.at(start))
    }

    /// How many names there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Whether the kernel said of every name what it is.
    pub(super) fn kinds_are_known(&self) -> bool {
        !self.has_unknown_kinds
    }

    /// Whether the name at this place in the order was one of a directory.
    pub(super) fn is_directory(&self, place: usize) -> bool {
        let start = self.starts.get(place).map_or(0, |start| *start as usize);
        start > 0 && self.bytes[start - 1] == 1
    }

    /// All names, whether lent already or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.starts
            .iter()
            .filter_map(|start| CStr::from_bytes_with_nul(self.at(*start)).ok())
    }

    fn at(&self, start: u32) -> &[u8] {
        let rest = &self.bytes[start as usize..];
        // Each name was put in with its zero byte.
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
        &rest[..=end]
    }
}

/// Runs being written.
struct Spill {
    file: BufWriter<File>,
    ends: Vec<u64>,
    written: u64,
}

impl Spill {
    fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile()?),
            ends: Vec::new(),
            written: 0,
        })
    }

    /// Writes the names as one run and clears them.
    fn add(&mut self, names: &mut SortedNames) -> io::Result<()> {
        names.sort();
        while let Some(name) = names.next() {
            self.file.write_all(name)?;
            self.written += name.len() as u64;
        }
        self.ends.push(self.written);
        *names = SortedNames::default();
        Ok(())
    }

    fn merge(self) -> io::Result<MergedRuns> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        let file = std::sync::Arc::new(file);
        let mut start = 0;
        let mut runs = Vec::new();
        for end in self.ends {
            let section = Section {
                file: std::sync::Arc::clone(&file),
                position: start,
                end,
            };
            let mut run = Run {
                reader: BufReader::with_capacity(RUN_BUFFER_BYTES, section),
                head: Vec::new(),
            };
            run.advance()?;
            runs.push(run);
            start = end;
        }
        Ok(MergedRuns {
            runs,
            current: Vec::new(),
        })
    }
}

impl MergedRuns {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let with_head = self.runs.iter_mut().filter(|run| !run.head.is_empty());
        let Some(least) = with_head.min_by(|a, b| a.head.cmp(&b.head)) else {
            return Ok(None);
        };
        std::mem::swap(&mut self.current, &mut least.head);
        least.advance()?;
        Ok(Some(&self.current))
    }
}

impl Run {
    fn advance(&mut self) -> io::Result<()> {
        self.head.clear();
        self.reader.read_until(0, &mut self.head)?;
        Ok(())
    }
}

impl io::Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..length], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(mut names: Names) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| names.next().unwrap().map(|name| name.to_bytes().to_vec())).collect()
    }

    #[test]
    fn names_come_sorted_whether_spilled_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for number in 0..2000_u32 {
            let name = format!(
                "{:x}{}",
                number.wrapping_mul(2_654_435_761),
                if number % 3 == 0 { "!" } else { "" }
            );
            std::fs::write(directory.path().join(&name), b"").unwrap();
            expected.insert(name.into_bytes());
        }
        let handle = File::open(directory.path()).unwrap();
        let expected: Vec<Vec<u8>> = expected.into_iter().collect();
        for memory_bytes in [MEMORY_BYTES, 5000, 1] {
            let mut lister = Lister::with_memory(memory_bytes);
            let names = lister.list(&handle).map_err(|_| "list").unwrap();
            assert_eq!(matches!(names, Names::Spilled(_)), memory_bytes != MEMORY_BYTES);
            assert!(all(names) == expected, "with {memory_bytes} bytes of memory");
        }
    }
}
