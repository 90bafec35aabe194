//! A storage that writes down what it stores, and answers with what an earlier run stored where that is the same.
//!
//! A segment counts as the same if number, length and digest are. Only data objects are continued: index and snapshot
//! file are small, and what they say of times differs from run to run. While remains are kept, aborting and removing
//! are put off: the recipe decides what becomes of an interrupted run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use sha2::{Digest, Sha256};

use super::journal::{Journal, Line, OldUpload, Remains, RunHead};
use crate::catalogue::pending_pages;
use crate::objects::digest_of_range;

#[cfg(test)]
mod tests;

/// A storage with a journal.
pub(crate) struct JournalStore {
    inner: Arc<dyn Store>,
    boot: String,
    state: Mutex<State>,
    /// Put off aborting and removing.
    keeps: AtomicBool,
    /// The journal can't be written.
    is_broken: AtomicBool,
    /// Nor can what it says be taken back: nothing that it speaks of may be written over.
    is_lying: AtomicBool,
    /// What an earlier run stored turned out to be of no use: the run must begin anew.
    stale: AtomicBool,
    /// This run has begun to write its documents.
    is_finishing: AtomicBool,
    reused_bytes: AtomicU64,
}

struct State {
    journal: Journal,
    remains: Option<Remains>,
    /// What is continued, by its key.
    old: BTreeMap<String, (String, OldUpload)>,
    /// Uploads of this run, continued ones included.
    uploads: BTreeSet<String>,
    /// Reused segments that must be read back: offset, length, digest.
    doubtful: Vec<(u64, u64, [u8; 32])>,
    /// Number and length of the last segment of what is continued, as it is now.
    last_put: (u32, u64),
}

impl JournalStore {
    /// Puts an open journal before a storage. `boot` tells this boot of the machine from others.
    pub(crate) fn new(inner: Arc<dyn Store>, mut journal: Journal, boot: &str) -> std::io::Result<Self> {
        let remains = journal.remains(boot)?;
        Ok(Self {
            inner,
            boot: boot.to_owned(),
            state: Mutex::new(State {
                journal,
                remains,
                old: BTreeMap::new(),
                uploads: BTreeSet::new(),
                doubtful: Vec::new(),
                last_put: (0, 0),
            }),
            keeps: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            is_lying: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            is_finishing: AtomicBool::new(false),
            reused_bytes: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that an interrupted backup belongs to.
    pub(crate) fn interrupted(&self) -> Option<RunHead> {
        let state = self.lock();
        state.remains.as_ref().map(|remains| remains.head.clone())
    }

    /// True if the interrupted run may have completed its backup: nothing of it may be touched.
    pub(crate) fn may_be_complete(&self) -> bool {
        let state = self.lock();
        state.remains.as_ref().is_some_and(|remains| remains.is_finishing)
    }

    /// Notes that the backup's documents are about to be written.
    pub(crate) fn finishing(&self) {
        self.is_finishing.store(true, Ordering::Relaxed);
        self.note(&mut self.lock(), &Line::Finishing);
    }

    /// Begins a new run: what was written down before is forgotten.
    pub(crate) fn begin_run(&self, head: &RunHead) {
        let mut state = self.lock();
        state.remains = None;
        state.old.clear();
        let written = state.journal.begin(head, &self.boot);
        self.judge_journal(&state, written);
    }

    /// The journal is a help for later: if it can't be written, the backup goes on without it. What stands in it is
    /// taken back then, since it may not be true any more when the next run reads it.
    fn judge_journal(&self, state: &State, written: std::io::Result<()>) {
        if let Err(error) = written
            && !self.is_broken.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "can't write a journal: if this run is interrupted, it can't be gone on with");
            self.is_lying
                .store(state.journal.forget().is_err(), Ordering::Relaxed);
        }
    }

    /// Goes on with the interrupted run, as far as the storage still knows its upload for `data_key`. Answers the
    /// bytes that may be reused.
    ///
    /// # Errors
    /// The storage fails.
    pub(crate) fn continue_run(&self, data_key: &str) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let Some(remains) = state.remains.take() else {
            return Ok(0);
        };
        let written = state.journal.go_on(&self.boot);
        self.judge_journal(&state, written);
        let mut reusable = 0;
        for (upload, old) in remains.uploads {
            let usable = old.key == data_key && !old.segments.is_empty();
            if usable && (self.is_pending(&upload, data_key)? || self.is_there(&old)?) {
                reusable = old.stored_bytes();
                state.old.insert(old.key.clone(), (upload, old));
            } else {
                self.inner.abort(&upload)?;
            }
        }
        Ok(reusable)
    }

    /// True unless the storage says that no upload of that key is unfinished. A storage may call one otherwise than it
    /// did at its beginning, or not let us ask: then the upload's own calls tell whether it is there.
    fn is_pending(&self, upload: &str, key: &str) -> Result<bool, StoreError> {
        let prefix = key
            .rsplit_once('/')
            .map_or_else(String::new, |(folder, _)| format!("{folder}/"));
        match pending_pages(&*self.inner, &prefix) {
            Ok(uploads) => Ok(uploads
                .iter()
                .any(|found| found.upload == upload || found.key == key)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Unsupported) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// True if the object became visible before the run was killed.
    fn is_there(&self, old: &OldUpload) -> Result<bool, StoreError> {
        let Some(bytes) = old.committing.filter(|bytes| *bytes == old.stored_bytes()) else {
            return Ok(false);
        };
        let found = self.inner.stat(&old.key)?;
        Ok(found.is_some_and(|entry| entry.size == bytes))
    }

    /// Puts off aborting and removing, or doesn't any more.
    pub(crate) fn keep(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// Aborts all uploads of this run, and those that an interrupted one left.
    pub(crate) fn abort_all(&self) {
        let mut state = self.lock();
        let mut uploads = std::mem::take(&mut state.uploads);
        uploads.extend(state.old.values().map(|(upload, _)| upload.clone()));
        if let Some(remains) = &state.remains {
            uploads.extend(remains.uploads.keys().cloned());
        }
        for upload in uploads {
            if let Err(error) = self.inner.abort(&upload) {
                tracing::debug!(%error, "can't abort an upload");
            }
        }
    }

    /// Nothing unfinished is left: the journal may go, unless a run that begins anew is going to need it.
    pub(crate) fn close(&self) {
        if !self.is_stale() {
            self.lock().journal.remove();
        }
    }

    /// True once the documents are being written: from then on nothing is left to be continued.
    pub(crate) fn is_finishing(&self) -> bool {
        self.is_finishing.load(Ordering::Relaxed)
    }

    /// What was continued can't become this backup: another run has its place.
    pub(crate) fn is_outrun(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// True if what was continued can't become this backup.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Forgets that: the run begins anew.
    pub(crate) fn renew(&self) {
        self.stale.store(false, Ordering::Relaxed);
        self.reused_bytes.store(0, Ordering::Relaxed);
    }

    /// Bytes that didn't have to be sent again.
    pub(crate) fn reused_bytes(&self) -> u64 {
        self.reused_bytes.load(Ordering::Relaxed)
    }

    /// Whether an upload is one that is continued.
    fn is_old(state: &State, upload: &str) -> bool {
        state.old.values().any(|(old, _)| old == upload)
    }

    fn note(&self, state: &mut State, line: &Line) {
        if !self.is_broken.load(Ordering::Relaxed) {
            let written = state.journal.append(line);
            self.judge_journal(state, written);
        }
    }

    fn outdated(&self, key: &str, message: &str) -> StoreError {
        self.stale.store(true, Ordering::Relaxed);
        StoreError {
            kind: ErrorKind::Invalid,
            storage: self.inner.url().to_owned(),
            operation: "continue",
            key: key.to_owned(),
            message: message.to_owned(),
            cause: None,
        }
    }

    /// An error of an upload that was continued: most kinds say that it can't be.
    fn judge<T>(&self, continued: bool, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && continued
            && !error.kind.is_retryable()
            && error.kind != ErrorKind::Cancelled
        {
            self.stale.store(true, Ordering::Relaxed);
        }
        result
    }

    /// The receipt of the same segment, if an earlier run stored it.
    fn receipt_of(
        &self,
        upload: &str,
        (number, offset): (u32, u64),
        (bytes, sha256): (u64, &[u8; 32]),
    ) -> Result<Option<String>, StoreError> {
        let mut state = self.lock();
        let State { old, last_put, .. } = &mut *state;
        let Some((_, old)) = old.values().find(|(old, _)| old == upload) else {
            return Ok(None);
        };
        *last_put = (*last_put).max((number, bytes));
        let same =
            |segment: &&super::journal::OldSegment| segment.bytes == bytes && segment.sha256 == *sha256;
        let found = old.segments.get(&number).filter(same).cloned();
        let Some(segment) = found else {
            if old.committing.is_some() {
                return Err(self.outdated(&old.key, "the source changed since the run that is continued"));
            }
            return Ok(None);
        };
        if !segment.of_this_boot {
            state.doubtful.push((offset, bytes, *sha256));
        }
        self.reused_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Some(segment.receipt))
    }

    /// Whether all that an earlier run may have sent was written over: no storage need forget the rest.
    fn is_covered(&self, old: &OldUpload) -> bool {
        let (number, bytes) = self.lock().last_put;
        old.last_sent
            .is_none_or(|(last, sent)| last < number || (last == number && sent <= bytes))
    }

    /// Reads back what was stored before this machine was started anew: until then it may never have reached a disk.
    fn verify(&self, key: &str) -> Result<(), StoreError> {
        let doubtful = std::mem::take(&mut self.lock().doubtful);
        for (offset, bytes, sha256) in doubtful {
            if digest_of_range(&*self.inner, key, offset, bytes)? != sha256 {
                return Err(self.outdated(key, "what the interrupted run stored got lost"));
            }
        }
        Ok(())
    }
}

impl Store for JournalStore {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.inner.list(prefix, cursor)
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.inner.stat(key)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.inner.read(key, offset, length)
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.inner.put(key, content, existing)
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        if self.keeps.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.remove(keys)
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        let continued = self.lock().old.get(key).map(|(upload, _)| upload.clone());
        if let Some(upload) = continued {
            self.lock().uploads.insert(upload.clone());
            return Ok(upload);
        }
        let upload = self.inner.begin(key, size)?;
        let mut state = self.lock();
        state.uploads.insert(upload.clone());
        let line = Line::Begun {
            key: key.to_owned(),
            upload: upload.clone(),
        };
        self.note(&mut state, &line);
        Ok(upload)
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        let (bytes, sha256) = (content.len() as u64, Sha256::digest(&*content).into());
        if let Some(receipt) = self.receipt_of(upload, (number, offset), (bytes, &sha256))? {
            return Ok(receipt);
        }
        let continued = {
            let mut state = self.lock();
            let line = Line::Sending {
                upload: upload.to_owned(),
                number,
                bytes,
            };
            self.note(&mut state, &line);
            Self::is_old(&state, upload)
        };
        if continued && self.is_lying.load(Ordering::Relaxed) {
            return Err(self.outdated(upload, "its journal can be neither written nor emptied"));
        }
        let receipt = self.judge(continued, self.inner.put_segment(upload, number, offset, content))?;
        let line = Line::Stored {
            upload: upload.to_owned(),
            number,
            bytes,
            sha256: hex::encode(sha256),
            receipt: receipt.clone(),
        };
        self.note(&mut self.lock(), &line);
        Ok(receipt)
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        let old = {
            let state = self.lock();
            let found = state.old.iter().find(|(_, (old, _))| old == upload);
            found.map(|(_, (_, old))| old.clone())
        };
        if let Some(old) = &old {
            if !self.is_covered(old) {
                return Err(self.outdated(
                    &old.key,
                    "the source became smaller since the run that is continued",
                ));
            }
            if old.committing == Some(size) && self.is_there(old)? {
                return self.verify(&old.key);
            }
        }
        let line = Line::Committing {
            upload: upload.to_owned(),
            bytes: size,
        };
        self.note(&mut self.lock(), &line);
        self.judge(old.is_some(), self.inner.commit(upload, size, receipts))?;
        old.map_or(Ok(()), |old| self.verify(&old.key))
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        if self.keeps.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.lock().uploads.remove(upload);
        self.inner.abort(upload)
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.inner.pending(prefix, cursor)
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.inner.usage()
    }
}
