//! The folder that an author works in: `plugin.toml` beside the code.

use std::path::{Path, PathBuf};

use freezer_plugin::PluginManifest;

use crate::error::AuthorError;
use crate::file;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A crate with `Cargo.toml`.
    Rust,
    /// A module `app.py`.
    Python,
}

/// A plugin's folder.
#[derive(Debug, Clone)]
pub struct Project {
    folder: PathBuf,
    manifest: PluginManifest,
    text: Vec<u8>,
}

impl Project {
    /// Looks at a folder. Its plugin.toml is judged as the host would.
    ///
    /// # Errors
    /// [`AuthorError::NoProject`], [`AuthorError::Manifest`].
    pub fn open(folder: &Path) -> Result<Self, AuthorError> {
        let folder = std::path::absolute(folder).map_err(|source| AuthorError::File {
            action: "read",
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join("plugin.toml");
        if !path.is_file() {
            return Err(AuthorError::NoProject(folder));
        }
        let text = file::read(&path)?;
        let manifest =
            PluginManifest::parse(&text).map_err(|source| AuthorError::Manifest { path, source })?;
        Ok(Self {
            folder,
            manifest,
            text,
        })
    }

    /// The folder's absolute path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the plugin says about itself.
    #[must_use]
    pub fn manifest(&self) -> &PluginManifest {
        &self.manifest
    }

    /// The text of plugin.toml.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What it is written in.
    ///
    /// # Errors
    /// [`AuthorError::NoLanguage`].
    pub fn language(&self) -> Result<Language, AuthorError> {
        if self.folder.join("Cargo.toml").is_file() {
            return Ok(Language::Rust);
        }
        match self.folder.join("app.py").is_file() {
            true => Ok(Language::Python),
            false => Err(AuthorError::NoLanguage(self.folder.clone())),
        }
    }

    /// Where what is built lies.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.folder.join("target")
    }
}
