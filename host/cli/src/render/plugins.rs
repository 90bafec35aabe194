//! Plugins: the list, and one plugin's page.

use freezer_plugin::grants::GrantSet;
use freezer_plugin::limits::PluginLimits;
use freezer_plugin::manifest::SettingDeclaration;
use freezer_plugin::{Discovered, PluginKind, PluginManifest, SettingType};
use serde_json::{Value, json};

use super::{json, table, text, units};

/// The table of plugins; below it, why some can't be used: reasons are too long for a column.
pub(crate) fn table(found: &[Discovered]) -> String {
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let mut out = table::columns(&["NAME", "KIND", "VERSION", "STATE", "FILE"], &[], &rows);
    for problem in found.iter().filter_map(problem) {
        out.push_str(&format!("\n{problem}"));
    }
    out
}

fn row(plugin: &Discovered) -> Vec<String> {
    let name = plugin
        .name
        .as_deref()
        .map_or_else(|| "-".to_owned(), |name| text::escape(name.as_bytes()));
    let (kind, version) = match &plugin.result {
        Ok(manifest) => (
            manifest.kind.to_string(),
            text::escape(manifest.version.as_bytes()),
        ),
        Err(_) => ("-".to_owned(), "-".to_owned()),
    };
    vec![
        name,
        kind,
        version,
        state(plugin),
        text::escape(plugin.path.as_os_str().as_encoded_bytes()),
    ]
}

/// Whether it can be used.
fn state(plugin: &Discovered) -> String {
    match (&plugin.result, &plugin.shadowed_by) {
        (Err(_), _) => "unusable",
        (Ok(_), Some(_)) => "hidden",
        (Ok(_), None) if plugin.first_party => "built in",
        (Ok(_), None) => "foreign",
    }
    .to_owned()
}

/// Why it can't be used.
fn problem(plugin: &Discovered) -> Option<String> {
    let shown = |path: &std::path::Path| text::escape(path.as_os_str().as_encoded_bytes());
    match (&plugin.result, &plugin.shadowed_by) {
        (Err(error), _) => Some(format!("unusable: {}", text::lines(&chain(error)))),
        (Ok(_), Some(other)) => Some(format!("hidden: {} by {}", shown(&plugin.path), shown(other))),
        (Ok(_), None) => None,
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        out.push_str(&format!(": {error}"));
        source = error.source();
    }
    out
}

/// A plugin of the list, as a document.
pub(crate) fn row_document(plugin: &Discovered) -> Value {
    let mut map = serde_json::Map::new();
    map.insert("name".to_owned(), json!(plugin.name));
    json::put_path(&mut map, "file", plugin.path.as_os_str().as_encoded_bytes());
    map.insert("sha256".to_owned(), json!(plugin.sha256));
    map.insert("first_party".to_owned(), json!(plugin.first_party));
    map.insert(
        "shadowed_by".to_owned(),
        json!(plugin.shadowed_by.as_ref().map(|path| path.display().to_string())),
    );
    match &plugin.result {
        Ok(manifest) => {
            map.insert("usable".to_owned(), json!(plugin.shadowed_by.is_none()));
            map.insert("kind".to_owned(), json!(manifest.kind.to_string()));
            map.insert("version".to_owned(), json!(manifest.version));
            map.insert("contract".to_owned(), json!(manifest.contract));
            map.insert("schemes".to_owned(), json!(manifest.schemes));
        }
        Err(error) => {
            map.insert("usable".to_owned(), json!(false));
            map.insert("problem".to_owned(), json!(chain(error)));
        }
    }
    Value::Object(map)
}

/// A plugin's page.
pub(crate) fn page(plugin: &Discovered, manifest: &PluginManifest, limits: &PluginLimits) -> String {
    let trust = match plugin.first_party {
        true => "built together with this program: it gets what it asks for",
        false => "foreign: it gets what grants.toml gives to exactly this digest",
    };
    let mut out = format!(
        "{} {} ({})\n{}\n\nfile       {}\nsha256     {}\ntrust      {trust}\ncontract   {}\nlicense    {}\n",
        manifest.name,
        text::lines(&manifest.version),
        manifest.kind,
        text::lines(&manifest.description),
        text::escape(plugin.path.as_os_str().as_encoded_bytes()),
        plugin.sha256,
        text::lines(&manifest.contract),
        text::lines(&manifest.license),
    );
    if !manifest.schemes.is_empty() {
        out.push_str(&format!("schemes    {}\n", manifest.schemes.join(", ")));
    }
    out.push_str("\nsettings\n");
    let rows: Vec<Vec<String>> = manifest
        .settings
        .iter()
        .map(|declared| setting(declared).to_vec())
        .collect();
    match rows.is_empty() {
        true => out.push_str("  none\n"),
        false => out.push_str(&format!(
            "{}\n",
            table::columns(&["NAME", "TYPE", "DEFAULT", "HELP"], &[], &rows)
        )),
    }
    out.push_str("\ngrants asked for\n");
    let grants = grants(&manifest.grants);
    match grants.is_empty() {
        true => out.push_str("  none\n"),
        false => grants
            .iter()
            .for_each(|line| out.push_str(&format!("  {}\n", text::lines(line)))),
    }
    out.push_str(&format!(
        "\nlimits\n  memory {}, {} handles, {} a call to the host, {} of computing and {} in all for one call",
        units::bytes(limits.memory_bytes),
        limits.handles,
        units::bytes(limits.transfer_bytes as u64),
        units::duration(limits.cpu),
        units::duration(limits.call),
    ));
    out
}

/// The settings of all usable plugins, under their names, for the help.
pub(crate) fn help(found: &[Discovered]) -> String {
    let mut out = String::new();
    let usable = found.iter().filter(|plugin| plugin.shadowed_by.is_none());
    for manifest in usable.filter_map(|plugin| plugin.result.as_ref().ok()) {
        let option = match manifest.kind {
            PluginKind::Storage => "--storage-option",
            PluginKind::Mode => "--mode-option",
        };
        out.push_str(&format!(
            "\nSettings of {} {} ({option} NAME=VALUE): {}\n",
            manifest.kind,
            manifest.name,
            text::lines(&manifest.description)
        ));
        for declared in &manifest.settings {
            let [name, _, default, help] = setting(declared);
            out.push_str(&format!("  {name}  {help} [{default}]\n"));
        }
    }
    out
}

fn setting(setting: &SettingDeclaration) -> [String; 4] {
    let default = match (&setting.default, setting.required, setting.secret) {
        (_, _, true) => "(secret)".to_owned(),
        (Some(value), ..) => text::lines(&value.to_string()),
        (None, true, _) => "(required)".to_owned(),
        (None, false, _) => "-".to_owned(),
    };
    let mut help = text::lines(&setting.help);
    if !setting.aliases.is_empty() {
        help.push_str(&format!(" (also {})", text::lines(&setting.aliases.join(", "))));
    }
    [
        setting.name.clone(),
        type_name(setting.kind).to_owned(),
        default,
        help,
    ]
}

fn type_name(kind: SettingType) -> &'static str {
    match kind {
        SettingType::Text => "text",
        SettingType::Integer => "integer",
        SettingType::Flag => "flag",
        SettingType::Bytes => "bytes",
        SettingType::Many => "many",
        SettingType::File => "file",
    }
}

/// Grants as the lines of a plugin.toml.
fn grants(set: &GrantSet) -> Vec<String> {
    let mut lines: Vec<String> = set
        .files
        .iter()
        .map(|grant| format!("files {} {}", grant.root, grant.access.as_str()))
        .collect();
    let lists = [
        ("http", &set.http),
        ("tcp", &set.tcp),
        ("ssh", &set.ssh),
        ("sql", &set.sql),
        ("snapshots", &set.snapshots),
        ("secrets", &set.secrets),
    ];
    for (kind, places) in lists {
        lines.extend(places.iter().map(|place| format!("{kind} {place}")));
    }
    for grant in &set.processes {
        lines.push(format!(
            "processes {} {}",
            grant.program,
            grant.arguments.as_deref().unwrap_or("")
        ));
    }
    if set.bodies {
        lines.push("bodies: the backup's own bytes".to_owned());
    }
    lines
}

/// A plugin's page as a document.
pub(crate) fn document(plugin: &Discovered, manifest: &PluginManifest, limits: &PluginLimits) -> Value {
    let mut value = row_document(plugin);
    let settings: Vec<Value> = manifest
        .settings
        .iter()
        .map(|setting| {
            json!({
                "name": setting.name,
                "type": type_name(setting.kind),
                "required": setting.required,
                "secret": setting.secret,
                "default": setting.default.as_ref().map(ToString::to_string),
                "help": setting.help,
                "aliases": setting.aliases,
            })
        })
        .collect();
    if let Some(map) = value.as_object_mut() {
        map.insert("description".to_owned(), json!(manifest.description));
        map.insert("license".to_owned(), json!(manifest.license));
        map.insert("settings".to_owned(), json!(settings));
        map.insert("grants_asked".to_owned(), json!(grants(&manifest.grants)));
        let limits = json!({
            "memory_bytes": limits.memory_bytes,
            "handles": limits.handles,
            "transfer_bytes": limits.transfer_bytes,
            "cpu_seconds": limits.cpu.as_secs_f64(),
            "call_seconds": limits.call.as_secs_f64(),
        });
        map.insert("limits".to_owned(), limits);
    }
    value
}
