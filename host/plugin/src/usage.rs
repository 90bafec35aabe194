//! What each plugin used in a run: counted by the guests of the plugin, summed over all its instances and threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What one plugin used in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginUsage {
    /// The plugin's name.
    pub plugin: String,
    /// The digest of its component, in hex.
    pub sha256: String,
    /// Calls into it, starts of instances included.
    pub calls: u64,
    /// What it computed, host functions apart.
    pub cpu: Duration,
    /// The most linear memory that all its instances had at once, in bytes.
    pub memory_bytes: u64,
    /// Requests, connections, statements and commands that it had the host make.
    pub requests: u64,
    /// Bytes that it read from bodies.
    pub read_bytes: u64,
    /// Lines that it wrote for the log.
    pub log_lines: u64,
    /// Those of them that were left out, being too many.
    pub dropped_lines: u64,
    /// The most handles that one of its instances held at the end of a call; counted in trials alone.
    pub most_handles: u64,
    /// Handles that were open when its instances had ended; counted in trials alone.
    pub left_open: u64,
}

/// The meters of a run, by name and digest.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<BTreeMap<(String, String), Arc<Meter>>>);

/// Counts what one plugin uses.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: AtomicU64,
    cpu_nanoseconds: AtomicU64,
    memory_bytes: AtomicU64,
    most_memory_bytes: AtomicU64,
    requests: AtomicU64,
    read_bytes: AtomicU64,
    log_lines: AtomicU64,
    dropped_lines: AtomicU64,
    most_handles: AtomicU64,
    left_open: AtomicU64,
}

impl Meters {
    /// The meter of a plugin, which all that is opened of it shares.
    pub(crate) fn of(&self, plugin: &str, sha256: &str) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry((plugin.to_owned(), sha256.to_owned())).or_default();
        Arc::clone(meter)
    }

    /// What was used until now, in the order of names; a plugin that was never called isn't there.
    pub(crate) fn read(&self) -> Vec<PluginUsage> {
        let meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = |((plugin, sha256), meter): (&(String, String), &Arc<Meter>)| PluginUsage {
            plugin: plugin.clone(),
            sha256: sha256.clone(),
            calls: get(&meter.calls),
            cpu: Duration::from_nanos(get(&meter.cpu_nanoseconds)),
            memory_bytes: get(&meter.most_memory_bytes),
            requests: get(&meter.requests),
            read_bytes: get(&meter.read_bytes),
            log_lines: get(&meter.log_lines),
            dropped_lines: get(&meter.dropped_lines),
            most_handles: get(&meter.most_handles),
            left_open: get(&meter.left_open),
        };
        meters.iter().map(usage).filter(|usage| usage.calls > 0).collect()
    }
}

impl Meter {
    /// Counts a call that ended, and what the guest computed in it.
    pub(crate) fn called(&self, cpu: Duration) {
        add(&self.calls, 1);
        add(
            &self.cpu_nanoseconds,
            u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX),
        );
    }

    /// Counts memory that an instance got.
    pub(crate) fn grew(&self, bytes: u64) {
        let now = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most_memory_bytes.fetch_max(now, Ordering::Relaxed);
    }

    /// Counts memory of an instance that is gone.
    pub(crate) fn shrank(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a request.
    pub(crate) fn requested(&self) {
        add(&self.requests, 1);
    }

    /// Counts bytes that went into the guest.
    pub(crate) fn read(&self, bytes: u64) {
        add(&self.read_bytes, bytes);
    }

    /// Counts a line for the log.
    pub(crate) fn logged(&self, admitted: bool) {
        add(&self.log_lines, 1);
        add(&self.dropped_lines, u64::from(!admitted));
    }

    /// Sees how many handles an instance holds at the end of a call.
    pub(crate) fn holds(&self, handles: u64) {
        self.most_handles.fetch_max(handles, Ordering::Relaxed);
    }

    /// Counts handles that an instance that has ended left open.
    pub(crate) fn left_open(&self, handles: u64) {
        add(&self.left_open, handles);
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_one_plugin_are_summed_and_the_peak_stays() {
        let meters = Meters::default();
        let (one, other) = (meters.of("acme", "ab"), meters.of("acme", "ab"));
        one.grew(3);
        other.grew(4);
        one.shrank(3);
        other.grew(1);
        one.called(Duration::from_millis(2));
        other.called(Duration::from_millis(3));
        other.requested();
        other.read(7);
        one.logged(true);
        other.logged(false);
        one.holds(3);
        other.holds(2);
        one.left_open(1);
        other.left_open(1);
        meters.of("idle", "cd").grew(9);
        let expected = PluginUsage {
            plugin: "acme".to_owned(),
            sha256: "ab".to_owned(),
            calls: 2,
            cpu: Duration::from_millis(5),
            memory_bytes: 7,
            requests: 1,
            read_bytes: 7,
            log_lines: 2,
            dropped_lines: 1,
            most_handles: 3,
            left_open: 2,
        };
        assert_eq!(meters.read(), [expected]);
    }
}
