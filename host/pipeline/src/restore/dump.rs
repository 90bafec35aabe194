//! Writes the content of one file to an output: by the index from its one or two frames, else by reading levels
//! from the newest back until one holds it. The one file of a stream is all of it.

use std::io::Write;

use freezer_format::index::{Entry, EntryKind};
use freezer_format::tar::dumpdir::{Dumpdir, DumpdirEntry};
use freezer_format::tar::{Member, MemberKind, MemberReader, ReadOptions};

use super::content::{ContentError, ContentMover};
use super::frames::{FrameReader, LevelFrames};
use super::names;
use super::plan::Row;
use super::report::Reporter;
use super::sequential::{Archive, simplify};
use super::target::path::{is_within, split};
use super::unit::Source;
use super::{LevelData, RestoreError};
use crate::job::RunContext;
use crate::object::StoredIndex;

/// Piece of a hole that is written at once.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Writes a file's content; answers its size.
pub(super) fn dump(
    levels: &[LevelData],
    path: &[u8],
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    let newest = levels.last().ok_or(RestoreError::NoLevels)?;
    let path = simplify(path);
    let Some(index) = &newest.index else {
        return scan(levels, path, out, context);
    };
    let entry = find(newest, index, path)?;
    if index.header().is_stream() {
        return super::stream::write(newest, out, context);
    }
    if entry.unindexed {
        let without: usize = levels.iter().take_while(|level| level.index.is_none()).count();
        return scan(&levels[..without], path, out, context);
    }
    let level = levels.iter().find(|level| level.id.level.0 == entry.level);
    match level.and_then(|level| level.index.as_ref().map(|index| (level, index))) {
        Some((level, index)) => from_frames(&LevelFrames::open(level, index)?, &entry, out, context),
        None => Err(RestoreError::MissingLevel { level: entry.level }),
    }
}

/// Finds the row that has the content of a path.
fn find(newest: &LevelData, index: &StoredIndex, path: &[u8]) -> Result<Entry, RestoreError> {
    let level = newest.id.level.0;
    let look_up = |path: &[u8]| {
        index
            .find(path)
            .map_err(|source| RestoreError::Index { level, source })
    };
    let mut found = look_up(path)?;
    if let Some(link) = found
        .as_ref()
        .filter(|entry| entry.kind == EntryKind::HardLink && !entry.unindexed)
    {
        found = look_up(&link.link.clone())?;
    }
    let shown = || path.escape_ascii().to_string();
    let entry = found.ok_or_else(|| RestoreError::NotFound { path: shown() })?;
    if entry.unreadable {
        return Err(RestoreError::Unreadable { path: shown() });
    }
    match entry.kind {
        EntryKind::File => Ok(entry),
        EntryKind::HardLink if entry.unindexed => Ok(entry),
        EntryKind::Symlink => Err(is_symlink(path, &entry.link)),
        kind => Err(RestoreError::NotAFile {
            path: shown(),
            kind: word(kind),
        }),
    }
}

fn is_symlink(path: &[u8], goal: &[u8]) -> RestoreError {
    RestoreError::IsSymlink {
        path: path.escape_ascii().to_string(),
        goal: goal.escape_ascii().to_string(),
    }
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symbolic link",
        EntryKind::HardLink => "hard link",
        EntryKind::Fifo => "FIFO",
        EntryKind::CharDevice | EntryKind::BlockDevice => "device",
    }
}

fn from_frames(
    frames: &LevelFrames<'_>,
    entry: &Entry,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    let row = Row::new(entry);
    let source = Source { row: &row, frames };
    let mut reader = FrameReader::new(frames, context);
    reader.plan([row.range()]);
    reader.seek(row.offset);
    let mut archive = MemberReader::new(&mut reader, row.offset, ReadOptions::default());
    let member = match archive.next_member() {
        Ok(Some(member)) => member,
        Ok(None) => return Err(source.damaged("there is no member where the index has one")),
        Err(error) => return Err(source.failure(&mut reader, &error)),
    };
    source.agree(&member)?;
    let written = write_content(&member, &mut archive, out, context)?;
    written.map_err(|error| match error {
        ContentError::Read(error) => source.failure(&mut reader, &error),
        ContentError::Short => source.failure(&mut reader, &"a file's content is cut off"),
        ContentError::Fatal(error) => error,
    })
}

/// Writes a member's content with its holes as zeros. The outer error is the output's.
fn write_content(
    member: &Member,
    content: &mut impl std::io::Read,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<Result<u64, ContentError>, RestoreError> {
    let mut at = 0;
    let mut failure = None;
    let passed = ContentMover::new().pass_on(member, content, context, |offset, bytes| {
        let written = fill(out, &mut at, offset).and_then(|()| out.write_all(bytes));
        at = offset + bytes.len() as u64;
        written.map_err(|error| failure = Some(error))
    });
    if let Some(error) = failure {
        return Err(RestoreError::Output(error));
    }
    if let Err(error) = passed {
        return Ok(Err(error));
    }
    fill(out, &mut at, member.size)
        .and_then(|()| out.flush())
        .map_err(RestoreError::Output)?;
    Ok(Ok(member.size))
}

/// Writes zeros from `at` up to `end`.
fn fill(out: &mut dyn Write, at: &mut u64, end: u64) -> std::io::Result<()> {
    while *at < end {
        let length = (end - *at).min(ZEROS.len() as u64);
        out.write_all(&ZEROS[..length as usize])?;
        *at += length;
    }
    Ok(())
}

/// What one level says about a path.
enum Said {
    /// It held the content, which is written.
    Written(u64),
    /// It is another name of this one in the same level.
    Link(Vec<u8>),
    /// An earlier level has it, at this path.
    Earlier(Vec<u8>),
}

/// Looks for a file in levels without an index, from the newest back.
fn scan(
    levels: &[LevelData],
    path: &[u8],
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    let reporter = Reporter::new(context);
    let mut sought = path.to_vec();
    for level in levels.iter().rev() {
        let mut said = scan_level(level, &sought, out, &reporter)?;
        if let Said::Link(content) = said {
            // The content comes before its further names; a link to a link doesn't exist.
            said = scan_level(level, &content, out, &reporter)?;
        }
        match said {
            Said::Written(bytes) => return Ok(bytes),
            Said::Earlier(path) | Said::Link(path) => sought = path,
        }
    }
    Err(RestoreError::NotFound {
        path: path.escape_ascii().to_string(),
    })
}

fn scan_level(
    level: &LevelData,
    path: &[u8],
    out: &mut dyn Write,
    reporter: &Reporter<'_>,
) -> Result<Said, RestoreError> {
    let shown = || path.escape_ascii().to_string();
    let mut archive = Archive::open(level, reporter)?;
    let mut renames = names::Renames::new();
    // What leads to the path and isn't listed where it would be. Our lists leave out what follows as a member.
    let mut absent = None;
    while let Some(member) = archive.next()? {
        reporter.context.cancel.check()?;
        if let Some(names) = &member.dumpdir {
            renames.extend(names::renames(names).map_err(|error| archive.tar_error(error))?);
            absent =
                absent.or_else(|| towards(path, &member.path).filter(|next| !lists(names, split(next).1)));
        }
        absent = absent.filter(|absent| *absent != member.path);
        if member.path != path {
            continue;
        }
        match member.kind {
            MemberKind::File => {
                let written = write_content(&member, &mut archive.members, out, reporter.context)?;
                return written
                    .map(Said::Written)
                    .map_err(|error| archive.content_error(error));
            }
            MemberKind::HardLink => return Ok(Said::Link(member.link)),
            MemberKind::Symlink => return Err(is_symlink(path, &member.link)),
            kind => {
                return Err(RestoreError::NotAFile {
                    path: shown(),
                    kind: word(super::unit::kind(kind)),
                });
            }
        }
    }
    if absent.is_some() {
        return Err(RestoreError::NotFound { path: shown() });
    }
    // Backwards: what was renamed last had its old name just before.
    let mut before = path.to_vec();
    for (from, to) in renames.iter().rev() {
        if is_within(&before, to) {
            before = [from, &before[to.len()..]].concat();
        }
    }
    Ok(Said::Earlier(before))
}

/// The path just below `directory` on the way to `path`, if it lies there.
fn towards<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    if path.len() <= directory.len() || !is_within(path, directory) {
        return None;
    }
    let name = directory.len() + usize::from(!directory.is_empty());
    let end = path[name..].iter().position(|byte| *byte == b'/');
    Some(end.map_or(path, |end| &path[..name + end]))
}

fn lists(names: &[u8], name: &[u8]) -> bool {
    Dumpdir::new(names)
        .filter_map(Result::ok)
        .any(|entry| match entry {
            DumpdirEntry::Dumped(listed) | DumpdirEntry::Kept(listed) | DumpdirEntry::Directory(listed) => {
                listed == name
            }
            _ => false,
        })
}
