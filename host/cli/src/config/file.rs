//! The TOML configuration file: `[defaults]`, `[storage.NAME]`, `[backup.NAME]`, `[limits.PLUGIN]`.
//!
//! ```toml
//! [defaults]
//! compression = "zstd:3"
//! encrypt-pass-file = "/root/.freezer-pass"
//!
//! [storage.nas]
//! url = "local:/srv/nas"
//!
//! [backup.etc]
//! path = "/etc"
//! storage = "nas:"
//! exclude = ["*.tmp"]
//! ```
//!
//! A file that is no TOML or has a value of a wrong type is refused with its line; a key that
//! isn't known is a warning, so that one file serves several versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use freezer_plugin::limits::LimitOverrides;
use serde::Deserialize;

use super::layer::{FOR_ALL, KEYS, Layer, Setting};

/// The largest file that is read; real ones have a few kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a configuration file says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigFile {
    /// For every verb and backup.
    pub(crate) defaults: Layer,
    /// Named storages.
    pub(crate) storage: BTreeMap<String, NamedStorage>,
    /// Named backups.
    pub(crate) backup: BTreeMap<String, Layer>,
    /// Changed ceilings of plugins, `[limits.NAME]`.
    pub(crate) limits: LimitOverrides,
    /// Where it was read from, if it was.
    #[serde(skip)]
    pub(crate) path: Option<PathBuf>,
    /// Keys that mean nothing to this version, with the nearest known one.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

/// A storage with a name of its own.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NamedStorage {
    /// Its URL.
    pub(crate) url: String,
    /// Segments on their way to it at the same time.
    #[serde(default)]
    pub(crate) uploads: Option<u32>,
    /// All other keys: settings of its plugin.
    #[serde(flatten)]
    pub(crate) settings: BTreeMap<String, Setting>,
}

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It can't be read.
    #[error("can't read the configuration file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration file.
    #[error("invalid configuration file {path:?}, line {line}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: Reason,
    },
}

/// What is wrong in a line of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Reason(pub(crate) String);

/// Reads the text of a configuration file of a sane size.
///
/// # Errors
/// When it can't be read, is too large or is no UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE_BYTES + 1), &mut text);
    read.map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(std::io::Error::other("it is larger than 1 MiB")));
    }
    Ok(text)
}

/// Parses a TOML configuration file; `path` is only for messages.
///
/// # Errors
/// [`FileError::Invalid`] with line and reason.
pub(crate) fn parse(text: &str, path: &Path) -> Result<ConfigFile, FileError> {
    let invalid = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        FileError::Invalid {
            path: path.to_owned(),
            line: line_of(text, offset),
            source: Reason(error.message().trim().replace('\n', ": ")),
        }
    };
    let mut file: ConfigFile = toml::from_str(text).map_err(invalid)?;
    let table: toml::Table = toml::from_str(text).map_err(invalid)?;
    file.warnings = unknown_keys(&table);
    Ok(file)
}

/// The line, counted from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}

/// A warning for each key that nothing reads.
fn unknown_keys(table: &toml::Table) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut judge = |section: &str, key: &str, known: &[&str]| {
        if !known.contains(&key) {
            let nearest = nearest(key, known)
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            warnings.push(format!("unknown key {key:?} in {section}{nearest}"));
        }
    };
    let mut misplaced = Vec::new();
    for (section, value) in table {
        judge("the file", section, &["defaults", "storage", "backup", "limits"]);
        let Some(value) = value.as_table() else { continue };
        match section.as_str() {
            "defaults" => value.keys().for_each(|key| judge("[defaults]", key, KEYS)),
            "backup" => {
                for (name, backup) in value {
                    let keys = backup.as_table().map(toml::Table::keys);
                    for key in keys.into_iter().flatten() {
                        match FOR_ALL.contains(&key.as_str()) {
                            true => misplaced.push(format!(
                                "key {key:?} in [backup.{name}] has no effect: it belongs into [defaults], for all backups"
                            )),
                            false => judge(&format!("[backup.{name}]"), key, KEYS),
                        }
                    }
                }
            }
            _ => {}
        }
    }
    warnings.extend(misplaced);
    warnings
}

/// The known word that is most like `word`, if any is much like it.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    // Below 0.8 the suggestion is more often noise than help.
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::super::layer::Origin;
    use super::*;
    use rstest::rstest;

    const FULL: &str = r#"
[defaults]
compression = "zstd:3"
memory = "64M"
max-segment-size = 1048576
chain-days = 7.5

[storage.nas]
url = "local:/srv/nas"
fsync = true

[backup.etc]
path = "/etc"
storage = "nas:"
exclude = ["*.tmp", "cache"]
dereference = "soft"
full = true
"#;

    #[test]
    fn a_whole_file_is_read() {
        let file = parse(FULL, Path::new("c.toml")).expect("valid");
        assert_eq!(file.warnings, [""; 0]);
        assert_eq!(file.defaults.memory.map(|size| size.0), Some(64 << 20));
        assert_eq!(file.defaults.max_segment_size.map(|size| size.0), Some(1 << 20));
        assert_eq!(file.defaults.chain_days.map(|days| days.0), Some(7.5));
        assert_eq!(
            file.storage["nas"].settings["fsync"],
            Setting::new("true", Origin::File)
        );
        assert_eq!(file.backup["etc"].exclude.len(), 2);
        assert_eq!(file.backup["etc"].full, Some(true));
    }

    #[rstest]
    #[case(
        "[defaults]\nworkers = \"many\"",
        2,
        "invalid type: string \"many\", expected u16"
    )]
    #[case(
        "[defaults]\n\ncompression = \"lzma\"",
        3,
        "unknown compression \"lzma\"; use gzip, bzip2, xz, zstd or none"
    )]
    #[case(
        "[defaults]\nmemory = \"5X\"",
        2,
        "unknown unit \"x\"; units are B K M G T P E (powers of 1024)"
    )]
    #[case("[storage.nas]\nfsync = true", 1, "missing field `url`")]
    fn a_wrong_value_is_named_with_its_line(#[case] text: &str, #[case] line: usize, #[case] reason: &str) {
        let Err(FileError::Invalid {
            line: found, source, ..
        }) = parse(text, Path::new("c.toml"))
        else {
            panic!("must be refused");
        };
        assert_eq!((found, source.to_string().as_str()), (line, reason));
    }

    #[test]
    fn broken_toml_is_named_with_its_line() {
        let error = parse("[defaults]\nhost = \n", Path::new("c.toml")).expect_err("broken");
        assert_eq!(error.to_string(), "invalid configuration file \"c.toml\", line 2");
    }

    #[test]
    fn unknown_keys_are_warned_of_with_the_nearest_one() {
        let file = parse(
            "[defaults]\ncompresion = \"x\"\n[backup.a]\nq = 1\n[other]\n",
            Path::new("c"),
        )
        .expect("valid");
        assert_eq!(
            file.warnings,
            [
                "unknown key \"q\" in [backup.a]",
                "unknown key \"compresion\" in [defaults]; did you mean \"compression\"?",
                "unknown key \"other\" in the file",
            ]
        );
    }

    #[test]
    fn every_known_key_is_one_that_is_read() {
        // A key that the layer doesn't read would be accepted with any value; no key takes a table of tables.
        for key in KEYS {
            let text = format!("[defaults]\n{key} = {{ a = {{ b = 1 }} }}");
            assert!(parse(&text, Path::new("c")).is_err(), "{key}");
        }
    }
}
