//! Tags and pins that were given to a level after it was made: one small object beside it.
//!
//! ```text
//! line 1   one JSON object, UTF-8, then \n: format, manifest (SHA-256 of the level's manifest, line 1), tags, pinned
//! line 2   "hmac-sha256 " 64 hex \n          made without the chain's key: "sha256 " 64 hex \n
//! input    "freezer tags 1\n" and line 1 with its \n, for both
//! ```
//!
//! The key is the one that seals the chain's manifests. The digest of the manifest ties the document to its level.
//! That an older document was put back, or a newer one taken away, can't be seen: tags only ever keep a backup, so
//! whoever may remove objects gains nothing by it.

use std::collections::BTreeSet;

use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::chain_key::MacKey;
use crate::openssl::hmac_sha256;
use crate::optional_hex;

/// Most bytes of the document that are read: [`MAX_TAGS`] of [`MAX_TAG_BYTES`], escaped.
pub const MAX_TAGS_BYTES: usize = 256 << 10;

/// Most tags of one level.
pub const MAX_TAGS: usize = 100;

/// Most bytes of one tag.
pub const MAX_TAG_BYTES: usize = 128;

/// The version that this module writes and reads.
pub const FORMAT: u32 = 1;

const PREFIX: &[u8] = b"freezer tags 1\n";

/// The tags of a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Version of the document, [`FORMAT`].
    pub format: u32,
    /// SHA-256 of the level's manifest, line 1; `None` in the original's backups.
    #[serde(with = "optional_hex")]
    pub manifest: Option<[u8; 32]>,
    /// All tags: those that the backup was made with count no more.
    pub tags: BTreeSet<String>,
    /// Whether retention must keep the level.
    pub pinned: bool,
}

/// Why a text is no tag, or a document none of tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    /// A tag that can't be one.
    #[error(
        "{0:?} can't be a tag: 1 to {MAX_TAG_BYTES} bytes without commas, blanks and control characters can"
    )]
    Tag(String),
    /// More than a level may have.
    #[error("a backup has at most {MAX_TAGS} tags")]
    TooMany,
    /// It isn't two lines of the right form.
    #[error("the document of tags is malformed")]
    Malformed,
    /// It is of a newer version.
    #[error("the document of tags has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// Its second line doesn't fit to the first.
    #[error("the document of tags was changed or sealed by another key")]
    Seal,
    /// It was made for another level.
    #[error("the document of tags belongs to another backup")]
    OtherLevel,
}

/// Tags that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedTags {
    /// The document.
    pub tags: Tags,
    /// True if the HMAC was checked with the key.
    pub authentic: bool,
}

/// Checks one tag.
///
/// # Errors
/// [`TagsError::Tag`].
pub fn check_tag(tag: &str) -> Result<(), TagsError> {
    let odd = |character: char| character == ',' || character.is_whitespace() || character.is_control();
    if tag.is_empty() || tag.len() > MAX_TAG_BYTES || tag.contains(odd) {
        return Err(TagsError::Tag(tag.chars().take(MAX_TAG_BYTES).collect()));
    }
    Ok(())
}

impl Tags {
    /// Writes the document and its seal: HMAC with a key, SHA-256 without.
    pub fn seal(&self, key: Option<&MacKey>) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("numbers, texts and lists of texts always serialise");
        bytes.push(b'\n');
        let seal = match key {
            Some(key) => format!("hmac-sha256 {}\n", hex::encode(mac_of(&bytes, key))),
            None => format!("sha256 {}\n", hex::encode(digest_of(&bytes))),
        };
        bytes.extend_from_slice(seal.as_bytes());
        bytes
    }

    /// Checks the seal, then reads the document of the level whose manifest has this digest.
    ///
    /// # Errors
    /// The seal doesn't fit, the document is malformed, of a newer format or of another level.
    pub fn open(
        bytes: &[u8],
        key: Option<&MacKey>,
        manifest: Option<[u8; 32]>,
    ) -> Result<OpenedTags, TagsError> {
        if bytes.len() > MAX_TAGS_BYTES {
            return Err(TagsError::Malformed);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, seal) = bytes.split_at(end.ok_or(TagsError::Malformed)? + 1);
        let authentic = check_seal(line, seal, key)?;
        let tags: Self = serde_json::from_slice(line).map_err(|_| TagsError::Malformed)?;
        if tags.format != FORMAT {
            return Err(TagsError::Format(tags.format));
        }
        if tags.manifest != manifest {
            return Err(TagsError::OtherLevel);
        }
        tags.check()?;
        Ok(OpenedTags { tags, authentic })
    }

    /// Checks number and form of the tags.
    ///
    /// # Errors
    /// [`TagsError::TooMany`], [`TagsError::Tag`].
    pub fn check(&self) -> Result<(), TagsError> {
        if self.tags.len() > MAX_TAGS {
            return Err(TagsError::TooMany);
        }
        self.tags.iter().try_for_each(|tag| check_tag(tag))
    }
}

/// Answers whether the seal proves the key. An HMAC that no key is there for proves nothing, and isn't refused.
fn check_seal(line: &[u8], seal: &[u8], key: Option<&MacKey>) -> Result<bool, TagsError> {
    let text = std::str::from_utf8(seal).map_err(|_| TagsError::Malformed)?;
    let text = text.strip_suffix('\n').ok_or(TagsError::Malformed)?;
    let (kind, digest) = text.split_once(' ').ok_or(TagsError::Malformed)?;
    let mut expected = [0; 32];
    hex::decode_to_slice(digest, &mut expected).map_err(|_| TagsError::Malformed)?;
    let (computed, authentic) = match (kind, key) {
        ("hmac-sha256", Some(key)) => (mac_of(line, key), true),
        ("hmac-sha256", None) => return Ok(false),
        ("sha256", _) => (digest_of(line), false),
        _ => return Err(TagsError::Malformed),
    };
    if bool::from(computed.ct_eq(&expected)) {
        Ok(authentic)
    } else {
        Err(TagsError::Seal)
    }
}

fn mac_of(line: &[u8], key: &MacKey) -> [u8; 32] {
    let mut mac = hmac_sha256(key.as_bytes());
    mac.update(PREFIX);
    mac.update(line);
    mac.finalize().into_bytes().into()
}

fn digest_of(line: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(PREFIX)
        .chain_update(line)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_key::ChainKey;
    use proptest::prelude::*;

    fn tags() -> Tags {
        Tags {
            format: FORMAT,
            manifest: Some([7; 32]),
            tags: ["keep".to_owned(), "größe".to_owned()].into(),
            pinned: true,
        }
    }

    fn key(byte: u8) -> MacKey {
        ChainKey::new([byte; 32]).mac_key()
    }

    #[test]
    fn what_was_sealed_is_read_back_and_proves_the_key() {
        let sealed = tags().seal(Some(&key(1)));
        let opened = Tags::open(&sealed, Some(&key(1)), Some([7; 32])).unwrap();
        assert_eq!((opened.tags, opened.authentic), (tags(), true));
        let unproved = Tags::open(&sealed, None, Some([7; 32])).unwrap();
        assert!(!unproved.authentic);
        assert_eq!(
            Tags::open(&sealed, Some(&key(2)), Some([7; 32])),
            Err(TagsError::Seal)
        );
    }

    #[test]
    fn tags_of_another_level_are_refused() {
        let sealed = tags().seal(Some(&key(1)));
        for manifest in [None, Some([8; 32])] {
            assert_eq!(
                Tags::open(&sealed, Some(&key(1)), manifest),
                Err(TagsError::OtherLevel)
            );
        }
    }

    #[test]
    fn a_seal_without_key_never_proves_one() {
        let sealed = tags().seal(None);
        assert!(
            !Tags::open(&sealed, Some(&key(1)), Some([7; 32]))
                .unwrap()
                .authentic
        );
        let mut changed = sealed.clone();
        changed[40] ^= 1;
        assert!(Tags::open(&changed, None, Some([7; 32])).is_err());
    }

    #[test]
    fn tags_are_words() {
        for bad in ["", "a b", "a,b", "a\n", &"x".repeat(MAX_TAG_BYTES + 1)] {
            assert!(check_tag(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_tag("monthly-2026"), Ok(()));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            assert!(Tags::open(&bytes, None, None).is_err());
        }
    }
}
