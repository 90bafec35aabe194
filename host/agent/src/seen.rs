//! The newest backup of each name that this machine has seen in a storage: a storage alone can't show that its newest
//! backups were taken away, or that it was put back to an earlier state.
//!
//! ```text
//! DIRECTORY/HEX.json      HEX: 32 digits of SHA-256 of the storage's URL; mode 0600
//! {"storage": URL, "backups": {NAME: {"zero": …, "level": …, "time": …, "manifest": HEX, "authentic": …}}}
//! ```
//! What is remembered only makes warnings. It gives way to a newer backup, but one that the password authenticated
//! gives way to such a one alone: else whoever can write to the storage could make it forgotten.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use freezer_format::manifest::Manifest;
use freezer_format::name::{HostBackupName, Level, LevelId, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::counters::{Warning, WarningKind};
use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::backup::BackupOptions;
use crate::date::date;

/// Names that are remembered of one storage: a storage that shows more than anybody has must not fill the disk.
const MAX_NAMES: usize = 10_000;
/// The largest file that is read back, above what so many names need.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Where the newest backups that were seen are remembered.
#[derive(Debug, Clone)]
pub struct SeenBackups {
    directory: PathBuf,
}

/// The newest backup of a name that a storage shows.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) name: HostBackupName,
    pub(crate) id: LevelId,
    /// Digest of its manifest's first line; absent if it has none or it wasn't read.
    pub(crate) manifest: Option<[u8; 32]>,
    /// Whether the password authenticated it, or this run made it.
    pub(crate) authentic: bool,
}

/// One storage's file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    storage: String,
    backups: BTreeMap<String, Remembered>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    zero: i64,
    level: u32,
    time: i64,
    manifest: String,
    authentic: bool,
}

impl Remembered {
    fn id(&self) -> LevelId {
        LevelId {
            zero: Timestamp(self.zero),
            level: Level(self.level),
            time: Timestamp(self.time),
        }
    }

    fn of(sighting: &Sighting) -> Option<Self> {
        let LevelId { zero, level, time } = sighting.id;
        Some(Self {
            zero: zero.0,
            level: level.0,
            time: time.0,
            manifest: hex::encode(sighting.manifest?),
            authentic: sighting.authentic,
        })
    }
}

impl SeenBackups {
    /// Remembers in files of `directory`, which is made when something is to be remembered.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Holds what a storage shows against what it showed before, warns of what doesn't fit, and remembers what is newer.
    /// `asked` tells of a name whether the storage was asked for it: of what it shows no more, only that is missed.
    pub(crate) fn compare(
        &self,
        url: &str,
        shown: &[Sighting],
        asked: impl Fn(&HostBackupName) -> bool,
        context: &RunContext<'_>,
    ) {
        let warn = |message: String| {
            (context.warn)(&Warning {
                path: Vec::new(),
                kind: WarningKind::Source,
                message,
                partial: false,
            });
        };
        let path = self.path(url);
        let seen = match read(&path) {
            Ok(seen) => seen,
            Err(error) => {
                return warn(format!(
                    "whether {url} was rolled back can't be told: {} can't be used: {error}; remove it",
                    path.display()
                ));
            }
        };
        let doubts = doubts(&seen, shown, asked);
        for doubt in doubts {
            warn(format!("{doubt}; if that is right, remove {}", path.display()));
        }
        if shown.iter().any(|sighting| is_news(&seen, sighting)) {
            self.remember(url, |seen| {
                for sighting in shown {
                    if is_news(seen, sighting) {
                        take(seen, sighting);
                    }
                }
            });
        }
    }

    /// Remembers a backup that this run has made.
    pub(crate) fn made(&self, url: &str, sighting: &Sighting) {
        self.remember(url, |seen| take(seen, sighting));
    }

    /// Forgets a name of which this run has removed what is remembered.
    pub(crate) fn removed(&self, url: &str, name: &HostBackupName, is_removed: impl Fn(LevelId) -> bool) {
        self.remember(url, |seen| {
            if seen
                .backups
                .get(name.as_str())
                .is_some_and(|known| is_removed(known.id()))
            {
                seen.backups.remove(name.as_str());
            }
        });
    }

    fn path(&self, url: &str) -> PathBuf {
        let digest = Sha256::digest(url);
        self.directory
            .join(format!("{}.json", hex::encode(&digest[..16])))
    }

    /// Changes a storage's file. A backup doesn't fail for want of it: where it can't be written, nothing is remembered.
    fn remember(&self, url: &str, change: impl FnOnce(&mut Seen)) {
        if let Err(error) = self.rewrite(url, change) {
            tracing::debug!(directory = %self.directory.display(), %error, "can't remember what was seen");
        }
    }

    fn rewrite(&self, url: &str, change: impl FnOnce(&mut Seen)) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let directory = File::open(&self.directory)?;
        judge(&directory.metadata()?)?;
        // Runs that end at once write one after the other; nobody holds this for longer than a small file takes.
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        let path = self.path(url);
        let mut seen = read(&path)?;
        let before = seen.backups.clone();
        change(&mut seen);
        if seen.backups == before {
            return Ok(());
        }
        url.clone_into(&mut seen.storage);
        let text = serde_json::to_vec(&seen).map_err(io::Error::other)?;
        let temporary = path.with_extension("new");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&text)?;
        std::fs::rename(&temporary, &path)
    }
}

/// Holds the newest backup that a storage shows before a run against what it showed before.
pub(crate) fn compare_newest(
    options: &BackupOptions,
    url: &str,
    newest: Option<(LevelId, Option<&[u8]>)>,
    context: &RunContext<'_>,
) {
    let Some(seen) = &options.seen else { return };
    let sighting = newest.map(|(id, manifest)| Sighting {
        name: options.name.clone(),
        id,
        manifest: manifest
            .and_then(|bytes| Manifest::peek(bytes).ok())
            .map(|peeked| peeked.line_sha256),
        authentic: false,
    });
    let shown: Vec<Sighting> = sighting.into_iter().collect();
    seen.compare(url, &shown, |name| *name == options.name, context);
}

/// Reads a storage's file; nothing if there is none.
fn read(path: &Path) -> io::Result<Seen> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::default()),
        file => file?,
    };
    let facts = file.metadata()?;
    judge(&facts)?;
    if !facts.is_file() || facts.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("it is no file of ours"));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(|_| io::Error::other("it is no file of ours"))
}

/// Refuses what others may have written.
fn judge(facts: &std::fs::Metadata) -> io::Result<()> {
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o022 != 0 {
        let kind = io::ErrorKind::PermissionDenied;
        return Err(io::Error::new(kind, "others may write to it"));
    }
    Ok(())
}

/// What of a storage doesn't fit to what was seen there.
fn doubts(seen: &Seen, shown: &[Sighting], asked: impl Fn(&HostBackupName) -> bool) -> Vec<String> {
    let mut newest: BTreeMap<&HostBackupName, &Sighting> = BTreeMap::new();
    for sighting in shown {
        let known = newest.entry(&sighting.name).or_insert(sighting);
        if sighting.id.time > known.id.time {
            *known = sighting;
        }
    }
    let mut doubts = Vec::new();
    for (name, known) in &seen.backups {
        let Ok(stored) = HostBackupName::try_from(name.clone()) else {
            continue;
        };
        if !asked(&stored) {
            continue;
        }
        let was = format!("level {} of {}", known.level, date(Timestamp(known.time)));
        match newest.get(&stored) {
            None => doubts.push(format!(
                "{name} has no backup any more, and this machine has seen {was}: all were removed, or this is another storage"
            )),
            Some(now) if now.id.time < known.id().time => doubts.push(format!(
                "the newest backup of {name} is of {}, and this machine has seen {was}: newer ones were removed, or the \
                 storage is an older copy",
                date(now.id.time)
            )),
            Some(now)
                if now.id.time == known.id().time
                    && now
                        .manifest
                        .is_some_and(|manifest| hex::encode(manifest) != known.manifest) =>
            {
                doubts.push(format!(
                    "{was} of {name} isn't the one that this machine has seen: it was replaced"
                ));
            }
            Some(_) => {}
        }
    }
    doubts
}

/// Whether a sighting takes the place of what is remembered.
fn is_news(seen: &Seen, sighting: &Sighting) -> bool {
    let Some(now) = Remembered::of(sighting) else {
        return false;
    };
    match seen.backups.get(sighting.name.as_str()) {
        None => true,
        Some(known) if known.time == now.time => {
            known.manifest == now.manifest && now.authentic && !known.authentic
        }
        Some(known) => now.time > known.time && (now.authentic || !known.authentic),
    }
}

/// Takes a sighting in; where there are too many names, one that nobody authenticated makes room, or it isn't kept.
fn take(seen: &mut Seen, sighting: &Sighting) {
    let Some(now) = Remembered::of(sighting) else {
        return;
    };
    let name = sighting.name.as_str();
    if seen.backups.len() >= MAX_NAMES && !seen.backups.contains_key(name) {
        let doubtful = seen.backups.iter().find(|(_, known)| !known.authentic);
        let Some(name) = doubtful.filter(|_| now.authentic).map(|(name, _)| name.clone()) else {
            return;
        };
        seen.backups.remove(&name);
    }
    seen.backups.insert(name.to_owned(), now);
}
