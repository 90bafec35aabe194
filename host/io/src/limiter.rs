//! Bandwidth limits: one token bucket that all transfers of one direction share.
//!
//! A transfer reserves each piece before it moves it and waits for as long as the bucket says. Reservations are handed
//! out in the order of asking, so parallel transfers get equal shares. The bucket holds at most a tenth of a second's
//! worth (and never more than 64 KiB), so that over 10 s the sum stays within 5 % of the limit.

use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::stop::{self, Stop};

/// The largest piece that is moved at once.
pub const MAX_PIECE: usize = 64 << 10;
/// The smallest one: below it the work per piece would count.
const MIN_PIECE: u64 = 256;

/// A bucket that fills with `rate` bytes a second.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    /// When all that was reserved so far will have flowed at the limit; the past if the bucket holds something.
    busy_until: Mutex<Option<Instant>>,
}

impl Bucket {
    /// How much may flow at once after a pause.
    fn burst(&self) -> Duration {
        self.time_of((MAX_PIECE as u64).min(self.rate.get() / 10))
    }

    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64)
    }

    /// Reserves `bytes` and answers when they may flow.
    fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        // What wasn't used while the bucket was full is lost.
        let full = now.checked_sub(self.burst()).unwrap_or(now);
        let start = busy_until.map_or(full, |until| until.max(full));
        let end = start + self.time_of(bytes);
        *busy_until = Some(end);
        end.max(now)
    }
}

/// A limit of one direction, or none. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Throttle(Option<Arc<Bucket>>);

impl Throttle {
    /// A limit of so many bytes a second; no limit without it or with 0.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let rate = bytes_per_second.and_then(NonZeroU64::new);
        Self(rate.map(|rate| {
            Arc::new(Bucket {
                rate,
                busy_until: Mutex::new(None),
            })
        }))
    }

    /// Tells whether there is a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// The bytes that a transfer should move at once: a twentieth of a second's worth, at most 64 KiB.
    #[must_use]
    pub fn piece(&self) -> usize {
        self.0.as_ref().map_or(MAX_PIECE, |bucket| {
            let piece = (bucket.rate.get() / 20).clamp(MIN_PIECE, MAX_PIECE as u64);
            usize::try_from(piece).unwrap_or(MAX_PIECE)
        })
    }

    /// Reserves `bytes`; answers when they may flow, `None` for at once.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Instant> {
        let bucket = self.0.as_ref()?;
        let now = Instant::now();
        Some(bucket.reserve(bytes as u64, now)).filter(|due| *due > now)
    }

    /// Waits on this thread until `bytes` may flow.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn wait_blocking(&self, bytes: usize, stop: &Stop) -> Result<(), Error> {
        let Some(due) = self.reserve(bytes) else {
            return Ok(());
        };
        loop {
            stop.check()?;
            let rest = due.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(stop::POLL));
        }
    }

    /// Waits in a task until `bytes` may flow.
    ///
    /// # Errors
    /// `Cancelled`.
    pub async fn wait(&self, bytes: usize, stop: &Stop) -> Result<(), Error> {
        let Some(due) = self.reserve(bytes) else {
            return Ok(());
        };
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => Ok(()),
            () = stop.raised() => Err(stop::cancelled()),
        }
    }
}

/// The limits of a run, for all transfers of all plugins together. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Bandwidth {
    /// What goes to storages.
    pub upload: Throttle,
    /// What comes from them.
    pub download: Throttle,
}

/// A reader or writer whose bytes count against a limit, for transfers on threads.
#[derive(Debug)]
pub struct Throttled<T> {
    inner: T,
    throttle: Throttle,
    stop: Stop,
}

impl<T> Throttled<T> {
    /// Limits what flows through `inner`; it fails once the work should stop.
    pub fn new(inner: T, throttle: Throttle, stop: Stop) -> Self {
        Self {
            inner,
            throttle,
            stop,
        }
    }

    fn wait(&self, bytes: usize) -> io::Result<()> {
        Ok(self.throttle.wait_blocking(bytes, &self.stop)?)
    }
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let most = if self.throttle.is_limited() {
            buffer.len().min(self.throttle.piece())
        } else {
            buffer.len()
        };
        let count = self.inner.read(&mut buffer[..most])?;
        // After the read: only what came counts, and the next piece waits in the sender's buffers.
        self.wait(count)?;
        Ok(count)
    }
}

impl<W: Write> Write for Throttled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let most = if self.throttle.is_limited() {
            bytes.len().min(self.throttle.piece())
        } else {
            bytes.len()
        };
        self.wait(most)?;
        self.inner.write(&bytes[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
