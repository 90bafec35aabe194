//! The settings of a plugin, from everywhere they may come from.
//!
//! The nearest to the user wins: URL, command line, section of the storage, other sections of the configuration file,
//! osrc file, clouds.yaml, environment, the plugin's own default. Only now the plugin's manifest is known: which
//! setting is secret, which one names a file, which variables may fill it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use freezer_plugin::manifest::SettingDeclaration;
use freezer_plugin::{PluginError, PluginManifest, SettingType, SettingValue, Settings};

use super::layer::{Origin, Setting};
use super::{Config, clouds, osrc};
use crate::command::StorageSpec;
use crate::exit::{Exit, Failure};

/// Settings that say where variables are; they are ours and never reach a plugin.
const OSRC: &str = "osrc";
/// See [`OSRC`].
const CLOUD: &str = "os-cloud";
/// The longest first line of a file with a secret: keys and tokens have some kilobytes at most.
const MAX_SECRET: u64 = 64 << 10;

/// A plugin's settings, and what a user should know about them.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// The settings, typed.
    pub(crate) settings: Settings,
    /// Secrets that others can read, settings that fit no plugin.
    pub(crate) warnings: Vec<String>,
}

/// One source of variables.
struct Source {
    /// By name; `None` hides the sources below.
    variables: BTreeMap<String, Option<String>>,
    /// The files that it was read from.
    files: Vec<PathBuf>,
    /// What it is, for messages.
    name: String,
}

impl Config {
    /// The settings of a storage.
    ///
    /// # Errors
    /// A setting that is unknown, of the wrong type, given twice, or a secret for all to see.
    pub(crate) fn storage_settings(
        &self,
        manifest: &PluginManifest,
        spec: &StorageSpec,
    ) -> Result<Assembled, Failure> {
        let mut assembly = self.assembly(manifest, spec.shared);
        let from_url = manifest.settings_from_url(&spec.url);
        assembly.settings = from_url.map_err(|error| of_plugin(&error))?;
        assembly.take_given(&spec.settings)?;
        for source in self.sources(manifest, &spec.settings, &mut assembly.warnings)? {
            assembly.take_variables(&source)?;
        }
        Ok(assembly.finish())
    }

    /// The settings of a mode.
    ///
    /// # Errors
    /// As [`Config::storage_settings`].
    pub(crate) fn mode_settings(
        &self,
        manifest: &PluginManifest,
        given: &[(String, Setting)],
    ) -> Result<Assembled, Failure> {
        let mut assembly = self.assembly(manifest, false);
        assembly.take_given(given)?;
        for source in self.sources(manifest, given, &mut assembly.warnings)? {
            assembly.take_variables(&source)?;
        }
        Ok(assembly.finish())
    }

    fn assembly<'a>(&'a self, manifest: &'a PluginManifest, shared: bool) -> Assembly<'a> {
        Assembly {
            config: self,
            manifest,
            shared,
            settings: Settings::new(),
            origins: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Where variables are looked for, the nearest to the user first; nothing is read for a plugin that takes none.
    fn sources(
        &self,
        manifest: &PluginManifest,
        given: &[(String, Setting)],
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Source>, Failure> {
        let taken: Vec<&String> = manifest
            .settings
            .iter()
            .flat_map(|setting| &setting.environment)
            .collect();
        let mut sources = Vec::new();
        if taken.is_empty() {
            return Ok(sources);
        }
        if let Some(file) = nearest(given, OSRC) {
            let path = self.expand_home(PathBuf::from(file));
            let read = osrc::read(&path).map_err(|error| {
                Failure::from_error(Exit::Usage, &error).advise("name a readable file with osrc")
            })?;
            warnings.extend(read.warnings);
            sources.push(Source {
                variables: read
                    .variables
                    .into_iter()
                    .map(|(name, value)| (name, Some(value)))
                    .collect(),
                name: format!("{path:?}"),
                files: vec![path],
            });
        }
        let of_openstack = taken.iter().any(|name| name.starts_with("OS_"));
        let cloud = nearest(given, CLOUD).or_else(|| self.environment.variables.get("OS_CLOUD"));
        if let Some(cloud) = cloud.filter(|_| of_openstack) {
            let login = clouds::login(cloud, &self.cloud_places()).map_err(|error| {
                Failure::from_error(Exit::Usage, &error)
                    .advise("name another cloud with --os-cloud, or write its login into an osrc file")
            })?;
            sources.push(Source {
                variables: login.variables,
                files: login.files,
                name: format!("cloud {cloud:?}"),
            });
        }
        let variables = taken.into_iter().filter_map(|name| {
            Some((
                name.clone(),
                Some(self.environment.variables.get(name)?.to_owned()),
            ))
        });
        sources.push(Source {
            variables: variables.collect(),
            files: Vec::new(),
            name: "the environment".to_owned(),
        });
        Ok(sources)
    }

    /// Where clouds.yaml and secure.yaml are looked for.
    fn cloud_places(&self) -> Vec<PathBuf> {
        let mut places = vec![PathBuf::from(".")];
        places.extend(
            self.environment
                .config_home
                .iter()
                .map(|home| home.join("openstack")),
        );
        places.push(PathBuf::from("/etc/openstack"));
        places
    }
}

/// The text of one of our own settings, where it is nearest to the user.
fn nearest<'a>(given: &'a [(String, Setting)], name: &str) -> Option<&'a str> {
    let all = given.iter().filter(|(own, _)| own == name);
    all.min_by_key(|(_, setting)| setting.origin)
        .map(|(_, setting)| setting.text.as_str())
}

/// Settings on their way to be complete.
struct Assembly<'a> {
    config: &'a Config,
    manifest: &'a PluginManifest,
    shared: bool,
    settings: Settings,
    /// Where the settings were given that are no part of the URL.
    origins: BTreeMap<String, Origin>,
    warnings: Vec<String>,
}

impl Assembly<'_> {
    /// Takes what was given in so many words, the nearest first.
    fn take_given(&mut self, given: &[(String, Setting)]) -> Result<(), Failure> {
        let mut given: Vec<&(String, Setting)> = given
            .iter()
            .filter(|(name, _)| {
                self.manifest.setting(name).is_some() || ![OSRC, CLOUD].contains(&name.as_str())
            })
            .collect();
        given.sort_by_key(|(_, setting)| setting.origin);
        for (name, setting) in given {
            let Some(declared) = self.manifest.setting(name) else {
                self.unknown(name, setting)?;
                continue;
            };
            let text = match declared.secret {
                true => self.secret(declared, setting)?,
                false => setting.text.clone(),
            };
            let value = self.typed(declared, &text)?;
            if self.is_free(declared, setting.origin, &value)? {
                self.origins.insert(declared.name.clone(), setting.origin);
                self.settings.set(&declared.name, value);
            }
        }
        Ok(())
    }

    /// Tells whether a value counts: nothing nearer to the user gave one. Of two that are equally near, none may win
    /// silently.
    fn is_free(
        &self,
        declared: &SettingDeclaration,
        origin: Origin,
        value: &SettingValue,
    ) -> Result<bool, Failure> {
        let Some(known) = self.settings.get(&declared.name) else {
            return Ok(true);
        };
        let twice = match self.origins.get(&declared.name) {
            None if origin == Origin::CommandLine => {
                let url = self.settings.url().unwrap_or_default();
                format!("is given twice: by the URL {url} and as a setting; leave out one of them")
            }
            Some(other) if *other == origin => {
                "is given twice, under two of its names; leave out one of them".to_owned()
            }
            _ => return Ok(false),
        };
        match known == value {
            true => Ok(false),
            false => Err(self.bad(&declared.name, twice)),
        }
    }

    /// A setting that the plugin doesn't have.
    fn unknown(&mut self, name: &str, setting: &Setting) -> Result<(), Failure> {
        if self.shared && setting.origin != Origin::Section {
            let plugin = &self.manifest.name;
            self.warnings.push(format!(
                "setting {name:?} isn't one of storage {plugin}'s: it goes without"
            ));
            return Ok(());
        }
        let names = self.manifest.settings.iter().map(|known| known.name.as_str());
        let near = super::file::nearest(name, &names.collect::<Vec<_>>());
        let near = near
            .map(|near| format!("; did you mean {near:?}?"))
            .unwrap_or_default();
        Err(self.bad(name, format!("isn't one of this plugin's{near}")))
    }

    /// The text of a secret: as it stands, or the first line of the file that `@FILE` names.
    fn secret(&mut self, declared: &SettingDeclaration, setting: &Setting) -> Result<String, Failure> {
        let name = &declared.name;
        if let Some(rest) = setting.text.strip_prefix('@') {
            if rest.starts_with('@') {
                return Ok(rest.to_owned());
            }
            let path = self.config.expand_home(PathBuf::from(rest));
            self.warn_if_exposed(name, &path);
            return first_line(&path).map_err(|error| {
                Failure::usage(format!("can't read {name} from {path:?}"))
                    .because(error.to_string())
                    .advise("name a file whose first line is the secret")
            });
        }
        match setting.origin {
            Origin::CommandLine => {
                return Err(Failure::usage(format!("{name} is secret and stands on the command line"))
                    .because("every user of this machine can see it there")
                    .advise(self.places_of(declared)));
            }
            Origin::Original => self.warnings.push(format!(
                "every user of this machine can see --{name} on the command line: better put it into the ini file"
            )),
            Origin::Section | Origin::File => {
                if let Some(path) = self.config.file.path.clone() {
                    self.warn_if_exposed(name, &path);
                }
            }
        }
        Ok(setting.text.clone())
    }

    /// Where a secret may stand.
    fn places_of(&self, declared: &SettingDeclaration) -> String {
        let name = &declared.name;
        let variable = match declared.environment.first() {
            Some(variable) => format!("set ${variable}, or "),
            None => String::new(),
        };
        format!(
            "{variable}write {name}=@FILE with a file whose first line it is, or put it into the section of the \
             storage in a configuration file of mode 0600"
        )
    }

    /// Warns of a file with a secret that others can read.
    fn warn_if_exposed(&mut self, name: &str, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let Ok(facts) = std::fs::metadata(path) else {
            return;
        };
        if facts.is_file() && facts.permissions().mode() & 0o044 != 0 {
            let warning = format!("{name} is in {path:?}, which other users can read: chmod 600 it");
            self.warnings.push(warning);
        }
    }

    /// Takes from a source of variables what nothing nearer gave; a variable that is hidden there ends the search.
    fn take_variables(&mut self, source: &Source) -> Result<(), Failure> {
        for declared in &self.manifest.settings {
            if self.settings.get(&declared.name).is_some() || self.origins.contains_key(&declared.name) {
                continue;
            }
            let found = declared
                .environment
                .iter()
                .find_map(|name| Some((name, source.variables.get(name)?)));
            let Some((variable, text)) = found else { continue };
            let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
                // Hidden: what lies below belongs to another login.
                self.origins.insert(declared.name.clone(), Origin::File);
                continue;
            };
            let value = self.typed(declared, text).map_err(|failure| {
                failure.because(format!("it is taken from {variable} of {}", source.name))
            })?;
            if declared.secret {
                for path in &source.files {
                    self.warn_if_exposed(&declared.name, path);
                }
            }
            self.settings.set(&declared.name, value);
        }
        Ok(())
    }

    /// The value of a text; a file's name becomes absolute.
    fn typed(&self, declared: &SettingDeclaration, text: &str) -> Result<SettingValue, Failure> {
        let text = match declared.kind {
            SettingType::File => {
                let path = self.config.expand_home(PathBuf::from(text));
                let path = std::path::absolute(path)
                    .map_err(|error| self.bad(&declared.name, format!("is no usable path: {error}")))?;
                path.into_os_string().into_string().map_err(|_| {
                    self.bad(
                        &declared.name,
                        "must be valid UTF-8 together with the current directory",
                    )
                })?
            }
            _ => text.to_owned(),
        };
        let (_, value) = self
            .manifest
            .parse_setting(&declared.name, &text)
            .map_err(|error| of_plugin(&error))?;
        Ok(value)
    }

    fn bad(&self, setting: &str, why: impl Into<String>) -> Failure {
        of_plugin(&PluginError::Setting {
            plugin: self.manifest.name.clone(),
            setting: setting.to_owned(),
            why: why.into(),
        })
    }

    fn finish(mut self) -> Assembled {
        self.warnings.dedup();
        Assembled {
            settings: self.settings,
            warnings: self.warnings,
        }
    }
}

/// A mistake in a setting, as the user sees it.
fn of_plugin(error: &PluginError) -> Failure {
    let failure = Failure::from_error(Exit::Usage, error);
    match error {
        PluginError::Setting { plugin, .. } => {
            failure.advise(format!("freezer plugin inspect {plugin} lists its settings"))
        }
        _ => failure,
    }
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    let mut line = String::new();
    BufReader::new(file.take(MAX_SECRET)).read_line(&mut line)?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    match line.is_empty() {
        true => Err(std::io::Error::other("its first line is empty")),
        false => Ok(line),
    }
}

#[cfg(test)]
mod tests;
