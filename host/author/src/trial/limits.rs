//! What a plugin used while it was tried, against the ceilings under which it runs.

use std::time::Duration;

use freezer_conformance::{Answer, Finding};
use freezer_plugin::PluginUsage;
use freezer_plugin::limits::PluginLimits;

/// How much of a ceiling may be used, in percent: operators' data is larger than a trial's.
const MOST_PERCENT: u64 = 75;

/// What is found; `instances` is how many there were at once at most.
pub(super) fn findings(usage: &PluginUsage, instances: u64, limits: &PluginLimits) -> Vec<Finding> {
    let memory = usage.memory_bytes / instances.max(1);
    let cpu = usage.cpu / u32::try_from(usage.calls.max(1)).unwrap_or(u32::MAX);
    vec![
        finding(
            "its_memory_leaves_room_below_the_ceiling",
            (memory, limits.memory_bytes),
            format!(
                "{:.1} of {} MiB an instance",
                memory as f64 / f64::from(1 << 20),
                limits.memory_bytes >> 20
            ),
        ),
        finding(
            "its_calls_compute_little",
            (micros(cpu), micros(limits.cpu)),
            format!(
                "{} calls, {} µs each, of {} s",
                usage.calls,
                micros(cpu),
                limits.cpu.as_secs()
            ),
        ),
    ]
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn finding(rule: &'static str, (used, ceiling): (u64, u64), detail: String) -> Finding {
    let least = ceiling / 100 * MOST_PERCENT;
    match used <= least {
        true => Finding {
            rule,
            answer: Answer::Kept,
            detail,
        },
        false => Finding {
            rule,
            answer: Answer::Broken(format!(
                "it uses more than {MOST_PERCENT} % of what it may: {detail}"
            )),
            detail: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_near_a_ceiling_fails() {
        let usage = |memory_bytes, cpu| PluginUsage {
            calls: 10,
            memory_bytes,
            cpu,
            ..PluginUsage::default()
        };
        let broken = |usage: &PluginUsage| {
            let found = findings(usage, 2, &PluginLimits::default());
            found.iter().filter(|finding| finding.is_broken()).count()
        };
        assert_eq!(broken(&usage(4 << 20, Duration::from_millis(1))), 0);
        assert_eq!(broken(&usage(120 << 20, Duration::from_millis(1))), 1);
        assert_eq!(broken(&usage(120 << 20, Duration::from_secs(90))), 2);
    }
}
