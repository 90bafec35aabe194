//! The data directory as files: in a snapshot that is taken under fsyncLock, or under a lock that lasts.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::snapshots::{self, Snapshot};
use freezer_sdk::mode::TreeSource;
use freezer_sdk::settings::Settings;

use crate::lock::Lock;
use crate::login::Login;
use crate::note::{Kind, Note};
use crate::server::Server;

/// The name of the source: that of mode fs, which can restore it, too.
pub(crate) const SOURCE: &str = "tree";
/// What belongs to a running server alone: its lock file, and figures about itself that it writes all the time.
const RUNNING: [&str; 2] = ["mongod.lock", "diagnostic.data/"];

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
    Lock(Box<(Server, Login)>, Lock),
}

impl Physical {
    /// Asks whether this is the right member, locks, freezes, unlocks.
    ///
    /// # Errors
    /// What the server or the snapshot says; then nothing is locked or frozen any more.
    pub(crate) fn prepare(path: &str, login: &Login, settings: &Settings) -> Result<Self> {
        let server = Server::connect(login)?;
        server
            .hello
            .check(&server.place, login.wanted, login.set.as_deref())?;
        let mut note = note(&server, Kind::Physical);
        note.data_directory = check_directory(&server, path)?;
        let tree = |root| TreeSource {
            name: SOURCE.to_owned(),
            root,
            one_file_system: false,
            exclude: RUNNING.map(str::to_owned).to_vec(),
        };
        let lock = Lock::take(&server, login)?;
        if settings.flag("lock-during-backup")? {
            return Ok(Self {
                tree: Some(tree(path.to_owned())),
                note,
                held: Held::Lock(Box::new((server, login.clone())), lock),
            });
        }
        control::progress("taking a snapshot", None);
        let wanted = snapshots::options(settings);
        let snapshot = wanted.and_then(|wanted| snapshots::create(path, &wanted).map_err(advised));
        let waited = lock.give_back(&server, login);
        let (snapshot, waited) = (snapshot?, waited?);
        note.snapshot = Some(snapshot.description());
        locked_for(&mut note, waited);
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
    /// If the lock was lost while files were read, or can't be given back.
    pub(crate) fn finish(mut self) -> Result<Note> {
        match self.held {
            Held::Snapshot(snapshot) => drop(snapshot),
            Held::Lock(held, lock) => {
                let waited = lock.give_back(&held.0, &held.1)?;
                locked_for(&mut self.note, waited);
            }
        }
        Ok(self.note)
    }
}

/// A note that says who was asked.
pub(crate) fn note(server: &Server, kind: Kind) -> Note {
    Note {
        version: 1,
        kind,
        server: server.version.clone(),
        place: server.place.clone(),
        replica_set: server.hello.set.clone(),
        role: server.hello.role().to_owned(),
        data_directory: None,
        lock_milliseconds: None,
        snapshot: None,
        oplog: false,
        summary: None,
    }
}

/// Says how long writers waited.
fn locked_for(note: &mut Note, milliseconds: u64) {
    let set = note
        .replica_set
        .as_deref()
        .map_or_else(String::new, |set| format!(" of {set}"));
    note.lock_milliseconds = Some(milliseconds);
    note.summary = Some(format!(
        "{} ({}{set}) was locked by fsyncLock for {milliseconds} ms",
        note.place, note.role
    ));
}

/// Makes sure that the server's files lie at or below `path`, if it tells where they are.
fn check_directory(server: &Server, path: &str) -> Result<Option<String>> {
    let Some(data) = server.data_directory()? else {
        control::warning(format!(
            "{} doesn't tell where it keeps its data, so nobody checked that it is {path:?}",
            server.place
        ));
        return Ok(None);
    };
    if lies_in(&data, path) {
        return Ok(Some(data));
    }
    Err(Error::invalid(format!(
        "{} keeps its data in {data:?}, but {path:?} is to be backed up: name {data:?}",
        server.place
    )))
}

fn lies_in(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What else can be done where there are no snapshots.
fn advised(error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Invalid) {
        return error;
    }
    let message = format!(
        "{}. Without a snapshot: --mode-option kind=logical, or lock-during-backup=true, which stops all writers for as long as the \
         backup takes",
        error.message
    );
    Error::new(error.kind, message)
}
