//! A storage plugin as the road sees it: the trait `Store`, answered by a pool of instances.
//!
//! Every call takes an idle instance or makes one, up to the storage's own `parallel-calls`. An instance that failed
//! badly is dropped and replaced by the next call. Every call bears repetition, so what may help is tried again. What a
//! guest answers is checked by `answers` before anybody believes it.

pub(crate) mod pieces;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use freezer_io::retry::{self, RetryPolicy, Verdict};
use freezer_pipeline::store::{
    Cause, ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};

use crate::answers;
use crate::bindings::v1::imports::freezer::plugin::types;
use crate::calls::{LentBody, storage as calls};
use crate::convert;
use crate::error::PluginError;
use crate::guest::Cancelling;
use crate::interfaces::resources::{Body, Origin};
use crate::pool::{Instance, Pool};
use pieces::{Piece, PieceReader, Source};

/// How soon a waiting retry notices that the run was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// So long may a call be tried again without a word to the user.
const SILENCE: Duration = Duration::from_secs(3);

/// How long one call has been tried for.
struct Patience {
    /// When the first try had failed.
    since: Option<Instant>,
    tries: u32,
    next_try: u32,
}

impl Patience {
    fn new(tries: u32) -> Self {
        Self {
            since: None,
            tries,
            next_try: 1,
        }
    }

    /// Counts a failure; true if the user has waited long enough, or will have after this pause.
    fn runs_out(&mut self, pause: Duration) -> bool {
        self.next_try += 1;
        self.since.get_or_insert_with(Instant::now).elapsed() + pause > SILENCE
    }
}

/// A plugin's own words, or the host's about it.
fn words(error: &PluginError) -> String {
    match error {
        PluginError::Failed { message, .. } => message.clone(),
        error => error.to_string(),
    }
}

/// One call of the contract, and what may be done about its failure.
struct Call {
    /// Its name in the contract.
    name: &'static str,
    /// What it does, in words that follow "can't".
    verb: &'static str,
    cancelling: Cancelling,
}

impl Call {
    const fn new(name: &'static str, verb: &'static str) -> Self {
        Self {
            name,
            verb,
            cancelling: Cancelling::Masked,
        }
    }

    /// It changes nothing, and what it tells may decide what is cleaned up: only its waits end when the run is cancelled.
    const fn looking(self) -> Self {
        Self {
            cancelling: Cancelling::Waits,
            ..self
        }
    }

    /// It may take long, and nothing is lost if it stops in the middle.
    const fn cancellable(self) -> Self {
        Self {
            cancelling: Cancelling::Heeded,
            ..self
        }
    }
}

/// A storage plugin at work.
pub(crate) struct PluginStore(Arc<Caller>);

/// What makes its calls; shared with the streams that go on reading.
struct Caller {
    pool: Pool,
    url: String,
    limits: Limits,
    retry: RetryPolicy,
    /// When the user was last told what is waited for.
    told: Mutex<Option<Instant>>,
    /// The keys of the uploads that were begun here, for messages: an upload's own name tells a person nothing.
    uploads: Mutex<BTreeMap<String, String>>,
}

impl PluginStore {
    /// Opens a storage: the first instance shows whether it loads and takes the settings.
    /// `uploads` bounds the calls at once further than the storage itself does.
    pub(crate) fn open(mut pool: Pool, url: String, uploads: Option<u32>) -> Result<Self, PluginError> {
        let mut limits = pool.limits()?;
        if let Some(uploads) = uploads {
            limits.parallel_calls = limits.parallel_calls.min(uploads.max(1));
        }
        pool.grow_to(limits.parallel_calls);
        Ok(Self(Arc::new(Caller {
            pool,
            url,
            limits,
            retry: RetryPolicy::default(),
            told: Mutex::default(),
            uploads: Mutex::default(),
        })))
    }
}

impl Caller {
    /// The key that an upload will make visible; of an upload of another run, its name.
    fn key_of(&self, upload: &str) -> String {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.get(upload).cloned().unwrap_or_else(|| upload.to_owned())
    }

    /// Makes one call on any instance, again if that may help.
    fn call<T>(
        &self,
        call: &Call,
        key: &str,
        make: impl Fn(&mut Instance) -> Result<Result<T, types::Error>, PluginError>,
    ) -> Result<T, StoreError> {
        let judge = |error: &PluginError| match error {
            PluginError::Failed {
                kind, retry_after, ..
            } if kind.is_retryable() => Verdict::TryAgain(*retry_after),
            // A plugin that crashed or hit a limit would do so again.
            _ => Verdict::GiveUp,
        };
        let attempt = || {
            let plugin = &self.pool.context().name;
            self.pool.with(|instance| {
                make(instance)?.map_err(|error| convert::reported(plugin, call.name, &error))
            })
        };
        let mut patience = Patience::new(self.retry.attempts);
        let wait = |pause, error: &PluginError| {
            if patience.runs_out(pause) {
                self.say(&words(error), pause, &patience);
            }
            self.wait(pause)
        };
        let result = retry::retry(&self.retry, judge, scatter, wait, attempt);
        result.map_err(|error| self.failure(call, key, self.said_of_wait(error)))
    }

    /// Says how long the service wants to be left alone, where that is too long to wait for.
    fn said_of_wait(&self, mut error: PluginError) -> PluginError {
        let most = self.retry.longest_asked;
        if let PluginError::Failed {
            kind,
            message,
            retry_after: Some(wait),
            ..
        } = &mut error
            && kind.is_retryable()
            && *wait > most
        {
            let (asked, most) = (wait.as_secs(), most.as_secs());
            message.push_str(&format!(
                "; it asks for {asked} s of quiet, more than the {most} s that are waited"
            ));
        }
        error
    }

    /// The bytes of an object from `offset` on, or the first of them.
    fn piece(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Piece, StoreError> {
        const CALL: Call = Call::new("read", "read").cancellable();
        self.call(&CALL, key, |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::Read { key, offset, length })?;
            let body = match answer {
                Ok(body) => instance.take_body(CALL.name, body)?,
                Err(error) => return Ok(Err(error)),
            };
            instance.checked(CALL.name, Ok(body), |body| answers::piece(body, key, length))
        })
    }

    /// Tells the user what is waited for: not each of several calls that wait for the same.
    fn say(&self, why: &str, pause: Duration, patience: &Patience) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| now.duration_since(told) < SILENCE) {
            return;
        }
        *told = Some(now);
        drop(told);
        let seconds = pause.as_secs_f64().ceil();
        self.pool.context().run.tell(format!(
            "{}: {why}; trying again in {seconds} s (try {} of {})",
            self.url, patience.next_try, patience.tries
        ));
    }

    /// Waits before another try; false once the run is cancelled.
    fn wait(&self, pause: Duration) -> bool {
        let cancel = self.pool.context().run.cancel();
        let end = Instant::now() + pause;
        while !cancel.is_cancelled() {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            std::thread::sleep(rest.min(CANCEL_POLL));
        }
        false
    }

    fn failure(&self, call: &Call, key: &str, error: PluginError) -> StoreError {
        let kind = error.kind();
        let (message, cause) = match error {
            PluginError::Failed { message, cause, .. } => (message, cause),
            error => {
                let cause = match &error {
                    PluginError::Limit { limit, .. } if limit.key().is_some() => Some(Cause::Limit),
                    _ => None,
                };
                (error.to_string(), cause)
            }
        };
        StoreError {
            kind,
            storage: self.url.clone(),
            operation: call.verb,
            key: key.to_owned(),
            message,
            cause,
        }
    }
}

impl PluginStore {
    fn size(&self, key: &str) -> Result<u64, StoreError> {
        let absent = || StoreError {
            kind: ErrorKind::NotFound,
            storage: self.0.url.clone(),
            operation: "read",
            key: key.to_owned(),
            message: "it isn't there any more".to_owned(),
            cause: None,
        };
        Ok(self.stat(key)?.ok_or_else(absent)?.size)
    }
}

/// The rest of an object that is being read.
struct Rest {
    caller: Arc<Caller>,
    key: String,
    patience: Patience,
}

impl Source for Rest {
    fn open(&self, offset: u64, length: u64) -> Result<Piece, StoreError> {
        self.caller.piece(&self.key, offset, Some(length))
    }

    fn wait(&mut self, pause: Duration, error: &io::Error) -> bool {
        if self.patience.runs_out(pause) {
            let why = format!("reading {:?} broke off: {error}", self.key);
            self.caller.say(&why, pause, &self.patience);
        }
        self.caller.wait(pause)
    }

    fn went_on(&mut self) {
        self.patience = Patience::new(pieces::RESUMES);
    }
}

impl Store for PluginStore {
    fn url(&self) -> &str {
        &self.0.url
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        const CALL: Call = Call::new("list", "list").looking();
        self.0.call(&CALL, prefix, |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::List { prefix, cursor })?;
            instance.checked(CALL.name, answer, |page| answers::page(prefix, cursor, page))
        })
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        const CALL: Call = Call::new("stat", "look at").looking();
        self.0.call(&CALL, key, |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::Stat { key })?;
            let answer = match answer {
                Err(error) if error.kind == types::ErrorKind::NotFound => Ok(None),
                answer => answer.map(Some),
            };
            instance.checked(CALL.name, answer, |entry| {
                entry.map(|entry| answers::object(key, entry)).transpose()
            })
        })
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        let (first, length) = match (self.0.piece(key, offset, length), length) {
            // An object in pieces is asked for by its length.
            (Err(error), None) if error.kind == ErrorKind::Unsupported => {
                let length = self.size(key)?.saturating_sub(offset);
                (self.0.piece(key, offset, Some(length))?, Some(length))
            }
            (first, length) => (first?, length),
        };
        let Some(length) = length.or(first.size) else {
            return Ok(first.reader);
        };
        let rest = Rest {
            caller: Arc::clone(&self.0),
            key: key.to_owned(),
            patience: Patience::new(pieces::RESUMES),
        };
        Ok(Box::new(PieceReader::new(rest, key, first, (offset, length))))
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        const CALL: Call = Call::new("put", "write").cancellable();
        let wanted = match existing {
            Existing::Replace => calls::Existing::Replace,
            Existing::Refuse => calls::Existing::Refuse,
        };
        let tries = AtomicU32::new(0);
        let put = self.0.call(&CALL, key, |instance| {
            tries.fetch_add(1, Ordering::Relaxed);
            instance.lend(&content, |instance, body| {
                instance.call(
                    CALL.name,
                    CALL.cancelling,
                    calls::PutObject {
                        key,
                        content: body,
                        existing: wanted,
                    },
                )
            })
        });
        put.map_err(|error| match error.kind {
            ErrorKind::AlreadyExists if tries.into_inner() > 1 => StoreError {
                kind: ErrorKind::Unavailable,
                message: "it is there, perhaps by a try whose answer was lost".to_owned(),
                ..error
            },
            _ => error,
        })
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        const CALL: Call = Call::new("remove", "remove");
        let first = keys.first().map(String::as_str).unwrap_or_default();
        self.0.call(&CALL, first, |instance| {
            instance.call(CALL.name, CALL.cancelling, calls::Remove { keys })
        })
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        // An upload whose name got lost is found by `pending`.
        const CALL: Call = Call::new("begin", "begin to write").cancellable();
        let upload = self.0.call(&CALL, key, |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::Begin { key, size })?;
            instance.checked(CALL.name, answer, answers::upload)
        })?;
        let mut uploads = self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.insert(upload.clone(), key.to_owned());
        Ok(upload)
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        const CALL: Call = Call::new("put-segment", "write a segment of").cancellable();
        let upload = upload.to_owned();
        self.0.call(&CALL, &self.0.key_of(&upload), |instance| {
            let answer = instance.lend(&content, |instance, body| {
                instance.call(
                    CALL.name,
                    CALL.cancelling,
                    calls::PutSegment {
                        upload: &upload,
                        number,
                        offset,
                        content: body,
                    },
                )
            })?;
            instance.checked(CALL.name, answer, answers::receipt)
        })
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        const CALL: Call = Call::new("commit", "finish writing");
        let upload = upload.to_owned();
        self.0.call(&CALL, &self.0.key_of(&upload), |instance| {
            instance.call(
                CALL.name,
                CALL.cancelling,
                calls::Commit {
                    upload: &upload,
                    size,
                    receipts,
                },
            )
        })
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        const CALL: Call = Call::new("abort", "give up");
        let upload = upload.to_owned();
        self.0.call(&CALL, &self.0.key_of(&upload), |instance| {
            instance.call(CALL.name, CALL.cancelling, calls::Abort { upload: &upload })
        })
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        const CALL: Call = Call::new("pending", "list what is unfinished below").looking();
        self.0.call(&CALL, prefix, |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::Pending { prefix, cursor })?;
            instance.checked(CALL.name, answer, |page| answers::pending(prefix, cursor, page))
        })
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        const CALL: Call = Call::new("usage", "measure").cancellable();
        self.0.call(&CALL, "", |instance| {
            let answer = instance.call(CALL.name, CALL.cancelling, calls::Usage {})?;
            instance.checked(CALL.name, answer, answers::usage)
        })
    }
}

impl Instance {
    /// Lends bytes of the backup to one call.
    fn lend<T>(
        &mut self,
        content: &Arc<Vec<u8>>,
        call: impl FnOnce(&mut Self, LentBody) -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let own = self.push_body(Body::bytes(Arc::clone(content), Origin::Backup))?;
        let result = call(self, LentBody(own.rep()));
        // After a trap the store is dropped with all that it holds.
        if result.is_ok() {
            self.drop_body(own)?;
        }
        result
    }
}

/// A number in 0..1000 that spreads the retries of many clients.
fn scatter() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes) % 1000,
        // Without randomness all clients wait equally long, which is bearable.
        Err(_) => 0,
    }
}
