//! trust.toml: whose signatures count, and what is revoked for good.
//!
//! ```toml
//! [[key]]
//! key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
//! name = "Acme releases"
//!
//! [[revoked]]
//! key = "RWT36HUaLdTdMXxh1IpS2uQ8/wTgniYVWg+WO7u0BF1llTyKuEcFRyLv"   # or sha256 = "…", one component
//! why = "stolen in March"
//! ```
//!
//! There is one for the machine and one for the user. Both are read; what either revokes is revoked, so a user can add
//! keys but never bring back what the machine's file revokes. This file says only what stands there; what follows
//! from it is decided in `grants`.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use crate::error::PluginError;
use crate::signature::PublicKey;
use crate::trusted;

/// The most entries of one file.
const MAX_ENTRIES: usize = 1000;

/// Whose file something stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The machine's, which only root can write.
    System,
    /// The user's.
    User,
}

/// A file of the machine or of the user.
#[derive(Debug, Clone)]
pub struct ScopedFile {
    /// Whose it is.
    pub scope: Scope,
    /// Where it is.
    pub path: PathBuf,
}

impl ScopedFile {
    /// Its text; `None` if it isn't there. What HOME says may be another user's: then it is passed over, for it could only
    /// forbid or add; the machine's file must be readable.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        match trusted::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.scope == Scope::User => {
                tracing::warn!("can't read {}, so it doesn't count: {error}", self.path.display());
                Ok(None)
            }
            read => read,
        }
    }
}

/// A key whose signatures count.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// Whose it is, in the operator's words.
    pub name: String,
    /// Whose file it stands in.
    pub scope: Scope,
}

/// A key or a component that counts no more.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// What is revoked.
    pub what: Revocable,
    /// The operator's reason.
    pub why: String,
    /// The file that says so.
    pub path: PathBuf,
}

/// What can be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocable {
    /// A key, with all that it signed.
    Key(Box<PublicKey>),
    /// One component, by its digest in hex.
    Component(String),
}

impl Revocable {
    /// Reads a key or `sha256:DIGEST`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sha256:") {
            Some(digest) => parse_digest(digest).map(Self::Component),
            None => PublicKey::parse(text)
                .map(|key| Self::Key(Box::new(key)))
                .map_err(|error| error.to_string()),
        }
    }
}

/// A digest in hex, in lower case.
pub(crate) fn parse_digest(text: &str) -> Result<String, String> {
    let good = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match good {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "{:?} is no SHA-256: it must be 64 hex digits",
            crate::escape::line(text, 80)
        )),
    }
}

/// What all trust.toml files say together.
#[derive(Debug, Default)]
pub struct TrustStore {
    keys: Vec<TrustedKey>,
    revoked: Vec<Revoked>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileText {
    key: Vec<KeyText>,
    revoked: Vec<RevokedText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    key: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedText {
    key: Option<String>,
    sha256: Option<String>,
    #[serde(default)]
    why: String,
}

impl TrustStore {
    /// Reads the files; absent ones say nothing.
    ///
    /// # Errors
    /// [`PluginError::Trust`] if one can't be used: then nothing may be believed.
    pub fn read(files: &[ScopedFile]) -> Result<Self, PluginError> {
        let mut all = Self::default();
        for file in files {
            let bad = |why: String| PluginError::Trust {
                path: file.path.clone(),
                why,
            };
            let text = file.read().map_err(|error| bad(error.to_string()))?;
            if let Some(text) = text {
                all.add(&text, file).map_err(bad)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, text: &str, file: &ScopedFile) -> Result<(), String> {
        let text: FileText =
            toml::from_str(text).map_err(|error| trusted::at_line(text, error.span(), error.message()))?;
        if text.key.len() + text.revoked.len() > MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} entries"));
        }
        for entry in text.key {
            self.keys.push(TrustedKey {
                key: PublicKey::parse(&entry.key).map_err(|error| error.to_string())?,
                name: crate::escape::line(&entry.name, 200),
                scope: file.scope,
            });
        }
        for entry in text.revoked {
            let what = match (entry.key, entry.sha256) {
                (Some(key), None) => Revocable::parse(&key)?,
                (None, Some(sha256)) => Revocable::Component(parse_digest(&sha256)?),
                _ => return Err("[[revoked]]: needs key or sha256, and not both".to_owned()),
            };
            self.revoked.push(Revoked {
                what,
                why: crate::escape::line(&entry.why, 200),
                path: file.path.clone(),
            });
        }
        Ok(())
    }

    /// The keys whose signatures count, those that are revoked left out.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys
            .iter()
            .filter(|trusted| self.revoked_key(&trusted.key).is_none())
    }

    /// What is revoked.
    #[must_use]
    pub fn revoked(&self) -> &[Revoked] {
        &self.revoked
    }

    /// The entry that revokes a key.
    pub(crate) fn revoked_key(&self, key: &PublicKey) -> Option<&Revoked> {
        let is_it = |entry: &&Revoked| matches!(&entry.what, Revocable::Key(revoked) if **revoked == *key);
        self.revoked.iter().find(is_it)
    }

    /// The entry that revokes a component.
    pub(crate) fn revoked_component(&self, sha256: &str) -> Option<&Revoked> {
        let is_it =
            |entry: &&Revoked| matches!(&entry.what, Revocable::Component(revoked) if revoked == sha256);
        self.revoked.iter().find(is_it)
    }
}

/// Adds a key to a trust.toml, and takes it out of what that file revokes. The rest of the file stays as it is.
///
/// # Errors
/// [`PluginError::Trust`].
pub fn trust(file: &ScopedFile, key: &PublicKey, name: &str) -> Result<(), PluginError> {
    change(file, |document| {
        drop_key(entries(document, "key")?, key);
        drop_key(entries(document, "revoked")?, key);
        let mut entry = Table::new();
        entry.insert("key", value(key.text()));
        entry.insert("name", value(name));
        entries(document, "key")?.push(entry);
        Ok(())
    })
}

/// Revokes a key or a component in a trust.toml; a key isn't trusted there any more.
///
/// # Errors
/// [`PluginError::Trust`].
pub fn revoke(file: &ScopedFile, what: &Revocable, why: &str) -> Result<(), PluginError> {
    change(file, |document| {
        let mut entry = Table::new();
        match what {
            Revocable::Key(key) => {
                drop_key(entries(document, "key")?, key);
                drop_key(entries(document, "revoked")?, key);
                entry.insert("key", value(key.text()));
            }
            Revocable::Component(sha256) => {
                let others = |table: &Table| table.get("sha256").and_then(Item::as_str) != Some(sha256);
                entries(document, "revoked")?.retain(others);
                entry.insert("sha256", value(sha256.as_str()));
            }
        }
        entry.insert("why", value(why));
        entries(document, "revoked")?.push(entry);
        Ok(())
    })
}

fn drop_key(entries: &mut ArrayOfTables, key: &PublicKey) {
    entries.retain(|table| table.get("key").and_then(Item::as_str) != Some(key.text()));
}

fn entries<'a>(document: &'a mut DocumentMut, name: &str) -> io::Result<&'a mut ArrayOfTables> {
    let item = document
        .entry(name)
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut()
        .ok_or_else(|| io::Error::other(format!("{name}: must be written as [[{name}]]")))
}

fn change(
    file: &ScopedFile,
    how: impl FnOnce(&mut DocumentMut) -> io::Result<()>,
) -> Result<(), PluginError> {
    let changed = trusted::edit(&file.path, mode(file.scope), |text| {
        let text = text.unwrap_or_default();
        let mut document: DocumentMut = text.parse().map_err(io::Error::other)?;
        how(&mut document)?;
        Ok(document.to_string())
    });
    changed.map_err(|error| PluginError::Trust {
        path: file.path.clone(),
        why: crate::escape::line(&error.to_string(), 400),
    })
}

/// The machine's files must be readable for those whom they bind.
pub(crate) fn mode(scope: Scope) -> u32 {
    match scope {
        Scope::System => 0o644,
        Scope::User => 0o600,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::signature::tests::{KEY, OTHER_KEY};

    fn files(temp: &Path) -> [ScopedFile; 2] {
        [(Scope::System, "system"), (Scope::User, "user")].map(|(scope, name)| ScopedFile {
            scope,
            path: temp.join(name).join("trust.toml"),
        })
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::parse(text).unwrap()
    }

    #[test]
    fn keys_come_and_go_and_the_rest_of_the_file_stays() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        let user = &files[1];
        trusted::edit(&user.path, 0o600, |_| Ok("# mine\n".to_owned())).unwrap();
        trust(user, &key(KEY), "Acme").unwrap();
        trust(user, &key(KEY), "Acme again").unwrap();
        let store = TrustStore::read(&files).unwrap();
        let names: Vec<_> = store.keys().map(|trusted| trusted.name.as_str()).collect();
        assert_eq!(names, ["Acme again"]);
        revoke(user, &Revocable::Key(Box::new(key(KEY))), "stolen").unwrap();
        let store = TrustStore::read(&files).unwrap();
        assert_eq!(store.keys().count(), 0);
        assert_eq!(store.revoked_key(&key(KEY)).unwrap().why, "stolen");
        trust(user, &key(KEY), "found again").unwrap();
        assert_eq!(TrustStore::read(&files).unwrap().keys().count(), 1);
        assert!(std::fs::read_to_string(&user.path).unwrap().contains("# mine\n"));
    }

    #[test]
    fn what_the_machine_revokes_no_user_brings_back() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        revoke(&files[0], &Revocable::Key(Box::new(key(KEY))), "").unwrap();
        trust(&files[1], &key(KEY), "mine").unwrap();
        trust(&files[1], &key(OTHER_KEY), "other").unwrap();
        let store = TrustStore::read(&files).unwrap();
        let names: Vec<_> = store.keys().map(|trusted| trusted.name.as_str()).collect();
        assert_eq!(names, ["other"]);
    }

    #[test]
    fn components_are_revoked_by_digest() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        let digest = "AB".repeat(32);
        let what = Revocable::parse(&format!("sha256:{digest}")).unwrap();
        revoke(&files[1], &what, "backdoor").unwrap();
        revoke(&files[1], &what, "backdoor").unwrap();
        let store = TrustStore::read(&files).unwrap();
        assert_eq!(store.revoked().len(), 1);
        assert!(store.revoked_component(&digest.to_ascii_lowercase()).is_some());
        assert!(
            Revocable::parse("sha256:ab")
                .unwrap_err()
                .contains("64 hex digits")
        );
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_whole() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        for (text, says) in [
            ("[[key]]\nkey = \"x\"", "is no public key"),
            ("[[revoked]]\nwhy = \"x\"", "needs key or sha256"),
            ("keys = 1", "unknown field `keys`"),
        ] {
            trusted::edit(&files[0].path, 0o644, |_| Ok(text.to_owned())).unwrap();
            let error = TrustStore::read(&files).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
