//! A source directory, a storage in memory, a clock that is set by hand, and short words for the recipes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use freezer_format::compression::Compression;
use freezer_format::level::LevelPolicy;
use freezer_format::name::{HostBackupName, Timestamp};
use freezer_format::openssl::Passphrase;
use freezer_format::time::Time;
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::counters::{Counters, Warning};
use freezer_pipeline::store::{
    ContainerUsage, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use freezer_pipeline::testing::MemoryStore;
use freezer_pipeline::{Dereference, RunContext};
use freezer_plugin::{ModeSource, Outcome, PluginError};
use sha2::{Digest, Sha256};

use crate::*;

/// Later than any real change time, so that no row is racy.
const START: i64 = 1_900_000_000;

pub(super) struct Bench {
    pub(super) directory: tempfile::TempDir,
    pub(super) store: MemoryStore,
    pub(super) clock: AtomicI64,
    pub(super) random: AtomicU64,
    pub(super) cancel: Cancel,
    pub(super) warnings: Mutex<Vec<Warning>>,
    pub(super) options: BackupOptions,
    pub(super) passphrase: Option<&'static str>,
    pub(super) targets: AtomicU64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        Self {
            directory,
            store: MemoryStore::new(),
            clock: AtomicI64::new(START),
            random: AtomicU64::new(1),
            cancel: Cancel::new(),
            warnings: Mutex::default(),
            options: options(),
            passphrase: None,
            targets: AtomicU64::new(0),
        }
    }

    pub(super) fn encrypted() -> Self {
        Self {
            passphrase: Some("right"),
            ..Self::new()
        }
    }

    pub(super) fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    pub(super) fn keyring(&self) -> Keyring {
        keyring(self.passphrase, self.options.compat)
    }

    /// Runs with a context; the clock moves on by a minute afterwards.
    pub(super) fn run<T>(&self, recipe: impl FnOnce(&RunContext<'_>) -> T) -> T {
        let counters = Counters::default();
        let warn = |warning: &Warning| self.warnings.lock().unwrap().push(warning.clone());
        let now = || Time::new(self.clock.load(Ordering::Relaxed), 0);
        let random = |buffer: &mut [u8]| {
            for chunk in buffer.chunks_mut(32) {
                let digest = Sha256::digest(self.random.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                chunk.copy_from_slice(&digest[..chunk.len()]);
            }
        };
        let context = RunContext {
            counters: &counters,
            warn: &warn,
            cancel: &self.cancel,
            now: &now,
            random: &random,
        };
        let result = recipe(&context);
        self.clock.fetch_add(60, Ordering::Relaxed);
        result
    }

    pub(super) fn try_backup(&self) -> Result<BackupOutcome, AgentError> {
        self.backup_by(&Directory::new(self.source()))
    }

    pub(super) fn backup_by(&self, mode: &Directory) -> Result<BackupOutcome, AgentError> {
        let storages = || vec![Storage::opened(self.store())];
        self.run(|context| backup(storages(), &self.options, &self.keyring(), mode, context))
    }

    pub(super) fn backup(&self) -> BackupOutcome {
        self.try_backup().unwrap()
    }

    /// Restores; on an error also what was written by then.
    pub(super) fn restore_or_part(
        &self,
        at: Option<Timestamp>,
    ) -> Result<BTreeMap<String, String>, (AgentError, BTreeMap<String, String>)> {
        let target = self.target();
        let (wanted, options) = (self.wanted(at), restore_options(target.clone()));
        let result =
            self.run(|context| restore_from(&self.store(), (&wanted, &options), &self.keyring(), context));
        result
            .map(|_| tree(&target))
            .map_err(|error| (error, tree(&target)))
    }

    /// Restores; an error must come before the first write.
    pub(super) fn restore(&self, at: Option<Timestamp>) -> Result<BTreeMap<String, String>, AgentError> {
        self.restore_or_part(at).map_err(|(error, written)| {
            assert_eq!(written, BTreeMap::new(), "nothing may be written before {error}");
            error
        })
    }

    /// A directory that no other restore used.
    pub(super) fn target(&self) -> PathBuf {
        self.directory
            .path()
            .join(format!("target{}", self.targets.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn wanted(&self, at: Option<Timestamp>) -> Wanted {
        Wanted {
            name: self.options.name.clone(),
            at,
        }
    }

    pub(super) fn check(&self, read_data: bool) -> CheckReport {
        let options = CheckOptions {
            filter: Filter::default(),
            read_data,
            seen: None,
        };
        self.run(|context| check(&self.store(), &options, &self.keyring(), context))
            .unwrap()
    }

    pub(super) fn rows(&self) -> Vec<BackupRow> {
        let options = ListOptions::default();
        self.run(|context| list(&self.store(), &options, &keyring(None, false), context))
            .unwrap()
            .backups
    }

    /// The key of an object of the backup that was made `index`-th.
    pub(super) fn keys_ending(&self, end: &str) -> Vec<String> {
        self.store
            .keys()
            .into_iter()
            .filter(|key| key.ends_with(end))
            .collect()
    }

    /// What the source holds now.
    pub(super) fn expected(&self) -> BTreeMap<String, String> {
        tree(&self.source())
    }
}

pub(super) fn keyring(passphrase: Option<&str>, compat: bool) -> Keyring {
    let passphrase = passphrase.map(|text| Passphrase::from_file_bytes(text.as_bytes()).unwrap().0);
    Keyring::new(passphrase, compat)
}

pub(super) fn options() -> BackupOptions {
    BackupOptions {
        name: HostBackupName::new("web01", "etc").unwrap(),
        host: "web01".to_owned(),
        policy: LevelPolicy::default(),
        path: Some("/etc".into()),
        mode: "fs".to_owned(),
        plugins: Vec::new(),
        tool: "freezer 0.0.0".to_owned(),
        options: serde_json::Map::new(),
        excludes: Excludes::default(),
        storage_directories: Vec::new(),
        one_file_system: true,
        dereference: Dereference::None,
        gives_memory_back: false,
        compression: Compression::Gzip,
        compression_level: None,
        compat: false,
        wrap_iterations: Some(1),
        segment_bytes: 4 << 20,
        memory_bytes: 64 << 20,
        workers: 2,
        allow_empty: false,
        dry_run: false,
        on_failure: OnFailure::Continue,
        resume: false,
        journal: None,
        seen: None,
    }
}

/// Opens a backup and restores it without a mode.
pub(super) fn restore_from(
    store: &Arc<dyn Store>,
    (wanted, options): (&Wanted, &RestoreOptions),
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<RestoreOutcome, AgentError> {
    crate::restore(OpenBackup::open(store, wanted, keyring)?, options, None, context)
}

pub(super) fn restore_options(target: PathBuf) -> RestoreOptions {
    RestoreOptions {
        target,
        storage_directories: Vec::new(),
        paths: Vec::new(),
        overwrite: false,
        stale: false,
        dry_run: false,
        workers: 2,
        memory_bytes: 64 << 20,
    }
}

pub(super) fn copy_options(which: CopyWhich) -> CopyOptions {
    CopyOptions {
        filter: Filter::default(),
        which,
        segment_bytes: 1 << 20,
        memory_bytes: 64 << 20,
        dry_run: false,
        journal: None,
    }
}

/// The same storage under another URL.
#[derive(Debug)]
pub(super) struct Alias(pub(super) MemoryStore);

impl Store for Alias {
    fn url(&self) -> &str {
        "memory:alias"
    }
    fn limits(&self) -> Limits {
        self.0.limits()
    }
    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.0.list(prefix, cursor)
    }
    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.0.stat(key)
    }
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.0.read(key, offset, length)
    }
    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.0.put(key, content, existing)
    }
    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        self.0.remove(keys)
    }
    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        self.0.begin(key, size)
    }
    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        self.0.put_segment(upload, number, offset, content)
    }
    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        self.0.commit(upload, size, receipts)
    }
    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        self.0.abort(upload)
    }
    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.0.pending(prefix, cursor)
    }
    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.0.usage()
    }
}

/// Paths and contents; directories end in a slash, symbolic links show their targets.
pub(super) fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                found.insert(format!("{name}/"), String::new());
                folders.push(path);
            } else if kind.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if !kind.is_file() {
                // Opening a FIFO would wait for a writer.
                found.insert(name, "special".to_owned());
            } else {
                found.insert(
                    name,
                    String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                );
            }
        }
    }
    found
}

/// A directory in the place of a mode; remembers how its last run ended.
pub(super) struct Directory {
    pub(super) root: PathBuf,
    pub(super) outcome: Arc<Mutex<Option<Outcome>>>,
    /// Lets `finish` fail.
    pub(super) breaks: bool,
    /// Called when the source is asked for.
    pub(super) before: Option<Box<dyn Fn()>>,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            outcome: Arc::default(),
            breaks: false,
            before: None,
        }
    }
}

struct PreparedDirectory {
    root: Option<PathBuf>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    breaks: bool,
}

impl BackupMode for Directory {
    fn prepare(
        &self,
        _level: u32,
        _parent_note: Option<String>,
    ) -> Result<Box<dyn PreparedBackup>, PluginError> {
        if let Some(before) = &self.before {
            before();
        }
        Ok(Box::new(PreparedDirectory {
            root: Some(self.root.clone()),
            outcome: Arc::clone(&self.outcome),
            breaks: self.breaks,
        }))
    }
}

impl PreparedBackup for PreparedDirectory {
    fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError> {
        Ok(self.root.take().map(|root| ModeSource::Tree {
            name: "tree".to_owned(),
            root,
            one_file_system: true,
            exclude: Vec::new(),
        }))
    }

    fn finish(self: Box<Self>, outcome: &Outcome) -> Result<String, PluginError> {
        *self.outcome.lock().unwrap() = Some(outcome.clone());
        if self.breaks {
            return Err(PluginError::Engine {
                why: "still frozen".to_owned(),
            });
        }
        Ok("{}".to_owned())
    }
}
