//! plugin.toml: what a plugin says about itself, read from its component without compiling it.
//!
//! It travels as the custom section `freezer:plugin.toml` at the top level of the component, exactly once. The major
//! version of the contract is judged before anything else, so that a newer plugin gets a message about its
//! version, not about keys that this host doesn't know. The text is hostile input: every length has a ceiling.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::contract;
use crate::error::{CONTRACT, PluginError};
use crate::grants::GrantSet;
use crate::settings::{SettingType, SettingValue, Settings, default_value, parse_value};
use crate::settings_file::{self, FileKeys};
use crate::url::{UrlPart, UrlParts};

/// The largest plugin.toml; ours have 1 KiB.
pub const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// The most settings one plugin may declare, so that `--help` stays readable.
const MAX_SETTINGS: usize = 128;
/// The longest name of a plugin, a setting or a scheme.
const MAX_NAME: usize = 32;

/// The most environment variables that may fill one setting.
const MAX_VARIABLES: usize = 16;
/// The longest name of an environment variable.
const MAX_VARIABLE: usize = 64;
/// Variables that begin so are ours: any plugin may read them.
const OWN_VARIABLES: &str = "FREEZER_";

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Makes an application consistent and says what to back up.
    Mode,
    /// A place for objects.
    Storage,
}

impl fmt::Display for PluginKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Mode => "mode",
            Self::Storage => "storage",
        })
    }
}

/// One setting that a plugin declares.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SettingDeclaration {
    /// Its name, also the option's: kebab-case.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: SettingType,
    /// Whether a run without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Whether it must never be shown and only reaches the plugin through `control.secret`.
    #[serde(default)]
    pub secret: bool,
    /// The value where none is given.
    #[serde(default)]
    pub default: Option<toml::Value>,
    /// One line for `--help`.
    pub help: String,
    /// The piece of the URL that fills it.
    #[serde(default)]
    pub from_url: Option<UrlPart>,
    /// The keys of a file that fill it where nothing else does.
    #[serde(default)]
    pub from_file: Option<FileKeys>,
    /// Other names of the option: those of the original.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Environment variables that fill it where nothing else does, the first that is set. Those of a plugin whose digest isn't
    /// pinned must begin with `FREEZER_`, so that no stranger reads another program's variables.
    #[serde(default)]
    pub environment: Vec<String>,
}

/// What a plugin says about itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginManifest {
    /// Its name: `[a-z][a-z0-9-]*`, at most 32 bytes.
    pub name: String,
    /// What it is for.
    pub kind: PluginKind,
    /// Its own version.
    pub version: String,
    /// The contract version that it was built for.
    pub contract: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// One line about it.
    pub description: String,
    /// The URL schemes that it serves; storages only.
    #[serde(default)]
    pub schemes: Vec<String>,
    /// The settings that it takes.
    #[serde(default, rename = "setting")]
    pub settings: Vec<SettingDeclaration>,
    /// What it asks to be granted; holes like `{path}` are filled from its settings.
    #[serde(default)]
    pub grants: GrantSet,
}

/// What is wrong with a plugin.toml.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The component has no such section at its top level.
    #[error("there is none inside: pack the component with its plugin.toml")]
    Missing,
    /// The component has several.
    #[error("there are {0} of them inside, exactly one is allowed")]
    Several(usize),
    /// It is larger than any plugin.toml may be.
    #[error("it has {0} bytes, at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLarge(usize),
    /// It isn't TOML, or not of this shape.
    #[error("{0}")]
    Syntax(String),
    /// A value is not allowed.
    #[error("{key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
    /// The plugin was built for another major version of the contract.
    #[error("it needs plugin contract {wanted}, this freezer speaks {CONTRACT}")]
    Contract {
        /// The version that it asks for.
        wanted: String,
        /// The plugin's name, if it can be read.
        name: Option<String>,
    },
}

impl PluginManifest {
    /// Reads a plugin.toml.
    ///
    /// # Errors
    /// [`ManifestError`] names the key and what is wrong; `Contract` comes before all others.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(text.len()));
        }
        let text =
            std::str::from_utf8(text).map_err(|_| ManifestError::Syntax("it isn't UTF-8".to_owned()))?;
        let table: toml::Table =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(one_line(&error)))?;
        contract::check_declared(&table)?;
        let manifest: Self = toml::from_str(text).map_err(|error| ManifestError::Syntax(one_line(&error)))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The declaration of a setting, by its name or an alias.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&SettingDeclaration> {
        self.settings
            .iter()
            .find(|setting| setting.name == name || setting.aliases.iter().any(|alias| alias == name))
    }

    /// Reads the value of a setting from the text of an option or of an ini file; answers its proper name too.
    ///
    /// # Errors
    /// [`PluginError::Setting`] if the plugin has no such setting or the text isn't of its type.
    pub fn parse_setting(&self, name: &str, text: &str) -> Result<(String, SettingValue), PluginError> {
        let Some(setting) = self.setting(name) else {
            return Err(self.bad_setting(name, "isn't one of this plugin's"));
        };
        let value = parse_value(setting.kind, text).map_err(|why| self.bad_setting(&setting.name, why))?;
        Ok((setting.name.clone(), value))
    }

    /// Takes the settings out of a URL that one of the plugin's schemes serves.
    ///
    /// # Errors
    /// [`PluginError::Setting`] if the URL has another shape than the plugin's settings expect.
    pub fn settings_from_url(&self, url: &str) -> Result<Settings, PluginError> {
        let parts = UrlParts::parse(url).map_err(|why| self.bad_setting("url", why))?;
        let mut settings = Settings::new();
        for setting in &self.settings {
            let Some(text) = setting.from_url.and_then(|part| parts.get(part)) else {
                continue;
            };
            let value =
                parse_value(setting.kind, text).map_err(|why| self.bad_setting(&setting.name, why))?;
            settings.set(&setting.name, value);
        }
        settings.set_url(&parts.shown);
        Ok(settings)
    }

    /// Checks settings against their declarations, fills in the defaults, and makes paths absolute that are used as
    /// granted roots.
    ///
    /// # Errors
    /// [`PluginError::Setting`] for an unknown name, a wrong type, or a required one that is missing.
    pub fn complete(&self, mut settings: Settings) -> Result<Settings, PluginError> {
        for (name, value) in settings.iter() {
            let Some(setting) = self.settings.iter().find(|setting| setting.name == name) else {
                return Err(self.bad_setting(name, "isn't one of this plugin's"));
            };
            if !setting.kind.holds(value) {
                return Err(self.bad_setting(name, format!("must be {}", setting.kind)));
            }
        }
        settings_file::fill(self, &mut settings)?;
        for setting in &self.settings {
            if settings.get(&setting.name).is_some() {
                continue;
            }
            if let Some(default) = &setting.default {
                let value = default_value(setting.kind, default)
                    .map_err(|why| self.bad_setting(&setting.name, why))?;
                settings.set(&setting.name, value);
            } else if setting.required {
                return Err(self.bad_setting(&setting.name, format!("is missing ({})", setting.help)));
            }
        }
        for root in self.grants.root_settings() {
            if let Some(SettingValue::Text(path)) = settings.get(root) {
                let absolute = std::path::absolute(path)
                    .map_err(|error| self.bad_setting(root, format!("is no usable path: {error}")))?;
                let Some(text) = absolute.to_str().map(str::to_owned) else {
                    return Err(
                        self.bad_setting(root, "must be valid UTF-8 together with the current directory")
                    );
                };
                let root = root.to_owned();
                settings.set(&root, SettingValue::Text(text));
            }
        }
        Ok(settings)
    }

    /// Checks that grants fit this plugin: that their holes and secrets are settings of it.
    ///
    /// # Errors
    /// What doesn't fit, in words that follow a colon.
    pub fn check_grants(&self, grants: &GrantSet) -> Result<(), String> {
        grants.check(self)
    }

    /// Holds a plugin that wasn't built together with this program to our own variables: others belong to other
    /// programs and may hold their passwords.
    ///
    /// # Errors
    /// [`ManifestError::Value`] names the setting and the variable.
    pub(crate) fn check_foreign_variables(&self) -> Result<(), ManifestError> {
        let foreign = self.settings.iter().find_map(|setting| {
            let mut names = setting.environment.iter();
            let name = names.find(|name| !name.starts_with(OWN_VARIABLES))?;
            Some((setting, name))
        });
        match foreign {
            None => Ok(()),
            Some((setting, name)) => Err(bad(
                &format!("setting {}: environment", setting.name),
                format!(
                    "{name} belongs to another program: a plugin that wasn't built together with this one reads \
                     variables that begin with {OWN_VARIABLES} only"
                ),
            )),
        }
    }

    /// The settings that may be shown and written down.
    pub(crate) fn without_secrets(&self, settings: &Settings) -> Settings {
        let mut shown = Settings::new();
        for (name, value) in settings.iter() {
            if !self
                .settings
                .iter()
                .any(|setting| setting.secret && setting.name == name)
            {
                shown.set(name, value.clone());
            }
        }
        shown
    }

    /// The paths of settings of type `file` that are set.
    pub(crate) fn files(&self, settings: &Settings) -> BTreeMap<String, PathBuf> {
        let files = self
            .settings
            .iter()
            .filter(|setting| setting.kind == SettingType::File);
        let path = |name: &str| match settings.get(name) {
            Some(SettingValue::Text(path)) if !path.is_empty() => Some(PathBuf::from(path)),
            _ => None,
        };
        files
            .filter_map(|setting| Some((setting.name.clone(), path(&setting.name)?)))
            .collect()
    }

    /// The settings of type `flag` that are true.
    pub(crate) fn flags(&self, settings: &Settings) -> BTreeSet<String> {
        let is_set = |name: &str| settings.get(name) == Some(&SettingValue::Flag(true));
        let set = self.settings.iter().filter(|setting| is_set(&setting.name));
        set.map(|setting| setting.name.clone()).collect()
    }

    fn bad_setting(&self, setting: &str, why: impl Into<String>) -> PluginError {
        PluginError::Setting {
            plugin: self.name.clone(),
            setting: setting.to_owned(),
            why: why.into(),
        }
    }

    /// Holds the rules that the types can't.
    fn check(&self) -> Result<(), ManifestError> {
        check_name("name", &self.name)?;
        if self.settings.len() > MAX_SETTINGS {
            return Err(bad(
                "setting",
                format!(
                    "{} of them, at most {MAX_SETTINGS} are allowed",
                    self.settings.len()
                ),
            ));
        }
        for (key, text) in [
            ("version", &self.version),
            ("license", &self.license),
            ("description", &self.description),
        ] {
            check_line(key, text)?;
        }
        match self.kind {
            PluginKind::Storage if self.schemes.is_empty() => {
                return Err(bad("schemes", "a storage serves at least one URL scheme"));
            }
            PluginKind::Mode if !self.schemes.is_empty() => {
                return Err(bad("schemes", "only a storage serves URL schemes"));
            }
            _ => {}
        }
        for scheme in &self.schemes {
            check_name("schemes", scheme)?;
        }
        let mut names = BTreeSet::new();
        for setting in &self.settings {
            check_name("setting.name", &setting.name)?;
            check_line(&format!("setting {}: help", setting.name), &setting.help)?;
            for name in std::iter::once(&setting.name).chain(&setting.aliases) {
                if !names.insert(name.as_str()) {
                    return Err(bad(
                        &format!("setting {}", setting.name),
                        format!("the name {name:?} is taken twice"),
                    ));
                }
            }
            if let Some(default) = &setting.default {
                default_value(setting.kind, default)
                    .map_err(|why| bad(&format!("setting {}: default", setting.name), why))?;
            }
            check_variables(setting)?;
            if let Some(from) = &setting.from_file {
                from.check(self)
                    .map_err(|why| bad(&format!("setting {}: from-file", setting.name), why))?;
            }
        }
        self.grants.check(self).map_err(|why| bad("grants", why))
    }
}

/// Holds the environment variables of a setting to names of a sane number and shape.
fn check_variables(setting: &SettingDeclaration) -> Result<(), ManifestError> {
    let key = format!("setting {}: environment", setting.name);
    if setting.environment.len() > MAX_VARIABLES {
        let count = setting.environment.len();
        return Err(bad(
            &key,
            format!("{count} of them, at most {MAX_VARIABLES} are allowed"),
        ));
    }
    for name in &setting.environment {
        let letters = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let good = name.len() <= MAX_VARIABLE
            && name
                .bytes()
                .next()
                .is_some_and(|first| first.is_ascii_uppercase())
            && name.bytes().all(letters);
        if !good {
            return Err(bad(
                &key,
                format!(
                    "{:?} must be upper-case letters, digits and _, at most {MAX_VARIABLE}",
                    shorten(name)
                ),
            ));
        }
    }
    Ok(())
}

/// Holds names to `[a-z][a-z0-9-]*`.
pub(crate) fn check_name(key: &str, name: &str) -> Result<(), ManifestError> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = name.len() <= MAX_NAME
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(letters);
    if good {
        Ok(())
    } else {
        Err(bad(
            key,
            format!(
                "{:?} must be lower-case letters, digits and -, at most {MAX_NAME}",
                shorten(name)
            ),
        ))
    }
}

/// Holds texts that are shown to one printable line.
fn check_line(key: &str, text: &str) -> Result<(), ManifestError> {
    if text.len() > 400 || text.chars().any(char::is_control) {
        return Err(bad(key, "must be one line of at most 400 bytes"));
    }
    Ok(())
}

pub(crate) fn bad(key: &str, why: impl Into<String>) -> ManifestError {
    ManifestError::Value {
        key: key.to_owned(),
        why: why.into(),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The parser's message on one line, without the quoted source.
fn one_line(error: &toml::de::Error) -> String {
    crate::escape::line(error.message(), 400)
}
