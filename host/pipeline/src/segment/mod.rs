//! Cuts streams into segments and hands them to the storage: the outlet of a backup.
//!
//! One thread owns an [`Outlet`] with all objects of the run; uploader threads make the calls. A segment buffer is
//! recycled when the storage has let go of it. Nothing is visible before [`Outlet::commit`]; [`Outlet::shut`] undoes.
//!
//! Where a storage takes so many segments only, they grow once half of them are used up (`growth.rs`). Digests are always of
//! pieces of the first size, so neither index nor manifest knows of it.

mod growth;
mod uploader;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use sha2::{Digest, Sha256};

use crate::counters::Counters;
use crate::error::BackupError;
use crate::store::Store;

use growth::Growth;
pub(crate) use uploader::{Upload, Uploaded, run_uploader};

/// Names one object of an [`Outlet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectNumber(usize);

/// Which bytes of an object are digested together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestOf {
    /// Each segment for itself.
    Segments,
    /// The whole object.
    Whole,
}

/// All objects that a run writes.
pub(crate) struct Outlet<'a> {
    store: &'a dyn Store,
    counters: &'a Counters,
    jobs: Sender<Upload>,
    done: Receiver<Uploaded>,
    most_in_flight: usize,
    in_flight: usize,
    /// Bytes of segments under way.
    bytes_in_flight: u64,
    objects: Vec<Object>,
}

struct Object {
    key: String,
    upload: Option<Arc<str>>,
    growth: Growth,
    /// Bytes of the segment that is being filled.
    segment_bytes: usize,
    /// Bytes of what is digested together, and how many of the current one came.
    piece_bytes: usize,
    piece_filled: usize,
    buffer: Vec<u8>,
    free: Vec<Vec<u8>>,
    receipts: Vec<Option<String>>,
    /// Bytes in segments that were cut.
    cut_bytes: u64,
    digest_of: DigestOf,
    digest: Sha256,
    segment_digests: Vec<[u8; 32]>,
    is_committed: bool,
}

impl<'a> Outlet<'a> {
    /// Makes an outlet whose segments go to `jobs` and come back through `done`, `most_in_flight` at a time.
    pub(crate) fn new(
        store: &'a dyn Store,
        counters: &'a Counters,
        (jobs, done): (Sender<Upload>, Receiver<Uploaded>),
        most_in_flight: usize,
    ) -> Self {
        Self {
            store,
            counters,
            jobs,
            done,
            most_in_flight,
            in_flight: 0,
            bytes_in_flight: 0,
            objects: Vec::new(),
        }
    }

    /// Prepares an object. The storage hears of it when the first segment is full.
    pub(crate) fn open(&mut self, key: &str, segment_bytes: u64, digest_of: DigestOf) -> ObjectNumber {
        let growth = Growth::new(segment_bytes, &self.store.limits());
        let piece_bytes = usize::try_from(segment_bytes).unwrap_or(usize::MAX);
        self.objects.push(Object {
            key: key.to_owned(),
            upload: None,
            growth,
            segment_bytes: piece_bytes,
            piece_bytes,
            piece_filled: 0,
            buffer: Vec::new(),
            free: Vec::new(),
            receipts: Vec::new(),
            cut_bytes: 0,
            digest_of,
            digest: Sha256::new(),
            segment_digests: Vec::new(),
            is_committed: false,
        });
        ObjectNumber(self.objects.len() - 1)
    }

    /// Appends bytes to an object, waiting while too many segments are under way.
    pub(crate) fn write(&mut self, number: ObjectNumber, mut bytes: &[u8]) -> Result<(), BackupError> {
        while !bytes.is_empty() {
            let object = &mut self.objects[number.0];
            if object.buffer.capacity() < object.segment_bytes {
                // At once, so that it is never copied while it grows; untouched pages cost nothing.
                object.buffer = Vec::with_capacity(object.segment_bytes);
            }
            let room = object.segment_bytes - object.buffer.len();
            let taken = bytes
                .len()
                .min(room)
                .min(object.piece_bytes - object.piece_filled);
            let (now, later) = bytes.split_at(taken);
            object.digest.update(now);
            object.buffer.extend_from_slice(now);
            bytes = later;
            object.piece_filled += taken;
            if object.piece_filled == object.piece_bytes {
                object.end_piece();
            }
            if object.buffer.len() == object.segment_bytes {
                self.cut(number)?;
            }
        }
        Ok(())
    }

    /// Bytes written to an object so far.
    pub(crate) fn bytes(&self, number: ObjectNumber) -> u64 {
        let object = &self.objects[number.0];
        object.cut_bytes + object.buffer.len() as u64
    }

    /// The digests of pieces that ended since the last call.
    pub(crate) fn take_segment_digests(&mut self, number: ObjectNumber) -> Vec<[u8; 32]> {
        std::mem::take(&mut self.objects[number.0].segment_digests)
    }

    /// Sends what is left of an object. Its bytes are complete then, but it stays invisible.
    pub(crate) fn finish(&mut self, number: ObjectNumber) -> Result<(), BackupError> {
        let object = &mut self.objects[number.0];
        let is_empty = object.cut_bytes == 0 && object.buffer.is_empty();
        if object.piece_filled > 0 || is_empty {
            object.end_piece();
        }
        if !object.buffer.is_empty() || object.receipts.is_empty() {
            self.cut(number)?;
        }
        Ok(())
    }

    /// The digest of a whole object that was finished.
    pub(crate) fn whole_digest(&mut self, number: ObjectNumber) -> [u8; 32] {
        std::mem::take(&mut self.objects[number.0].digest)
            .finalize()
            .into()
    }

    /// Waits until no segment is under way.
    pub(crate) fn settle(&mut self) -> Result<(), BackupError> {
        while self.in_flight > 0 {
            self.receive()?;
        }
        Ok(())
    }

    /// Makes a finished object visible and durable. Call [`Outlet::settle`] first.
    pub(crate) fn commit(&mut self, number: ObjectNumber) -> Result<(), BackupError> {
        let object = &mut self.objects[number.0];
        let receipts: Vec<String> = object.receipts.iter_mut().filter_map(Option::take).collect();
        if let Some(upload) = &object.upload {
            self.store.commit(upload, object.cut_bytes, &receipts)?;
            object.is_committed = true;
        }
        Ok(())
    }

    /// Undoes everything after a failure: aborts what was begun, removes what was committed. What can't be undone is
    /// garbage without a backup, which the storage's clean-up finds; the first cause is worth more than that.
    pub(crate) fn shut(mut self) {
        while self.in_flight > 0 {
            if let Err(error) = self.receive() {
                tracing::debug!(%error, "a segment failed after the backup had");
            }
        }
        for object in &self.objects {
            let undone = match (&object.upload, object.is_committed) {
                (_, true) => self.store.remove(std::slice::from_ref(&object.key)),
                (Some(upload), false) => self.store.abort(upload),
                (None, false) => Ok(()),
            };
            if let Err(error) = undone {
                tracing::debug!(%error, key = object.key, "can't undo an unfinished object");
            }
        }
    }

    /// Hands the filled buffer to an uploader and takes a new one.
    fn cut(&mut self, number: ObjectNumber) -> Result<(), BackupError> {
        // Larger segments are fewer at once: together no more than the first ones were, if more than one.
        let next = self.objects[number.0].buffer.len() as u64;
        let base = self.objects[number.0].piece_bytes as u64;
        let most_bytes = base.saturating_mul(self.most_in_flight as u64);
        while self.in_flight >= self.most_in_flight
            || (self.in_flight > 0 && self.bytes_in_flight.saturating_add(next) > most_bytes && next > base)
        {
            self.receive()?;
        }
        let max_segments = self.store.limits().max_segments;
        let object = &mut self.objects[number.0];
        let segment = u32::try_from(object.receipts.len())
            .ok()
            .filter(|segment| *segment < max_segments);
        let Some(segment) = segment else {
            return Err(BackupError::TooManySegments {
                key: object.key.clone(),
                storage: self.store.url().to_owned(),
                max_segments,
                segment_bytes: object.segment_bytes as u64,
            });
        };
        let upload = match &object.upload {
            Some(upload) => Arc::clone(upload),
            None => {
                let upload: Arc<str> = self.store.begin(&object.key, None)?.into();
                object.upload = Some(Arc::clone(&upload));
                upload
            }
        };
        let content = std::mem::replace(&mut object.buffer, object.free.pop().unwrap_or_default());
        let offset = object.cut_bytes;
        object.cut_bytes += content.len() as u64;
        object.receipts.push(None);
        object.grow();
        let bytes = content.len() as u64;
        let job = Upload {
            object: number,
            upload,
            number: segment,
            offset,
            content: Arc::new(content),
        };
        // The uploaders live until this sender is dropped, and `most_in_flight` jobs fit: it neither fails nor blocks.
        if self.jobs.send(job).is_ok() {
            self.in_flight += 1;
            self.bytes_in_flight += bytes;
        }
        Ok(())
    }

    /// Takes one answer of an uploader.
    fn receive(&mut self) -> Result<(), BackupError> {
        let Ok(uploaded) = self.done.recv() else {
            self.in_flight = 0;
            return Ok(());
        };
        self.in_flight -= 1;
        self.bytes_in_flight = self.bytes_in_flight.saturating_sub(uploaded.bytes);
        let receipt = uploaded.result?;
        let object = &mut self.objects[uploaded.object.0];
        Counters::add(&self.counters.bytes_stored, uploaded.bytes);
        object.receipts[uploaded.number as usize] = Some(receipt);
        if let Some(mut buffer) = uploaded.buffer {
            buffer.clear();
            object.free.push(buffer);
        }
        Ok(())
    }
}

impl Object {
    /// Ends a piece: where each has a digest of its own, that is done.
    fn end_piece(&mut self) {
        self.piece_filled = 0;
        if self.digest_of == DigestOf::Segments {
            let digest = std::mem::take(&mut self.digest).finalize();
            self.segment_digests.push(digest.into());
        }
    }

    /// Sets the size of the next segment.
    fn grow(&mut self) {
        let bytes = usize::try_from(self.growth.segment_bytes(self.receipts.len())).unwrap_or(usize::MAX);
        if bytes > self.segment_bytes {
            tracing::warn!(
                "{:?} is so large that its segments grow to {} MiB, and the memory for them: a larger --max-segment-size from \
                 the beginning needs fewer",
                self.key,
                bytes >> 20
            );
            self.segment_bytes = bytes;
            // Smaller buffers are of no use any more.
            self.free.clear();
        }
    }
}
