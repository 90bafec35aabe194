//! Copies one stored object into another storage, byte by byte as it is, and compares it on the way.
//!
//! The same outlet as a backup's cuts and sends the segments, so memory is bounded alike. What differs from what was
//! announced is never made visible.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::bounded;
use sha2::{Digest, Sha256};

use crate::counters::Counters;
use crate::error::BackupError;
use crate::job::RunContext;
use crate::segment::{DigestOf, Outlet, run_uploader};
use crate::store::Store;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// More segments under way hide no more latency.
const MOST_UPLOADS: u64 = 4;

/// What an object must be, by the document that describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// This digest of all of it.
    Whole([u8; 32]),
    /// Segments of so many bytes whose digests, one after the other, have this digest.
    Segments {
        /// Bytes of a segment; the last may be shorter.
        segment_bytes: u64,
        /// SHA-256 of the segments' SHA-256.
        sha256: [u8; 32],
    },
    /// Nothing is known but its size.
    Nothing,
}

/// An object to be copied.
pub struct TransferJob<'a> {
    /// Where it goes.
    pub store: &'a dyn Store,
    /// Its key there.
    pub key: &'a str,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it must be.
    pub announced: Announced,
    /// Bytes of a segment; brought within the storage's limits.
    pub segment_bytes: u64,
    /// Bytes of buffers that may be held.
    pub memory_bytes: u64,
    /// Counters and the way to stop.
    pub context: &'a RunContext<'a>,
}

/// Why an object wasn't copied. Nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It couldn't be read.
    #[error("can't read the object to be copied")]
    Read(#[source] io::Error),
    /// It couldn't be written, or the user stopped it.
    #[error(transparent)]
    Write(#[from] BackupError),
    /// It isn't what was announced.
    #[error("{0}")]
    Differs(String),
}

/// Copies an object.
///
/// # Errors
/// See [`TransferError`].
pub fn transfer(mut reader: impl Read, job: &TransferJob<'_>) -> Result<(), TransferError> {
    let limits = job.store.limits();
    let segment_bytes = job
        .segment_bytes
        .min(limits.max_segment_bytes)
        .max(limits.min_segment_bytes)
        .max(1);
    let most = u64::from(limits.parallel_calls).clamp(1, MOST_UPLOADS);
    let uploads = (job.memory_bytes / segment_bytes)
        .saturating_sub(1)
        .clamp(1, most) as usize;
    let (jobs, upload_jobs) = bounded(uploads);
    let (done, uploaded) = bounded(uploads);
    thread::scope(|scope| {
        for _ in 0..uploads {
            let (jobs, done) = (upload_jobs.clone(), done.clone());
            scope.spawn(move || run_uploader(job.store, &jobs, &done));
        }
        drop((upload_jobs, done));
        let mut outlet = Outlet::new(job.store, job.context.counters, (jobs, uploaded), uploads);
        match pump(&mut reader, job, segment_bytes, &mut outlet) {
            Ok(()) => Ok(()),
            Err(error) => {
                outlet.shut();
                Err(error)
            }
        }
    })
}

fn pump(
    reader: &mut impl Read,
    job: &TransferJob<'_>,
    segment_bytes: u64,
    outlet: &mut Outlet<'_>,
) -> Result<(), TransferError> {
    let object = outlet.open(job.key, segment_bytes, DigestOf::Whole);
    let mut list = ListDigest::new(job.announced);
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0_u64;
    loop {
        job.context.cancel.check().map_err(BackupError::from)?;
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(TransferError::Read(error)),
        };
        bytes = bytes.saturating_add(read as u64);
        if bytes > job.bytes {
            break;
        }
        Counters::add(&job.context.counters.bytes_read, read as u64);
        list.update(&buffer[..read]);
        outlet.write(object, &buffer[..read])?;
    }
    if bytes != job.bytes {
        let than = if bytes > job.bytes { "more" } else { "fewer" };
        return Err(TransferError::Differs(format!(
            "has {than} bytes than the {} that its backup tells",
            job.bytes
        )));
    }
    outlet.finish(object)?;
    outlet.settle()?;
    let agrees = match job.announced {
        Announced::Whole(sha256) => outlet.whole_digest(object) == sha256,
        Announced::Segments { sha256, .. } => list.finish() == sha256,
        Announced::Nothing => true,
    };
    if !agrees {
        return Err(TransferError::Differs(
            "has another digest than its backup tells".to_owned(),
        ));
    }
    outlet.commit(object)?;
    Ok(())
}

/// The digest of segments' digests, wherever the storage cuts.
struct ListDigest {
    segment_bytes: u64,
    left: u64,
    segment: Sha256,
    list: Sha256,
}

impl ListDigest {
    fn new(announced: Announced) -> Self {
        let segment_bytes = match announced {
            Announced::Segments { segment_bytes, .. } => segment_bytes.max(1),
            Announced::Whole(_) | Announced::Nothing => 0,
        };
        Self {
            segment_bytes,
            left: segment_bytes,
            segment: Sha256::new(),
            list: Sha256::new(),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        if self.segment_bytes == 0 {
            return;
        }
        while !bytes.is_empty() {
            let now = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.segment.update(&bytes[..now]);
            self.left -= now as u64;
            bytes = &bytes[now..];
            if self.left == 0 {
                self.list.update(self.segment.finalize_reset());
                self.left = self.segment_bytes;
            }
        }
    }

    fn finish(mut self) -> [u8; 32] {
        if self.left < self.segment_bytes {
            self.list.update(self.segment.finalize_reset());
        }
        self.list.finalize().into()
    }
}
