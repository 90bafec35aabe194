//! Checks installed plugins without running them.

use freezer_plugin::{Discovered, PluginHost, installed};
use serde_json::{Value, json};

use super::{Context, plugin_host};
use crate::exit::{Exit, Failure};
use crate::render::{Style, plugins, text};

/// Checks these plugins, or all that weren't built together with this program.
///
/// # Errors
/// When there is none of a name.
pub(super) fn verify(names: &[String], context: &Context) -> Result<Exit, Failure> {
    let host = plugin_host(context)?;
    let found = match names {
        [] => host
            .discover()
            .into_iter()
            .filter(|found| !found.first_party)
            .collect(),
        names => names
            .iter()
            .map(|name| super::found(&host, name, context))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let (mut documents, mut exit) = (Vec::new(), Exit::Ok);
    let output = &context.output;
    for found in &found {
        let checked = check(found, &host);
        if checked.is_err() {
            exit = Exit::Damaged;
        }
        documents.push(document(found, &checked));
        if output.style != Style::Json {
            output.print(&line(found, &checked))?;
        }
    }
    if found.is_empty() {
        output.note("no plugins but those that were built together with this program");
    }
    output.finish(exit, json!({ "plugins": documents }))?;
    Ok(exit)
}

/// What is right with a plugin, or what is wrong.
fn check(found: &Discovered, host: &PluginHost) -> Result<String, String> {
    if let Err(error) = &found.result {
        return Err(plugins::chain(error));
    }
    if found.first_party {
        return Ok("built together with this program".to_owned());
    }
    installed::check_place(&found.path)?;
    let standing = host.standing(found).map_err(|error| plugins::chain(&error))?;
    let standing = standing.map(|standing| standing.to_string()).unwrap_or_default();
    Ok(match &found.record {
        Some(_) => format!("{standing}, as installed"),
        None => format!("{standing}, put there by hand"),
    })
}

fn line(found: &Discovered, checked: &Result<String, String>) -> String {
    let name = found.name.as_deref().unwrap_or("-");
    let path = text::escape(found.path.as_os_str().as_encoded_bytes());
    match checked {
        Ok(what) => format!("ok   {name}: {} ({path})", text::lines(what)),
        Err(why) => format!("BAD  {name}: {} ({path})", text::lines(why)),
    }
}

fn document(found: &Discovered, checked: &Result<String, String>) -> Value {
    let mut document = plugins::row_document(found);
    if let Some(map) = document.as_object_mut() {
        map.insert("verified".to_owned(), json!(checked.is_ok()));
        let (Ok(detail) | Err(detail)) = checked;
        map.insert("detail".to_owned(), json!(detail));
    }
    document
}
