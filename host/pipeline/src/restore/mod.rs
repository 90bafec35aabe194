//! The way back: from stored levels to a tree of files, one file on an output, or a verdict.
//!
//! With an index, [`restore`] plans from the newest one and writes each file once, in parallel (`indexed`); without
//! one it replays the levels front to back as GNU tar would (`sequential`; `listing` only names what that would make); a
//! stream becomes one file or goes to an output (`stream`). Everything is created below one open
//! directory (`target`), never through a link, and each file gets its name when it is complete and verified.
//! Which levels belong together, and whether they are authentic, the caller has settled before.

mod content;
mod dump;
mod error;
mod finish;
mod frames;
mod indexed;
mod listing;
mod merge;
mod names;
mod plan;
mod report;
mod selection;
mod sequential;
mod sorter;
mod spool;
mod stream;
mod target;
mod unit;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::index::Entry;
use freezer_format::name::LevelId;

use crate::counters::{Warning, WarningKind};
use crate::job::RunContext;
use crate::object::StoredIndex;
use crate::store::Store;

use report::Reporter;
use selection::Selection;

pub use error::RestoreError;

/// One stored level of a chain, ready to be read.
pub struct LevelData {
    /// Which level it is.
    pub id: LevelId,
    /// Where it lies.
    pub store: Arc<dyn Store>,
    /// The key of its stream.
    pub data_key: String,
    /// Bytes of the stored stream.
    pub data_bytes: u64,
    /// The salt at the stream's head, where the manifest tells it; saves a request.
    pub data_salt: Option<[u8; 8]>,
    /// How it is compressed; `None`: by its first bytes.
    pub compression: Option<Compression>,
    /// How it is encrypted.
    pub cipher: Option<Cipher>,
    /// Its index; levels that the original wrote have none.
    pub index: Option<StoredIndex>,
}

/// What is to be restored, and whereto.
pub struct RestoreJob<'a> {
    /// Levels 0 to n of one chain, ascending. The last one's index is the plan.
    pub levels: Vec<LevelData>,
    /// The directory that receives the tree; made if absent.
    pub target: PathBuf,
    /// Paths below the backup's root, each with everything below it; empty means all.
    pub paths: Vec<Vec<u8>>,
    /// Whether the target may hold something already. Files of the same name are replaced, others stay.
    pub overwrite: bool,
    /// Whether files that couldn't be read at the newest level are restored as an earlier level has them.
    pub stale: bool,
    /// Whether nothing is written: everything is read, verified and counted.
    pub dry_run: bool,
    /// Most threads that create files.
    pub workers: usize,
    /// Bytes of buffers that may be held.
    pub memory_bytes: u64,
    /// Whether the index is ignored and all levels are read front to back.
    pub sequential: bool,
    /// Clock, randomness, counters and the way to the user.
    pub context: &'a RunContext<'a>,
}

/// What a restore did.
#[derive(Debug, Clone, Default)]
pub struct RestoreReport {
    /// Regular files written.
    pub files: u64,
    /// Directories made or brought to their state.
    pub directories: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Further names given to files.
    pub hard_links: u64,
    /// Devices and FIFOs made.
    pub others: u64,
    /// Bytes of content written, holes left out.
    pub bytes: u64,
    /// Names removed because a later level doesn't have them (front to back only).
    pub removed: u64,
    /// Files with setuid or setgid bits that were kept.
    pub setuid_kept: u64,
    /// Entries that lost setuid or setgid bits: because this isn't root, or because they aren't files.
    pub setuid_dropped: u64,
    /// Entries refused for safety or because the target can't hold them.
    pub refused: u64,
    /// Entries left out because they couldn't be read when they were backed up.
    pub unreadable: u64,
    /// Files restored as an earlier level has them, because `stale` was asked for.
    pub stale: u64,
    /// The first 100 warnings.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// Whether something isn't as the backup has it.
    pub partial: bool,
}

/// Restores a tree.
///
/// Everything that can be judged beforehand is judged before the first write. Entries that can't be made are
/// named by warnings and make the report partial; the rest goes on.
///
/// # Errors
/// The target isn't usable, something stored is missing or damaged, or the run was cancelled. Files that have
/// got their names by then are whole; other leftovers are named `.freezer-…`.
pub fn restore(job: RestoreJob<'_>) -> Result<RestoreReport, RestoreError> {
    let reporter = Reporter::new(job.context);
    let selection = Selection::new(&job.paths);
    let mut random = [0; 8];
    (job.context.random)(&mut random);
    let run = hex::encode(random);
    let newest = job.levels.last().ok_or(RestoreError::NoLevels)?;
    if job.dry_run && !job.overwrite && holds_something(&job.target) {
        let text = "the target isn't empty: without overwriting, the restore itself will be refused";
        reporter.warn(b"", WarningKind::Refused, text.to_owned(), false);
    }
    match &newest.index {
        Some(index) if index.header().is_stream() => {
            stream::restore(&job, (newest, index), &selection, &reporter, &run)?;
        }
        Some(index) if !job.sequential => indexed::restore(&job, index, &selection, &reporter, &run)?,
        _ => sequential::restore(&job, &selection, &reporter, &run)?,
    }
    Ok(reporter.finish())
}

/// Whether a directory is there and not empty, as far as can be seen.
fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Writes the content of one file, reading only the frames it needs. Answers the number of bytes.
///
/// Hard links are resolved, holes are written as zeros.
///
/// # Errors
/// The path isn't in the backup or isn't a file, something stored is missing or damaged, the output fails.
pub fn dump(
    levels: &[LevelData],
    path: &[u8],
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    dump::dump(levels, path, out, context)
}

/// Writes a stored stream to an output, as it came. Answers the number of bytes.
///
/// # Errors
/// The level holds no stream, something stored is missing or damaged, the output fails or the run was cancelled. Only an
/// answer says that what was written is all of it.
pub fn write_stream(
    level: &LevelData,
    out: &mut dyn Write,
    context: &RunContext<'_>,
) -> Result<u64, RestoreError> {
    stream::write(level, out, context)
}

/// Lists a backup without an index: all levels are read front to back. Hands each entry to `visit`, in the order of
/// their paths. What only a restore would refuse is left out and named by a warning.
///
/// # Errors
/// Something stored is missing or damaged, temporary files can't be used, `visit` fails, or the run was cancelled.
pub fn list(
    levels: &[LevelData],
    visit: &mut dyn FnMut(&Entry) -> Result<(), RestoreError>,
    context: &RunContext<'_>,
) -> Result<(), RestoreError> {
    listing::list(levels, visit, context)
}

/// The path of the one file that the index of a stream lists.
///
/// # Errors
/// The level holds no stream, or its index is damaged.
pub fn stream_file(level: &LevelData) -> Result<Vec<u8>, RestoreError> {
    let number = level.id.level.0;
    let index = level
        .index
        .as_ref()
        .ok_or(RestoreError::NotAStream { level: number })?;
    Ok(stream::row(level, index)?.path)
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's key.
    pub object: String,
    /// Where in the stored object, or, if `reason` says so, in the archive inside it.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// What a verification read and found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Bytes of the stored stream that were read.
    pub bytes: u64,
    /// Frames whose digest and content were checked.
    pub frames: u64,
    /// Segments whose digest was checked.
    pub segments: u64,
    /// Members of the archive that were compared with the index.
    pub members: u64,
    /// The first 100 damaged places.
    pub damage: Vec<Damage>,
    /// How many damaged places there are.
    pub damage_count: u64,
    /// SHA-256 of the concatenated digests of the segments, for comparison with the manifest; `None` without index.
    pub segments_sha256: Option<[u8; 32]>,
}

/// Reads a whole level and checks everything that can be checked: segment and frame digests, decompression, the
/// archive's structure, and each member against its index row. Goes on after damage as far as that makes sense.
///
/// # Errors
/// The storage fails, the index itself is damaged, or the run was cancelled. Damaged data is in the report.
pub fn verify(level: &LevelData, context: &RunContext<'_>) -> Result<VerifyReport, RestoreError> {
    verify::verify(level, context)
}
