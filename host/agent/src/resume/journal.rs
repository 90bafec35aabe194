//! The file that remembers, for one storage and one name, what an unfinished run has stored there.
//!
//! ```text
//! DIRECTORY/HEX.journal        HEX: 32 digits of SHA-256 of the storage's URL, a NUL and the stored name; mode 0600
//! {"run": {…}}                 first line: who writes which backup, with what salt, key (wrapped) and options
//! {"boot": "…"}                a boot of this machine; what follows was stored during it
//! {"begun": {…}}               an upload was begun
//! {"sending": {…}}             a segment is about to be stored: afterwards it may be there or not
//! {"stored": {…}}              it is there, with this digest and receipt
//! {"committing": {…}}          the object is about to become visible
//! "finishing"                  the backup's documents are about to be written: it may be complete
//! ```
//! The file is locked as long as its run lives. Lines aren't synced: a killed process loses none, and after a power
//! cut nothing is believed without being read back. Each line begins with a line feed as well, so that a torn one
//! swallows none after it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use freezer_format::chain_key::KeyInfo;
use freezer_format::layout::Engine;
use freezer_format::name::LevelId;
use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest line that is read back: keys, receipts and wrapped keys are far below.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// The largest journal that is read back, some million segments: more is nobody's run.
const MAX_JOURNAL_BYTES: u64 = 1 << 30;

/// A run that lives isn't waited for longer than this: two seconds in all.
const LOCK_TRIES: u32 = 40;
/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Who writes which backup, and whatever makes its bytes what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunHead {
    /// The run's name, as in the claim.
    pub(crate) run: String,
    /// What kind of bytes, which decides the place.
    #[serde(default = "trees")]
    pub(crate) engine: Engine,
    /// The stored name.
    pub(crate) name: String,
    /// Chain, level and time.
    #[serde(with = "level_id")]
    pub(crate) id: LevelId,
    /// Digest of the parent's manifest, in hex; absent at level 0 and over the original's backups.
    pub(crate) parent: Option<String>,
    /// The wrapped chain key.
    pub(crate) key: Option<KeyInfo>,
    /// The salt of the data object, in hex.
    pub(crate) salt: String,
    /// Digest of the options that shape the bytes, in hex.
    pub(crate) fingerprint: String,
}

/// What journals without an engine are of.
fn trees() -> Engine {
    Engine::Tar
}

/// A level's id as numbers.
mod level_id {
    use freezer_format::name::{Level, LevelId, Timestamp};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &LevelId, serializer: S) -> Result<S::Ok, S::Error> {
        (id.zero.0, id.level.0, id.time.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LevelId, D::Error> {
        let (zero, level, time) = Deserialize::deserialize(deserializer)?;
        Ok(LevelId {
            zero: Timestamp(zero),
            level: Level(level),
            time: Timestamp(time),
        })
    }
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Run(RunHead),
    Boot(String),
    Begun {
        key: String,
        upload: String,
    },
    Sending {
        upload: String,
        number: u32,
        bytes: u64,
    },
    Stored {
        upload: String,
        number: u32,
        bytes: u64,
        sha256: String,
        receipt: String,
    },
    Committing {
        upload: String,
        bytes: u64,
    },
    Finishing,
}

/// A segment that an earlier run stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OldSegment {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) receipt: String,
    /// False if this machine was started anew since: it may be lost though it was stored.
    pub(super) of_this_boot: bool,
}

/// An upload that an earlier run began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OldUpload {
    pub(super) key: String,
    pub(super) segments: BTreeMap<u32, OldSegment>,
    /// The last segment that was ever sent, with its length: it may be there.
    pub(super) last_sent: Option<(u32, u64)>,
    /// The size with which it was about to become visible.
    pub(super) committing: Option<u64>,
}

/// What an earlier run left, as its journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) head: RunHead,
    /// True if the backup may be complete.
    pub(super) is_finishing: bool,
    /// By the upload's name.
    pub(super) uploads: BTreeMap<String, OldUpload>,
}

/// An open, locked journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens and locks the journal of a storage and a name; makes it if it isn't there. `None` while another run
    /// has it.
    ///
    /// # Errors
    /// The directory can't be used, or the file isn't ours alone.
    pub(crate) fn open(directory: &Path, url: &str, name: &str) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let digest = Sha256::new()
            .chain_update(url)
            .chain_update([0])
            .chain_update(name)
            .finalize();
        let path = directory.join(format!("{}.journal", hex::encode(&digest[..16])));
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = options.custom_flags(flags.bits().cast_signed()).open(&path)?;
        let facts = file.metadata()?;
        if !facts.is_file() || facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o022 != 0
        {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is no file of this user alone",
            ));
        }
        // A killed run holds its lock until the kernel has taken its memory away.
        let is_locked = || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let mut tries = LOCK_TRIES;
        while !is_locked() {
            if tries == 0 {
                return Ok(None);
            }
            tries -= 1;
            std::thread::sleep(LOCK_PAUSE);
        }
        // A run that ended between the opening and the lock has removed the file: then this one belongs to nobody.
        if rustix::fs::fstat(&file)?.st_nlink == 0 {
            return Ok(None);
        }
        Ok(Some(Self { path, file }))
    }

    /// What an earlier run left; `None` if nothing. `boot` is this machine's present one.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn remains(&mut self, boot: &str) -> io::Result<Option<Remains>> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new((&self.file).take(MAX_JOURNAL_BYTES));
        let mut line = Vec::new();
        let mut remains: Option<Remains> = None;
        let mut of_this_boot = false;
        loop {
            line.clear();
            if (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                return Ok(remains);
            }
            if line == b"\n" {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(Line::Run(head)) => {
                    remains = Some(Remains {
                        head,
                        is_finishing: false,
                        uploads: BTreeMap::new(),
                    });
                }
                Ok(Line::Boot(stored)) => of_this_boot = !boot.is_empty() && stored == boot,
                Ok(line) => {
                    if let Some(remains) = &mut remains {
                        remains.take(line, of_this_boot);
                    }
                }
                Err(error) => tracing::debug!(path = %self.path.display(), %error, "skipped a torn line"),
            }
        }
    }

    /// Forgets all that is written and begins with a new run.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn begin(&mut self, head: &RunHead, boot: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.append(&Line::Run(head.clone()))?;
        self.go_on(boot)
    }

    /// Goes on with what is written.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn go_on(&mut self, boot: &str) -> io::Result<()> {
        self.append(&Line::Boot(boot.to_owned()))
    }

    pub(super) fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = vec![b'\n'];
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }

    /// Forgets all that is written, since what is to follow can't be: else it would be believed.
    ///
    /// # Errors
    /// It can be neither emptied nor removed.
    pub(super) fn forget(&self) -> io::Result<()> {
        self.file.set_len(0).or_else(|_| std::fs::remove_file(&self.path))
    }

    /// Removes the file: nothing unfinished is left.
    pub(crate) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "can't remove a journal");
        }
    }
}

impl Remains {
    /// Takes in one line; what doesn't fit was written by nobody who could mean it.
    fn take(&mut self, line: Line, of_this_boot: bool) {
        match line {
            Line::Begun { key, upload } => {
                let old = OldUpload {
                    key,
                    ..OldUpload::default()
                };
                self.uploads.insert(upload, old);
            }
            Line::Sending {
                upload,
                number,
                bytes,
            } => {
                if let Some(old) = self.uploads.get_mut(&upload) {
                    old.segments.remove(&number);
                    old.note_sent(number, bytes);
                }
            }
            Line::Stored {
                upload,
                number,
                bytes,
                sha256,
                receipt,
            } => {
                let mut digest = [0; 32];
                let readable = hex::decode_to_slice(sha256, &mut digest).is_ok();
                if let Some(old) = self.uploads.get_mut(&upload).filter(|_| readable) {
                    old.note_sent(number, bytes);
                    let segment = OldSegment {
                        bytes,
                        sha256: digest,
                        receipt,
                        of_this_boot,
                    };
                    old.segments.insert(number, segment);
                }
            }
            Line::Committing { upload, bytes } => {
                if let Some(old) = self.uploads.get_mut(&upload) {
                    old.committing = Some(bytes);
                }
            }
            Line::Finishing => self.is_finishing = true,
            Line::Run(_) | Line::Boot(_) => {}
        }
    }
}

impl OldUpload {
    pub(super) fn note_sent(&mut self, number: u32, bytes: u64) {
        self.last_sent = match self.last_sent {
            Some((last, most)) if last > number => Some((last, most)),
            Some((last, most)) if last == number => Some((last, most.max(bytes))),
            _ => Some((number, bytes)),
        };
    }

    /// Bytes of the segments that are there.
    pub(super) fn stored_bytes(&self) -> u64 {
        let bytes = self.segments.values().map(|segment| segment.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
impl Journal {
    /// From now on neither it nor, `for_good`, its file can be changed.
    pub(super) fn break_it(&mut self, for_good: bool) {
        self.file = File::open(&self.path).unwrap();
        if for_good {
            self.path.push("nothing lies below a file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_format::name::{Level, Timestamp};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn head() -> RunHead {
        RunHead {
            run: "0011223344556677".to_owned(),
            engine: Engine::Tar,
            name: "h_n".to_owned(),
            id: LevelId {
                zero: Timestamp(1),
                level: Level(2),
                time: Timestamp(3),
            },
            parent: Some("aa".to_owned()),
            key: None,
            salt: "0102030405060708".to_owned(),
            fingerprint: "ff".to_owned(),
        }
    }

    fn open(directory: &Path) -> Option<Journal> {
        Journal::open(directory, "local:/b", "h_n").unwrap()
    }

    fn stored(number: u32) -> Line {
        Line::Stored {
            upload: "u".to_owned(),
            number,
            bytes: 10,
            sha256: hex::encode([7; 32]),
            receipt: format!("r{number}"),
        }
    }

    fn sending(number: u32, bytes: u64) -> Line {
        Line::Sending {
            upload: "u".to_owned(),
            number,
            bytes,
        }
    }

    #[test]
    fn what_a_run_stored_is_remembered_and_a_torn_line_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let mut journal = open(temp.path()).unwrap();
        assert_eq!(journal.remains("b").unwrap(), None);
        journal.begin(&head(), "b").unwrap();
        let begun = Line::Begun {
            key: "k".to_owned(),
            upload: "u".to_owned(),
        };
        journal.append(&begun).unwrap();
        for line in [
            sending(0, 10),
            stored(0),
            sending(1, 10),
            stored(1),
            sending(2, 4),
        ] {
            journal.append(&line).unwrap();
        }
        journal
            .file
            .write_all(b"\n{\"stored\": {\"upload\": \"u\", \"num")
            .unwrap();
        journal.append(&sending(1, 10)).unwrap();
        drop(journal);
        let remains = open(temp.path()).unwrap().remains("b").unwrap().unwrap();
        assert_eq!(remains.head, head());
        let old = &remains.uploads["u"];
        assert_eq!(
            old.segments.keys().collect::<Vec<_>>(),
            [&0],
            "1 was sent again and nothing heard"
        );
        assert_eq!((old.last_sent, old.stored_bytes()), (Some((2, 4)), 10));
        assert!(old.segments[&0].of_this_boot);
        let later = open(temp.path())
            .unwrap()
            .remains("another boot")
            .unwrap()
            .unwrap();
        assert!(!later.uploads["u"].segments[&0].of_this_boot);
    }

    #[test]
    fn a_journal_in_use_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let first = open(temp.path()).unwrap();
        assert!(open(temp.path()).is_none());
        drop(first);
        assert!(open(temp.path()).is_some());
        assert!(Journal::open(temp.path(), "local:/c", "h_n").unwrap().is_some());
    }

    #[test]
    fn a_planted_journal_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = open(temp.path()).unwrap().path;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Journal::open(temp.path(), "local:/b", "h_n").is_err());
        std::fs::remove_file(&path).unwrap();
        symlink(temp.path().join("elsewhere"), &path).unwrap();
        assert!(Journal::open(temp.path(), "local:/b", "h_n").is_err());
    }
}
