//! The ceilings under which a plugin runs, and who notices when it hits one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

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
        }
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
}

/// Changes by plugin name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct LimitOverrides(pub BTreeMap<String, LimitOverride>);

impl LimitOverrides {
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
        limits
    }
}
