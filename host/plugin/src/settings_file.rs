//! Settings that a file of the user fills: the login file of another program, in the shapes that such files have.
//!
//! The user names the file by a setting of type `file`; plugin.toml says which of its keys fill which settings. The plugin itself
//! never sees the file, and a password in it stays a secret setting. Read are plain `key = value` lines, and those in the
//! sections `[default]` and `[client]` of an ini file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::PluginError;
use crate::manifest::PluginManifest;
use crate::settings::{SettingType, SettingValue, Settings, parse_value};

/// The largest such file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The sections that count, besides the lines before the first one.
const SECTIONS: [&str; 3] = ["default", "DEFAULT", "client"];

/// Which keys of which file fill a setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileKeys {
    /// The setting of type `file` that names the file.
    pub setting: String,
    /// The keys, the first that is there.
    pub keys: Vec<String>,
}

impl FileKeys {
    /// Checks that there is such a setting.
    pub(crate) fn check(&self, manifest: &PluginManifest) -> Result<(), String> {
        let names = |setting: &&crate::manifest::SettingDeclaration| {
            setting.name == self.setting && setting.kind == SettingType::File
        };
        match manifest.settings.iter().find(names) {
            Some(_) => Ok(()),
            None => Err(format!("{:?} is no setting of type file", self.setting)),
        }
    }
}

/// Fills what nobody set from the files that the settings name.
///
/// # Errors
/// [`PluginError::Setting`] if a file can't be read or a value isn't of its setting's type.
pub(crate) fn fill(manifest: &PluginManifest, settings: &mut Settings) -> Result<(), PluginError> {
    for (name, path) in manifest.files(settings) {
        let filled = |setting: &crate::manifest::SettingDeclaration| {
            setting
                .from_file
                .as_ref()
                .is_some_and(|from| from.setting == name)
        };
        if !manifest.settings.iter().any(filled) {
            continue;
        }
        let failed = |setting: &str, why: String| PluginError::Setting {
            plugin: manifest.name.clone(),
            setting: setting.to_owned(),
            why,
        };
        let text = read(&path).map_err(|why| failed(&name, format!("names {}: {why}", path.display())))?;
        let lines = parse(&text);
        for declaration in manifest.settings.iter().filter(|declaration| filled(declaration)) {
            let keys = declaration.from_file.iter().flat_map(|from| &from.keys);
            let mut values = keys.filter_map(|key| lines.iter().rev().find(|(known, _)| known == key));
            let Some((_, value)) = values.next() else { continue };
            if settings.get(&declaration.name).is_some() {
                continue;
            }
            let value: SettingValue = parse_value(declaration.kind, value).map_err(|why| {
                failed(
                    &declaration.name,
                    format!("{why}; it comes from {}", path.display()),
                )
            })?;
            settings.set(&declaration.name, value);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let words = |error: std::io::Error| {
        let text = error.to_string();
        text.split(" (os error").next().unwrap_or_default().to_owned()
    };
    if !std::fs::metadata(path).map_err(words)?.is_file() {
        return Err("it isn't a file".to_owned());
    }
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(words)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|_| "it isn't text".to_owned())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(text)
}

/// The keys and values that count, in order.
fn parse(text: &str) -> Vec<(String, Zeroizing<String>)> {
    let mut found = Vec::new();
    // None before the first section.
    let mut counts = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            counts = Some(SECTIONS.contains(&name.trim()));
            continue;
        }
        if line.starts_with(['#', ';']) || counts == Some(false) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        // Other programs take either sign in the name of an option.
        let key = key.trim().replace('_', "-");
        found.push((
            key,
            Zeroizing::new(unquoted(value.trim(), counts.is_none()).to_owned()),
        ));
    }
    found
}

/// The value without its quotes; what stands behind a `#` is a remark in plain files, as the original has it.
fn unquoted(value: &str, plain: bool) -> &str {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote).and_then(|rest| {
            let end = rest.rfind(quote)?;
            let behind = rest[end + 1..].trim_start();
            (behind.is_empty() || plain && behind.starts_with('#')).then_some(&rest[..end])
        });
        if let Some(inside) = inside {
            return inside;
        }
    }
    let remark = if plain { value.find('#') } else { None };
    value[..remark.unwrap_or(value.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let found = parse(text).into_iter();
        found.map(|(key, value)| (key, value.to_string())).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn plain_lines_are_read_as_the_original_reads_them() {
        let text =
            "# login\nhost = 127.0.0.1\nuser=freezer # who\npassword='a # b'\n\nport=\t3307\nnonsense\n";
        let expected = [
            pair("host", "127.0.0.1"),
            pair("user", "freezer"),
            pair("password", "a # b"),
            pair("port", "3307"),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn of_an_ini_file_the_sections_for_clients_count() {
        let text = "[mysqld]\nport = 1\n[default]\nuser = a#b\npassword = \"x\"y\"\n[client]\nssl_ca = /ca\n[mysqldump]\nuser = z";
        let expected = [
            pair("user", "a#b"),
            pair("password", "x\"y"),
            pair("ssl-ca", "/ca"),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn odd_quotes_do_no_harm() {
        for value in ["", "\"", "'", "\"\"", "'a", "a'", "\"a\" b", "#", "é#é"] {
            for plain in [true, false] {
                assert!(value.contains(unquoted(value, plain)), "{value}");
            }
        }
    }
}
