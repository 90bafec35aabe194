//! Opens directories below the root without ever following a link, and keeps a few of them open.
//!
//! Entries come depth first, so the directory wanted next is nearly always one of those just used, or below one.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::path::is_within;

/// Most directories kept open by one thread; with a few dozen threads still far below the usual limit of 1024.
const OPEN_MAX: usize = 16;
/// Longest path handed to the kernel at once; it takes 4096 bytes with the closing zero.
const PIECE_BYTES: usize = 2048;

/// What a path below the root may resolve through: directories below it and nothing else.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS);

/// A stack of open directories, each lying below the one before it.
pub(super) struct Directories<'a> {
    root: BorrowedFd<'a>,
    open: Vec<(Vec<u8>, OwnedFd)>,
}

impl<'a> Directories<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            open: Vec::new(),
        }
    }

    /// Forgets everything: after a directory was renamed or removed, a kept one may lie elsewhere.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Opens a directory for calls relative to it; kept until others push it out.
    pub(super) fn get(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        while self.open.last().is_some_and(|(top, _)| !is_within(path, top)) {
            self.open.pop();
        }
        let known = self.open.last().map_or(0, |(top, _)| top.len());
        if known < path.len() {
            let opened = open_below(self.top(), rest(path, known), OFlags::PATH)?;
            if self.open.len() == OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push((path.to_vec(), opened));
        }
        Ok(self.top())
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root, |(_, fd)| fd.as_fd())
    }
}

/// What of `path` lies below its first `known` bytes.
fn rest(path: &[u8], known: usize) -> &[u8] {
    if known == 0 { path } else { &path[known + 1..] }
}

/// Opens the directory `path` below `start`; `access` is `PATH` for calls relative to it, or `RDONLY`.
pub(super) fn open_below(start: BorrowedFd<'_>, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut rest = path;
    let mut held: Option<OwnedFd> = None;
    loop {
        let (piece, more) = cut(rest);
        let from = held.as_ref().map_or(start, AsFd::as_fd);
        let access = if more.is_empty() { access } else { OFlags::PATH };
        let piece = if piece.is_empty() { b"." } else { piece };
        let next = openat2(from, piece, flags | access, Mode::empty(), BENEATH)?;
        if more.is_empty() {
            return Ok(next);
        }
        (rest, held) = (more, Some(next));
    }
}

/// Cuts a path at the last `/` that leaves at most a piece before it.
fn cut(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= PIECE_BYTES {
        return (path, b"");
    }
    match path[..PIECE_BYTES].iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}
