//! What the original's options mean: joins command line and ini file, and ends in a [`Command`].
//!
//! The command line wins over the ini file, as the original's documentation says. Messages
//! that users and scripts match on are the original's to the letter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::options::{OPTIONS, Use};
use super::parse::{OptionMap, shown};
use super::storage::{self, NamedOptions};
use super::{Era, document, removal};
use crate::args::{CompressionText, Days, DereferenceText, LimitText, RateText, StorageText};
use crate::command::{
    Backup, Command, ExcludeStyle, Exec, Info, Reading, Restore, RestoreGoal, Selection, StorageSpec,
};
use crate::config::Config;
use crate::config::date::DateText;
use crate::config::hooks::HookLayer;
use crate::config::layer::{Layer, Origin, Setting};
use crate::config::size::Size;
use crate::exit::{Exit, Failure};

/// The storage's top-level name where none is given.
pub(super) const CONTAINER: &str = "freezer_backups";
/// The name 19.0.0 stores under where none is given: it forgets to fill its template in.
const NAME: &str = "freezer_{mode}_{resource_id}";

/// The options that say which level is made.
const LEVELS: [&str; 3] = ["max_level", "always_level", "restart_always_level"];

/// The options that ask for a snapshot. The first era made one for a named volume, too.
const SNAPSHOT: [&str; 3] = ["snapshot", "lvm_auto_snap", "lvm_srcvol"];

/// The original's options of one run, already typed.
pub(super) struct Options<'a> {
    /// By dest.
    pub(super) map: &'a OptionMap,
    /// The named storages, if an ini file has some: then they are meant and no other.
    pub(super) storages: &'a [NamedOptions],
    /// What stands on the command line, and not in an ini file.
    pub(super) typed: &'a BTreeSet<&'static str>,
    /// Whose rules apply where the eras differ.
    pub(super) era: Era,
}

impl Options<'_> {
    /// An option's value, as given.
    pub(super) fn get(&self, dest: &str) -> Option<&OsStr> {
        self.map.get(dest).and_then(Option::as_deref)
    }

    /// An option's value as text.
    pub(super) fn text(&self, dest: &str) -> Option<String> {
        self.get(dest).map(|value| value.to_string_lossy().into_owned())
    }

    /// An option as a plugin's setting.
    pub(super) fn setting(&self, dest: &str) -> Option<Setting> {
        let origin = match self.typed.contains(dest) {
            true => Origin::Original,
            false => Origin::File,
        };
        Some(Setting::new(self.text(dest)?, origin))
    }

    fn path(&self, dest: &str) -> Option<PathBuf> {
        self.get(dest).map(PathBuf::from)
    }

    /// True if a flag is on.
    pub(super) fn flag(&self, dest: &str) -> bool {
        self.get(dest).is_some()
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, dest: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(dest) else {
            return Ok(None);
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| failed(format!("invalid value {text:?} for {dest}")))
    }

    /// What to do.
    pub(super) fn action(&self) -> String {
        self.text("action").unwrap_or_else(|| "backup".to_owned())
    }

    /// The kind of storage.
    pub(super) fn storage(&self) -> String {
        self.text("storage").unwrap_or_else(|| "swift".to_owned())
    }

    /// The container; given as nothing it is an error.
    pub(super) fn container(&self) -> Result<String, Failure> {
        match self.map.get("container") {
            Some(None) => Err(failed("--container is required")),
            Some(Some(container)) => Ok(container.to_string_lossy().into_owned()),
            None => Ok(CONTAINER.to_owned()),
        }
    }

    /// The mode.
    pub(super) fn mode(&self) -> String {
        self.text("mode").unwrap_or_else(|| "fs".to_owned())
    }

    /// The name; the first era had no default.
    pub(super) fn name(&self) -> Result<String, Failure> {
        match (self.text("backup_name"), self.era) {
            (Some(name), _) => Ok(name),
            (None, Era::Agent) => Ok(NAME.to_owned()),
            (None, Era::Freezerc) => Err(failed("A value for --backup-name is required")),
        }
    }

    fn incremental(&self) -> bool {
        match self.era {
            Era::Freezerc => !self.flag("no_incremental"),
            // Who names a level wants increments, unless they are switched off in so many words.
            Era::Agent => {
                let wanted = match self.map.get("incremental") {
                    Some(said) => said.is_some(),
                    None => LEVELS.iter().any(|dest| self.get(dest).is_some()),
                };
                wanted && !self.flag("no_incremental")
            }
        }
    }
}

/// A failure of a run: exit code 1.
pub(super) fn failed(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, message)
}

/// Judges the options of a run.
///
/// # Errors
/// Whatever is missing, contradicts itself, or isn't done by this program.
pub(super) fn judge(options: &Options<'_>, config: &Config) -> Result<Command, Failure> {
    refuse(options)?;
    if let Some(proxy) = options.text("proxy").filter(|proxy| !proxy.is_empty()) {
        let lower = proxy.to_lowercase();
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            return Err(failed("Proxy has unknown protocol").advise("write --proxy http://HOST:PORT"));
        }
    }
    match options.action().as_str() {
        "backup" => {
            let backup = Command::Backup(Box::new(backup(options, config)?));
            with_removal(backup, options, config)
        }
        "restore" => {
            let restore = Command::Restore(Box::new(restore(options, config)?));
            with_removal(restore, options, config)
        }
        "info" => info(options, config),
        "admin" if removal::given(options).is_empty() => Err(failed(
            "Specify removal date via --remove-before-date, --remove-from-date, or --remove-older-than",
        )),
        "admin" => Ok(Command::Prune(Box::new(removal::judge(options, config)?))),
        "exec" if !options.flag("command") => Err(failed("--command option is required")),
        "exec" => Ok(Command::Exec(Exec {
            commands: freezer_agent::split_pipeline(&options.text("command").unwrap_or_default()),
            time_limit: None,
        })),
        action => Err(failed(format!("there is no action {action}"))),
    }
}

/// Refuses what would be dangerous to leave out silently.
fn refuse(options: &Options<'_>) -> Result<(), Failure> {
    if let Some(engine) = options.text("engine_name").filter(|engine| engine != "tar") {
        if engine == "nova" && options.incremental() {
            return Err(failed("Incremental nova backup is not supported"));
        }
        return Err(failed(format!(
            "engine {engine} is not supported yet; there is tar"
        )));
    }
    Ok(())
}

/// Since 19.0.0, and in the first era, a removal option of a backup or a restore removes afterwards.
fn with_removal(command: Command, options: &Options<'_>, config: &Config) -> Result<Command, Failure> {
    if removal::given(options).is_empty() {
        return Ok(command);
    }
    let removal = removal::judge(options, config)?;
    Ok(Command::Then(Box::new(command), Box::new(removal)))
}

/// What is accepted but has no effect, for warnings.
pub(super) fn without_effect(options: &Options<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for option in OPTIONS {
        if let (Use::Needless(why), Some(_)) = (option.used, options.get(option.dest)) {
            warnings.push(format!("{} has no effect: {why}", shown(option)));
        }
    }
    warnings.extend(unused(options));
    warnings
}

/// What is meant for other storages and modes than those in use, on one line each. The login to OpenStack is left
/// out: the original demanded it everywhere.
fn unused(options: &Options<'_>) -> Vec<String> {
    let mut plugins = vec![(Use::Mode, "mode", options.mode())];
    // What stands beside sections of storages is shared by them: one of them may use it.
    if options.storages.is_empty() {
        plugins.insert(0, (Use::Storage, "storage", options.storage()));
    }
    let of_mode = mode_settings(options);
    let line = |(used, kind, plugin): &(Use, &str, String)| {
        let idle = |option: &&super::options::Opt| {
            let name = option.long.first().copied().unwrap_or(option.dest);
            let taken = match used {
                Use::Storage => storage::uses(plugin, option.dest),
                _ => of_mode.contains_key(name),
            };
            option.used == *used
                && options.get(option.dest).is_some()
                && !option.dest.starts_with("os")
                && !taken
        };
        let names: Vec<String> = OPTIONS.iter().filter(idle).map(shown).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} has no effect: {kind} {plugin} doesn't use it",
                names.join(", ")
            )
        })
    };
    plugins.iter().filter_map(line).collect()
}

/// A backup, its options as one layer of ours.
fn backup(options: &Options<'_>, config: &Config) -> Result<Backup, Failure> {
    if !options.incremental() && LEVELS.iter().any(|dest| options.get(dest).is_some()) {
        return Err(failed("backup-level options require the incremental option"));
    }
    let path = options
        .path("lvm_auto_snap")
        .or_else(|| options.path("path_to_backup"))
        .ok_or_else(|| failed("path-to-backup argument must be provided"))?;
    let common = common(options, config)?;
    let layer = Layer {
        path: Some(config.expand_home(path)),
        // The original's default, in every era.
        sync: common.sync.or(Some(true)),
        ..common
    };
    let storages = storage::storages(options, &layer, config)?;
    let mut backup = config
        .backup_to(layer, Some(storages), options.flag("dry_run"))
        .map_err(as_failed)?;
    backup.excludes.style = ExcludeStyle::Tar;
    backup.document = Some(document::of(options, &backup.host, &backup.name)?);
    Ok(backup)
}

/// What the options say, and nothing more: for the verbs of our own that read an ini file.
///
/// # Errors
/// When a value is of the wrong type.
pub(super) fn defaults(options: &Options<'_>) -> Result<Layer, Failure> {
    let level = |dest| -> Result<Option<u32>, Failure> {
        // The original takes any integer; a negative one switches the rule off.
        Ok(options
            .parsed::<i64>(dest)?
            .and_then(|level| u32::try_from(level).ok()))
    };
    let named = options.storages.is_empty() && (options.flag("storage") || options.flag("container"));
    Ok(Layer {
        path: options.path("path_to_backup"),
        name: options.text("backup_name"),
        host: options.text("hostname"),
        storages: named
            .then(|| storage::url(options))
            .transpose()?
            .map(StorageText)
            .into_iter()
            .collect(),
        storage_options: match options.storages {
            [] => storage::settings(options)?,
            _ => BTreeMap::new(),
        },
        mode: options.text("mode"),
        mode_options: mode_settings(options),
        hooks: hooks(options)?,
        sync: options.map.get("sync").map(Option::is_some),
        max_priority: options.flag("max_priority").then_some(true),
        full: options.flag("no_incremental").then_some(true),
        max_level: level("max_level")?,
        always_level: level("always_level")?,
        restart_always_level: options.parsed::<Days>("restart_always_level")?,
        exclude: options
            .get("exclude")
            .map(OsStr::to_owned)
            .into_iter()
            .collect::<Vec<OsString>>(),
        dereference: options
            .text("dereference_symlink")
            .map(|links| match links.as_str() {
                "soft" => DereferenceText::Soft,
                "hard" => DereferenceText::Hard,
                "all" => DereferenceText::All,
                _ => DereferenceText::None,
            }),
        compression: options.parsed::<CompressionText>("compression")?,
        encrypt_pass_file: options.path("encrypt_pass_file"),
        max_segment_size: options.parsed::<Size>("max_segment_size")?,
        upload_limit: options.parsed::<RateText>("upload_limit")?,
        download_limit: options.parsed::<RateText>("download_limit")?,
        ..Layer::default()
    })
}

/// Hooks: the original has none, but who keeps to its files needn't do without.
fn hooks(options: &Options<'_>) -> Result<HookLayer, Failure> {
    let one = |dest| options.text(dest).into_iter().collect();
    Ok(HookLayer {
        before: one("hook_before"),
        on_success: one("hook_on_success"),
        on_failure: one("hook_on_failure"),
        after: one("hook_after"),
        timeout: options.parsed::<LimitText>("hook_timeout")?,
    })
}

/// The original shows containers of object stores only, and nothing for all others.
fn info(options: &Options<'_>, config: &Config) -> Result<Command, Failure> {
    let layer = common(options, config)?;
    let storages = storage::storages(options, &layer, config)?;
    let shown: Vec<StorageSpec> = storages
        .into_iter()
        .filter(|spec| {
            ["swift:", "s3:"]
                .iter()
                .any(|scheme| spec.url.starts_with(scheme))
        })
        .collect();
    if shown.is_empty() {
        return Ok(Command::Print(String::new()));
    }
    Ok(Command::Info(Info {
        storages: shown,
        document: options.path("metadata_out"),
    }))
}

/// What backup and restore have in common: the options with the original's defaults.
pub(super) fn common(options: &Options<'_>, config: &Config) -> Result<Layer, Failure> {
    let layer = defaults(options)?;
    Ok(Layer {
        name: Some(options.name()?),
        host: layer.host.or_else(|| Some(config.environment.machine.clone())),
        full: (!options.incremental()).then_some(true),
        // The original's chains have no end of their own.
        chain_levels: Some(0),
        chain_days: Some(Days(0.0)),
        compat: Some(true),
        ..layer
    })
}

/// A restore.
fn restore(options: &Options<'_>, config: &Config) -> Result<Restore, Failure> {
    let target = options
        .path("restore_abs_path")
        .ok_or_else(|| failed("--restore-abs-path is required"))?;
    let layer = common(options, config)?;
    let name = options.name()?;
    let host = config.host(layer.host.as_deref(), &name).map_err(as_failed)?;
    let zone = match options.era {
        Era::Freezerc => config.zone.clone(),
        Era::Agent => TimeZone::UTC,
    };
    let at = options
        .parsed::<DateText>("restore_from_date")?
        .map(|date| date.in_zone(&zone))
        .transpose();
    let at = at.map_err(|error| failed(error.to_string()))?;
    let storages = storage::storages(options, &layer, config)?;
    Ok(Restore {
        selection: Selection {
            reading: Reading {
                storages,
                pass_file: layer.encrypt_pass_file,
                compat: true,
            },
            host,
            name,
            at,
        },
        goal: RestoreGoal::Directory(config.expand_home(target)),
        mode: None,
        paths: Vec::new(),
        overwrite: options.flag("overwrite"),
        stale: false,
        mode_settings: layer.mode_options.into_iter().collect(),
        resources: config.resources(None, None)?,
        dry_run: options.flag("dry_run"),
    })
}

/// A usage failure of ours under the original's exit code.
pub(super) fn as_failed(failure: Failure) -> Failure {
    Failure {
        exit: Exit::Failed,
        next: Vec::new(),
        ..failure
    }
}

/// The settings that belong to the mode in use, under the original's option names.
fn mode_settings(options: &Options<'_>) -> BTreeMap<String, Setting> {
    let prefixes: &[&str] = match options.mode().as_str() {
        "mysql" => &["mysql_"],
        "sqlserver" => &["sql_server_"],
        "cinder" => &["cinder_", "cinderbrick_", "temp_", "timeout"],
        "cindernative" => &["cindernative_", "fullbackup_"],
        "nova" => &["nova_", "project_id", "temp_", "timeout"],
        "glance" => &["glance_", "project_id", "temp_", "timeout"],
        _ => &[],
    };
    let wants_snapshot = SNAPSHOT.iter().any(|dest| options.get(dest).is_some());
    let prefixes = prefixes.iter().chain(wants_snapshot.then_some(&"lvm_"));
    let given = OPTIONS.iter().filter(|option| option.used == Use::Mode);
    let given = given.filter(|option| {
        let mut prefixes = prefixes.clone();
        prefixes.any(|prefix| option.dest.starts_with(prefix))
    });
    let snapshot = wants_snapshot.then(|| ("snapshot".to_owned(), Setting::new("auto", Origin::Original)));
    // The original asks the server of the machine whose backup it is.
    let host = options.setting("hostname").filter(|_| options.mode() == "mongo");
    given
        .filter_map(|option| {
            let name = option.long.first().copied().unwrap_or(option.dest);
            Some((name.to_owned(), options.setting(option.dest)?))
        })
        .chain(snapshot)
        .chain(host.map(|host| ("host".to_owned(), host)))
        .collect()
}
