//! What a copy came to: a line for each backup, and a sum.

use std::time::Duration;

use freezer_agent::{CopiedLevel, CopyReport, CopyState, FailedCopy};
use serde_json::{Value, json};

use super::{text, units};
use crate::command::Copy;

/// The summary of a copy.
pub(crate) fn summary(report: &CopyReport, copy: &Copy, took: Duration) -> String {
    let mut lines: Vec<String> = report
        .levels
        .iter()
        .map(|level| line(level, copy.dry_run))
        .collect();
    let copied = report
        .levels
        .iter()
        .filter(|level| level.state != CopyState::Present)
        .count();
    let verb = if copy.dry_run { "would be copied" } else { "copied" };
    lines.push(format!(
        "{} {verb}, {} in {}, to {}",
        units::counted(copied as u64, "backup", "backups"),
        units::bytes(report.bytes),
        units::duration(took),
        text::lines(&copy.to.url)
    ));
    if report.reused_bytes > 0 {
        lines.push(format!(
            "{} of it were there from an interrupted copy and not sent again",
            units::bytes(report.reused_bytes)
        ));
    }
    let unknown = report.levels.iter().filter(|level| !level.compared).count();
    if unknown > 0 {
        lines.push(format!(
            "{} of the original: nothing tells what they must be, only sizes were compared",
            units::counted(unknown as u64, "backup", "backups")
        ));
    }
    lines.push(
        "digests were compared, not who sealed them: freezer check with the password does that".to_owned(),
    );
    lines.join("\n")
}

/// The names that weren't copied, with the reason.
pub(crate) fn failed(report: &CopyReport) -> Vec<String> {
    let line = |failed: &FailedCopy| {
        let name = text::escape(failed.name.as_str().as_bytes());
        format!("{name} isn't copied whole: {}", text::lines(&failed.reason))
    };
    report.failed.iter().map(line).collect()
}

fn line(level: &CopiedLevel, dry_run: bool) -> String {
    let state = match (level.state, dry_run) {
        (CopyState::Present, _) => "is there already".to_owned(),
        (CopyState::Copied, false) => format!("copied, {}", units::bytes(level.bytes)),
        (CopyState::Copied, true) => format!("would be copied, {}", units::bytes(level.bytes)),
        (CopyState::Mended, false) => format!("mended, {}", units::bytes(level.bytes)),
        (CopyState::Mended, true) => format!("would be mended, {}", units::bytes(level.bytes)),
    };
    let name = text::escape(level.name.as_str().as_bytes());
    format!(
        "{name} level {} of {}: {state}",
        level.level,
        units::date(level.time)
    )
}

/// The document of a copy.
pub(crate) fn document(report: &CopyReport, copy: &Copy, took: Duration) -> Value {
    let one = |level: &CopiedLevel| {
        json!({
            "name": level.name.as_str(),
            "level": level.level,
            "time": level.time.0,
            "date": units::date(level.time),
            "state": level.state,
            "bytes": level.bytes,
            "compared": level.compared,
        })
    };
    json!({
        "from": copy.from.url,
        "to": copy.to.url,
        "dry_run": copy.dry_run,
        "backups": report.levels.iter().map(one).collect::<Vec<_>>(),
        "bytes": report.bytes,
        "reused_bytes": report.reused_bytes,
        "failed": report.failed,
        "seconds": took.as_secs_f64(),
    })
}
