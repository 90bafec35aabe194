//! Storages: what they hold, how a trial of one went, and which there are.

use std::collections::BTreeMap;
use std::time::Duration;

use freezer_agent::{StorageInfo, TrialReport, TrialRow, TrialState};
use freezer_pipeline::store::ContainerUsage;
use freezer_plugin::{Discovered, PluginKind};
use serde_json::{Value, json};

use super::{table, text, units};
use crate::config::file::NamedStorage;

/// The table of `info`.
pub(crate) fn info(rows: &[StorageInfo]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for container in row.containers.iter().flatten() {
            lines.push(vec![
                text::lines(&row.storage),
                text::escape(container.name.as_bytes()),
                units::count(container.objects),
                units::bytes(container.bytes),
                container.available.map_or_else(|| "-".to_owned(), units::bytes),
            ]);
        }
    }
    let headings = ["STORAGE", "CONTAINER", "OBJECTS", "SIZE", "AVAILABLE"];
    table::columns(&headings, &[2, 3, 4], &lines)
}

/// The document of `info`.
pub(crate) fn info_document(rows: &[StorageInfo]) -> Value {
    let document = |row: &StorageInfo| match &row.containers {
        Ok(containers) => {
            let container = |usage: &ContainerUsage| {
                json!({
                    "name": usage.name,
                    "objects": usage.objects,
                    "bytes": usage.bytes,
                    "available_bytes": usage.available,
                })
            };
            let containers: Vec<Value> = containers.iter().map(container).collect();
            json!({ "storage": row.storage, "containers": containers })
        }
        Err(error) => json!({ "storage": row.storage, "error": error.message }),
    };
    json!({ "storages": rows.iter().map(document).collect::<Vec<_>>() })
}

/// Containers as the original shows them: name, size in MB or GB, number of objects.
fn original_rows(rows: &[StorageInfo]) -> Vec<[String; 3]> {
    let containers = rows.iter().flat_map(|row| row.containers.iter().flatten());
    let row = |usage: &ContainerUsage| {
        [
            usage.name.clone(),
            original_size(usage.bytes),
            usage.objects.to_string(),
        ]
    };
    containers.map(row).collect()
}

/// A size in the original's words: powers of 1024, nothing counts as one megabyte.
fn original_size(bytes: u64) -> String {
    if bytes == 0 {
        return "1 MB".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "the original shows a float too")]
    let megabytes = bytes as f64 / f64::from(1 << 20);
    match megabytes >= 1024.0 {
        true => format!("{:?} GB", megabytes / 1024.0),
        false => format!("{megabytes:?} MB"),
    }
}

/// The original's table of containers.
pub(crate) fn original_table(rows: &[StorageInfo]) -> String {
    let rows = original_rows(rows);
    table::boxed(
        ["Container", "Size", "Object Count"],
        rows.into_iter()
            .map(|row| row.map(|cell| text::escape(cell.as_bytes()))),
    )
}

/// The original's document: the fields, then the rows.
pub(crate) fn original_document(rows: &[StorageInfo]) -> String {
    json!([["Container", "Size", "Object Count"], original_rows(rows)]).to_string()
}

/// The screen of a trial.
pub(crate) fn trial(report: &TrialReport) -> String {
    let lines: Vec<Vec<String>> = report.rows.iter().map(trial_row).collect();
    let rows = table::columns(&["TRIED", "RESULT", "TIME", "SPEED", ""], &[2, 3], &lines);
    let failed = count(report, TrialState::Failed);
    let unsupported = count(report, TrialState::Unsupported);
    let warnings = count(report, TrialState::Warning);
    let mut verdict = match (failed, unsupported) {
        (0, 0) => "everything works".to_owned(),
        (0, few) => format!("works; {few} not supported"),
        (some, _) => format!("{some} failed"),
    };
    if warnings > 0 {
        verdict.push_str(&format!(
            "; {}",
            units::counted(warnings as u64, "warning", "warnings")
        ));
    }
    format!("{}\n\n{rows}\n\n{verdict}", text::lines(&report.storage))
}

fn count(report: &TrialReport, state: TrialState) -> usize {
    report.rows.iter().filter(|row| row.state == state).count()
}

fn trial_row(row: &TrialRow) -> Vec<String> {
    vec![
        row.name.to_owned(),
        state(row.state).to_owned(),
        short(row.time),
        row.bytes
            .map_or_else(String::new, |bytes| units::rate(bytes, row.time)),
        text::lines(&row.note),
    ]
}

/// A duration down to tenths of a millisecond.
fn short(time: Duration) -> String {
    match time.as_millis() {
        0..1000 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        _ => units::duration(time),
    }
}

fn state(state: TrialState) -> &'static str {
    match state {
        TrialState::Ok => "ok",
        TrialState::Warning => "WARNING",
        TrialState::Failed => "failed",
        TrialState::Unsupported => "unsupported",
    }
}

/// The document of a trial.
pub(crate) fn trial_document(report: &TrialReport) -> Value {
    let row = |row: &TrialRow| {
        let mut document = json!({
            "name": row.name,
            "result": state(row.state).to_lowercase(),
            "seconds": row.time.as_secs_f64(),
            "note": row.note,
        });
        if let (Some(bytes), Some(map)) = (row.bytes, document.as_object_mut()) {
            map.insert("bytes".to_owned(), json!(bytes));
        }
        document
    };
    json!({
        "storage": report.storage,
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "left": report.left,
    })
}

/// The schemes that plugins serve, and by which.
pub(crate) fn schemes(found: &[Discovered]) -> Vec<(String, String)> {
    let usable = found.iter().filter(|plugin| plugin.shadowed_by.is_none());
    let manifests = usable.filter_map(|plugin| plugin.result.as_ref().ok());
    manifests
        .filter(|manifest| manifest.kind == PluginKind::Storage)
        .flat_map(|manifest| {
            let pair = |scheme: &String| (scheme.clone(), manifest.name.clone());
            manifest.schemes.iter().map(pair)
        })
        .collect()
}

/// The list of storages: those with names, then what can be written as URL.
pub(crate) fn list(named: &BTreeMap<String, NamedStorage>, found: &[Discovered]) -> String {
    let mut rows: Vec<Vec<String>> = named
        .iter()
        .map(|(name, storage)| {
            vec![
                format!("{}:", text::escape(name.as_bytes())),
                text::escape(storage.url.as_bytes()),
            ]
        })
        .collect();
    rows.extend(
        schemes(found)
            .into_iter()
            .map(|(scheme, plugin)| vec![format!("{scheme}:…"), format!("plugin {plugin}")]),
    );
    table::columns(&["STORAGE", "WHERE"], &[], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "1 MB")]
    #[case(200_776, "0.19147491455078125 MB")]
    #[case(1 << 20, "1.0 MB")]
    #[case(3 << 29, "1.5 GB")]
    fn sizes_are_in_the_original_s_words(#[case] bytes: u64, #[case] words: &str) {
        assert_eq!(original_size(bytes), words);
    }

    #[test]
    fn the_original_s_document_has_fields_and_rows() {
        let rows = [StorageInfo {
            storage: "swift://c".into(),
            containers: Ok(vec![ContainerUsage {
                name: "c".into(),
                objects: 3,
                bytes: 1 << 20,
                available: None,
            }]),
        }];
        assert_eq!(
            original_document(&rows),
            r#"[["Container","Size","Object Count"],[["c","1.0 MB","3"]]]"#
        );
        assert!(original_table(&rows).contains("| c         | 1.0 MB | 3            |"));
    }
}
