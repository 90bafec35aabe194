//! What the command line means: judges typed arguments together with the configuration file,
//! the environment and the defaults, and ends in a [`Command`].
//!
//! The nearest to the user wins: command line, `[backup.NAME]`, `[defaults]`, environment,
//! default; what plugins are set with has more places (`settings`). Everything that contradicts itself or is missing is refused here, before anything
//! is opened, with the option that would mend it.

mod backup;
mod copy;
mod clouds;
pub(crate) mod date;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod hooks;
pub(crate) mod layer;
mod osrc;
mod author;
mod plugin;
mod reading;
mod settings;
mod retention;
pub(crate) mod rules;
pub(crate) mod size;
mod storage;
mod written;
#[cfg(test)]
mod golden;

use std::path::{Path, PathBuf};

use crate::args::{Args, StorageVerb, Verb};
use crate::command::{Command, Detail, Man};
use crate::exit::{Exit, Failure};

use environment::Environment;
use file::ConfigFile;
use layer::Layer;

/// Everything that options may come from besides the command line.
pub(crate) struct Config {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The configuration file, empty if there is none.
    pub(crate) file: ConfigFile,
    /// The time zone in which dates without one are read.
    pub(crate) zone: jiff::tz::TimeZone,
}

impl Config {
    /// Reads the configuration file: the one named, else `$FREEZER_CONFIG`, else the user's if it exists.
    ///
    /// # Errors
    /// When a named file can't be read, or any is invalid.
    pub(crate) fn load(environment: Environment, named: Option<&Path>) -> Result<Config, Failure> {
        let named = named.or(environment.config.as_deref());
        let users = environment
            .config_home
            .as_ref()
            .map(|home| home.join("freezer/config.toml"));
        let file = match (named, users) {
            (Some(path), _) => read_file(path)?,
            (None, Some(path)) if path.exists() => read_file(&path)?,
            (None, _) => ConfigFile::default(),
        };
        Ok(Config {
            environment,
            file,
            zone: jiff::tz::TimeZone::system(),
        })
    }

    /// Judges a verb.
    ///
    /// # Errors
    /// Whatever is missing or contradicts itself, as a usage failure with advice.
    pub(crate) fn judge(&self, args: Args) -> Result<Command, Failure> {
        let detail = if args.global.verbose > 0 {
            Detail::Full
        } else {
            Detail::Short
        };
        if args.version {
            return Ok(Command::Version(detail));
        }
        let verb = args
            .verb
            .ok_or_else(|| Failure::usage("no verb was given").advise("freezer --help lists the verbs"))?;
        Ok(match verb {
            Verb::Backup(args) => Command::Backup(Box::new(self.backup(*args)?)),
            Verb::Restore(args) => Command::Restore(Box::new(self.restore(*args)?)),
            Verb::List(args) => Command::List(self.list(args)?),
            Verb::Ls(args) => Command::Ls(self.ls(args)?),
            Verb::Dump(args) => Command::Dump(self.dump(args)?),
            Verb::Check(args) => Command::Check(self.check(args)?),
            Verb::Copy(args) => Command::Copy(Box::new(self.copy(args)?)),
            Verb::Info(args) => Command::Info(self.info(args)?),
            Verb::Storage(args) => match args.verb {
                StorageVerb::List => Command::StorageList,
                StorageVerb::Test(args) => Command::StorageTest(self.storage_test(args)?),
            },
            Verb::Prune(args) => Command::Prune(Box::new(self.prune(*args)?)),
            Verb::Tag(args) => Command::Tag(self.tag(args.verb)?),
            Verb::Admin(args) => Command::Admin(self.admin(args)?),
            Verb::Exec(args) => Command::Exec(exec::exec(args)),
            Verb::Plugin(args) => Command::Plugin(Box::new(plugin::judge(args.verb)?)),
            Verb::Completions(args) => Command::Completions(args.shell),
            Verb::Man(args) => Command::Man(match args.output_dir {
                Some(directory) => Man::Write(directory),
                None => Man::Print(args.verb),
            }),
        })
    }

    /// Where plugins are looked for.
    pub(crate) fn plugin_dirs(&self, asked: &[PathBuf]) -> Vec<PathBuf> {
        let mut asked = asked.to_vec();
        asked.extend(self.file.defaults.plugins_dir.iter().cloned());
        self.environment.plugin_dirs(&asked)
    }

    /// A path whose leading `~` is the user's home, as the original's options have it.
    pub(crate) fn expand_home(&self, path: PathBuf) -> PathBuf {
        match (path.strip_prefix("~"), &self.environment.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        }
    }

    /// The layers below a verb's own options: `[backup.NAME]` if there is one, defaults, environment.
    fn below(&self, name: Option<&str>) -> Layer {
        let named = name
            .and_then(|name| self.file.backup.get(name))
            .cloned()
            .unwrap_or_default();
        named
            .over(self.file.defaults.clone())
            .over(self.environment_layer())
    }

    /// The lowest layer.
    fn environment_layer(&self) -> Layer {
        Layer {
            host: self.environment.host.clone(),
            storages: self
                .environment
                .storage
                .iter()
                .map(|text| crate::args::StorageText(text.clone()))
                .collect(),
            encrypt_pass_file: self.environment.pass_file.clone(),
            ..Layer::default()
        }
    }
}

/// Reads a configuration file: ini by its name's end, else TOML.
fn read_file(path: &Path) -> Result<ConfigFile, Failure> {
    let judged = |error: file::FileError| {
        let advice = match &error {
            file::FileError::Read { .. } => "name another file with --config",
            file::FileError::Invalid { .. } => "mend that line, or name another file with --config",
        };
        Failure::from_error(Exit::Usage, &error).advise(advice)
    };
    let text = file::read_text(path).map_err(judged)?;
    if path.extension().is_some_and(|end| end == "ini" || end == "conf") {
        return crate::compat::config_file(&text, path);
    }
    let file = file::parse(&text, path).map_err(judged)?;
    Ok(ConfigFile {
        path: Some(path.to_owned()),
        ..file
    })
}
