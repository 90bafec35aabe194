//! Values that stand before a member's header and override its fields: pax records and GNU's long names.

use super::pax::{self, Records};
use super::sparse::{self, Piece};
use super::{DUMPDIR_MAX, RECORD_MAX, RECORDS_MAX};
use crate::time::Time;

/// What was said of a member before its header; `None` leaves the header's field.
#[derive(Debug, Clone, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) uname: Option<Vec<u8>>,
    pub(super) gname: Option<Vec<u8>>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    pub(super) dumpdir: Option<Vec<u8>>,
    pub(super) sparse: SparseRecords,
    /// Bytes of all records taken so far, dumpdirs apart.
    bytes: u64,
}

/// Largest number of extended attributes: Linux lists at most 64 KiB of names of one file.
pub(super) const XATTRS_MAX: usize = 10_000;

/// The records of all pax forms of sparse files.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` of 0.0 and 0.1 or `GNU.sparse.realsize` of 1.0.
    pub(super) size: Option<u64>,
    /// Pieces of 0.0 and 0.1.
    pub(super) pieces: Vec<Piece>,
    offset: Option<u64>,
}

impl Extended {
    /// Takes the records of a pax header's body. A large dumpdir takes over the body's memory.
    ///
    /// Several headers may stand before one member, so the limits are for all of them together.
    pub(super) fn apply(&mut self, body: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut dumpdir = None;
        for record in Records::new(body) {
            let (key, value) = record?;
            if key == b"GNU.dumpdir" {
                if value.len() as u64 > DUMPDIR_MAX {
                    return Err("a dumpdir is too large");
                }
                let start = value.as_ptr().addr() - body.as_ptr().addr();
                dumpdir = Some(start..start + value.len());
                continue;
            }
            self.bytes = self.bytes.saturating_add(value.len() as u64 + key.len() as u64);
            if value.len() as u64 > RECORD_MAX || self.bytes > RECORDS_MAX {
                return Err("a pax record is too large");
            }
            self.record(key, value)?;
        }
        if let Some(range) = dumpdir {
            body.truncate(range.end);
            body.drain(..range.start);
            self.dumpdir = Some(std::mem::take(body));
        }
        Ok(())
    }

    /// Leaves what a global header may say of all members: not what belongs to one file.
    pub(super) fn keep_common(&mut self) {
        self.xattrs.clear();
        (self.acl_access, self.acl_default, self.dumpdir) = (None, None, None);
        self.sparse = SparseRecords::default();
        self.bytes = 0;
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const NUMBER: &str = "a number in a pax record can't be read";
        let number = || pax::decimal(value).ok_or(NUMBER);
        let text = || Some(value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"uname" => self.uname = text(),
            b"gname" => self.gname = text(),
            b"mtime" => self.mtime = Some(pax::time(value).ok_or("a time in a pax record can't be read")?),
            b"SCHILY.acl.access" => self.acl_access = text(),
            b"SCHILY.acl.default" => self.acl_default = text(),
            b"RHT.security.selinux" => self.xattr(b"security.selinux", value)?,
            b"GNU.sparse.major" => self.sparse.major = number()?,
            b"GNU.sparse.minor" => self.sparse.minor = number()?,
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(number()?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self
                    .sparse
                    .offset
                    .take()
                    .ok_or("a sparse file's piece has no offset")?;
                sparse::add(&mut self.sparse.pieces, (offset, number()?))?;
            }
            b"GNU.sparse.map" => self.sparse.map(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(&unescape(name), value)?;
                }
                // Other keywords say nothing that a restore needs: access times, comments, character sets.
            }
        }
        Ok(())
    }

    /// Sets an attribute; the last one of a name counts.
    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let count = self.xattrs.len();
        match self.xattrs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None if count >= XATTRS_MAX => return Err("a member has too many extended attributes"),
            None => self.xattrs.push((name.to_vec(), value.to_vec())),
        }
        Ok(())
    }
}

impl SparseRecords {
    /// Says whether any record of a sparse file came.
    pub(super) fn is_sparse(&self) -> bool {
        self.size.is_some() || self.major > 0 || !self.pieces.is_empty()
    }

    /// Takes the map of 0.1: offsets and lengths between commas.
    fn map(&mut self, value: &[u8]) -> Result<(), &'static str> {
        const BROKEN: &str = "a sparse file's map can't be read";
        self.pieces.clear();
        if value.is_empty() {
            return Ok(());
        }
        let mut numbers = value
            .split(|&byte| byte == b',')
            .map(|text| pax::decimal(text).ok_or(BROKEN));
        while let Some(offset) = numbers.next() {
            let length = numbers.next().ok_or(BROKEN)?;
            sparse::add(&mut self.pieces, (offset?, length?))?;
        }
        Ok(())
    }
}

/// Undoes the escaping of attribute names.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, used) = match rest {
            [b'%', b'3', b'D' | b'd', ..] => (b'=', 3),
            [b'%', b'2', b'5', ..] => (b'%', 3),
            _ => (byte, 1),
        };
        out.push(byte);
        rest = &after[used - 1..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_two_escapes_are_undone() {
        assert_eq!(unescape(b"user.a%3Db%25c%41%"), b"user.a=b%c%41%");
    }

    #[test]
    fn the_last_attribute_of_a_name_counts() {
        let mut extended = Extended::default();
        let mut body = Vec::new();
        pax::put(&mut body, b"SCHILY.xattr.user.a", b"1");
        pax::put(&mut body, b"SCHILY.xattr.user.a", b"2");
        extended.apply(&mut body).unwrap();
        assert_eq!(extended.xattrs, [(b"user.a".to_vec(), b"2".to_vec())]);
    }
}
