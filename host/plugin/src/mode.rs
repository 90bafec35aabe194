//! Modes as the agent uses them: what is frozen, which sources there are, and the end of it.

use std::io::Read;
use std::path::PathBuf;

use freezer_pipeline::store::ErrorKind;

use crate::error::PluginError;
use crate::settings::Settings;

/// The longest note that a mode may leave in the manifest, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 << 10;

/// What a backup asks of a mode.
#[derive(Debug, Clone, Default)]
pub struct BackupRequest {
    /// The path that the user named.
    pub path: Option<PathBuf>,
    /// The mode's settings.
    pub settings: Settings,
    /// The level that will be written.
    pub level: u32,
    /// The note that the parent level's mode left in its manifest.
    pub parent_note: Option<String>,
}

/// What a restore asks of a mode.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// The directory that the user named.
    pub target: Option<PathBuf>,
    /// The mode's settings.
    pub settings: Settings,
    /// The note that the mode left in the manifest of the level that is restored.
    pub note: String,
}

/// Something to back up.
pub enum ModeSource {
    /// A directory that the host walks; its root was checked against grants, snapshots and the named paths.
    Tree {
        /// Its name in the backup.
        name: String,
        /// The absolute path to walk, perhaps in a snapshot.
        root: PathBuf,
        /// Whether mount points below it stay closed.
        one_file_system: bool,
        /// What to leave out, with gitignore's meaning.
        exclude: Vec<String>,
    },
    /// A stream to be read to its end; it fails at its end if what feeds it failed.
    Stream {
        /// Its name in the backup.
        name: String,
        /// What it is: `sql`, `img`.
        suffix: String,
        /// The bytes.
        content: Box<dyn Read + Send>,
    },
    /// Data that the service keeps itself.
    External {
        /// Its name in the backup.
        name: String,
        /// The service's name for it.
        id: String,
        /// Bytes, if known.
        size: Option<u64>,
    },
}

/// How the host's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All is stored, or restored.
    Done,
    /// It failed.
    Failed {
        /// The kind of the first failure.
        kind: ErrorKind,
        /// The first failure on one line.
        message: String,
    },
    /// The user stopped it.
    Cancelled,
}

/// Where a source of a backup goes when it is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into this absolute directory.
    Directory(PathBuf),
    /// Into the mode, by [`ModeRestore::receive`].
    Receive,
    /// The service restores it itself.
    External,
    /// Nowhere.
    Skip,
}

/// A prepared backup: what must be frozen is frozen until `finish`.
pub struct ModeBackup {}

impl ModeBackup {
    /// The next source, `None` after the last. Ask only once the one before is stored.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError> {
        Ok(None)
    }

    /// Thaws and cleans up; answers the note for the manifest. If the plugin's instance is gone already, its
    /// leftovers are undone in a fresh one instead.
    ///
    /// # Errors
    /// Why the application may still be frozen, or what is left behind.
    pub fn finish(self, outcome: &Outcome) -> Result<String, PluginError> {
        Err(PluginError::Engine {
            why: format!("no mode runs yet ({outcome:?})"),
        })
    }
}

/// A prepared restore.
pub struct ModeRestore {}

impl ModeRestore {
    /// Where the source of this name goes.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn destination(&mut self, source: &str) -> Result<Destination, PluginError> {
        Err(PluginError::Engine {
            why: format!("no mode runs yet ({source})"),
        })
    }

    /// Gives the mode the bytes of a source whose destination is [`Destination::Receive`]; success = the service has
    /// them all.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn receive(&mut self, source: &str, content: Box<dyn Read + Send>) -> Result<(), PluginError> {
        drop(content);
        Err(PluginError::Engine {
            why: format!("no mode runs yet ({source})"),
        })
    }

    /// Ends the restore.
    ///
    /// # Errors
    /// What is not in order afterwards.
    pub fn finish(self, outcome: &Outcome) -> Result<(), PluginError> {
        Err(PluginError::Engine {
            why: format!("no mode runs yet ({outcome:?})"),
        })
    }
}
