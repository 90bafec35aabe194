//! The progress line: files, bytes, rate and time left, a few times a second, on a terminal only.
//!
//! A thread of its own polls the run's counters, so that the road never waits for a terminal.
//! Dropping the [`Progress`] wipes the line and joins the thread.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_pipeline::counters::Counters;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units;

/// How often the line is drawn: often enough to look alive, seldom enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(200);
/// The weight of the newest sample in the rate: half of it is forgotten in about 2 s.
const NEWEST: f64 = 0.07;

/// A progress line, or nothing where there is no terminal.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// A line that is never shown.
    pub(crate) fn hidden() -> Progress {
        Progress {
            bar: None,
            stop: None,
            thread: None,
        }
    }

    /// Starts to show `counters` on standard error.
    pub(crate) fn start(verb: &'static str, counters: Arc<Counters>) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner().tick_chars("-\\|/ "));
        let (stop, stopped) = sync_channel(0);
        let drawn = bar.clone();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                let mut rate = Rate::new();
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    let sample = Sample::of(&counters);
                    rate.add(sample.bytes, Instant::now());
                    drawn.set_message(line(verb, &sample, rate.per_second));
                    drawn.tick();
                }
            });
        Progress {
            bar: Some(bar),
            stop: Some(stop),
            thread: thread.ok(),
        }
    }

    /// Takes the line away while `say` writes to the terminal.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by its hook; the run itself is not touched by it.
            drop(thread.join());
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// What the counters said at one moment.
struct Sample {
    files: u64,
    bytes: u64,
    total: u64,
}

impl Sample {
    fn of(counters: &Counters) -> Sample {
        Sample {
            files: Counters::get(&counters.files),
            bytes: Counters::get(&counters.bytes_read),
            total: Counters::get(&counters.total_bytes),
        }
    }
}

/// Bytes a second, smoothed.
struct Rate {
    last: Option<(u64, Instant)>,
    per_second: f64,
}

impl Rate {
    fn new() -> Rate {
        Rate {
            last: None,
            per_second: 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate to three figures needs no more than 53 bits"
    )]
    fn add(&mut self, bytes: u64, now: Instant) {
        if let Some((before, then)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let newest = bytes.saturating_sub(before) as f64 / seconds;
            // The first sample stands for itself.
            let weight = if self.per_second == 0.0 { 1.0 } else { NEWEST };
            self.per_second += (newest - self.per_second) * weight;
        }
        self.last = Some((bytes, now));
    }
}

/// The text of the line.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown to three figures; the value is not negative"
)]
fn line(verb: &str, sample: &Sample, per_second: f64) -> String {
    let mut line = format!("{verb}: {}, ", units::counted(sample.files, "file", "files"));
    let known = sample.total > sample.bytes;
    match known {
        true => line.push_str(&format!(
            "{} of {}",
            units::bytes(sample.bytes),
            units::bytes(sample.total)
        )),
        false => line.push_str(&units::bytes(sample.bytes)),
    }
    line.push_str(&format!(", {}/s", units::bytes(per_second as u64)));
    if known && per_second >= 1.0 {
        let left = ((sample.total - sample.bytes) as f64 / per_second).min(1e9);
        line.push_str(&format!(
            ", {} left",
            units::duration(Duration::from_secs(left as u64 + 1))
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_shown_once_the_total_is_known() {
        let sample = Sample {
            files: 2,
            bytes: 1 << 20,
            total: 0,
        };
        assert_eq!(
            line("backup", &sample, 1024.0),
            "backup: 2 files, 1.0 MiB, 1.0 KiB/s"
        );
        let sample = Sample {
            files: 1,
            bytes: 1 << 20,
            total: 11 << 20,
        };
        assert_eq!(
            line("backup", &sample, 1_048_576.0),
            "backup: 1 file, 1.0 MiB of 11.0 MiB, 1.0 MiB/s, 11.0 s left"
        );
    }

    #[test]
    fn the_rate_follows_the_bytes() {
        let start = Instant::now();
        let mut rate = Rate::new();
        rate.add(0, start);
        rate.add(1000, start + Duration::from_secs(1));
        assert!((rate.per_second - 1000.0).abs() < 1.0);
        rate.add(1000, start + Duration::from_secs(2));
        assert!(rate.per_second < 1000.0 && rate.per_second > 900.0);
    }
}
