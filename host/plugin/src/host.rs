//! The plugin host: the one door through which the agent finds plugins and puts them to work.
//!
//! Making one costs next to nothing. The engine, its threads and the compiled plugins come into being when the first
//! plugin is loaded, so that `freezer --version` and `--help` never pay for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_pipeline::store::Store;

use crate::error::PluginError;
use crate::limits::{LimitOverrides, PluginLimits};
use crate::manifest::{PluginKind, PluginManifest};
use crate::mode::{BackupRequest, ModeBackup, ModeRestore, RestoreRequest};
use crate::run::Run;
use crate::settings::Settings;

/// Where the host looks and what it keeps to.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// Directories with `*.wasm` files; of two plugins of one name the one in the earlier directory wins.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where compiled plugins are kept; without it every run compiles.
    pub cache_dir: Option<PathBuf>,
    /// The grants.toml files, system before user; absent ones are skipped.
    pub grant_files: Vec<PathBuf>,
    /// Where the journal of leftovers is kept; without it a mode that announces one is refused.
    pub state_dir: Option<PathBuf>,
    /// Changed ceilings.
    pub limits: LimitOverrides,
}

/// A plugin file that was looked at.
#[derive(Debug)]
pub struct Discovered {
    /// The file.
    pub path: PathBuf,
    /// The plugin's name, as far as it could be read.
    pub name: Option<String>,
    /// What it says about itself, or why it can't be used.
    pub result: Result<PluginManifest, PluginError>,
    /// The digest of the whole file, in hex; empty if it can't be read.
    pub sha256: String,
    /// Whether this binary was built together with it.
    pub first_party: bool,
    /// The file of the same name that is used in its place.
    pub shadowed_by: Option<PathBuf>,
}

/// A plugin that was found and may be used.
#[derive(Debug, Clone)]
pub struct Plugin {
    manifest: Arc<PluginManifest>,
    path: PathBuf,
    sha256: String,
    first_party: bool,
}

impl Plugin {
    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &PluginManifest {
        &self.manifest
    }

    /// The component's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the component, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether this binary was built together with it.
    #[must_use]
    pub fn is_first_party(&self) -> bool {
        self.first_party
    }
}

/// What happened to a leftover of a killed run.
#[derive(Debug)]
pub struct LeftoverReport {
    /// The mode that announced it.
    pub plugin: String,
    /// What it is, in the mode's words.
    pub description: String,
    /// Whether it is gone; a failure is tried again by the next run.
    pub result: Result<(), PluginError>,
}

/// Finds, checks, loads and runs plugins.
pub struct PluginHost {
    config: HostConfig,
}

impl PluginHost {
    /// Makes a host. Nothing is read or started yet.
    ///
    /// # Errors
    /// [`PluginError::Grants`] if a grants.toml is there but can't be used.
    pub fn new(config: HostConfig) -> Result<Self, PluginError> {
        Ok(Self { config })
    }

    /// Looks at every plugin file. A bad one is reported for itself and never hides the others.
    #[must_use]
    pub fn discover(&self) -> Vec<Discovered> {
        Vec::new()
    }

    /// Finds a plugin by its name or, for a storage, by a URL scheme that it serves.
    ///
    /// # Errors
    /// [`PluginError::Unknown`] lists what is there; a plugin that was found but can't be used gives its own error.
    pub fn find(&self, kind: PluginKind, name_or_scheme: &str) -> Result<Plugin, PluginError> {
        Err(PluginError::Unknown {
            kind,
            wanted: name_or_scheme.to_owned(),
            available: Vec::new(),
            nearest: None,
        })
    }

    /// The ceilings under which a plugin of this name runs.
    #[must_use]
    pub fn limits(&self, plugin: &str) -> PluginLimits {
        self.config.limits.of(plugin)
    }

    /// Loads a storage and opens it with these settings; they are checked and completed first.
    ///
    /// # Errors
    /// Why the settings, the component or its `open` failed.
    pub fn open_storage(
        &self,
        plugin: &Plugin,
        settings: Settings,
        run: &Arc<Run>,
    ) -> Result<Arc<dyn Store>, PluginError> {
        drop((settings, Arc::clone(run)));
        Err(PluginError::Load {
            plugin: plugin.manifest.name.clone(),
            why: "no storage runs yet".to_owned(),
        })
    }

    /// Loads a mode and lets it freeze what must be frozen. On an error nothing stays frozen.
    ///
    /// # Errors
    /// Why the settings, the component or its `prepare-backup` failed.
    pub fn prepare_backup(
        &self,
        plugin: &Plugin,
        request: BackupRequest,
        run: &Arc<Run>,
    ) -> Result<ModeBackup, PluginError> {
        drop((request, Arc::clone(run)));
        Err(PluginError::Load {
            plugin: plugin.manifest.name.clone(),
            why: "no mode runs yet".to_owned(),
        })
    }

    /// Loads a mode and prepares a restore.
    ///
    /// # Errors
    /// Why the settings, the component or its `prepare-restore` failed.
    pub fn prepare_restore(
        &self,
        plugin: &Plugin,
        request: RestoreRequest,
        run: &Arc<Run>,
    ) -> Result<ModeRestore, PluginError> {
        drop((request, Arc::clone(run)));
        Err(PluginError::Load {
            plugin: plugin.manifest.name.clone(),
            why: "no mode runs yet".to_owned(),
        })
    }

    /// Undoes what runs that were killed left behind. Call it at the start of every run that may write.
    #[must_use]
    pub fn undo_leftovers(&self, run: &Arc<Run>) -> Vec<LeftoverReport> {
        drop(Arc::clone(run));
        Vec::new()
    }
}
