//! What plugins used in a run: a line for people, the same facts for documents.

use freezer_plugin::PluginUsage;
use serde_json::{Value, json};

use super::{text, units};

/// `s3: 41 calls, 12 ms CPU, 3.0 MiB`; requests and what was read where there were any.
pub(crate) fn line(usage: &PluginUsage) -> String {
    let mut line = format!(
        "{}: {}, {} ms CPU, {}",
        text::escape(usage.plugin.as_bytes()),
        units::counted(usage.calls, "call", "calls"),
        units::count(u64::try_from(usage.cpu.as_millis()).unwrap_or(u64::MAX)),
        units::bytes(usage.memory_bytes),
    );
    if usage.requests > 0 {
        line.push_str(&format!(
            ", {}",
            units::counted(usage.requests, "request", "requests")
        ));
    }
    if usage.read_bytes > 0 {
        line.push_str(&format!(", {} read", units::bytes(usage.read_bytes)));
    }
    line
}

/// What one plugin used, as documents and the audit log have it.
pub(crate) fn document(usage: &PluginUsage) -> Value {
    json!({
        "plugin": usage.plugin,
        "sha256": usage.sha256,
        "calls": usage.calls,
        // To the microsecond.
        "cpu_seconds": (usage.cpu.as_secs_f64() * 1e6).round() / 1e6,
        "memory_bytes": usage.memory_bytes,
        "requests": usage.requests,
        "read_bytes": usage.read_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_says_what_there_was() {
        let mut usage = PluginUsage {
            plugin: "s3".to_owned(),
            sha256: "ab".to_owned(),
            calls: 41,
            cpu: Duration::from_micros(12_345),
            memory_bytes: 3 << 20,
            ..PluginUsage::default()
        };
        assert_eq!(line(&usage), "s3: 41 calls, 12 ms CPU, 3.0 MiB");
        (usage.calls, usage.requests, usage.read_bytes) = (1, 1, 2048);
        assert_eq!(
            line(&usage),
            "s3: 1 call, 12 ms CPU, 3.0 MiB, 1 request, 2.0 KiB read"
        );
        assert_eq!(document(&usage)["cpu_seconds"], 0.012_345);
    }
}
