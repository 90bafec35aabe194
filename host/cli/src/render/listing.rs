//! Lists: backups of a storage, files of a backup, what a check found.

use std::time::Duration;

use freezer_agent::{BackupRow, CheckReport, Listing, LsEntry, Severity, State, Unreadable};
use freezer_format::index::{Entry, EntryKind};
use freezer_format::name::Timestamp;
use serde_json::{Map, Value, json};

use super::{json, table, text, units};

/// The table of backups; below it, what is wrong with some: that is too long for a column.
pub(crate) fn backups(listing: &Listing) -> String {
    let rows = &listing.backups;
    let shown: Vec<Vec<String>> = rows.iter().map(backup).collect();
    let headings = [
        "NAME", "HOST", "LEVEL", "DATE", "SIZE", "STORED", "FILES", "STATE",
    ];
    let mut out = table::columns(&headings, &[2, 4, 5, 6], &shown);
    for trouble in rows.iter().filter_map(|row| row.trouble.as_ref()) {
        out.push_str(&format!("\ntrouble: {}", text::lines(trouble)));
    }
    for hidden in &listing.unreadable {
        out.push_str(&unreadable(hidden));
    }
    out
}

/// A line on what the storage doesn't show.
pub(super) fn unreadable(hidden: &Unreadable) -> String {
    let object = text::escape(hidden.object.as_bytes());
    format!(
        "\ntrouble: {object} can't be read: {}",
        text::lines(&hidden.reason)
    )
}

fn backup(row: &BackupRow) -> Vec<String> {
    let known = |number: Option<u64>, show: fn(u64) -> String| number.map_or_else(|| "-".to_owned(), show);
    let mut state = match row.state {
        State::Committed => "committed".to_owned(),
        State::Partial => "partial".to_owned(),
        State::Original => format!("original, {}", row.engine),
        State::Damaged => "DAMAGED".to_owned(),
        State::Unauthenticated => "NOT AUTHENTIC".to_owned(),
        State::Incomplete => match row.missing_level {
            Some(level) => format!("INCOMPLETE, no level {level}"),
            None => "INCOMPLETE".to_owned(),
        },
        State::Unreadable => "UNREADABLE".to_owned(),
    };
    if row.encrypted == Some(true) {
        state.push_str(", encrypted");
    }
    if row.authentic == Some(true) {
        state.push_str(", authentic");
    }
    vec![
        text::escape(row.backup_name.as_bytes()),
        text::escape(row.host.as_bytes()),
        row.id.level.to_string(),
        units::date(row.id.time),
        known(row.bytes, units::bytes),
        known(row.stored_bytes, units::bytes),
        known(row.files, units::count),
        state,
    ]
}

/// A list as a document.
pub(crate) fn list_document(listing: &Listing) -> Value {
    json!({ "backups": backup_documents(&listing.backups), "unreadable": listing.unreadable })
}

/// Backups as documents: the recipe's own facts, and the date as text.
fn backup_documents(rows: &[BackupRow]) -> Value {
    let one = |row: &BackupRow| {
        let mut value = serde_json::to_value(row).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.insert("date".to_owned(), json!(units::date(row.id.time)));
        }
        value
    };
    rows.iter().map(one).collect()
}

/// A file as one line: mode, owner, size, date, path.
pub(crate) fn entry(listed: &LsEntry) -> String {
    let entry = &listed.entry;
    let size = match entry.kind {
        EntryKind::CharDevice | EntryKind::BlockDevice => format!("{}, {}", entry.rdev.0, entry.rdev.1),
        _ => entry.size.to_string(),
    };
    let owner = format!("{}:{}", entry.uid, entry.gid);
    let date = units::date(Timestamp(entry.mtime.seconds));
    let path = match entry.path.is_empty() {
        true => ".".to_owned(),
        false => text::escape(&entry.path),
    };
    let mut line = format!("{} {owner:>11} {size:>12} {date} {path}", mode(entry));
    match entry.kind {
        EntryKind::Symlink => line.push_str(&format!(" -> {}", text::escape(&entry.link))),
        EntryKind::HardLink => line.push_str(&format!(" = {}", text::escape(&entry.link))),
        _ => {}
    }
    if entry.unreadable {
        line.push_str(" (unreadable when backed up)");
    } else if entry.inexact {
        line.push_str(" (changed while being read)");
    }
    line
}

/// `-rwxr-sr-t`.
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File | EntryKind::HardLink => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
    };
    let mut out = String::from(kind);
    // The special bit of each triple stands in the place of its x: set-user, set-group, sticky.
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = entry.mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        let (lower, upper) = letters.split_at(1);
        out.push_str(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => lower,
            (true, false) => upper,
            (false, true) => "x",
            (false, false) => "-",
        });
    }
    out
}

/// A file as a document of one line.
pub(crate) fn entry_document(listed: &LsEntry) -> String {
    let entry = &listed.entry;
    let mut map = Map::new();
    json::put_path(&mut map, "path", &entry.path);
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::HardLink => "hard-link",
        EntryKind::Fifo => "fifo",
        EntryKind::CharDevice => "char-device",
        EntryKind::BlockDevice => "block-device",
    };
    map.insert("kind".to_owned(), json!(kind));
    map.insert("size".to_owned(), json!(entry.size));
    map.insert("mode".to_owned(), json!(format!("{:04o}", entry.mode)));
    map.insert("uid".to_owned(), json!(entry.uid));
    map.insert("gid".to_owned(), json!(entry.gid));
    map.insert("mtime".to_owned(), json!(entry.mtime.seconds));
    map.insert("mtime_nanoseconds".to_owned(), json!(entry.mtime.nanoseconds));
    if matches!(entry.kind, EntryKind::Symlink | EntryKind::HardLink) {
        json::put_path(&mut map, "link", &entry.link);
    }
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        map.insert("device".to_owned(), json!([entry.rdev.0, entry.rdev.1]));
    }
    map.insert("level".to_owned(), json!(entry.level));
    if let Some(id) = listed.content {
        map.insert("level_date".to_owned(), json!(units::date(id.time)));
    }
    for (name, said) in [("unreadable", entry.unreadable), ("inexact", entry.inexact)] {
        if said {
            map.insert(name.to_owned(), json!(true));
        }
    }
    Value::Object(map).to_string()
}

/// What a check found, worst first.
pub(crate) fn check(report: &CheckReport, read_data: bool, took: Duration) -> String {
    let mut out = String::new();
    let mut problems: Vec<_> = report.problems.iter().collect();
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    for problem in problems {
        let word = match problem.severity {
            Severity::Damage => "damage",
            Severity::Unauthentic => "unauthentic",
            Severity::Locked => "locked",
            Severity::Unreadable => "unreadable",
            Severity::Notice => "notice",
        };
        out.push_str(&format!(
            "{word}: {} {}\n",
            text::escape(problem.object.as_bytes()),
            text::lines(&problem.reason)
        ));
        for hit in &problem.hits {
            out.push_str(&format!("  hits: {}\n", text::lines(hit)));
        }
        if !problem.next.is_empty() {
            out.push_str(&format!("  next: {}\n", text::lines(&problem.next)));
        }
    }
    let found = report.problem_count.saturating_add(report.notice_count);
    let more = found.saturating_sub(report.problems.len() as u64);
    if more > 0 {
        out.push_str(&format!("and {} more\n", units::count(more)));
    }
    if let Some(note) = not_decrypted(report) {
        out.push_str(&format!("{note}\n"));
    }
    let depth = match read_data {
        true => format!("{} read", units::bytes(report.bytes_read)),
        false => "data not read".to_owned(),
    };
    let mut verdict = match report.problem_count {
        0 => "no problems".to_owned(),
        count => units::counted(count, "problem", "problems"),
    };
    if report.notice_count > 0 {
        verdict.push_str(&format!(
            ", {}",
            units::counted(report.notice_count, "notice", "notices")
        ));
    }
    out.push_str(&format!(
        "{}, {} authenticated, {}, {depth}, {}: {verdict}",
        units::counted(report.backups, "backup", "backups"),
        units::count(report.authenticated),
        units::counted(report.objects, "object", "objects"),
        units::duration(took),
    ));
    out
}

/// What a check with too few keys couldn't do.
fn not_decrypted(report: &CheckReport) -> Option<String> {
    let locked = report
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Locked);
    let advice = match locked {
        true => "give the right --encrypt-pass-file",
        false => "give --encrypt-pass-file",
    };
    (report.not_decrypted > 0).then(|| {
        format!(
            "{} encrypted: only stored bytes compared; {advice}",
            units::count(report.not_decrypted)
        )
    })
}

/// What a check found, as a document.
pub(crate) fn check_document(report: &CheckReport, took: Duration) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("seconds".to_owned(), json!(took.as_secs_f64()));
        map.insert("note".to_owned(), json!(not_decrypted(report)));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_agent::Problem;
    use rstest::rstest;

    #[rstest]
    #[case(EntryKind::File, 0o644, "-rw-r--r--")]
    #[case(EntryKind::Directory, 0o1777, "drwxrwxrwt")]
    #[case(EntryKind::File, 0o6711, "-rws--s--x")]
    #[case(EntryKind::File, 0o7000, "---S--S--T")]
    #[case(EntryKind::Fifo, 0, "p---------")]
    fn modes_are_shown_as_ls_shows_them(#[case] kind: EntryKind, #[case] bits: u32, #[case] shown: &str) {
        let mut entry = Entry::new("x", kind);
        entry.mode = bits;
        assert_eq!(mode(&entry), shown);
    }

    #[test]
    fn an_entry_is_one_line_whatever_its_name() {
        let mut listed = LsEntry {
            entry: Entry::new("a\nb\u{1b}", EntryKind::Symlink),
            content: None,
        };
        listed.entry.link = b"\xff".to_vec();
        let line = entry(&listed);
        assert!(
            line.ends_with("1970-01-01T00:00:00Z a\\nb\\x1b -> \\xff"),
            "{line}"
        );
        let document: Value = serde_json::from_str(&entry_document(&listed)).expect("JSON");
        assert_eq!(document["path"], "a\nb\u{1b}");
        assert_eq!(document["link_base64"], "/w==");
    }

    #[test]
    fn damage_stands_before_notices_and_says_what_it_hits() {
        let problem = |severity, object: &str| Problem {
            severity,
            object: object.into(),
            reason: "is missing".into(),
            hits: vec!["h_n level 1".into()],
            next: "copy it back".into(),
        };
        let report = CheckReport {
            backups: 2,
            problems: vec![problem(Severity::Notice, "a"), problem(Severity::Damage, "b")],
            problem_count: 2,
            notice_count: 1,
            not_decrypted: 2,
            ..CheckReport::default()
        };
        let shown = check(&report, false, Duration::from_secs(1));
        let expected = "damage: b is missing\n  hits: h_n level 1\n  next: copy it back\n\
                        notice: a is missing\n  hits: h_n level 1\n  next: copy it back\n\
                        and 1 more\n2 encrypted: only stored bytes compared; give --encrypt-pass-file\n\
                        2 backups, 0 authenticated, 0 objects, data not read, 1.00 s: 2 problems, 1 notice";
        assert_eq!(shown, expected);
    }
}
