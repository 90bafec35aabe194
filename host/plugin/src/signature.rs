//! Signatures of packed plugins and the keys that made them, in the format of minisign: Ed25519 over BLAKE2b.
//!
//! What `minisign -S` writes beside a file is read here as it is, and the key is the line that `minisign -G` prints. Only
//! the form with a hash is taken; minisign has written no other since 0.10. Whom to believe is decided in `grants`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The largest signature file or key file; minisign's have 300 bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 4096;
/// The bytes of a key's number in keys and signatures.
const ID: std::ops::Range<usize> = 2..10;
/// The first bytes of a signature without a hash.
const LEGACY: &[u8] = b"Ed";

/// Why a text is no key or no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is no public key.
    #[error("{0:?} is no public key of minisign: it must be the line that begins with RW")]
    Key(String),
    /// The text is no signature.
    #[error("it isn't in the format of minisign")]
    Format,
    /// It was made in a way that isn't read any more.
    #[error("it was made without a hash: sign again with minisign 0.10 or newer and without -l")]
    Legacy,
}

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    text: String,
    id: String,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// Reads a key: the line that begins with `RW`, or the two lines of a `.pub` file.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let bad = || SignatureError::Key(crate::escape::line(text, 80));
        if text.len() > MAX_TEXT_BYTES {
            return Err(bad());
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines
            .find(|line| !line.starts_with("untrusted comment:"))
            .ok_or_else(bad)?;
        let key = minisign_verify::PublicKey::from_base64(line).map_err(|_| bad())?;
        let id = key_id(line).ok_or_else(bad)?;
        Ok(Self {
            text: line.to_owned(),
            id,
            key,
        })
    }

    /// The line by which it is written down.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its number, as minisign shows it: 16 digits. Anybody can make a key of any number.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// A signature, read and not believed.
#[derive(Clone)]
pub struct Signature {
    text: String,
    key_id: String,
    signature: minisign_verify::Signature,
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature({})", self.key_id)
    }
}

impl Signature {
    /// Reads a signature file.
    ///
    /// # Errors
    /// [`SignatureError::Format`] and [`SignatureError::Legacy`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(SignatureError::Format);
        }
        let signature = minisign_verify::Signature::decode(text).map_err(|_| SignatureError::Format)?;
        let line = text.lines().nth(1).ok_or(SignatureError::Format)?;
        if decoded(line).is_some_and(|bytes| bytes.starts_with(LEGACY)) {
            return Err(SignatureError::Legacy);
        }
        let key_id = key_id(line).ok_or(SignatureError::Format)?;
        Ok(Self {
            text: text.to_owned(),
            key_id,
            signature,
        })
    }

    /// The file's content.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of the key that made it, as it says.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What its maker signed beside the bytes: counts only where `is_by` is true.
    #[must_use]
    pub fn comment(&self) -> String {
        crate::escape::line(self.signature.trusted_comment(), 200)
    }

    /// Tells whether this key made it of these bytes.
    pub(crate) fn is_by(&self, key: &PublicKey, bytes: &[u8]) -> bool {
        key.key.verify(bytes, &self.signature, false).is_ok()
    }
}

fn decoded(line: &str) -> Option<Vec<u8>> {
    STANDARD.decode(line.trim()).ok()
}

/// The number in a key or a signature, the last byte first, as minisign shows it.
fn key_id(line: &str) -> Option<String> {
    let bytes = decoded(line)?;
    let mut id = bytes.get(ID)?.to_vec();
    id.reverse();
    Some(hex::encode_upper(id))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key that minisign 0.11 made, what it signed with it (`hello`), and another key.
    pub(crate) const KEY: &str = "RWRaCuC+fsMxKvQ4czfLAvc8Y/FUDtVrA8HLzhwsZ0dBJOn12TeoeEEQ";
    pub(crate) const OTHER_KEY: &str = "RWT36HUaLdTdMXxh1IpS2uQ8/wTgniYVWg+WO7u0BF1llTyKuEcFRyLv";
    pub(crate) const SIGNED: &[u8] = b"hello";
    pub(crate) const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RURaCuC+fsMxKkpCqYrXpQUVj/aZ8T7zrGMkTbKmpYH7TAoaa3H3+11u//S8kdMhjAcXB6vzZ6vvbTRDbP4ivr4fofOXXnNF/w4=\n\
        trusted comment: acme 1.0\n\
        wr8l2ltjXspkBAY1ABMwMDV2Vo8PycmPnDSjTjuQ9AnJHi1T61trB27f3GU+YP8KNONNVWStsygKmbGXo+SLAg==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWRaCuC+fsMxKk8qjOfzMZn+ZuRAdBJ+aAtF7FaJvqB6mhWSg09vwDtyQAQ2RMzMIemXx78AEqeCHeugNo7nCoZk4jVi3u/02ws=\n\
        trusted comment: timestamp:1796028512\tfile:m\n\
        8fFI1mO2HiYUMjbjGV50J3T+ZWfKnQg702uV3bUoiLkk4lLUBEpGzhbWMgnMVVompZg/J47U/MeSizJL03EdAQ==\n";

    #[test]
    fn what_minisign_signed_is_by_its_key_alone() {
        let (key, other) = (
            PublicKey::parse(KEY).unwrap(),
            PublicKey::parse(OTHER_KEY).unwrap(),
        );
        let signature = Signature::parse(SIGNATURE).unwrap();
        assert_eq!((key.id(), signature.key_id()), ("2A31C37EBEE00A5A", key.id()));
        assert!(signature.is_by(&key, SIGNED));
        assert!(!signature.is_by(&key, b"hellp") && !signature.is_by(&other, SIGNED));
        assert_eq!(signature.comment(), "acme 1.0");
    }

    #[test]
    fn a_changed_comment_is_no_signature_of_the_key() {
        let changed = Signature::parse(&SIGNATURE.replace("acme 1.0", "acme 2.0")).unwrap();
        assert!(!changed.is_by(&PublicKey::parse(KEY).unwrap(), SIGNED));
    }

    #[test]
    fn a_key_is_read_from_its_file_too() {
        let file = format!("untrusted comment: minisign public key 2A31C37EBEE00A5A\n{KEY}\n");
        assert_eq!(PublicKey::parse(&file), PublicKey::parse(KEY));
        for bad in ["", "RW", "untrusted comment: x", &KEY[1..], &"A".repeat(5000)] {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_signature_says_why() {
        let error = |text: &str| Signature::parse(text).unwrap_err();
        assert_eq!(error(LEGACY), SignatureError::Legacy);
        for bad in ["", "a\nb\nc\nd", &SIGNATURE[..200], &SIGNATURE.repeat(20)] {
            assert_eq!(error(bad), SignatureError::Format, "{bad}");
        }
    }
}
