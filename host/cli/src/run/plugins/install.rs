//! Installs, updates and removes plugins: look, judge, show, ask, and only then write.

use std::path::Path;

use freezer_pipeline::cancel::Cancel;
use freezer_plugin::fetch::{self, Fetched};
use freezer_plugin::grants::{Grant, GrantSet};
use freezer_plugin::installed::{self, Record};
use freezer_plugin::pack::{PackError, PackedPlugin};
use freezer_plugin::{Discovered, Plugin, PluginError, PluginHost, Standing, grant_file};
use serde_json::json;

use super::approval::{self, Request, quote};
use super::{Target, note, plugin_host, texts};
use crate::command::{Accept, Consent, Renewal};
use crate::exit::{Exit, Failure};
use crate::render::plugins::offer::{Change, Offer};
use crate::render::{text, units};
use crate::run::failure;
use crate::run::session::instant_now;
use crate::signals::Signals;

/// A plugin that passed the door, and how it came.
struct Candidate {
    packed: PackedPlugin,
    source: String,
    standing: Standing,
}

/// Installs a plugin.
///
/// # Errors
/// When it isn't one, isn't let in or isn't approved; nothing is changed then.
pub(super) fn install(
    source: &str,
    accept: &Accept,
    consent: Option<&Consent>,
    target: &Target<'_>,
) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let directory = target.plugin_dir()?;
    let candidate = candidate(source, accept, &host)?;
    let name = candidate.packed.manifest().name.clone();
    let installed = at(&host, &directory.join(format!("{name}.wasm")));
    if let Some(installed) = &installed
        && let Ok(manifest) = &installed.result
    {
        host.judge_version(&candidate.packed, &manifest.version, accept.downgrade)
            .map_err(|error| failure::of_plugin(&error))?;
    }
    let granted = match consent {
        Some(consent) => approval::consented(consent, candidate.packed.manifest()),
        None => {
            let command = format!(
                "freezer plugin install {}{}{}",
                quote(source),
                accept_options(accept),
                target.option()
            );
            let request = Request {
                page: page(&candidate, None, &host),
                command,
                proposed: &permitted(candidate.packed.manifest().grants.grants(), &host),
                question: "Install it and allow all that it asks for? [yes/no, or none to install it without any grant]",
            };
            approval::ask(&request, target.context)?
        }
    };
    finish("install", &candidate, &granted, (&host, target))
}

/// Puts another version in the place of an installed plugin.
///
/// # Errors
/// As [`install`]; when there is none of that name.
pub(super) fn update(
    (name, source): (&str, Option<&str>),
    accept: &Accept,
    consent: Option<&Renewal>,
    target: &Target<'_>,
) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let path = target.plugin_dir()?.join(format!("{name}.wasm"));
    let installed = at(&host, &path).ok_or_else(|| not_installed(name, target))?;
    let recorded = installed.record.as_ref().map(|record| record.source.as_str());
    let source = source.or(recorded).ok_or_else(|| {
        Failure::usage(format!("it isn't known where plugin {name} came from"))
            .advise(format!("freezer plugin update {name} FILE|DIR|URL"))
    })?;
    let candidate = candidate(source, accept, &host)?;
    let manifest = candidate.packed.manifest();
    if manifest.name != name {
        return Err(
            Failure::usage(format!("{source} holds plugin {}, not {name}", manifest.name))
                .advise("name the source of that plugin"),
        );
    }
    if installed.sha256 == candidate.packed.sha256() {
        let output = &target.context.output;
        output.note(&format!(
            "{name} {} is what is installed already",
            text::lines(&manifest.version)
        ));
        output.finish(
            Exit::Ok,
            json!({ "name": name, "sha256": installed.sha256, "changed": false }),
        )?;
        return Ok(Exit::Ok);
    }
    if let Ok(old) = &installed.result {
        host.judge_version(&candidate.packed, &old.version, accept.downgrade)
            .map_err(|error| failure::of_plugin(&error))?;
    }
    let before = Plugin::of(&installed)
        .map(|plugin| host.granted(&plugin))
        .unwrap_or_default();
    let granted = match consent {
        Some(Renewal { keep, more }) => {
            let more = approval::consented(more, manifest);
            let kept = before.grants().into_iter().filter(|_| *keep);
            let added = more.without(&before).into_iter();
            match keep {
                true => kept.chain(added).collect(),
                false => more,
            }
        }
        None => {
            let grants = before
                .grants()
                .into_iter()
                .chain(manifest.grants.without(&before));
            let proposed = permitted(grants.collect(), &host);
            let change = Change {
                installed: &installed,
                before: &before,
            };
            let request = Request {
                page: page(&candidate, Some(&change), &host),
                command: format!(
                    "freezer plugin update {name} {}{}{}",
                    quote(source),
                    accept_options(accept),
                    target.option()
                ),
                proposed: &proposed,
                question: "Update it, renew its grants and allow what it asks for? [yes/no, or none to update it without any grant]",
            };
            approval::ask(&request, target.context)?
        }
    };
    finish("update", &candidate, &granted, (&host, target))
}

/// Removes an installed plugin and what it was granted.
///
/// # Errors
/// When there is none of that name, or it can't be removed.
pub(super) fn remove(name: &str, target: &Target<'_>) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let path = target.plugin_dir()?.join(format!("{name}.wasm"));
    let installed = at(&host, &path).ok_or_else(|| not_installed(name, target))?;
    installed::remove(&path).map_err(|error| failure::of_plugin(&error))?;
    let file = target.file("grants.toml")?;
    if file.path.exists() {
        grant_file::write(&file, name, "", &GrantSet::default())
            .map_err(|error| failure::of_plugin(&error))?;
    }
    note(
        &host,
        "remove",
        json!({ "plugin": name, "sha256": installed.sha256, "file": path.display().to_string() }),
    );
    let output = &target.context.output;
    output.note(&format!("removed {name} and its grants: {}", path.display()));
    output.finish(
        Exit::Ok,
        json!({ "name": name, "file": path.display().to_string() }),
    )?;
    Ok(Exit::Ok)
}

/// Fetches or reads a plugin and lets it in, before anything is shown or written.
fn candidate(source: &str, accept: &Accept, host: &PluginHost) -> Result<Candidate, Failure> {
    let mut ask = accept.ask.clone();
    let (packed, source) = match fetch::is_url(source) {
        true => {
            let cancel = Cancel::new();
            let _signals = Signals::watch(cancel.clone())?;
            let fetched = fetch::fetch(source, accept.authorities.as_deref(), &cancel);
            let Fetched { packed, plain_http } = fetched.map_err(|error| of_pack(&error))?;
            ask.plain_http = plain_http;
            (packed, source.to_owned())
        }
        false => {
            let packed = PackedPlugin::read(Path::new(source)).map_err(|error| of_pack(&error))?;
            // A later update starts from anywhere.
            let absolute = std::path::absolute(source).unwrap_or_else(|_| source.into());
            (packed, absolute.display().to_string())
        }
    };
    let judged = host.judge_install(&packed, &ask);
    let standing = judged.map_err(|error| failure::of_plugin(&error))?;
    host.check_links(&packed)
        .map_err(|error| failure::of_plugin(&error))?;
    Ok(Candidate {
        packed,
        source,
        standing,
    })
}

/// Writes what was approved: the component first, then its grants, so that no grant is ever there for what isn't.
fn finish(
    event: &str,
    candidate: &Candidate,
    granted: &GrantSet,
    (host, target): (&PluginHost, &Target<'_>),
) -> Result<Exit, Failure> {
    let (packed, manifest) = (&candidate.packed, candidate.packed.manifest());
    approval::check(granted, manifest, host, false)?;
    let record = Record {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        sha256: packed.sha256().to_owned(),
        source: candidate.source.clone(),
        time: instant_now(),
        signature: packed.signature().map(|signature| signature.text().to_owned()),
    };
    let failed = |error| failure::of_plugin(&error);
    let path = installed::install(&target.plugin_dir()?, packed, &record).map_err(failed)?;
    let file = target.file("grants.toml")?;
    // A table of an older component is voided too.
    if *granted != GrantSet::default() || file.path.exists() {
        grant_file::write(&file, &manifest.name, packed.sha256(), granted).map_err(failed)?;
    }
    let document = json!({
        "plugin": manifest.name,
        "version": manifest.version,
        "sha256": packed.sha256(),
        "source": record.source,
        "file": path.display().to_string(),
        "signature": candidate.standing.to_string(),
        "granted": texts(granted),
    });
    note(host, event, document.clone());
    let output = &target.context.output;
    let done = match event {
        "install" => "installed",
        _ => "updated",
    };
    output.note(&format!(
        "{done} {} {} with {}: {}",
        manifest.name,
        text::lines(&manifest.version),
        units::counted(granted.grants().len() as u64, "grant", "grants"),
        path.display()
    ));
    output.finish(Exit::Ok, document)?;
    Ok(Exit::Ok)
}

/// Those that no policy forbids: nobody can approve the others.
fn permitted(grants: Vec<Grant>, host: &PluginHost) -> GrantSet {
    let permitted = |grant: &Grant| host.forbids(grant, false).is_none();
    grants.into_iter().filter(permitted).collect()
}

fn page(candidate: &Candidate, change: Option<&Change<'_>>, host: &PluginHost) -> String {
    let offer = Offer {
        packed: &candidate.packed,
        source: &candidate.source,
        standing: &candidate.standing,
    };
    offer.page(change, |grant| host.forbids(grant, false))
}

/// What lies at exactly this place.
fn at(host: &PluginHost, path: &Path) -> Option<Discovered> {
    host.look_at(path)
}

fn not_installed(name: &str, target: &Target<'_>) -> Failure {
    let failure = Failure::new(Exit::NothingFound, format!("no plugin {name} is installed"));
    match target.plugin_dir() {
        Ok(directory) => failure.because(format!("there is no {name}.wasm in {}", directory.display())),
        Err(_) => failure,
    }
    .advise("freezer plugin list shows where plugins are")
}

/// The options that were given to accept a component.
fn accept_options(accept: &Accept) -> String {
    let mut options = String::new();
    if accept.ask.allow_unsigned {
        options.push_str(" --allow-unsigned");
    }
    if let Some(sha256) = &accept.ask.sha256 {
        options.push_str(&format!(" --sha256 {sha256}"));
    }
    if accept.downgrade {
        options.push_str(" --allow-downgrade");
    }
    if let Some(authorities) = &accept.authorities {
        options.push_str(&format!(" --cacert {}", quote(&authorities.to_string_lossy())));
    }
    options
}

/// A component that can't be taken, with what to do about it.
pub(super) fn of_pack(error: &PackError) -> Failure {
    match error {
        PackError::Plugin(
            error @ (PluginError::Unreadable { .. }
            | PluginError::NotAPlugin { .. }
            | PluginError::Manifest { .. }),
        ) => Failure::from_error(Exit::Failed, error)
            .advise("name a packed plugin: NAME-VERSION.wasm, a folder that holds it, or its URL"),
        PackError::Plugin(error) => failure::of_plugin(error),
        PackError::NotOne { .. } => Failure::from_error(Exit::Usage, error).advise("name the file itself"),
        PackError::Signature { path, .. } => Failure::from_error(Exit::Failed, error).advise(format!(
            "get the right signature, or take {path:?} away and give --allow-unsigned"
        )),
        PackError::File { .. } => {
            Failure::from_error(Exit::Failed, error).advise("make it readable for this user")
        }
    }
}
