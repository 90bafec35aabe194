//! Whose signatures count.

use std::path::Path;

use freezer_plugin::signature::PublicKey;
use freezer_plugin::trust::{self, Revocable};
use freezer_plugin::{PluginHost, Standing};
use serde_json::json;

use super::{Context, Target, note, plugin_host};
use crate::exit::{Exit, Failure};
use crate::render::plugins::keys;
use crate::render::{Style, text};
use crate::run::failure;

/// The longest key file that is read.
const MAX_KEY_FILE: u64 = 4096;

/// Lists what is trusted and revoked.
///
/// # Errors
/// When a trust file is invalid.
pub(super) fn list(context: &Context) -> Result<Exit, Failure> {
    let host = plugin_host(context)?;
    let output = &context.output;
    match output.style {
        Style::Json => output.finish(Exit::Ok, keys::document(host.trust()))?,
        _ => match keys::table(host.trust()) {
            Some(table) => output.print(&table)?,
            None => output.note("no keys are trusted: freezer plugin trust KEY adds one"),
        },
    }
    Ok(Exit::Ok)
}

/// Trusts a key.
///
/// # Errors
/// When it is none, or the machine's file revokes it.
pub(super) fn trust(key: &str, name: &str, target: &Target<'_>) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let key = read_key(key)?;
    let file = target.file("trust.toml")?;
    let elsewhere = host.trust().revoked().iter().find(|revoked| {
        revoked.path != file.path && matches!(&revoked.what, Revocable::Key(revoked) if **revoked == key)
    });
    if let Some(revoked) = elsewhere {
        return Err(Failure::new(
            Exit::Failed,
            format!("key {} is revoked and can't be trusted", key.id()),
        )
        .because(format!("{} says so", revoked.path.display()))
        .advise("ask whoever made that file"));
    }
    trust::trust(&file, &key, name).map_err(|error| failure::of_plugin(&error))?;
    let document = json!({ "key": key.text(), "key_id": key.id(), "name": name, "file": file.path.display().to_string() });
    note(&host, "trust", document.clone());
    let output = &target.context.output;
    output.note(&format!(
        "plugins signed by key {} may be installed from now on: {}",
        key.id(),
        file.path.display()
    ));
    output.finish(Exit::Ok, document)?;
    Ok(Exit::Ok)
}

/// Revokes a key or a component.
///
/// # Errors
/// When it is neither.
pub(super) fn distrust(what: &str, why: &str, target: &Target<'_>) -> Result<Exit, Failure> {
    let host = plugin_host(target.context)?;
    let what = match what.starts_with("sha256:") {
        true => Revocable::parse(what)
            .map_err(|why| Failure::usage(why).advise("give sha256: and what sha256sum prints, or a key"))?,
        false => Revocable::Key(Box::new(read_key(what)?)),
    };
    let file = target.file("trust.toml")?;
    let hit = affected(&host, &what);
    trust::revoke(&file, &what, why).map_err(|error| failure::of_plugin(&error))?;
    let shown = match &what {
        Revocable::Key(key) => key.text().to_owned(),
        Revocable::Component(sha256) => format!("sha256:{sha256}"),
    };
    let document =
        json!({ "revoked": shown, "why": why, "plugins": hit, "file": file.path.display().to_string() });
    note(&host, "distrust", document.clone());
    let output = &target.context.output;
    output.note(&format!("revoked {shown}: {}", file.path.display()));
    for name in &hit {
        output.insist(&format!(
            "warning: plugin {name} isn't used any more; freezer plugin remove {name} removes it"
        ));
    }
    output.finish(Exit::Ok, document)?;
    Ok(Exit::Ok)
}

/// The plugins that are there and will not be loaded any more.
fn affected(host: &PluginHost, what: &Revocable) -> Vec<String> {
    let is_hit = |found: &freezer_plugin::Discovered| match what {
        Revocable::Component(sha256) => found.sha256 == *sha256,
        Revocable::Key(key) => matches!(
            host.standing(found),
            Ok(Some(Standing::Signed { key_id, .. })) if key_id == key.id()
        ),
    };
    let found = host.discover().into_iter().filter(is_hit);
    found.filter_map(|found| found.name).collect()
}

/// A key as it was written, or from its file.
fn read_key(text: &str) -> Result<PublicKey, Failure> {
    let bad = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Usage, error)
            .advise("give the line that minisign -G prints, or the file that it writes (minisign.pub)")
    };
    if !Path::new(text).is_file() {
        return PublicKey::parse(text).map_err(|error| bad(&error));
    }
    let read = || -> std::io::Result<String> {
        let mut content = String::new();
        let file = std::fs::File::open(text)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_KEY_FILE), &mut content)?;
        Ok(content)
    };
    let content = read().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("can't read the key file {}", text::lines(text)),
        )
        .because(error.to_string())
        .advise("name the file that minisign -G writes (minisign.pub), or give its second line")
    })?;
    PublicKey::parse(&content).map_err(|error| bad(&error))
}
