//! `freezer plugin`: the operator's road, from looking at a plugin to removing it.

mod approval;
mod author;
mod grants;
mod install;
mod keys;
mod verify;

use std::collections::BTreeSet;
use std::path::PathBuf;

use freezer_plugin::grants::GrantSet;
use freezer_plugin::{Discovered, Plugin, PluginHost, PluginManifest, Scope, ScopedFile, audit};
use serde_json::{Value, json};

use super::session::plugin_host;
use super::{Context, failure};
use crate::command::PluginCommand;
use crate::config::file::nearest;
use crate::exit::{Exit, Failure};
use crate::render::plugins::{Facts, Row};
use crate::render::{Style, plugins};

/// Does something with plugins.
///
/// # Errors
/// Whatever kept it from being done.
pub(super) fn run(command: PluginCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        PluginCommand::List => list(context),
        PluginCommand::Inspect(name) => inspect(&name, context),
        PluginCommand::Install {
            source,
            accept,
            consent,
            scope,
        } => install::install(&source, &accept, consent.as_ref(), &Target { context, scope }),
        PluginCommand::Update {
            name,
            source,
            accept,
            consent,
            scope,
        } => {
            let target = Target { context, scope };
            install::update((&name, source.as_deref()), &accept, consent.as_ref(), &target)
        }
        PluginCommand::Remove(name, scope) => install::remove(&name, &Target { context, scope }),
        PluginCommand::Verify(names) => verify::verify(&names, context),
        PluginCommand::Grant { name, grants, scope } => {
            grants::grant(&name, &grants, &Target { context, scope })
        }
        PluginCommand::Revoke { name, grants, scope } => {
            grants::revoke(&name, &grants, &Target { context, scope })
        }
        PluginCommand::Keys => keys::list(context),
        PluginCommand::Trust { key, name, scope } => keys::trust(&key, &name, &Target { context, scope }),
        PluginCommand::Distrust { what, why, scope } => {
            keys::distrust(&what, &why, &Target { context, scope })
        }
        PluginCommand::Author(command) => author::run(&command, context),
    }
}

/// Whose files a verb changes.
struct Target<'a> {
    context: &'a Context,
    scope: Scope,
}

impl Target<'_> {
    /// Where plugins are installed.
    fn plugin_dir(&self) -> Result<PathBuf, Failure> {
        let environment = &self.context.config.environment;
        environment.plugin_dir(self.scope).ok_or_else(no_home)
    }

    /// One of the files in which it is written what plugins may do.
    fn file(&self, name: &str) -> Result<ScopedFile, Failure> {
        let files = self.context.config.environment.scoped(name);
        let file = files.into_iter().find(|file| file.scope == self.scope);
        file.ok_or_else(no_home)
    }

    /// ` --system`, for commands that are told.
    fn option(&self) -> &'static str {
        match self.scope {
            Scope::System => " --system",
            Scope::User => "",
        }
    }
}

fn no_home() -> Failure {
    Failure::usage("this user has no place for plugins and grants: HOME isn't set")
        .advise("set HOME, or give --system as root")
}

/// Writes down what was done.
fn note(host: &PluginHost, event: &str, mut fields: Value) {
    if let Some(audit) = host.audit() {
        if let Some(map) = fields.as_object_mut() {
            map.insert("outcome".to_owned(), json!("done"));
        }
        audit.event(event, fields);
    }
}

/// Grants as their texts.
fn texts(set: &GrantSet) -> Vec<String> {
    set.grants().iter().map(ToString::to_string).collect()
}

/// Lists the plugins that are found, also those that can't be used.
///
/// # Errors
/// When a grants file is invalid.
fn list(context: &Context) -> Result<Exit, Failure> {
    let host = plugin_host(context)?;
    let found = host.discover();
    let rows: Vec<Row<'_>> = found
        .iter()
        .map(|found| Row {
            found,
            refused: host.standing(found).err().map(|error| plugins::chain(&error)),
        })
        .collect();
    let output = &context.output;
    match output.style {
        Style::Json => {
            let documents: Vec<_> = rows.iter().map(Row::document).collect();
            output.finish(Exit::Ok, json!({ "plugins": documents }))?;
        }
        _ if found.is_empty() => output.note(&format!("no plugins in {}", places(context))),
        _ => output.print(&plugins::table(&rows))?,
    }
    Ok(Exit::Ok)
}

/// Shows a plugin.
///
/// # Errors
/// When there is none of that name, or it can't be used.
fn inspect(name: &str, context: &Context) -> Result<Exit, Failure> {
    let host = plugin_host(context)?;
    let (found, manifest) = named(&host, name, context)?;
    let plugin = Plugin::of(&found).ok_or_else(|| unusable(&found))?;
    let facts = Facts {
        found: &found,
        manifest: &manifest,
        limits: host.limits(&manifest.name),
        isolated: host.is_apart(&plugin),
        standing: host.standing(&found).map_err(|error| error.to_string()),
        granted: host.granted(&plugin),
        last_run: host.audit().and_then(|audit| {
            audit::last_run(audit.path(), &manifest.name, "")
                .inspect_err(|error| tracing::warn!("can't read the audit log: {error}"))
                .ok()
                .flatten()
        }),
    };
    let output = &context.output;
    match output.style {
        Style::Json => output.finish(Exit::Ok, plugins::document(&facts))?,
        _ => output.print(&plugins::page(&facts))?,
    }
    Ok(Exit::Ok)
}

/// The plugin that a name stands for, the first of that name; it can be used.
fn named(host: &PluginHost, name: &str, context: &Context) -> Result<(Discovered, PluginManifest), Failure> {
    let found = found(host, name, context)?;
    let manifest = found.result.as_ref().map_err(failure::of_plugin)?.clone();
    Ok((found, manifest))
}

/// The same, also if it can't be used.
fn found(host: &PluginHost, name: &str, context: &Context) -> Result<Discovered, Failure> {
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

fn unusable(found: &Discovered) -> Failure {
    match &found.result {
        Err(error) => failure::of_plugin(error),
        Ok(_) => {
            Failure::new(Exit::Failed, "the plugin changed while it was looked at").advise("run it again")
        }
    }
}

/// Where plugins were looked for.
fn places(context: &Context) -> String {
    let places = context
        .plugin_dirs
        .iter()
        .map(|place| place.display().to_string());
    places.collect::<Vec<_>>().join(", ")
}
