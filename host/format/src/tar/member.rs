//! One member of an archive as a value: all that tar can say of a file except its content.

use crate::time::Time;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A regular file; its content follows the header.
    File,
    /// A directory, with a dumpdir in incremental archives.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that came earlier in the same archive.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One member: the metadata of a file, directory, link or node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path below the root of the backup: raw bytes, no `./` before it, no `/` after it; the root is empty.
    ///
    /// In archives of others it may start with `/` or hold `..` components: whoever writes to disk must refuse these.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Name of the owner; empty when unknown.
    pub uname: Vec<u8>,
    /// Name of the group; empty when unknown.
    pub gname: Vec<u8>,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Size of the file in bytes, holes included; 0 for all but files.
    pub size: u64,
    /// Target of a symbolic link as it stands; for a hard link the path of its content, in the form of `path`.
    pub link: Vec<u8>,
    /// Major and minor number of a device, else zeros.
    pub rdev: (u32, u32),
    /// Extended attributes: full name (`user.a`, `security.capability`) and raw value. ACLs aren't among them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access ACL in the text form of `getfacl`, as star and GNU tar store it.
    pub acl_access: Option<Vec<u8>>,
    /// Default ACL of a directory in the same text form.
    pub acl_default: Option<Vec<u8>>,
    /// The pieces of a sparse file that hold data: (offset, length), rising, none empty.
    ///
    /// The content of the member is then these pieces back to back. When written, all lengths but the last must be
    /// multiples of 512.
    pub sparse: Option<Vec<(u64, u64)>>,
    /// Names in a directory, in the form of [`super::dumpdir`]; `None` outside incremental archives.
    pub dumpdir: Option<Vec<u8>>,
}

impl Member {
    /// Makes a member of a kind at a path, everything else zero or empty.
    pub fn new(path: impl Into<Vec<u8>>, kind: MemberKind) -> Member {
        Member {
            path: path.into(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            uname: Vec::new(),
            gname: Vec::new(),
            mtime: Time {
                seconds: 0,
                nanoseconds: 0,
            },
            size: 0,
            link: Vec::new(),
            rdev: (0, 0),
            xattrs: Vec::new(),
            acl_access: None,
            acl_default: None,
            sparse: None,
            dumpdir: None,
        }
    }
}
