//! A tree's way into a storage: the walk makes frames, the road takes them.
//!
//! Beside the road's threads: the caller's walks and reads, one looks into directories ahead of it, two ask for files
//! ahead. Where somebody watches and nothing is known of the tree, one more counts it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::bounded;

use crate::archive::{ArchivePlan, Archived, ParentState, Root, archive};
use crate::channel::{Halt, Inlet};
use crate::counters::Counters;
use crate::error::BackupError;
use crate::job::{BackupJob, BackupReport, RunContext};
use crate::road::Road;
use crate::source::{
    READ_AHEAD_QUEUE, READ_AHEAD_THREADS, ReadAhead, ScoutPlan, Scouting, count_bytes, run_read_ahead,
};

/// Backs up one level of one tree to one storage: data, index and snapshot file are written and committed, durable,
/// in this order. Manifest and metadata, which make a backup of them, are the caller's.
///
/// # Errors
/// See [`BackupError`]. Nothing is visible in the storage then, as far as the storage still answered. Entries that
/// can't be read are no errors but warnings that make the report partial.
pub fn backup(mut job: BackupJob<'_>) -> Result<BackupReport, BackupError> {
    let parent = ParentState::open(&mut job.parent, job.context)?;
    let plan = ArchivePlan {
        source: &job.source,
        context: job.context,
        level: job.level,
        frame_bytes: job.encoding.compression.frame_bytes(),
        parent_file_system: job.parent_file_system,
        writes_snar: job.keys.engine_metadata.is_some(),
    };
    let root = Root::open(&job.source.root)?;
    let scout_plan = root.scout_plan(&job.source, job.context.now);
    let ahead = Ahead {
        scouts: job.workers > 1,
        counts: is_unknown(job.context.counters),
        plan: scout_plan,
    };
    let road = Road {
        store: &*job.store,
        keys: &job.keys,
        encoding: &job.encoding,
        levels: &job.levels,
        flags: 0,
        data_salt: job.data_salt,
        segment_bytes: job.segment_bytes,
        memory_bytes: job.memory_bytes,
        workers: job.workers,
        context: job.context,
    };
    let (archived, written) = road.run(|inlet| walk(&plan, (root, parent), inlet, &ahead))?;
    Ok(BackupReport {
        data: written.data,
        index: written.index,
        engine_metadata: written.engine_metadata,
        counts: archived.counts,
        warnings: archived.warnings,
        warning_count: archived.warning_count,
        partial: archived.is_partial,
        file_system: Some(archived.file_system),
    })
}

/// Walks with the threads that look and read ahead.
fn walk(
    plan: &ArchivePlan<'_>,
    (root, parent): (Root, ParentState<'_>),
    inlet: &Inlet,
    looking: &Ahead<'_>,
) -> Result<Archived, Halt> {
    let (ahead, requests) = bounded(READ_AHEAD_QUEUE);
    let scout_plan = looking.plan.as_ref().filter(|_| looking.scouts);
    let count_plan = looking.plan.as_ref().filter(|_| looking.counts);
    let (scouting, is_over) = (Scouting::new(scout_plan.is_some()), AtomicBool::new(false));
    thread::scope(|scope| {
        if let Some(plan) = scout_plan {
            scope.spawn(|| scouting.run(plan));
        }
        if let Some(count_plan) = count_plan {
            scope.spawn(|| count(count_plan, plan.context, &is_over));
        }
        // Even if the walk panics, the threads must end, or the panic would wait for them.
        let ending = EndLooking(&scouting, &is_over);
        for _ in 0..READ_AHEAD_THREADS {
            let requests = requests.clone();
            scope.spawn(move || run_read_ahead(&requests));
        }
        drop(requests);
        let archived = archive(plan, (root, parent), inlet, (ReadAhead::new(ahead), &scouting));
        drop(ending);
        archived
    })
}

/// Who goes through the tree beside the walk.
struct Ahead<'a> {
    scouts: bool,
    counts: bool,
    /// `None` where the source can only be followed by the walk.
    plan: Option<ScoutPlan<'a>>,
}

/// Whether somebody watches and can't be told yet how much there is to do.
fn is_unknown(counters: &Counters) -> bool {
    let totals = [&counters.total_bytes, &counters.total_entries];
    counters.is_watched.load(Ordering::Relaxed) && totals.iter().all(|total| Counters::get(total) == 0)
}

/// Tells the counters how many bytes there are to read, once they are counted.
fn count(plan: &ScoutPlan<'_>, context: &RunContext<'_>, is_over: &AtomicBool) {
    let goes_on = || !is_over.load(Ordering::Relaxed) && context.cancel.check().is_ok();
    if let Some(bytes) = count_bytes(plan, &goes_on) {
        context.counters.total_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Ends the threads that look ahead when dropped.
struct EndLooking<'s>(&'s Scouting, &'s AtomicBool);

impl Drop for EndLooking<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.1.store(true, Ordering::Relaxed);
    }
}
