//! Reads a whole level and checks all that can be checked, on one pass over its stored bytes.
//!
//! Stored bytes → segment digests → decrypt → frame digests → decompress → the archive's members against the index's
//! rows. Damage is noted and the digests go on; the archive is followed only up to the first damaged frame.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_format::index::{Entry, EntryKind, FrameRow, IndexError, SegmentRow};
use freezer_format::tar::{End, Member, MemberReader, ReadOptions};
use sha2::{Digest, Sha256};

use super::frames::{LevelFrames, open_data};
use super::report::Reporter;
use super::sequential::Archive;
use super::{Damage, LevelData, RestoreError, VerifyReport, unit};
use crate::counters::Counters;
use crate::decompress::FrameDecoder;
use crate::job::RunContext;
use crate::object::{ObjectError, ObjectReader, StoredIndex};

/// How many damaged places a report keeps.
const DAMAGE_KEPT: usize = 100;
/// Piece in which a frame is read, so that a false length allocates no more than is there.
const PIECE_BYTES: usize = 256 * 1024;

/// Reads and checks a level.
pub(super) fn verify(level: &LevelData, context: &RunContext<'_>) -> Result<VerifyReport, RestoreError> {
    let findings = Findings::new(level);
    let checked = match &level.index {
        Some(index) => verify_indexed(level, index, context, &findings),
        None => verify_alone(level, context, &findings),
    };
    match checked {
        Ok(()) => {}
        Err(RestoreError::Damaged { offset, reason, .. }) => findings.note(offset, reason),
        Err(RestoreError::Object { source, .. }) if source.is_damage() => {
            let offset = match source {
                ObjectError::Read { offset, .. } => offset,
                _ => 0,
            };
            findings.note(offset, chain(&source));
        }
        Err(error) => return Err(error),
    }
    Ok(findings.finish())
}

/// An error with its causes, for a line of text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What was found so far; shared by the stages that find.
#[derive(Clone)]
struct Findings {
    object: String,
    level: u32,
    report: Arc<Mutex<VerifyReport>>,
}

impl Findings {
    fn new(level: &LevelData) -> Self {
        Self {
            object: level.data_key.clone(),
            level: level.id.level.0,
            report: Arc::default(),
        }
    }

    fn count(&self, change: impl FnOnce(&mut VerifyReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn note(&self, offset: u64, reason: impl Into<String>) {
        let damage = Damage {
            object: self.object.clone(),
            offset,
            reason: reason.into(),
        };
        self.count(|report| {
            report.damage_count += 1;
            if report.damage.len() < DAMAGE_KEPT {
                report.damage.push(damage);
            }
        });
    }

    fn finish(self) -> VerifyReport {
        std::mem::take(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A level without an index: its codec's sums and its archive's structure are all there is.
fn verify_alone(
    level: &LevelData,
    context: &RunContext<'_>,
    findings: &Findings,
) -> Result<(), RestoreError> {
    let reporter = Reporter::new(context);
    let mut archive = Archive::open(level, &reporter)?;
    while archive.next()?.is_some() {
        context.cancel.check()?;
        findings.count(|report| report.members += 1);
    }
    findings.count(|report| report.bytes = level.data_bytes);
    Ok(())
}

fn verify_indexed(
    level: &LevelData,
    index: &StoredIndex,
    context: &RunContext<'_>,
    findings: &Findings,
) -> Result<(), RestoreError> {
    let index_error = |source| RestoreError::Index {
        level: findings.level,
        source,
    };
    let frames = LevelFrames::open(level, index)?;
    let object = open_data(level)?;
    let head = object.head_bytes();
    let mut stored = SegmentChecker {
        inner: object.stored_reader().map_err(|source| RestoreError::Object {
            level: findings.level,
            source,
        })?,
        rows: index.segments().map_err(index_error)?,
        segment_bytes: index.header().segment_size,
        hasher: Sha256::new(),
        filled: 0,
        offset: 0,
        list: Sha256::new(),
        counters: context.counters,
        findings: findings.clone(),
        failure: None,
    };
    let skipped = io::copy(&mut stored.by_ref().take(head), &mut io::sink());
    let mut checker = FrameChecker {
        stored: object.decrypting(stored),
        rows: index.frames_from(0).map_err(index_error)?,
        decoder: frames.decoder(),
        frame_bytes: frames.frame_bytes(),
        head,
        offset: 0,
        number: 0,
        compressed: Vec::new(),
        plain: Vec::new(),
        position: 0,
        context,
        findings: findings.clone(),
        failure: None,
    };
    skipped.map_err(|error| checker.read_error(error))?;
    let followed = match index.header().is_stream() {
        true => follow_stream(&mut checker, level, index),
        false => follow_archive(&mut checker, index, findings),
    };
    let failure = checker.failure.take();
    match (followed, failure) {
        // The damage that ended the archive is noted already; the digests of the rest are still worth having.
        (Err(_) | Ok(()), None | Some(Broken::Damaged)) => {}
        (_, Some(Broken::Failed(error))) => return Err(error),
    }
    while checker.next_frame()? {}
    let (end, length) = (head + checker.offset, level.data_bytes);
    let mut stored = checker.stored;
    if end != length {
        findings.note(end, format!("its frames end here, but it is {length} bytes long"));
        // What is left still belongs to segments.
        drop(io::copy(&mut stored, &mut io::sink()));
    }
    stored.into_inner().finish()
}

/// Holds the length of a stream against the index's one row.
fn follow_stream(
    checker: &mut FrameChecker<'_, '_>,
    level: &LevelData,
    index: &StoredIndex,
) -> Result<(), RestoreError> {
    let expected = super::stream::row(level, index)?.size;
    let whole = io::copy(&mut *checker, &mut io::sink());
    // What ended it early is noted as damage of a frame.
    let Ok(bytes) = whole else { return Ok(()) };
    checker.findings.count(|report| report.members += 1);
    if bytes != expected {
        let text = format!("the stream has {bytes} bytes, its index says {expected}");
        checker.findings.note(checker.head + checker.offset, text);
    }
    Ok(())
}

/// Holds each member against its row.
fn follow_archive(
    checker: &mut FrameChecker<'_, '_>,
    index: &StoredIndex,
    findings: &Findings,
) -> Result<(), RestoreError> {
    let index_error = |source| RestoreError::Index {
        level: findings.level,
        source,
    };
    let mut rows = Rows {
        entries: index.entries().map_err(index_error)?,
        level: findings.level,
    };
    let mut row = rows.next().map_err(index_error)?;
    let mut archive = MemberReader::new(&mut *checker, 0, ReadOptions::default());
    loop {
        let member = match archive.next_member() {
            Ok(member) => member,
            Err(error) => {
                let offset = archive.position();
                drop(archive);
                if checker.failure.is_none() {
                    findings.note(
                        offset,
                        format!("{} (offset in the archive inside it)", error.reason()),
                    );
                }
                return Ok(());
            }
        };
        let Some(member) = member else { break };
        findings.count(|report| report.members += 1);
        let offset = archive.member_offset();
        while let Some(entry) = row.take_if(|entry| entry.offset < offset) {
            missing(findings, &entry);
            row = rows.next().map_err(index_error)?;
        }
        match row.take_if(|entry| entry.offset == offset) {
            Some(entry) => {
                if !is_same(&entry, &member) {
                    let path = entry.path.escape_ascii();
                    let text = format!(
                        "the member differs from its index row \"{path}\" (offset in the archive inside it)"
                    );
                    findings.note(offset, text);
                }
                row = rows.next().map_err(index_error)?;
            }
            None => {
                let path = member.path.escape_ascii();
                findings.note(
                    offset,
                    format!("\"{path}\" isn't in the index (offset in the archive inside it)"),
                );
            }
        }
    }
    if archive.end() != Some(End::Marked) {
        findings.note(
            archive.position(),
            "the archive has no end: it was cut off (offset in the archive inside it)",
        );
    }
    while let Some(entry) = row {
        missing(findings, &entry);
        row = rows.next().map_err(index_error)?;
    }
    Ok(())
}

fn missing(findings: &Findings, entry: &Entry) {
    let path = entry.path.escape_ascii();
    findings.note(
        entry.offset,
        format!("\"{path}\" isn't in the archive where the index has it"),
    );
}

fn is_same(entry: &Entry, member: &Member) -> bool {
    entry.path == member.path
        && entry.kind == unit::kind(member.kind)
        && (entry.kind != EntryKind::File || entry.size == member.size)
}

/// The rows of a level's own members, by offset.
struct Rows<'a> {
    entries: freezer_format::index::Entries<'a, crate::object::StoredObject>,
    level: u32,
}

impl Rows<'_> {
    fn next(&mut self) -> Result<Option<Entry>, IndexError> {
        while self.entries.advance()? {
            let entry = self.entries.entry();
            // Of what was unreadable only directories have a member.
            let is_member = !entry.unreadable || entry.kind == EntryKind::Directory;
            if entry.level == self.level && !entry.unindexed && is_member {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }
}

/// Passes stored bytes on and compares the digest of each segment.
struct SegmentChecker<'a, I> {
    inner: Box<dyn Read + Send>,
    rows: I,
    segment_bytes: u64,
    hasher: Sha256,
    /// Bytes of the present segment that were hashed.
    filled: u64,
    offset: u64,
    /// The digest of the list of digests.
    list: Sha256,
    counters: &'a Counters,
    findings: Findings,
    failure: Option<IndexError>,
}

impl<I: Iterator<Item = Result<SegmentRow, IndexError>>> SegmentChecker<'_, I> {
    fn end_segment(&mut self) {
        let digest = self.hasher.finalize_reset();
        self.list.update(digest);
        let start = self.offset - self.filled;
        self.filled = 0;
        match self.rows.next() {
            Some(Ok(row)) if row.sha256 == <[u8; 32]>::from(digest) => {}
            Some(Ok(_)) => self.findings.note(start, "a segment's digest doesn't match"),
            Some(Err(error)) => self.failure = Some(error),
            None => self.findings.note(start, "the index doesn't know this segment"),
        }
        self.findings.count(|report| report.segments += 1);
    }

    /// Ends the last segment.
    fn finish(mut self) -> Result<(), RestoreError> {
        if self.filled > 0 {
            self.end_segment();
        }
        if self.failure.is_none() && self.rows.next().is_some() {
            self.findings.note(self.offset, "segments are missing at its end");
        }
        let list = self.list.finalize().into();
        self.findings.count(|report| {
            report.bytes = self.offset;
            report.segments_sha256 = Some(list);
        });
        let level = self.findings.level;
        self.failure
            .map_or(Ok(()), |source| Err(RestoreError::Index { level, source }))
    }
}

impl<I: Iterator<Item = Result<SegmentRow, IndexError>>> Read for SegmentChecker<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.segment_bytes.max(1) - self.filled;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.hasher.update(&buffer[..read]);
        self.filled += read as u64;
        self.offset += read as u64;
        Counters::add(&self.counters.bytes_stored, read as u64);
        if self.filled == self.segment_bytes {
            self.end_segment();
        }
        Ok(read)
    }
}

/// Why the archive can't be read on.
enum Broken {
    /// A frame is damaged, which is noted.
    Damaged,
    /// Something else failed.
    Failed(RestoreError),
}

/// Gives the archive's bytes and compares the digest of each frame.
struct FrameChecker<'a, 'i> {
    stored:
        ObjectReader<SegmentChecker<'a, freezer_format::index::Segments<'i, crate::object::StoredObject>>>,
    rows: freezer_format::index::Frames<'i, crate::object::StoredObject>,
    decoder: FrameDecoder,
    frame_bytes: u64,
    head: u64,
    /// Where the next frame begins in the compressed stream.
    offset: u64,
    number: u64,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    position: usize,
    context: &'a RunContext<'a>,
    findings: Findings,
    failure: Option<Broken>,
}

impl FrameChecker<'_, '_> {
    /// Reads and checks the next frame; `false` behind the last. A damaged one is noted and leaves `plain` empty.
    fn next_frame(&mut self) -> Result<bool, RestoreError> {
        self.context.cancel.check()?;
        self.plain.clear();
        self.position = 0;
        let level = self.findings.level;
        let row: FrameRow = match self.rows.next() {
            Some(row) => row.map_err(|source| RestoreError::Index { level, source })?,
            None => return Ok(false),
        };
        let at = self.head + self.offset;
        if row.offset != self.offset {
            self.findings.note(
                at,
                "the index has a frame that doesn't begin where the one before ends",
            );
        }
        self.compressed.clear();
        let mut left = row.length as usize;
        while left > 0 {
            let from = self.compressed.len();
            let piece = left.min(PIECE_BYTES);
            self.compressed.resize(from + piece, 0);
            let read = self.stored.read_exact(&mut self.compressed[from..]);
            read.map_err(|error| self.read_error(error))?;
            left -= piece;
        }
        self.offset += u64::from(row.length);
        self.number += 1;
        self.findings.count(|report| report.frames += 1);
        if <[u8; 32]>::from(Sha256::digest(&self.compressed)) != row.sha256 {
            self.findings.note(
                at,
                format!("the digest of frame {} doesn't match", self.number - 1),
            );
        } else if let Err(error) = self.decoder.decode(&self.compressed, &mut self.plain) {
            self.findings.note(at, error.to_string());
        }
        Ok(true)
    }

    fn read_error(&self, error: io::Error) -> RestoreError {
        let level = self.findings.level;
        match error.downcast::<ObjectError>() {
            Ok(source) => RestoreError::Object { level, source },
            Err(source) => {
                let (key, offset) = (self.findings.object.clone(), self.head + self.offset);
                RestoreError::Object {
                    level,
                    source: ObjectError::Read { key, offset, source },
                }
            }
        }
    }
}

impl Read for FrameChecker<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.plain.len() {
            // A short frame is the last one; another one behind it would shift everything.
            let was_short = self.number > 0 && (self.plain.len() as u64) < self.frame_bytes;
            match self.next_frame() {
                Ok(false) => return Ok(0),
                Ok(true) if self.plain.is_empty() || was_short => {
                    if was_short && !self.plain.is_empty() {
                        self.findings
                            .note(self.head + self.offset, "a frame in the middle is too short");
                    }
                    self.failure = Some(Broken::Damaged);
                    return Err(io::Error::other("a frame is damaged"));
                }
                Ok(true) => {}
                Err(error) => {
                    self.failure = Some(Broken::Failed(error));
                    return Err(io::Error::other("a frame can't be read"));
                }
            }
        }
        let available = &self.plain[self.position..];
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.position += length;
        Ok(length)
    }
}
