//! The original's storages as ours: URLs, settings of plugins, and the `[storage:NAME]` sections of ini files.
//!
//! | original | URL | settings |
//! |---|---|---|
//! | local | `local:CONTAINER` | |
//! | swift | `swift://CONTAINER` | insecure, osrc; the login comes from `OS_…` variables |
//! | ssh | `ssh://USER@HOST:PORT/CONTAINER` | ssh-key, ssh-password |
//! | s3 | `s3://CONTAINER` | access-key, secret-key, endpoint, insecure |
//!
//! A relative container of ssh lies below the home of its user, as the original has it.

use std::collections::{BTreeMap, BTreeSet};

use super::map::{Options, as_failed, failed};
use super::options::{OPTIONS, Use};
use super::parse::OptionMap;
use crate::args::StorageText;
use crate::command::StorageSpec;
use crate::config::Config;
use crate::config::file::NamedStorage;
use crate::config::layer::{Layer, Origin, Setting};
use crate::exit::Failure;

/// Options of the original and what they are called by the plugin that serves its storage.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("swift", "insecure", "os-insecure"),
    ("swift", "osrc", "osrc"),
    ("ssh", "ssh_key", "ssh-key"),
    ("ssh", "ssh_password", "ssh-password"),
    ("s3", "access_key", "access-key"),
    ("s3", "secret_key", "secret-key"),
    ("s3", "endpoint", "endpoint"),
    ("s3", "insecure", "insecure"),
];
/// Options that become part of the URL.
const IN_URL: &[(&str, &str)] = &[("ssh", "ssh_username"), ("ssh", "ssh_host"), ("ssh", "ssh_port")];
/// Nothing stands on the command line for a section.
static NOTHING: BTreeSet<&'static str> = BTreeSet::new();

/// A `[storage:NAME]` section of an ini file.
#[derive(Debug, Clone)]
pub(super) struct NamedOptions {
    /// Its name.
    pub(super) name: String,
    /// Its options, with those that it shares.
    pub(super) options: OptionMap,
}

/// The options of one named storage.
pub(super) struct Section<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its options.
    options: Options<'a>,
}

/// The storages of a run: those of the sections, else the one of the options.
pub(super) fn storages(
    options: &Options<'_>,
    layer: &Layer,
    config: &Config,
) -> Result<Vec<StorageSpec>, Failure> {
    if options.storages.is_empty() {
        let layer = Layer {
            storages: vec![StorageText(url(options)?)],
            storage_options: layer.storage_options.clone(),
            ..Layer::default()
        };
        return config.storages(&layer, "--storage").map_err(as_failed);
    }
    let spec = |named: Section<'_>| -> Result<StorageSpec, Failure> {
        let NamedStorage {
            url,
            settings,
            uploads,
        } = section(&named)?;
        Ok(StorageSpec {
            name: Some(named.name.to_owned()),
            url,
            settings: settings.into_iter().collect(),
            uploads,
            shared: false,
        })
    };
    let specs: Vec<StorageSpec> = sections(options).map(spec).collect::<Result<_, _>>()?;
    for (at, spec) in specs.iter().enumerate() {
        if specs[..at].iter().any(|other| other.url == spec.url) {
            return Err(failed(format!("storage {} is given twice", spec.url))
                .advise("name different containers in the [storage:NAME] sections"));
        }
    }
    Ok(specs)
}

/// A named storage as our own configuration file would have it.
///
/// # Errors
/// When its place is missing.
pub(super) fn section(named: &Section<'_>) -> Result<NamedStorage, Failure> {
    let options = &named.options;
    let inside = |failure: Failure| failure.because(format!("in section [storage:{}]", named.name));
    if !options.flag("storage") {
        return Err(inside(failed("storage is missing")).advise("add storage = local, swift, ssh or s3"));
    }
    Ok(NamedStorage {
        url: url(options).map_err(inside)?,
        uploads: None,
        settings: settings(options)?
            .into_iter()
            .map(|(name, setting)| (name, Setting::new(setting.text, Origin::Section)))
            .collect(),
    })
}

/// True for what may stand in the section of a storage.
pub(super) fn is_of_storage(dest: &str) -> bool {
    ["storage", "container"].contains(&dest)
        || OPTIONS
            .iter()
            .any(|option| option.dest == dest && option.used == Use::Storage)
}

/// A storage's own options over those that it shares with others: all but the place.
pub(super) fn over_shared(mut own: OptionMap, shared: &OptionMap) -> OptionMap {
    for (dest, value) in shared {
        if is_of_storage(dest) && !["storage", "container"].contains(dest) {
            own.entry(dest).or_insert_with(|| value.clone());
        }
    }
    own
}

/// The named storages.
pub(super) fn sections<'a>(options: &Options<'a>) -> impl Iterator<Item = Section<'a>> {
    let era = options.era;
    options.storages.iter().map(move |named| Section {
        name: &named.name,
        options: Options {
            map: &named.options,
            storages: &[],
            typed: &NOTHING,
            era,
        },
    })
}

/// Tells whether a storage does something with an option.
pub(super) fn uses(storage: &str, dest: &str) -> bool {
    SETTINGS
        .iter()
        .any(|(of, option, _)| (*of, *option) == (storage, dest))
        || IN_URL.contains(&(storage, dest))
        // Refused as a whole, with a message of its own.
        || (storage.starts_with("ftp") && dest.starts_with("ftp_"))
}

/// The URL of the original's storage options.
pub(super) fn url(options: &Options<'_>) -> Result<String, Failure> {
    let container = options.container()?;
    let storage = options.storage();
    match storage.as_str() {
        "local" => Ok(format!("local:{container}")),
        "ssh" => ssh_url(options, &container),
        "ftp" | "ftps" => Err(failed(format!("storage {storage} is not supported"))
            .because(
                "FTP can't put a file in place in one step, and tells nobody that a transfer was cut off",
            )
            .advise("use --storage ssh on the same server, or local on a mounted directory")),
        _ => Ok(format!("{storage}://{container}")),
    }
}

/// The URL of a directory on an SSH server.
fn ssh_url(options: &Options<'_>, container: &str) -> Result<String, Failure> {
    let user = options
        .text("ssh_username")
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let port = options
        .text("ssh_port")
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = options
        .text("ssh_host")
        .ok_or_else(|| failed("--ssh-host is required"))?;
    let path = match (container.strip_prefix('/'), container.strip_prefix("~/")) {
        (Some(absolute), _) => absolute.to_owned(),
        (None, Some(_)) => container.to_owned(),
        (None, None) => format!("~/{container}"),
    };
    Ok(format!("ssh://{user}{host}{port}/{path}"))
}

/// The settings that belong to the storage in use, under its plugin's names.
///
/// # Errors
/// When the login asks for what isn't done here.
pub(super) fn settings(options: &Options<'_>) -> Result<BTreeMap<String, Setting>, Failure> {
    let storage = options.storage();
    if storage == "swift" {
        refuse_odd_logins(options)?;
    }
    let own = SETTINGS.iter().filter(|(of, ..)| *of == storage);
    let given = own.filter_map(|(_, dest, name)| Some(((*name).to_owned(), options.setting(dest)?)));
    Ok(given.collect())
}

/// Refuses logins that would fail later with words that nobody understands.
fn refuse_odd_logins(options: &Options<'_>) -> Result<(), Failure> {
    if options.flag("os_trust_id") {
        return Err(failed("--os-trust-id is not supported yet")
            .advise("make an application credential and name it in OS_APPLICATION_CREDENTIAL_ID"));
    }
    match options.text("os_identity_api_version").as_deref() {
        // Version 1 is TempAuth, which has variables of its own (ST_AUTH).
        None | Some("1" | "1.0" | "3") => Ok(()),
        Some(version) => Err(failed(format!(
            "version {version} of the identity API is not supported; there are 3 and 1 (TempAuth)"
        ))),
    }
}
