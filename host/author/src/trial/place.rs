//! The place of a trial: a folder of its own with a real host in it, which grants the plugin what it asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_pipeline::store::Store;
use freezer_plugin::{
    HostConfig, Plugin, PluginError, PluginHost, PluginManifest, Run, Scope, ScopedFile, Settings, grant_file,
};
use tempfile::TempDir;

use super::Compiling;
use super::settings::{FILE_NAME, TrialSettings, text_of};
use crate::error::AuthorError;
use crate::file;
use crate::project::Project;

/// A folder with the component, its grants, and what it works on.
pub(super) struct Place {
    scratch: TempDir,
    /// Where compiled components are kept from trial to trial.
    cache: PathBuf,
    manifest: PluginManifest,
    settings: TrialSettings,
    /// The program that compiles.
    compiler: PathBuf,
}

impl Place {
    pub(super) fn make(
        project: &Project,
        component: &Path,
        compiling: Compiling<'_>,
    ) -> Result<Self, AuthorError> {
        let scratch = tempfile::Builder::new().prefix("freezer-trial.").tempdir();
        let scratch = scratch.map_err(|source| AuthorError::File {
            action: "write",
            path: std::env::temp_dir(),
            source,
        })?;
        let work = scratch.path().join("work");
        let settings = TrialSettings::read(&project.folder().join(FILE_NAME), &work)?;
        let place = Self {
            cache: compiling
                .cache
                .map_or_else(|| project.target().join("compiled"), Path::to_owned),
            manifest: project.manifest().clone(),
            settings,
            compiler: compiling.compiler.to_owned(),
            scratch,
        };
        file::write(&place.component(), &file::read(component)?)?;
        std::fs::create_dir_all(&work).map_err(|source| AuthorError::File {
            action: "write",
            path: work.clone(),
            source,
        })?;
        for (path, content) in &place.settings.files {
            file::write(&work.join(path), content.as_bytes())?;
        }
        place.grant()?;
        Ok(place)
    }

    pub(super) fn settings(&self) -> &TrialSettings {
        &self.settings
    }

    /// Where a restore may be asked to go.
    pub(super) fn target(&self) -> PathBuf {
        self.scratch.path().join("work/restored")
    }

    pub(super) fn name(&self) -> &str {
        &self.manifest.name
    }

    fn component(&self) -> PathBuf {
        self.scratch
            .path()
            .join(format!("plugins/{}.wasm", self.manifest.name))
    }

    fn grants(&self) -> PathBuf {
        self.scratch.path().join("grants.toml")
    }

    /// Grants what plugin.toml asks for and nothing else, to exactly this component.
    fn grant(&self) -> Result<(), AuthorError> {
        let host = self.host()?;
        let plugin = self.plugin(&host)?;
        let file = ScopedFile {
            path: self.grants(),
            scope: Scope::User,
        };
        grant_file::write(&file, &self.manifest.name, plugin.sha256(), &self.manifest.grants)?;
        Ok(())
    }

    /// A host that knows this plugin alone.
    pub(super) fn host(&self) -> Result<PluginHost, AuthorError> {
        Ok(PluginHost::new(HostConfig {
            plugin_dirs: vec![self.scratch.path().join("plugins")],
            cache_dir: Some(self.cache.clone()),
            compiler: Some(self.compiler.clone()),
            grant_files: vec![self.grants()],
            state_dir: Some(self.scratch.path().join("state")),
            snapshot_dir: Some(self.scratch.path().join("snapshots")),
            ..HostConfig::default()
        })?)
    }

    pub(super) fn plugin(&self, host: &PluginHost) -> Result<Plugin, AuthorError> {
        Ok(host.find(self.manifest.kind, &self.manifest.name)?)
    }

    /// The plugin's settings as freezer-test.toml has them.
    pub(super) fn plugin_settings(&self) -> Result<Settings, AuthorError> {
        let mut settings = Settings::new();
        self.add_settings(&mut settings)?;
        Ok(settings)
    }

    fn add_settings(&self, settings: &mut Settings) -> Result<(), PluginError> {
        for (name, value) in &self.settings.settings {
            let (name, value) = self.manifest.parse_setting(name, &text_of(value))?;
            settings.set(&name, value);
        }
        Ok(())
    }

    /// Opens the storage in a run.
    pub(super) fn open_storage(
        &self,
        host: &PluginHost,
        url: &str,
        run: &Arc<Run>,
    ) -> Result<Arc<dyn Store>, PluginError> {
        let plugin = host.find(self.manifest.kind, &self.manifest.name)?;
        let mut settings = self.manifest.settings_from_url(url)?;
        self.add_settings(&mut settings)?;
        host.open_storage(&plugin, settings, run)
    }

    /// The same, for what must work.
    pub(super) fn open(
        &self,
        host: &PluginHost,
        url: &str,
        run: &Arc<Run>,
    ) -> Result<Arc<dyn Store>, AuthorError> {
        Ok(self.open_storage(host, url, run)?)
    }
}
