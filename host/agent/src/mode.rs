//! The seam between recipes and modes: what a recipe needs of a mode, whether it is a plugin or not.
//!
//! [`PluginMode`] puts a mode component behind it; tests put a plain directory there. `finish` takes the
//! prepared mode, so it happens once by construction.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_plugin::{
    BackupRequest, Destination, ModeBackup, ModeRestore, ModeSource, Outcome, Plugin, PluginError,
    PluginHost, RestoreRequest, Run, Settings,
};

/// A mode that can be made ready for a backup.
pub trait BackupMode {
    /// Freezes what must be frozen for a backup of this level. On an error nothing stays frozen.
    ///
    /// # Errors
    /// Why the mode can't be prepared.
    fn prepare(
        &self,
        level: u32,
        parent_note: Option<String>,
    ) -> Result<Box<dyn PreparedBackup>, PluginError>;
}

/// A prepared backup; `finish` must be called on every outcome.
pub trait PreparedBackup {
    /// The next source, `None` after the last. Ask only once the one before is stored.
    ///
    /// # Errors
    /// What the mode reported.
    fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError>;

    /// What a path in a snapshot is a view of; any other path is itself.
    fn live_path(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    /// Whether what was read is what was frozen. Called once, when everything was read and before it counts.
    ///
    /// # Errors
    /// Why it can't be trusted.
    fn verify(&self) -> Result<(), PluginError> {
        Ok(())
    }

    /// Thaws and cleans up; answers the note for the manifest.
    ///
    /// # Errors
    /// What may still be frozen or left behind.
    fn finish(self: Box<Self>, outcome: &Outcome) -> Result<String, PluginError>;
}

/// A mode that can be made ready for a restore.
pub trait RestoreMode {
    /// Prepares a restore of a backup that left this note, into the directory that the user named, if one was.
    ///
    /// # Errors
    /// Why the mode can't be prepared.
    fn prepare(&self, target: Option<PathBuf>, note: String)
    -> Result<Box<dyn PreparedRestore>, PluginError>;
}

/// A prepared restore; `finish` must be called on every outcome.
pub trait PreparedRestore {
    /// Where the source of this name goes.
    ///
    /// # Errors
    /// What the mode reported.
    fn destination(&mut self, source: &str) -> Result<Destination, PluginError>;

    /// Gives the mode the bytes of a source that it receives itself.
    ///
    /// # Errors
    /// What the mode reported.
    fn receive(&mut self, source: &str, content: Box<dyn Read + Send>) -> Result<(), PluginError>;

    /// Ends the restore.
    ///
    /// # Errors
    /// What is not in order afterwards.
    fn finish(self: Box<Self>, outcome: &Outcome) -> Result<(), PluginError>;
}

/// A mode component with its settings, for either direction.
pub struct PluginMode<'a> {
    /// The host that runs it.
    pub host: &'a PluginHost,
    /// The component.
    pub plugin: Plugin,
    /// Its settings.
    pub settings: Settings,
    /// The path that the user named, for a backup.
    pub path: Option<PathBuf>,
    /// The run that it belongs to.
    pub run: Arc<Run>,
}

impl BackupMode for PluginMode<'_> {
    fn prepare(
        &self,
        level: u32,
        parent_note: Option<String>,
    ) -> Result<Box<dyn PreparedBackup>, PluginError> {
        let (path, settings) = (self.path.clone(), self.settings.clone());
        let request = BackupRequest {
            path,
            settings,
            level,
            parent_note,
        };
        Ok(Box::new(self.host.prepare_backup(
            &self.plugin,
            request,
            &self.run,
        )?))
    }
}

impl RestoreMode for PluginMode<'_> {
    fn prepare(
        &self,
        target: Option<PathBuf>,
        note: String,
    ) -> Result<Box<dyn PreparedRestore>, PluginError> {
        let request = RestoreRequest {
            target,
            settings: self.settings.clone(),
            note,
        };
        Ok(Box::new(self.host.prepare_restore(
            &self.plugin,
            request,
            &self.run,
        )?))
    }
}

impl PreparedBackup for ModeBackup {
    fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError> {
        Self::next_source(self)
    }

    fn live_path(&self, path: &Path) -> PathBuf {
        Self::live_path(self, path)
    }

    fn verify(&self) -> Result<(), PluginError> {
        Self::verify(self)
    }

    fn finish(self: Box<Self>, outcome: &Outcome) -> Result<String, PluginError> {
        Self::finish(*self, outcome)
    }
}

impl PreparedRestore for ModeRestore {
    fn destination(&mut self, source: &str) -> Result<Destination, PluginError> {
        Self::destination(self, source)
    }

    fn receive(&mut self, source: &str, content: Box<dyn Read + Send>) -> Result<(), PluginError> {
        Self::receive(self, source, content)
    }

    fn finish(self: Box<Self>, outcome: &Outcome) -> Result<(), PluginError> {
        Self::finish(*self, outcome)
    }
}
