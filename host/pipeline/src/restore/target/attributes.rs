//! Owner, extended attributes, ACLs, mode and times, in the one order in which none undoes another.
//!
//! Changing the owner clears setuid bits and capabilities, so it comes first; writing anything changes the time,
//! so that comes last. Every failure is a warning: the content is there.

use freezer_format::tar::{Member, MemberKind};
use freezer_format::time::Time;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;

use super::acl;
use super::owner::{group_id, user_id};
use super::{EntryError, Target};

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// Most bytes that the names of one entry's attributes take together, by the kernel's limit.
const NAMES_BYTES: usize = 64 * 1024;
/// Set-user-id and set-group-id.
const SETID: u32 = 0o6000;

/// What became of an entry's attributes.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What couldn't be set.
    pub(crate) failures: Vec<EntryError>,
    /// Whether setuid or setgid bits were kept.
    pub(crate) setid_kept: bool,
    /// Whether setuid or setgid bits were left out.
    pub(crate) setid_dropped: bool,
}

impl Outcome {
    fn note(&mut self, operation: &'static str, result: Result<(), Errno>) {
        if let Err(errno) = result {
            self.failures.push(EntryError::system(operation)(errno));
        }
    }
}

/// An open entry, reached so that no link is followed.
#[derive(Clone, Copy)]
pub(super) enum Handle<'a> {
    /// Open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Open as a mere path (links, FIFOs, devices).
    Path(BorrowedFd<'a>),
}

/// The path by which a process reaches what it has open; needed for what only works by path.
pub(super) fn own_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl Target {
    /// Whether a new file can be made with its final mode at once.
    pub(super) fn gives_mode(&self, member: &Member) -> bool {
        member.mode & (self.masked | 0o7000) == 0 && !has_attributes(member)
    }

    /// Sets everything that `member` says; `mode_given` if the file was made with its final mode.
    pub(super) fn set_attributes(&self, handle: Handle<'_>, member: &Member, mode_given: bool) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some((uid, gid)) = self.owners.wanted(member, self.inherits_group) {
            let fd = handle.fd();
            let changed = rustix::fs::chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
            outcome.note("set the owner", changed);
        }
        if has_attributes(member) {
            self.set_extended(handle, member, &mut outcome);
        }
        if !mode_given && member.kind != MemberKind::Symlink {
            self.set_mode(handle, member, &mut outcome);
        }
        outcome.note("set the time", set_time(handle, member.mtime));
        outcome
    }

    /// Takes away what a directory that was there before has and `member` doesn't. Security labels are the system's.
    pub(super) fn clear_attributes(&self, directory: BorrowedFd<'_>, member: &Member) -> Result<(), Errno> {
        let mut names = vec![0; NAMES_BYTES];
        let length = match rustix::fs::flistxattr(directory, &mut names[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        for name in names[..length].split(|byte| *byte == 0) {
            let is_wanted = match name {
                ACL_ACCESS if member.acl_access.is_some() => true,
                ACL_DEFAULT if member.acl_default.is_some() => true,
                _ => member.xattrs.iter().any(|(wanted, _)| wanted == name),
            };
            let is_ours = [&b"user."[..], b"trusted.", b"system.posix_acl_"];
            if !is_wanted && is_ours.iter().any(|space| name.starts_with(space)) {
                rustix::fs::fremovexattr(directory, name)?;
            }
        }
        Ok(())
    }

    fn set_mode(&self, handle: Handle<'_>, member: &Member, outcome: &mut Outcome) {
        let mut mode = member.mode & 0o7777;
        let meaningless = match member.kind {
            // On a directory they run nothing, and its entries take its group.
            MemberKind::File | MemberKind::Directory => 0,
            _ => SETID,
        };
        outcome.setid_dropped = mode & meaningless != 0;
        mode &= !meaningless;
        if member.kind == MemberKind::File && mode & SETID != 0 {
            // Only root gives a file to the owner that the bits are about.
            if self.owners.is_root {
                outcome.setid_kept = true;
            } else {
                mode &= !SETID;
                outcome.setid_dropped = true;
            }
        }
        let mode = Mode::from_raw_mode(mode);
        let changed = match handle {
            Handle::Open(fd) => rustix::fs::fchmod(fd, mode),
            Handle::Path(fd) => rustix::fs::chmod(own_path(fd), mode),
        };
        outcome.note("set the mode", changed);
    }

    fn set_extended(&self, handle: Handle<'_>, member: &Member, outcome: &mut Outcome) {
        for (name, value) in &member.xattrs {
            let mut set = set_xattr(handle, name, value);
            let privileged = [&b"trusted."[..], b"security."]
                .iter()
                .any(|space| name.starts_with(space));
            if privileged && !self.owners.is_root && set == Err(Errno::PERM) {
                // As with owners: what only root may set isn't missed by others.
                set = Ok(());
            }
            outcome.note("set an extended attribute", set);
        }
        let lists = [
            (ACL_ACCESS, &member.acl_access),
            (ACL_DEFAULT, &member.acl_default),
        ];
        for (name, text) in lists {
            let Some(text) = text else { continue };
            match acl::to_binary(text, user_id, group_id) {
                Some(value) => outcome.note("set an access control list", set_xattr(handle, name, &value)),
                None => outcome.failures.push(EntryError::refused(
                    "set an access control list",
                    "it is malformed",
                )),
            }
        }
    }
}

impl<'a> Handle<'a> {
    fn fd(self) -> BorrowedFd<'a> {
        match self {
            Self::Open(fd) | Self::Path(fd) => fd,
        }
    }
}

fn has_attributes(member: &Member) -> bool {
    !member.xattrs.is_empty() || member.acl_access.is_some() || member.acl_default.is_some()
}

fn set_xattr(handle: Handle<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    match handle {
        Handle::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
        Handle::Path(fd) => rustix::fs::setxattr(own_path(fd), name, value, XattrFlags::empty()),
    }
}

fn set_time(handle: Handle<'_>, mtime: Time) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: i64::from(mtime.nanoseconds),
        },
    };
    match handle {
        Handle::Open(fd) => rustix::fs::futimens(fd, &times),
        Handle::Path(fd) => rustix::fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH),
    }
}
