//! The original's document about a backup: `--metadata-out`, or a table without it.
//!
//! The scheduler posts it to the API, so keys and order are the original's. What isn't set is
//! an empty text.

use std::path::Path;

use serde_json::{Map, Value};

use super::map::Options;
use crate::command::Document;
use crate::exit::Failure;

/// Facts that only the finished run knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The level that was made.
    pub(crate) level: u32,
    /// What was backed up.
    pub(crate) path: String,
    /// When, in Unix seconds.
    pub(crate) time: i64,
}

/// Options that the document repeats, in its order, after `action`.
const REPEATED: &[&str] = &[
    "always_level",
    "backup_media",
    "backup_name",
    "container",
    "container_segments",
    "dry_run",
    "hostname",
    "path_to_backup",
    "max_level",
    "log_file",
    "storage",
    "mode",
    "proxy",
    "compression",
    "ssh_key",
    "ssh_username",
    "ssh_host",
    "ssh_port",
    "consistency_checksum",
    "cindernative_backup_az",
    "cindernative_backup_container",
    "cindernative_vol_id",
    "nova_inst_id",
    "cinder_vol_id",
    "cinderbrick_vol_id",
    "glance_image_id",
    "engine_name",
];

/// Takes the options that the document will repeat.
pub(super) fn of(options: &Options<'_>, host: &str, name: &str) -> Result<Document, Failure> {
    let container = options.container()?;
    let media = media(options);
    let mut pairs = vec![("action", Value::from("backup"))];
    for dest in REPEATED {
        let given = options.text(dest);
        let value = match *dest {
            "backup_media" => Value::from(media),
            "backup_name" => Value::from(expand(name, options, &container, media)),
            "container" => Value::from(container.as_str()),
            "hostname" => Value::from(host),
            "storage" => Value::from(options.storage()),
            "mode" => Value::from(options.mode()),
            "engine_name" => Value::from("tar"),
            "compression" => Value::from(given.unwrap_or_else(|| "gzip".to_owned())),
            "dry_run" if options.flag("dry_run") => Value::from(true),
            "always_level" | "max_level" | "ssh_port" => number(given),
            _ => Value::from(given.unwrap_or_default()),
        };
        pairs.push((dest, value));
    }
    if let Some(id) = options.text("backup_id") {
        pairs.push(("backup_id", Value::from(id)));
    }
    let target = options.get("metadata_out").map(Into::into);
    Ok(Document {
        target,
        options: pairs,
    })
}

/// A number where the text is one.
fn number(text: Option<String>) -> Value {
    let text = text.unwrap_or_default();
    text.parse::<i64>().map_or(Value::from(text), Value::from)
}

/// What the original calls the medium.
fn media(options: &Options<'_>) -> &'static str {
    let any = |dests: &[&str]| dests.iter().any(|dest| options.get(dest).is_some());
    if any(&["cinder_vol_id", "cinder_vol_name"]) {
        "cinder"
    } else if any(&["cindernative_vol_id", "cindernative_backup_id"]) {
        "cindernative"
    } else if any(&["cinderbrick_vol_id"]) {
        "cinderbrick"
    } else {
        "fs"
    }
}

/// The name with the original's template fields filled in: reported so, though not stored so.
fn expand(name: &str, options: &Options<'_>, container: &str, media: &str) -> String {
    let fields = [
        ("{mode}", options.mode()),
        ("{backup_media}", media.to_owned()),
        ("{storage}", options.storage()),
        ("{container}", container.to_owned()),
        ("{project_id}", options.text("project_id").unwrap_or_default()),
        ("{resource_id}", String::new()),
    ];
    fields
        .iter()
        .fold(name.to_owned(), |name, (field, value)| name.replace(field, value))
}

impl Document {
    /// The whole document, keys in the original's order.
    pub(crate) fn pairs(&self, facts: &Facts) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("curr_backup_level".to_owned(), Value::from(facts.level));
        map.insert("fs_real_path".to_owned(), Value::from(facts.path.as_str()));
        map.insert("vol_snap_path".to_owned(), Value::from(facts.path.as_str()));
        map.insert("client_os".to_owned(), Value::from("linux"));
        map.insert(
            "client_version".to_owned(),
            Value::from(env!("CARGO_PKG_VERSION")),
        );
        map.insert("time_stamp".to_owned(), Value::from(facts.time));
        for (key, value) in &self.options {
            map.insert((*key).to_owned(), value.clone());
        }
        map
    }

    /// The document as JSON without a newline at the end, with Python's spacing.
    pub(crate) fn json(&self, facts: &Facts) -> String {
        let pairs = self.pairs(facts);
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{}: {value}", Value::from(key.as_str())))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    }

    /// The document as the table that is printed without `--metadata-out`.
    pub(crate) fn table(&self, facts: &Facts) -> String {
        let rows = self.pairs(facts).into_iter().map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            [
                key.replace('_', " "),
                crate::render::text::escape(value.as_bytes()),
            ]
        });
        crate::render::table::boxed(["Property", "Value"], rows)
    }

    /// True if the JSON goes to standard output.
    pub(crate) fn to_stdout(&self) -> bool {
        self.target.as_deref() == Some(Path::new("-"))
    }
}
