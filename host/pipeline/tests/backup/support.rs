//! What the tests share: a chain of levels in memory, plain tools to restore it, and a plain comparison of trees.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use freezer_format::chain_key::{ChainKey, Cipher};
use freezer_format::compression::Compression;
use freezer_format::index::{Entry, LevelRow};
use freezer_format::name::Timestamp;
use freezer_format::time::Time;
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::counters::{Counters, Warning};
use freezer_pipeline::object::{StoredIndex, open_index};
use freezer_pipeline::source::{ExcludeRules, FileSystemId};
use freezer_pipeline::testing::MemoryStore;
use freezer_pipeline::{
    BackupError, BackupJob, BackupReport, Dereference, Encoding, ObjectKeys, Parent, RunContext, TreeSource,
    backup,
};

pub(crate) const MIB: u64 = 1 << 20;

/// A chain being made.
pub(crate) struct Chain {
    pub(crate) store: MemoryStore,
    pub(crate) encoding: Encoding,
    pub(crate) segment_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) workers: usize,
    pub(crate) exclude: ExcludeRules,
    pub(crate) dereference: Dereference,
    pub(crate) gives_memory_back: bool,
    pub(crate) writes_snar: bool,
    pub(crate) cancel: Cancel,
    pub(crate) counters: Arc<Counters>,
    pub(crate) warnings: Mutex<Vec<Warning>>,
    /// Called for each warning.
    pub(crate) on_warning: Box<dyn Fn(&Warning) + Sync + Send>,
    /// Subtracted from the clock, so that nothing looks racy to a test that can't wait.
    pub(crate) clock_ahead_seconds: i64,
    pub(crate) reports: Vec<BackupReport>,
    levels: Vec<LevelRow>,
    file_system: Option<FileSystemId>,
}

impl Chain {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            store: MemoryStore::new(),
            encoding: Encoding {
                compression,
                level: None,
                cipher: None,
                index_cipher: None,
            },
            segment_bytes: MIB,
            memory_bytes: 64 * MIB,
            workers: 2,
            exclude: ExcludeRules::default(),
            dereference: Dereference::None,
            gives_memory_back: false,
            writes_snar: false,
            cancel: Cancel::new(),
            counters: Arc::default(),
            warnings: Mutex::default(),
            on_warning: Box::new(|_| {}),
            clock_ahead_seconds: 3600,
            reports: Vec::new(),
            levels: Vec::new(),
            file_system: None,
        }
    }

    /// Encrypts data and index with one chain key; answers the secret that openssl takes.
    pub(crate) fn encrypt(&mut self) -> String {
        let key = ChainKey::new([0x5a; 32]);
        let secret = key.stream_secret().to_string();
        self.encoding.cipher = Some(Cipher::Chain(key));
        self.encoding.index_cipher.clone_from(&self.encoding.cipher);
        secret
    }

    /// The keys of a level's objects.
    pub(crate) fn keys(&self, level: usize) -> ObjectKeys {
        ObjectKeys {
            data: format!("{level}/data"),
            index: format!("{level}/index"),
            engine_metadata: self.writes_snar.then(|| format!("{level}/engine_metadata")),
        }
    }

    /// Makes the next level; its failure leaves the chain as it was.
    pub(crate) fn try_backup(&mut self, root: &Path) -> Result<&BackupReport, BackupError> {
        let parent = match self.reports.len() {
            0 => Parent::None,
            count => Parent::Index(Box::new(self.index(count - 1))),
        };
        self.backup_with(root, parent)
    }

    /// Makes the next level with a parent of the test's choice.
    pub(crate) fn backup_with(&mut self, root: &Path, parent: Parent) -> Result<&BackupReport, BackupError> {
        let level = self.reports.len();
        let compression = self.encoding.compression;
        let mut levels = self.levels.clone();
        levels.push(LevelRow {
            level: level as u32,
            time: Timestamp(1_700_000_000 + level as i64),
            manifest_sha256: [0; 32],
            frame_size: compression.frame_bytes(),
            compression,
        });
        let warn = |warning: &Warning| {
            (self.on_warning)(warning);
            self.warnings.lock().unwrap().push(warning.clone());
        };
        let now = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            Time {
                seconds: now.tv_sec + self.clock_ahead_seconds,
                nanoseconds: now.tv_nsec as u32,
            }
        };
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap();
        let mut data_salt = [0; 8];
        random(&mut data_salt);
        let context = RunContext {
            counters: &self.counters,
            warn: &warn,
            cancel: &self.cancel,
            now: &now,
            random: &random,
        };
        let report = backup(BackupJob {
            source: TreeSource {
                root: root.to_path_buf(),
                one_file_system: true,
                exclude: self.exclude.clone(),
                dereference: self.dereference,
                gives_memory_back: self.gives_memory_back,
            },
            store: Arc::new(self.store.clone()),
            keys: self.keys(level),
            encoding: self.encoding.clone(),
            data_salt,
            segment_bytes: self.segment_bytes,
            memory_bytes: self.memory_bytes,
            workers: self.workers,
            level: level as u32,
            levels: levels.clone(),
            parent,
            parent_file_system: self.file_system,
            context: &context,
        })?;
        self.levels = levels;
        self.file_system = report.file_system;
        self.reports.push(report);
        Ok(&self.reports[level])
    }

    pub(crate) fn backup(&mut self, root: &Path) -> &BackupReport {
        self.try_backup(root)
            .unwrap_or_else(|error| panic!("backup failed: {error:?}"))
    }

    pub(crate) fn index(&self, level: usize) -> StoredIndex {
        let facts = &self.reports[level].index;
        let store = Arc::new(self.store.clone());
        open_index(
            store,
            &self.keys(level).index,
            facts,
            self.encoding.index_cipher.as_ref(),
        )
        .unwrap()
    }

    /// All rows of a level's index, by path.
    pub(crate) fn entries(&self, level: usize) -> Vec<Entry> {
        self.index(level)
            .entries()
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    pub(crate) fn data(&self, level: usize) -> Arc<Vec<u8>> {
        self.store.object(&self.keys(level).data).unwrap()
    }

    /// Extracts a level with plain tools over what is in `target`.
    pub(crate) fn extract(&self, level: usize, target: &Path, secret: Option<&str>) {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        std::fs::write(&data, &*self.data(level)).unwrap();
        let decrypt = match secret {
            Some(secret) => {
                std::fs::write(scratch.path().join("key"), format!("{secret}\n")).unwrap();
                "openssl enc -d -aes-256-cfb -pbkdf2 -iter 1 -md sha256 -pass file:key <data"
            }
            None => "cat data",
        };
        let decompress = self.encoding.compression.decompress_command();
        let tar = "tar -x --incremental --warning=no-timestamp --xattrs --xattrs-include='*' --acls -C";
        let command = format!(
            "set -eo pipefail; {decrypt} | {decompress} | {tar} {}",
            target.display()
        );
        let output = run(Command::new("bash")
            .arg("-c")
            .arg(&command)
            .current_dir(scratch.path()));
        assert!(
            output.stderr.is_empty(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn warning_lines(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a shell script in a directory.
pub(crate) fn shell(directory: &Path, script: &str) {
    run(Command::new("bash").arg("-ec").arg(script).current_dir(directory));
}

/// What differs between two trees, in rsync's words: names, kinds, modes, owners, times to the nanosecond, contents,
/// hard links, extended attributes and ACLs. Empty if nothing does.
pub(crate) fn differences(a: &Path, b: &Path) -> String {
    let mut command = Command::new("rsync");
    command.args(["-naicAXH", "--delete", "--modify-window=-1"]);
    command
        .arg(format!("{}/", a.display()))
        .arg(format!("{}/", b.display()));
    String::from_utf8_lossy(&run(&mut command).stdout).into_owned()
}
