//! A data directory that was restored: what a server must find there, and what it must not.
//!
//! By default nothing is added: the server recovers as after a power cut. With `recovery=archive` it gets the label of the
//! backup and the signal to replay archived log. Links to tablespaces lead to where these were; in another place than the
//! original's they would let two servers write to the same files, so they are taken away there.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;
use freezer_sdk::host::directories::{self, Access, Directory, Existing};
use freezer_sdk::settings::Settings;

use crate::note::{BackupMode, Note, Tablespace};
use crate::place::Place;

/// What a server does with a restored directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It starts as after a power cut.
    Crash,
    /// It replays archived log from the label on.
    Archive,
}

impl Recovery {
    /// Reads the setting.
    ///
    /// # Errors
    /// `invalid` for another word.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        match settings.optional_text("recovery")?.unwrap_or("crash") {
            "crash" => Ok(Self::Crash),
            "archive" => Ok(Self::Archive),
            other => Err(Error::invalid(format!(
                "recovery is {other:?}: it must be crash or archive"
            ))),
        }
    }
}

/// A directory that is being restored.
#[derive(Debug)]
pub(crate) struct Restored {
    place: Place,
    target: String,
    mode: BackupMode,
    tablespaces: Vec<Tablespace>,
    recovery: Recovery,
}

impl Restored {
    /// Reads what the note says about it.
    ///
    /// # Errors
    /// `invalid` if the note lacks something, or nobody named a target.
    pub(crate) fn new(note: Note, target: Option<&str>, recovery: Recovery) -> Result<Self> {
        let target = target.ok_or_else(|| Error::invalid("name the empty data directory to restore into"))?;
        let lacking = || Error::invalid("the note of the backup doesn't say where its data directory was");
        let (path, data) = (
            note.path.ok_or_else(lacking)?,
            note.data_directory.ok_or_else(lacking)?,
        );
        Ok(Self {
            place: Place::new(&path, &data, &note.tablespaces)?,
            target: target.to_owned(),
            mode: note.backup_mode.ok_or_else(lacking)?,
            tablespaces: note.tablespaces,
            recovery,
        })
    }

    /// Where its files go.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Makes the directory ready for a server.
    ///
    /// # Errors
    /// If something can't be written or taken away.
    pub(crate) fn settle(&self) -> Result<()> {
        let is_moved = self.place.restored(&self.place.path, &self.target) != self.place.path;
        let is_archive = self.recovery == Recovery::Archive;
        if !is_archive && (self.tablespaces.is_empty() || !is_moved) {
            return Ok(());
        }
        let data = self.place.restored(&self.place.data, &self.target);
        let directory = directories::open(&data, Access::ReadWrite)?;
        if is_moved {
            for space in &self.tablespaces {
                directory.remove(&format!("pg_tblspc/{}", space.oid))?;
            }
        }
        if is_archive {
            self.write_label(&directory)?;
            control::warning(format!(
                "{data} holds backup_label and recovery.signal now: make them the server's (chown), set restore_command, and start it; \
                 it needs the archived log from {} on, and at least to {}",
                self.mode.first_wal_file, self.mode.last_wal_file
            ));
        } else {
            control::warning(self.links(&data));
        }
        Ok(())
    }

    fn write_label(&self, directory: &Directory) -> Result<()> {
        let map: Vec<_> = self
            .tablespaces
            .iter()
            .map(|space| self.map_line(space))
            .collect();
        if !map.is_empty() {
            write(directory, "tablespace_map", &map.concat())?;
        }
        write(directory, "backup_label", &self.mode.backup_label)?;
        write(directory, "recovery.signal", "")
    }

    /// A line of `tablespace_map`: a server makes the link that it names.
    fn map_line(&self, space: &Tablespace) -> String {
        let location = self.place.restored(&space.location, &self.target);
        format!("{} {}\n", space.oid, location.replace('\\', "\\\\"))
    }

    /// What the user has to do about links.
    fn links(&self, data: &str) -> String {
        let link = |space: &Tablespace| {
            let location = self.place.restored(&space.location, &self.target);
            format!(
                "ln -s {} {}",
                quoted(&location),
                quoted(&format!("{data}/pg_tblspc/{}", space.oid))
            )
        };
        let links: Vec<_> = self.tablespaces.iter().map(link).collect();
        format!(
            "the links to tablespaces led to the original's and were taken away; before a server is started: {}",
            links.join("; ")
        )
    }
}

fn write(directory: &Directory, name: &str, content: &str) -> Result<()> {
    let body = Body::from_bytes(content.as_bytes())?;
    let new = format!("{name}.new");
    directory.remove(&new)?;
    directory.write(&new, 0, &body)?;
    directory.publish(&new, name, Existing::Replace)
}

/// A path for a shell.
fn quoted(path: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}
