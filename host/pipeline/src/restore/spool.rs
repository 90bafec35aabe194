//! Lists of members that must wait, in unlinked temporary files: memory doesn't grow with the tree.
//!
//! Record = u32 length, payload, u32 length again, so that a list is read from either end. The payload is ours
//! alone and lives for one run. Directories are finished deepest first: their lists are merged from the end.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use freezer_format::index::compare_paths;
use freezer_format::tar::{Member, MemberKind};
use freezer_format::time::Time;
use tempfile::SpooledTempFile;

/// A short list stays in memory.
const MEMORY_BYTES: usize = 128 * 1024;
/// What is read at once, going backwards.
const WINDOW_BYTES: u64 = 64 * 1024;

/// A list that is being written.
pub(super) struct Spool {
    file: BufWriter<SpooledTempFile>,
    record: Vec<u8>,
    bytes: u64,
}

impl Spool {
    pub(super) fn new() -> Self {
        let file = BufWriter::with_capacity(16 * 1024, SpooledTempFile::new(MEMORY_BYTES));
        Self {
            file,
            record: Vec::new(),
            bytes: 0,
        }
    }

    /// Appends what is needed to make the member later: all but its content, holes and list of names.
    pub(super) fn push(&mut self, member: &Member) -> io::Result<()> {
        self.record.clear();
        encode(member, &mut self.record);
        let length = u32::try_from(self.record.len())
            .map_err(io::Error::other)?
            .to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&self.record)?;
        self.file.write_all(&length)?;
        self.bytes += self.record.len() as u64 + 8;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Ends writing and reads from the first to the last.
    pub(super) fn forward(self) -> io::Result<Forward> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Forward {
            file: BufReader::with_capacity(WINDOW_BYTES as usize, file),
            left: self.bytes,
        })
    }

    /// Ends writing and reads from the last to the first.
    pub(super) fn backward(self) -> io::Result<Backward> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Backward {
            file,
            window: Vec::new(),
            start: self.bytes,
            end: self.bytes,
        })
    }
}

/// Reads a list in the order in which it was written.
pub(super) struct Forward {
    file: BufReader<SpooledTempFile>,
    left: u64,
}

impl Forward {
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        let mut record = vec![0; u32::from_le_bytes(length) as usize];
        self.file.read_exact(&mut record)?;
        self.file.read_exact(&mut length)?;
        self.left = self.left.saturating_sub(record.len() as u64 + 8);
        decode(&record).map(Some)
    }
}

/// Reads a list from its end.
pub(super) struct Backward {
    file: SpooledTempFile,
    /// Bytes of the file from `start` on.
    window: Vec<u8>,
    start: u64,
    /// Where what was read so far begins.
    end: u64,
}

impl Backward {
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        if self.end == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        length.copy_from_slice(self.take(4)?);
        let record = u32::from_le_bytes(length) as usize;
        let member = decode(self.take(record)?)?;
        self.take(4)?;
        Ok(Some(member))
    }

    /// The `length` bytes before those taken last.
    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let from = self
            .end
            .checked_sub(length as u64)
            .ok_or(io::ErrorKind::InvalidData)?;
        if from < self.start {
            self.start = from.min(self.end.saturating_sub(WINDOW_BYTES));
            self.window.resize((self.end - self.start) as usize, 0);
            self.file.seek(SeekFrom::Start(self.start))?;
            self.file.read_exact(&mut self.window)?;
        }
        self.end = from;
        let at = (from - self.start) as usize;
        Ok(&self.window[at..at + length])
    }
}

/// Several lists, each rising by path, read together from the greatest path to the least.
pub(super) struct MergedBackward {
    lists: Vec<(Member, Backward)>,
}

impl MergedBackward {
    pub(super) fn new(lists: Vec<Spool>) -> io::Result<Self> {
        let mut merged = Self { lists: Vec::new() };
        for list in lists {
            merged.refill(list.backward()?)?;
        }
        Ok(merged)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        // A list per thread and level: too few for a heap to be worth its code.
        let greatest = (0..self.lists.len())
            .max_by(|a, b| compare_paths(&self.lists[*a].0.path, &self.lists[*b].0.path));
        let Some(greatest) = greatest else { return Ok(None) };
        let (member, list) = self.lists.swap_remove(greatest);
        self.refill(list)?;
        Ok(Some(member))
    }

    fn refill(&mut self, mut list: Backward) -> io::Result<()> {
        if let Some(member) = list.next()? {
            self.lists.push((member, list));
        }
        Ok(())
    }
}

const KINDS: [MemberKind; 7] = [
    MemberKind::File,
    MemberKind::Directory,
    MemberKind::Symlink,
    MemberKind::HardLink,
    MemberKind::Fifo,
    MemberKind::CharDevice,
    MemberKind::BlockDevice,
];

pub(super) fn encode(member: &Member, out: &mut Vec<u8>) {
    out.push(KINDS.iter().position(|kind| *kind == member.kind).unwrap_or(0) as u8);
    out.extend_from_slice(&member.mode.to_le_bytes());
    out.extend_from_slice(&member.uid.to_le_bytes());
    out.extend_from_slice(&member.gid.to_le_bytes());
    out.extend_from_slice(&member.mtime.seconds.to_le_bytes());
    out.extend_from_slice(&member.mtime.nanoseconds.to_le_bytes());
    out.extend_from_slice(&member.rdev.0.to_le_bytes());
    out.extend_from_slice(&member.rdev.1.to_le_bytes());
    for bytes in [&member.path, &member.link, &member.uname, &member.gname] {
        put(out, bytes);
    }
    for list in [&member.acl_access, &member.acl_default] {
        out.push(u8::from(list.is_some()));
        put(out, list.as_deref().unwrap_or_default());
    }
    for (name, value) in &member.xattrs {
        put(out, name);
        put(out, value);
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn decode(record: &[u8]) -> io::Result<Member> {
    read_member(record).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_member(mut record: &[u8]) -> Option<Member> {
    let rest = &mut record;
    let kind = *KINDS.get(usize::from(number::<1>(rest)?[0]))?;
    let mode = u32::from_le_bytes(number(rest)?);
    let (uid, gid) = (
        u64::from_le_bytes(number(rest)?),
        u64::from_le_bytes(number(rest)?),
    );
    let seconds = i64::from_le_bytes(number(rest)?);
    let mtime = Time {
        seconds,
        nanoseconds: u32::from_le_bytes(number(rest)?),
    };
    let rdev = (
        u32::from_le_bytes(number(rest)?),
        u32::from_le_bytes(number(rest)?),
    );
    let mut member = Member {
        mode,
        uid,
        gid,
        mtime,
        rdev,
        ..Member::new(take(rest)?, kind)
    };
    member.link = take(rest)?;
    member.uname = take(rest)?;
    member.gname = take(rest)?;
    for list in [&mut member.acl_access, &mut member.acl_default] {
        let is_there = number::<1>(rest)?[0] != 0;
        *list = Some(take(rest)?).filter(|_| is_there);
    }
    while !rest.is_empty() {
        let name = take(rest)?;
        member.xattrs.push((name, take(rest)?));
    }
    Some(member)
}

fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (number, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*number)
}

fn take(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(number(rest)?) as usize;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: usize) -> Member {
        let mut member = Member::new(format!("d/{number:06}"), KINDS[number % KINDS.len()]);
        member.mtime = Time {
            seconds: -(number as i64),
            nanoseconds: 7,
        };
        member.link = vec![b'l'; number % 300];
        member.rdev = (number as u32, 1);
        if number.is_multiple_of(5) {
            member.xattrs = vec![
                (b"user.a".to_vec(), vec![0, 1, 255]),
                (b"user.b".to_vec(), Vec::new()),
            ];
            member.acl_access = Some(b"user::rwx".to_vec());
        }
        member
    }

    #[test]
    fn a_list_is_read_from_both_ends() {
        for count in [0, 1, 3000] {
            let (mut one, mut other) = (Spool::new(), Spool::new());
            for number in 0..count {
                one.push(&member(number)).unwrap();
                other.push(&member(number)).unwrap();
            }
            let (mut forward, mut backward) = (one.forward().unwrap(), other.backward().unwrap());
            for number in 0..count {
                assert_eq!(forward.next().unwrap(), Some(member(number)));
                assert_eq!(backward.next().unwrap(), Some(member(count - 1 - number)));
            }
            assert_eq!((forward.next().unwrap(), backward.next().unwrap()), (None, None));
        }
    }

    #[test]
    fn lists_are_merged_from_the_greatest_path_down() {
        let mut lists = vec![Spool::new(), Spool::new(), Spool::new()];
        for number in 0..1000 {
            lists[number * number % 3].push(&member(number)).unwrap();
        }
        let mut merged = MergedBackward::new(lists).unwrap();
        for number in (0..1000).rev() {
            assert_eq!(merged.next().unwrap(), Some(member(number)));
        }
        assert_eq!(merged.next().unwrap(), None);
    }
}
