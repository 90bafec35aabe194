//! grants.toml: what operators granted, each entry pinned to the digest of one component.
//!
//! ```toml
//! [s3]
//! sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
//! http = ["https://s3.example.org"]
//! secrets = ["secret-key"]
//! ```
//!
//! A changed component has another digest and therefore no grants until somebody looks at it again. Who may write the
//! file may grant anything, so a file that others can write is refused.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::PluginError;
use crate::grants::GrantSet;
use crate::trusted;

/// The largest grants.toml.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The entries of all grants.toml files.
#[derive(Debug, Default)]
pub(crate) struct OperatorGrants(BTreeMap<(String, String), GrantSet>);

impl OperatorGrants {
    /// Reads the files, system before user; absent ones are skipped. All of them count.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, PluginError> {
        let mut all = Self::default();
        for path in paths {
            let bad = |why: String| PluginError::Grants {
                path: path.clone(),
                why,
            };
            if let Some(text) = read_trusted(path).map_err(bad)? {
                all.add(&text).map_err(bad)?;
            }
        }
        Ok(all)
    }

    /// What the component of this name and digest was granted.
    pub(crate) fn of(&self, plugin: &str, sha256: &str) -> GrantSet {
        self.0
            .get(&(plugin.to_owned(), sha256.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let file: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        for (plugin, entry) in file {
            let toml::Value::Table(mut entry) = entry else {
                return Err(format!("{plugin}: must be a table [{plugin}]"));
            };
            let Some(toml::Value::String(sha256)) = entry.remove("sha256") else {
                return Err(format!(
                    "[{plugin}]: sha256 is missing: which component is meant?"
                ));
            };
            let granted: GrantSet = entry
                .try_into()
                .map_err(|error: toml::de::Error| format!("[{plugin}]: {}", error.message()))?;
            self.0
                .entry((plugin, sha256.to_ascii_lowercase()))
                .or_default()
                .extend(granted);
        }
        Ok(())
    }
}

/// Reads a file that nobody but root and we can write; `None` if it doesn't exist.
fn read_trusted(path: &Path) -> Result<Option<String>, String> {
    let file = match trusted::open(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // HOME may be another user's. It grants nothing then; a plugin that needs a grant is denied it by name.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::warn!("can't read {}, so it grants nothing: {error}", path.display());
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_holds_for_its_digest_only() {
        let mut grants = OperatorGrants::default();
        grants.add("[x]\nsha256 = \"AB\"\nbodies = true\n").unwrap();
        grants
            .add("[x]\nsha256 = \"ab\"\nhttp = [\"https://a\"]\n")
            .unwrap();
        let both = grants.of("x", "ab");
        assert!(both.bodies && both.http == ["https://a"]);
        assert_eq!(grants.of("x", "cd"), GrantSet::default());
        assert_eq!(grants.of("y", "ab"), GrantSet::default());
    }

    #[test]
    fn mistakes_are_named() {
        let add = |text: &str| OperatorGrants::default().add(text).unwrap_err();
        assert_eq!(
            add("[x]\nbodies = true"),
            "[x]: sha256 is missing: which component is meant?"
        );
        assert!(add("[x]\nsha256 = \"a\"\nbody = true").contains("unknown field `body`"));
        assert_eq!(add("x = 1"), "x: must be a table [x]");
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("grants.toml");
        assert!(
            OperatorGrants::read(std::slice::from_ref(&path)).is_ok(),
            "an absent file grants nothing"
        );
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = OperatorGrants::read(&[path]).unwrap_err().to_string();
        assert!(error.contains("others can write it"), "{error}");
    }

    #[test]
    fn a_file_that_could_be_swapped_is_refused_and_none_is_cut() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let temp = tempfile::tempdir().unwrap();
        let (path, link) = (temp.path().join("grants.toml"), temp.path().join("link.toml"));
        let refused = |path: &Path| OperatorGrants::read(&[path.to_owned()]).unwrap_err().to_string();
        std::fs::write(&path, "#".repeat(1 << 20)).unwrap();
        OperatorGrants::read(std::slice::from_ref(&path)).unwrap();
        symlink(&path, &link).unwrap();
        assert!(refused(&link).contains("it is a link"));
        assert!(refused(temp.path()).contains("regular file"));
        std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
        assert!(refused(&path).contains("more than 1048576 bytes"));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(&path).contains("the directory that it is in"));
    }
}
