//! The data directory as files: in a snapshot that is taken under a lock of a moment, or under a lock that lasts.

use std::time::Instant;

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::snapshots::{self, Snapshot};
use freezer_sdk::mode::TreeSource;
use freezer_sdk::settings::Settings;

use crate::login::Login;
use crate::note::{Kind, Note};
use crate::server::{Lock, LockKind, Server, milliseconds};

/// The name of the source: that of mode fs, which can restore it, too.
pub(crate) const SOURCE: &str = "tree";
/// What a server makes anew when it starts.
const TEMPORARY: &str = "/ibtmp1";

/// A data directory that stays as it is until this is finished.
#[derive(Debug)]
pub(crate) struct Physical {
    tree: Option<TreeSource>,
    note: Note,
    held: Held,
}

/// What keeps the directory as it is.
#[derive(Debug)]
enum Held {
    Snapshot(Snapshot),
    Lock(Box<Server>, Lock),
}

impl Physical {
    /// Locks, notes where the binary log stands, freezes, unlocks.
    ///
    /// # Errors
    /// What the server or the snapshot says; then nothing is locked or frozen any more.
    pub(crate) fn prepare(path: &str, login: &Login, settings: &Settings) -> Result<Self> {
        let server = Server::connect(login)?;
        let mut note = Note::new(Kind::Physical, &server.version);
        let data = server.check_directories(path)?;
        let exclude = if data == path.trim_end_matches('/') {
            vec![TEMPORARY.to_owned()]
        } else {
            Vec::new()
        };
        note.data_directory = Some(data);
        let lasting = settings.flag("lock-during-backup")?;
        // The lock of one moment is enough for a snapshot; only the old one also stops what isn't a commit.
        let kind = match lasting {
            true => LockKind::ReadLock,
            false => server.lock_kind(),
        };
        note.lock = Some(kind.name().to_owned());
        let lock = server.lock(kind)?;
        note.binary_log = server.position()?;
        let tree = |root| TreeSource {
            name: SOURCE.to_owned(),
            root,
            one_file_system: false,
            exclude,
        };
        if lasting {
            control::warning(
                "the files are read under FLUSH TABLES WITH READ LOCK: nobody writes to tables meanwhile, but InnoDB's own threads do \
                 go on, so a page may be caught half-written. A snapshot, kind=hot or kind=logical has no such gap",
            );
            let held = Held::Lock(Box::new(server), lock);
            let tree = Some(tree(path.to_owned()));
            return Ok(Self { tree, note, held });
        }
        control::progress("taking a snapshot", None);
        let asked = Instant::now();
        let snapshot = snapshots::create(path, &snapshots::options(settings)?).map_err(advised);
        note.snapshot_milliseconds = Some(milliseconds(asked));
        let waited = server.unlock(&lock);
        let (snapshot, waited) = (snapshot?, waited?);
        note.lock_milliseconds = Some(waited);
        note.snapshot = Some(snapshot.description());
        note.summary = Some(summary(&note));
        Ok(Self {
            tree: Some(tree(snapshot.path())),
            note,
            held: Held::Snapshot(snapshot),
        })
    }

    /// The directory, once.
    pub(crate) fn next(&mut self) -> Option<TreeSource> {
        self.tree.take()
    }

    /// Releases what is held and answers the note.
    ///
    /// # Errors
    /// If the lock was lost while files were read.
    pub(crate) fn finish(mut self) -> Result<Note> {
        match self.held {
            Held::Snapshot(snapshot) => drop(snapshot),
            Held::Lock(server, lock) => {
                self.note.lock_milliseconds = Some(server.unlock(&lock)?);
                self.note.summary = Some(summary(&self.note));
            }
        }
        Ok(self.note)
    }
}

/// Says how long writers waited, and where replication would go on.
fn summary(note: &Note) -> String {
    let position = note.binary_log.as_ref();
    let position = position.map_or_else(String::new, |position| {
        format!("; binary log {} at {}", position.file, position.position)
    });
    let lock = note.lock.as_deref().unwrap_or_default();
    let time = note.lock_milliseconds.unwrap_or(0);
    let snapshot = note.snapshot_milliseconds;
    let snapshot = snapshot.map_or_else(String::new, |time| {
        format!(", of which the snapshot took {time} ms")
    });
    format!("{lock} was held for {time} ms{snapshot}{position}")
}

/// What else can be done where there are no snapshots.
fn advised(error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Invalid) {
        return error;
    }
    let message = format!(
        "{}. Without a snapshot: --mode-option kind=hot or kind=logical, or lock-during-backup=true, which stops all writers for as long \
         as the backup takes",
        error.message
    );
    Error::new(error.kind, message)
}
