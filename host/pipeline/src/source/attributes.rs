//! Extended attributes and ACLs of one entry, read only when the entry is dumped.
//!
//! Files and directories are asked through their open handle; links and nodes, which must not be opened, through
//! the directory's handle below `/proc/self/fd`.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::{self, Errno};

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// The kernel's limits: 64 KiB for the list of names and for a value.
const MOST_BYTES: usize = 64 << 10;

/// What a header says of an entry beside its stat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Names and values, sorted by name; ACLs left out.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The access ACL as text, if it says more than the mode.
    pub(crate) acl_access: Option<Vec<u8>>,
    /// A directory's default ACL as text.
    pub(crate) acl_default: Option<Vec<u8>>,
}

/// How an entry is reached.
#[derive(Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// It is open.
    Open(BorrowedFd<'a>),
    /// It is an entry of an open directory, not to be followed.
    Named(BorrowedFd<'a>, &'a CStr),
}

/// Reads attributes; holds the buffers for it.
pub(crate) struct AttributeReader {
    list: Vec<u8>,
    value: Vec<u8>,
}

impl Default for AttributeReader {
    fn default() -> Self {
        Self {
            list: vec![0; MOST_BYTES],
            value: vec![0; MOST_BYTES],
        }
    }
}

impl AttributeReader {
    /// Reads all attributes of an entry. File systems without any answer none.
    pub(crate) fn read(&mut self, reach: Reach<'_>) -> io::Result<Attributes> {
        let mut attributes = Attributes::default();
        let path = reach.path();
        let listed = match (reach, &path) {
            (Reach::Open(file), _) => flistxattr(file, &mut self.list[..]),
            (Reach::Named(..), Some(path)) => llistxattr(path, &mut self.list[..]),
            (Reach::Named(..), None) => return Ok(attributes),
        };
        let length = match listed {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(attributes),
            Err(error) => return Err(error),
        };
        for name in self.list[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                continue;
            };
            let read = match (reach, &path) {
                (Reach::Named(..), Some(path)) => lgetxattr(path, name, &mut self.value[..]),
                (Reach::Open(file), _) => fgetxattr(file, name, &mut self.value[..]),
                (Reach::Named(..), None) => continue,
            };
            match read {
                Ok(length) => attributes.add(name.to_bytes(), &self.value[..length]),
                // Gone since it was listed.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        attributes.xattrs.sort_unstable();
        Ok(attributes)
    }
}

impl Reach<'_> {
    fn path(self) -> Option<CString> {
        let Self::Named(directory, name) = self else {
            return None;
        };
        let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        CString::new(path).ok()
    }
}

impl Attributes {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let acl = match name {
            ACL_ACCESS => &mut self.acl_access,
            ACL_DEFAULT => &mut self.acl_default,
            _ => {
                self.xattrs.push((name.to_vec(), value.to_vec()));
                return;
            }
        };
        match acl_text(value) {
            Some(text) => *acl = Some(text),
            // Not a form we know: kept as it is, which this system at least can restore.
            None => self.xattrs.push((name.to_vec(), value.to_vec())),
        }
    }
}

/// Writes the kernel's form of an ACL (version 2, then tag, permissions and id of each entry, little endian) as text,
/// one entry a line as GNU tar does. Ids stay numbers: every reader takes them, wherever it restores.
fn acl_text(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if *version != 2_u32.to_le_bytes() || entries.len() % 8 != 0 {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let bit = |bit: u16, letter: char| if permissions & bit == 0 { '-' } else { letter };
        let written = match tag {
            0x01 => write!(text, "user::"),
            0x02 => write!(text, "user:{id}:"),
            0x04 => write!(text, "group::"),
            0x08 => write!(text, "group:{id}:"),
            0x10 => write!(text, "mask::"),
            0x20 => write!(text, "other::"),
            _ => return None,
        };
        written.ok()?;
        text.extend([bit(4, 'r'), bit(2, 'w'), bit(1, 'x'), '\n']);
    }
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [
            &tag.to_le_bytes()[..],
            &permissions.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    }

    #[test]
    fn acls_become_text() {
        let none = u32::MAX;
        let entries = [
            entry(1, 6, none),
            entry(2, 4, 12345),
            entry(4, 4, none),
            entry(8, 1, 7),
            entry(0x10, 5, none),
            entry(0x20, 0, none),
        ];
        let value = [&2_u32.to_le_bytes()[..], &entries.concat()].concat();
        let text = acl_text(&value).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "user::rw-\nuser:12345:r--\ngroup::r--\ngroup:7:--x\nmask::r-x\nother::---\n"
        );
    }

    #[test]
    fn unknown_forms_of_acls_are_not_guessed_at() {
        assert_eq!(acl_text(b""), None);
        assert_eq!(acl_text(&3_u32.to_le_bytes()), None);
        assert_eq!(
            acl_text(&[&2_u32.to_le_bytes()[..], &entry(0x40, 0, 0)].concat()),
            None
        );
        assert_eq!(acl_text(&[2, 0, 0, 0, 1]), None);
    }
}
