//! Makes the folder of a new plugin: a real, small one that builds and passes its tests as it is.

use std::path::{Path, PathBuf};

use freezer_plugin::manifest::ManifestError;
use freezer_plugin::{CONTRACT, PluginKind, PluginManifest};

use crate::error::AuthorError;
use crate::project::Language;
use crate::{file, pack, sdk};

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Scaffold {
    /// A mode or a storage.
    pub kind: PluginKind,
    /// Its name; a storage also serves URLs of that scheme.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Where; it must not be there or be empty.
    pub folder: PathBuf,
    /// Its licence, an SPDX expression.
    pub license: String,
    /// A clone of freezer whose SDK is used instead of a copy.
    pub sdk: Option<PathBuf>,
}

/// Path in the folder, and template.
type File = (&'static str, &'static str);

const RUST: &[File] = &[
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.in")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
    ("clippy.toml", include_str!("../templates/rust/clippy.toml")),
    ("README.md", include_str!("../templates/rust/README.md")),
];
const RUST_MODE: &[File] = &[
    ("plugin.toml", include_str!("../templates/rust/mode/plugin.toml")),
    (
        "freezer-test.toml",
        include_str!("../templates/rust/mode/freezer-test.toml"),
    ),
    ("src/lib.rs", include_str!("../templates/rust/mode/src/lib.rs")),
];
const RUST_STORAGE: &[File] = &[
    (
        "plugin.toml",
        include_str!("../templates/rust/storage/plugin.toml"),
    ),
    (
        "freezer-test.toml",
        include_str!("../templates/rust/storage/freezer-test.toml"),
    ),
    ("src/lib.rs", include_str!("../templates/rust/storage/src/lib.rs")),
];
const PYTHON: &[File] = &[
    (".gitignore", include_str!("../templates/python/gitignore")),
    ("README.md", include_str!("../templates/python/README.md")),
];
const PYTHON_MODE: &[File] = &[
    ("plugin.toml", include_str!("../templates/rust/mode/plugin.toml")),
    (
        "freezer-test.toml",
        include_str!("../templates/rust/mode/freezer-test.toml"),
    ),
    ("app.py", include_str!("../templates/python/mode/app.py")),
    ("mode.py", include_str!("../templates/python/mode/mode.py")),
    (
        "test_plugin.py",
        include_str!("../templates/python/mode/test_plugin.py"),
    ),
];
const PYTHON_STORAGE: &[File] = &[
    (
        "plugin.toml",
        include_str!("../templates/rust/storage/plugin.toml"),
    ),
    (
        "freezer-test.toml",
        include_str!("../templates/rust/storage/freezer-test.toml"),
    ),
    ("app.py", include_str!("../templates/python/storage/app.py")),
    (
        "storage.py",
        include_str!("../templates/python/storage/storage.py"),
    ),
    ("names.py", include_str!("../templates/python/storage/names.py")),
    (
        "test_plugin.py",
        include_str!("../templates/python/storage/test_plugin.py"),
    ),
];

impl Scaffold {
    /// Writes the folder and answers the paths of what an author works on.
    ///
    /// # Errors
    /// [`AuthorError::Name`], [`AuthorError::Exists`], [`AuthorError::NoSdk`], [`AuthorError::File`].
    pub fn write(&self) -> Result<Vec<PathBuf>, AuthorError> {
        let files = self.files()?;
        self.check(&files)?;
        let occupied = std::fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_some());
        if occupied || self.folder.is_file() {
            return Err(AuthorError::Exists(self.folder.clone()));
        }
        match (self.language, &self.sdk) {
            (Language::Rust, None) => sdk::write(&self.folder)?,
            (Language::Rust, Some(_)) => {}
            (Language::Python, _) => sdk::write_contract(&self.folder)?,
        }
        for (path, content) in &files {
            file::write(&self.folder.join(path), content.as_bytes())?;
        }
        Ok(files.iter().map(|(path, _)| self.folder.join(path)).collect())
    }

    /// The files with all holes filled.
    fn files(&self) -> Result<Vec<(&'static str, String)>, AuthorError> {
        let (shared, own) = match (self.language, self.kind) {
            (Language::Rust, PluginKind::Mode) => (RUST, RUST_MODE),
            (Language::Rust, PluginKind::Storage) => (RUST, RUST_STORAGE),
            (Language::Python, PluginKind::Mode) => (PYTHON, PYTHON_MODE),
            (Language::Python, PluginKind::Storage) => (PYTHON, PYTHON_STORAGE),
        };
        let kind = self.kind.to_string();
        let mut capital = kind.clone();
        capital[..1].make_ascii_uppercase();
        let vendored = match &self.sdk {
            Some(_) => "",
            None => {
                "| `sdk/`, `wit/` | the SDK and the contract, as freezer carries them; not to be changed here |\n"
            }
        };
        let holes = [
            ("name", self.name.clone()),
            ("kind", kind),
            ("Kind", capital),
            ("contract", CONTRACT.to_owned()),
            ("license", self.license.clone()),
            ("rust", sdk::rust_version()),
            ("sdk", self.sdk_path()?),
            ("vendored", vendored.to_owned()),
        ];
        let fill = |template: &str| {
            holes.iter().fold(template.to_owned(), |text, (hole, value)| {
                text.replace(&format!("{{{{{hole}}}}}"), value)
            })
        };
        let all = shared.iter().chain(own);
        Ok(all.map(|(path, template)| (*path, fill(template))).collect())
    }

    /// The SDK's path as Cargo.toml names it.
    fn sdk_path(&self) -> Result<String, AuthorError> {
        let Some(clone) = &self.sdk else {
            return Ok("sdk".to_owned());
        };
        let path = std::path::absolute(clone.join("sdk")).unwrap_or_else(|_| clone.join("sdk"));
        match path.join("Cargo.toml").is_file() && is_plain(&path) {
            true => Ok(path.display().to_string()),
            false => Err(AuthorError::NoSdk(clone.clone())),
        }
    }

    /// Judges names and licence before anything is written: by the host's own rules.
    fn check(&self, files: &[(&str, String)]) -> Result<(), AuthorError> {
        if let Err(why) = pack::check_license(&self.license) {
            return Err(AuthorError::License(why));
        }
        if self
            .name
            .contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        {
            return Err(AuthorError::Name {
                name: self.name.clone(),
                why: "it has other letters than those of names".to_owned(),
            });
        }
        let manifest = files.iter().find(|(path, _)| *path == "plugin.toml");
        let text = manifest.map_or("", |(_, text)| text);
        match PluginManifest::parse(text.as_bytes()) {
            Ok(_) => Ok(()),
            Err(ManifestError::Value { key, why }) if key == "name" || key == "schemes" => {
                Err(AuthorError::Name {
                    name: self.name.clone(),
                    why,
                })
            }
            Err(source) => Err(AuthorError::Manifest {
                path: self.folder.join("plugin.toml"),
                source,
            }),
        }
    }
}

/// Whether a path can stand in a TOML string as it is.
fn is_plain(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| !text.contains(['"', '\\']) && !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn scaffold(kind: PluginKind, name: &str, folder: &Path) -> Scaffold {
        Scaffold {
            kind,
            name: name.to_owned(),
            language: Language::Rust,
            folder: folder.to_owned(),
            license: "Apache-2.0".to_owned(),
            sdk: None,
        }
    }

    #[test]
    fn a_new_folder_is_a_project_without_holes() {
        let kinds = [PluginKind::Mode, PluginKind::Storage];
        let all = kinds.map(|kind| [Language::Rust, Language::Python].map(|language| (kind, language)));
        for (kind, language) in all.concat() {
            let temp = tempfile::tempdir().unwrap();
            let folder = temp.path().join("new");
            let new = Scaffold {
                language,
                ..scaffold(kind, "acme-1", &folder)
            };
            for path in new.write().unwrap() {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("{{"), "{}: {text}", path.display());
            }
            let project = Project::open(&folder).unwrap();
            assert_eq!(
                (project.manifest().name.as_str(), project.manifest().kind),
                ("acme-1", kind)
            );
            assert_eq!(project.language().unwrap(), language);
            assert_eq!(
                folder.join("sdk/src/lib.rs").is_file(),
                language == Language::Rust
            );
            assert!(folder.join("wit/types.wit").is_file());
        }
    }

    #[test]
    fn nothing_is_written_over_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("precious"), b"x").unwrap();
        let refused = scaffold(PluginKind::Mode, "acme", temp.path()).write();
        assert!(matches!(refused, Err(AuthorError::Exists(_))), "{refused:?}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_no_plugin_can_have_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        for bad in ["", "Acme", "1st", "a b", "a\"b", "../x", &"a".repeat(33)] {
            let folder = temp.path().join("new");
            let refused = scaffold(PluginKind::Storage, bad, &folder).write();
            assert!(refused.is_err() && !folder.exists(), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn the_sdk_of_a_clone_is_used_where_it_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("new");
        let mut scaffold = scaffold(PluginKind::Mode, "acme", &folder);
        scaffold.sdk = Some(temp.path().to_owned());
        assert!(matches!(scaffold.write(), Err(AuthorError::NoSdk(_))));
        scaffold.sdk = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        scaffold.write().unwrap();
        assert!(!folder.join("sdk").exists());
    }
}
