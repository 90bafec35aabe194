//! One stored level: its documents read, checked against each other and against the reader's policy.
//!
//! Trust runs: password → chain key → manifest's HMAC → everything the manifest says. The `metadata` object only
//! commits the backup; where it differs from the manifest, that is damage.

use std::sync::Arc;

use freezer_format::chain_key::{ChainKey, Cipher, KeyInfo};
use freezer_format::compression::Compression;
use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError, Opened, StreamKdf};
use freezer_format::metadata::{MAX_METADATA_BYTES, Metadata};
use freezer_format::openssl::{Kdf, SALTED};
use freezer_pipeline::object::{OpenIndexError, StoredIndex, detect_cipher, open_index};
use freezer_pipeline::restore::LevelData;
use freezer_pipeline::store::Store;

use crate::catalogue::{Place, StoredLevel};
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::objects::read_small;
use crate::seen::Sighting;

/// A level whose documents are read.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    /// Where it is.
    pub(crate) stored: StoredLevel,
    /// The original's document; absent in the old layout.
    pub(crate) metadata: Option<Metadata>,
    /// Ours; absent in the original's backups.
    pub(crate) opened: Option<Opened>,
    /// The chain key, if the level has one and the password opened it.
    pub(crate) key: Option<ChainKey>,
}

/// Whether a reader insists on what it can't verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// For restoring and the like: the password must open it, policy is enforced.
    Enforce,
    /// For showing: whatever can be read without a key.
    Look,
}

impl Level {
    /// Reads the documents of a level and holds them to the policy.
    pub(crate) fn read(
        store: &dyn Store,
        stored: StoredLevel,
        keyring: &Keyring,
        strictness: Strictness,
    ) -> Result<Self, AgentError> {
        if stored.place == Place::Old {
            let level = Self {
                stored,
                metadata: None,
                opened: None,
                key: None,
            };
            level.require_policy(keyring, strictness)?;
            return Ok(level);
        }
        let keys = stored.keys();
        let metadata_key = keys.metadata();
        let bytes = read_small(store, &metadata_key, MAX_METADATA_BYTES)?
            .ok_or_else(|| damaged(&stored, &metadata_key, "is missing"))?;
        let metadata = Metadata::parse(&bytes).map_err(|error| {
            damaged(
                &stored,
                &metadata_key,
                &format!("can't be read: {}", chain_text(&error)),
            )
        })?;
        let manifest_key = keys.manifest();
        let bytes = read_small(store, &manifest_key, MAX_MANIFEST_BYTES)?;
        let mut level = Self {
            stored,
            metadata: Some(metadata),
            opened: None,
            key: None,
        };
        match bytes {
            Some(bytes) => level.open_manifest(&bytes, keyring, strictness)?,
            None if level
                .metadata
                .as_ref()
                .is_some_and(|metadata| metadata.manifest_sha256.is_some()) =>
            {
                return Err(damaged(&level.stored, &manifest_key, "is missing"));
            }
            None => {}
        }
        level.require_policy(keyring, strictness)?;
        Ok(level)
    }

    fn open_manifest(
        &mut self,
        bytes: &[u8],
        keyring: &Keyring,
        strictness: Strictness,
    ) -> Result<(), AgentError> {
        let key = self.stored.keys().manifest();
        // Of a changed digit `metadata` knows nothing.
        let named = self
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.manifest_sha256);
        let is_named = named.is_some_and(|named| Manifest::line_digest(bytes).is_ok_and(|own| own == named));
        let bad = |error: ManifestError, stored: &StoredLevel| match error {
            ManifestError::Newer { format } if is_named => AgentError::Newer {
                backup: stored.label(),
                format,
            },
            error => damaged(stored, &key, &format!("can't be trusted: {}", chain_text(&error))),
        };
        let peeked = Manifest::peek(bytes).map_err(|error| bad(error, &self.stored))?;
        if let Some(info) = peeked
            .key
            .filter(|_| strictness == Strictness::Enforce || keyring.passphrase().is_some())
        {
            self.key = self.open_key(&info, keyring)?;
        }
        let mac_key = self.key.as_ref().map(ChainKey::mac_key);
        let opened = Manifest::open(bytes, mac_key.as_ref()).map_err(|error| bad(error, &self.stored))?;
        self.compare(&opened)?;
        self.opened = Some(opened);
        Ok(())
    }

    fn open_key(&self, info: &KeyInfo, keyring: &Keyring) -> Result<Option<ChainKey>, AgentError> {
        match keyring.open(info) {
            None => Err(AgentError::NoPassphrase {
                backup: self.stored.label(),
            }),
            Some(Ok(key)) => Ok(Some(key)),
            Some(Err(source)) => Err(AgentError::Key {
                backup: self.stored.label(),
                source,
            }),
        }
    }

    /// The manifest must speak of this place, and `metadata` of this manifest.
    fn compare(&self, opened: &Opened) -> Result<(), AgentError> {
        let (manifest, keys) = (&opened.manifest, self.stored.keys());
        let place = (Place::New(manifest.engine), &manifest.name, manifest.id());
        if place != (self.stored.place, &self.stored.name, self.stored.id) {
            return Err(damaged(
                &self.stored,
                &keys.manifest(),
                "belongs to another backup",
            ));
        }
        let Some(metadata) = &self.metadata else {
            return Ok(());
        };
        let agrees = metadata.manifest_sha256 == Some(opened.line_sha256)
            && metadata.engine_name == manifest.engine.dir()
            && metadata.compression.as_deref() == Some(manifest.compression.name())
            && metadata.encryption == manifest.encryption.is_some()
            && metadata.key == manifest.key;
        if agrees {
            Ok(())
        } else {
            Err(damaged(
                &self.stored,
                &keys.metadata(),
                "contradicts the manifest",
            ))
        }
    }

    fn require_policy(&self, keyring: &Keyring, strictness: Strictness) -> Result<(), AgentError> {
        if strictness == Strictness::Look || !keyring.demands_authenticity() || self.is_authentic() {
            return Ok(());
        }
        let reason = match &self.opened {
            None => "it has no manifest of ours",
            Some(opened) if opened.manifest.key.is_none() => {
                "it is not encrypted, though a password is given"
            }
            Some(_) => "its manifest isn't sealed by the password's key",
        };
        Err(AgentError::Unauthenticated {
            backup: self.stored.label(),
            reason: reason.to_owned(),
        })
    }

    /// True if the manifest's HMAC was checked.
    pub(crate) fn is_authentic(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.authentic)
    }

    /// The manifest, in backups of ours.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.opened.as_ref().map(|opened| &opened.manifest)
    }

    /// SHA-256 of the manifest's first line.
    pub(crate) fn line_sha256(&self) -> Option<[u8; 32]> {
        self.opened.as_ref().map(|opened| opened.line_sha256)
    }

    /// What of it is remembered of a storage.
    pub(crate) fn sighting(&self) -> Sighting {
        Sighting {
            name: self.stored.name.clone(),
            id: self.stored.id,
            manifest: self.line_sha256(),
            authentic: self.is_authentic(),
        }
    }

    /// The compression, as far as it is recorded.
    pub(crate) fn compression(&self) -> Option<Compression> {
        match (self.manifest(), &self.metadata) {
            (Some(manifest), _) => Some(manifest.compression),
            (None, Some(metadata)) => metadata.compression.as_deref()?.parse().ok(),
            (None, None) => None,
        }
    }

    /// Opens the stream's object for reading: it must be there, with the size that the manifest tells.
    pub(crate) fn data(&self, store: &Arc<dyn Store>, keyring: &Keyring) -> Result<LevelData, AgentError> {
        let data_key = self.stored.data_key();
        let data_bytes = self.require_object(&**store, &data_key, self.manifest().map(|m| m.data.bytes))?;
        let cipher = self.data_cipher(store, keyring, &data_key, data_bytes)?;
        Ok(LevelData {
            id: self.stored.id,
            store: Arc::clone(store),
            data_key,
            data_bytes,
            data_salt: self
                .manifest()
                .and_then(|m| m.encryption.as_ref())
                .map(|encryption| encryption.salt),
            compression: self.compression(),
            cipher,
            index: None,
        })
    }

    /// Looks at an object: it must be there, with the expected size if one is known. Answers the size.
    pub(crate) fn require_object(
        &self,
        store: &dyn Store,
        key: &str,
        expected: Option<u64>,
    ) -> Result<u64, AgentError> {
        let entry = store
            .stat(key)?
            .ok_or_else(|| damaged(&self.stored, key, "is missing"))?;
        match expected {
            Some(expected) if expected != entry.size => {
                let reason = format!("has {} bytes instead of {expected}", entry.size);
                Err(damaged(&self.stored, key, &reason))
            }
            _ => Ok(entry.size),
        }
    }

    fn data_cipher(
        &self,
        store: &Arc<dyn Store>,
        keyring: &Keyring,
        data_key: &str,
        data_bytes: u64,
    ) -> Result<Option<Cipher>, AgentError> {
        if let Some(manifest) = self.manifest() {
            let Some(encryption) = &manifest.encryption else {
                return Ok(None);
            };
            return match encryption.kdf {
                StreamKdf::Pbkdf2Sha256 => self.index_cipher(),
                StreamKdf::BytesToKeySha256 => {
                    let passphrase = keyring.passphrase().ok_or_else(|| self.no_passphrase())?.clone();
                    Ok(Some(Cipher::Password {
                        passphrase,
                        kdf: Kdf::BytesToKeySha256,
                    }))
                }
            };
        }
        let encrypted = match &self.metadata {
            Some(metadata) => metadata.encryption,
            None => starts_salted(&**store, data_key)?,
        };
        if !encrypted {
            return Ok(None);
        }
        let passphrase = keyring.passphrase().ok_or_else(|| self.no_passphrase())?;
        detect_cipher(
            Arc::clone(store),
            data_key,
            data_bytes,
            passphrase,
            self.compression(),
        )
        .map(Some)
        .map_err(|source| AgentError::Object {
            backup: self.stored.label(),
            source,
        })
    }

    /// How the index is encrypted: always by the chain key.
    pub(crate) fn index_cipher(&self) -> Result<Option<Cipher>, AgentError> {
        if self
            .manifest()
            .is_none_or(|manifest| manifest.encryption.is_none())
        {
            return Ok(None);
        }
        self.key
            .clone()
            .map(|key| Some(Cipher::Chain(key)))
            .ok_or_else(|| self.no_passphrase())
    }

    fn no_passphrase(&self) -> AgentError {
        AgentError::NoPassphrase {
            backup: self.stored.label(),
        }
    }

    /// Opens the index; `None` in the original's backups.
    pub(crate) fn index(&self, store: &Arc<dyn Store>) -> Result<Option<StoredIndex>, AgentError> {
        let Some(manifest) = self.manifest() else {
            return Ok(None);
        };
        let key = self.stored.keys().index();
        let facts = freezer_pipeline::IndexFacts {
            bytes: manifest.index.bytes,
            sha256: manifest.index.sha256,
            trailer: manifest.index.trailer,
            salt: manifest.index.salt,
        };
        let cipher = self.index_cipher()?;
        match open_index(Arc::clone(store), &key, &facts, cipher.as_ref()) {
            Ok(index) => Ok(Some(index)),
            Err(OpenIndexError::Object(source)) if !source.is_damage() => Err(AgentError::Object {
                backup: self.stored.label(),
                source,
            }),
            Err(error) => Err(damaged(
                &self.stored,
                &key,
                &format!("can't be read: {}", chain_text(&error)),
            )),
        }
    }
}

/// Damage of an object of a level.
pub(crate) fn damaged(stored: &StoredLevel, object: &str, reason: &str) -> AgentError {
    AgentError::Damaged {
        backup: stored.label(),
        object: object.to_owned(),
        reason: reason.to_owned(),
    }
}

/// An error and its causes on one line, each text once.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = error.source();
    }
    text
}

fn starts_salted(store: &dyn Store, key: &str) -> Result<bool, AgentError> {
    // More than the eight bytes would be wasted, fewer tell nothing.
    match store.read(key, 0, Some(SALTED.len() as u64)) {
        Ok(mut reader) => {
            let mut start = [0; 8];
            Ok(std::io::Read::read_exact(&mut reader, &mut start).is_ok() && start == *SALTED)
        }
        Err(error) if error.kind == freezer_pipeline::store::ErrorKind::Corrupt => Ok(false),
        Err(error) => Err(error.into()),
    }
}
