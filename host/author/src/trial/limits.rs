//! What a plugin used while it was tried, against the ceilings under which it runs.

use std::time::Duration;

use freezer_conformance::{Answer, Finding};
use freezer_plugin::PluginUsage;
use freezer_plugin::limits::PluginLimits;

/// How much of a ceiling may be used, in percent: operators' data is larger than a trial's.
const MOST_PERCENT: u64 = 75;

/// What is found in what runs used: the first is the one that works undisturbed, in the others handles and the log count as well.
/// `instances` is how many there were at once at most.
pub(super) fn findings(used: &[PluginUsage], instances: u64, limits: &PluginLimits) -> Vec<Finding> {
    let Some(usage) = used.first() else {
        return Vec::new();
    };
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
        handles_room(used, limits),
        handles_closed(used),
        log(used, limits),
    ]
}

fn handles_room(used: &[PluginUsage], limits: &PluginLimits) -> Finding {
    let most = used.iter().map(|usage| usage.most_handles).max().unwrap_or(0);
    let ceiling = limits.handles as u64;
    finding(
        "its_handles_leave_room_below_the_ceiling",
        (most, ceiling),
        format!("{most} of {ceiling} after a call"),
    )
}

/// What is still open once all was dropped that the plugin handed out is never closed while it runs.
fn handles_closed(used: &[PluginUsage]) -> Finding {
    let open: u64 = used.iter().map(|usage| usage.left_open).sum();
    let broken = format!(
        "handles that are still open when everything has ended: {open}; drop what is opened, also after a failure"
    );
    verdict("no_handle_stays_open", open == 0, String::new(), broken)
}

fn log(used: &[PluginUsage], limits: &PluginLimits) -> Finding {
    let lines: u64 = used.iter().map(|usage| usage.log_lines).sum();
    let dropped: u64 = used.iter().map(|usage| usage.dropped_lines).sum();
    let most = limits.log_lines;
    verdict(
        "no_line_of_its_log_is_left_out",
        dropped == 0,
        format!("{lines} in all, of {most} in a second"),
        format!("left out: {dropped} of {lines}, for it may log {most} in a second"),
    )
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn finding(rule: &'static str, (used, ceiling): (u64, u64), detail: String) -> Finding {
    let broken = format!("it uses more than {MOST_PERCENT} % of what it may: {detail}");
    verdict(rule, used <= ceiling / 100 * MOST_PERCENT, detail, broken)
}

fn verdict(rule: &'static str, holds: bool, detail: String, broken: String) -> Finding {
    let (answer, detail) = match holds {
        true => (Answer::Kept, detail),
        false => (Answer::Broken(broken), String::new()),
    };
    Finding { rule, answer, detail }
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
            let found = findings(std::slice::from_ref(usage), 2, &PluginLimits::default());
            found.iter().filter(|finding| finding.is_broken()).count()
        };
        assert_eq!(broken(&usage(4 << 20, Duration::from_millis(1))), 0);
        assert_eq!(broken(&usage(120 << 20, Duration::from_millis(1))), 1);
        assert_eq!(broken(&usage(120 << 20, Duration::from_secs(90))), 2);
    }

    #[test]
    fn handles_that_stay_open_and_lines_that_are_left_out_fail_in_whatever_run() {
        let undisturbed = PluginUsage {
            calls: 10,
            log_lines: 7,
            most_handles: 3,
            ..PluginUsage::default()
        };
        let broken = |other: PluginUsage| {
            let found = findings(&[undisturbed.clone(), other], 1, &PluginLimits::default());
            let broken = found.iter().filter(|finding| finding.is_broken());
            broken.map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(broken(undisturbed.clone()), "");
        let leak = PluginUsage {
            left_open: 2,
            ..undisturbed.clone()
        };
        assert_eq!(
            broken(leak),
            "no_handle_stays_open: handles that are still open when everything has ended: 2; drop what is opened, also after a failure"
        );
        let flood = PluginUsage {
            log_lines: 500,
            dropped_lines: 400,
            ..undisturbed.clone()
        };
        assert_eq!(
            broken(flood),
            "no_line_of_its_log_is_left_out: left out: 400 of 507, for it may log 100 in a second"
        );
        let hoard = PluginUsage {
            most_handles: 1000,
            ..undisturbed.clone()
        };
        assert_eq!(
            broken(hoard),
            "its_handles_leave_room_below_the_ceiling: it uses more than 75 % of what it may: 1000 of 1024 after a call"
        );
    }
}
