//! Plugins: the list, and one plugin's page.

pub(crate) mod keys;
pub(crate) mod offer;
pub(crate) mod trial;

use freezer_plugin::audit::{LastRun, Used};
use freezer_plugin::grants::GrantSet;
use freezer_plugin::limits::PluginLimits;
use freezer_plugin::manifest::SettingDeclaration;
use freezer_plugin::{Discovered, PluginKind, PluginManifest, SettingType, Standing};
use serde_json::{Value, json};

use super::{json, table, text, units, usage};

/// A plugin of the list.
pub(crate) struct Row<'a> {
    /// The plugin.
    pub(crate) found: &'a Discovered,
    /// Why it would not be loaded.
    pub(crate) refused: Option<String>,
}

impl Row<'_> {
    /// As a document.
    pub(crate) fn document(&self) -> Value {
        let mut document = row_document(self.found);
        if let (Some(map), Some(refused)) = (document.as_object_mut(), &self.refused) {
            map.insert("usable".to_owned(), json!(false));
            map.insert("problem".to_owned(), json!(refused));
        }
        document
    }
}

/// The table of plugins; below it, why some can't be used: reasons are too long for a column.
pub(crate) fn table(plugins: &[Row<'_>]) -> String {
    let rows: Vec<Vec<String>> = plugins.iter().map(row).collect();
    let mut out = table::columns(&["NAME", "KIND", "VERSION", "STATE", "FILE"], &[], &rows);
    for problem in plugins.iter().filter_map(problem) {
        out.push_str(&format!("\n{problem}"));
    }
    out
}

fn row(row: &Row<'_>) -> Vec<String> {
    let plugin = row.found;
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
        state(row),
        text::escape(plugin.path.as_os_str().as_encoded_bytes()),
    ]
}

/// Whether it can be used.
fn state(row: &Row<'_>) -> String {
    let plugin = row.found;
    match (&plugin.result, &plugin.shadowed_by) {
        (Err(_), _) => "unusable",
        (Ok(_), Some(_)) => "hidden",
        (Ok(_), None) if row.refused.is_some() => "refused",
        (Ok(_), None) if plugin.first_party => "built in",
        (Ok(_), None) => "foreign",
    }
    .to_owned()
}

/// Why it can't be used.
fn problem(row: &Row<'_>) -> Option<String> {
    let plugin = row.found;
    let shown = |path: &std::path::Path| text::escape(path.as_os_str().as_encoded_bytes());
    match (&plugin.result, &plugin.shadowed_by) {
        (Err(error), _) => Some(format!("unusable: {}", text::lines(&chain(error)))),
        (Ok(_), Some(other)) => Some(format!("hidden: {} by {}", shown(&plugin.path), shown(other))),
        (Ok(_), None) => {
            let refused = row.refused.as_ref()?;
            Some(format!("refused: {}", text::lines(refused)))
        }
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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

/// What there is to show of one plugin.
pub(crate) struct Facts<'a> {
    /// Its file.
    pub(crate) found: &'a Discovered,
    /// What it says about itself.
    pub(crate) manifest: &'a PluginManifest,
    /// Its ceilings.
    pub(crate) limits: PluginLimits,
    /// Whether it runs in processes of its own.
    pub(crate) isolated: bool,
    /// Who vouches for it; none for one that was built together with this program. Or why it isn't loaded.
    pub(crate) standing: Result<Option<Standing>, String>,
    /// What it may do.
    pub(crate) granted: GrantSet,
    /// What it asked for when it ran last.
    pub(crate) last_run: Option<LastRun>,
}

/// A plugin's page.
pub(crate) fn page(facts: &Facts<'_>) -> String {
    let Facts { found, manifest, .. } = facts;
    let trust = match found.first_party {
        true => "built together with this program: it gets what it asks for",
        false => "foreign: it gets what grants.toml gives to exactly this digest",
    };
    let mut out = format!(
        "{} {} ({})\n{}\n\nfile       {}\nsha256     {}\ntrust      {trust}\n",
        manifest.name,
        text::lines(&manifest.version),
        manifest.kind,
        text::lines(&manifest.description),
        text::escape(found.path.as_os_str().as_encoded_bytes()),
        found.sha256,
    );
    match &facts.standing {
        Ok(None) => {}
        Ok(Some(standing)) => out.push_str(&format!("signature  {}\n", text::lines(&standing.to_string()))),
        Err(why) => out.push_str(&format!("NOT USED   {}\n", text::lines(why))),
    }
    if let Some(record) = &found.record {
        let (source, time) = (text::lines(&record.source), text::lines(&record.time));
        out.push_str(&format!("from       {source}, installed {time}\n"));
    }
    out.push_str(&format!(
        "contract   {}\nlicense    {}\n",
        text::lines(&manifest.contract),
        text::lines(&manifest.license)
    ));
    if facts.isolated {
        out.push_str("process    its own, which can do nothing but compute\n");
    }
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
    section(&mut out, "grants asked for", &grant_lines(&manifest.grants));
    section(&mut out, "grants it has", &grant_lines(&facts.granted));
    section(
        &mut out,
        "used in the last run",
        &used_lines(facts.last_run.as_ref()),
    );
    section(&mut out, "imports: the most that it can ask for", &found.imports);
    let limits: Vec<String> = facts.limits.values().into_iter().map(limit).collect();
    section(&mut out, "limits", &limits);
    out.truncate(out.trim_end().len());
    out
}

/// A heading and its lines.
fn section(out: &mut String, heading: &str, lines: &[String]) {
    out.push_str(&format!("\n{heading}\n"));
    if lines.is_empty() {
        out.push_str("  none\n");
    }
    lines
        .iter()
        .for_each(|line| out.push_str(&format!("  {}\n", text::lines(line))));
}

/// Grants by their texts, which `grant` and `revoke` take.
fn grant_lines(set: &GrantSet) -> Vec<String> {
    set.grants().iter().map(ToString::to_string).collect()
}

/// A ceiling as `[limits.PLUGIN]` has it, sizes with their unit.
fn limit((key, value): (&str, u64)) -> String {
    match key.ends_with("-bytes") {
        true => format!("{key:<20} {value} ({})", units::bytes(value)),
        false => format!("{key:<20} {value}"),
    }
}

fn used_lines(last_run: Option<&LastRun>) -> Vec<String> {
    let usage = last_run.and_then(|run| run.usage.as_ref()).map(usage::line);
    let used = last_run.into_iter().flat_map(|run| &run.used);
    let asked = used.map(|used| {
        let verdict = if used.allowed { "allowed" } else { "REFUSED" };
        let times = match used.count {
            1 => String::new(),
            count => format!(", {count} times"),
        };
        format!("{verdict} {}{times}", used.request)
    });
    usage.into_iter().chain(asked).collect()
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

/// A plugin's page as a document.
pub(crate) fn document(facts: &Facts<'_>) -> Value {
    let Facts {
        found,
        manifest,
        limits,
        ..
    } = facts;
    let mut value = row_document(found);
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
    let used = |used: &Used| json!({ "grant": used.grant, "request": used.request, "allowed": used.allowed, "count": used.count });
    let more = json!({
        "description": manifest.description,
        "license": manifest.license,
        "settings": settings,
        "signature": facts.standing.as_ref().ok().and_then(|standing| standing.as_ref()).map(ToString::to_string),
        "not_used": facts.standing.as_ref().err(),
        "source": found.record.as_ref().map(|record| &record.source),
        "installed": found.record.as_ref().map(|record| &record.time),
        "isolated": facts.isolated,
        "imports": found.imports,
        "grants_asked": grant_lines(&manifest.grants),
        "grants": grant_lines(&facts.granted),
        "last_run": facts.last_run.as_ref().map(|run| json!({
            "time": run.time,
            "run": run.run,
            "used": run.used.iter().map(used).collect::<Vec<_>>(),
            "usage": run.usage.as_ref().map(usage::document),
        })),
        "limits": limits.values().into_iter().map(|(key, value)| (key.replace('-', "_"), json!(value))).collect::<serde_json::Map<_, _>>(),
    });
    if let (Some(map), Value::Object(more)) = (value.as_object_mut(), more) {
        map.extend(more);
    }
    value
}
