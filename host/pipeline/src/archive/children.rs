//! What one directory holds, with the verdict on each entry, between listing it and archiving it.
//!
//! A directory's header names its entries, so all of them are judged before the first is archived. Beyond a limit of
//! memory the records go to an unlinked temporary file and come back from there in the same order.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use freezer_format::time::Time;

use crate::source::{Kind, Stat};

/// What is to be done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is a directory: archived at each level.
    Enter {
        /// Whether the parent level had a directory of this name.
        known: bool,
    },
    /// It is archived at this level.
    Dump {
        /// Whether the parent level had something of this name.
        known: bool,
    },
    /// It is as the parent level has it.
    Keep(Kept),
}

/// Where an unchanged entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) level: u32,
    pub(super) offset: u64,
    /// It is a further name of a file.
    pub(super) is_hard_link: bool,
    pub(super) is_unindexed: bool,
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) stat: Stat,
    /// Whether `stat` was taken so soon after the last change that another one might not show.
    pub(super) is_racy: bool,
    pub(super) verdict: Verdict,
}

/// The entries of one directory, in order.
pub(super) struct Children {
    records: Records,
    count: u64,
    /// The record lent last.
    text: Vec<u8>,
}

enum Records {
    Memory {
        children: Vec<(Child, u32, u32)>,
        text: Vec<u8>,
        next: usize,
        limit: usize,
    },
    Writing(BufWriter<File>),
    Reading(BufReader<File>),
}

impl Children {
    /// Makes an empty list that takes about `limit` bytes of memory, with room for so many entries if that is less.
    pub(super) fn new(limit: usize, entries: usize) -> Self {
        let room = entries.min(limit / size_of::<(Child, u32, u32)>());
        let records = Records::Memory {
            children: Vec::with_capacity(room),
            text: Vec::with_capacity(room * 16),
            next: 0,
            limit,
        };
        Self {
            records,
            count: 0,
            text: Vec::new(),
        }
    }

    /// Appends an entry: its name, and what a kept link points to.
    pub(super) fn push(&mut self, child: &Child, name: &CStr, link: &[u8]) -> io::Result<()> {
        self.count += 1;
        let name = name.to_bytes_with_nul();
        match &mut self.records {
            Records::Memory {
                children,
                text,
                limit,
                ..
            } => {
                let link_length = u32::try_from(link.len()).map_err(io::Error::other)?;
                let start = u32::try_from(text.len()).map_err(io::Error::other)?;
                text.extend_from_slice(name);
                text.extend_from_slice(link);
                children.push((*child, start, link_length));
                if children.len() * size_of::<(Child, u32, u32)>() + text.len() > *limit {
                    self.spill()?;
                }
                Ok(())
            }
            Records::Writing(file) => write_record(file, child, name, link),
            Records::Reading(_) => Err(io::Error::other("the list of entries is complete")),
        }
    }

    /// Bytes of memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.records {
            Records::Memory { children, text, .. } => {
                children.capacity() * size_of::<(Child, u32, u32)>() + text.capacity()
            }
            _ => 0,
        }
    }

    /// Goes back to the first entry.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        let records = std::mem::replace(&mut self.records, Children::new(0, 0).records);
        self.records = match records {
            Records::Memory {
                children,
                text,
                limit,
                ..
            } => Records::Memory {
                children,
                text,
                limit,
                next: 0,
            },
            Records::Writing(file) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.seek(SeekFrom::Start(0))?;
                Records::Reading(BufReader::new(file))
            }
            Records::Reading(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Records::Reading(file)
            }
        };
        Ok(())
    }

    /// Lends the next entry with its name and link.
    pub(super) fn next(&mut self) -> io::Result<Option<(Child, &CStr, &[u8])>> {
        let (child, text, link_length) = match &mut self.records {
            Records::Memory {
                children, text, next, ..
            } => {
                let Some((child, start, link_length)) = children.get(*next) else {
                    return Ok(None);
                };
                *next += 1;
                let end = children
                    .get(*next)
                    .map_or(text.len(), |(_, start, _)| *start as usize);
                (*child, &text[*start as usize..end], *link_length)
            }
            Records::Reading(file) => match read_record(file, &mut self.text)? {
                Some((child, link_length)) => (child, &self.text[..], link_length),
                None => return Ok(None),
            },
            Records::Writing(_) => return Ok(None),
        };
        let (name, link) = text.split_at(text.len() - link_length as usize);
        Ok(CStr::from_bytes_with_nul(name)
            .ok()
            .map(|name| (child, name, link)))
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut file = BufWriter::new(tempfile::tempfile()?);
        self.rewind()?;
        while let Some((child, name, link)) = self.next()? {
            write_record(&mut file, &child, name.to_bytes_with_nul(), link)?;
        }
        self.records = Records::Writing(file);
        Ok(())
    }
}

/// Numbers in a record before its text.
const NUMBERS: usize = 20;

fn write_record(out: &mut impl Write, child: &Child, name: &[u8], link: &[u8]) -> io::Result<()> {
    let stat = &child.stat;
    let (code, level, offset) = match child.verdict {
        Verdict::Enter { known } => (u64::from(known), 0, 0),
        Verdict::Dump { known } => (2 + u64::from(known), 0, 0),
        Verdict::Keep(kept) => {
            let code = 4 + u64::from(kept.is_hard_link) + 2 * u64::from(kept.is_unindexed);
            (code, u64::from(kept.level), kept.offset)
        }
    };
    let numbers: [u64; NUMBERS] = [
        (name.len() + link.len()) as u64,
        link.len() as u64,
        code | u64::from(child.is_racy) << 8,
        level,
        offset,
        kind_code(stat.kind),
        stat.mode.into(),
        stat.uid.into(),
        stat.gid.into(),
        stat.nlink.into(),
        stat.size,
        stat.occupied_bytes,
        stat.inode,
        stat.device,
        stat.mount,
        stat.mtime.seconds.cast_unsigned(),
        stat.ctime.seconds.cast_unsigned(),
        u64::from(stat.mtime.nanoseconds) << 32 | u64::from(stat.ctime.nanoseconds),
        stat.rdev.0.into(),
        stat.rdev.1.into(),
    ];
    for number in numbers {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(name)?;
    out.write_all(link)
}

/// Reads a record that this process wrote, its text into `text`; answers the length of the link in it.
fn read_record(file: &mut BufReader<File>, text: &mut Vec<u8>) -> io::Result<Option<(Child, u32)>> {
    let mut bytes = [0; NUMBERS * 8];
    let mut first = [0; 1];
    if file.read(&mut first)? == 0 {
        return Ok(None);
    }
    bytes[0] = first[0];
    file.read_exact(&mut bytes[1..])?;
    let mut numbers = [0_u64; NUMBERS];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    text.resize(numbers[0] as usize, 0);
    file.read_exact(text)?;
    let code = numbers[2] & 0xff;
    let verdict = match code {
        0 | 1 => Verdict::Enter { known: code == 1 },
        2 | 3 => Verdict::Dump { known: code == 3 },
        _ => Verdict::Keep(Kept {
            level: numbers[3] as u32,
            offset: numbers[4],
            is_hard_link: (code - 4) & 1 != 0,
            is_unindexed: (code - 4) & 2 != 0,
        }),
    };
    let time = |seconds: u64, nanoseconds: u64| Time {
        seconds: seconds.cast_signed(),
        nanoseconds: nanoseconds as u32,
    };
    let stat = Stat {
        kind: KINDS[(numbers[5] as usize).min(KINDS.len() - 1)],
        mode: numbers[6] as u32,
        uid: numbers[7] as u32,
        gid: numbers[8] as u32,
        nlink: numbers[9] as u32,
        size: numbers[10],
        occupied_bytes: numbers[11],
        inode: numbers[12],
        device: numbers[13],
        mount: numbers[14],
        mtime: time(numbers[15], numbers[17] >> 32),
        ctime: time(numbers[16], numbers[17] & 0xffff_ffff),
        rdev: (numbers[18] as u32, numbers[19] as u32),
    };
    Ok(Some((
        Child {
            stat,
            is_racy: numbers[2] >> 8 != 0,
            verdict,
        },
        numbers[1] as u32,
    )))
}

const KINDS: [Kind; 8] = [
    Kind::File,
    Kind::Directory,
    Kind::Symlink,
    Kind::Fifo,
    Kind::CharDevice,
    Kind::BlockDevice,
    Kind::Socket,
    Kind::Other,
];

fn kind_code(kind: Kind) -> u64 {
    KINDS
        .iter()
        .position(|known| *known == kind)
        .unwrap_or(KINDS.len() - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn child(number: u32) -> Child {
        let stat = Stat {
            kind: KINDS[number as usize % 6],
            mode: 0o7755,
            uid: number,
            gid: u32::MAX,
            nlink: 3,
            size: u64::from(number) << 33,
            occupied_bytes: 512,
            inode: u64::MAX - 5,
            device: 77,
            mount: 12,
            mtime: Time {
                seconds: -5,
                nanoseconds: 999_999_999,
            },
            ctime: Time {
                seconds: i64::MAX,
                nanoseconds: number,
            },
            rdev: (8, number),
        };
        let kept = Kept {
            level: number,
            offset: 1 << 40,
            is_hard_link: number.is_multiple_of(2),
            is_unindexed: number.is_multiple_of(3),
        };
        let verdict = match number % 5 {
            0 => Verdict::Enter { known: false },
            1 => Verdict::Enter { known: true },
            2 => Verdict::Dump { known: false },
            3 => Verdict::Dump { known: true },
            _ => Verdict::Keep(kept),
        };
        Child {
            stat,
            is_racy: number.is_multiple_of(7),
            verdict,
        }
    }

    #[test]
    fn entries_come_back_in_order_from_memory_and_from_the_file() {
        for limit in [usize::MAX, 3000, 1] {
            let mut children = Children::new(limit, 10);
            for number in 0..100 {
                let name = CString::new(format!("name {number}")).unwrap();
                let link = vec![b'l'; number as usize % 4];
                children.push(&child(number), &name, &link).unwrap();
            }
            for _ in 0..2 {
                children.rewind().unwrap();
                for number in 0..100 {
                    let (found, name, link) = children.next().unwrap().unwrap();
                    assert_eq!(found, child(number));
                    assert_eq!(name.to_bytes(), format!("name {number}").as_bytes());
                    assert_eq!(link.len(), number as usize % 4);
                }
                assert!(children.next().unwrap().is_none());
            }
            assert!(limit == usize::MAX || children.memory_bytes() == 0);
        }
    }
}
