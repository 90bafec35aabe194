//! Does a judged command: one file for each verb or family of verbs, each from the command to
//! the recipe in `freezer-agent` and from its outcome to the user.

mod admin;
mod backup;
mod browse;
mod check;
mod copy;
mod exec;
mod failure;
mod hooks;
mod plugins;
mod prune;
mod restore;
mod restore_stream;
mod session;
mod storage;
mod stream_file;
mod tag;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use freezer_agent::Wanted;
use freezer_format::name::HostBackupName;
use freezer_plugin::{BandwidthLimits, Isolation, PluginUsage};
use serde_json::{Value, json};

use crate::command::{Command, Detail, Filter, Man, Selection};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::manual;
use crate::render::{Output, Style, usage};

/// What every verb is given.
pub(crate) struct Context {
    /// Where plugins are looked for.
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Which plugins run in processes of their own.
    pub(crate) isolation: Isolation,
    /// How fast all storages together may be written and read.
    pub(crate) bandwidth: BandwidthLimits,
    /// The surroundings.
    pub(crate) config: Config,
    /// The way to the user.
    pub(crate) output: Output,
    /// What plugins used in the session that ended last.
    pub(crate) usage: Mutex<Vec<PluginUsage>>,
}

impl Context {
    /// What plugins used in the session that ended last.
    fn usage(&self) -> Vec<PluginUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends a verb that had a session: its document says what plugins used.
    ///
    /// # Errors
    /// As [`Output::finish`].
    fn finish(&self, exit: Exit, mut document: Value) -> Result<(), Failure> {
        if let Some(map) = document.as_object_mut() {
            let used: Vec<Value> = self.usage().iter().map(usage::document).collect();
            map.insert("plugins".to_owned(), used.into());
        }
        self.output.finish(exit, document)
    }
}

/// Does a command.
///
/// # Errors
/// Whatever kept it from being done.
pub(crate) fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    let output = &context.output;
    match command {
        Command::Version(detail) => version(output, detail),
        Command::Print(text) if text.is_empty() => Ok(Exit::Ok),
        Command::Print(text) => output.print(&text).map(|()| Exit::Ok),
        Command::Completions(shell) => {
            output.print_raw(&manual::completions(shell))?;
            output.finish(Exit::Ok, json!({ "shell": shell.to_string() }))?;
            Ok(Exit::Ok)
        }
        Command::Man(Man::Print(verb)) => {
            output.print_raw(&manual::page(verb.as_deref())?)?;
            output.finish(Exit::Ok, json!({ "page": verb }))?;
            Ok(Exit::Ok)
        }
        Command::Man(Man::Write(directory)) => {
            let pages = manual::write_pages(&directory)?;
            output.note(&format!("{pages} pages written"));
            output.finish(Exit::Ok, json!({ "pages": pages }))?;
            Ok(Exit::Ok)
        }
        Command::Backup(command) => backup::run(&command, context),
        Command::Restore(command) => restore::run(&command, context),
        Command::List(command) => browse::list(&command, context),
        Command::Ls(command) => browse::ls(&command, context),
        Command::Dump(command) => browse::dump(&command, context),
        Command::Check(command) => check::run(&command, context),
        Command::Copy(command) => copy::run(&command, context),
        Command::Info(command) => storage::info(&command, context),
        Command::StorageTest(command) => storage::test(&command, context),
        Command::StorageList => storage::list(context),
        Command::Prune(command) => prune::run(&command, context),
        Command::Then(first, removal) => match run(*first, context)? {
            Exit::Ok => prune::run(&removal, context),
            doubtful => {
                output.insist("warning: nothing is removed: what was done before is not whole");
                Ok(doubtful)
            }
        },
        Command::Tag(command) => tag::run(&command, context),
        Command::Admin(command) => admin::run(&command, context),
        Command::Exec(command) => exec::run(&command, context),
        Command::Plugin(command) => plugins::run(*command, context),
    }
}

/// A selection as recipes take it.
fn wanted(selection: &Selection) -> Result<Wanted, Failure> {
    let name = HostBackupName::new(&selection.host, &selection.name)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Wanted {
        name,
        at: selection.at,
    })
}

/// A filter as recipes take it.
fn filter(filter: &Filter) -> freezer_agent::Filter {
    freezer_agent::Filter {
        host: filter.host.clone(),
        name: filter.name.clone(),
    }
}

/// Prints the version, and on request what the program is made of.
///
/// # Errors
/// When standard output can't be written.
pub(crate) fn version(output: &Output, detail: Detail) -> Result<Exit, Failure> {
    const PARTS: [(&str, &str); 4] = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("plugin contract", freezer_plugin::CONTRACT),
        ("plugin engine", concat!("wasmtime ", env!("FREEZER_ENGINE"))),
        ("target", env!("FREEZER_TARGET")),
    ];
    if output.style == Style::Json {
        let parts: serde_json::Map<String, serde_json::Value> = PARTS
            .iter()
            .map(|(name, value)| (name.replace(' ', "_"), json!(value)))
            .collect();
        output.finish(Exit::Ok, parts.into())?;
        return Ok(Exit::Ok);
    }
    let mut text = match output.style {
        Style::Original(era) => format!("{} (freezer {})", era.program(), PARTS[0].1),
        Style::Text | Style::Json => format!("freezer {}", PARTS[0].1),
    };
    if detail == Detail::Full {
        for (name, value) in &PARTS[1..] {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    output.print(&text)?;
    Ok(Exit::Ok)
}
