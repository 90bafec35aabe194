//! What the kernel says of one entry, asked for with as few fields as the backup needs.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use freezer_format::time::Time;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, makedev, openat, statx};
use rustix::io;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
    Socket,
    /// Something that this program doesn't know.
    Other,
}

/// What the kernel says of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// Permission bits, at most 0o7777.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) size: u64,
    /// Bytes that the file occupies; less than `size` if it has holes.
    pub(crate) occupied_bytes: u64,
    pub(crate) inode: u64,
    /// Device number of the file system, valid until it is mounted anew.
    pub(crate) device: u64,
    /// Number of the mount, which also tells bind mounts of one file system apart; 0 on old kernels.
    pub(crate) mount: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    /// Major and minor number of a device.
    pub(crate) rdev: (u32, u32),
}

impl Stat {
    /// Looks at an entry of an open directory, at what a symbolic link points to only if `follow` says so.
    pub(crate) fn at(directory: impl AsFd, name: &CStr, follow: bool) -> io::Result<Self> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        Self::ask(directory, name, flags | AtFlags::NO_AUTOMOUNT)
    }

    /// Looks at an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Self::ask(file, c"", AtFlags::EMPTY_PATH)
    }

    fn ask(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        let fields = (StatxFlags::BASIC_STATS - StatxFlags::ATIME) | StatxFlags::MNT_ID;
        Ok(Self::from(&statx(directory, name, flags, fields)?))
    }

    /// Whether an entry lies on the same mount as another.
    pub(crate) fn is_on_mount_of(&self, other: &Self) -> bool {
        self.device == other.device && self.mount == other.mount
    }

    /// Whether two looks saw the same file, on the same mount.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode && self.is_on_mount_of(other)
    }

    /// Whether two looks saw the same content of the same file.
    pub(crate) fn is_same_content(&self, other: &Self) -> bool {
        self.inode == other.inode
            && self.size == other.size
            && self.mtime == other.mtime
            && self.ctime == other.ctime
    }
}

impl From<&Statx> for Stat {
    fn from(statx: &Statx) -> Self {
        let kind = match FileType::from_raw_mode(statx.stx_mode.into()) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => Kind::Other,
        };
        Self {
            kind,
            mode: u32::from(statx.stx_mode) & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            nlink: statx.stx_nlink,
            size: statx.stx_size,
            occupied_bytes: statx.stx_blocks.saturating_mul(512),
            inode: statx.stx_ino,
            device: makedev(statx.stx_dev_major, statx.stx_dev_minor),
            mount: statx.stx_mnt_id,
            mtime: time(statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            ctime: time(statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
            rdev: (statx.stx_rdev_major, statx.stx_rdev_minor),
        }
    }
}

/// Opens an entry without leaving a trace in its access time, where that is allowed.
pub(crate) fn open_quietly(directory: impl AsFd, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    match openat(&directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(io::Errno::PERM) => openat(&directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Some file systems have answered with more nanoseconds than a second has.
fn time(seconds: i64, nanoseconds: u32) -> Time {
    Time {
        seconds,
        nanoseconds: nanoseconds.min(999_999_999),
    }
}
