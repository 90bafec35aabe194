//! One layer of options: all that a command line, a section of a file or the environment may say.
//!
//! Layers are laid over each other, the nearest to the user first, and judged afterwards. The
//! names of the fields are the keys of the TOML file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::hooks::HookLayer;
use super::rules::Rules;
use super::size::Size;
use crate::args::{
    BackupArgs, CompressionText, Days, DereferenceText, DropCachesText, IoClassText, IsolateText, PairText,
    RateText, StorageFailureText, StorageText,
};

/// Options that may be given in several places; absent means "ask the next layer".
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Layer {
    /// What to back up.
    pub(crate) path: Option<PathBuf>,
    /// Standard input is backed up, under this name; only the command line can say so.
    #[serde(skip)]
    pub(crate) stdin: Option<String>,
    /// The output of this command is backed up.
    #[serde(deserialize_with = "super::written::command")]
    pub(crate) from_command: Option<OsString>,
    /// Under this name.
    pub(crate) stream_name: Option<String>,
    /// Let an empty stream be a backup.
    pub(crate) allow_empty: Option<bool>,
    /// Name of the backup.
    pub(crate) name: Option<String>,
    /// Host part of its name.
    pub(crate) host: Option<String>,
    /// The storages, to write to or to read from.
    #[serde(rename = "storage", deserialize_with = "super::written::storages")]
    pub(crate) storages: Vec<StorageText>,
    /// Settings of the storage plugin.
    pub(crate) storage_options: BTreeMap<String, Setting>,
    /// The mode plugin.
    pub(crate) mode: Option<String>,
    /// Settings of the mode plugin.
    pub(crate) mode_options: BTreeMap<String, Setting>,
    /// What is run around the backup.
    pub(crate) hooks: HookLayer,
    /// Write the kernel's buffered memory to the disks first.
    pub(crate) sync: Option<bool>,
    /// What of that memory is given back.
    #[serde(deserialize_with = "super::hooks::drop_caches")]
    pub(crate) drop_caches: Option<DropCachesText>,
    /// Priority for processors; for all backups.
    pub(crate) nice: Option<i32>,
    /// Priority for disks; for all backups.
    #[serde(deserialize_with = "super::written::parsed")]
    pub(crate) ionice: Option<IoClassText>,
    /// The highest priorities; for all backups.
    pub(crate) max_priority: Option<bool>,
    /// Always level 0.
    pub(crate) full: Option<bool>,
    /// Always against level 0.
    pub(crate) differential: Option<bool>,
    /// Last level of a chain.
    pub(crate) max_level: Option<u32>,
    /// Level to stay at.
    pub(crate) always_level: Option<u32>,
    /// Days after which a chain ends, by its newest backup.
    #[serde(deserialize_with = "super::written::days")]
    pub(crate) restart_always_level: Option<Days>,
    /// Levels after which a chain ends; 0 for never.
    pub(crate) chain_levels: Option<u32>,
    /// Days after which a chain ends, by its level 0; 0 for never.
    #[serde(deserialize_with = "super::written::days")]
    pub(crate) chain_days: Option<Days>,
    /// Patterns to leave out.
    #[serde(deserialize_with = "super::written::patterns")]
    pub(crate) exclude: Vec<OsString>,
    /// Files of patterns to leave out.
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Leave out cache directories.
    pub(crate) exclude_caches: Option<bool>,
    /// Go into other file systems.
    pub(crate) cross_file_systems: Option<bool>,
    /// Which links to follow.
    #[serde(deserialize_with = "super::written::dereference")]
    pub(crate) dereference: Option<DereferenceText>,
    /// How to compress.
    #[serde(deserialize_with = "super::written::parsed")]
    pub(crate) compression: Option<CompressionText>,
    /// Where the password is.
    pub(crate) encrypt_pass_file: Option<PathBuf>,
    /// The original's stored form.
    pub(crate) compat: Option<bool>,
    /// Bytes of a stored piece.
    #[serde(deserialize_with = "super::written::size")]
    pub(crate) max_segment_size: Option<Size>,
    /// Segments on their way to a storage at the same time.
    pub(crate) uploads: Option<u32>,
    /// What the failure of one of several storages means.
    #[serde(deserialize_with = "super::written::storage_failure")]
    pub(crate) on_storage_failure: Option<StorageFailureText>,
    /// Threads.
    pub(crate) workers: Option<u16>,
    /// Memory to stay within.
    #[serde(deserialize_with = "super::written::size")]
    pub(crate) memory: Option<Size>,
    /// Bytes a second to all storages together; for all backups.
    #[serde(deserialize_with = "super::written::rate")]
    pub(crate) upload_limit: Option<RateText>,
    /// Bytes a second from all storages together; for all backups.
    #[serde(deserialize_with = "super::written::rate")]
    pub(crate) download_limit: Option<RateText>,
    /// Which plugins run in processes of their own; for all backups.
    #[serde(deserialize_with = "super::written::isolate")]
    pub(crate) isolate: Option<IsolateText>,
    /// Tags of new backups.
    #[serde(deserialize_with = "super::rules::texts")]
    pub(crate) tag: Vec<String>,
    /// What `prune` keeps.
    #[serde(flatten)]
    pub(crate) rules: Rules,
    /// Where plugins are.
    pub(crate) plugins_dir: Vec<PathBuf>,
}

/// The keys a section may have, in the order of [`Layer`].
pub(crate) const KEYS: &[&str] = &[
    "path",
    "name",
    "host",
    "storage",
    "storage-options",
    "mode",
    "mode-options",
    "hooks",
    "sync",
    "drop-caches",
    "nice",
    "ionice",
    "max-priority",
    "full",
    "differential",
    "max-level",
    "always-level",
    "restart-always-level",
    "chain-levels",
    "chain-days",
    "exclude",
    "exclude-from",
    "exclude-caches",
    "cross-file-systems",
    "dereference",
    "compression",
    "encrypt-pass-file",
    "compat",
    "max-segment-size",
    "uploads",
    "on-storage-failure",
    "workers",
    "memory",
    "upload-limit",
    "download-limit",
    "isolate",
    "tag",
    "keep-last",
    "keep-hourly",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
    "keep-yearly",
    "keep-within",
    "keep-tag",
    "remove-older-than",
    "remove-before-date",
    "plugins-dir",
];

/// Those of them that are the same for all backups.
pub(crate) const FOR_ALL: &[&str] = &[
    "upload-limit",
    "download-limit",
    "isolate",
    "plugins-dir",
    "nice",
    "ionice",
    "max-priority",
];

impl Layer {
    /// Lays this over `below`: what is absent here is taken from there. Patterns and settings are
    /// joined, since each says one more thing.
    pub(crate) fn over(mut self, below: Layer) -> Layer {
        let joined = |mut above: BTreeMap<String, Setting>, below: BTreeMap<String, Setting>| {
            for (name, setting) in below {
                above.entry(name).or_insert(setting);
            }
            above
        };
        self.exclude.extend(below.exclude);
        self.exclude_from.extend(below.exclude_from);
        self.plugins_dir.extend(below.plugins_dir);
        // A request for one kind of level on the command line overrules the other kind in a file.
        let kind_given = self.full.is_some() || self.differential.is_some();
        // Who names one source doesn't mean the other kind that a file names.
        let source_given = self.path.is_some() || self.stdin.is_some() || self.from_command.is_some();
        let below_path = below.path.filter(|_| !source_given);
        Layer {
            path: self.path.or(below_path),
            stdin: self.stdin.or(below.stdin),
            from_command: self.from_command.or(below.from_command.filter(|_| !source_given)),
            stream_name: self.stream_name.or(below.stream_name),
            allow_empty: self.allow_empty.or(below.allow_empty),
            name: self.name.or(below.name),
            host: self.host.or(below.host),
            // Not joined: who names a storage means this one, not this one too.
            storages: match self.storages.is_empty() {
                true => below.storages,
                false => self.storages,
            },
            storage_options: joined(self.storage_options, below.storage_options),
            mode: self.mode.or(below.mode),
            mode_options: joined(self.mode_options, below.mode_options),
            hooks: self.hooks.over(below.hooks),
            sync: self.sync.or(below.sync),
            drop_caches: self.drop_caches.or(below.drop_caches),
            nice: self.nice.or(below.nice),
            ionice: self.ionice.or(below.ionice),
            max_priority: self.max_priority.or(below.max_priority),
            full: if kind_given { self.full } else { below.full },
            differential: if kind_given {
                self.differential
            } else {
                below.differential
            },
            max_level: self.max_level.or(below.max_level),
            always_level: self.always_level.or(below.always_level),
            restart_always_level: self.restart_always_level.or(below.restart_always_level),
            chain_levels: self.chain_levels.or(below.chain_levels),
            chain_days: self.chain_days.or(below.chain_days),
            exclude: self.exclude,
            exclude_from: self.exclude_from,
            exclude_caches: self.exclude_caches.or(below.exclude_caches),
            cross_file_systems: self.cross_file_systems.or(below.cross_file_systems),
            dereference: self.dereference.or(below.dereference),
            compression: self.compression.or(below.compression),
            encrypt_pass_file: self.encrypt_pass_file.or(below.encrypt_pass_file),
            compat: self.compat.or(below.compat),
            max_segment_size: self.max_segment_size.or(below.max_segment_size),
            uploads: self.uploads.or(below.uploads),
            on_storage_failure: self.on_storage_failure.or(below.on_storage_failure),
            workers: self.workers.or(below.workers),
            memory: self.memory.or(below.memory),
            upload_limit: self.upload_limit.or(below.upload_limit),
            download_limit: self.download_limit.or(below.download_limit),
            isolate: self.isolate.or(below.isolate),
            tag: match self.tag.is_empty() {
                true => below.tag,
                false => self.tag,
            },
            rules: self.rules.or(below.rules),
            plugins_dir: self.plugins_dir,
        }
    }
}

impl From<BackupArgs> for Layer {
    fn from(args: BackupArgs) -> Layer {
        let BackupArgs {
            path,
            name,
            host,
            to,
            storage_option,
            stream,
            login,
            mode,
            mode_option,
            level,
            tag,
            tree,
            snapshot,
            encoding,
            memory,
            hooks,
            on_storage_failure,
            ..
        } = args;
        let cross = if tree.one_file_system {
            Some(false)
        } else {
            flag(tree.cross_file_systems)
        };
        let path = path.or_else(|| snapshot.lvm_auto_snap.clone());
        let mut mode_options = settings(mode_option);
        let frozen = snapshot.settings().into_iter();
        mode_options
            .extend(frozen.map(|(name, text)| (name.to_owned(), Setting::new(text, Origin::CommandLine))));
        Layer {
            path,
            stdin: stream.stdin,
            from_command: stream.from_command,
            stream_name: stream.stream_name,
            allow_empty: flag(stream.allow_empty),
            name,
            host,
            storages: to,
            storage_options: login.over(settings(storage_option)),
            mode,
            mode_options,
            hooks: HookLayer::from(hooks),
            sync: flag(memory.sync).or(memory.no_sync.then_some(false)),
            drop_caches: memory.drop_caches,
            full: flag(level.full || level.no_incremental),
            differential: flag(level.differential),
            max_level: level.max_level,
            always_level: level.always_level,
            restart_always_level: level.restart_always_level,
            chain_levels: level.chain_levels,
            chain_days: level.chain_days,
            exclude: tree.exclude,
            exclude_from: tree.exclude_from,
            exclude_caches: flag(tree.exclude_caches),
            cross_file_systems: cross,
            dereference: tree.dereference,
            compression: encoding.compression,
            encrypt_pass_file: encoding.encrypt_pass_file,
            compat: flag(encoding.compat),
            max_segment_size: encoding.max_segment_size,
            uploads: encoding.uploads,
            on_storage_failure,
            workers: encoding.workers,
            memory: encoding.memory,
            tag,
            ..Layer::default()
        }
    }
}

/// A flag of the command line: given, or not said.
pub(crate) fn flag(given: bool) -> Option<bool> {
    given.then_some(true)
}

/// Pairs of the command line as settings; of equal names the last counts.
pub(crate) fn settings(pairs: Vec<PairText>) -> BTreeMap<String, Setting> {
    pairs
        .into_iter()
        .map(|pair| (pair.name, Setting::new(pair.value, Origin::CommandLine)))
        .collect()
}

/// Where a setting was given, the nearest to the user first; it tells who else can see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// An option of the command line, which every user of the machine can list.
    CommandLine,
    /// The command line of the original's programs, which took secrets too.
    Original,
    /// A section of a storage in the configuration file.
    Section,
    /// Another section of the configuration file: for whichever storage has such a setting.
    File,
}

/// A plugin's setting as text: the plugin's manifest knows its type.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its value, as written.
    pub(crate) text: String,
    /// Where it was given.
    pub(crate) origin: Origin,
}

impl Setting {
    /// A setting as it was written there.
    pub(crate) fn new(text: impl Into<String>, origin: Origin) -> Setting {
        Setting {
            text: text.into(),
            origin,
        }
    }
}

impl std::fmt::Debug for Setting {
    /// Settings may be secret, which only the plugin's manifest knows.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Setting(…)")
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Setting, D::Error> {
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(values) => {
                let texts: Option<Vec<&str>> = values.iter().map(toml::Value::as_str).collect();
                texts
                    .ok_or_else(|| serde::de::Error::custom("a list of texts"))?
                    .join(",")
            }
            _ => {
                return Err(serde::de::Error::custom(
                    "a setting is a text, a number, true, false or a list",
                ));
            }
        };
        Ok(Setting::new(text, Origin::File))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_layer_wins_and_patterns_are_joined() {
        let near = Layer {
            host: Some("near".into()),
            exclude: vec!["a".into()],
            ..Layer::default()
        };
        let far = Layer {
            host: Some("far".into()),
            workers: Some(3),
            exclude: vec!["b".into()],
            ..Layer::default()
        };
        let both = near.over(far);
        assert_eq!(both.host.as_deref(), Some("near"));
        assert_eq!(both.workers, Some(3));
        assert_eq!(both.exclude, ["a", "b"]);
    }

    #[test]
    fn differential_on_the_command_line_overrules_full_in_the_file() {
        let near = Layer {
            differential: Some(true),
            ..Layer::default()
        };
        let both = near.over(Layer {
            full: Some(true),
            ..Layer::default()
        });
        assert_eq!((both.full, both.differential), (None, Some(true)));
    }

    #[test]
    fn settings_never_show_in_debug_output() {
        let layer = Layer {
            storage_options: settings(vec!["key=hush".parse().unwrap()]),
            ..Layer::default()
        };
        assert!(!format!("{layer:?}").contains("hush"));
    }
}
