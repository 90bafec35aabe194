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
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::error::PluginError;
use crate::grants::{Grant, GrantKind, GrantSet};
use crate::trust::{self, ScopedFile};
use crate::trusted;

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
        let file: toml::Table =
            toml::from_str(text).map_err(|error| trusted::at_line(text, error.span(), error.message()))?;
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
    match trusted::read(path) {
        // HOME may be another user's. It grants nothing then; a plugin that needs a grant is denied it by name.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::warn!("can't read {}, so it grants nothing: {error}", path.display());
            Ok(None)
        }
        read => read.map_err(|error| error.to_string()),
    }
}

/// Gives a component these grants and no others in a grants.toml; what stood there of a component of that name is gone. The
/// rest of the file stays as it is, and so do the remarks in it.
///
/// # Errors
/// [`PluginError::Grants`].
pub fn write(file: &ScopedFile, plugin: &str, sha256: &str, granted: &GrantSet) -> Result<(), PluginError> {
    change(file, |document| {
        document.remove(plugin);
        if granted == &GrantSet::default() {
            return;
        }
        let mut table = Table::new();
        table.insert("sha256", value(sha256));
        for kind in GrantKind::ALL {
            let grants = granted.grants().into_iter().filter(|grant| grant.kind() == kind);
            let values: Vec<Value> = grants.map(|grant| as_value(&grant)).collect();
            match kind {
                GrantKind::Bodies if !values.is_empty() => {
                    table.insert(kind.key(), value(true));
                }
                _ if !values.is_empty() => {
                    table.insert(kind.key(), value(values.into_iter().collect::<Array>()));
                }
                _ => {}
            }
        }
        document.insert(plugin, Item::Table(table));
    })
}

/// What one grants.toml grants to a component; nothing if it isn't there.
///
/// # Errors
/// [`PluginError::Grants`].
pub fn read_one(file: &ScopedFile, plugin: &str, sha256: &str) -> Result<GrantSet, PluginError> {
    let grants = OperatorGrants::read(std::slice::from_ref(&file.path))?;
    Ok(grants.of(plugin, sha256))
}

/// One grant as it stands in the list of its kind.
fn as_value(grant: &Grant) -> Value {
    let pair = |key: &str, text: &str| (key.to_owned(), Value::from(text));
    match grant {
        Grant::Files(files) => {
            let pairs = [pair("root", &files.root), pair("access", files.access.as_str())];
            Value::InlineTable(pairs.into_iter().collect())
        }
        Grant::Process(process) => {
            let mut pairs = vec![pair("program", &process.program)];
            pairs.extend(
                process
                    .arguments
                    .iter()
                    .map(|arguments| pair("arguments", arguments)),
            );
            if !process.environment.is_empty() {
                let names: Array = process.environment.iter().map(String::as_str).collect();
                pairs.push(("environment".to_owned(), Value::Array(names)));
            }
            Value::InlineTable(pairs.into_iter().collect())
        }
        Grant::Http(text)
        | Grant::Tcp(text)
        | Grant::Ssh(text)
        | Grant::Sql(text)
        | Grant::Snapshots(text)
        | Grant::Secret(text) => Value::from(text.as_str()),
        Grant::Bodies => Value::from(true),
    }
}

fn change(file: &ScopedFile, how: impl FnOnce(&mut DocumentMut)) -> Result<(), PluginError> {
    let changed = trusted::edit(&file.path, trust::mode(file.scope), |text| {
        let mut document: DocumentMut = text.unwrap_or_default().parse().map_err(io::Error::other)?;
        how(&mut document);
        Ok(document.to_string())
    });
    changed.map_err(|error| PluginError::Grants {
        path: file.path.clone(),
        why: crate::escape::line(&error.to_string(), 400),
    })
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

    #[test]
    fn what_is_written_is_what_is_read_and_remarks_stay() {
        let temp = tempfile::tempdir().unwrap();
        let file = ScopedFile {
            scope: trust::Scope::User,
            path: temp.path().join("freezer/grants.toml"),
        };
        let by_hand = "# by hand\n[other]\nsha256 = \"ab\" # why\nbodies = true\n";
        trusted::edit(&file.path, 0o600, |_| Ok(by_hand.to_owned())).unwrap();
        let texts = [
            "files=/srv:read-only",
            "http=https://a",
            "processes=PGPASSFILE= /bin/dump --all *",
            "processes=/bin/true",
            "secrets=password",
            "bodies",
        ];
        let granted: GrantSet = texts.iter().map(|text| Grant::parse(text).unwrap()).collect();
        write(&file, "acme", "cd", &granted).unwrap();
        assert_eq!(read_one(&file, "acme", "cd").unwrap(), granted);
        assert_eq!(read_one(&file, "acme", "ab").unwrap(), GrantSet::default());
        let less: GrantSet = [Grant::Bodies].into_iter().collect();
        write(&file, "acme", "ef", &less).unwrap();
        assert_eq!(read_one(&file, "acme", "cd").unwrap(), GrantSet::default());
        assert_eq!(read_one(&file, "acme", "ef").unwrap(), less);
        write(&file, "acme", "ef", &GrantSet::default()).unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), by_hand);
    }
}
