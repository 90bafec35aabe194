//! Restores by the newest index: each live path once, from the level that holds it, several threads at a time.
//!
//! One look over the index counts and judges before anything is written. Then, per level, one pass in which this
//! thread makes the directories and hands stretches of the archive to the workers. When all files are there, symbolic
//! links and nodes are made, then hard links to all of these, and last the directories are finished, deepest first.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};
use freezer_format::index::{Entry, EntryKind};
use freezer_format::tar::{Member, MemberKind};

use super::finish::{count_unmade, finish_directories, make_links, make_specials};
use super::frames::{LevelFrames, WINDOW_BYTES};
use super::plan::{Row, Unit, UnitBuilder};
use super::report::Reporter;
use super::selection::{KeptRows, Selection, for_people};
use super::spool::Spool;
use super::target::{Target, TargetWriter};
use super::unit::{Later, Shared, Worker};
use super::{LevelData, RestoreError, RestoreJob, sequential};
use crate::counters::WarningKind;
use crate::object::StoredIndex;

/// Bounds of a unit's length in the archive: long enough that few frames are read by two threads, short enough that
/// small backups occupy all of them.
const UNIT_BYTES: std::ops::RangeInclusive<u64> = (4 << 20)..=(16 << 20);
/// Units per thread that a backup is cut into, if they aren't too short then.
const UNITS_PER_WORKER: u64 = 8;

/// What a look over the index tells before anything is written.
#[derive(Default)]
struct Survey {
    /// Levels that hold something wanted, with an index of their own.
    levels: BTreeSet<u32>,
    /// Whether something wanted lies in levels without an index.
    has_unindexed: bool,
    entries: u64,
    bytes: u64,
    /// For each path asked for, whether it is there.
    found: Vec<bool>,
    /// The selected rows, as long as they are few: the passes then read none of them again.
    rows: KeptRows,
}

/// A restore by index under way.
struct Run<'r, 'a> {
    job: &'r RestoreJob<'a>,
    index: &'r StoredIndex,
    selection: &'r Selection,
    reporter: &'r Reporter<'a>,
    own_level: u32,
}

/// Restores by the index of the last level.
pub(super) fn restore(
    job: &RestoreJob<'_>,
    index: &StoredIndex,
    selection: &Selection,
    reporter: &Reporter<'_>,
    run: &str,
) -> Result<(), RestoreError> {
    let own_level = job.levels.last().map_or(0, |level| level.id.level.0);
    let run_of = Run {
        job,
        index,
        selection,
        reporter,
        own_level,
    };
    let survey = run_of.survey()?;
    if !selection.is_all() && survey.found.iter().all(|found| !found) {
        return Err(RestoreError::NothingMatched {
            paths: for_people(selection.paths()),
        });
    }
    for (path, _) in selection
        .paths()
        .iter()
        .zip(&survey.found)
        .filter(|(_, found)| !**found)
    {
        reporter.warn(path, WarningKind::Source, "isn't in the backup".to_owned(), true);
    }
    reporter
        .context
        .counters
        .total_bytes
        .store(survey.bytes, Ordering::Relaxed);
    reporter
        .context
        .counters
        .total_entries
        .store(survey.entries, Ordering::Relaxed);
    let levels = run_of.open_levels(&survey)?;
    let shared = Shared::new(levels, reporter);
    if job.dry_run {
        return run_of.write(&shared, &survey, None, None);
    }
    let target = Target::open(&job.target, job.overwrite, run)?;
    if !survey.has_unindexed {
        run_of.write(&shared, &survey, Some(&target), None)?;
        return target.finish();
    }
    let (staging, name) = target.staging()?;
    let without: Vec<&LevelData> = job
        .levels
        .iter()
        .take_while(|level| level.index.is_none())
        .collect();
    let written = sequential::replay(&without, &staging, reporter)
        .map(|()| reporter.forget_entries())
        .and_then(|()| run_of.write(&shared, &survey, Some(&target), Some(name.as_bytes())));
    let removed = target.remove_staging(&name);
    written.and(removed)?;
    target.finish()
}

impl<'r, 'a> Run<'r, 'a> {
    /// Looks over the selected rows, and names what can't be restored.
    fn survey(&self) -> Result<Survey, RestoreError> {
        let mut survey = Survey {
            found: vec![false; self.selection.paths().len()],
            ..Survey::default()
        };
        self.for_each(None, |entry| {
            survey.rows.keep(entry);
            if let Some(root) = self.selection.root_of(&entry.path) {
                survey.found[root] = true;
            }
            survey.entries += 1;
            if !self.is_available(entry) {
                return Ok(());
            }
            if entry.kind == EntryKind::File {
                survey.bytes += entry.size;
            }
            if entry.unindexed {
                survey.has_unindexed = true;
            } else {
                survey.levels.insert(entry.level);
            }
            self.reporter.context.cancel.check().map_err(RestoreError::from)
        })?;
        Ok(survey)
    }

    /// Opens the streams of all levels that are needed.
    fn open_levels(&self, survey: &Survey) -> Result<Vec<LevelFrames<'r>>, RestoreError> {
        let mut opened = Vec::new();
        for number in &survey.levels {
            let level = self.job.levels.iter().find(|level| level.id.level.0 == *number);
            match level.and_then(|level| level.index.as_ref().map(|index| (level, index))) {
                Some((level, index)) => opened.push(LevelFrames::open(level, index)?),
                None => return Err(RestoreError::MissingLevel { level: *number }),
            }
        }
        Ok(opened)
    }

    /// Visits the selected rows: those kept, else out of the index.
    fn for_each(
        &self,
        kept: Option<&[Entry]>,
        mut visit: impl FnMut(&Entry) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        if let Some(rows) = kept {
            return rows.iter().try_for_each(visit);
        }
        self.selection
            .for_each(self.index, |entry| visit(entry).map_err(Stop::Restore))
            .map_err(|stop| match stop {
                Stop::Restore(error) => error,
                Stop::Index(source) => RestoreError::Index {
                    level: self.own_level,
                    source,
                },
            })
    }

    /// Whether a row has a member that is to be restored. What was unreadable has none in its own level, unless it is
    /// a directory.
    fn is_available(&self, entry: &Entry) -> bool {
        !entry.unreadable
            || if entry.level == self.own_level {
                entry.kind == EntryKind::Directory
            } else {
                self.job.stale
            }
    }

    /// Writes everything, or reads everything if there is no target.
    fn write(
        &self,
        shared: &Shared<'_>,
        survey: &Survey,
        target: Option<&Target>,
        staging: Option<&[u8]>,
    ) -> Result<(), RestoreError> {
        let workers = self.workers(shared);
        let (sender, receiver) = bounded(workers * 2);
        let (mut links, mut unindexed) = (Spool::new(), Spool::new());
        let mut maker = target.map(|target| TargetWriter::new(target, workers));
        let later = std::thread::scope(|scope| {
            let spawn = |number| {
                let receiver = receiver.clone();
                let writer = target.map(|target| TargetWriter::new(target, number));
                let work = move || work(Worker::new(shared, writer), &receiver, shared);
                std::thread::Builder::new()
                    .name(format!("restore-{number}"))
                    .spawn_scoped(scope, work)
            };
            let threads: Result<Vec<_>, _> = (0..workers).map(spawn).collect();
            let threads = threads.map_err(RestoreError::Spool);
            // The workers hold the only other ends: if all stop early, sending fails and this thread stops too.
            drop(receiver);
            let mut making = Making {
                maker: maker.as_mut(),
                links: &mut links,
                directories: &mut unindexed,
                staging,
            };
            let passed = match &threads {
                Ok(_) => self.passes(shared, survey, &sender, &mut making),
                Err(_) => Ok(()),
            };
            drop(sender);
            let mut later = Vec::new();
            let mut first = Ok(());
            for thread in threads? {
                let done = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                first = first.and(done.map(|done| later.push(done)));
            }
            // A worker's error is the cause of this thread's "nobody takes units".
            first.and(passed).map(|()| later)
        })?;
        let (mut directories, mut specials) = (vec![unindexed], Vec::new());
        for done in later {
            directories.extend(done.directories);
            specials.extend(done.specials);
        }
        let Some(maker) = &mut maker else {
            return count_unmade(specials, links, self.reporter);
        };
        make_specials(specials, maker, shared)?;
        let outside = make_links(links, maker, self.selection, shared)?;
        if let (Some(outside), Some(target)) = (outside, target) {
            self.make_outside_links(outside, maker, target, shared)?;
        }
        finish_directories(directories, maker, self.reporter, self.selection)
    }

    /// How many threads the memory allows: each holds a window, a frame as stored and as it was, and its rows.
    fn workers(&self, shared: &Shared<'_>) -> usize {
        let frame = shared
            .levels
            .iter()
            .map(LevelFrames::frame_bytes)
            .max()
            .unwrap_or(1 << 20);
        let each = WINDOW_BYTES + 3 * frame + (2 << 20);
        let fitting = usize::try_from(self.job.memory_bytes / each).unwrap_or(usize::MAX);
        self.job.workers.min(fitting).max(1)
    }

    /// Makes the directories and hands out the units, level by level.
    fn passes(
        &self,
        shared: &Shared<'_>,
        survey: &Survey,
        sender: &Sender<Unit>,
        making: &mut Making<'_, '_>,
    ) -> Result<(), RestoreError> {
        let share = survey.bytes / (self.job.workers.max(1) as u64 * UNITS_PER_WORKER);
        let unit_bytes = share.clamp(*UNIT_BYTES.start(), *UNIT_BYTES.end());
        let send = |unit: Option<Unit>| match unit {
            Some(unit) => sender
                .send(unit)
                .map_err(|_| RestoreError::Cancelled(crate::cancel::Cancelled)),
            None => Ok(()),
        };
        let mut is_first = true;
        // Even if no level holds anything, there may be directories and links to make.
        let numbers: Vec<Option<&LevelFrames<'_>>> = match shared.levels.is_empty() {
            true => vec![None],
            false => shared.levels.iter().map(Some).collect(),
        };
        for frames in numbers {
            let mut builder =
                frames.map(|frames| UnitBuilder::new(frames.level, frames.frame_bytes(), unit_bytes));
            self.for_each(survey.rows.all(), |entry| {
                self.reporter.context.cancel.check()?;
                if is_first {
                    self.prepare(entry, making)?;
                }
                let is_member =
                    entry.kind != EntryKind::HardLink && !entry.unindexed && self.is_available(entry);
                match &mut builder {
                    Some(builder)
                        if is_member && frames.is_some_and(|frames| frames.level == entry.level) =>
                    {
                        send(builder.push(Row::new(entry)))
                    }
                    _ => Ok(()),
                }
            })?;
            is_first = false;
            send(builder.as_mut().and_then(UnitBuilder::finish))?;
        }
        Ok(())
    }

    /// What the first pass does with a row besides: makes directories, notes hard links, names what is missing.
    fn prepare(&self, entry: &Entry, making: &mut Making<'_, '_>) -> Result<(), RestoreError> {
        if entry.unreadable {
            self.name_unreadable(entry);
            if !self.is_available(entry) {
                return Ok(());
            }
        }
        match entry.kind {
            EntryKind::Directory => {
                self.reporter.count_directory();
                if entry.unindexed {
                    making
                        .directories
                        .push(&as_member(entry))
                        .map_err(RestoreError::Spool)?;
                }
                let made = making
                    .maker
                    .as_mut()
                    .map_or(Ok(()), |maker| maker.make_directory(&entry.path));
                made.or_else(|error| self.reporter.left_out(&entry.path, &error))
            }
            EntryKind::HardLink if !entry.unindexed => {
                let member = Member {
                    link: entry.link.clone(),
                    ..Member::new(&entry.path[..], MemberKind::HardLink)
                };
                making.links.push(&member).map_err(RestoreError::Spool)
            }
            _ if entry.unindexed => self.take_from_staging(entry, making),
            _ => Ok(()),
        }
    }

    /// Counts and names what couldn't be read, or is restored as an earlier level has it.
    fn name_unreadable(&self, entry: &Entry) {
        let is_stale = self.is_available(entry) && entry.level != self.own_level;
        if is_stale {
            self.reporter.count(|report| report.stale += 1);
            let text = format!("restored as it was in level {}", entry.level);
            return self.reporter.warn(&entry.path, WarningKind::Stale, text, true);
        }
        self.reporter.count(|report| report.unreadable += 1);
        let text = match entry.kind {
            EntryKind::Directory if entry.level == self.own_level => {
                "a directory that couldn't be read when it was backed up: its content was not stored"
            }
            _ if self.job.stale => "couldn't be read when it was backed up, and no earlier level has it",
            _ => "couldn't be read when it was backed up",
        };
        self.reporter
            .warn(&entry.path, WarningKind::Unreadable, text.to_owned(), true);
    }

    /// Moves what the replay of the original's levels made to its place.
    fn take_from_staging(&self, entry: &Entry, making: &mut Making<'_, '_>) -> Result<(), RestoreError> {
        let (Some(maker), Some(staging)) = (&mut making.maker, making.staging) else {
            self.count_unindexed(entry);
            return Ok(());
        };
        let from = [staging, b"/", &entry.path].concat();
        match maker.rename(&from, &entry.path) {
            Ok(()) => {
                self.count_unindexed(entry);
                Ok(())
            }
            Err(error) => self.reporter.left_out(&entry.path, &error),
        }
    }

    /// Counts what a replay of the original's levels makes.
    fn count_unindexed(&self, entry: &Entry) {
        match entry.kind {
            EntryKind::File => self.reporter.count_file(entry.size),
            EntryKind::HardLink => self.reporter.count_other(|report| report.hard_links += 1),
            EntryKind::Symlink => self.reporter.count_other(|report| report.symlinks += 1),
            _ => self.reporter.count_other(|report| report.others += 1),
        }
    }

    /// Makes the selected names of files whose content lies at a path that isn't selected.
    fn make_outside_links(
        &self,
        links: Spool,
        maker: &mut TargetWriter<'_>,
        target: &Target,
        shared: &Shared<'_>,
    ) -> Result<(), RestoreError> {
        let (staging, name) = target.staging()?;
        drop(staging);
        let mut worker = Worker::new(shared, Some(TargetWriter::new(target, usize::MAX)));
        let mut links = links.forward().map_err(RestoreError::Spool)?;
        while let Some(link) = links.next().map_err(RestoreError::Spool)? {
            self.reporter.context.cancel.check()?;
            let found = self.index.find(&link.link);
            let found = found.map_err(|source| RestoreError::Index {
                level: self.own_level,
                source,
            })?;
            let is_content = |entry: &Entry| {
                !matches!(entry.kind, EntryKind::Directory | EntryKind::HardLink) && !entry.unindexed
            };
            let Some(content) = found.filter(is_content) else {
                let text = "the content of this name isn't in the backup".to_owned();
                self.reporter
                    .warn(&link.path, WarningKind::Unsupported, text, true);
                continue;
            };
            // The second name of a file finds it there already.
            let place = format!("{name}/{}-{}", content.level, content.offset).into_bytes();
            let mut linked = maker.hard_link(&link.path, &place);
            if linked.is_err() {
                let mut row = Row::new(&content);
                row.place = Some(place.clone());
                worker.run(&Unit {
                    level: content.level,
                    rows: vec![row],
                })?;
                make_specials(worker.take_specials().into_iter().collect(), maker, shared)?;
                linked = maker.hard_link(&link.path, &place);
            }
            match linked {
                Ok(()) => self.reporter.count_other(|report| report.hard_links += 1),
                Err(error) => self.reporter.left_out(&link.path, &error)?,
            }
        }
        target.remove_staging(&name)
    }
}

/// What the first pass makes.
struct Making<'m, 't> {
    maker: Option<&'m mut TargetWriter<'t>>,
    links: &'m mut Spool,
    /// Directories whose state only the index tells.
    directories: &'m mut Spool,
    staging: Option<&'m [u8]>,
}

/// What the index knows of a directory.
fn as_member(entry: &Entry) -> Member {
    let mut member = Member::new(&entry.path[..], MemberKind::Directory);
    member.mode = entry.mode;
    member.uid = u64::from(entry.uid);
    member.gid = u64::from(entry.gid);
    member.mtime = entry.mtime;
    member
}

/// Why a pass over the index ended.
enum Stop {
    Restore(RestoreError),
    Index(freezer_format::index::IndexError),
}

impl From<freezer_format::index::IndexError> for Stop {
    fn from(error: freezer_format::index::IndexError) -> Self {
        Self::Index(error)
    }
}

/// One thread's loop. Units that come after some thread failed are dropped.
fn work(
    mut worker: Worker<'_, '_>,
    units: &Receiver<Unit>,
    shared: &Shared<'_>,
) -> Result<Later, RestoreError> {
    for unit in units {
        if shared.is_stopped() {
            break;
        }
        worker.run(&unit).inspect_err(|_| shared.stop())?;
    }
    Ok(worker.finish())
}
