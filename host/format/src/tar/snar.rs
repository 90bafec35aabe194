//! GNU tar's snapshot file (`--listed-incremental`), format 2: the original's state between levels.
//!
//! ```text
//! "GNU tar-1.34-2\n"  seconds 0  nanoseconds 0                     start of the walk, before the first stat
//! per directory, in any order:
//!   "0" 0 (1 = on NFS)  mtime seconds 0  mtime nanoseconds 0  device 0  inode 0  name 0  (type name 0)*  0 0
//! ```
//! Numbers are decimal text, names start with `.`, types are those of a dumpdir. Written while walking, read as a
//! stream: neither end holds more than one entry. Source: GNU tar 1.34 manual, "Format of the Incremental Snapshot Files".

use std::io::{self, BufRead, Write};

use super::TarError;
use crate::time::Time;

/// What the snapshot file says of a directory, its names apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnarDirectory {
    /// Whether it lies on NFS, where device numbers aren't stable.
    pub nfs: bool,
    /// Its modification time.
    pub mtime: Time,
    /// Its device number.
    pub device: u64,
    /// Its inode number.
    pub inode: u64,
    /// Its path below the root: no `./` before it; the root is empty.
    pub path: Vec<u8>,
}

/// What a name in a directory was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnarKind {
    /// `D`: a directory.
    Directory,
    /// `N`: a file that was not dumped at that level.
    Kept,
    /// `Y`: a file that was dumped at that level.
    Dumped,
}

/// Writes a snapshot file while the tree is walked.
#[derive(Debug)]
pub struct SnarWriter<W> {
    inner: W,
}

impl<W: Write> SnarWriter<W> {
    /// Writes the head. `started` is the clock before the first stat of the walk.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn new(mut inner: W, started: Time) -> io::Result<SnarWriter<W>> {
        inner.write_all(MAGIC)?;
        write!(inner, "{}\0{}\0", started.seconds, started.nanoseconds)?;
        Ok(SnarWriter { inner })
    }

    /// Begins a directory; its names follow by [`SnarWriter::name`] and end with [`SnarWriter::end`].
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn begin(&mut self, directory: &SnarDirectory) -> io::Result<()> {
        let mtime = directory.mtime;
        write!(
            self.inner,
            "{}\0{}\0{}\0{}\0{}\0.",
            u8::from(directory.nfs),
            mtime.seconds,
            mtime.nanoseconds,
            directory.device,
            directory.inode
        )?;
        if !directory.path.is_empty() {
            self.inner.write_all(b"/")?;
            self.inner.write_all(&directory.path)?;
        }
        self.inner.write_all(b"\0")
    }

    /// Adds a name to the directory begun last. GNU tar expects names sorted by bytes.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn name(&mut self, kind: SnarKind, name: &[u8]) -> io::Result<()> {
        let byte = match kind {
            SnarKind::Directory => b"D",
            SnarKind::Kept => b"N",
            SnarKind::Dumped => b"Y",
        };
        self.inner.write_all(byte)?;
        self.inner.write_all(name)?;
        self.inner.write_all(b"\0")
    }

    /// Ends the directory begun last.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn end(&mut self) -> io::Result<()> {
        self.inner.write_all(b"\0\0")
    }

    /// Ends the file and returns the writer below, not flushed.
    pub fn finish(self) -> W {
        self.inner
    }
}

const MAGIC: &[u8] = b"GNU tar-1.34-2\n";

/// Longest field in bytes: a path as long as a pax record may be.
const FIELD_MAX: usize = super::RECORD_MAX as usize;

/// Reads a snapshot file as a stream.
#[derive(Debug)]
pub struct SnarReader<R> {
    inner: R,
    started: Time,
    field: Vec<u8>,
    offset: u64,
    in_directory: bool,
}

impl<R: BufRead> SnarReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`TarError::Damaged`] when it is no snapshot file of format 2, [`TarError::Truncated`], [`TarError::Io`].
    pub fn open(inner: R) -> Result<SnarReader<R>, TarError> {
        let mut reader = SnarReader {
            inner,
            started: Time {
                seconds: 0,
                nanoseconds: 0,
            },
            field: Vec::new(),
            offset: 0,
            in_directory: false,
        };
        reader.magic()?;
        reader.started = reader.time()?;
        Ok(reader)
    }

    /// Returns the clock at the start of the walk that made this file.
    pub fn started(&self) -> Time {
        self.started
    }

    /// Goes to the next directory, over the names left of the last one; `None` at the end of the file.
    ///
    /// # Errors
    /// [`TarError::Damaged`], [`TarError::Truncated`], [`TarError::Io`].
    pub fn next_directory(&mut self) -> Result<Option<SnarDirectory>, TarError> {
        while self.in_directory {
            self.next_name()?;
        }
        if self.at_end()? {
            return Ok(None);
        }
        self.read_field()?;
        let nfs = match self.field.as_slice() {
            b"0" => false,
            b"1" => true,
            _ => return Err(self.damaged("a snapshot file's NFS mark is neither 0 nor 1")),
        };
        let mtime = self.time()?;
        let device = self.number()?;
        let inode = self.number()?;
        self.read_field()?;
        let path = match self.field.as_slice() {
            b"." => Vec::new(),
            [b'.', b'/', rest @ ..] => rest.to_vec(),
            other => other.to_vec(),
        };
        self.in_directory = true;
        Ok(Some(SnarDirectory {
            nfs,
            mtime,
            device,
            inode,
            path,
        }))
    }

    /// Lends the next name of the directory that [`SnarReader::next_directory`] returned last; `None` at its end.
    ///
    /// # Errors
    /// [`TarError::Damaged`], [`TarError::Truncated`], [`TarError::Io`].
    pub fn next_name(&mut self) -> Result<Option<(SnarKind, &[u8])>, TarError> {
        if !self.in_directory {
            return Ok(None);
        }
        loop {
            self.read_field()?;
            let kind = match self.field.first() {
                None => {
                    // The empty field ended the names; a second one ends the directory.
                    self.read_field()?;
                    if !self.field.is_empty() {
                        return Err(self.damaged("a directory of a snapshot file has no end"));
                    }
                    self.in_directory = false;
                    return Ok(None);
                }
                Some(b'D') => SnarKind::Directory,
                Some(b'N') => SnarKind::Kept,
                Some(b'Y') => SnarKind::Dumped,
                // Renames stand in the archive too; as state they say nothing.
                Some(b'R' | b'T' | b'X') => continue,
                Some(_) => return Err(self.damaged("a snapshot file holds a name of unknown type")),
            };
            return Ok(Some((kind, &self.field[1..])));
        }
    }

    fn magic(&mut self) -> Result<(), TarError> {
        let mut line = Vec::new();
        // "GNU tar-" version "-2": versions are short, so a long line is something else.
        let limit = 64;
        while line.last() != Some(&b'\n') {
            if line.len() == limit || self.at_end()? {
                return Err(self.damaged("it is no snapshot file of GNU tar"));
            }
            let mut byte = [0];
            self.inner.read_exact(&mut byte).map_err(|source| TarError::Io {
                offset: self.offset,
                source,
            })?;
            self.offset += 1;
            line.push(byte[0]);
        }
        if !line.starts_with(b"GNU tar-") || !line.ends_with(b"-2\n") {
            return Err(self.damaged("it is no snapshot file of GNU tar in format 2"));
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, TarError> {
        let offset = self.offset;
        Ok(self
            .inner
            .fill_buf()
            .map_err(|source| TarError::Io { offset, source })?
            .is_empty())
    }

    /// Reads up to a zero byte into `field`, without it.
    fn read_field(&mut self) -> Result<(), TarError> {
        self.field.clear();
        loop {
            let offset = self.offset;
            let buffer = self
                .inner
                .fill_buf()
                .map_err(|source| TarError::Io { offset, source })?;
            if buffer.is_empty() {
                return Err(TarError::Truncated { offset });
            }
            let end = buffer.iter().position(|&byte| byte == 0);
            let taken = &buffer[..end.unwrap_or(buffer.len())];
            if taken.len() > FIELD_MAX - self.field.len() {
                return Err(self.damaged("a field of a snapshot file is too long"));
            }
            self.field.extend_from_slice(taken);
            let used = taken.len() + usize::from(end.is_some());
            self.inner.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, TarError> {
        self.read_field()?;
        std::str::from_utf8(&self.field)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.damaged("a number of a snapshot file can't be read"))
    }

    fn time(&mut self) -> Result<Time, TarError> {
        let seconds = self.number()?;
        let nanoseconds = self.number()?;
        if nanoseconds >= 1_000_000_000 {
            return Err(self.damaged("a time of a snapshot file has more than 999999999 nanoseconds"));
        }
        Ok(Time { seconds, nanoseconds })
    }

    fn damaged(&self, reason: &'static str) -> TarError {
        TarError::Damaged {
            offset: self.offset,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Names = Vec<(SnarKind, Vec<u8>)>;

    fn directory() -> impl Strategy<Value = (SnarDirectory, Names)> {
        let kind = prop_oneof![
            Just(SnarKind::Directory),
            Just(SnarKind::Kept),
            Just(SnarKind::Dumped)
        ];
        let name = || vec(1u8..=255, 1..30);
        let path = prop_oneof![Just(Vec::new()), name()];
        let numbers = (
            any::<bool>(),
            any::<i64>(),
            0u32..1_000_000_000,
            any::<u64>(),
            any::<u64>(),
        );
        (numbers, path, vec((kind, name()), 0..10)).prop_map(|(numbers, path, names)| {
            let (nfs, seconds, nanoseconds, device, inode) = numbers;
            (
                SnarDirectory {
                    nfs,
                    mtime: Time { seconds, nanoseconds },
                    device,
                    inode,
                    path,
                },
                names,
            )
        })
    }

    fn write(started: Time, directories: &[(SnarDirectory, Names)]) -> Vec<u8> {
        let mut writer = SnarWriter::new(Vec::new(), started).unwrap();
        for (directory, names) in directories {
            writer.begin(directory).unwrap();
            for (kind, name) in names {
                writer.name(*kind, name).unwrap();
            }
            writer.end().unwrap();
        }
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<(Time, Vec<(SnarDirectory, Names)>), TarError> {
        let mut reader = SnarReader::open(bytes)?;
        let mut directories = Vec::new();
        while let Some(directory) = reader.next_directory()? {
            let mut names = Vec::new();
            while let Some((kind, name)) = reader.next_name()? {
                names.push((kind, name.to_vec()));
            }
            directories.push((directory, names));
        }
        Ok((reader.started(), directories))
    }

    #[test]
    fn the_form_is_that_of_gnu_tar() {
        let root = SnarDirectory {
            nfs: false,
            mtime: Time {
                seconds: 5,
                nanoseconds: 6,
            },
            device: 7,
            inode: 8,
            path: Vec::new(),
        };
        let sub = SnarDirectory {
            path: b"d".to_vec(),
            ..root.clone()
        };
        let names = vec![
            (SnarKind::Directory, b"d".to_vec()),
            (SnarKind::Kept, b"f".to_vec()),
        ];
        let bytes = write(
            Time {
                seconds: 1,
                nanoseconds: 2,
            },
            &[(root, names), (sub, Vec::new())],
        );
        let expected = b"GNU tar-1.34-2\n1\x002\x000\x005\x006\x007\x008\0.\0Dd\0Nf\0\0\x000\x005\x006\x007\x008\0./d\0\0\0";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn other_formats_are_refused() {
        for bad in [
            b"" as &[u8],
            b"GNU tar-1.34-1\n",
            b"1700000000\n",
            b"GNU tar-1.34-2",
            &[b'x'; 100],
        ] {
            assert!(SnarReader::open(bad).is_err());
        }
    }

    #[test]
    fn a_field_without_end_is_refused_before_it_fills_memory() {
        let mut bytes = b"GNU tar-1.34-2\n".to_vec();
        bytes.resize(3 << 20, b'1');
        assert!(matches!(
            SnarReader::open(bytes.as_slice()),
            Err(TarError::Damaged { .. })
        ));
    }

    proptest! {
        #[test]
        fn snapshots_round_trip(seconds: i64, directories in vec(directory(), 0..6)) {
            let started = Time { seconds, nanoseconds: 1 };
            let bytes = write(started, &directories);
            prop_assert_eq!(read(&bytes).unwrap(), (started, directories));
        }

        #[test]
        fn a_cut_or_changed_snapshot_never_panics(
            directories in vec(directory(), 0..4),
            cut: prop::sample::Index,
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = write(Time::default(), &directories);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            drop(read(&bytes));
        }
    }
}
