//! The threads that call the storage, one segment at a time each. Every segment is answered, even if a call panics.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::ObjectNumber;
use crate::store::{ErrorKind, Store, StoreError};

/// A segment to be stored.
pub(crate) struct Upload {
    pub(super) object: ObjectNumber,
    pub(super) upload: Arc<str>,
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) content: Arc<Vec<u8>>,
}

/// What became of a segment.
pub(crate) struct Uploaded {
    pub(super) object: ObjectNumber,
    pub(super) number: u32,
    pub(super) bytes: u64,
    pub(super) result: Result<String, StoreError>,
    /// The segment's memory, unless the storage keeps it.
    pub(super) buffer: Option<Vec<u8>>,
}

/// Stores segments until the other side hangs up.
pub(crate) fn run_uploader(store: &dyn Store, jobs: &Receiver<Upload>, done: &Sender<Uploaded>) {
    for job in jobs {
        let mut answer = Answer {
            done,
            uploaded: Some(failed(store, &job)),
        };
        let bytes = job.content.len() as u64;
        let result = store.put_segment(&job.upload, job.number, job.offset, Arc::clone(&job.content));
        let buffer = Arc::try_unwrap(job.content).ok();
        answer.uploaded = Some(Uploaded {
            object: job.object,
            number: job.number,
            bytes,
            result,
            buffer,
        });
    }
}

/// What is answered if the storage's code never comes back.
fn failed(store: &dyn Store, job: &Upload) -> Uploaded {
    let error = StoreError {
        kind: ErrorKind::Other,
        storage: store.url().to_owned(),
        operation: "write a segment of",
        key: job.upload.to_string(),
        message: "the storage's code broke down".to_owned(),
        cause: None,
    };
    Uploaded {
        object: job.object,
        number: job.number,
        bytes: 0,
        result: Err(error),
        buffer: None,
    }
}

/// Sends its content when it goes out of scope, which it does on a panic, too: the outlet never waits in vain.
struct Answer<'a> {
    done: &'a Sender<Uploaded>,
    uploaded: Option<Uploaded>,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(uploaded) = self.uploaded.take()
            && self.done.send(uploaded).is_err()
        {
            tracing::debug!("nobody waits for the segment any more");
        }
    }
}
