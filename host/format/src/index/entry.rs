//! The two rows of a path, entry and state, and their bytes within a block.
//!
//! ```text
//! entry = uv bytes shared with the path before, uv suffix length, suffix, u8 kind, uv level, sv Δoffset, uv size,
//!         uv mode, uv uid, uv gid, sv Δmtime ns, then  links: uv length, target   devices: uv major, uv minor
//! state = sv Δinode, sv Δctime ns, uv nlink, u8 racy
//! kind  = 0 file 1 directory 2 symlink 3 hard link 4 fifo 5 character device 6 block device
//!         + 0x10 unreadable + 0x20 inexact + 0x40 unindexed
//! ```
//! Differences are to the row before in the same block; the first row of a block is a difference to zeros.

use super::IndexError;
use super::number::{Take, put_signed, put_unsigned};
use super::path::{compare_paths, is_plain};
use crate::time::Time;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file, or the name of a linked file that carries the content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file whose content stands at the path `link`, in the same level.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

const KINDS: [EntryKind; 7] = [
    EntryKind::File,
    EntryKind::Directory,
    EntryKind::Symlink,
    EntryKind::HardLink,
    EntryKind::Fifo,
    EntryKind::CharDevice,
    EntryKind::BlockDevice,
];
const UNREADABLE: u8 = 0x10;
const INEXACT: u8 = 0x20;
const UNINDEXED: u8 = 0x40;

/// One live path: what it is and where its member lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root, raw bytes, without `./`; the root is empty.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// It couldn't be read when this index was made: `level` and `offset` name the last good content.
    ///
    /// Where there is none, `level` is the index's own: nothing can be restored.
    pub unreadable: bool,
    /// It changed while it was read: padded or cut to the size in its header.
    pub inexact: bool,
    /// Its level was written by the original: `offset` is unknown, that level is read front to back.
    pub unindexed: bool,
    /// Level whose archive holds the member.
    pub level: u32,
    /// Offset of the member's first header in that level's archive, in bytes of tar.
    pub offset: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Target of a symbolic link; for a hard link the path of its content.
    pub link: Vec<u8>,
    /// Major and minor number of a device, else zeros.
    pub rdev: (u32, u32),
}

impl Entry {
    /// Makes the row of a kind at a path, everything else zero or empty.
    pub fn new(path: impl Into<Vec<u8>>, kind: EntryKind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            unreadable: false,
            inexact: false,
            unindexed: false,
            level: 0,
            offset: 0,
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time {
                seconds: 0,
                nanoseconds: 0,
            },
            link: Vec::new(),
            rdev: (0, 0),
        }
    }

    fn kind_byte(&self) -> u8 {
        let kind = KINDS.iter().position(|&kind| kind == self.kind).unwrap_or(0) as u8;
        let mark = |is_set, bit| if is_set { bit } else { 0 };
        kind | mark(self.unreadable, UNREADABLE)
            | mark(self.inexact, INEXACT)
            | mark(self.unindexed, UNINDEXED)
    }

    fn has_link(&self) -> bool {
        matches!(self.kind, EntryKind::Symlink | EntryKind::HardLink)
    }

    fn has_rdev(&self) -> bool {
        matches!(self.kind, EntryKind::CharDevice | EntryKind::BlockDevice)
    }
}

/// What the next level compares to see whether a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Inode number.
    pub inode: u64,
    /// Time of the last change of the inode.
    pub ctime: Time,
    /// Number of names of the inode.
    pub nlink: u64,
    /// It was seen so soon after `ctime` that a later change may not show; it is read again.
    pub racy: bool,
}

impl State {
    /// The state before the first row of a block.
    pub(super) const ZERO: State = State {
        inode: 0,
        ctime: Time {
            seconds: 0,
            nanoseconds: 0,
        },
        nlink: 0,
        racy: false,
    };

    /// Appends this row, as a difference to the row before.
    pub(super) fn put(&self, before: &State, out: &mut Vec<u8>) {
        put_signed(out, i128::from(self.inode) - i128::from(before.inode));
        put_signed(out, self.ctime.as_nanos() - before.ctime.as_nanos());
        put_unsigned(out, self.nlink);
        out.push(u8::from(self.racy));
    }

    /// Takes the row after `before`.
    pub(super) fn take(before: &State, take: &mut Take<'_>) -> Result<State, IndexError> {
        let inode = add(before.inode, take.signed()?)?;
        let ctime = add_time(before.ctime, take.signed()?)?;
        let nlink = take.unsigned()?;
        let racy = match take.byte()? {
            0 => false,
            1 => true,
            _ => return Err(IndexError::Newer("a state row has an unknown mark")),
        };
        Ok(State {
            inode,
            ctime,
            nlink,
            racy,
        })
    }
}

/// Appends `entry`, as a difference to the row before; `None` before the first row of a block.
pub(super) fn put_entry(entry: &Entry, before: Option<&Entry>, out: &mut Vec<u8>) {
    let before_path: &[u8] = before.map_or(&[], |before| &before.path);
    let shared = entry
        .path
        .iter()
        .zip(before_path)
        .take_while(|(a, b)| a == b)
        .count();
    let suffix = &entry.path[shared..];
    put_unsigned(out, shared as u64);
    put_unsigned(out, suffix.len() as u64);
    out.extend_from_slice(suffix);
    out.push(entry.kind_byte());
    put_unsigned(out, u64::from(entry.level));
    put_signed(
        out,
        i128::from(entry.offset) - i128::from(before.map_or(0, |before| before.offset)),
    );
    put_unsigned(out, entry.size);
    put_unsigned(out, u64::from(entry.mode));
    put_unsigned(out, u64::from(entry.uid));
    put_unsigned(out, u64::from(entry.gid));
    put_signed(
        out,
        entry.mtime.as_nanos() - before.map_or(0, |before| before.mtime.as_nanos()),
    );
    if entry.has_link() {
        put_unsigned(out, entry.link.len() as u64);
        out.extend_from_slice(&entry.link);
    } else if entry.has_rdev() {
        put_unsigned(out, u64::from(entry.rdev.0));
        put_unsigned(out, u64::from(entry.rdev.1));
    }
}

/// The row a reader stands on; one is reused for all rows of a stream.
#[derive(Debug)]
pub(super) struct EntryCursor {
    pub(super) entry: Entry,
    /// Bytes of the path that came from the row before.
    pub(super) shared: usize,
    /// Whether no row was taken yet, so that the root may come.
    fresh: bool,
}

impl EntryCursor {
    pub(super) fn new() -> EntryCursor {
        EntryCursor {
            entry: Entry::new("", EntryKind::Directory),
            shared: 0,
            fresh: true,
        }
    }

    /// Takes the next row of a block into `entry`. `first` says that it is the block's first.
    ///
    /// `tails` gets the end of the path before that the new path doesn't share, so that a reader can go back.
    pub(super) fn take(
        &mut self,
        take: &mut Take<'_>,
        first: bool,
        tails: Option<&mut Vec<u8>>,
    ) -> Result<(), IndexError> {
        let shared = usize::try_from(take.unsigned()?).unwrap_or(usize::MAX);
        let suffix = take.counted()?;
        if first {
            if shared != 0 {
                return Err(IndexError::Damaged("the first path of a block has no beginning"));
            }
            self.entry.offset = 0;
            self.entry.mtime = Time {
                seconds: 0,
                nanoseconds: 0,
            };
        } else if shared > self.entry.path.len() {
            return Err(IndexError::Damaged("a path shares more than the path before has"));
        }
        if !self.fresh && compare_paths(&self.entry.path[shared..], suffix).is_ge() {
            return Err(IndexError::Damaged("paths aren't in order"));
        }
        self.fresh = false;
        if let Some(tails) = tails {
            tails.extend_from_slice(&self.entry.path[shared..]);
        }
        self.entry.path.truncate(shared);
        self.entry.path.extend_from_slice(suffix);
        self.shared = shared;
        if !is_plain(&self.entry.path, shared) {
            return Err(IndexError::Damaged("a path leads out of the tree"));
        }
        take_fields(&mut self.entry, take)
    }
}

/// Takes all of a row but its path; offset and time are differences to what `entry` holds.
fn take_fields(entry: &mut Entry, take: &mut Take<'_>) -> Result<(), IndexError> {
    let kind = take.byte()?;
    let marks = kind & 0xf0;
    if marks & !(UNREADABLE | INEXACT | UNINDEXED) != 0 {
        return Err(IndexError::Newer("a row has an unknown mark"));
    }
    entry.kind = *KINDS
        .get(usize::from(kind & 0x0f))
        .ok_or(IndexError::Newer("a row has an unknown kind"))?;
    entry.unreadable = marks & UNREADABLE != 0;
    entry.inexact = marks & INEXACT != 0;
    entry.unindexed = marks & UNINDEXED != 0;
    entry.level = take.unsigned_u32()?;
    entry.offset = add(entry.offset, take.signed()?)?;
    entry.size = take.unsigned()?;
    entry.mode = take.unsigned_u32()?;
    if entry.mode > 0o7777 {
        return Err(IndexError::Damaged("a mode has more than permission bits"));
    }
    entry.uid = take.unsigned_u32()?;
    entry.gid = take.unsigned_u32()?;
    entry.mtime = add_time(entry.mtime, take.signed()?)?;
    entry.link.clear();
    entry.rdev = (0, 0);
    if entry.has_link() {
        entry.link.extend_from_slice(take.counted()?);
        if entry.kind == EntryKind::HardLink && !is_plain(&entry.link, 0) {
            return Err(IndexError::Damaged("a hard link leads out of the tree"));
        }
    } else if entry.has_rdev() {
        entry.rdev = (take.unsigned_u32()?, take.unsigned_u32()?);
    }
    Ok(())
}

fn add(base: u64, difference: i128) -> Result<u64, IndexError> {
    i128::from(base)
        .checked_add(difference)
        .and_then(|sum| u64::try_from(sum).ok())
        .ok_or(IndexError::Damaged("a number is out of range"))
}

fn add_time(base: Time, difference: i128) -> Result<Time, IndexError> {
    let nanos = base
        .as_nanos()
        .checked_add(difference)
        .ok_or(IndexError::Damaged("a time is out of range"))?;
    let time = Time::from_nanos(nanos);
    if time.as_nanos() != nanos {
        return Err(IndexError::Damaged("a time is out of range"));
    }
    Ok(time)
}
