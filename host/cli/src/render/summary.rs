//! What a backup or a restore came to: a few lines for people, the same facts for documents.

use std::time::Duration;

use freezer_agent::{BackupOutcome, RestoreOutcome, StreamOutcome};
use freezer_pipeline::Counts;
use freezer_pipeline::counters::Warning;
use freezer_plugin::PluginUsage;
use serde_json::{Map, Value, json};

use super::{json, text, units, usage};

/// Lines of `name   value`, aligned.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("{name:<9}{value}"));
    }

    /// Adds the lines with which every summary ends.
    fn end(&mut self, tail: &Tail<'_>) {
        for plugin in tail.used {
            self.add("plugin", &usage::line(plugin));
        }
        if tail.dry_run {
            self.add("where", &format!("nothing was written to {}", tail.place));
        } else {
            self.add("where", &tail.place);
        }
        let left_out = left_out(tail.left_out);
        if !left_out.is_empty() {
            self.add("except", &left_out);
        }
        if let Some(partial) = tail.partial {
            self.add("partial", partial);
        }
    }
}

/// How a summary ends: where it went, and what is amiss.
struct Tail<'a> {
    /// Already escaped.
    place: String,
    dry_run: bool,
    /// What plugins used.
    used: &'a [PluginUsage],
    /// What to count as left out; zeros aren't shown.
    left_out: &'a [(u64, &'a str)],
    /// What to say if the outcome is only partial.
    partial: Option<&'a str>,
}

/// The summary of a backup.
pub(crate) fn backup(outcome: &BackupOutcome, (took, used): (Duration, &[PluginUsage])) -> String {
    let report = &outcome.report;
    let counts = &report.counts;
    let mut lines = Lines(String::new());
    let verb = if outcome.dry_run { "would be" } else { "backup" };
    lines.add(verb, &which(outcome));
    match &outcome.stream {
        Some(name) => lines.add("stream", &stream_line(name, counts.bytes)),
        None => add_tree(&mut lines, counts),
    }
    lines.add("stored", &stored(outcome));
    if outcome.reused_bytes > 0 {
        let reused = units::bytes(outcome.reused_bytes);
        lines.add(
            "resumed",
            &format!("{reused} of it were there and not sent again"),
        );
    }
    lines.add(
        "took",
        &format!(
            "{}, {}",
            units::duration(took),
            units::rate(report.data.plain, took)
        ),
    );
    if let Some((summary, _)) = mode_note(outcome) {
        lines.add("mode", &text::lines(&summary));
    }
    lines.end(&Tail {
        place: text::lines(&outcome.storages.join(", ")),
        dry_run: outcome.dry_run,
        used,
        left_out: &[
            (counts.unreadable, "unreadable"),
            (counts.inexact, "changed while being read"),
            (counts.vanished, "vanished"),
            (counts.sockets_skipped, "sockets skipped"),
            (counts.excluded, "excluded"),
        ],
        partial: report
            .partial
            .then_some("not all of it is as it should be; the warnings above name what"),
    });
    for lacking in &outcome.failed {
        let (storage, reason) = (text::lines(&lacking.storage), text::lines(&lacking.reason));
        lines.add("lacking", &format!("{storage} ({reason})"));
    }
    if let Some(advice) = copy_advice(outcome) {
        lines.add("next", &advice);
    }
    lines.0
}

/// What a tree holds, and what became of it since the level before.
fn add_tree(lines: &mut Lines, counts: &Counts) {
    let others = counts.symlinks + counts.hard_links + counts.others;
    lines.add(
        "tree",
        &tree(counts.files, counts.directories, others, counts.bytes),
    );
    let changes = [
        (counts.new, "new"),
        (counts.changed, "changed"),
        (counts.removed, "removed"),
        (counts.unchanged, "unchanged"),
    ];
    let changes = changes.map(|(number, what)| format!("{} {what}", units::count(number)));
    lines.add("changes", &changes.join(", "));
}

/// The file that a stream is.
fn stream_line(name: &str, bytes: u64) -> String {
    format!("{}, {}", text::escape(name.as_bytes()), units::bytes(bytes))
}

/// How a storage that lacks the backup gets it.
fn copy_advice(outcome: &BackupOutcome) -> Option<String> {
    let (from, to) = (outcome.storages.first()?, outcome.failed.first()?);
    Some(format!(
        "when it answers again: freezer copy --from {} --to {}",
        text::lines(from),
        text::lines(&to.storage)
    ))
}

/// Name, level and date of a backup, and why this level.
fn which(outcome: &BackupOutcome) -> String {
    let why = match (&outcome.full_reason, &outcome.parent) {
        (Some(reason), _) => format!("full: {reason}"),
        (None, Some(parent)) => {
            format!(
                "changes since level {} of {}",
                parent.level.0,
                units::date(parent.time)
            )
        }
        (None, None) => "full".to_owned(),
    };
    let name = text::escape(outcome.name.as_str().as_bytes());
    format!(
        "{name} level {} of {} ({why})",
        outcome.id.level.0,
        units::date(outcome.id.time)
    )
}

/// What a tree holds.
fn tree(files: u64, directories: u64, others: u64, bytes: u64) -> String {
    let files = units::counted(files, "file", "files");
    let directories = units::counted(directories, "directory", "directories");
    format!(
        "{files}, {directories}, {}, {}",
        units::counted(others, "other", "others"),
        units::bytes(bytes)
    )
}

/// How large the stream is and what it is stored as.
fn stored(outcome: &BackupOutcome) -> String {
    let data = &outcome.report.data;
    let encrypted = if outcome.encrypted { ", encrypted" } else { "" };
    format!(
        "{} -> {} (ratio {}, {}{encrypted})",
        units::bytes(data.plain),
        units::bytes(data.bytes),
        units::ratio(data.plain, data.bytes),
        outcome.compression,
    )
}

/// What the mode says of the backup, if it is for people, too: its summary, and the whole note.
fn mode_note(outcome: &BackupOutcome) -> Option<(String, Value)> {
    let note: Value = serde_json::from_str(outcome.mode_note.as_deref()?).ok()?;
    let summary = note.get("summary")?.as_str()?.to_owned();
    Some((summary, note))
}

/// The document of a backup.
pub(crate) fn backup_document(outcome: &BackupOutcome, took: Duration) -> Value {
    let report = &outcome.report;
    let counts = &report.counts;
    let mut document = json!({
        "name": outcome.name.as_str(),
        "zero": outcome.id.zero.0,
        "level": outcome.id.level.0,
        "time": outcome.id.time.0,
        "date": units::date(outcome.id.time),
        "stream": outcome.stream,
        "parent": outcome.parent.map(|parent| json!({ "level": parent.level.0, "time": parent.time.0 })),
        "full_reason": outcome.full_reason.as_ref().map(ToString::to_string),
        "storage": outcome.storages.first(),
        "storages": outcome.storages,
        "lacking": outcome.failed.iter().map(|lacking| json!({
            "storage": lacking.storage,
            "reason": lacking.reason,
        })).collect::<Vec<_>>(),
        "reused_bytes": outcome.reused_bytes,
        "compression": outcome.compression.name(),
        "encrypted": outcome.encrypted,
        "dry_run": outcome.dry_run,
        "bytes": counts.bytes,
        "plain_bytes": report.data.plain,
        "stored_bytes": report.data.bytes,
        "index_bytes": report.index.bytes,
        "segments": report.data.segments,
        "seconds": seconds(took),
        "counts": {
            "files": counts.files,
            "directories": counts.directories,
            "symlinks": counts.symlinks,
            "hard_links": counts.hard_links,
            "others": counts.others,
            "new": counts.new,
            "changed": counts.changed,
            "unchanged": counts.unchanged,
            "removed": counts.removed,
            "excluded": counts.excluded,
            "sockets_skipped": counts.sockets_skipped,
            "unreadable": counts.unreadable,
            "inexact": counts.inexact,
            "vanished": counts.vanished,
        },
        "warning_count": report.warning_count,
        "warnings": warnings(&report.warnings),
    });
    if let Some((_, note)) = mode_note(outcome) {
        document["mode_note"] = note;
    }
    document
}

/// The summary of a restore.
pub(crate) fn restore(outcome: &RestoreOutcome, (took, used): (Duration, &[PluginUsage])) -> String {
    let report = &outcome.report;
    let mut lines = Lines(String::new());
    let (verb, doing) = match outcome.dry_run {
        true => ("would", "restore "),
        false => ("restored", ""),
    };
    let name = text::escape(outcome.name.as_str().as_bytes());
    let authentic = if outcome.authentic { ", authenticated" } else { "" };
    lines.add(
        verb,
        &format!(
            "{doing}{name} level {} of {}{authentic}",
            outcome.level.0,
            units::date(outcome.time)
        ),
    );
    let others = report.symlinks + report.hard_links + report.others;
    lines.add(
        "tree",
        &tree(report.files, report.directories, others, report.bytes),
    );
    lines.add(
        "took",
        &format!("{}, {}", units::duration(took), units::rate(report.bytes, took)),
    );
    lines.end(&Tail {
        place: text::escape(outcome.target.as_os_str().as_encoded_bytes()),
        dry_run: outcome.dry_run,
        used,
        left_out: &[
            (report.refused, "refused"),
            (report.unreadable, "unreadable when backed up"),
            (report.stale, "as an earlier level has them"),
            (report.setuid_kept, "with setuid or setgid bits"),
            (report.setuid_dropped, "lost setuid or setgid bits"),
            (report.removed, "removed"),
        ],
        partial: report
            .partial
            .then_some("not all of it is as the backup has it; the warnings above name what"),
    });
    lines.0
}

/// The document of a restore.
pub(crate) fn restore_document(outcome: &RestoreOutcome, took: Duration) -> Value {
    let report = &outcome.report;
    let mut map = Map::new();
    json::put_path(&mut map, "target", outcome.target.as_os_str().as_encoded_bytes());
    let Value::Object(facts) = json!({
        "name": outcome.name.as_str(),
        "level": outcome.level.0,
        "time": outcome.time.0,
        "date": units::date(outcome.time),
        "authentic": outcome.authentic,
        "dry_run": outcome.dry_run,
        "bytes": report.bytes,
        "seconds": seconds(took),
        "counts": {
            "files": report.files,
            "directories": report.directories,
            "symlinks": report.symlinks,
            "hard_links": report.hard_links,
            "others": report.others,
            "removed": report.removed,
            "refused": report.refused,
            "unreadable": report.unreadable,
            "stale": report.stale,
            "setuid_kept": report.setuid_kept,
            "setuid_dropped": report.setuid_dropped,
        },
        "warning_count": report.warning_count,
        "warnings": warnings(&report.warnings),
    }) else {
        return Value::Object(map);
    };
    map.extend(facts);
    Value::Object(map)
}

/// The summary of a stream's restore to a place that is no directory.
pub(crate) fn stream(
    outcome: &StreamOutcome,
    goal: &StreamPlace,
    (took, used): (Duration, &[PluginUsage]),
) -> String {
    let mut lines = Lines(String::new());
    let (verb, doing) = match goal.dry_run {
        true => ("would", "restore "),
        false => ("restored", ""),
    };
    let name = text::escape(outcome.name.as_str().as_bytes());
    let authentic = if outcome.authentic { ", authenticated" } else { "" };
    let date = units::date(outcome.time);
    lines.add(
        verb,
        &format!("{doing}{name} level {} of {date}{authentic}", outcome.level.0),
    );
    lines.add("stream", &stream_line(&outcome.file_name, outcome.bytes));
    lines.add(
        "took",
        &format!("{}, {}", units::duration(took), units::rate(outcome.bytes, took)),
    );
    lines.end(&Tail {
        place: goal.place.clone(),
        dry_run: goal.dry_run,
        used,
        left_out: &[],
        partial: None,
    });
    lines.0
}

/// Where a stream went.
pub(crate) struct StreamPlace {
    /// Already escaped.
    pub(crate) place: String,
    /// Nothing went there.
    pub(crate) dry_run: bool,
}

/// The document of a stream's restore to a place that is no directory.
pub(crate) fn stream_document(outcome: &StreamOutcome, goal: &StreamPlace, took: Duration) -> Value {
    json!({
        "name": outcome.name.as_str(),
        "level": outcome.level.0,
        "time": outcome.time.0,
        "date": units::date(outcome.time),
        "stream": outcome.file_name,
        "place": goal.place,
        "authentic": outcome.authentic,
        "dry_run": goal.dry_run,
        "bytes": outcome.bytes,
        "seconds": seconds(took),
    })
}

/// `3 unreadable, 1 vanished`: what isn't zero.
fn left_out(counts: &[(u64, &str)]) -> String {
    let said = counts.iter().filter(|(number, _)| *number > 0);
    said.map(|(number, what)| format!("{} {what}", units::count(*number)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Seconds to the millisecond.
fn seconds(took: Duration) -> Value {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    json!(Duration::from_millis(milliseconds).as_secs_f64())
}

/// Warnings as documents have them.
fn warnings(warnings: &[Warning]) -> Value {
    let one = |warning: &Warning| {
        let mut map = Map::new();
        json::put_path(&mut map, "path", &warning.path);
        map.insert("kind".to_owned(), json!(warning.kind.name()));
        map.insert("message".to_owned(), json!(warning.message));
        map.insert("partial".to_owned(), json!(warning.partial));
        Value::Object(map)
    };
    warnings.iter().map(one).collect()
}
