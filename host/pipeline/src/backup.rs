//! The whole road of a backup on one screen: walk → frames → workers → output → uploaders.
//!
//! Threads: the caller's walks and reads, one looks into directories ahead of it, two ask for files ahead, so many
//! workers compress, one thread puts out, so many upload. Whatever ends
//! one of them ends all: the walk's channels close when the output is gone, the output shuts the outlet when the walk
//! stops without an end mark. All threads are joined before the answer; the first cause is the answer.

use std::thread;

use crossbeam_channel::bounded;
use freezer_format::compression::Compression;

use crate::archive::{ArchivePlan, Archived, ParentState, Root, archive};
use crate::cancel::Cancelled;
use crate::channel::{Halt, hand_over, run_worker};
use crate::compress::FrameEncoder;
use crate::error::BackupError;
use crate::job::{BackupJob, BackupReport};
use crate::memory::Plan;
use crate::output::{OutputPlan, Written, run_output};
use crate::segment::{Outlet, run_uploader};
use crate::source::{READ_AHEAD_QUEUE, READ_AHEAD_THREADS, ReadAhead, Scouting, run_read_ahead};
use crate::store::ErrorKind;

/// Backs up one level of one tree to one storage: data, index and snapshot file are written and committed, durable,
/// in this order. Manifest and metadata, which make a backup of them, are the caller's.
///
/// # Errors
/// See [`BackupError`]. Nothing is visible in the storage then, as far as the storage still answered. Entries that
/// can't be read are no errors but warnings that make the report partial.
pub fn backup(mut job: BackupJob<'_>) -> Result<BackupReport, BackupError> {
    let encoding = &job.encoding;
    let kind = (encoding.compression, encoding.level);
    let store = &*job.store;
    let plan = memory_plan(&job);
    let encoders = encoders(kind, plan.workers)?;
    let mut index_salt = [0; 8];
    (job.context.random)(&mut index_salt);
    let output_plan = OutputPlan {
        keys: &job.keys,
        levels: &job.levels,
        plan,
        frame_bytes: kind.0.frame_bytes(),
        data_cipher: encoding.cipher.as_ref(),
        index_cipher: encoding.index_cipher.as_ref(),
        salts: [job.data_salt, index_salt],
        cancel: job.context.cancel,
    };
    let archive_plan = ArchivePlan {
        source: &job.source,
        context: job.context,
        level: job.level,
        frame_bytes: kind.0.frame_bytes(),
        parent_file_system: job.parent_file_system,
        writes_snar: job.keys.engine_metadata.is_some(),
    };
    let parent = ParentState::open(&mut job.parent, job.context)?;
    let (inlet, frames, drain) = hand_over(plan.frames);
    let (uploads, upload_jobs) = bounded(plan.uploads);
    let (done, uploaded) = bounded(plan.uploads);
    let outlet = Outlet::new(store, job.context.counters, (uploads, uploaded), plan.uploads);
    let (ahead, requests) = bounded(READ_AHEAD_QUEUE);
    let root = Root::open(&job.source.root)?;
    let scout_plan = root.scout_plan(&job.source, job.context.now);
    let scout_plan = scout_plan.filter(|_| job.workers > 1);
    let scouting = Scouting::new(scout_plan.is_some());
    thread::scope(|scope| {
        if let Some(plan) = &scout_plan {
            scope.spawn(|| scouting.run(plan));
        }
        // Even if the walk panics, the thread must end, or the panic would wait for it.
        let ending = EndScouting(&scouting);
        for _ in 0..READ_AHEAD_THREADS {
            let requests = requests.clone();
            scope.spawn(move || run_read_ahead(&requests));
        }
        for encoder in encoders {
            let frames = frames.clone();
            scope.spawn(move || run_worker(encoder, &frames));
        }
        for _ in 0..plan.uploads {
            let (jobs, done) = (upload_jobs.clone(), done.clone());
            scope.spawn(move || run_uploader(store, &jobs, &done));
        }
        // Only the threads hold these ends from now on, so that each notices when the others are gone.
        drop((frames, upload_jobs, done, requests));
        let output = scope.spawn(|| {
            let drain = drain;
            run_output(&output_plan, &drain, outlet)
        });
        let archived = archive(
            &archive_plan,
            (root, parent),
            &inlet,
            (ReadAhead::new(ahead), &scouting),
        );
        drop(ending);
        drop(inlet);
        match output.join() {
            Ok(written) => report(archived, written),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What is held in memory at once.
fn memory_plan(job: &BackupJob<'_>) -> Plan {
    let encoding = (job.encoding.compression, job.encoding.level);
    let limits = job.store.limits();
    Plan::new(
        job.memory_bytes,
        job.segment_bytes,
        job.workers,
        &limits,
        encoding,
    )
}

/// Makes an encoder for each worker.
fn encoders(
    (compression, level): (Compression, Option<u32>),
    workers: usize,
) -> Result<Vec<FrameEncoder>, BackupError> {
    let encoder = |_| {
        FrameEncoder::new(compression, level).map_err(|source| BackupError::Compress {
            compression: compression.name(),
            source,
        })
    };
    (0..workers).map(encoder).collect()
}

/// Ends the scout when dropped.
struct EndScouting<'s>(&'s Scouting);

impl Drop for EndScouting<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn report(
    archived: Result<Archived, Halt>,
    written: Result<Written, Halt>,
) -> Result<BackupReport, BackupError> {
    let (archived, written) = match (archived, written) {
        (Ok(archived), Ok(written)) => (archived, written),
        (_, Err(Halt::Failed(BackupError::Store(error)))) if error.kind == ErrorKind::Cancelled => {
            return Err(Cancelled.into());
        }
        (Err(Halt::Failed(error)), _) | (_, Err(Halt::Failed(error))) => return Err(error),
        // Each side blames the other: a worker broke down, and its panic goes on when the threads are joined.
        (Err(Halt::Closed), _) | (_, Err(Halt::Closed)) => return Err(Cancelled.into()),
    };
    Ok(BackupReport {
        data: written.data,
        index: written.index,
        engine_metadata: written.engine_metadata,
        counts: archived.counts,
        warnings: archived.warnings,
        warning_count: archived.warning_count,
        partial: archived.is_partial,
        file_system: archived.file_system,
    })
}
