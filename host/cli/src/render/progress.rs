//! The progress line: files, bytes, rate and time left, a few times a second, on a terminal only.
//!
//! A thread of its own polls the run's counters, so that the road never waits for a terminal.
//! Dropping the [`Progress`] wipes the line and joins the thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_pipeline::counters::Counters;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units;

/// How often the line is drawn: often enough to look alive, seldom enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(200);
/// The least weight of the newest sample in the rate: half of it is forgotten in about 2 s.
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
        counters.is_watched.store(true, Ordering::Relaxed);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner().tick_chars("-\\|/ "));
        let (stop, stopped) = sync_channel(0);
        let drawn = bar.clone();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                let mut rate = Rate::new();
                let mut pace = Rate::new();
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    let sample = Sample::of(&counters);
                    rate.add(sample.bytes, Instant::now());
                    pace.add(sample.entries, Instant::now());
                    drawn.set_message(line(verb, &sample, rate.per_second, pace.per_second));
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
    entries: u64,
    total_entries: u64,
}

impl Sample {
    fn of(counters: &Counters) -> Sample {
        Sample {
            files: Counters::get(&counters.files),
            bytes: Counters::get(&counters.bytes_read),
            total: Counters::get(&counters.total_bytes),
            entries: Counters::get(&counters.files)
                + Counters::get(&counters.directories)
                + Counters::get(&counters.others),
            total_entries: Counters::get(&counters.total_entries),
        }
    }
}

/// Things a second, smoothed: the mean of the first samples, then a moving one.
struct Rate {
    last: Option<(u64, Instant)>,
    samples: u32,
    per_second: f64,
}

impl Rate {
    fn new() -> Rate {
        Rate {
            last: None,
            samples: 0,
            per_second: 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate to three figures needs no more than 53 bits"
    )]
    fn add(&mut self, done: u64, now: Instant) {
        // The time before anything is done (keys, plugins, the parent's index) is no part of a rate.
        if done == 0 {
            self.last = Some((0, now));
            return;
        }
        if let Some((before, then)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let newest = done.saturating_sub(before) as f64 / seconds;
            self.samples = self.samples.saturating_add(1);
            let weight = NEWEST.max(1.0 / f64::from(self.samples));
            self.per_second += (newest - self.per_second) * weight;
        }
        self.last = Some((done, now));
    }
}

/// The text of the line.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown to three figures; the value is not negative"
)]
fn line(verb: &str, sample: &Sample, per_second: f64, pace: f64) -> String {
    if sample.entries == 0 && sample.bytes == 0 {
        return format!("{verb}: preparing");
    }
    let mut line = format!("{verb}: ");
    let entries_known = sample.total_entries > sample.entries;
    match entries_known {
        true => line.push_str(&format!(
            "{} of {} entries, ",
            units::count(sample.entries),
            units::count(sample.total_entries)
        )),
        false => line.push_str(&format!("{}, ", units::counted(sample.files, "file", "files"))),
    }
    let bytes_known = sample.total > sample.bytes;
    match bytes_known {
        true => line.push_str(&format!(
            "{} of {}",
            units::bytes(sample.bytes),
            units::bytes(sample.total)
        )),
        false => line.push_str(&units::bytes(sample.bytes)),
    }
    if per_second >= 1.0 {
        line.push_str(&format!(", {}/s", units::bytes(per_second as u64)));
    }
    let left = if bytes_known && per_second >= 1.0 {
        (sample.total - sample.bytes) as f64 / per_second
    } else if entries_known && pace >= 1.0 {
        (sample.total_entries - sample.entries) as f64 / pace
    } else {
        return line;
    };
    let left = Duration::from_secs(left.min(1e9) as u64 + 1);
    line.push_str(&format!(", {} left", units::duration(left)));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(bytes: u64, total: u64, entries: u64, total_entries: u64) -> Sample {
        Sample {
            files: 2,
            bytes,
            total,
            entries,
            total_entries,
        }
    }

    #[test]
    fn the_time_left_is_shown_once_a_total_is_known() {
        assert_eq!(line("backup", &sample(0, 0, 0, 9), 0.0, 0.0), "backup: preparing");
        assert_eq!(
            line("backup", &sample(1 << 20, 0, 3, 0), 1024.0, 1.0),
            "backup: 2 files, 1.0 MiB, 1.0 KiB/s"
        );
        assert_eq!(
            line("backup", &sample(1 << 20, 11 << 20, 3, 0), 1_048_576.0, 1.0),
            "backup: 2 files, 1.0 MiB of 11.0 MiB, 1.0 MiB/s, 11.0 s left"
        );
        assert_eq!(
            line("backup", &sample(0, 0, 3, 103), 0.0, 10.0),
            "backup: 3 of 103 entries, 0 B, 11.0 s left"
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
        assert!((rate.per_second - 500.0).abs() < 1.0, "the mean at first");
    }
}
