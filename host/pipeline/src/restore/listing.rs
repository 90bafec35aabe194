//! Lists a backup without an index: the levels front to back, each one's members merged into what the levels before left.
//!
//! What a restore front to back would make is what is listed: renames are followed, and what a directory's list of names
//! leaves out is gone. Members are sorted in temporary files, so that memory doesn't grow with the tree; of it all, one
//! list of names is held for each directory on the way to the path at hand.

use std::io;

use freezer_format::index::{Entry, EntryKind, compare_paths};
use freezer_format::tar::Member;

use super::names::{Listed, Renames, renames};
use super::report::Reporter;
use super::sequential::{Archive, damaged};
use super::sorter::{Merged, Record, RunWriter, Sorter};
use super::spool::{decode, encode};
use super::target::path::{is_within, refusal, split};
use super::{LevelData, RestoreError, unit};
use crate::counters::WarningKind;
use crate::job::RunContext;

/// Most bytes of old and new names of renames in one level: they are held in memory.
const RENAMES_BYTES_MAX: usize = 16 << 20;

/// Most bytes of the lists of names on the way to a path: the longest directories there are, several times over.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// Hands the entries of a backup to `visit`, in the order of their paths.
pub(super) fn list(
    levels: &[LevelData],
    visit: &mut dyn FnMut(&Entry) -> Result<(), RestoreError>,
    context: &RunContext<'_>,
) -> Result<(), RestoreError> {
    let reporter = Reporter::new(context);
    let mut state: Option<Merged> = None;
    for level in levels {
        let (mut now, renames) = read(level, &reporter)?;
        state = Some(match state {
            None => now,
            Some(before) => {
                let before = rename(before, &renames).map_err(RestoreError::Spool)?;
                merge(before, &mut now, (level, context))?
            }
        });
    }
    let mut state = state.ok_or(RestoreError::NoLevels)?;
    while let Some(record) = state.next().map_err(RestoreError::Spool)? {
        context.cancel.check()?;
        let row = Row::unpack(record).map_err(RestoreError::Spool)?;
        visit(&entry(row))?;
    }
    Ok(())
}

/// Reads a level to its end: its members in the order of their paths, and what it renames.
fn read(level: &LevelData, reporter: &Reporter<'_>) -> Result<(Merged, Renames), RestoreError> {
    let mut archive = Archive::open(level, reporter)?;
    let mut sorter = Sorter::default();
    let mut renamed = Renames::new();
    let mut renamed_bytes = 0;
    while let Some(mut member) = archive.next()? {
        reporter.context.cancel.check()?;
        if let Some(reason) = refusal(&member.path) {
            let text = format!("a restore leaves it out: {reason}");
            reporter.warn(&member.path, WarningKind::Refused, text, true);
            continue;
        }
        let names = member.dumpdir.take().unwrap_or_default();
        for (from, to) in renames(&names).map_err(|error| archive.tar_error(error))? {
            renamed_bytes += from.len() + to.len();
            match refusal(&to) {
                None => renamed.push((from, to)),
                Some(reason) => {
                    let text = format!("a restore doesn't rename it: {reason}");
                    reporter.warn(&from, WarningKind::Refused, text, true);
                }
            }
        }
        if renamed_bytes > RENAMES_BYTES_MAX {
            return Err(archive.damaged("it renames more than can be followed"));
        }
        let (size, level) = (member.size, level.id.level.0);
        let row = Row {
            member,
            size,
            level,
            names,
        };
        sorter.push(row.pack()).map_err(RestoreError::Spool)?;
    }
    Ok((sorter.finish().map_err(RestoreError::Spool)?, renamed))
}

/// Gives what is renamed its new paths, and sorts anew if anything is.
fn rename(mut rows: Merged, renames: &Renames) -> io::Result<Merged> {
    if renames.is_empty() {
        return Ok(rows);
    }
    let mut sorter = Sorter::default();
    while let Some(mut record) = rows.next()? {
        for (from, to) in renames {
            if is_within(&record.path, from) {
                record.path = [to, &record.path[from.len()..]].concat();
            }
        }
        sorter.push(record)?;
    }
    sorter.finish()
}

/// Merges the members of a level into the state that the levels before left.
fn merge(
    mut before: Merged,
    now: &mut Merged,
    (level, context): (&LevelData, &RunContext<'_>),
) -> Result<Merged, RestoreError> {
    let mut state = RunWriter::default();
    let mut above = Above::default();
    let (mut old, mut new) = (
        before.next().map_err(RestoreError::Spool)?,
        now.next().map_err(RestoreError::Spool)?,
    );
    loop {
        context.cancel.check()?;
        let order = match (&old, &new) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => compare_paths(&old.path, &new.path),
        };
        // Where both have a path, the new member takes the old one's place.
        let dropped = if order.is_le() {
            std::mem::replace(&mut old, before.next().map_err(RestoreError::Spool)?)
        } else {
            None
        };
        let taken = if order.is_ge() {
            std::mem::replace(&mut new, now.next().map_err(RestoreError::Spool)?)
        } else {
            None
        };
        let is_new = taken.is_some();
        let Some(record) = taken.or(dropped) else { break };
        let mut row = Row::unpack(record).map_err(RestoreError::Spool)?;
        let names = std::mem::take(&mut row.names);
        let is_kept = above
            .take(&row, is_new, &names)
            .map_err(|reason| damaged(level, 0, reason))?;
        if is_kept {
            state.push(&row.pack()).map_err(RestoreError::Spool)?;
        }
    }
    let state = state.finish().map_err(RestoreError::Spool)?;
    Merged::new(vec![state]).map_err(RestoreError::Spool)
}

/// What lies above the path at hand, the root first.
#[derive(Default)]
struct Above {
    parents: Vec<Parent>,
    /// Bytes of the lists of names of all of them.
    names_bytes: usize,
}

struct Parent {
    path: Vec<u8>,
    /// Its names, if the level at hand lists them.
    names: Option<Listed>,
    names_bytes: usize,
    /// No directory any more: what was below is gone.
    is_gone: bool,
}

impl Above {
    /// Whether a row belongs to the state after the level; rows come in order. The error is what is wrong with `names`.
    fn take(&mut self, row: &Row, is_new: bool, names: &[u8]) -> Result<bool, String> {
        let path = &row.member.path;
        let kind = unit::kind(row.member.kind);
        while let Some(last) = self.parents.pop_if(|parent| !is_within(path, &parent.path)) {
            self.names_bytes -= last.names_bytes;
        }
        let is_kept = is_new || self.keeps(path, kind);
        self.names_bytes += names.len();
        if self.names_bytes > NAMES_BYTES_MAX {
            return Err("its lists of names are longer than can be held".to_owned());
        }
        let listed = (!names.is_empty()).then(|| Listed::new(names)).transpose();
        self.parents.push(Parent {
            path: path.clone(),
            names: listed.map_err(|error| error.to_string())?,
            names_bytes: names.len(),
            is_gone: !is_kept || kind != EntryKind::Directory,
        });
        Ok(is_kept)
    }

    /// Whether something that only an earlier level has is still there.
    fn keeps(&self, path: &[u8], kind: EntryKind) -> bool {
        let Some(parent) = self.parents.last() else {
            return true;
        };
        let (directory, name) = split(path);
        match &parent.names {
            _ if parent.is_gone => false,
            Some(names) if parent.path == directory && !path.is_empty() => {
                names.holds(name, kind == EntryKind::Directory)
            }
            _ => true,
        }
    }
}

/// A member as it lies in the temporary files, without content and attributes.
struct Row {
    member: Member,
    size: u64,
    /// The level whose archive holds it.
    level: u32,
    /// Its list of names, while its level is the one at hand.
    names: Vec<u8>,
}

impl Row {
    fn pack(mut self) -> Record {
        self.member.xattrs.clear();
        let mut payload = self.level.to_le_bytes().to_vec();
        payload.extend_from_slice(&self.size.to_le_bytes());
        payload.extend_from_slice(&(self.names.len() as u64).to_le_bytes());
        payload.append(&mut self.names);
        let path = std::mem::take(&mut self.member.path);
        encode(&self.member, &mut payload);
        Record { path, payload }
    }

    fn unpack(record: Record) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let rest = &record.payload[..];
        let (level, rest) = rest.split_first_chunk().ok_or_else(invalid)?;
        let (size, rest) = rest.split_first_chunk().ok_or_else(invalid)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(invalid)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(io::Error::other)?;
        let (names, rest) = rest.split_at_checked(length).ok_or_else(invalid)?;
        let mut member = decode(rest)?;
        member.path = record.path;
        Ok(Self {
            member,
            size: u64::from_le_bytes(*size),
            level: u32::from_le_bytes(*level),
            names: names.to_vec(),
        })
    }
}

/// The row as an index would have it.
fn entry(row: Row) -> Entry {
    let Row {
        member, size, level, ..
    } = row;
    let number = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    Entry {
        unindexed: true,
        level,
        size,
        mode: member.mode,
        uid: number(member.uid),
        gid: number(member.gid),
        mtime: member.mtime,
        link: member.link,
        rdev: member.rdev,
        ..Entry::new(member.path, unit::kind(member.kind))
    }
}
