//! Which file system a tree lies on, and what its inode numbers and change times are worth.
//!
//! Device numbers change with every mount of LVM, NFS, btrfs and loop devices, so they are compared nowhere;
//! the file system's own identity is, once per run.

use std::fmt;
use std::io;
use std::num::ParseIntError;
use std::os::fd::AsFd;
use std::str::FromStr;

use rustix::fs::{fstatfs, fstatvfs};

const FAT: u64 = 0x4d44;
const EXFAT: u64 = 0x2011_bab0;
const FUSE: u64 = 0x6573_5546;
const OVERLAY: u64 = 0x794c_7630;
const NFS: u64 = 0x6969;
const CIFS: u64 = 0xff53_4d42;
const SMB2: u64 = 0xfe53_4d42;

/// Change times come from a clock tick of at most 10 ms on local file systems; twice that is safe.
const RACY_LOCAL_NANOSECONDS: i128 = 20_000_000;
/// Servers stamp with their own clock and FAT with steps of two seconds.
const RACY_COARSE_NANOSECONDS: i128 = 2_000_000_000;

/// The identity of a mounted file system, stable over mounts: `statfs` type and id.
///
/// Its text form, two hexadecimal numbers with a colon, goes into the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileSystemId {
    /// `f_type`: the kind of file system.
    pub kind: u64,
    /// `f_fsid`: which one of that kind.
    pub id: u64,
}

impl FileSystemId {
    /// Asks the kernel about the file system that an open file lies on.
    ///
    /// # Errors
    /// Those of `fstatfs`.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let kind = fstatfs(&file)?.f_type;
        let id = fstatvfs(&file)?.f_fsid;
        Ok(Self {
            kind: kind as u64 & 0xffff_ffff,
            id: id as u64,
        })
    }

    /// Whether a file keeps its inode number over mounts.
    pub(crate) fn has_stable_inodes(self) -> bool {
        !matches!(self.kind, FAT | EXFAT | FUSE | OVERLAY)
    }

    /// Whether it is a network file system in the sense of GNU tar's snapshot file.
    pub(crate) fn is_nfs(self) -> bool {
        self.kind == NFS
    }

    /// How far before the moment of looking a change time must lie so that a later change can't have the same one.
    pub(crate) fn racy_nanoseconds(self) -> i128 {
        match self.kind {
            FAT | EXFAT | NFS | CIFS | SMB2 => RACY_COARSE_NANOSECONDS,
            _ => RACY_LOCAL_NANOSECONDS,
        }
    }
}

impl fmt::Display for FileSystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.kind, self.id)
    }
}

impl FromStr for FileSystemId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            kind: u64::from_str_radix(kind, 16)?,
            id: u64::from_str_radix(id, 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips() {
        let id = FileSystemId {
            kind: 0xef53,
            id: u64::MAX,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("ef53".parse::<FileSystemId>().is_err());
    }

    #[test]
    fn an_open_directory_has_an_identity() {
        let directory = tempfile::tempdir().unwrap();
        let handle = std::fs::File::open(directory.path()).unwrap();
        assert_eq!(
            FileSystemId::of(&handle).unwrap(),
            FileSystemId::of(&handle).unwrap()
        );
    }
}
