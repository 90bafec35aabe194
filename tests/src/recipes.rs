//! The recipes run in this process: a source tree, a storage of the caller's choice, a clock that is set by hand.
//!
//! For tests that make hundreds of runs, or put something between the recipe and its storage.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use freezer_agent::{
    AgentError, BackupOptions, BackupOutcome, BackupRow, CheckOptions, CheckReport, Excludes, Filter,
    JournalOptions, Keyring, LeftoverOptions, LeftoverReport, ListOptions, OnFailure, OpenBackup, PluginMode,
    PruneOptions, PruneReport, RestoreOptions, Storage, Wanted, backup, check, leftovers, list, prune,
    restore,
};
use freezer_format::compression::Compression;
use freezer_format::level::LevelPolicy;
use freezer_format::name::{HostBackupName, Timestamp};
use freezer_format::openssl::Passphrase;
use freezer_format::retention::Policy;
use freezer_format::time::Time;
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::counters::Counters;
use freezer_pipeline::store::{ErrorKind, Store, StoreError};
use freezer_pipeline::{Dereference, RunContext};
use freezer_plugin::{PluginHost, PluginKind, Run, RunConfig, Settings};
use jiff::tz::TimeZone;

use crate::plugin_storage::plugin_host;
use crate::random::Random;
use crate::sandbox::Sandbox;

/// Later than any real change time, so that nothing counts as changed while it was looked at.
const START: i64 = 1_900_000_000;

/// A tree's entries: what each is, its mode, its time and its content.
pub type Listing = BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>;

/// Recipes with everything that they need.
pub struct Recipes {
    /// Where source and targets lie.
    pub sandbox: Sandbox,
    /// What is backed up, and how.
    pub options: BackupOptions,
    /// What runs the plugins.
    pub host: PluginHost,
    keyring: Keyring,
    clock: AtomicI64,
    random: Mutex<Random>,
    targets: AtomicU64,
}

impl Recipes {
    /// Makes recipes over an empty source; with a password everything is encrypted.
    ///
    /// # Panics
    /// When the plugins aren't built.
    #[must_use]
    pub fn new(passphrase: Option<&str>) -> Self {
        let sandbox = Sandbox::new();
        let passphrase = passphrase.map(|text| {
            let (passphrase, _) =
                Passphrase::from_file_bytes(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
            passphrase
        });
        Self {
            options: options(sandbox.source()),
            host: plugin_host(sandbox.path("state")),
            sandbox,
            keyring: Keyring::new(passphrase, false),
            clock: AtomicI64::new(START),
            random: Mutex::new(Random::new(1)),
            targets: AtomicU64::new(0),
        }
    }

    /// Writes a file of the source.
    #[track_caller]
    pub fn write(&self, path: &str, content: &[u8]) {
        crate::write(&self.sandbox.source().join(path), content);
    }

    /// Backs up the source by the mode fs. The clock moves on by a minute.
    ///
    /// # Errors
    /// What ended it.
    pub fn backup(&self, store: &Arc<dyn Store>) -> Result<BackupOutcome, AgentError> {
        let plugin = self
            .host
            .find(PluginKind::Mode, "fs")
            .unwrap_or_else(|error| panic!("{error}"));
        let run = Run::new(RunConfig {
            named_paths: vec![self.sandbox.source()],
            ..RunConfig::quiet()
        });
        let mode = PluginMode {
            host: &self.host,
            plugin,
            settings: Settings::new(),
            path: Some(self.sandbox.source()),
            run,
        };
        let storages = vec![Storage::opened(Arc::clone(store))];
        self.run(|context| backup(storages, &self.options, &self.keyring, &mode, context))
    }

    /// Restores the state of a time, or the newest one, and answers what came of it.
    ///
    /// # Errors
    /// What ended it.
    pub fn restore(&self, store: &Arc<dyn Store>, at: Option<Timestamp>) -> Result<Listing, AgentError> {
        let number = self.targets.fetch_add(1, Ordering::Relaxed);
        let target = self.sandbox.path(format!("target{number}"));
        let wanted = Wanted {
            name: self.options.name.clone(),
            at,
        };
        let options = RestoreOptions {
            target: target.clone(),
            storage_directories: Vec::new(),
            paths: Vec::new(),
            overwrite: false,
            stale: false,
            dry_run: false,
            workers: 1,
            memory_bytes: 64 << 20,
        };
        let restored = self.run(|context| {
            let backup = OpenBackup::open(store, &wanted, &self.keyring)?;
            restore(backup, &options, None, context)
        });
        let listing = restored.map(|_| listing(&target));
        fs::remove_dir_all(&target).ok();
        listing
    }

    /// The backups that the storage shows.
    ///
    /// # Errors
    /// What ended it.
    pub fn list(&self, store: &Arc<dyn Store>) -> Result<Vec<BackupRow>, AgentError> {
        let listing = self.run(|context| list(store, &ListOptions::default(), &self.keyring, context))?;
        Ok(listing.backups)
    }

    /// Checks all backups.
    ///
    /// # Errors
    /// What ended it.
    pub fn check(&self, store: &Arc<dyn Store>, read_data: bool) -> Result<CheckReport, AgentError> {
        let options = CheckOptions {
            seen: None,
            filter: Filter::default(),
            read_data,
        };
        self.run(|context| check(store, &options, &self.keyring, context))
    }

    /// Looks for leftovers of runs that are all over, and removes those of the look before if asked to.
    ///
    /// # Errors
    /// What ended it.
    pub fn leftovers(&self, store: &Arc<dyn Store>, remove: bool) -> Result<LeftoverReport, AgentError> {
        let options = LeftoverOptions {
            grace_seconds: 0,
            remove,
        };
        self.run(|context| leftovers(&**store, &options, context))
    }

    /// Removes all backups of the name but the newest, at once.
    ///
    /// # Errors
    /// What ended it.
    pub fn prune(&self, store: &Arc<dyn Store>) -> Result<PruneReport, AgentError> {
        let options = PruneOptions {
            seen: None,
            filter: self.own_name(),
            policy: Policy {
                last: 1,
                ..Policy::default()
            },
            older_than_days: None,
            zone: TimeZone::UTC,
            limit: None,
            even_newest: false,
            grace_seconds: 0,
            dry_run: false,
        };
        self.run(|context| prune(&**store, &options, &self.keyring, context))
    }

    /// Only what has the name of these recipes.
    fn own_name(&self) -> Filter {
        let stored = self.options.name.as_str();
        let name = stored.strip_prefix(&self.options.host).unwrap_or(stored);
        Filter {
            host: Some(self.options.host.clone()),
            name: Some(name.trim_start_matches('_').to_owned()),
        }
    }

    /// The times of the backups that the storage shows under the name, oldest first: looked up where the layout has them,
    /// with few requests and none of our own code's judgement.
    ///
    /// # Errors
    /// What the storage says.
    pub fn times(&self, store: &Arc<dyn Store>) -> Result<Vec<Timestamp>, StoreError> {
        let mut times = Vec::new();
        let chains = format!("metadata/tar/{}/", self.options.name.as_str());
        for chain in keys(store, &chains)? {
            for level in keys(store, &chain)? {
                let time = level.trim_end_matches('/').rsplit('_').next();
                let time = time.and_then(|time| time.parse().ok());
                if store.stat(&format!("{level}metadata"))?.is_some() {
                    times.extend(time.map(Timestamp));
                }
            }
        }
        times.sort();
        Ok(times)
    }

    /// Backs up under another name from now on.
    ///
    /// # Panics
    /// When it can't be one.
    pub fn rename(&mut self, name: &str) {
        let stored = HostBackupName::new(&self.options.host, name);
        self.options.name = stored.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Keeps a journal, and goes on with interrupted backups or doesn't.
    pub fn resume(&mut self, resume: bool) {
        self.options.resume = resume;
        self.options.journal = Some(JournalOptions {
            directory: self.sandbox.path("unfinished"),
            boot: "this one".to_owned(),
        });
    }

    /// What the source holds now.
    #[must_use]
    pub fn source(&self) -> Listing {
        listing(&self.sandbox.source())
    }

    fn run<T>(&self, recipe: impl FnOnce(&RunContext<'_>) -> T) -> T {
        let counters = Counters::default();
        let cancel = Cancel::new();
        let now = || Time::new(self.clock.load(Ordering::Relaxed), 0);
        let random = |buffer: &mut [u8]| {
            if let Ok(mut random) = self.random.lock() {
                for chunk in buffer.chunks_mut(8) {
                    chunk.copy_from_slice(&random.word().to_le_bytes()[..chunk.len()]);
                }
            }
        };
        let context = RunContext {
            counters: &counters,
            warn: &|_| {},
            cancel: &cancel,
            now: &now,
            random: &random,
        };
        let result = recipe(&context);
        self.clock.fetch_add(60, Ordering::Relaxed);
        result
    }
}

/// What a storage shows directly below a prefix.
fn keys(store: &Arc<dyn Store>, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = match store.list(prefix, cursor.as_deref()) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(keys),
            page => page?,
        };
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(keys),
        }
    }
}

/// A small backup: segments of 64 KiB, one iteration for the password.
fn options(source: PathBuf) -> BackupOptions {
    let name = HostBackupName::new("h", "t").unwrap_or_else(|error| panic!("{error}"));
    BackupOptions {
        seen: None,
        name,
        host: "h".to_owned(),
        policy: LevelPolicy::default(),
        path: Some(source),
        mode: "fs".to_owned(),
        plugins: Vec::new(),
        tool: "freezer".to_owned(),
        options: serde_json::Map::new(),
        excludes: Excludes::default(),
        storage_directories: Vec::new(),
        one_file_system: true,
        dereference: Dereference::None,
        gives_memory_back: false,
        compression: Compression::Zstd,
        compression_level: None,
        compat: false,
        wrap_iterations: Some(1),
        segment_bytes: 64 << 10,
        memory_bytes: 64 << 20,
        workers: 1,
        allow_empty: false,
        dry_run: false,
        on_failure: OnFailure::Continue,
        resume: false,
        journal: None,
    }
}

/// Everything below a directory.
#[must_use]
fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(facts) = fs::symlink_metadata(&path) else {
                continue;
            };
            let content = if facts.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if facts.is_symlink() {
                fs::read_link(&path)
                    .map(|goal| goal.into_os_string().into_encoded_bytes())
                    .unwrap_or_default()
            } else {
                fs::read(&path).unwrap_or_default()
            };
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let mode = facts.permissions().mode();
            found.insert(name, (mode, facts.mtime(), facts.mtime_nsec(), content));
        }
    }
    found
}
