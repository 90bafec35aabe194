//! Gives and takes back grants.

use freezer_plugin::grant_file;
use freezer_plugin::grants::{Grant, GrantSet};
use serde_json::json;

use super::{Target, approval, named, note, plugin_host, texts};
use crate::command::Consent;
use crate::exit::{Exit, Failure};
use crate::render::text;
use crate::run::failure;

/// Allows a plugin more, pinned to the component that it is now.
///
/// # Errors
/// When there is no such plugin, or a policy forbids it.
pub(super) fn grant(name: &str, grants: &Consent, target: &Target<'_>) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let (found, manifest) = named(&host, name, target.context)?;
    let new = approval::consented(grants, &manifest);
    approval::check(&new, &manifest, &host, found.first_party)?;
    let file = target.file("grants.toml")?;
    let before =
        grant_file::read_one(&file, name, &found.sha256).map_err(|error| failure::of_plugin(&error))?;
    let added = new.without(&before);
    let after: GrantSet = before.grants().into_iter().chain(added.iter().cloned()).collect();
    grant_file::write(&file, name, &found.sha256, &after).map_err(|error| failure::of_plugin(&error))?;
    let added: GrantSet = added.into_iter().collect();
    let document = json!({
        "plugin": name,
        "sha256": found.sha256,
        "granted": texts(&added),
        "file": file.path.display().to_string(),
    });
    note(&host, "grant", document.clone());
    let output = &target.context.output;
    for grant in added.grants() {
        output.note(&format!("{name} now {}", text::lines(&grant.words(&manifest))));
    }
    if added == GrantSet::default() {
        output.note(&format!("{name} has all that already"));
    }
    output.finish(Exit::Ok, document)?;
    Ok(Exit::Ok)
}

/// Takes grants back.
///
/// # Errors
/// When there is no such plugin, or it hasn't what is to be taken.
pub(super) fn revoke(name: &str, grants: &[Grant], target: &Target<'_>) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let (found, manifest) = named(&host, name, target.context)?;
    let file = target.file("grants.toml")?;
    let before =
        grant_file::read_one(&file, name, &found.sha256).map_err(|error| failure::of_plugin(&error))?;
    let there = before.grants();
    if let Some(absent) = grants.iter().find(|grant| !there.contains(grant)) {
        return Err(not_granted(name, absent, &there, target));
    }
    let (gone, kept): (Vec<Grant>, Vec<Grant>) = there
        .into_iter()
        .partition(|grant| grants.is_empty() || grants.contains(grant));
    let kept: GrantSet = kept.into_iter().collect();
    if file.path.exists() {
        grant_file::write(&file, name, &found.sha256, &kept).map_err(|error| failure::of_plugin(&error))?;
    }
    let gone: GrantSet = gone.into_iter().collect();
    let document = json!({
        "plugin": name,
        "sha256": found.sha256,
        "revoked": texts(&gone),
        "file": file.path.display().to_string(),
    });
    note(&host, "revoke", document.clone());
    let output = &target.context.output;
    for grant in gone.grants() {
        output.note(&format!(
            "{name} no longer {}",
            text::lines(&grant.words(&manifest))
        ));
    }
    if gone == GrantSet::default() {
        output.note(&format!("{name} has no grants in {}", file.path.display()));
    }
    if found.first_party {
        output.warn("what a plugin that was built together with this program asks for can't be revoked; a policy can forbid it");
    }
    output.finish(Exit::Ok, document)?;
    Ok(Exit::Ok)
}

fn not_granted(name: &str, absent: &Grant, there: &[Grant], target: &Target<'_>) -> Failure {
    let failure = Failure::usage(format!("plugin {name} isn't granted {absent}"));
    let file = target
        .file("grants.toml")
        .map(|file| file.path.display().to_string());
    let list: Vec<String> = there.iter().map(ToString::to_string).collect();
    let list = match list.is_empty() {
        true => "nothing".to_owned(),
        false => list.join(", "),
    };
    failure
        .because(format!("{} grants it {list}", file.unwrap_or_default()))
        .advise(format!("freezer plugin inspect {name} shows all that it has"))
}
