//! What a mode implements: how one kind of application is backed up and restored.
//!
//! The order of calls is that of the contract: prepare, then each source, then `finish`, once, on every outcome. The host reads
//! and stores the bytes; a mode only says where they are.

use crate::error::{Error, Result};
use crate::host::bodies::Body;
use crate::settings::Settings;

pub use crate::bindings::mode_plugin::exports::freezer::plugin::mode::{
    Destination, ExternalSource, TreeSource,
};

/// A kind of application. Export it with [`export_mode!`](crate::export_mode).
pub trait Mode: 'static {
    /// A prepared backup.
    type Backup: Backup;
    /// A prepared restore.
    type Restore: Restore;

    /// Quiesces, locks, takes snapshots: after it, the sources can be read and belong together.
    ///
    /// # Errors
    /// Any; then nothing may be left behind, since no `finish` follows.
    fn prepare_backup(request: BackupRequest) -> Result<Self::Backup>;

    /// Makes ready for the sources to come.
    ///
    /// # Errors
    /// Any; then nothing may be left behind, since no `finish` follows.
    fn prepare_restore(request: RestoreRequest) -> Result<Self::Restore>;

    /// Deletes the external data of a backup that is being removed; absent is a success. Without external data there is nothing to
    /// do, which is the default.
    ///
    /// # Errors
    /// Any; the call may be repeated.
    fn remove(_settings: Settings, _note: String) -> Result<()> {
        Ok(())
    }

    /// Undoes one leftover that an earlier, killed instance announced; absent is a success.
    ///
    /// # Errors
    /// Any; the call may be repeated. By default `unsupported`: a mode that announces leftovers must implement it.
    fn undo(_settings: Settings, _leftover: String) -> Result<()> {
        Err(Error::unsupported("this mode announces no leftovers"))
    }
}

/// A prepared backup: what must be frozen is frozen.
pub trait Backup: 'static {
    /// The next source, `None` at the end. The host has stored one before it asks for the next.
    ///
    /// # Errors
    /// Any; then only `finish` follows.
    fn next(&mut self) -> Result<Option<Source>>;

    /// Thaws, unlocks, removes what is temporary; returns the note that a restore will need (JSON by custom, at most 64 KiB).
    /// Host calls work in it, even when the run is cancelled.
    ///
    /// # Errors
    /// Any; they make a run that was `Done` fail.
    fn finish(self, outcome: Outcome) -> Result<String>;
}

/// A prepared restore.
pub trait Restore: 'static {
    /// Where the source of that name goes.
    ///
    /// # Errors
    /// `not-found` for a source that this mode doesn't know.
    fn destination(&mut self, source: &str) -> Result<Destination>;

    /// Takes the bytes of a source whose destination is [`Destination::Receive`]; success means that the service has them all.
    ///
    /// # Errors
    /// Any. By default `unsupported`, for modes that never answer `Receive`.
    fn receive(&mut self, source: &str, _content: Body) -> Result<()> {
        Err(Error::unsupported(format!(
            "this mode takes no stream (\"{source}\")"
        )))
    }

    /// Ends the restore. By default there is nothing to do.
    ///
    /// # Errors
    /// Any; they make a run that was `Done` fail.
    fn finish(self, _outcome: Outcome) -> Result<()>
    where
        Self: Sized,
    {
        Ok(())
    }
}

/// What is to be backed up.
#[derive(Clone, Debug, Default)]
pub struct BackupRequest {
    /// The absolute path that the user named, if any.
    pub path: Option<String>,
    /// The plugin's settings.
    pub settings: Settings,
    /// The level about to be made; 0 is a full backup.
    pub level: u32,
    /// The note of the level this one builds on; none for level 0.
    pub parent_note: Option<String>,
}

/// What is to be restored.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// The absolute directory that the user named, if any.
    pub target: Option<String>,
    /// The plugin's settings, as of now.
    pub settings: Settings,
    /// The note of the level that is restored, perhaps by an older version of the plugin.
    pub note: String,
}

/// Where bytes come from.
#[derive(Debug)]
pub enum Source {
    /// A directory (or a single file) that the host walks.
    Tree(TreeSource),
    /// A stream that the host reads to its end.
    Stream(StreamSource),
    /// Data that the service keeps itself.
    External(ExternalSource),
}

/// A stream that the host reads to its end and stores.
#[derive(Debug)]
pub struct StreamSource {
    /// Names the source within the backup; the same at every level.
    pub name: String,
    /// Says what it is ("sql", "img").
    pub suffix: String,
    /// The bytes.
    pub content: Body,
}

/// How the host's part went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is stored, or restored.
    Done,
    /// It failed for that reason.
    Failed(Error),
    /// The user cancelled.
    Cancelled,
}
