//! The state of a chain that the original began: names and one time, from its snapshot file.
//!
//! GNU tar's own rule decides: an entry is unchanged if its name is known and neither ctime nor mtime is newer than the
//! last dump. Two seconds are taken off that time, for clocks and file systems that count in steps.
//! The names go into an unlinked temporary file; memory holds one place per directory.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use freezer_format::tar::snar::{SnarKind, SnarReader};
use freezer_format::time::Time;

use crate::error::BackupError;
use crate::source::{Kind, Stat};

/// How much older than the last dump an entry must be to count as unchanged, in nanoseconds.
const MARGIN_NANOSECONDS: i128 = 2_000_000_000;

/// What the snapshot file says.
pub(crate) struct SnarParent {
    started: Time,
    directories: HashMap<Vec<u8>, (u64, u64)>,
    names: File,
    names_left: u64,
}

/// The names of one directory, with their types in front.
#[derive(Default)]
pub(super) struct SnarNames(HashSet<Vec<u8>>);

impl SnarParent {
    /// Reads a snapshot file.
    pub(super) fn open(snar: Box<dyn Read + Send>) -> Result<Self, BackupError> {
        let mut reader = SnarReader::open(BufReader::new(snar)).map_err(BackupError::ParentSnar)?;
        let mut directories = HashMap::new();
        let mut file = BufWriter::new(tempfile::tempfile().map_err(BackupError::Spool)?);
        let (mut written, mut count) = (0_u64, 0_u64);
        while let Some(directory) = reader.next_directory().map_err(BackupError::ParentSnar)? {
            let start = written;
            while let Some((kind, name)) = reader.next_name().map_err(BackupError::ParentSnar)? {
                let kind = if kind == SnarKind::Directory { b"D" } else { b"N" };
                for part in [&kind[..], name, b"\0"] {
                    file.write_all(part).map_err(BackupError::Spool)?;
                    written += part.len() as u64;
                }
                count += 1;
            }
            directories.insert(directory.path, (start, written - start));
        }
        let names = file
            .into_inner()
            .map_err(|error| BackupError::Spool(error.into_error()))?;
        Ok(Self {
            started: reader.started(),
            directories,
            names,
            names_left: count,
        })
    }

    /// When the last dump began.
    pub(super) fn started(&self) -> Time {
        self.started
    }

    /// Names that the walk hasn't found again.
    pub(super) fn unmatched(&self) -> u64 {
        self.names_left
    }

    /// The names of a directory; none if it wasn't there.
    pub(super) fn names(&self, directory: &[u8]) -> Result<SnarNames, BackupError> {
        let Some((start, length)) = self.directories.get(directory) else {
            return Ok(SnarNames::default());
        };
        let mut bytes = vec![0; usize::try_from(*length).unwrap_or(usize::MAX)];
        self.names
            .read_exact_at(&mut bytes, *start)
            .map_err(BackupError::Spool)?;
        let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(SnarNames(names.map(<[u8]>::to_vec).collect()))
    }

    /// Tells whether a name was there, and whether what it names is unchanged since.
    pub(super) fn judge(&mut self, names: &SnarNames, name: &[u8], stat: &Stat) -> (bool, bool) {
        let kind = if stat.kind == Kind::Directory { b"D" } else { b"N" };
        let is_known = names.0.contains(&[kind, name].concat());
        let other = if stat.kind == Kind::Directory { b"N" } else { b"D" };
        if is_known || names.0.contains(&[other, name].concat()) {
            self.names_left = self.names_left.saturating_sub(1);
        }
        let newest = stat.ctime.max(stat.mtime).as_nanos();
        (
            is_known,
            is_known && newest < self.started.as_nanos() - MARGIN_NANOSECONDS,
        )
    }
}
