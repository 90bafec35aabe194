//! Which inodes with several names were met, so that content is stored once and all names point to it.
//!
//! The first path in archive order is the content. An inode leaves the table when all its names were seen. Beyond
//! [`MEMORY_BYTES`] no more inodes are taken in: their names are stored as separate files, with a warning.

use std::collections::HashMap;

/// Bytes of paths and table entries: about 100 000 inodes that have names still to come.
const MEMORY_BYTES: usize = 16 << 20;

/// Bytes of an entry of the table, its path apart.
const ENTRY_BYTES: usize = 96;

/// What became of the first name of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum First {
    /// It is as the parent level has it.
    Kept(Vec<u8>),
    /// It is going to be archived.
    Planned,
    /// Its content was archived at this level.
    Dumped(Vec<u8>),
}

/// Device and inode number: a file, whatever its names.
pub(super) type FileKey = (u64, u64);

/// The inodes with names still to come.
#[derive(Default)]
pub(super) struct Links {
    files: HashMap<FileKey, (First, u32)>,
    bytes: usize,
    /// Whether an inode couldn't be taken in.
    pub(super) is_full: bool,
}

impl Links {
    /// What became of an inode's first name; `None` if it wasn't met.
    pub(super) fn first(&self, key: FileKey) -> Option<&First> {
        self.files.get(&key).map(|(first, _)| first)
    }

    /// Notes the first name of an inode that has `names` in all, or what became of it.
    pub(super) fn note(&mut self, key: FileKey, first: First, names: u32) {
        let bytes = first.bytes();
        if let Some((known, _)) = self.files.get_mut(&key) {
            self.bytes = self.bytes - known.bytes() + bytes;
            *known = first;
        } else if self.bytes + bytes > MEMORY_BYTES {
            self.is_full = true;
        } else {
            self.bytes += bytes;
            self.files.insert(key, (first, names));
        }
    }

    /// Counts a name of an inode as done; the last one clears it.
    pub(super) fn done(&mut self, key: FileKey) {
        if let Some((first, names)) = self.files.get_mut(&key) {
            *names = names.saturating_sub(1);
            if *names == 0 {
                self.bytes -= first.bytes();
                self.files.remove(&key);
            }
        }
    }

    /// Forgets an inode whose first name couldn't be archived: the next name carries the content.
    pub(super) fn forget(&mut self, key: FileKey) {
        if let Some((first, _)) = self.files.remove(&key) {
            self.bytes -= first.bytes();
        }
    }
}

impl First {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Kept(path) | Self::Dumped(path) => path.len(),
                Self::Planned => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_leaves_with_its_last_name() {
        let mut links = Links::default();
        links.note((1, 2), First::Planned, 2);
        links.note((1, 2), First::Dumped(b"a".to_vec()), 2);
        links.done((1, 2));
        assert_eq!(links.first((1, 2)), Some(&First::Dumped(b"a".to_vec())));
        links.done((1, 2));
        assert_eq!(links.first((1, 2)), None);
        assert_eq!(links.bytes, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut links = Links::default();
        for inode in 0..200_000 {
            links.note((1, inode), First::Dumped(vec![b'x'; 100]), 2);
        }
        assert!(links.is_full && links.bytes <= MEMORY_BYTES);
        assert!(links.first((1, 0)).is_some() && links.first((1, 199_999)).is_none());
    }
}
