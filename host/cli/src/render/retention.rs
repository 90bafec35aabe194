//! What became of backups and leftovers, as tables and documents.

use freezer_agent::{Action, Change, Fate, LeftoverReport, PruneReport, TagListing, TaggedBackup};
use freezer_format::name::Timestamp;
use serde_json::{Map, Value, json};

use super::{table, text, units};

/// The table of backups with what becomes of each and why, and the sum of it.
pub(crate) fn prune(report: &PruneReport) -> String {
    let mut rows = Vec::new();
    for name in &report.names {
        for backup in &name.backups {
            rows.push(vec![
                text::escape(name.name.as_str().as_bytes()),
                backup.level.to_string(),
                units::date(backup.time),
                backup.stored_bytes.map_or_else(|| "-".to_owned(), units::bytes),
                action(backup.action, report.dry_run).to_owned(),
                text::lines(&backup.reasons.join("; ")),
            ]);
        }
    }
    let headings = ["NAME", "LEVEL", "DATE", "STORED", "ACTION", "WHY"];
    let count = |action| units::count(report.count(action) as u64);
    let (kept, gone) = (count(Action::Keep), count(Action::Remove));
    let sum = match report.dry_run {
        true => format!("{kept} would be kept, {gone} would go"),
        false => format!(
            "{kept} kept, {} marked to go after the grace, {gone} removed",
            count(Action::Mark)
        ),
    };
    format!("{}\n{sum}", table::columns(&headings, &[1, 3], &rows))
}

fn action(action: Action, dry_run: bool) -> &'static str {
    match (action, dry_run) {
        (Action::Keep, _) => "keep",
        (Action::Mark, _) => "marked",
        (Action::Remove, true) => "remove",
        (Action::Remove, false) => "removed",
    }
}

/// What the user should know of each name.
pub(crate) fn warnings(report: &PruneReport) -> Vec<String> {
    let of_name = |name: &freezer_agent::PrunedName| {
        let shown = text::escape(name.name.as_str().as_bytes());
        let said = name.warnings.iter();
        said.map(move |warning| format!("{shown}: {}", text::lines(warning)))
            .collect::<Vec<_>>()
    };
    report.names.iter().flat_map(of_name).collect()
}

/// The names that were left alone, with the reason.
pub(crate) fn held(report: &PruneReport) -> Vec<String> {
    let line = |name: &freezer_agent::PrunedName| {
        let shown = text::escape(name.name.as_str().as_bytes());
        let next = match (name.doubtful, name.unreadable) {
            (true, _) => "freezer check names what is damaged",
            (_, true) => "prune as a user, and with a freezer, that can read it",
            _ => "if that is right, allow it with --limit",
        };
        let why = name.held.as_ref()?;
        Some(format!(
            "nothing of {shown} is removed: {}; {next}",
            text::lines(why)
        ))
    };
    report.names.iter().filter_map(line).collect()
}

/// The same as a document.
pub(crate) fn prune_document(url: &str, report: &PruneReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    let names = value.get_mut("names").and_then(Value::as_array_mut);
    for name in names.into_iter().flatten() {
        let backups = name.get_mut("backups").and_then(Value::as_array_mut);
        backups.into_iter().flatten().for_each(put_date);
    }
    if let Some(map) = value.as_object_mut() {
        map.insert("storage".to_owned(), json!(url));
    }
    value
}

/// The table of backups with tags and pins.
pub(crate) fn tags(shown: &TagListing) -> String {
    let backups = &shown.backups;
    let row = |backup: &TaggedBackup| {
        let tags: Vec<&str> = backup.tags.iter().map(String::as_str).collect();
        let pin = match backup.pinned {
            true => "pinned",
            false => "",
        };
        vec![
            text::escape(backup.name.as_str().as_bytes()),
            backup.level.to_string(),
            units::date(backup.time),
            pin.to_owned(),
            text::escape(tags.join(",").as_bytes()),
        ]
    };
    let rows: Vec<Vec<String>> = backups.iter().map(row).collect();
    let mut out = table::columns(&["NAME", "LEVEL", "DATE", "PIN", "TAGS"], &[1], &rows);
    for trouble in backups.iter().filter_map(|backup| backup.trouble.as_ref()) {
        out.push_str(&format!("\ntrouble: {}", text::lines(trouble)));
    }
    for hidden in &shown.unreadable {
        out.push_str(&super::listing::unreadable(hidden));
    }
    out
}

/// Says why a change of tags changed nothing.
pub(crate) fn unchanged(backup: &TaggedBackup, change: &Change) -> String {
    let why = match change {
        Change::Add(tags) => format!("it has {} already", text::escape(tags.join(",").as_bytes())),
        Change::Remove(tags) => format!("it has no tag {}", text::escape(tags.join(",").as_bytes())),
        Change::Pin => "it is pinned already".to_owned(),
        Change::Unpin => "it isn't pinned".to_owned(),
    };
    format!(
        "{} level {} of {} stays as it is: {why}",
        text::escape(backup.name.as_str().as_bytes()),
        backup.level,
        units::date(backup.time)
    )
}

/// The same as a document.
pub(crate) fn tag_document(shown: &TagListing) -> Value {
    let one = |backup: &TaggedBackup| {
        let mut value = serde_json::to_value(backup).unwrap_or_default();
        put_date(&mut value);
        value
    };
    let backups: Vec<Value> = shown.backups.iter().map(one).collect();
    json!({ "backups": backups, "unreadable": shown.unreadable })
}

/// The list of leftovers, and the sum of it.
pub(crate) fn leftovers(report: &LeftoverReport) -> String {
    if report.leftovers.is_empty() {
        return "nothing is left over".to_owned();
    }
    let row = |leftover: &freezer_agent::Leftover| {
        let modified = leftover.modified;
        vec![
            text::escape(leftover.object.as_bytes()),
            units::bytes(leftover.bytes),
            modified.map_or_else(|| "-".to_owned(), units::date),
            fate(leftover.fate).to_owned(),
            text::lines(&leftover.reason),
        ]
    };
    let rows: Vec<Vec<String>> = report.leftovers.iter().map(row).collect();
    let headings = ["OBJECT", "SIZE", "CHANGED", "STATE", "WHAT"];
    let sum = format!(
        "{} left over, {} confirmed, {} removed",
        units::count(report.leftovers.len() as u64),
        units::count((report.count(Fate::Confirmed) + report.count(Fate::Removed)) as u64),
        units::count(report.count(Fate::Removed) as u64),
    );
    format!("{}\n{sum}", table::columns(&headings, &[1], &rows))
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Young => "young",
        Fate::Noted => "noted",
        Fate::Confirmed => "confirmed",
        Fate::Removed => "removed",
        Fate::Spared => "spared",
    }
}

/// The same as a document.
pub(crate) fn leftover_document(url: &str, report: &LeftoverReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("storage".to_owned(), json!(url));
    }
    value
}

/// Puts the date beside the seconds.
fn put_date(value: &mut Value) {
    let date = |map: &Map<String, Value>| map.get("time")?.as_i64().map(|time| units::date(Timestamp(time)));
    if let Some(map) = value.as_object_mut()
        && let Some(date) = date(map)
    {
        map.insert("date".to_owned(), json!(date));
    }
}
