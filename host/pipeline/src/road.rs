//! What trees and streams have in common on their way out: frames → workers → output → uploaders.
//!
//! Threads: the caller's makes frames, so many workers compress, one thread puts out, so many upload. Whatever ends one of
//! them ends all: the inlet closes when the output is gone, and the output shuts the outlet when the frames stop without an
//! end mark. All threads are joined before the answer; the first cause is the answer.

use std::thread;

use crossbeam_channel::bounded;
use freezer_format::compression::Compression;
use freezer_format::index::LevelRow;

use crate::cancel::Cancelled;
use crate::channel::{Halt, Inlet, hand_over, run_worker};
use crate::compress::FrameEncoder;
use crate::error::BackupError;
use crate::job::{Encoding, ObjectKeys, RunContext};
use crate::memory::Plan;
use crate::output::{OutputPlan, Written, run_output};
use crate::segment::{Outlet, run_uploader};
use crate::store::{ErrorKind, Store};

/// Where frames go, and how they are written.
pub(crate) struct Road<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) keys: &'a ObjectKeys,
    pub(crate) encoding: &'a Encoding,
    pub(crate) levels: &'a [LevelRow],
    /// Marks of the index's header.
    pub(crate) flags: u32,
    pub(crate) data_salt: [u8; 8],
    pub(crate) segment_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) workers: usize,
    pub(crate) context: &'a RunContext<'a>,
}

impl Road<'_> {
    /// Runs `make` against the inlet; its last item must be [`crate::channel::Item::End`], if and only if all went well.
    pub(crate) fn run<T>(
        &self,
        make: impl FnOnce(&Inlet) -> Result<T, Halt>,
    ) -> Result<(T, Written), BackupError> {
        let (store, encoding, context) = (self.store, self.encoding, self.context);
        let kind = (encoding.compression, encoding.level);
        let plan = self.memory_plan();
        let encoders = encoders(kind, plan.workers)?;
        let mut index_salt = [0; 8];
        (context.random)(&mut index_salt);
        let output_plan = OutputPlan {
            keys: self.keys,
            levels: self.levels,
            flags: self.flags,
            plan,
            frame_bytes: kind.0.frame_bytes(),
            data_cipher: encoding.cipher.as_ref(),
            index_cipher: encoding.index_cipher.as_ref(),
            salts: [self.data_salt, index_salt],
            cancel: context.cancel,
        };
        let (inlet, frames, drain) = hand_over(plan.frames);
        let (uploads, upload_jobs) = bounded(plan.uploads);
        let (done, uploaded) = bounded(plan.uploads);
        let outlet = Outlet::new(store, context.counters, (uploads, uploaded), plan.uploads);
        thread::scope(|scope| {
            for encoder in encoders {
                let frames = frames.clone();
                scope.spawn(move || run_worker(encoder, &frames));
            }
            for _ in 0..plan.uploads {
                let (jobs, done) = (upload_jobs.clone(), done.clone());
                scope.spawn(move || run_uploader(store, &jobs, &done));
            }
            // Only the threads hold these ends from now on, so that each notices when the others are gone.
            drop((frames, upload_jobs, done));
            let output = scope.spawn(|| {
                let drain = drain;
                run_output(&output_plan, &drain, outlet)
            });
            let made = make(&inlet);
            drop(inlet);
            match output.join() {
                Ok(written) => first_cause(made, written),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// What is held in memory at once.
    fn memory_plan(&self) -> Plan {
        let kind = (self.encoding.compression, self.encoding.level);
        let limits = self.store.limits();
        Plan::new(self.memory_bytes, self.segment_bytes, self.workers, &limits, kind)
    }
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

fn first_cause<T>(
    made: Result<T, Halt>,
    written: Result<Written, Halt>,
) -> Result<(T, Written), BackupError> {
    match (made, written) {
        (Ok(made), Ok(written)) => Ok((made, written)),
        (_, Err(Halt::Failed(BackupError::Store(error)))) if error.kind == ErrorKind::Cancelled => {
            Err(Cancelled.into())
        }
        (Err(Halt::Failed(error)), _) | (_, Err(Halt::Failed(error))) => Err(error),
        // Each side blames the other: a worker broke down, and its panic goes on when the threads are joined.
        (Err(Halt::Closed), _) | (_, Err(Halt::Closed)) => Err(Cancelled.into()),
    }
}
