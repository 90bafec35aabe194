//! The manifest: one line of JSON that holds everything a reader must trust, and one line that seals it.
//!
//! ```text
//! line 1   one JSON object, UTF-8, then \n
//! line 2   "hmac-sha256 " 64 hex \n        not encrypted: "sha256 " 64 hex \n
//! input    "freezer manifest 1\n" and line 1 with its \n, for both
//! ```
//!
//! Check without us: `(printf 'freezer manifest 1\n'; head -n1 manifest) | openssl dgst -sha256 -mac HMAC
//! -macopt hexkey:K`. The bytes are authenticated before they are parsed, so the JSON needs no canonical form.
//! Whether an unauthenticated manifest may be used is the reader's policy, not decided here.

use std::cmp::Ordering;

use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::chain_key::{KeyInfo, MacKey};
use crate::compression::Compression;
use crate::layout::Engine;
use crate::name::{HostBackupName, Level, LevelId, Timestamp};
use crate::openssl::hmac_sha256;
use crate::optional_hex;

/// Most bytes of a manifest that are read: it has no list that grows with the backup.
pub const MAX_MANIFEST_BYTES: usize = 16 << 20;

/// Most warnings that a manifest lists; all of them stand in the index.
pub const MAX_WARNINGS: usize = 100;

/// The version that this module writes and reads.
pub const FORMAT: u32 = 1;

const PREFIX: &[u8] = b"freezer manifest 1\n";

/// What line 1 says. Field order is the order of the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the document, [`FORMAT`].
    pub format: u32,
    /// 16 random hex digits; names the run and its segment folder.
    pub run: String,
    /// Engine of the place.
    pub engine: Engine,
    /// Name of the place.
    pub name: HostBackupName,
    /// Level-0 time of the place.
    pub zero: Timestamp,
    /// Level of the place.
    pub level: Level,
    /// Time of the place.
    pub time: Timestamp,
    /// What this level was made against; `None` at level 0.
    pub parent: Option<ParentLink>,
    /// The newest backup of this name when this one began.
    pub previous: Option<PreviousLink>,
    /// Name of the mode.
    pub mode: String,
    /// What was backed up, for people; bytes that are no UTF-8 are replaced.
    pub path: Option<String>,
    /// The options that shaped the content, by their long names.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Program and version, `freezer 0.1.0`.
    pub tool: String,
    /// The plugins that took part.
    pub plugins: Vec<PluginUse>,
    /// How the stream is encrypted; `None` if it is not.
    pub encryption: Option<Encryption>,
    /// The wrapped chain key; present in every encrypted backup.
    pub key: Option<KeyInfo>,
    /// How the stream is compressed.
    pub compression: Compression,
    /// Bytes of tar input per frame.
    pub frame: u64,
    /// The stream.
    pub data: DataFacts,
    /// The index.
    pub index: IndexFacts,
    /// The engine's state; `None` if it isn't stored.
    pub engine_metadata: Option<ObjectFacts>,
    /// Which file system the tree lay on, to judge inode numbers at the next level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystem>,
    /// What the backup holds.
    pub counts: Counts,
    /// The first [`MAX_WARNINGS`] warnings.
    pub warnings: Vec<NotedWarning>,
    /// Whether something could not be stored.
    pub status: Status,
    /// The mode's own text.
    pub note: Option<String>,
}

impl Manifest {
    /// The backup's place within its name.
    pub fn id(&self) -> LevelId {
        LevelId {
            zero: self.zero,
            level: self.level,
            time: self.time,
        }
    }

    /// The level that this one was made against.
    pub fn parent_id(&self) -> Option<LevelId> {
        self.parent.as_ref().map(|parent| LevelId {
            zero: self.zero,
            level: parent.level,
            time: parent.time,
        })
    }

    /// Writes the document and its seal: HMAC with a key, SHA-256 without.
    pub fn seal(&self, key: Option<&MacKey>) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec(self).expect("strings, numbers and maps with text keys always serialise");
        bytes.push(b'\n');
        let seal = match key {
            Some(key) => format!("hmac-sha256 {}\n", hex::encode(mac_of(&bytes, key))),
            None => format!("sha256 {}\n", hex::encode(digest_of(&bytes))),
        };
        bytes.extend_from_slice(seal.as_bytes());
        bytes
    }

    /// Checks the seal, then reads the document.
    ///
    /// With a key and an HMAC line the result is authentic. A SHA-256 line only shows that nothing was damaged
    /// by accident. An HMAC line without a key can't be checked.
    ///
    /// # Errors
    /// The seal doesn't fit, the document is malformed, too large, or of a newer format.
    pub fn open(bytes: &[u8], key: Option<&MacKey>) -> Result<Opened, ManifestError> {
        let (line, seal) = split(bytes)?;
        let authentic = match (seal, key) {
            (Seal::Hmac(expected), Some(key)) => {
                require_equal(&mac_of(line, key), &expected)?;
                true
            }
            (Seal::Hmac(_), None) => false,
            (Seal::Sha256(expected), _) => {
                require_equal(&digest_of(line), &expected)?;
                false
            }
        };
        Ok(Opened {
            manifest: parse(line)?,
            line_sha256: Sha256::digest(line).into(),
            authentic,
        })
    }

    /// SHA-256 of the first line, whatever stands there: what `metadata` calls the manifest by.
    ///
    /// # Errors
    /// There is no such line, or too much.
    pub fn line_digest(bytes: &[u8]) -> Result<[u8; 32], ManifestError> {
        let (line, _) = split(bytes)?;
        Ok(Sha256::digest(line).into())
    }

    /// Reads what is needed before the key is known. Nothing of it is checked yet.
    ///
    /// # Errors
    /// The document is malformed, too large, or of a newer format.
    pub fn peek(bytes: &[u8]) -> Result<Peeked, ManifestError> {
        let (line, seal) = split(bytes)?;
        let Peek { key, .. } = parse_with_format(line)?;
        Ok(Peeked {
            key,
            sealed_by_key: matches!(seal, Seal::Hmac(_)),
            line_sha256: Sha256::digest(line).into(),
        })
    }
}

/// A manifest that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The document.
    pub manifest: Manifest,
    /// SHA-256 of line 1 with its line end (`head -n1 manifest | sha256sum`): what children and `metadata` refer to.
    pub line_sha256: [u8; 32],
    /// True if the HMAC was checked with the key.
    pub authentic: bool,
}

/// What can be said without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// The wrapped chain key.
    pub key: Option<KeyInfo>,
    /// True if line 2 is an HMAC.
    pub sealed_by_key: bool,
    /// SHA-256 of line 1 with its line end.
    pub line_sha256: [u8; 32],
}

/// The parent within the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// Its level.
    pub level: Level,
    /// Its time.
    pub time: Timestamp,
    /// SHA-256 of its manifest's line 1; `None` if it has none, being the original's.
    #[serde(with = "optional_hex")]
    pub manifest: Option<[u8; 32]>,
}

/// The backup that was the newest of the name before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousLink {
    /// Its chain.
    pub zero: Timestamp,
    /// Its level.
    pub level: Level,
    /// Its time.
    pub time: Timestamp,
    /// SHA-256 of its manifest's line 1; `None` if it has none, being the original's.
    #[serde(with = "optional_hex")]
    pub manifest: Option<[u8; 32]>,
}

/// A plugin that took part in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginUse {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
}

/// How the stream is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Always `aes-256-cfb`.
    pub cipher: String,
    /// Where the stream's key comes from.
    pub kdf: StreamKdf,
    /// Iterations of the stream's derivation (not of the wrapping).
    pub iterations: u32,
    /// The salt in the stream's header.
    #[serde(with = "hex::serde")]
    pub salt: [u8; 8],
}

/// Where a stream's key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKdf {
    /// PBKDF2-HMAC-SHA256 of the chain key.
    Pbkdf2Sha256,
    /// EVP_BytesToKey with SHA-256 of the password, as the original reads it.
    BytesToKeySha256,
}

/// The stored stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes of the tar stream.
    pub plain: u64,
    /// Bytes of each segment but the last.
    pub segment: u64,
    /// Number of segments.
    pub segments: u64,
    /// SHA-256 of the segments' SHA-256 digests, one after the other.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

/// The stored index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFacts {
    /// Stored bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    /// The last 64 bytes before encryption.
    #[serde(with = "hex::serde")]
    pub trailer: [u8; 64],
    /// The salt in the object's header, if it is encrypted: a reader needs no request for it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_hex")]
    pub salt: Option<[u8; 8]>,
}

/// A small stored object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// Stored bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

/// A file system's identity by `statfs`: equal ones have the same inode numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// `f_fsid`, both words.
    pub id: u64,
    /// `f_type`.
    pub kind: u64,
}

/// How many of what. Entries first, then what changed, then what could not be had; last the content's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each name says what it counts")]
pub struct Counts {
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    pub hard_links: u64,
    pub others: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
    pub excluded: u64,
    pub sockets_skipped: u64,
    pub unreadable: u64,
    pub inexact: u64,
    pub vanished: u64,
    pub bytes: u64,
}

/// A warning for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedWarning {
    /// The path it is about, as text; empty if none.
    pub path: String,
    /// What happened.
    pub message: String,
}

/// Whether a backup holds all that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything is stored.
    Whole,
    /// Something is missing or inexact; warnings say what.
    Partial,
}

/// Why a manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No manifest is that large.
    #[error("it has more than {MAX_MANIFEST_BYTES} bytes, and none is that large")]
    TooLarge,
    /// Not two lines of the expected form.
    #[error("it doesn't consist of a document and its seal")]
    Form,
    /// The seal belongs to other bytes or another key.
    #[error("its seal doesn't fit: it was altered, damaged, or sealed with another key")]
    Seal,
    /// A version that this program doesn't know.
    #[error("it has format {format}, and this freezer reads up to {FORMAT}")]
    Newer {
        /// The version.
        format: u32,
    },
    /// Sealed, but not the document.
    #[error("it isn't the expected JSON")]
    Json(#[source] serde_json::Error),
}

enum Seal {
    Hmac([u8; 32]),
    Sha256([u8; 32]),
}

/// Line 1 with its line end, and the seal of line 2.
fn split(bytes: &[u8]) -> Result<(&[u8], Seal), ManifestError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge);
    }
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(ManifestError::Form)?
        + 1;
    let (line, rest) = bytes.split_at(end);
    let text = rest
        .strip_suffix(b"\n")
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .ok_or(ManifestError::Form)?;
    let (word, digits) = text.split_once(' ').ok_or(ManifestError::Form)?;
    let mut digest = [0; 32];
    hex::decode_to_slice(digits, &mut digest).map_err(|_| ManifestError::Form)?;
    match word {
        "hmac-sha256" => Ok((line, Seal::Hmac(digest))),
        "sha256" => Ok((line, Seal::Sha256(digest))),
        _ => Err(ManifestError::Form),
    }
}

fn mac_of(line: &[u8], key: &MacKey) -> [u8; 32] {
    let mut mac = hmac_sha256(key.as_bytes());
    mac.update(PREFIX);
    mac.update(line);
    mac.finalize().into_bytes().into()
}

fn digest_of(line: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(PREFIX);
    digest.update(line);
    digest.finalize().into()
}

fn require_equal(computed: &[u8; 32], expected: &[u8; 32]) -> Result<(), ManifestError> {
    if bool::from(computed.ct_eq(expected)) {
        Ok(())
    } else {
        Err(ManifestError::Seal)
    }
}

#[derive(Deserialize)]
struct Peek {
    format: u32,
    #[serde(default)]
    key: Option<KeyInfo>,
}

/// The version is looked at first: a newer document may lack keys that this one must have.
fn parse_with_format(line: &[u8]) -> Result<Peek, ManifestError> {
    let peek: Peek = serde_json::from_slice(line).map_err(ManifestError::Json)?;
    match peek.format.cmp(&FORMAT) {
        Ordering::Equal => Ok(peek),
        Ordering::Greater => Err(ManifestError::Newer { format: peek.format }),
        Ordering::Less => {
            let none = format!("there is no format {}", peek.format);
            Err(ManifestError::Json(serde::de::Error::custom(none)))
        }
    }
}

fn parse(line: &[u8]) -> Result<Manifest, ManifestError> {
    parse_with_format(line)?;
    serde_json::from_slice(line).map_err(ManifestError::Json)
}

#[cfg(test)]
mod tests;
