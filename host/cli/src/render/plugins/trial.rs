//! The report of `freezer plugin test`, for people and as JSON.

use std::path::Path;

use freezer_author::trial::{Count, Part};
use freezer_conformance::{Answer, Finding};
use freezer_plugin::pack::PackedPlugin;
use serde_json::{Value, json};

use crate::render::{text, units};

/// What is tried, and with which grants.
pub(crate) fn head(packed: &PackedPlugin, component: &Path) -> String {
    let manifest = packed.manifest();
    let mut head = format!(
        "{} {} {} (contract {}), {}, {}\n",
        manifest.kind,
        manifest.name,
        text::lines(&manifest.version),
        text::lines(&manifest.contract),
        component.display(),
        units::bytes(packed.bytes().len() as u64)
    );
    let grants = manifest.grants.grants();
    match grants.is_empty() {
        true => head.push_str("granted    nothing, as it asks for"),
        false => {
            let words: Vec<String> = grants
                .iter()
                .map(|grant| text::lines(&grant.to_string()))
                .collect();
            head.push_str(&format!("granted    {}, as it asks for", words.join(", ")));
        }
    }
    head
}

/// One part, a line for each rule and, of those that don't hold, one that says why.
pub(crate) fn part(part: Part, findings: &[Finding]) -> String {
    let mut lines = vec![format!("\n{}", part.title())];
    for finding in findings {
        let words = finding.words();
        match &finding.answer {
            Answer::Kept if finding.detail.is_empty() => lines.push(format!("  ok       {words}")),
            Answer::Kept => lines.push(format!("  ok       {words} ({})", finding.detail)),
            Answer::Broken(why) => {
                lines.push(format!("  FAILED   {words}"));
                lines.push(format!("           {}", text::lines(why)));
            }
            Answer::Skipped(why) => lines.push(format!("  skipped  {words}: {}", text::lines(why))),
        }
    }
    lines.join("\n")
}

/// The last line.
pub(crate) fn sum(count: Count) -> String {
    format!(
        "\n{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    )
}

/// One part as JSON.
pub(crate) fn document(part: Part, findings: &[Finding]) -> Value {
    let rules: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let (outcome, why) = match &finding.answer {
                Answer::Kept => ("ok", None),
                Answer::Broken(why) => ("failed", Some(why)),
                Answer::Skipped(why) => ("skipped", Some(why)),
            };
            let detail = Some(&finding.detail).filter(|detail| !detail.is_empty());
            json!({ "rule": finding.rule, "outcome": outcome, "why": why, "detail": detail })
        })
        .collect();
    json!({ "part": part.title(), "rules": rules })
}
