//! Turns a member into the header bytes that stand before its content.
//!
//! A pax header is written only for values the ustar fields can't hold, in a fixed order and under a name made of the
//! member's own, so that equal trees give equal bytes. No times but `mtime`, no vendor keywords: GNU tar warns of each
//! unknown keyword at every file.

use super::extended::XATTRS_MAX;
use super::header::{self, Header, Magic, OCTAL_8_MAX, OCTAL_12_MAX};
use super::{
    BLOCK, DUMPDIR_MAX, DUMPDIR_RECORD_MAX, Member, MemberKind, RECORD_MAX, RECORDS_MAX, SPARSE_PIECES_MAX,
    TarError,
};
use super::{pax, sparse};

/// Appends all that stands before the content of a member: its headers and, for a sparse file, its map.
///
/// The content follows, [`content_bytes`] long, then [`padding`] of that. A dumpdir is part of the headers; one above
/// [`DUMPDIR_RECORD_MAX`] is written as data of a typeflag `D` member, padding included.
///
/// # Errors
/// [`TarError::Unwritable`] when a value has no form in tar: a zero byte in a name, a mode above 0o7777, a map that
/// doesn't fit the file, records above the limits of this module. Nothing was appended then.
pub fn encode(member: &Member, out: &mut Vec<u8>) -> Result<(), TarError> {
    check(member)?;
    match &member.dumpdir {
        Some(dumpdir) if dumpdir.len() > DUMPDIR_RECORD_MAX => {
            encode_large_directory(member, dumpdir.len() as u64, out)?;
            out.extend_from_slice(dumpdir);
            out.resize(out.len() + padding(dumpdir.len() as u64), 0);
            Ok(())
        }
        _ => write(member, Form::Plain, out),
    }
}

/// Appends the headers of a directory whose dumpdir follows as data of `dumpdir_bytes` bytes, then [`padding`] of that.
///
/// For directories whose names don't fit in memory; [`Member::dumpdir`] isn't looked at.
///
/// # Errors
/// [`TarError::Unwritable`], as for [`encode`], and when the dumpdir is above [`DUMPDIR_MAX`].
pub fn encode_large_directory(
    member: &Member,
    dumpdir_bytes: u64,
    out: &mut Vec<u8>,
) -> Result<(), TarError> {
    check(member)?;
    if member.kind != MemberKind::Directory {
        return Err(unwritable("it has a dumpdir but is no directory"));
    }
    if dumpdir_bytes > DUMPDIR_MAX {
        return Err(unwritable("its directory has too many names"));
    }
    write(member, Form::LargeDirectory { dumpdir_bytes }, out)
}

/// Returns the length in bytes of the content that follows a member's headers.
pub fn content_bytes(member: &Member) -> u64 {
    match (&member.sparse, member.kind) {
        (_, kind) if kind != MemberKind::File => 0,
        (Some(pieces), _) => pieces
            .iter()
            .fold(0, |sum, &(_, length)| sum.saturating_add(length)),
        (None, _) => member.size,
    }
}

/// Returns the number of zero bytes that fill content of `bytes` bytes up to a block.
pub fn padding(bytes: u64) -> usize {
    let over = (bytes % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK - over }
}

/// How a member is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// Typeflag `D` with GNU's magic: GNU tar takes the data for a dumpdir only then.
    LargeDirectory {
        dumpdir_bytes: u64,
    },
}

fn write(member: &Member, form: Form, out: &mut Vec<u8>) -> Result<(), TarError> {
    let (typeflag, magic) = match form {
        Form::Plain => (typeflag(member.kind), Magic::Posix),
        Form::LargeDirectory { .. } => (b'D', Magic::Gnu),
    };
    let mut header = Header::new(typeflag, magic);
    let mut records = Vec::new();
    let mut map = Vec::new();
    if let Some(pieces) = &member.sparse {
        sparse::put_map(pieces, member.size, &mut map);
    }
    let stored = match form {
        Form::LargeDirectory { dumpdir_bytes } => dumpdir_bytes,
        Form::Plain => content_bytes(member)
            .checked_add(map.len() as u64)
            .ok_or_else(|| unwritable("its size overflows"))?,
    };
    put_names(member, magic, &mut header, &mut records);
    put_numbers(member, stored, &mut header, &mut records);
    put_attributes(member, &mut records);
    if records.len() as u64 > RECORDS_MAX {
        return Err(unwritable("its extended attributes are too large"));
    }
    if form == Form::Plain
        && let Some(dumpdir) = &member.dumpdir
    {
        pax::put(&mut records, b"GNU.dumpdir", dumpdir);
    }
    put_extended(member, &records, out);
    header.seal();
    out.extend_from_slice(&header.bytes);
    out.extend_from_slice(&map);
    Ok(())
}

fn typeflag(kind: MemberKind) -> u8 {
    match kind {
        MemberKind::File => b'0',
        MemberKind::HardLink => b'1',
        MemberKind::Symlink => b'2',
        MemberKind::CharDevice => b'3',
        MemberKind::BlockDevice => b'4',
        MemberKind::Directory => b'5',
        MemberKind::Fifo => b'6',
    }
}

/// Returns a path as it stands in the archive: below `./`, directories with `/` at the end.
fn archive_name(path: &[u8], kind: MemberKind) -> Vec<u8> {
    let mut name = b"./".to_vec();
    name.extend_from_slice(path);
    if kind == MemberKind::Directory && !path.is_empty() {
        name.push(b'/');
    }
    name
}

fn put_names(member: &Member, magic: Magic, header: &mut Header, records: &mut Vec<u8>) {
    let name = archive_name(&member.path, member.kind);
    if member.sparse.is_some() {
        // Readers that don't know sparse files see map and data under this name, not under the file's.
        let parent = name
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        let mut stand_in = name[..parent].to_vec();
        stand_in.extend_from_slice(b"GNUSparseFile.0/");
        stand_in.extend_from_slice(&name[parent..]);
        put_path(&stand_in, magic, header, records);
        pax::put(records, b"GNU.sparse.major", b"1");
        pax::put(records, b"GNU.sparse.minor", b"0");
        pax::put(records, b"GNU.sparse.name", &name);
        pax::put_number(records, b"GNU.sparse.realsize", member.size);
    } else {
        put_path(&name, magic, header, records);
    }
    let link = match member.kind {
        MemberKind::HardLink => archive_name(&member.link, MemberKind::File),
        MemberKind::Symlink => member.link.clone(),
        _ => Vec::new(),
    };
    if link.len() > header::LINK.len() {
        pax::put(records, b"linkpath", &link);
    }
    header.set_text(header::LINK, &link);
    for (field, key, text) in [
        (header::UNAME, b"uname", &member.uname),
        (header::GNAME, b"gname", &member.gname),
    ] {
        // The field ends with a zero byte.
        if text.len() >= field.len() {
            pax::put(records, key, text);
        } else {
            header.set_text(field, text);
        }
    }
}

fn put_path(name: &[u8], magic: Magic, header: &mut Header, records: &mut Vec<u8>) {
    if name.len() <= header::NAME.len() {
        header.set_text(header::NAME, name);
        return;
    }
    // GNU's magic has no prefix field.
    let split = if magic == Magic::Posix { split(name) } else { None };
    if let Some(slash) = split {
        header.set_text(header::PREFIX, &name[..slash]);
        header.set_text(header::NAME, &name[slash + 1..]);
    } else {
        pax::put(records, b"path", name);
        header.set_text(header::NAME, name);
    }
}

/// Finds the `/` at which a name falls into prefix and name field, both full enough and neither empty.
fn split(name: &[u8]) -> Option<usize> {
    let first = name.len().checked_sub(header::NAME.len() + 1)?;
    let last = header::PREFIX.len().min(name.len() - 2);
    (first.max(1)..=last).find(|&at| name[at] == b'/')
}

fn put_numbers(member: &Member, stored: u64, header: &mut Header, records: &mut Vec<u8>) {
    let mut put = |field, key: &[u8], value: u64, most: u64| {
        if value > most {
            pax::put_number(records, key, value);
            header.set_number(field, 0);
        } else {
            header.set_number(field, value);
        }
    };
    put(header::SIZE, b"size", stored, OCTAL_12_MAX);
    put(header::UID, b"uid", member.uid, OCTAL_8_MAX);
    put(header::GID, b"gid", member.gid, OCTAL_8_MAX);
    header.set_number(header::MODE, u64::from(member.mode));
    header.set_number(header::MAJOR, u64::from(member.rdev.0));
    header.set_number(header::MINOR, u64::from(member.rdev.1));
    let seconds = u64::try_from(member.mtime.seconds).unwrap_or(0).min(OCTAL_12_MAX);
    header.set_number(header::MTIME, seconds);
    if member.mtime.nanoseconds != 0 || i128::from(seconds) != i128::from(member.mtime.seconds) {
        pax::put_time(records, b"mtime", member.mtime);
    }
}

fn put_attributes(member: &Member, records: &mut Vec<u8>) {
    for (name, value) in &member.xattrs {
        let mut key = b"SCHILY.xattr.".to_vec();
        for &byte in name {
            match byte {
                // A keyword ends at the first `=`.
                b'=' => key.extend_from_slice(b"%3D"),
                b'%' => key.extend_from_slice(b"%25"),
                _ => key.push(byte),
            }
        }
        pax::put(records, &key, value);
    }
    if let Some(acl) = &member.acl_access {
        pax::put(records, b"SCHILY.acl.access", acl);
    }
    if let Some(acl) = &member.acl_default {
        pax::put(records, b"SCHILY.acl.default", acl);
    }
}

/// Appends a pax header with `records`, if there are any.
fn put_extended(member: &Member, records: &[u8], out: &mut Vec<u8>) {
    if records.is_empty() {
        return;
    }
    let mut header = Header::new(b'x', Magic::Posix);
    let start = member
        .path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let mut name = b"./PaxHeaders/".to_vec();
    name.extend_from_slice(&member.path[start..]);
    header.set_text(header::NAME, &name);
    header.set_number(header::MODE, 0o644);
    header.set_number(header::UID, 0);
    header.set_number(header::GID, 0);
    header.set_number(header::MTIME, 0);
    header.set_number(header::SIZE, records.len() as u64);
    header.seal();
    out.extend_from_slice(&header.bytes);
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
}

/// Refuses what no reader would give back as it was.
fn check(member: &Member) -> Result<(), TarError> {
    let is_link = matches!(member.kind, MemberKind::HardLink | MemberKind::Symlink);
    let texts = [&member.path, &member.link, &member.uname, &member.gname];
    if texts.iter().any(|text| text.contains(&0)) {
        return Err(unwritable("a name in it holds a zero byte"));
    }
    if texts.iter().any(|text| text.len() as u64 > RECORD_MAX - 64) {
        return Err(unwritable("a name in it is too long"));
    }
    if member.kind == MemberKind::Symlink && member.link.is_empty() {
        return Err(unwritable("it is a link to nothing"));
    }
    if !is_link && !member.link.is_empty() {
        return Err(unwritable("it has a target but is no link"));
    }
    if member.mode > 0o7777 {
        return Err(unwritable("its mode has more than permission bits"));
    }
    if member.kind != MemberKind::Directory && member.dumpdir.is_some() {
        return Err(unwritable("it has a dumpdir but is no directory"));
    }
    if member.kind != MemberKind::File && (member.size != 0 || member.sparse.is_some()) {
        return Err(unwritable("it has a size but is no file"));
    }
    check_records(member)
}

fn check_records(member: &Member) -> Result<(), TarError> {
    if let Some(pieces) = &member.sparse {
        if pieces.len() >= SPARSE_PIECES_MAX {
            return Err(unwritable("it has too many pieces"));
        }
        if sparse::check(pieces, member.size).is_none() || pieces.iter().any(|&(_, length)| length == 0) {
            return Err(unwritable("its pieces don't fit its size"));
        }
        // GNU tar begins each piece at a block, other readers where the one before ended: both are right for whole
        // blocks.
        let is_whole = |&(_, length): &(u64, u64)| length.is_multiple_of(BLOCK as u64);
        if !pieces
            .split_last()
            .is_none_or(|(_, others)| others.iter().all(is_whole))
        {
            return Err(unwritable("a piece before its last isn't of whole blocks"));
        }
    }
    if member.xattrs.len() > XATTRS_MAX {
        return Err(unwritable("it has too many extended attributes"));
    }
    let acls = [&member.acl_access, &member.acl_default];
    let is_large = |bytes: usize| bytes as u64 > RECORD_MAX - 1024;
    if member
        .xattrs
        .iter()
        .any(|(name, value)| name.is_empty() || is_large(name.len() * 3 + value.len()))
        || acls.into_iter().flatten().any(|acl| is_large(acl.len()))
    {
        return Err(unwritable("an extended attribute is empty or too large"));
    }
    Ok(())
}

fn unwritable(reason: &'static str) -> TarError {
    TarError::Unwritable { reason }
}
