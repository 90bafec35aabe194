//! freezer-test.toml: what a trial needs to know that plugin.toml doesn't say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use freezer_conformance::mode::IsFree;
use freezer_conformance::storage::{Capabilities, Refusal};
use serde::Deserialize;

use crate::error::AuthorError;

/// The file's name, beside plugin.toml.
pub const FILE_NAME: &str = "freezer-test.toml";
/// Stands for the trial's own folder.
const SCRATCH: &str = "{scratch}";

/// What the file says, with the scratch folder filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct TrialSettings {
    /// A storage's container, which may not be there yet.
    url: Option<String>,
    /// A container that isn't there.
    pub(super) absent: Option<String>,
    /// What a mode is asked to back up.
    pub(super) path: Option<PathBuf>,
    /// The plugin's settings.
    pub(super) settings: BTreeMap<String, toml::Value>,
    /// Files that are there before the plugin is called, below the scratch folder.
    pub(super) files: BTreeMap<String, String>,
    /// A command that succeeds when nothing is held any more.
    is_free: Vec<String>,
    capabilities: CapabilitySettings,
}

/// What a storage honestly can't do.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct CapabilitySettings {
    refusal: RefusalWord,
    pending: Option<bool>,
    usage: Option<bool>,
    listing_lag_seconds: Option<u64>,
    listed_objects: Option<usize>,
    pending_uploads: Option<usize>,
    knows_gone_uploads: Option<bool>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RefusalWord {
    #[default]
    Atomic,
    Sequential,
    Unsupported,
}

impl TrialSettings {
    /// Reads the file; without one there are no settings.
    pub(super) fn read(file: &Path, scratch: &Path) -> Result<Self, AuthorError> {
        let bad = |why: String| AuthorError::Trial {
            path: file.to_owned(),
            why,
        };
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(|error| bad(error.to_string()))?,
        };
        let mut table: toml::Table =
            toml::from_str(&text).map_err(|error| bad(error.to_string().trim().to_owned()))?;
        let scratch = scratch.to_string_lossy();
        table.iter_mut().for_each(|(_, value)| fill(value, &scratch));
        toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| bad(error.message().to_owned()))
    }

    /// The URL of the container.
    pub(super) fn url(&self, file: &str) -> Result<&str, AuthorError> {
        self.url.as_deref().ok_or_else(|| AuthorError::Trial {
            path: PathBuf::from(file),
            why: "it names no url of a container to try the storage with".to_owned(),
        })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let (said, usual) = (&self.capabilities, Capabilities::default());
        Capabilities {
            refusal: match said.refusal {
                RefusalWord::Atomic => Refusal::Atomic,
                RefusalWord::Sequential => Refusal::Sequential,
                RefusalWord::Unsupported => Refusal::Unsupported,
            },
            pending: said.pending.unwrap_or(usual.pending),
            usage: said.usage.unwrap_or(usual.usage),
            listing_lag: said
                .listing_lag_seconds
                .map_or(usual.listing_lag, Duration::from_secs),
            listed_objects: said.listed_objects.unwrap_or(usual.listed_objects),
            pending_uploads: said.pending_uploads.unwrap_or(usual.pending_uploads),
            knows_gone_uploads: said.knows_gone_uploads.unwrap_or(usual.knows_gone_uploads),
        }
    }

    /// Asks the author's own command whether anything is still held.
    pub(super) fn is_free(&self) -> IsFree {
        let words = self.is_free.clone();
        Box::new(move || {
            let Some((program, arguments)) = words.split_first() else {
                return Ok(());
            };
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null());
            let output = command
                .output()
                .map_err(|error| format!("can't ask {program} whether anything is still held: {error}"))?;
            match output.status.success() {
                true => Ok(()),
                false => Err(format!(
                    "something is still held: {} {}",
                    words.join(" "),
                    String::from_utf8_lossy(&output.stderr).trim()
                )),
            }
        })
    }
}

/// Fills the scratch folder in, in whatever depth.
fn fill(value: &mut toml::Value, scratch: &str) {
    match value {
        toml::Value::String(text) => *text = text.replace(SCRATCH, scratch),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| fill(value, scratch)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| fill(value, scratch)),
        _ => {}
    }
}

/// A setting's value as the text of an option.
pub(super) fn text_of(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TrialSettings, AuthorError> {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(FILE_NAME);
        std::fs::write(&file, text).unwrap();
        TrialSettings::read(&file, Path::new("/scratch"))
    }

    #[test]
    fn the_scratch_folder_is_filled_in_everywhere() {
        let settings = read(
            "url = \"a:{scratch}/c\"\nis-free = [\"true\"]\n[settings]\nmany = [\"{scratch}\", \"b\"]\nport = 22\n\
             [capabilities]\nrefusal = \"unsupported\"\nlisting-lag-seconds = 2\n",
        )
        .unwrap();
        assert_eq!(settings.url(FILE_NAME).unwrap(), "a:/scratch/c");
        assert_eq!(text_of(&settings.settings["many"]), "/scratch,b");
        assert_eq!(text_of(&settings.settings["port"]), "22");
        let capabilities = settings.capabilities();
        assert_eq!(capabilities.refusal, Refusal::Unsupported);
        assert_eq!(
            (capabilities.listing_lag.as_secs(), capabilities.listed_objects),
            (2, 1005)
        );
        assert_eq!((settings.is_free())(), Ok(()));
    }

    #[test]
    fn what_it_does_not_know_is_named() {
        let error = read("ulr = \"a:b\"").unwrap_err().to_string();
        assert!(error.contains("ulr"), "{error}");
        let missing = TrialSettings::default().url(FILE_NAME).unwrap_err().to_string();
        assert!(missing.contains("names no url"), "{missing}");
    }

    #[test]
    fn what_is_still_held_is_told_by_the_authors_command() {
        let settings = read("is-free = [\"sh\", \"-c\", \"echo locked >&2; false\"]").unwrap();
        assert!((settings.is_free())().unwrap_err().ends_with("locked"));
    }
}
