//! The rules by which an entry counts as unchanged since the parent level.
//!
//! Equality decides, never order: nothing here depends on clocks that go forward. Only chains that the original began
//! are judged by its own rule, see `snar`.

use freezer_format::index::EntryKind;

use super::links::{FileKey, First, Links};
use super::parent::{ChildRows, FoundRow, IndexParent, Row};
use super::snar::{SnarNames, SnarParent};
use crate::error::BackupError;
use crate::job::{Parent, RunContext};
use crate::object::{StoredIndex, StoredObject};
use crate::source::{Kind, Stat};

/// The parent level, ready to be asked.
pub(crate) enum ParentState<'a> {
    /// There is none.
    None,
    /// Its index.
    Index(Box<IndexParent<'a, StoredObject>>),
    /// The original's snapshot file.
    Snar(SnarParent),
}

impl<'a> ParentState<'a> {
    /// Opens what a job was given. An index stays with the caller.
    pub(crate) fn open(parent: &'a mut Parent, context: &RunContext<'_>) -> Result<Self, BackupError> {
        match parent {
            Parent::None => Ok(Self::None),
            Parent::Index(index) => {
                let index: &StoredIndex = index;
                let entries = index.entry_count();
                context
                    .counters
                    .total_entries
                    .store(entries, std::sync::atomic::Ordering::Relaxed);
                Ok(Self::Index(Box::new(IndexParent::new(index)?)))
            }
            Parent::Snar(snar) => {
                let snar = std::mem::replace(snar, Box::new(std::io::empty()));
                Ok(Self::Snar(SnarParent::open(snar)?))
            }
        }
    }

    /// Entries of the parent that weren't found again.
    pub(super) fn unmatched(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Index(index) => index.unmatched(),
            Self::Snar(snar) => snar.unmatched(),
        }
    }

    /// Opens what the parent knows of one directory.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<KnownDirectory, BackupError> {
        Ok(match self {
            Self::None => KnownDirectory::None,
            Self::Index(index) => KnownDirectory::Index(index.children(path)?),
            Self::Snar(snar) => KnownDirectory::Snar(snar.names(path)?),
        })
    }
}

/// What the parent knows of one directory.
pub(super) enum KnownDirectory {
    None,
    Index(ChildRows),
    Snar(SnarNames),
}

/// What the parent knows of one entry.
pub(super) enum Known {
    /// Nothing.
    No,
    /// Its row.
    Row(FoundRow),
    /// Its name, and by the original's rule it is unchanged or not.
    Name { is_unchanged: bool },
}

impl KnownDirectory {
    /// Looks an entry up. Names must come in ascending order.
    pub(super) fn find(
        &mut self,
        parent: &mut ParentState<'_>,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Known, BackupError> {
        match (self, parent) {
            (Self::Index(rows), ParentState::Index(index)) => match rows.find(index, name)? {
                Some(row) => {
                    index.count_match();
                    Ok(Known::Row(row))
                }
                None => Ok(Known::No),
            },
            (Self::Snar(names), ParentState::Snar(snar)) => match snar.judge(names, name, stat) {
                (true, is_unchanged) => Ok(Known::Name { is_unchanged }),
                (false, _) => Ok(Known::No),
            },
            _ => Ok(Known::No),
        }
    }
}

/// How much of a row can be relied upon on this file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Whether inode numbers mean anything: the same file system, and one that keeps them.
    pub(super) compares_inodes: bool,
    /// How old a change must be when it is looked at so that a later one can't have the same time.
    pub(super) racy_nanoseconds: i128,
}

impl Rule {
    /// Whether a change just after a look at `now` could leave `stat` as it is.
    pub(super) fn is_racy(&self, stat: &Stat, now: i128) -> bool {
        now - stat.ctime.as_nanos() < self.racy_nanoseconds
    }

    /// Whether an entry is as its row says. Extended attributes and ACLs needn't be asked: they change the ctime.
    pub(super) fn is_unchanged(&self, row: &Row, stat: &Stat) -> bool {
        let is_kind = match (row.kind, stat.kind) {
            // What a further name leads to, the row of the first name tells.
            (EntryKind::HardLink, kind) => kind != Kind::Directory && row.size == stat.size,
            (EntryKind::File, Kind::File) => row.size == stat.size,
            (EntryKind::Symlink, Kind::Symlink) | (EntryKind::Fifo, Kind::Fifo) => true,
            (EntryKind::CharDevice, Kind::CharDevice) | (EntryKind::BlockDevice, Kind::BlockDevice) => true,
            _ => false,
        };
        is_kind
            && !row.is_unreadable
            && !row.is_inexact
            && !row.state.racy
            && row.state.ctime == stat.ctime
            && row.mtime == stat.mtime
            && (row.state.inode == stat.inode || !self.compares_inodes)
            && row.state.nlink == u64::from(stat.nlink)
            && (row.mode, row.uid, row.gid) == (stat.mode, stat.uid, stat.gid)
    }
}

/// Whether an unchanged name of a file with several names may stay as the parent has it.
///
/// All names must lead to one content: a further name is kept only if its content is kept under the very path that the
/// row points to, a content only if no other name came first.
pub(super) fn keeps_link(links: &Links, key: FileKey, found: &FoundRow) -> bool {
    match links.first(key) {
        None => found.row().kind != EntryKind::HardLink,
        Some(First::Kept(first)) => found.row().kind == EntryKind::HardLink && found.link() == first,
        Some(First::Planned | First::Dumped(_)) => false,
    }
}
