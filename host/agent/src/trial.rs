//! `storage test`: tries a storage out, call by call, and measures it.
//!
//! All that it makes lies below a prefix of its own that no reader takes for a backup, and is removed at the end, also
//! after an interrupt. A call that fails is a row of the report, never the end of the trial.

mod transfer;

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freezer_format::time::Time;
use freezer_pipeline::RunContext;
use freezer_pipeline::store::{ErrorKind, Existing, Store, StoreError};

use crate::error::{AgentError, ExitClass};

/// Bytes of the small object.
const SMALL: usize = 4096;
/// Small calls that are timed.
const CALLS: usize = 5;
/// Our clock and the storage's may differ by this much: what a busy machine and whole seconds make of one clock.
const SKEW: i64 = 5;

/// How to try a storage out.
#[derive(Debug, Clone, Copy)]
pub struct TrialOptions {
    /// Bytes to write, and to read, in each measurement.
    pub size_bytes: u64,
}

/// How a row of the report ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialState {
    /// As the contract says.
    Ok,
    /// It works, and something about it should be known.
    Warning,
    /// Not as the contract says.
    Failed,
    /// The storage doesn't do it, and says so.
    Unsupported,
}

/// One row of the report.
#[derive(Debug)]
pub struct TrialRow {
    /// What was tried.
    pub name: &'static str,
    /// How it ended.
    pub state: TrialState,
    /// How long it took.
    pub time: Duration,
    /// Bytes that were moved, of a measurement.
    pub bytes: Option<u64>,
    /// The storage's words, or a figure.
    pub note: String,
}

/// What a trial showed.
#[derive(Debug)]
pub struct TrialReport {
    /// The storage's URL.
    pub storage: String,
    /// The rows, in the order in which they were tried.
    pub rows: Vec<TrialRow>,
    /// Keys that couldn't be removed.
    pub left: Vec<String>,
}

impl TrialReport {
    /// What the report means: a failed row, or only something left behind.
    #[must_use]
    pub fn exit_class(&self) -> ExitClass {
        if self.rows.iter().any(|row| row.state == TrialState::Failed) {
            ExitClass::Failed
        } else if self.left.is_empty() {
            ExitClass::Ok
        } else {
            ExitClass::Partial
        }
    }
}

/// Tries a storage out.
///
/// # Errors
/// [`AgentError::Interrupted`], after everything has been removed.
pub fn trial(
    store: &Arc<dyn Store>,
    options: TrialOptions,
    context: &RunContext<'_>,
) -> Result<TrialReport, AgentError> {
    let mut random = [0; 8];
    (context.random)(&mut random);
    let mut trial = Trial {
        store: &**store,
        context,
        prefix: format!("freezer-test/{:016x}/", u64::from_be_bytes(random)),
        made: Mutex::default(),
        rows: Vec::new(),
    };
    let result = trial.run(options);
    let left = trial.clean_up(result.is_ok());
    result.map_err(|Stopped| AgentError::Interrupted)?;
    Ok(TrialReport {
        storage: store.url().to_owned(),
        rows: trial.rows,
        left,
    })
}

/// The user stopped the trial.
struct Stopped;

/// What a call came to, in words.
enum Answer {
    /// As it should.
    Good(String),
    /// As it should, with a reason to look at it.
    Doubtful(String),
    /// Not as it should.
    Bad(String),
    /// The call failed.
    Error(StoreError),
    /// The storage refuses by design, such as one that is written once.
    Refused(String),
}

impl From<Result<(), StoreError>> for Answer {
    fn from(result: Result<(), StoreError>) -> Answer {
        match result {
            Ok(()) => Answer::Good(String::new()),
            Err(error) => Answer::Error(error),
        }
    }
}

/// What has been made and must go again.
#[derive(Default)]
struct Made {
    keys: Vec<String>,
    uploads: Vec<String>,
}

struct Trial<'a> {
    store: &'a dyn Store,
    context: &'a RunContext<'a>,
    prefix: String,
    made: Mutex<Made>,
    rows: Vec<TrialRow>,
}

impl Trial<'_> {
    fn run(&mut self, options: TrialOptions) -> Result<(), Stopped> {
        self.small_objects()?;
        self.latency()?;
        transfer::run(self, options)?;
        self.unfinished_uploads()
    }

    /// Does one step and writes its row.
    fn step(
        &mut self,
        name: &'static str,
        bytes: Option<u64>,
        work: impl FnOnce(&Self) -> Answer,
    ) -> Result<bool, Stopped> {
        if self.context.cancel.is_raised() {
            return Err(Stopped);
        }
        let started = (self.context.now)();
        let answer = work(self);
        let time = since(started, (self.context.now)());
        let (state, note) = match answer {
            Answer::Good(note) => (TrialState::Ok, note),
            Answer::Doubtful(note) => (TrialState::Warning, note),
            Answer::Bad(note) => (TrialState::Failed, note),
            Answer::Refused(note) => (TrialState::Unsupported, note),
            Answer::Error(error) => match error.kind {
                ErrorKind::Cancelled => return Err(Stopped),
                ErrorKind::Unsupported => (TrialState::Unsupported, error.message),
                _ => (TrialState::Failed, error.message),
            },
        };
        self.rows.push(TrialRow {
            name,
            state,
            time,
            bytes: bytes.filter(|_| state == TrialState::Ok),
            note,
        });
        Ok(state == TrialState::Ok)
    }

    /// A key below our prefix; it will be removed.
    fn key(&self, name: &str) -> String {
        let key = format!("{}{name}", self.prefix);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.keys.contains(&key) {
            made.keys.push(key.clone());
        }
        key
    }

    /// Begins an upload that will be forgotten if it isn't committed.
    fn begin(&self, key: &str, size: u64) -> Result<String, StoreError> {
        let upload = self.store.begin(key, Some(size))?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.uploads.push(upload.clone());
        Ok(upload)
    }

    /// Small objects: written, kept, read, replaced.
    fn small_objects(&mut self) -> Result<(), Stopped> {
        let mut first = vec![0; SMALL];
        (self.context.random)(&mut first);
        let second: Vec<u8> = first.iter().rev().copied().collect();
        let (first, second) = (Arc::new(first), Arc::new(second));
        let key = self.key("small");
        self.step("list", None, |trial| {
            match trial.store.list(&trial.prefix, None) {
                Err(error) if error.kind == ErrorKind::NotFound => {
                    Answer::Good("the container isn't there yet".to_owned())
                }
                result => result.map(drop).into(),
            }
        })?;
        let written = self.step("write", None, |trial| {
            trial.put(&key, &first, Existing::Refuse).into()
        })?;
        if !written {
            return Ok(());
        }
        self.step("keep what is there", None, |trial| {
            match trial.put(&key, &second, Existing::Refuse) {
                Err(error) if error.kind == ErrorKind::AlreadyExists => Answer::Good(String::new()),
                Err(error) => Answer::Error(error),
                Ok(()) => Answer::Bad("it replaced an object that it was to keep".to_owned()),
            }
        })?;
        self.step("look up", None, |trial| trial.look_up(&key, SMALL as u64))?;
        self.step("read back", None, |trial| trial.compare(&key, (0, None), &first))?;
        self.step("read a range", None, |trial| {
            trial.compare(&key, (1000, Some(100)), &first[1000..1100])
        })?;
        self.step("replace", None, |trial| {
            match trial.put(&key, &second, Existing::Replace) {
                Ok(()) => trial.compare(&key, (0, None), &second),
                Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::AlreadyExists) => {
                    Answer::Refused(format!("written once: {}", error.message))
                }
                Err(error) => Answer::Error(error),
            }
        })?;
        self.step("clock", None, |trial| trial.clock(&key))?;
        Ok(())
    }

    /// Writes a small object, whole: what an interrupt cut short would be left behind.
    fn put(&self, key: &str, content: &Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        let _whole = self.context.cancel.mask();
        self.store.put(key, Arc::clone(content), existing)
    }

    /// An object is found with its size, another isn't.
    fn look_up(&self, key: &str, size: u64) -> Answer {
        let missing = format!("{}missing", self.prefix);
        match (self.store.stat(key), self.store.stat(&missing)) {
            (Ok(Some(entry)), Ok(None)) if entry.size == size => Answer::Good(String::new()),
            (Ok(Some(entry)), Ok(None)) => {
                Answer::Bad(format!("it says {} bytes instead of {size}", entry.size))
            }
            (Ok(None), _) => Answer::Bad("it doesn't find what was just written".to_owned()),
            (Ok(Some(_)), Ok(Some(_))) => Answer::Bad("it finds an object that isn't there".to_owned()),
            (Err(error), _) | (_, Err(error)) => Answer::Error(error),
        }
    }

    /// Reads a range and compares it.
    fn compare(&self, key: &str, (offset, length): (u64, Option<u64>), expected: &[u8]) -> Answer {
        let mut content = Vec::new();
        let read = self.store.read(key, offset, length).and_then(|reader| {
            let limit = expected.len() as u64 + 1;
            reader
                .take(limit)
                .read_to_end(&mut content)
                .map_err(|error| crate::objects::read_error(self.store, key, &error))
        });
        match read {
            Ok(_) if content == expected => Answer::Good(String::new()),
            Ok(_) => Answer::Bad("what comes back isn't what was written".to_owned()),
            Err(error) => Answer::Error(error),
        }
    }

    /// Compares the time at which an object was just changed with our clock.
    fn clock(&self, key: &str) -> Answer {
        match self.store.stat(key) {
            Ok(Some(entry)) => match entry.modified {
                Some(modified) => {
                    let skew = modified.0.saturating_sub((self.context.now)().seconds);
                    match skew.saturating_abs() <= SKEW {
                        true => Answer::Good("the same as ours".to_owned()),
                        false => Answer::Doubtful(differs(skew)),
                    }
                }
                None => Answer::Refused("it tells no times".to_owned()),
            },
            Ok(None) => Answer::Bad("it doesn't find what was just written".to_owned()),
            Err(error) => Answer::Error(error),
        }
    }

    /// How long the smallest call takes: the middle of a few.
    fn latency(&mut self) -> Result<(), Stopped> {
        let key = self.key("small");
        self.step("small call", None, |trial| {
            let mut times = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                let started = (trial.context.now)();
                if let Err(error) = trial.store.stat(&key) {
                    return Answer::Error(error);
                }
                times.push(since(started, (trial.context.now)()));
            }
            times.sort_unstable();
            Answer::Good(format!("{:.1} ms each", times[CALLS / 2].as_secs_f64() * 1000.0))
        })?;
        Ok(())
    }

    /// An upload that isn't committed is listed, and gone once it is aborted.
    fn unfinished_uploads(&mut self) -> Result<(), Stopped> {
        let key = self.key("unfinished");
        let segment = Arc::new(vec![0; SMALL]);
        self.step("abort an upload", None, |trial| {
            let begun = trial.begin(&key, SMALL as u64).and_then(|upload| {
                trial.store.put_segment(&upload, 0, 0, segment)?;
                Ok(upload)
            });
            let upload = match begun {
                Ok(upload) => upload,
                Err(error) => return Answer::Error(error),
            };
            let listed = trial.is_pending(&key);
            if let Err(error) = trial.store.abort(&upload) {
                return Answer::Error(error);
            }
            match (listed, trial.is_pending(&key), trial.store.stat(&key)) {
                (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Answer::Error(error),
                (_, Ok(true), _) => Answer::Bad("it is still listed after it was aborted".to_owned()),
                (.., Ok(Some(_))) => {
                    Answer::Bad("its object is there though it was never committed".to_owned())
                }
                (Ok(true), ..) => Answer::Good(String::new()),
                (Ok(false), ..) => Answer::Good("unfinished uploads are not listed at once".to_owned()),
            }
        })?;
        Ok(())
    }

    /// By its key: a listing may call an upload otherwise than its beginning did.
    fn is_pending(&self, key: &str) -> Result<bool, StoreError> {
        let mut cursor = None;
        loop {
            let page = self.store.pending(&self.prefix, cursor.as_deref())?;
            if page.uploads.iter().any(|pending| pending.key == key) {
                return Ok(true);
            }
            match page.next {
                Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                _ => return Ok(false),
            }
        }
    }

    /// Removes all that was made; answers what is still there.
    fn clean_up(&mut self, told: bool) -> Vec<String> {
        // Also after an interrupt, which storages otherwise heed.
        let _whole = self.context.cancel.mask();
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for upload in &made.uploads {
            if let Err(error) = self.store.abort(upload) {
                tracing::debug!(%error, "an upload of the trial stays");
            }
        }
        let started = (self.context.now)();
        let result = self.store.remove(&made.keys);
        let time = since(started, (self.context.now)());
        let left: Vec<String> = match &result {
            Ok(()) if told => made
                .keys
                .iter()
                .filter(|key| matches!(self.store.stat(key), Ok(Some(_))))
                .cloned()
                .collect(),
            Ok(()) => Vec::new(),
            Err(_) => made.keys,
        };
        let (state, note) = match result {
            Ok(()) if left.is_empty() => (TrialState::Ok, String::new()),
            Ok(()) => (TrialState::Failed, "what was removed is still found".to_owned()),
            Err(error) if error.kind == ErrorKind::Denied => (TrialState::Unsupported, error.message),
            Err(error) => (TrialState::Failed, error.message),
        };
        self.rows.push(TrialRow {
            name: "remove",
            state,
            time,
            bytes: None,
            note,
        });
        left
    }
}

/// What another clock there means here.
fn differs(skew: i64) -> String {
    let (seconds, word) = match skew {
        0.. => (skew, "ahead of"),
        _ => (skew.saturating_neg(), "behind"),
    };
    format!(
        "{seconds} s {word} ours: set both by NTP; logins may fail, and ages of what others wrote are told by the storage's"
    )
}

/// Time between two readings of the clock; none if it was set back.
fn since(started: Time, ended: Time) -> Duration {
    let nanoseconds = ended.as_nanos().saturating_sub(started.as_nanos());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
