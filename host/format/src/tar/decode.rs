//! Makes a member of a header and of what was said before it.

use super::extended::Extended;
use super::header::{self, Header, number};
use super::sparse::{self, Piece};
use super::{BLOCK, Member, MemberKind};
use crate::time::Time;

/// First piece in an old GNU sparse header, and how many it holds.
const PIECES: usize = 386;
const PIECES_IN_HEADER: usize = 4;
/// Says in the header that blocks of pieces follow.
const HAS_MORE: usize = 482;
/// Pieces in a block after the header; the byte after them says whether another block follows.
const PIECES_IN_BLOCK: usize = 21;
/// Bytes of a piece: offset and length of 12 bytes each.
const PIECE: usize = 24;

/// Returns what a header's member is; `None` if it is of no known type.
pub(super) fn kind(header: &Header) -> Option<MemberKind> {
    let kind = match header.typeflag() {
        // Tars before ustar marked directories by a `/` after the name.
        0 if header.text(header::NAME).ends_with(b"/") => MemberKind::Directory,
        b'0' | 0 | b'7' | b'S' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Symlink,
        b'3' => MemberKind::CharDevice,
        b'4' => MemberKind::BlockDevice,
        b'5' | b'D' => MemberKind::Directory,
        b'6' => MemberKind::Fifo,
        _ => return None,
    };
    Some(kind)
}

/// Makes a member of all but sizes and content.
pub(super) fn member(
    header: &Header,
    kind: MemberKind,
    extended: &mut Extended,
) -> Result<Member, &'static str> {
    let name = extended.sparse.name.take().or_else(|| extended.path.take());
    let path = name.unwrap_or_else(|| header_name(header));
    let mut member = Member::new(plain_path(&path), kind);
    let field = |range| header.number(range);
    member.mode = field(header::MODE)
        .ok_or("a mode can't be read")?
        .rem_euclid(0o10000) as u32;
    member.uid = owner(extended.uid, field(header::UID)).ok_or("an owner can't be read")?;
    member.gid = owner(extended.gid, field(header::GID)).ok_or("a group can't be read")?;
    member.uname = extended
        .uname
        .take()
        .unwrap_or_else(|| header.text(header::UNAME).to_vec());
    member.gname = extended
        .gname
        .take()
        .unwrap_or_else(|| header.text(header::GNAME).to_vec());
    member.mtime = match extended.mtime {
        Some(time) => time,
        None => {
            let seconds = field(header::MTIME).and_then(|seconds| i64::try_from(seconds).ok());
            Time {
                seconds: seconds.ok_or("a time can't be read")?,
                nanoseconds: 0,
            }
        }
    };
    let mut link = || {
        extended
            .link
            .take()
            .unwrap_or_else(|| header.text(header::LINK).to_vec())
    };
    match kind {
        MemberKind::HardLink => member.link = plain_path(&link()),
        MemberKind::Symlink => member.link = link(),
        MemberKind::CharDevice | MemberKind::BlockDevice => {
            let number = |range| field(range).and_then(|number| u32::try_from(number).ok());
            let both = number(header::MAJOR).zip(number(header::MINOR));
            member.rdev = both.ok_or("a device's number can't be read")?;
        }
        MemberKind::File | MemberKind::Directory | MemberKind::Fifo => {}
    }
    member.xattrs = std::mem::take(&mut extended.xattrs);
    member.acl_access = extended.acl_access.take();
    member.acl_default = extended.acl_default.take();
    if kind == MemberKind::Directory {
        member.dumpdir = extended.dumpdir.take();
    }
    Ok(member)
}

/// Makes a member sparse. `stored` is the length of its content without map.
pub(super) fn set_sparse(
    member: &mut Member,
    pieces: Vec<Piece>,
    size: u64,
    stored: u64,
) -> Result<(), &'static str> {
    if i64::try_from(size).is_err() {
        return Err("a sparse file's size is more than a file can have");
    }
    if sparse::check(&pieces, size) != Some(stored) {
        return Err("a sparse file's map doesn't fit its size");
    }
    member.size = size;
    member.sparse = Some(sparse::without_empty(pieces));
    Ok(())
}

/// Returns the size of an old GNU sparse file with its holes.
pub(super) fn real_size(header: &Header) -> Result<u64, &'static str> {
    let size = header
        .number(header::REAL_SIZE)
        .and_then(|size| u64::try_from(size).ok());
    size.ok_or("the size of a sparse file can't be read")
}

/// Returns the pieces in the header of an old GNU sparse file.
pub(super) fn first_pieces(header: &Header) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    take_pieces(&header.bytes[PIECES..][..PIECES_IN_HEADER * PIECE], &mut pieces)?;
    Ok(pieces)
}

/// Says whether a block of pieces follows the header.
pub(super) fn has_more_pieces(header: &Header) -> bool {
    header.bytes[HAS_MORE] != 0
}

/// Takes a block of pieces; returns whether another one follows.
pub(super) fn more_pieces(block: &[u8; BLOCK], pieces: &mut Vec<Piece>) -> Result<bool, &'static str> {
    take_pieces(&block[..PIECES_IN_BLOCK * PIECE], pieces)?;
    Ok(block[PIECES_IN_BLOCK * PIECE] != 0)
}

fn take_pieces(bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
    for piece in bytes.chunks_exact(PIECE) {
        let (offset, length) = piece.split_at(PIECE / 2);
        // An unused place begins with a zero byte.
        if length[0] == 0 {
            break;
        }
        let number = |field| number(field).and_then(|number| u64::try_from(number).ok());
        let piece = number(offset)
            .zip(number(length))
            .ok_or("a sparse file's map can't be read")?;
        sparse::add(pieces, piece)?;
    }
    Ok(())
}

fn owner(extended: Option<u64>, field: Option<i128>) -> Option<u64> {
    extended.or_else(|| field.and_then(|id| u64::try_from(id).ok()))
}

fn header_name(header: &Header) -> Vec<u8> {
    let name = header.text(header::NAME);
    let prefix = if header.has_prefix() {
        header.text(header::PREFIX)
    } else {
        b""
    };
    if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    }
}

/// Drops `.` and empty components and the `/` at the end; keeps `..` and a `/` at the start, which are for the caller
/// to refuse.
fn plain_path(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    if path.starts_with(b"/") {
        plain.push(b'/');
    }
    for component in path.split(|&byte| byte == b'/') {
        if component.is_empty() || component == b"." {
            continue;
        }
        if !plain.is_empty() && plain != b"/" {
            plain.push(b'/');
        }
        plain.extend_from_slice(component);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_dots_and_keep_what_must_be_refused() {
        for (path, plain) in [
            ("./", ""),
            (".", ""),
            ("./a//b/./c/", "a/b/c"),
            ("/etc/passwd", "/etc/passwd"),
            ("a/../../b", "a/../../b"),
            ("//a", "/a"),
            ("", ""),
        ] {
            assert_eq!(plain_path(path.as_bytes()), plain.as_bytes(), "{path}");
        }
    }
}
