//! What a recipe is given: the plugin host, an opened storage, the way to stop, and the way to the user.
//!
//! Clock and randomness are read here and handed down; nothing below asks the machine for them. Whatever plugins
//! hold through the host is released when the session ends, however it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_agent::{JournalOptions, Keyring, SeenBackups, Storage, Wanted};
use freezer_format::name::Timestamp;
use freezer_format::openssl::Passphrase;
use freezer_format::time::Time;
use freezer_pipeline::RunContext;
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::counters::{Counters, Warning};
use freezer_pipeline::store::Store;
use freezer_plugin::{
    AuditConfig, HostConfig, Plugin, PluginHost, PluginKind, Run, RunConfig, Settings, StorageRequest,
};

use super::Context;
use super::failure;
use crate::command::{Reading, StorageSpec};
use crate::config::Config;
use crate::config::layer::Setting;
use crate::exit::{Exit, Failure};
use crate::render::progress::Progress;
use crate::render::{Output, Style};
use crate::render::{text, units, usage};
use crate::signals::Signals;

/// Warnings that are told one by one; a summary says how many more there are. A tree that can't be read at all
/// must not fill a terminal or a mail.
const MAX_TOLD: u64 = 100;
/// The largest pass file that is read; openssl reads no more than 1023 bytes of its first line.
const MAX_PASS_FILE: u64 = 64 << 10;

/// The way to the user while a recipe runs: shared with plugins and the road's threads.
pub(super) struct Teller {
    output: Output,
    progress: Mutex<Progress>,
    told: AtomicU64,
}

impl Teller {
    /// Tells a warning, above the progress line. What makes a result partial is told even if quiet.
    fn warn(&self, warning: &str, partial: bool) {
        if self.told.fetch_add(1, Ordering::Relaxed) >= MAX_TOLD {
            return;
        }
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.suspend(|| match partial {
            true => self.output.insist(&format!("warning: {warning}")),
            false => self.output.warn(warning),
        });
    }

    /// Says what is waited for, above the progress line; nothing if quiet, and nothing in a document, which comes after the wait.
    fn tell(&self, line: &str) {
        if self.output.style == Style::Json {
            return;
        }
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.suspend(|| self.output.note(&format!("waiting: {}", text::lines(line))));
    }

    /// Ends the progress line and says how many warnings were not told.
    fn finish(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::hidden();
        let told = self.told.load(Ordering::Relaxed);
        if told > MAX_TOLD {
            self.output.insist(&format!(
                "warning: {} more warnings are not shown",
                told - MAX_TOLD
            ));
        }
    }
}

/// Storages that were opened, or couldn't be.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) storages: Vec<Storage>,
    /// Their plugins, in the same order.
    pub(super) plugins: Vec<Plugin>,
    /// The directories of this machine in which they keep their objects.
    pub(super) directories: Vec<PathBuf>,
}

/// One run of one verb.
pub(super) struct Session<'a> {
    pub(super) host: PluginHost,
    pub(super) run: Arc<Run>,
    cancel: Cancel,
    counters: Arc<Counters>,
    teller: Arc<Teller>,
    /// A warning told of something that is missing in what was done.
    left_out: AtomicBool,
    pub(super) context: &'a Context,
    // Kept for its end: from then on a signal ends the process again.
    _signals: Signals,
}

impl<'a> Session<'a> {
    /// Starts a run. `named` are the paths that the user named: plugins may use them as roots.
    ///
    /// # Errors
    /// When signals can't be watched, the machine has no randomness, or a grants, policy or trust file is invalid.
    pub(super) fn start(context: &'a Context, named: Vec<PathBuf>) -> Result<Session<'a>, Failure> {
        let mut probe = [0; 1];
        getrandom::fill(&mut probe).map_err(|error| {
            Failure::new(Exit::Failed, "the system gives no random numbers").because(error.to_string())
        })?;
        let cancel = Cancel::new();
        let signals = Signals::watch(cancel.clone())?;
        let host = plugin_host(context)?;
        let counters = Arc::new(Counters::default());
        let shown = context.config.environment.stderr_is_terminal && context.output.shows_progress();
        let progress = match shown {
            true => Progress::start(context.output.verb, Arc::clone(&counters)),
            false => Progress::hidden(),
        };
        let teller = Arc::new(Teller {
            output: context.output.clone(),
            progress: Mutex::new(progress),
            told: AtomicU64::new(0),
        });
        let told = Arc::clone(&teller);
        let waiting = Arc::clone(&teller);
        let run = Run::new(RunConfig {
            cancel: cancel.clone(),
            named_paths: named,
            warn: Arc::new(move |warning| told.warn(&warning, false)),
            progress: Arc::new(|activity, _| tracing::debug!(activity, "a plugin reports its progress")),
            tell: Arc::new(move |line| waiting.tell(&line)),
            bandwidth: context.bandwidth,
        });
        Ok(Session {
            host,
            run,
            cancel,
            counters,
            teller,
            left_out: AtomicBool::new(false),
            context,
            _signals: signals,
        })
    }

    /// Finds, sets and opens a storage.
    ///
    /// # Errors
    /// When there is no such plugin, its settings are wrong, or it can't be opened.
    pub(super) fn open(&self, spec: &StorageSpec) -> Result<(Plugin, Arc<dyn Store>), Failure> {
        let (plugin, request) = self.find(spec)?;
        let store = self.host.open_storage(&plugin, request, &self.run);
        let store = store.map_err(|error| failure::of_plugin(&error))?;
        Ok((plugin, store))
    }

    /// Finds a storage's plugin and its settings.
    fn find(&self, spec: &StorageSpec) -> Result<(Plugin, StorageRequest), Failure> {
        let scheme = spec
            .url
            .split_once(':')
            .map_or(spec.url.as_str(), |(scheme, _)| scheme);
        let plugin = self
            .host
            .find(PluginKind::Storage, scheme)
            .map_err(|error| failure::of_plugin(&error))?;
        self.tell_passed_over(&plugin);
        let assembled = self.context.config.storage_settings(plugin.manifest(), spec)?;
        for warning in &assembled.warnings {
            self.teller.warn(&text::lines(warning), false);
        }
        let request = StorageRequest {
            settings: assembled.settings,
            uploads: spec.uploads,
        };
        Ok((plugin, request))
    }

    /// Finds, sets and opens storages. One that can't be opened is an answer, too: what that means the recipe decides.
    ///
    /// # Errors
    /// When there is no such plugin, or what was written about it is wrong.
    pub(super) fn open_all(&self, specs: &[StorageSpec]) -> Result<Opened, Failure> {
        let mut opened = Opened::default();
        for spec in specs {
            let (plugin, request) = self.find(spec)?;
            let directories = self.host.own_directories(&plugin, &request.settings);
            let store = match self.host.open_storage(&plugin, request, &self.run) {
                Ok(store) => Storage::opened(store),
                Err(error) => match failure::of_plugin(&error) {
                    failure if specs.len() == 1 || failure.exit == Exit::Usage => return Err(failure),
                    _ => Storage::unopened(spec.url.clone(), error.into()),
                },
            };
            opened.storages.push(store);
            opened.directories.extend(directories);
            opened.plugins.push(plugin);
        }
        Ok(opened)
    }

    /// Opens the storage to read a backup from: the first that holds it whole. Tells which, if there are several.
    ///
    /// # Errors
    /// As [`Session::open_all`], or no storage holds it.
    pub(super) fn open_for(
        &self,
        reading: &Reading,
        wanted: &Wanted,
        keyring: &Keyring,
    ) -> Result<(Arc<dyn Store>, Vec<PathBuf>), Failure> {
        let opened = self.open_all(&reading.storages)?;
        let picked = freezer_agent::pick(opened.storages, wanted, keyring);
        let picked = picked.map_err(|error| failure::of_agent(&error))?;
        for passed in &picked.passed_over {
            let (storage, reason) = (text::lines(&passed.storage), text::lines(&passed.reason));
            self.teller
                .warn(&format!("{storage} is passed over: {reason}"), false);
        }
        if reading.storages.len() > 1 {
            let url = text::lines(picked.store.url());
            self.context.output.note(&format!("read from {url}"));
        }
        Ok((picked.store, opened.directories))
    }

    /// Where unfinished backups are written down, if this user has a place for that.
    pub(super) fn journal(&self) -> Option<JournalOptions> {
        let home = self.context.config.environment.state_home.as_ref()?;
        Some(JournalOptions {
            directory: home.join("freezer/unfinished"),
            boot: boot(),
        })
    }

    /// Where is remembered which backups storages showed, if this user has a place for that.
    pub(super) fn seen(&self) -> Option<SeenBackups> {
        let home = self.context.config.environment.state_home.as_ref()?;
        Some(SeenBackups::new(home.join("freezer/seen")))
    }

    /// Finds a mode and types its settings.
    ///
    /// # Errors
    /// When there is no such plugin or its settings are wrong.
    pub(super) fn mode(
        &self,
        name: &str,
        given: &[(String, Setting)],
    ) -> Result<(Plugin, Settings), Failure> {
        let plugin = self
            .host
            .find(PluginKind::Mode, name)
            .map_err(|error| failure::of_plugin(&error))?;
        self.tell_passed_over(&plugin);
        let assembled = self.context.config.mode_settings(plugin.manifest(), given)?;
        for warning in &assembled.warnings {
            self.teller.warn(&text::lines(warning), false);
        }
        Ok((plugin, assembled.settings))
    }

    fn tell_passed_over(&self, plugin: &Plugin) {
        for line in self.host.passed_over(plugin) {
            self.teller.warn(&text::lines(&line), false);
        }
    }

    /// Undoes what runs that were killed left behind, and tells it. Before anything is written.
    pub(super) fn undo_leftovers(&self) {
        for leftover in self.host.undo_leftovers(&self.run) {
            let what = text::lines(&leftover.description);
            match leftover.result {
                Ok(()) => self
                    .context
                    .output
                    .note(&format!("undone, left by a killed run: {what}")),
                Err(error) => self.teller.warn(
                    &format!("left by a killed run and still there: {what} ({error})"),
                    false,
                ),
            }
        }
    }

    /// What asks the run to stop.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Runs `work` with what recipes ask for.
    pub(super) fn with_context<T>(&self, work: impl FnOnce(&RunContext<'_>) -> T) -> T {
        let warn = |warning: &Warning| {
            let message = text::lines(&warning.message);
            let (path, cut) = warning.shown_path();
            let told = match path.is_empty() {
                true => message,
                false => format!("{}{cut}: {message}", text::escape(path)),
            };
            self.left_out.fetch_or(warning.partial, Ordering::Relaxed);
            self.teller.warn(&told, warning.partial);
        };
        work(&RunContext {
            counters: &self.counters,
            warn: &warn,
            cancel: &self.cancel,
            now: &now,
            random: &random,
        })
    }

    /// Whether a warning told of something that is missing in what was done.
    pub(super) fn has_left_something_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// How many entries are done by now.
    pub(super) fn files_done(&self) -> u64 {
        let Counters {
            files,
            directories,
            others,
            ..
        } = &*self.counters;
        [files, directories, others]
            .into_iter()
            .fold(0, |sum, counter| sum.saturating_add(Counters::get(counter)))
    }

    /// Ends the run: releases what plugins hold, ends the progress line, tells what plugins used. Answers what is still held.
    pub(super) fn end(self) -> Vec<String> {
        let held = self.run.release_all();
        for thing in &held {
            self.teller
                .warn(&format!("still held: {}", text::lines(thing)), true);
        }
        self.teller.finish();
        self.note_usage();
        held
    }

    /// Writes down what plugins used: for the log, the audit log, and the result that follows.
    fn note_usage(&self) {
        let used = self.run.usage();
        for plugin in &used {
            tracing::info!("plugin {}", usage::line(plugin));
            if let Some(audit) = self.host.audit() {
                audit.event("usage", usage::document(plugin));
            }
        }
        *self.context.usage.lock().unwrap_or_else(PoisonError::into_inner) = used;
    }

    /// A partial result for what is still held after the run; other results stay.
    pub(super) fn end_with(self, exit: Exit) -> Exit {
        match (self.end().is_empty(), exit) {
            (false, Exit::Ok) => Exit::Partial,
            _ => exit,
        }
    }
}

/// Makes the plugin host of this process; nothing is loaded yet.
///
/// # Errors
/// When a grants, policy or trust file is there but invalid.
pub(super) fn plugin_host(context: &Context) -> Result<PluginHost, Failure> {
    let Config {
        environment, file, ..
    } = &context.config;
    let host = PluginHost::new(HostConfig {
        plugin_dirs: context.plugin_dirs.clone(),
        cache_dir: environment.plugin_cache(),
        // This very program, also if its file was replaced meanwhile.
        compiler: Some("/proc/self/exe".into()),
        isolation: context.isolation,
        grant_files: environment
            .scoped("grants.toml")
            .into_iter()
            .map(|file| file.path)
            .collect(),
        policy_files: environment.scoped("policy.toml"),
        trust_files: environment.scoped("trust.toml"),
        audit: environment.state_home.as_ref().map(|home| AuditConfig {
            path: home.join("freezer/audit/log.jsonl"),
            clock: Arc::new(instant_now),
            run: format!("{}-{}", now().seconds, std::process::id()),
        }),
        state_dir: environment.state_home.as_ref().map(|home| home.join("freezer")),
        snapshot_dir: environment
            .snapshot_home
            .as_ref()
            .map(|home| home.join("freezer/snapshots")),
        limits: file.limits.clone(),
        ssh: environment.ssh(),
    });
    host.map_err(|error| failure::of_plugin(&error))
}

/// Reads the password, the first line of a file; tells what is odd about it.
///
/// # Errors
/// When the file can't be read or its first line can't be a password.
pub(super) fn passphrase(path: Option<&Path>, output: &Output) -> Result<Option<Passphrase>, Failure> {
    use std::io::Read;
    let Some(path) = path else { return Ok(None) };
    let failed = |error: &dyn std::error::Error| {
        let shown = text::escape(path.as_os_str().as_encoded_bytes());
        Failure::new(Exit::Failed, format!("can't use the pass file {shown}"))
            .because(error.to_string())
            .advise("name a file whose first line is the password with --encrypt-pass-file")
    };
    let mut content = zeroize::Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    if let Some(warning) = file
        .metadata()
        .ok()
        .and_then(|facts| open_to_others(path, &facts))
    {
        output.warn(&warning);
    }
    file.take(MAX_PASS_FILE)
        .read_to_end(&mut content)
        .map_err(|error| failed(&error))?;
    let (passphrase, warnings) = Passphrase::from_file_bytes(&content).map_err(|error| failed(&error))?;
    warnings
        .iter()
        .for_each(|warning| output.warn(&warning.to_string()));
    Ok(Some(passphrase))
}

/// A warning if others may read a secret's file. What isn't a file, such as a pipe, is the shell's matter.
fn open_to_others(path: &Path, facts: &std::fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let who = match facts.mode() & 0o044 {
        0 => return None,
        0o040 => "its group",
        _ => "every user of this machine",
    };
    facts.is_file().then(|| {
        let shown = text::escape(path.as_os_str().as_encoded_bytes());
        format!("the pass file {shown} can be read by {who}: chmod 600 {shown}")
    })
}

/// An absolute form of a path that the user named; links in it stay.
///
/// # Errors
/// When the path is empty or there is no current directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::usage(format!("{path:?} is no usable path"))
            .because(error.to_string())
            .advise("name a file or directory, best by its whole path")
    })
}

/// The time now, for documents and logs.
pub(super) fn instant_now() -> String {
    units::date(Timestamp(now().seconds))
}

/// The kernel's clock, which also stamps files.
pub(super) fn now() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Time::new(time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What tells this boot of the machine from others; empty where the kernel doesn't say.
fn boot() -> String {
    let mut text = String::new();
    let read = std::fs::File::open("/proc/sys/kernel/random/boot_id")
        .and_then(|file| std::io::Read::read_to_string(&mut std::io::Read::take(file, 64), &mut text));
    if let Err(error) = read {
        tracing::debug!(%error, "can't tell this boot from others");
    }
    text.trim().to_owned()
}

/// Randomness fit for keys and salts.
fn random(buffer: &mut [u8]) {
    // A session doesn't start without it, and a kernel that gave it once gives it for ever.
    getrandom::fill(buffer).expect("the system gave random numbers when the session started");
}
