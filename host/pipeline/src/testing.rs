//! A storage in memory, with counted requests and scripted faults, for the tests of this crate and of its users.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freezer_format::name::Timestamp;

mod keys;
mod requests;

use crate::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, PendingUpload, Store,
    StoreError,
};
use keys::{MAX_PAGE, check_key, check_prefix};
pub use requests::{Operation, Requests};

/// A failure that happens once, at the `call`-th call (from 0) of `operation`, or of any operation if `None`.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which calls are counted.
    pub operation: Option<Operation>,
    /// Which of them fails.
    pub call: u64,
    /// The error's kind.
    pub kind: ErrorKind,
    /// Whether the call takes effect all the same, as when only the answer is lost.
    pub applied: bool,
}

#[derive(Debug)]
struct Upload {
    key: String,
    segments: BTreeMap<u32, (u64, Arc<Vec<u8>>)>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    uploads: BTreeMap<String, Upload>,
    /// The sizes of committed uploads.
    committed: BTreeMap<String, u64>,
    next_upload: u64,
    requests: Requests,
    faults: Vec<(Fault, u64)>,
    in_flight: u32,
    bytes_in_flight: u64,
    clock: Option<i64>,
    times: BTreeMap<String, i64>,
    forbidden: Vec<String>,
}

/// A storage in memory. Clones share the content.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    url: Arc<str>,
    state: Arc<Mutex<State>>,
    limits: Limits,
    discard: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Makes an empty storage that takes segments of any size, four at once.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits {
            max_segments: 1_000_000,
            min_segment_bytes: 1,
            max_segment_bytes: u64::MAX,
            parallel_calls: 4,
        };
        Self::with_limits(limits)
    }

    /// Makes an empty storage with limits of its own.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            url: "memory:".into(),
            state: Arc::default(),
            limits,
            discard: false,
        }
    }

    /// Makes an empty storage with a URL of its own, for runs with several.
    #[must_use]
    pub fn named(url: &str) -> Self {
        Self {
            url: url.into(),
            ..Self::new()
        }
    }

    /// Makes a storage that checks and counts segments but keeps none of their bytes: for measuring memory and speed.
    #[must_use]
    pub fn discarding() -> Self {
        Self {
            discard: true,
            ..Self::new()
        }
    }

    /// Lets one future call fail.
    pub fn fail(&self, fault: Fault) {
        self.lock().faults.push((fault, 0));
    }

    /// From now on refuses every call for keys that begin so, as a folder does that isn't to be opened.
    pub fn forbid(&self, prefix: &str) {
        self.lock().forbidden.push(prefix.to_owned());
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.lock().requests.clone()
    }

    /// Forgets what was asked so far.
    pub fn reset_requests(&self) {
        self.lock().requests = Requests::default();
    }

    /// The keys of all objects, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// The content of one object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        self.lock().objects.get(key).cloned()
    }

    /// Puts content in place, bypassing counters and faults: for damaging objects.
    pub fn set_object(&self, key: &str, content: Vec<u8>) {
        self.lock().objects.insert(key.to_owned(), Arc::new(content));
    }

    /// Takes an object away, bypassing counters and faults.
    pub fn remove_object(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// Sets the storage's clock: from now on it stamps what is written and what is begun.
    pub fn set_clock(&self, seconds: i64) {
        self.lock().clock = Some(seconds);
    }

    /// Forgets the faults that didn't happen yet.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Changes a byte of each segment that is stored and not committed, as when a power cut loses what was written.
    pub fn harm_uploads(&self) {
        for upload in self.lock().uploads.values_mut() {
            for (_, segment) in upload.segments.values_mut() {
                if let Some(first) = Arc::make_mut(segment).first_mut() {
                    *first ^= 1;
                }
            }
        }
    }

    /// How many uploads are neither committed nor aborted.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call, then runs it unless a fault says otherwise.
    fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        run: impl FnOnce(&mut State) -> Result<T, (ErrorKind, String)>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        *state.requests.calls.entry(operation).or_insert(0) += 1;
        let fault = state.take_fault(operation);
        let error = |kind, message| StoreError {
            kind,
            storage: self.url.to_string(),
            operation: operation.words(),
            key: key.to_owned(),
            message,
            cause: None,
        };
        if state.forbidden.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(error(ErrorKind::Denied, "it may not be opened".to_owned()));
        }
        match fault {
            None => run(&mut state).map_err(|(kind, message)| error(kind, message)),
            Some(fault) => {
                if fault.applied {
                    run(&mut state).map_err(|(kind, message)| error(kind, message))?;
                }
                Err(error(fault.kind, "scripted fault".to_owned()))
            }
        }
    }
}

impl State {
    /// Remembers when a key or upload was written, where there is a clock.
    fn stamp(&mut self, name: &str) {
        if let Some(now) = self.clock {
            self.times.insert(name.to_owned(), now);
        }
    }

    fn stamped(&self, name: &str) -> Option<Timestamp> {
        self.times.get(name).copied().map(Timestamp)
    }

    fn take_fault(&mut self, operation: Operation) -> Option<Fault> {
        let mut hit = None;
        for (position, (fault, seen)) in self.faults.iter_mut().enumerate() {
            if fault.operation.is_some_and(|wanted| wanted != operation) {
                continue;
            }
            if *seen == fault.call && hit.is_none() {
                hit = Some(position);
            }
            *seen += 1;
        }
        hit.map(|position| self.faults.remove(position).0)
    }
}

fn not_found() -> (ErrorKind, String) {
    (ErrorKind::NotFound, "no such object".to_owned())
}

fn entry(key: &str, size: usize) -> KeyEntry {
    KeyEntry {
        key: key.to_owned(),
        is_prefix: false,
        size: size as u64,
        modified: None,
    }
}

impl Store for MemoryStore {
    fn url(&self) -> &str {
        &self.url
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.call(Operation::List, prefix, |state| {
            check_prefix(prefix)?;
            let mut page = Page::default();
            let mut seen = BTreeSet::new();
            for (key, content) in state.objects.range(prefix.to_owned()..) {
                let Some(rest) = key.strip_prefix(prefix) else {
                    break;
                };
                let (name, is_prefix) = match rest.find('/') {
                    Some(at) => (format!("{prefix}{}", &rest[..=at]), true),
                    None => (key.clone(), false),
                };
                if cursor.is_some_and(|cursor| name.as_str() <= cursor) || !seen.insert(name.clone()) {
                    continue;
                }
                if page.entries.len() == MAX_PAGE {
                    page.next = page.entries.last().map(|last: &KeyEntry| last.key.clone());
                    break;
                }
                let size = if is_prefix { 0 } else { content.len() };
                let modified = state.stamped(&name).filter(|_| !is_prefix);
                page.entries.push(KeyEntry {
                    is_prefix,
                    modified,
                    ..entry(&name, size)
                });
            }
            Ok(page)
        })
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.call(Operation::Stat, key, |state| {
            check_key(key)?;
            let modified = state.stamped(key);
            let found = state.objects.get(key);
            Ok(found.map(|content| KeyEntry {
                modified,
                ..entry(key, content.len())
            }))
        })
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.call(Operation::Read, key, |state| {
            check_key(key)?;
            let content = state.objects.get(key).ok_or_else(not_found)?;
            let size = content.len() as u64;
            if offset > size {
                return Err((ErrorKind::Invalid, format!("the object has only {size} bytes")));
            }
            let end = length.map_or(Some(size), |length| offset.checked_add(length));
            let Some(end) = end.filter(|end| *end <= size) else {
                return Err((ErrorKind::Corrupt, format!("the object has only {size} bytes")));
            };
            let bytes = content[offset as usize..end as usize].to_vec();
            state.requests.bytes_read += bytes.len() as u64;
            Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>)
        })
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.call(Operation::Put, key, |state| {
            check_key(key)?;
            if existing == Existing::Refuse && state.objects.contains_key(key) {
                return Err((ErrorKind::AlreadyExists, "the object exists".to_owned()));
            }
            state.requests.bytes_written += content.len() as u64;
            state.objects.insert(key.to_owned(), content);
            state.stamp(key);
            Ok(())
        })
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        self.call(
            Operation::Remove,
            keys.first().map_or("", String::as_str),
            |state| {
                keys.iter().try_for_each(|key| check_key(key))?;
                for key in keys {
                    state.objects.remove(key);
                }
                Ok(())
            },
        )
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String, StoreError> {
        self.call(Operation::Begin, key, |state| {
            check_key(key)?;
            if state.objects.contains_key(key) {
                return Err((ErrorKind::AlreadyExists, "the object exists".to_owned()));
            }
            let name = format!("upload-{}", state.next_upload);
            state.next_upload += 1;
            state.stamp(&name);
            state.uploads.insert(
                name.clone(),
                Upload {
                    key: key.to_owned(),
                    segments: BTreeMap::new(),
                },
            );
            Ok(name)
        })
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        let size = content.len() as u64;
        {
            let mut state = self.lock();
            state.in_flight += 1;
            state.bytes_in_flight += size;
            state.requests.most_parallel = state.requests.most_parallel.max(state.in_flight);
            state.requests.most_bytes_in_flight =
                state.requests.most_bytes_in_flight.max(state.bytes_in_flight);
        }
        // The lock is free here for a moment, so that calls can overlap as they do with a real storage.
        std::thread::yield_now();
        let (limits, discard) = (self.limits, self.discard);
        let answer = self.call(Operation::PutSegment, upload, |state| {
            let upload = state.uploads.get_mut(upload).ok_or_else(not_found)?;
            if size > limits.max_segment_bytes || number >= limits.max_segments {
                return Err((ErrorKind::Invalid, format!("segment {number} of {size} bytes")));
            }
            state.requests.bytes_written += size;
            let kept = if discard { Arc::default() } else { content };
            upload.segments.insert(number, (offset, kept));
            Ok(format!("receipt-{number}"))
        });
        let mut state = self.lock();
        state.in_flight -= 1;
        state.bytes_in_flight -= size;
        answer
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        let (limits, discard) = (self.limits, self.discard);
        self.call(Operation::Commit, upload, |state| {
            let Some(found) = state.uploads.get(upload) else {
                return match state.committed.get(upload) {
                    Some(committed) if *committed == size => Ok(()),
                    Some(_) => Err((ErrorKind::AlreadyExists, "the object exists".to_owned())),
                    None => Err(not_found()),
                };
            };
            if state.objects.contains_key(&found.key) {
                return Err((ErrorKind::AlreadyExists, "the object exists".to_owned()));
            }
            let expected: Vec<String> = found
                .segments
                .keys()
                .map(|number| format!("receipt-{number}"))
                .collect();
            if expected != receipts {
                return Err((ErrorKind::Invalid, "receipts don't match the segments".to_owned()));
            }
            let mut content = Vec::new();
            let count = found.segments.len();
            for (position, (offset, segment)) in found.segments.values().enumerate() {
                let short = (segment.len() as u64) < limits.min_segment_bytes && position + 1 < count;
                if !discard && (*offset != content.len() as u64 || short) {
                    return Err((ErrorKind::Invalid, format!("segment {position} doesn't fit")));
                }
                content.extend_from_slice(segment);
            }
            if !discard && content.len() as u64 != size {
                return Err((
                    ErrorKind::Corrupt,
                    format!("{size} bytes promised, {} came", content.len()),
                ));
            }
            if let Some((name, upload)) = state.uploads.remove_entry(upload) {
                state.stamp(&upload.key);
                state.objects.insert(upload.key, Arc::new(content));
                state.committed.insert(name, size);
            }
            Ok(())
        })
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        self.call(Operation::Abort, upload, |state| {
            state.uploads.remove(upload);
            Ok(())
        })
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.call(Operation::Pending, prefix, |state| {
            check_prefix(prefix)?;
            let behind = |(name, _): &(&String, &Upload)| cursor.is_none_or(|cursor| name.as_str() > cursor);
            let below = state
                .uploads
                .iter()
                .filter(|(_, upload)| upload.key.starts_with(prefix));
            let mut uploads: Vec<PendingUpload> = below
                .filter(behind)
                .take(MAX_PAGE + 1)
                .map(|(name, upload)| PendingUpload {
                    upload: name.clone(),
                    key: upload.key.clone(),
                    started: state.stamped(name),
                })
                .collect();
            let more = uploads.len() > MAX_PAGE;
            uploads.truncate(MAX_PAGE);
            let next = uploads.last().filter(|_| more).map(|last| last.upload.clone());
            Ok(PendingPage { uploads, next })
        })
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.call(Operation::Usage, "", |state| {
            let bytes = state.objects.values().map(|content| content.len() as u64).sum();
            let objects = state.objects.len() as u64;
            Ok(vec![ContainerUsage {
                name: "memory".to_owned(),
                objects,
                bytes,
                available: None,
            }])
        })
    }
}
