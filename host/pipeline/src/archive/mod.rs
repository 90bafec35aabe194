//! The tar engine: a tree, compared with the parent level, becomes members of a pax archive and rows of an index.
//!
//! One pass in archive order, on one thread: `walk` goes through the directories, `judge` decides for all entries of a
//! directory before its header is written, `write` and `content` write members, `incremental` knows the rules by which
//! an entry is unchanged. Rules 1–4 of the stored format: no rename records, dumpdirs list only `N` and `D`.

mod children;
mod content;
mod incremental;
mod judge;
mod links;
mod parent;
mod snar;
mod walk;
mod warnings;
mod write;

use freezer_format::index::{Entry, EntryBlocks, EntryKind};
use freezer_format::tar::END;
use freezer_format::tar::snar::SnarWriter;

use crate::channel::{Halt, Inlet, Item};
use crate::counters::{Warning, WarningKind};
use crate::error::BackupError;
use crate::framing::FrameWriter;
use crate::job::{Counts, RunContext, TreeSource};
use crate::shared_buffer::SharedBuffer;
use crate::source::{AttributeReader, FileSystemId, Lister, Owners, ReadAhead, Scouting, Stat};
use incremental::Rule;
use links::{FileKey, Links};
use warnings::Warnings;

pub(crate) use incremental::ParentState;
pub(crate) use walk::Root;

/// Bytes of the snapshot file that are gathered before they go out.
const SNAR_PIECE_BYTES: usize = 64 << 10;

/// What is archived, and how.
pub(crate) struct ArchivePlan<'a> {
    pub(crate) source: &'a TreeSource,
    pub(crate) context: &'a RunContext<'a>,
    pub(crate) level: u32,
    pub(crate) frame_bytes: u64,
    pub(crate) parent_file_system: Option<FileSystemId>,
    /// Whether a snapshot file is written.
    pub(crate) writes_snar: bool,
}

/// What the walk has to report.
pub(crate) struct Archived {
    pub(crate) counts: Counts,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) warning_count: u64,
    pub(crate) is_partial: bool,
    pub(crate) file_system: FileSystemId,
}

/// Archives the tree into `inlet`, whose last item is [`Item::End`] if and only if all went well.
pub(crate) fn archive(
    plan: &ArchivePlan<'_>,
    (root, parent): (Root, ParentState<'_>),
    inlet: &Inlet,
    (read_ahead, scouting): (ReadAhead, &Scouting),
) -> Result<Archived, Halt> {
    let mut archiver = Archiver::new(plan, parent, (inlet, read_ahead, scouting), &root)?;
    archiver.walk(root)?;
    archiver.finish()
}

/// Everything that the walk carries from entry to entry.
struct Archiver<'a> {
    source: &'a TreeSource,
    context: &'a RunContext<'a>,
    inlet: &'a Inlet,
    level: u32,
    parent: ParentState<'a>,
    rule: Rule,
    file_system: FileSystemId,
    root: Stat,
    tar: FrameWriter<'a>,
    rows: EntryBlocks,
    snar: Option<(SnarWriter<SharedBuffer>, SharedBuffer)>,
    links: Links,
    warnings: Warnings<'a>,
    counts: Counts,
    lister: Lister,
    owners: Owners,
    attributes: AttributeReader,
    read_ahead: ReadAhead,
    scouting: &'a Scouting,
    /// The path of the entry at hand, below the root.
    path: Vec<u8>,
    /// Directories above the entry at hand; kept only if symbolic links are followed.
    ancestors: Vec<FileKey>,
    /// Memory of the lists of entries that are on the stack.
    listed_bytes: usize,
    /// The row being made, kept for its buffers.
    entry: Entry,
    /// The header being made, kept for its buffer.
    header: Vec<u8>,
}

impl<'a> Archiver<'a> {
    fn new(
        plan: &ArchivePlan<'a>,
        parent: ParentState<'a>,
        (inlet, read_ahead, scouting): (&'a Inlet, ReadAhead, &'a Scouting),
        root: &Root,
    ) -> Result<Self, Halt> {
        let file_system = root.file_system;
        let is_same = plan.parent_file_system.is_none_or(|parent| parent == file_system);
        let rule = Rule {
            compares_inodes: is_same && file_system.has_stable_inodes(),
            racy_nanoseconds: file_system.racy_nanoseconds(),
        };
        let started = (plan.context.now)();
        let snar = if plan.writes_snar {
            let buffer = SharedBuffer::default();
            let writer = SnarWriter::new(buffer.clone(), started).map_err(BackupError::Spool)?;
            Some((writer, buffer))
        } else {
            None
        };
        let mut archiver = Self {
            source: plan.source,
            context: plan.context,
            inlet,
            level: plan.level,
            parent,
            rule,
            file_system,
            root: root.stat,
            tar: FrameWriter::new(inlet, plan.frame_bytes),
            rows: EntryBlocks::new(),
            snar,
            links: Links::default(),
            warnings: Warnings::new(plan.context),
            counts: Counts::default(),
            lister: Lister::default(),
            owners: Owners::default(),
            attributes: AttributeReader::default(),
            read_ahead,
            scouting,
            path: Vec::new(),
            ancestors: Vec::new(),
            listed_bytes: 0,
            entry: Entry::new(Vec::new(), EntryKind::File),
            header: Vec::new(),
        };
        if let ParentState::Snar(parent) = &archiver.parent
            && parent.started() > started
        {
            let message =
                "the previous level's snapshot file lies in the future: changes may be missed".to_owned();
            archiver.warn(WarningKind::Source, message, false)?;
        }
        Ok(archiver)
    }

    /// Warns about the entry at hand.
    fn warn(&mut self, kind: WarningKind, message: String, partial: bool) -> Result<(), Halt> {
        match self.warnings.give(&self.path, kind, message, partial) {
            Some(block) => self.inlet.item(Item::Block(block)),
            None => Ok(()),
        }
    }

    /// Sends the snapshot file's bytes on when there are enough of them.
    fn send_snar(&mut self, least_bytes: usize) -> Result<(), Halt> {
        match &self.snar {
            Some((_, buffer)) if buffer.len() >= least_bytes.max(1) => {
                self.inlet.item(Item::Snar(buffer.drain(<[u8]>::to_vec)))
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Archived, Halt> {
        self.tar.write(&END)?;
        self.tar.flush()?;
        if let Some((entries, states)) = self.rows.flush() {
            self.inlet.item(Item::Block(entries))?;
            self.inlet.item(Item::Block(states))?;
        }
        if self.links.is_full {
            self.path.clear();
            let message = "too many hard links at once: some are stored as separate files".to_owned();
            self.warn(WarningKind::Source, message, false)?;
        }
        if let Some(pattern) = self.source.exclude.first_unused() {
            self.path.clear();
            let message = format!(
                "the exclude pattern {pattern:?} matched nothing: patterns are relative to the source, so write \
                 /a for {}/a",
                self.source.root.display()
            );
            self.warn(WarningKind::Source, message, false)?;
        }
        if let Some(block) = self.warnings.flush() {
            self.inlet.item(Item::Block(block))?;
        }
        self.send_snar(1)?;
        self.counts.removed = self.parent.unmatched();
        self.inlet.item(Item::End)?;
        Ok(Archived {
            counts: self.counts,
            warnings: self.warnings.reported,
            warning_count: self.warnings.count,
            is_partial: self.warnings.is_partial,
            file_system: self.file_system,
        })
    }
}
