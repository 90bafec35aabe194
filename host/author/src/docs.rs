//! A plugin's reference page, in Markdown, from its plugin.toml: what a user sets, what an operator allows, under what it runs.

use std::fmt::Write;

use freezer_plugin::limits::PluginLimits;
use freezer_plugin::manifest::SettingDeclaration;
use freezer_plugin::{PluginKind, PluginManifest, UrlPart};

/// The page.
#[must_use]
pub fn page(manifest: &PluginManifest) -> String {
    let mut page = String::new();
    // Writing into a text can't fail.
    let written = write_page(&mut page, manifest);
    debug_assert!(written.is_ok(), "a String takes everything");
    page
}

fn write_page(page: &mut String, manifest: &PluginManifest) -> std::fmt::Result {
    let kind = manifest.kind;
    writeln!(page, "# {} {}\n", capital(&kind.to_string()), manifest.name)?;
    writeln!(page, "{}.\n", cell(manifest.description.trim_end_matches('.')))?;
    writeln!(
        page,
        "Version {} · plugin contract {} · licence {}\n",
        cell(&manifest.version),
        cell(&manifest.contract),
        cell(&manifest.license)
    )?;
    writeln!(page, "```sh\n{}\n```\n", example(manifest))?;
    settings(page, manifest)?;
    grants(page, manifest)?;
    limits(page)
}

/// A command that uses it, with the settings that it can't do without.
fn example(manifest: &PluginManifest) -> String {
    let needed = manifest.settings.iter().filter(|setting| setting.required);
    match manifest.kind {
        PluginKind::Storage => {
            let scheme = manifest.schemes.first().map_or("", String::as_str);
            format!("freezer backup /etc --name etc --to {scheme}:{}", place(manifest))
        }
        PluginKind::Mode => {
            let options: String = needed
                .filter(|setting| !setting.secret)
                .map(|setting| format!(" --mode-option {}=…", setting.name))
                .collect();
            format!(
                "freezer backup /PATH --name NAME --mode {}{options} --to local:/srv/backups",
                manifest.name
            )
        }
    }
}

/// What follows the scheme of its URLs.
fn place(manifest: &PluginManifest) -> String {
    let named = |part: UrlPart| {
        let setting = manifest
            .settings
            .iter()
            .find(|setting| setting.from_url == Some(part));
        setting.map(|setting| setting.name.to_uppercase())
    };
    if let Some(rest) = named(UrlPart::Rest) {
        return rest;
    }
    let Some(host) = named(UrlPart::Host) else {
        return String::new();
    };
    let user = named(UrlPart::User)
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let port = named(UrlPart::Port)
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = named(UrlPart::Path)
        .map(|path| format!("/{path}"))
        .unwrap_or_default();
    format!("//{user}{host}{port}{path}")
}

fn settings(page: &mut String, manifest: &PluginManifest) -> std::fmt::Result {
    writeln!(page, "## Settings\n")?;
    if manifest.settings.is_empty() {
        return writeln!(page, "None.\n");
    }
    writeln!(page, "| Setting | Value | Default | |\n|---|---|---|---|")?;
    for setting in &manifest.settings {
        let default = match (&setting.default, setting.required) {
            (Some(value), _) => format!("`{}`", cell(&value.to_string())),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        writeln!(
            page,
            "| `{}` | {} | {default} | {} |",
            setting.name,
            cell(&setting.kind.to_string()),
            told(setting)
        )?;
    }
    writeln!(page)
}

/// The help of a setting, and where else it can come from.
fn told(setting: &SettingDeclaration) -> String {
    let mut sentences = vec![cell(&setting.help)];
    if setting.secret {
        sentences.push("Secret: the plugin learns it only if it is granted".to_owned());
    }
    if let Some(part) = setting.from_url {
        let part = match part {
            UrlPart::Rest => "all of the URL after the scheme",
            UrlPart::Host => "the URL's host",
            UrlPart::Port => "the URL's port",
            UrlPart::User => "the URL's user",
            UrlPart::Path => "the URL's path",
        };
        sentences.push(format!("Filled from {part}"));
    }
    let quoted = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", cell(name))).collect();
        names.join(", ")
    };
    if !setting.environment.is_empty() {
        sentences.push(format!("Else from {}", quoted(&setting.environment)));
    }
    if !setting.aliases.is_empty() {
        sentences.push(format!("Also {}", quoted(&setting.aliases)));
    }
    sentences.join(". ")
}

fn grants(page: &mut String, manifest: &PluginManifest) -> std::fmt::Result {
    writeln!(page, "## Grants\n")?;
    let asked = manifest.grants.grants();
    if asked.is_empty() {
        writeln!(page, "It asks for nothing.\n")?;
    } else {
        writeln!(page, "It asks that it\n")?;
        for grant in &asked {
            writeln!(
                page,
                "* {} (`{}`)",
                cell(&grant.words(manifest)),
                cell(&grant.to_string())
            )?;
        }
        writeln!(page)?;
    }
    let denials = manifest.grants.denials();
    if !denials.is_empty() {
        writeln!(page, "Whatever it tries, it {}.\n", denials.join(", "))?;
    }
    Ok(())
}

fn limits(page: &mut String) -> std::fmt::Result {
    let limits = PluginLimits::default();
    writeln!(
        page,
        "## Limits\n\n{} MiB of memory, {} s of computing and {} s in all for one call, {} handles, {} log lines a second, unless the \
         operator changes them.",
        limits.memory_bytes >> 20,
        limits.cpu.as_secs(),
        limits.call.as_secs(),
        limits.handles,
        limits.log_lines
    )
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// A text that breaks no table and starts no markup.
fn cell(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '|' | '<' => {
                plain.push('\\');
                plain.push(letter);
            }
            letter if letter.is_control() => plain.push(' '),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_settings_grants_and_limits() {
        let manifest = PluginManifest::parse(include_bytes!("../../../plugins/storages/local/plugin.toml"));
        let page = page(&manifest.unwrap());
        for line in [
            "# Storage local",
            "freezer backup /etc --name etc --to local:PATH",
            "| `path` | text | required | The absolute path of the directory that holds the backups; made at the first backup. \
             Filled from all of the URL after the scheme. Also `container` |",
            "* may read, write and delete files in what its setting path names (`files={path}:read-write`)",
            "64 MiB of memory, 10 s of computing",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_makers_text_breaks_no_table() {
        assert_eq!(cell("a|b\n<c>"), "a\\|b \\<c>");
    }
}
