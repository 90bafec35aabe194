//! Bandwidth limits: one token bucket that all transfers of one direction share.
//!
//! A transfer reserves each piece before it moves it and waits for as long as the bucket says. Reservations are handed
//! out in the order of asking, so parallel transfers get equal shares. The bucket holds at most a tenth of a second's
//! worth: enough to make up for threads that wake up late, and little enough that over 10 s the sum stays within 5 % of
//! the limit.

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

/// The time in which the bucket fills.
const BURST: Duration = Duration::from_millis(100);

/// A bucket that fills with `rate` bytes a second.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    /// When all that was reserved so far will have flowed at the limit; the past if the bucket holds something.
    busy_until: Mutex<Option<Instant>>,
}

impl Bucket {
    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64)
    }

    /// Reserves `bytes` and answers when they may flow.
    fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        // What wasn't used while the bucket was full is lost.
        let full = now.checked_sub(BURST).unwrap_or(now);
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

impl Bandwidth {
    /// Tells whether there is any limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.upload.is_limited() || self.download.is_limited()
    }
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

    /// As much of `wanted` as may be moved at once.
    fn most(&self, wanted: usize) -> usize {
        if self.throttle.is_limited() {
            wanted.min(self.throttle.piece())
        } else {
            wanted
        }
    }

    fn wait(&self, bytes: usize) -> io::Result<()> {
        Ok(self.throttle.wait_blocking(bytes, &self.stop)?)
    }
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let most = self.most(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        // After the read: only what came counts, and the next piece waits in the sender's buffers.
        self.wait(count)?;
        Ok(count)
    }
}

impl<W: Write> Write for Throttled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let most = self.most(bytes.len());
        self.wait(most)?;
        self.inner.write(&bytes[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that `transfers` move in `seconds` of a simulated clock, each sleeping `late` longer than it should.
    fn moved(rate: u64, transfers: usize, seconds: u64, late: Duration) -> u64 {
        let throttle = Throttle::new(Some(rate));
        let bucket = throttle.0.as_ref().unwrap();
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds);
        let mut clocks = vec![begun; transfers];
        let mut sum = 0;
        loop {
            let clock = clocks.iter_mut().min().unwrap();
            if *clock >= end {
                return sum;
            }
            let due = bucket.reserve(throttle.piece() as u64, *clock);
            if due < end {
                sum += throttle.piece() as u64;
            }
            *clock = if due > *clock { due + late } else { due };
        }
    }

    #[test]
    fn all_transfers_together_keep_within_five_percent_over_ten_seconds() {
        for rate in [10_000, 100_000, 1 << 20, 10 << 20, 125_000_000] {
            for transfers in [1, 4, 16] {
                for late in [Duration::ZERO, Duration::from_millis(1)] {
                    let expected = rate as f64 * 10.0;
                    let ratio = moved(rate, transfers, 10, late) as f64 / expected;
                    assert!(
                        (0.95..1.05).contains(&ratio),
                        "{rate} B/s, {transfers} transfers, {late:?} late: {ratio}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let throttle = Throttle::new(Some(1000));
        let bucket = throttle.0.as_ref().unwrap();
        let begun = Instant::now();
        bucket.reserve(1000, begun);
        let later = begun + Duration::from_secs(3600);
        let due = bucket.reserve(1000, later);
        assert_eq!(
            (due - later).as_millis(),
            900,
            "a tenth of a second's worth was saved up"
        );
    }

    #[test]
    fn no_limit_never_waits() {
        for none in [Throttle::default(), Throttle::new(None), Throttle::new(Some(0))] {
            assert!(!none.is_limited() && none.reserve(usize::MAX).is_none());
        }
    }

    #[test]
    fn a_reader_gets_all_bytes_and_stops_when_asked() {
        let throttle = Throttle::new(Some(1 << 20));
        let mut all = Vec::new();
        let mut reader = Throttled::new(&[7_u8; 200_000][..], throttle, Stop::never());
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, [7; 200_000]);
        let slow = Throttle::new(Some(1));
        let raised = Stop::when(|| true);
        let error = Throttled::new(io::sink(), slow, raised).write(b"x").unwrap_err();
        assert_eq!(Error::from_io(&error).kind, crate::error::ErrorKind::Cancelled);
    }
}
