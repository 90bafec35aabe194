//! The ceilings under which a plugin runs, and who notices when it hits one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use wasmtime::ResourceLimiter;

use crate::error::LimitHit;
use crate::usage::Meter;

/// The ceilings of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// Linear memory of all its modules together, in bytes. A segment never enters a guest, so small is enough.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// Core instances; Rust guests need fewer than 10, Python ones 11 to 15.
    pub instances: usize,
    /// Handles that it may hold at once.
    pub handles: usize,
    /// Bytes that it may pass to the host in one call; a body made by the plugin has at most 16 MiB.
    pub transfer_bytes: usize,
    /// Time it may compute in one call, host calls apart.
    pub cpu: Duration,
    /// Time that one call may take, host calls included: a segment over a slow line needs minutes.
    pub call: Duration,
    /// Lines that it may log in a second; more are dropped and counted.
    pub log_lines: u32,
    /// Bytes that it may read from bodies in one call: the largest segment that is usual, several times.
    pub read_bytes: u64,
    /// Requests, connections, statements and commands that it may have the host make in a second; more wait their turn.
    pub requests: u32,
    /// Time that compiling it may compute, on all cores together. A component of 18 MB takes some 15 s.
    pub compile: Duration,
    /// Address space of the process that compiles it.
    pub compile_memory_bytes: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 20_000,
            instances: 30,
            handles: 1024,
            transfer_bytes: 18 << 20,
            cpu: Duration::from_secs(10),
            call: Duration::from_secs(900),
            log_lines: 100,
            read_bytes: 256 << 20,
            requests: 1000,
            compile: Duration::from_secs(120),
            compile_memory_bytes: 2 << 30,
        }
    }
}

impl PluginLimits {
    /// All of them under the names that `[limits.PLUGIN]` of a configuration file has for them.
    #[must_use]
    pub fn values(&self) -> [(&'static str, u64); 12] {
        [
            ("memory-bytes", self.memory_bytes),
            ("table-elements", self.table_elements),
            ("instances", self.instances as u64),
            ("handles", self.handles as u64),
            ("transfer-bytes", self.transfer_bytes as u64),
            ("read-bytes", self.read_bytes),
            ("cpu-seconds", self.cpu.as_secs()),
            ("call-seconds", self.call.as_secs()),
            ("log-lines", self.log_lines.into()),
            ("requests", self.requests.into()),
            ("compile-seconds", self.compile.as_secs()),
            ("compile-memory-bytes", self.compile_memory_bytes),
        ]
    }
}

/// Changes to the ceilings of one plugin, as a configuration file states them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitOverride {
    /// See [`PluginLimits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`PluginLimits::table_elements`].
    pub table_elements: Option<u64>,
    /// See [`PluginLimits::instances`].
    pub instances: Option<usize>,
    /// See [`PluginLimits::handles`].
    pub handles: Option<usize>,
    /// See [`PluginLimits::transfer_bytes`].
    pub transfer_bytes: Option<usize>,
    /// See [`PluginLimits::cpu`], in seconds.
    pub cpu_seconds: Option<u64>,
    /// See [`PluginLimits::call`], in seconds.
    pub call_seconds: Option<u64>,
    /// See [`PluginLimits::log_lines`].
    pub log_lines: Option<u32>,
    /// See [`PluginLimits::read_bytes`].
    pub read_bytes: Option<u64>,
    /// See [`PluginLimits::requests`].
    pub requests: Option<u32>,
    /// See [`PluginLimits::compile`], in seconds.
    pub compile_seconds: Option<u64>,
    /// See [`PluginLimits::compile_memory_bytes`].
    pub compile_memory_bytes: Option<u64>,
}

/// Changes by plugin name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct LimitOverrides(pub BTreeMap<String, LimitOverride>);

impl LimitOverrides {
    /// The most linear memory that any plugin may have, in bytes.
    pub(crate) fn largest_memory(&self) -> u64 {
        let changed = self.0.values().filter_map(|change| change.memory_bytes);
        changed.fold(PluginLimits::default().memory_bytes, u64::max)
    }

    /// The ceilings of this plugin.
    #[must_use]
    pub fn of(&self, plugin: &str) -> PluginLimits {
        let mut limits = PluginLimits::default();
        let Some(change) = self.0.get(plugin) else {
            return limits;
        };
        let seconds = |value: Option<u64>, default: Duration| value.map_or(default, Duration::from_secs);
        limits.memory_bytes = change.memory_bytes.unwrap_or(limits.memory_bytes);
        limits.table_elements = change.table_elements.unwrap_or(limits.table_elements);
        limits.instances = change.instances.unwrap_or(limits.instances);
        limits.handles = change.handles.unwrap_or(limits.handles);
        limits.transfer_bytes = change.transfer_bytes.unwrap_or(limits.transfer_bytes);
        limits.cpu = seconds(change.cpu_seconds, limits.cpu);
        limits.call = seconds(change.call_seconds, limits.call);
        limits.log_lines = change.log_lines.unwrap_or(limits.log_lines);
        limits.read_bytes = change.read_bytes.unwrap_or(limits.read_bytes);
        limits.compile = seconds(change.compile_seconds, limits.compile);
        limits.compile_memory_bytes = change.compile_memory_bytes.unwrap_or(limits.compile_memory_bytes);
        limits.requests = change.requests.unwrap_or(limits.requests);
        limits
    }
}

/// Says that a guest computed for too long.
#[derive(Debug, thiserror::Error)]
#[error("the plugin computed for too long")]
pub(crate) struct CpuExceeded;

/// Measures what a guest computes in one call, host functions apart.
///
/// It counts the processor time of the calling thread, on which both guest and host functions run. So neither a wait nor a
/// busy machine counts against the plugin.
#[derive(Debug, Default)]
pub(crate) struct CallClock {
    started: Duration,
    in_host: Arc<AtomicU64>,
}

impl CallClock {
    /// Begins a call on this thread.
    pub(crate) fn start(&mut self) {
        self.started = thread_time();
        self.in_host.store(0, Ordering::Relaxed);
    }

    /// Begins a host function; it ends when the answer is dropped.
    pub(crate) fn host(&self) -> InHost {
        InHost {
            entered: thread_time(),
            total: Arc::clone(&self.in_host),
        }
    }

    /// What the guest itself has computed since the call began.
    pub(crate) fn spent(&self) -> Duration {
        let in_host = Duration::from_nanos(self.in_host.load(Ordering::Relaxed));
        thread_time().saturating_sub(self.started).saturating_sub(in_host)
    }
}

/// The time of one host function.
pub(crate) struct InHost {
    entered: Duration,
    total: Arc<AtomicU64>,
}

impl Drop for InHost {
    fn drop(&mut self) {
        let spent = thread_time().saturating_sub(self.entered);
        self.total.fetch_add(
            u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The processor time that a process has used; `None` if there is no such process.
#[expect(unsafe_code, reason = "no safe binding of clock_getcpuclockid is maintained")]
pub(crate) fn process_time(process: u32) -> Option<Duration> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let process = libc::pid_t::try_from(process).ok()?;
    // SAFETY: both calls write into the variable that they are given, and only if they answer 0.
    let known = unsafe {
        libc::clock_getcpuclockid(process, &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    known.then(|| Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Grants or refuses growth, and remembers what it refused: a guest that gets no memory panics like any other.
#[derive(Debug)]
pub(crate) struct Ceiling {
    memory_bytes: u64,
    table_elements: u64,
    instances: usize,
    /// Linear memory granted so far, over all memories.
    used_bytes: u64,
    refused: Option<LimitHit>,
    meter: Arc<Meter>,
}

/// Core memories of one component; a Rust guest has two, a Python one four.
const MEMORIES: usize = 8;

impl Ceiling {
    pub(crate) fn new(limits: &PluginLimits, meter: Arc<Meter>) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            instances: limits.instances,
            used_bytes: 0,
            refused: None,
            meter,
        }
    }

    /// Linear memory granted so far, in bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Notes what a process of its own says that its guest uses; it could say anything.
    pub(crate) fn told(&mut self, bytes: u64) {
        let bytes = bytes.min(self.memory_bytes);
        if let Some(more) = bytes.checked_sub(self.used_bytes) {
            self.used_bytes = bytes;
            self.meter.grew(more);
        }
    }

    /// What was refused last.
    pub(crate) fn refused(&self) -> Option<LimitHit> {
        self.refused.clone()
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.meter.shrank(self.used_bytes);
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.used_bytes.saturating_add(more);
        if wanted > self.memory_bytes {
            self.refused = Some(LimitHit::Memory(self.memory_bytes));
            return Ok(false);
        }
        self.used_bytes = wanted;
        self.meter.grew(more);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired as u64 > self.table_elements {
            self.refused = Some(LimitHit::Table(self.table_elements));
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/operators.md");

    #[test]
    fn every_ceiling_can_be_changed_for_one_plugin_alone() {
        let defaults = PluginLimits::default();
        for (place, (key, default)) in defaults.values().into_iter().enumerate() {
            let text = format!("[acme]\n{key} = {}\n", default + 7);
            let changed: LimitOverrides = toml::from_str(&text).unwrap();
            let mut expected = defaults.values();
            expected[place].1 += 7;
            assert_eq!(changed.of("acme").values(), expected);
            assert_eq!(changed.of("other"), defaults);
        }
    }

    #[test]
    fn the_documented_defaults_are_those_that_hold() {
        let documented: Vec<(&str, u64)> = DOCUMENT
            .lines()
            .skip_while(|line| !line.starts_with("| Key of `[limits.PLUGIN]`"))
            .skip(2)
            .map_while(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(key, rest)| {
                let digits = rest.split(" |").next().unwrap().replace(' ', "");
                (
                    key,
                    digits.parse().unwrap_or_else(|error| panic!("{key}: {error}")),
                )
            })
            .collect();
        assert_eq!(documented, PluginLimits::default().values());
    }
}
