//! `plugin list` and `plugin inspect`.

use std::collections::BTreeSet;

use freezer_plugin::{Discovered, PluginHost};
use serde_json::json;

use super::session::plugin_host;
use super::{Context, failure};
use crate::config::file::nearest;
use crate::exit::{Exit, Failure};
use crate::render::{Style, plugins};

/// Lists the plugins that are found, also those that can't be used.
///
/// # Errors
/// When a grants file is invalid.
pub(super) fn list(context: &Context) -> Result<Exit, Failure> {
    let found = plugin_host(context)?.discover();
    let output = &context.output;
    match output.style {
        Style::Json => {
            let documents: Vec<_> = found.iter().map(plugins::row_document).collect();
            output.finish(Exit::Ok, json!({ "plugins": documents }))?;
        }
        _ if found.is_empty() => output.note(&format!("no plugins in {}", places(context))),
        _ => output.print(&plugins::table(&found))?,
    }
    Ok(Exit::Ok)
}

/// Shows a plugin.
///
/// # Errors
/// When there is none of that name, or it can't be used.
pub(super) fn inspect(name: &str, context: &Context) -> Result<Exit, Failure> {
    let host = plugin_host(context)?;
    let plugin = named(&host, name, context)?;
    let manifest = plugin.result.as_ref().map_err(failure::of_plugin)?;
    let limits = host.limits(&manifest.name);
    let output = &context.output;
    match output.style {
        Style::Json => output.finish(Exit::Ok, plugins::document(&plugin, manifest, &limits))?,
        _ => output.print(&plugins::page(&plugin, manifest, &limits))?,
    }
    Ok(Exit::Ok)
}

/// The plugin that a name stands for: the first of that name.
fn named(host: &PluginHost, name: &str, context: &Context) -> Result<Discovered, Failure> {
    let found = host.discover();
    let names: BTreeSet<String> = found.iter().filter_map(|plugin| plugin.name.clone()).collect();
    let wanted = |plugin: &Discovered| plugin.name.as_deref() == Some(name) && plugin.shadowed_by.is_none();
    if let Some(plugin) = found.into_iter().find(wanted) {
        return Ok(plugin);
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let failure = Failure::new(Exit::NothingFound, format!("no plugin is named {name:?}"));
    let failure = match known.is_empty() {
        true => failure.because(format!("there are no plugins in {}", places(context))),
        false => failure.because(format!("there are {}", known.join(", "))),
    };
    Err(match nearest(name, &known) {
        Some(near) => failure.advise(format!("did you mean {near}?")),
        None => failure.advise("freezer plugin list shows all"),
    })
}

/// Where plugins were looked for.
fn places(context: &Context) -> String {
    let places = context
        .plugin_dirs
        .iter()
        .map(|place| place.display().to_string());
    places.collect::<Vec<_>>().join(", ")
}
