//! The data directory as files, in a snapshot that is taken in backup mode.
//!
//! The snapshot is of one moment and holds the log up to it, so a server starts on it as after a power cut, without anything
//! from later. Backup mode adds what a crash doesn't have: a checkpoint of just before, so that recovery is short, and the
//! label by which archived log can be replayed on top. The label isn't put among the files: a server that finds one refuses to
//! start without the log up to the end of backup mode, which is later than the snapshot.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::snapshots::{self, Snapshot};
use freezer_sdk::mode::TreeSource;
use freezer_sdk::settings::Settings;

use crate::login::Login;
use crate::note::{BackupMode, Kind, Note};
use crate::place::Place;
use crate::server::Server;

/// The name of the source: that of mode fs, which can restore it, too.
pub(crate) const SOURCE: &str = "tree";

/// A data directory that stays as it is until this is finished.
#[derive(Debug)]
pub(crate) struct Physical {
    tree: Option<TreeSource>,
    note: Note,
    snapshot: Snapshot,
}

impl Physical {
    /// Turns backup mode on, freezes, turns it off.
    ///
    /// # Errors
    /// What the server or the snapshot says; then nothing is frozen and backup mode is off.
    pub(crate) fn prepare(path: &str, login: &Login, settings: &Settings) -> Result<Self> {
        let server = Server::connect(login)?;
        if server.is_standby()? {
            return Err(Error::unsupported(
                "the server is a standby, and a copy of its files would go on as another standby: back up its primary, or use \
                 kind=base or kind=logical, which take a standby, too",
            ));
        }
        let (data, tablespaces) = (server.data_directory()?, server.tablespaces()?);
        let place = Place::new(path, &data, &tablespaces)?;
        server.check_backup_mode()?;
        place.check_live(&server.system_identifier, login.place())?;
        let begun = server.begin()?;
        control::progress("taking a snapshot", None);
        let snapshot = snapshots::create(&place.path, &snapshots::options(settings)?).map_err(advised);
        // At once: the server needn't stay in backup mode while files are read.
        let ended = server.end(&begun);
        let (snapshot, mode) = (snapshot?, ended?);
        let view = snapshot.path();
        place.check_view(&view, &mode, &tablespaces)?;
        let mut note = Note::new(Kind::Physical, &server.version, &server.system_identifier);
        note.snapshot = Some(snapshot.description());
        note.summary = Some(summary(&mode));
        note.backup_mode = Some(mode);
        note.tablespaces = tablespaces;
        let tree = TreeSource {
            name: SOURCE.to_owned(),
            root: view,
            one_file_system: false,
            exclude: place.exclude(),
        };
        note.path = Some(place.path);
        note.data_directory = Some(place.data);
        Ok(Self {
            tree: Some(tree),
            note,
            snapshot,
        })
    }

    /// The directory, once.
    pub(crate) fn next(&mut self) -> Option<TreeSource> {
        self.tree.take()
    }

    /// Releases the snapshot and answers the note.
    pub(crate) fn finish(self) -> Note {
        drop(self.snapshot);
        self.note
    }
}

/// Says how long backup mode was on, and which log belongs to it.
fn summary(mode: &BackupMode) -> String {
    format!(
        "backup mode was on for {} ms; log {} to {}, timeline {}",
        mode.milliseconds, mode.start_lsn, mode.stop_lsn, mode.timeline
    )
}

/// What else can be done where there are no snapshots.
fn advised(error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Invalid) {
        return error;
    }
    let message = format!(
        "{}. Without a snapshot: --mode-option kind=base or kind=logical",
        error.message
    );
    Error::new(error.kind, message)
}
