//! What the tests share: a context, levels out of bytes, and a plain listing of a tree to compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::index::LevelRow;
use freezer_format::name::{Level, LevelId, Timestamp};
use freezer_format::time::Time;
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::counters::{Counters, Warning};
use freezer_pipeline::object::{StoredIndex, open_index};
use freezer_pipeline::restore::{LevelData, RestoreError, RestoreJob, RestoreReport, restore};
use freezer_pipeline::source::ExcludeRules;
use freezer_pipeline::testing::MemoryStore;
use freezer_pipeline::{
    BackupJob, BackupReport, Dereference, Encoding, ObjectKeys, Parent, RunContext, TreeSource, backup,
};
use sha2::{Digest, Sha256};

/// What a run needs from outside; keeps the warnings.
#[derive(Default)]
pub(crate) struct Surroundings {
    pub(crate) counters: Counters,
    pub(crate) cancel: Cancel,
    pub(crate) warnings: Mutex<Vec<Warning>>,
}

impl Surroundings {
    /// Runs something with a context.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&RunContext<'_>) -> T) -> T {
        let warn = |warning: &Warning| self.warnings.lock().unwrap().push(warning.clone());
        let now = || Time {
            seconds: 1_800_000_000,
            nanoseconds: 0,
        };
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap();
        run(&RunContext {
            counters: &self.counters,
            warn: &warn,
            cancel: &self.cancel,
            now: &now,
            random: &random,
        })
    }

    /// The warnings so far, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// Makes a level without an index out of a stored stream.
pub(crate) fn plain_level(number: u32, stream: Vec<u8>, cipher: Option<Cipher>) -> LevelData {
    let store = MemoryStore::new();
    let data_bytes = stream.len() as u64;
    store.set_object("data", stream);
    let zero = Timestamp(1_700_000_000);
    LevelData {
        id: LevelId {
            zero,
            level: Level(number),
            time: Timestamp(zero.0 + i64::from(number)),
        },
        store: Arc::new(store),
        data_key: "data".to_owned(),
        data_bytes,
        data_salt: None,
        compression: None,
        cipher,
        index: None,
    }
}

/// Runs a test once more as a user whom modes bind; `true` if that was done.
pub(crate) fn ran_as_nobody(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let scratch = tempfile::tempdir().unwrap();
    // The build's directory may be closed to others.
    let copy = scratch.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    for path in [scratch.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", test])
        .current_dir(scratch.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

/// Restores everything into a directory, with what `change` alters.
pub(crate) fn restore_into(
    levels: Vec<LevelData>,
    target: &Path,
    around: &Surroundings,
    change: impl FnOnce(&mut RestoreJob<'_>),
) -> Result<RestoreReport, RestoreError> {
    around.with(|context| {
        let mut job = RestoreJob {
            levels,
            target: target.to_path_buf(),
            paths: Vec::new(),
            overwrite: false,
            stale: false,
            dry_run: false,
            workers: 2,
            memory_bytes: 64 << 20,
            sequential: false,
            context,
        };
        change(&mut job);
        restore(job)
    })
}

/// One entry of a tree, as text that says all that is compared.
pub(crate) type Listing = BTreeMap<Vec<u8>, String>;

/// Lists a tree: kinds, modes, sizes, times to the second, contents, link targets, and which names share a file.
pub(crate) fn list(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut inodes = BTreeMap::new();
    list_directory(root, b"", &mut listing, &mut inodes);
    listing
}

fn list_directory(
    directory: &Path,
    above: &[u8],
    listing: &mut Listing,
    inodes: &mut BTreeMap<u64, Vec<u8>>,
) {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let full = directory.join(&name);
        let slash: &[u8] = if above.is_empty() { b"" } else { b"/" };
        let path = [above, slash, name.as_bytes()].concat();
        let state = fs::symlink_metadata(&full).unwrap();
        let mode = state.mode() & 0o7777;
        let kind = state.file_type();
        let first = inodes.entry(state.ino()).or_insert_with(|| path.clone());
        let shared = if *first == path {
            String::new()
        } else {
            format!(" = {}", first.escape_ascii())
        };
        let text = if kind.is_dir() {
            format!("dir {mode:04o}")
        } else if kind.is_symlink() {
            let goal = fs::read_link(&full).unwrap();
            format!("link 0777 {}{shared}", goal.as_os_str().as_bytes().escape_ascii())
        } else if kind.is_fifo() {
            format!("fifo {mode:04o}{shared}")
        } else if kind.is_file() {
            let digest = hex::encode(Sha256::digest(fs::read(&full).unwrap()));
            format!(
                "file {mode:04o} {} {} {digest}{shared}",
                state.len(),
                state.mtime()
            )
        } else {
            format!("node {mode:04o} {:x}{shared}", state.rdev())
        };
        listing.insert(path.clone(), text);
        if kind.is_dir() {
            list_directory(&full, &path, listing, inodes);
        }
    }
}

/// Says what differs between two listings.
pub(crate) fn differences(expected: &Listing, found: &Listing) -> Vec<String> {
    let mut paths: Vec<_> = expected.keys().chain(found.keys()).collect();
    paths.sort();
    paths.dedup();
    let differing = paths
        .into_iter()
        .filter(|path| expected.get(*path) != found.get(*path));
    differing
        .map(|path| {
            format!(
                "{}: {:?} but {:?}",
                path.escape_ascii(),
                expected.get(path),
                found.get(path)
            )
        })
        .collect()
}

/// Lists a tree with all that a backup must keep: as [`list`], and owners, exact times of everything but further names,
/// extended attributes, and whether a file has holes. The root is there too.
pub(crate) fn list_fully(root: &Path) -> Listing {
    let mut listing = list(root);
    listing.insert(
        Vec::new(),
        format!("dir {:04o}", fs::metadata(root).unwrap().mode() & 0o7777),
    );
    for (path, text) in &mut listing {
        let full = root.join(std::ffi::OsStr::from_bytes(path));
        let state = fs::symlink_metadata(&full).unwrap();
        let has_holes = state.is_file() && state.blocks() * 512 + (64 << 10) < state.len();
        text.push_str(&format!(
            " {}:{} {}.{:09} holes:{has_holes}",
            state.uid(),
            state.gid(),
            state.mtime(),
            state.mtime_nsec()
        ));
        let mut names = vec![0; 65536];
        let length = rustix::fs::llistxattr(&full, &mut names[..]).unwrap_or(0);
        let mut names: Vec<_> = names[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        for name in names {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(&full, name, &mut value[..]).unwrap();
            text.push_str(&format!(
                " {}={}",
                name.escape_ascii(),
                value[..length].escape_ascii()
            ));
        }
    }
    listing
}

/// A tree with a chain of backups of it in a storage in memory.
pub(crate) struct Backups {
    pub(crate) store: MemoryStore,
    pub(crate) compression: Compression,
    pub(crate) cipher: Option<Cipher>,
    pub(crate) segment_bytes: u64,
    pub(crate) reports: Vec<BackupReport>,
    /// The streams of levels that the original wrote, before ours.
    pub(crate) originals: Vec<Vec<u8>>,
    /// The snapshot file of the last of them.
    pub(crate) snar: Vec<u8>,
}

impl Backups {
    pub(crate) fn new(compression: Compression, cipher: Option<Cipher>) -> Self {
        Self {
            store: MemoryStore::new(),
            compression,
            cipher,
            segment_bytes: 1 << 20,
            reports: Vec::new(),
            originals: Vec::new(),
            snar: Vec::new(),
        }
    }

    /// Adds a level.
    pub(crate) fn back_up(&mut self, root: &Path) {
        let number = (self.originals.len() + self.reports.len()) as u32;
        let frame_size = self.compression.frame_bytes();
        let row = |level| LevelRow {
            level,
            time: Timestamp(1_700_000_000 + i64::from(level)),
            manifest_sha256: [0; 32],
            frame_size,
            compression: self.compression,
        };
        let parent = match number.checked_sub(1) {
            None => Parent::None,
            Some(_) if self.reports.is_empty() => {
                Parent::Snar(Box::new(std::io::Cursor::new(self.snar.clone())))
            }
            Some(parent) => Parent::Index(Box::new(self.index(parent))),
        };
        let around = Surroundings::default();
        let clock = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            Time {
                seconds: now.tv_sec,
                nanoseconds: now.tv_nsec as u32,
            }
        };
        let report = around.with(|context| {
            let context = RunContext {
                now: &clock,
                ..*context
            };
            let mut data_salt = [0; 8];
            (context.random)(&mut data_salt);
            backup(BackupJob {
                source: TreeSource {
                    root: root.to_path_buf(),
                    one_file_system: true,
                    exclude: ExcludeRules::new(&[], &[], false).unwrap(),
                    dereference: Dereference::None,
                    gives_memory_back: false,
                },
                store: Arc::new(self.store.clone()),
                keys: ObjectKeys {
                    data: format!("{number}/data"),
                    index: format!("{number}/index"),
                    engine_metadata: None,
                },
                encoding: Encoding {
                    compression: self.compression,
                    level: Some(1),
                    cipher: self.cipher.clone(),
                    index_cipher: self.cipher.clone(),
                },
                data_salt,
                segment_bytes: self.segment_bytes,
                memory_bytes: 64 << 20,
                workers: 2,
                level: number,
                levels: (0..=number).map(row).collect(),
                parent,
                parent_file_system: self.reports.last().and_then(|report| report.file_system),
                context: &context,
            })
            .unwrap()
        });
        self.reports.push(report);
    }

    fn index(&self, number: u32) -> StoredIndex {
        let facts = &self.reports[number as usize - self.originals.len()].index;
        open_index(
            Arc::new(self.store.clone()),
            &format!("{number}/index"),
            facts,
            self.cipher.as_ref(),
        )
        .unwrap()
    }

    /// One level, ready to be read.
    pub(crate) fn level(&self, number: u32) -> LevelData {
        if let Some(stream) = self.originals.get(number as usize) {
            return plain_level(number, stream.clone(), None);
        }
        let data = &self.reports[number as usize - self.originals.len()].data;
        let zero = Timestamp(1_700_000_000);
        LevelData {
            id: LevelId {
                zero,
                level: Level(number),
                time: Timestamp(zero.0 + i64::from(number)),
            },
            store: Arc::new(self.store.clone()),
            data_key: format!("{number}/data"),
            data_bytes: data.bytes,
            data_salt: data.salt,
            compression: Some(self.compression),
            cipher: self.cipher.clone(),
            index: Some(self.index(number)),
        }
    }

    /// The levels up to one.
    pub(crate) fn levels(&self, newest: u32) -> Vec<LevelData> {
        (0..=newest).map(|number| self.level(number)).collect()
    }
}
