//! Which storages a run means: URLs, and names of sections of the configuration file.
//!
//! Here a storage's own section, the options for all storages and the number of uploads come together. What
//! the settings mean only the plugin's manifest knows.

use std::collections::BTreeMap;

use super::Config;
use super::backup::missing;
use super::layer::{Layer, Origin, Setting, settings};
use crate::args::{InfoArgs, StorageText, TestArgs};
use crate::command::{Info, StorageSpec, StorageTest};
use crate::exit::Failure;

/// More segments under way than this help no storage and only cost memory.
const MAX_UPLOADS: u32 = 64;
/// A trial that moves more than this is no trial.
const MAX_TEST_BYTES: u64 = 16 << 30;
/// More storages than anybody keeps copies in are a mistake.
const MAX_STORAGES: usize = 16;

impl Config {
    /// Judges the options of `info`: without a storage all of the configuration file are meant.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn info(&self, args: InfoArgs) -> Result<Info, Failure> {
        let layer = Layer {
            storages: args.from,
            storage_options: args.login.over(settings(args.storage_option)),
            ..Layer::default()
        };
        let mut layer = layer.over(self.below(None));
        if layer.storages.is_empty() {
            let named = self.file.storage.keys();
            layer.storages = named.map(|name| StorageText(format!("{name}:"))).collect();
        }
        Ok(Info {
            storages: self.storages(&layer, "--from")?,
            document: None,
        })
    }

    /// Judges the options of `storage test`.
    ///
    /// # Errors
    /// Whatever makes no sense.
    pub(crate) fn storage_test(&self, args: TestArgs) -> Result<StorageTest, Failure> {
        if args.size.0 == 0 || args.size.0 > MAX_TEST_BYTES {
            return Err(Failure::usage("--size must be 1 byte to 16 GiB").advise("leave it out for 32M"));
        }
        let layer = Layer {
            storages: vec![args.url],
            storage_options: args.login.over(settings(args.storage_option)),
            uploads: args.uploads,
            ..Layer::default()
        };
        let layer = layer.over(self.below(None));
        Ok(StorageTest {
            storage: self.storages(&layer, "URL")?.remove(0),
            size_bytes: args.size.0,
        })
    }

    /// The storages of a layer in which all others are already joined.
    ///
    /// # Errors
    /// When none is given, one is given twice, or a name isn't in the file.
    pub(crate) fn storages(&self, layer: &Layer, option: &str) -> Result<Vec<StorageSpec>, Failure> {
        if layer.storages.is_empty() {
            return Err(missing(
                "a storage",
                &format!("{option} URL, such as local:/srv/backups"),
            ));
        }
        if layer.storages.len() > MAX_STORAGES {
            return Err(
                Failure::usage(format!("more than {MAX_STORAGES} storages")).advise("give fewer in one run")
            );
        }
        let shared = layer.storages.len() > 1;
        let mut specs: Vec<StorageSpec> = Vec::with_capacity(layer.storages.len());
        for text in &layer.storages {
            let spec = StorageSpec {
                shared,
                ..self.storage(text, layer, option)?
            };
            if specs.iter().any(|other| other.url == spec.url) {
                return Err(Failure::usage(format!("storage {} is given twice", spec.url))
                    .advise(format!("give each {option} once")));
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// The storage of a URL, or of a `NAME:` in the configuration file.
    fn storage(&self, text: &StorageText, layer: &Layer, option: &str) -> Result<StorageSpec, Failure> {
        let text = text.0.parse::<StorageText>().map_err(|reason| {
            Failure::usage(format!("invalid storage {:?}", text.0))
                .because(reason)
                .advise(format!("give {option} URL"))
        })?;
        let (scheme, rest) = text.0.split_once(':').unwrap_or((&text.0, ""));
        let named = self.file.storage.get(scheme);
        let url = match named {
            Some(named) if rest.is_empty() => named.url.clone(),
            Some(named) => below_url(&named.url, rest),
            None if rest.is_empty() => return Err(self.no_storage(scheme)),
            None => text.0.clone(),
        };
        if named.is_some() {
            url.parse::<StorageText>().map_err(|reason| {
                Failure::usage(format!("invalid storage {url:?}"))
                    .because(reason)
                    .advise(format!(
                        "mend url in [storage.{scheme}] of the configuration file"
                    ))
            })?;
        }
        let section = named.map(|named| &named.settings);
        Ok(StorageSpec {
            name: named.map(|_| scheme.to_owned()),
            url,
            settings: joined(&layer.storage_options, section),
            uploads: uploads(named.and_then(|named| named.uploads).or(layer.uploads))?,
            shared: false,
        })
    }

    /// `NAME:` isn't in the configuration file.
    fn no_storage(&self, name: &str) -> Failure {
        let known: Vec<&str> = self.file.storage.keys().map(String::as_str).collect();
        let failure =
            Failure::usage(format!("no storage is named {name:?}")).because(match known.is_empty() {
                true => "the configuration file names no storages".to_owned(),
                false => format!("the configuration file names {}", known.join(", ")),
            });
        match super::file::nearest(name, &known) {
            Some(near) => failure.advise(format!("did you mean {near}:?")),
            None => failure.advise(format!("write {name}:PLACE, or add [storage.{name}] with a url")),
        }
    }
}

/// Settings of one storage: those of its section, and those given for whichever storage has them. Which of two counts
/// is told by where they were given, once the plugin says which names are one setting's.
fn joined(
    options: &BTreeMap<String, Setting>,
    section: Option<&BTreeMap<String, Setting>>,
) -> Vec<(String, Setting)> {
    let section = section
        .into_iter()
        .flatten()
        .map(|(name, setting)| (name.clone(), Setting::new(setting.text.clone(), Origin::Section)));
    let options = options
        .iter()
        .map(|(name, setting)| (name.clone(), setting.clone()));
    options.chain(section).collect()
}

/// Checks a number of uploads.
pub(crate) fn uploads(count: Option<u32>) -> Result<Option<u32>, Failure> {
    match count {
        Some(count) if count == 0 || count > MAX_UPLOADS => {
            Err(Failure::usage(format!("--uploads must be 1 to {MAX_UPLOADS}"))
                .advise("leave it out for what the storage prefers"))
        }
        count => Ok(count),
    }
}

/// `nas:sub` below `[storage.nas]`.
fn below_url(url: &str, rest: &str) -> String {
    format!("{}/{}", url.trim_end_matches('/'), rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, file};
    use super::*;
    use rstest::rstest;
    use std::path::Path;

    const FILE: &str = "[defaults]\nuploads = 2\nstorage-options = { a = \"defaults\", b = \"defaults\", c = \"defaults\" }\n\
        [storage.nas]\nurl = \"local:/srv/nas\"\na = \"section\"\nb = \"section\"\n[storage.far]\nurl = \"local:/far\"\nuploads = 7\n";

    fn config() -> Config {
        Config {
            environment: Environment::default(),
            file: file::parse(FILE, Path::new("c.toml")).expect("valid"),
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    fn storages(texts: &[&str], options: &[&str]) -> Result<Vec<StorageSpec>, Failure> {
        let config = config();
        let pairs = options.iter().map(|pair| pair.parse().expect("a pair"));
        let layer = Layer {
            storages: texts.iter().map(|text| StorageText((*text).to_owned())).collect(),
            storage_options: super::super::layer::settings(pairs.collect()),
            ..Layer::default()
        };
        config.storages(&layer.over(config.file.defaults.clone()), "--to")
    }

    #[test]
    fn several_storages_keep_their_order_and_their_own_uploads() {
        let specs = storages(&["far:", "local:/x", "nas:sub"], &[]).expect("judged");
        let shown: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_deref(), spec.url.as_str(), spec.uploads))
            .collect();
        let expected = [
            (Some("far"), "local:/far", Some(7)),
            (None, "local:/x", Some(2)),
            (Some("nas"), "local:/srv/nas/sub", Some(2)),
        ];
        assert_eq!(shown, expected);
    }

    #[rstest]
    #[case(&["far:", "local:/far"], "storage local:/far is given twice")]
    #[case(&["fur:"], "no storage is named \"fur\"")]
    #[case(&[], "a storage is missing")]
    #[case(&["/srv"], "invalid storage \"/srv\"")]
    fn what_makes_no_sense_is_refused(#[case] texts: &[&str], #[case] message: &str) {
        let config = config();
        let layer = Layer {
            storages: texts.iter().map(|text| StorageText((*text).to_owned())).collect(),
            ..Layer::default()
        };
        let failure = config.storages(&layer, "--to").expect_err("refused");
        assert_eq!(failure.message, message);
    }
}
