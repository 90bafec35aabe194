//! A storage that fails by script: at one position of a run's calls, in one way.
//!
//! It stands between the host and an opened storage, counts every call, and lets the one of the given number fail.
//! A sweep runs the same recipe for 0, 1, 2, … until a run makes fewer calls than that.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Without effect.
    Refused(ErrorKind),
    /// After taking effect: only the answer is lost. A call that only looks has none, and passes.
    AnswerLost,
    /// At once, and its effect comes when the run is over ([`FaultyStore::settle`]), as of a request that was given up
    /// after a timeout and went through all the same. A call that only looks passes.
    EffectAfterTheRun,
    /// A read ends in the middle; other calls pass.
    Truncated,
    /// The process dies before the call: neither this nor any later call has an effect.
    KilledBefore,
    /// The process dies after the call took effect.
    KilledAfter,
}

impl Fault {
    /// Tells whether such a call can fail in this way, and in no other way that has a name here.
    #[must_use]
    pub fn hits(self, operation: &str) -> bool {
        match self {
            Self::Truncated => operation == "read",
            Self::AnswerLost | Self::EffectAfterTheRun => changes(operation),
            Self::Refused(_) | Self::KilledBefore | Self::KilledAfter => true,
        }
    }
}

/// Tells whether such a call has an effect; all others only look.
#[must_use]
pub fn changes(operation: &str) -> bool {
    let looks = [
        "list",
        "look at",
        "read",
        "list what is unfinished below",
        "measure",
    ];
    !looks.contains(&operation)
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// Bytes that a truncated read still delivers.
const TRUNCATED_BYTES: u64 = 10;

type Late = Box<dyn FnOnce(&dyn Store) + Send>;

#[derive(Default)]
struct State {
    killed: bool,
    /// All calls so far.
    operations: Vec<&'static str>,
    /// What was hit: the call, for messages.
    hit: Option<String>,
    late: Vec<Late>,
}

/// A storage of which one call fails.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    call: u64,
    fault: Fault,
    state: Mutex<State>,
}

/// What becomes of one call.
enum Fate {
    Passes,
    Fails(ErrorKind),
    FailsAfterwards,
    ComesLate,
    EndsEarly,
}

impl FaultyStore {
    /// Lets call number `call` (from 0) fail.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, call: u64, fault: Fault) -> Self {
        Self {
            inner,
            call,
            fault,
            state: Mutex::default(),
        }
    }

    /// What was hit, for messages; `None` if the run made fewer calls, or the fault can't hit that one.
    #[must_use]
    pub fn hit(&self) -> Option<String> {
        self.lock().hit.clone()
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().operations.len() as u64
    }

    /// What each call was.
    #[must_use]
    pub fn operations(&self) -> Vec<&'static str> {
        self.lock().operations.clone()
    }

    /// Lets the effects come that are still to come. Call it when the run is over.
    pub fn settle(&self) {
        let late = std::mem::take(&mut self.lock().late);
        for effect in late {
            effect(&*self.inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and decides about it.
    fn fate(&self, operation: &'static str, key: &str) -> Fate {
        let mut state = self.lock();
        let number = state.operations.len() as u64;
        state.operations.push(operation);
        if state.killed {
            return Fate::Fails(ErrorKind::Unavailable);
        }
        if number != self.call || !self.fault.hits(operation) {
            return Fate::Passes;
        }
        state.hit = Some(format!("call {number}, {operation} of {key:?}, {}", self.fault));
        match self.fault {
            Fault::Refused(kind) => Fate::Fails(kind),
            Fault::AnswerLost => Fate::FailsAfterwards,
            Fault::EffectAfterTheRun => Fate::ComesLate,
            Fault::Truncated => Fate::EndsEarly,
            Fault::KilledBefore => {
                state.killed = true;
                Fate::Fails(ErrorKind::Unavailable)
            }
            Fault::KilledAfter => {
                state.killed = true;
                Fate::FailsAfterwards
            }
        }
    }

    /// Runs a call as its fate has it. `late` makes it again when the run is over.
    fn run<T>(
        &self,
        (operation, key): (&'static str, &str),
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
        late: impl FnOnce() -> Option<Late>,
    ) -> Result<T, StoreError> {
        let fails = |kind| StoreError {
            kind,
            storage: self.inner.url().to_owned(),
            operation,
            key: key.to_owned(),
            message: "scripted fault".to_owned(),
            cause: None,
        };
        match self.fate(operation, key) {
            Fate::Passes | Fate::EndsEarly => call(&*self.inner),
            Fate::Fails(kind) => Err(fails(kind)),
            Fate::FailsAfterwards => call(&*self.inner).and_then(|_| Err(fails(ErrorKind::Unavailable))),
            Fate::ComesLate => {
                let effect = late();
                self.lock().late.extend(effect);
                Err(fails(ErrorKind::Unavailable))
            }
        }
    }
}

/// A call whose lateness has no effect of its own.
fn nothing() -> Option<Late> {
    None
}

/// A call that is made when the run is over; its answer reaches nobody.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it answers what `run` asks for, as `nothing` does"
)]
fn late<T>(call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static) -> Option<Late> {
    Some(Box::new(move |store| drop(call(store))))
}

impl Store for FaultyStore {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.run(("list", prefix), |store| store.list(prefix, cursor), nothing)
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.run(("look at", key), |store| store.stat(key), nothing)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        let reading = |store: &dyn Store| store.read(key, offset, length);
        if self.fault == Fault::Truncated {
            return match self.fate("read", key) {
                Fate::EndsEarly => Ok(Box::new(EndsEarly(reading(&*self.inner)?.take(TRUNCATED_BYTES)))),
                _ => reading(&*self.inner),
            };
        }
        self.run(("read", key), reading, nothing)
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        let (again, bytes) = (key.to_owned(), Arc::clone(&content));
        let comes_late = || late(move |store| store.put(&again, bytes, existing));
        self.run(
            ("write", key),
            |store| store.put(key, content, existing),
            comes_late,
        )
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        let again = keys.to_vec();
        let first = keys.first().map(String::as_str).unwrap_or_default();
        self.run(
            ("remove", first),
            |store| store.remove(keys),
            || late(move |store| store.remove(&again)),
        )
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        let again = key.to_owned();
        self.run(
            ("begin to write", key),
            |store| store.begin(key, size),
            || late(move |store| store.begin(&again, size)),
        )
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        let (again, bytes) = (upload.to_owned(), Arc::clone(&content));
        self.run(
            ("write a segment of", upload),
            |store| store.put_segment(upload, number, offset, content),
            || late(move |store| store.put_segment(&again, number, offset, bytes)),
        )
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        let (again, all) = (upload.to_owned(), receipts.to_vec());
        self.run(
            ("finish writing", upload),
            |store| store.commit(upload, size, receipts),
            || late(move |store| store.commit(&again, size, &all)),
        )
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        let again = upload.to_owned();
        self.run(
            ("give up", upload),
            |store| store.abort(upload),
            || late(move |store| store.abort(&again)),
        )
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.run(
            ("list what is unfinished below", prefix),
            |store| store.pending(prefix, cursor),
            nothing,
        )
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.run(("measure", ""), |store| store.usage(), nothing)
    }
}

/// A stream that breaks off.
struct EndsEarly(io::Take<Box<dyn Read + Send>>);

impl Read for EndsEarly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "scripted end")),
            count => Ok(count),
        }
    }
}
