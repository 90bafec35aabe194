//! A tree's way into a storage: the walk makes frames, the road takes them.
//!
//! Beside the road's threads: the caller's walks and reads, one looks into directories ahead of it, two ask for files
//! ahead.

use std::thread;

use crossbeam_channel::bounded;

use crate::archive::{ArchivePlan, Archived, ParentState, Root, archive};
use crate::channel::{Halt, Inlet};
use crate::error::BackupError;
use crate::job::{BackupJob, BackupReport};
use crate::road::Road;
use crate::source::{READ_AHEAD_QUEUE, READ_AHEAD_THREADS, ReadAhead, ScoutPlan, Scouting, run_read_ahead};

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
    let scout_plan = scout_plan.filter(|_| job.workers > 1);
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
    let (archived, written) = road.run(|inlet| walk(&plan, (root, parent), inlet, scout_plan.as_ref()))?;
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
    scout_plan: Option<&ScoutPlan<'_>>,
) -> Result<Archived, Halt> {
    let (ahead, requests) = bounded(READ_AHEAD_QUEUE);
    let scouting = Scouting::new(scout_plan.is_some());
    thread::scope(|scope| {
        if let Some(plan) = scout_plan {
            scope.spawn(|| scouting.run(plan));
        }
        // Even if the walk panics, the thread must end, or the panic would wait for it.
        let ending = EndScouting(&scouting);
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

/// Ends the scout when dropped.
struct EndScouting<'s>(&'s Scouting);

impl Drop for EndScouting<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
