//! Removes an entry and everything below it, following no link and holding few directories open.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Depth from which directories are first moved up, so that open directories don't grow with the tree's depth.
const DEPTH_MAX: usize = 64;

/// Removes `name` in `parent`, whatever it is. Absent is a success.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux answers EISDIR for a directory; POSIX allows EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let top = open_directory(parent, name)?;
    let mut moved = 0;
    empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
    // What was moved up from the depth may hold such depths again.
    while moved > 0 {
        moved = 0;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn empty(top: BorrowedFd<'_>, directory: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        if depth == DEPTH_MAX {
            let shallow = format!(".freezer-moved-{}-{moved}", entry.ino());
            renameat(directory, name, top, &shallow)?;
            *moved += 1;
            continue;
        }
        let below = open_directory(directory, name.to_bytes())?;
        empty(top, below.as_fd(), depth + 1, moved)?;
        unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Opens a directory for listing, and makes it one that its owner may change.
fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(parent, name, flags | OFlags::RDONLY, Mode::empty());
    let opened = match open() {
        Err(Errno::ACCESS) => {
            let path = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            rustix::fs::chmod(super::attributes::own_path(path.as_fd()), Mode::RWXU)?;
            open()?
        }
        opened => opened?,
    };
    let mode = rustix::fs::fstat(&opened)?.st_mode;
    if mode & 0o300 != 0o300 {
        rustix::fs::fchmod(&opened, Mode::RWXU)?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_deep_tree_goes_and_a_link_s_goal_stays() {
        let place = tempfile::tempdir().unwrap();
        let kept = place.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), b"x").unwrap();
        let root = std::fs::File::open(place.path()).unwrap();
        rustix::fs::mkdirat(&root, "tree", Mode::RWXU).unwrap();
        let mut at: OwnedFd = openat(&root, "tree", OFlags::RDONLY, Mode::empty()).unwrap();
        for _ in 0..400 {
            rustix::fs::symlinkat(&kept, &at, "link").unwrap();
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        rustix::fs::fchmod(&at, Mode::empty()).unwrap();
        remove(root.as_fd(), b"tree").unwrap();
        remove(root.as_fd(), b"absent").unwrap();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(kept.join("file").exists());
    }
}
