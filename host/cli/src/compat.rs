//! The original's command line: what `freezerc` and `freezer-agent` did, under these names.
//!
//! Chosen by the name the program is started as. Its options become the same [`Command`] as our
//! verbs; its way of failing is kept too: `Critical Error: …` and the exit codes 0, 1 and 2.

pub(crate) mod document;
mod help;
mod ini;
mod map;
pub(crate) mod messages;
mod options;
mod parse;
mod storage;
mod removal;
#[cfg(test)]
mod golden;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::args::{GlobalArgs, PriorityArgs, StorageText};
use crate::command::{Command, Detail};
use crate::config::Config;
use crate::config::environment::Environment;
use crate::config::file::{ConfigFile, read_text};
use crate::exit::{Exit, Failure};

use map::{Options, failed};
use parse::OptionMap;
use storage::NamedOptions;

pub(crate) use help::page;
pub(crate) use messages::{exit_code, in_original_words};

/// Whose rules apply where the original changed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// `freezerc`: increments by default, dates in local time, a name is required.
    Freezerc,
    /// `freezer-agent` 19.0.0: increments on request, dates in UTC, a name by default.
    Agent,
}

impl Era {
    /// The era of a program's name; `None` for our own.
    pub(crate) fn of(program: &OsStr) -> Option<Era> {
        match Path::new(program).file_name()?.to_str()? {
            "freezerc" => Some(Era::Freezerc),
            "freezer-agent" => Some(Era::Agent),
            _ => None,
        }
    }

    /// The program's name in messages.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Era::Freezerc => "freezerc",
            Era::Agent => "freezer-agent",
        }
    }
}

/// A run of the original's command line, judged.
pub(crate) struct Original {
    /// What to do.
    pub(crate) command: Command,
    /// What it says about output.
    pub(crate) global: GlobalArgs,
    /// What was accepted without effect, and unknown ini keys.
    pub(crate) warnings: Vec<String>,
    /// The ini file.
    pub(crate) config_file: Option<PathBuf>,
    /// A log file asked for.
    pub(crate) log_file: Option<PathBuf>,
}

/// Why the original's command line leads to nothing, and whether it is to be told.
pub(crate) struct Refused {
    /// Why.
    pub(crate) failure: Failure,
    /// Nothing is to be printed.
    pub(crate) quiet: bool,
    /// What was noticed on the way.
    pub(crate) warnings: Vec<String>,
}

/// Reads and judges the original's arguments (those after the program's name).
///
/// # Errors
/// [`Exit::Usage`] for a mistake on the command line, [`Exit::Failed`] for all others.
pub(crate) fn parse(era: Era, arguments: &[OsString], environment: Environment) -> Result<Original, Refused> {
    let loud = |failure| Refused {
        failure,
        quiet: false,
        warnings: Vec::new(),
    };
    if arguments.is_empty() {
        return Err(loud(Failure::new(Exit::Failed, help::text(era))));
    }
    let mut map = parse::parse(arguments).map_err(|error| loud(Failure::usage(error.to_string())))?;
    let mut warnings = Vec::new();
    let typed: BTreeSet<&'static str> = map.keys().copied().collect();
    let merged = match map.get("config").cloned().flatten() {
        Some(path) => merge(&mut map, Path::new(&path), &mut warnings),
        None => Ok(Vec::new()),
    };
    let (storages, merged) = match merged {
        Ok(storages) => (storages, Ok(())),
        Err(failure) => (Vec::new(), Err(failure)),
    };
    let options = Options {
        map: &map,
        storages: &storages,
        typed: &typed,
        era,
    };
    let quiet = options.flag("quiet");
    warnings.extend(map::without_effect(&options));
    match merged.and_then(|()| command(&options, environment)) {
        Ok(command) => original(&options, command, warnings).map_err(loud),
        Err(failure) => Err(Refused {
            failure,
            quiet,
            warnings,
        }),
    }
}

/// What the options ask for.
fn command(options: &Options<'_>, environment: Environment) -> Result<Command, Failure> {
    if options.flag("help") {
        return Ok(Command::Print(help::text(options.era)));
    }
    if options.flag("version") {
        return Ok(Command::Version(Detail::Short));
    }
    let config = Config {
        environment,
        file: ConfigFile::default(),
        zone: jiff::tz::TimeZone::system(),
    };
    map::judge(options, &config)
}

/// A judged command with what the options say about output.
fn original(options: &Options<'_>, command: Command, warnings: Vec<String>) -> Result<Original, Failure> {
    let detail =
        options.flag("debug") || matches!(options.text("log_level").as_deref(), Some("debug" | "all"));
    let global = GlobalArgs {
        quiet: options.flag("quiet"),
        verbose: if detail { 2 } else { 0 },
        priority: PriorityArgs {
            max_priority: options.flag("max_priority"),
            ..PriorityArgs::default()
        },
        upload_limit: options.parsed("upload_limit")?,
        download_limit: options.parsed("download_limit")?,
        ..GlobalArgs::default()
    };
    Ok(Original {
        command,
        global,
        warnings,
        config_file: options.get("config").map(PathBuf::from),
        log_file: options.get("log_file").map(PathBuf::from),
    })
}

/// Lays the ini file below the command line; answers its named storages, unless the command line names one.
fn merge(map: &mut OptionMap, path: &Path, warnings: &mut Vec<String>) -> Result<Vec<NamedOptions>, Failure> {
    let text = read_text(path).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).advise("name another file with --config")
    })?;
    let ini = ini::parse(&text, path).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).advise("mend that line, or name another file with --config")
    })?;
    let below = typed(&ini, path, warnings)?;
    let asked = map.contains_key("storage") || map.contains_key("container");
    for (dest, value) in below.options {
        map.entry(dest).or_insert(value);
    }
    if asked && !below.storages.is_empty() {
        warnings
            .push("the [storage:…] sections have no effect: the command line names the storage".to_owned());
        return Ok(Vec::new());
    }
    Ok(below.storages)
}

/// An ini file whose values have been checked.
struct Typed {
    options: OptionMap,
    storages: Vec<NamedOptions>,
}

/// Types the options of an ini file: later lines win, unknown keys are warned of.
fn typed(ini: &ini::Ini, path: &Path, warnings: &mut Vec<String>) -> Result<Typed, Failure> {
    let options = checked(&ini.options, path, warnings)?;
    let mut storages: Vec<NamedOptions> = Vec::with_capacity(ini.storages.len());
    for (name, entries) in &ini.storages {
        let own = checked(entries, path, warnings)?;
        let (own, other): (OptionMap, OptionMap) = own
            .into_iter()
            .partition(|(dest, _)| storage::is_of_storage(dest));
        for dest in other.keys() {
            warnings.push(format!(
                "option {dest:?} has no effect in [storage:{name}] of {path:?}"
            ));
        }
        storages.push(NamedOptions {
            name: name.clone(),
            options: storage::over_shared(own, &options),
        });
    }
    Ok(Typed { options, storages })
}

/// The values of one set of options, by dest.
fn checked(entries: &[ini::Entry], path: &Path, warnings: &mut Vec<String>) -> Result<OptionMap, Failure> {
    let mut map = OptionMap::new();
    for entry in entries {
        let Some(option) = options::by_dest(&entry.key) else {
            warnings.push(format!(
                "unknown option {:?} in {path:?}, line {}",
                entry.key, entry.line
            ));
            continue;
        };
        let value = match &entry.value {
            Some(value) => parse::checked(option, value.into()).map_err(|error| {
                failed(format!(
                    "invalid configuration file {path:?}, line {}",
                    entry.line
                ))
                .because(error.to_string())
                .advise("mend that line, or name another file with --config")
            })?,
            None => None,
        };
        map.insert(option.dest, value);
    }
    Ok(map)
}

/// Reads an ini file for one of our own verbs: its options become the defaults.
///
/// # Errors
/// [`Exit::Usage`] with the line and the reason.
pub(crate) fn config_file(text: &str, path: &Path) -> Result<ConfigFile, Failure> {
    let usage = |failure: Failure| Failure {
        exit: Exit::Usage,
        ..failure
    };
    let ini = ini::parse(text, path).map_err(|error| {
        Failure::from_error(Exit::Usage, &error).advise("mend that line, or name another file with --config")
    })?;
    let mut warnings = Vec::new();
    let typed = typed(&ini, path, &mut warnings).map_err(usage)?;
    let options = Options {
        map: &typed.options,
        storages: &typed.storages,
        typed: &BTreeSet::new(),
        era: Era::Freezerc,
    };
    let mut defaults = map::defaults(&options).map_err(usage)?;
    let mut sections = BTreeMap::new();
    for named in storage::sections(&options) {
        let section = storage::section(&named).map_err(usage)?;
        sections.insert(named.name.to_owned(), section);
        defaults.storages.push(StorageText(format!("{}:", named.name)));
    }
    Ok(ConfigFile {
        defaults,
        storage: sections,
        path: Some(path.to_owned()),
        warnings,
        ..ConfigFile::default()
    })
}

#[cfg(test)]
mod tests;
