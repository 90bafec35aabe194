//! The `metadata` object: the original's small JSON, whose existence commits a backup.
//!
//! `{"engine_name": "tar", "compression": "gzip", "encryption": true, "manifest_sha256": …, "key": …}`: one line
//! without a line end, spaced as Python does, the original's keys first (it ignores ours). Readers of our
//! backups take every fact from the manifest; this document is not authenticated.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

use crate::chain_key::KeyInfo;
use crate::optional_hex;

/// Most bytes that are read. The original's largest hold a server's description of some kilobytes.
pub const MAX_METADATA_BYTES: usize = 1 << 20;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The original's engine word: `tar`, `rsync` (both of them), `nova`, `glance`, `osbrick`.
    pub engine_name: String,
    /// The compression's word; absent for images and volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// Whether the stream is encrypted.
    #[serde(default)]
    pub encryption: bool,
    /// Only the second rsync engine has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rsync_block_size: Option<u64>,
    /// SHA-256 of the manifest's first line; absent in the original's backups.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_hex")]
    pub manifest_sha256: Option<[u8; 32]>,
    /// The wrapped chain key of an encrypted backup of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyInfo>,
}

impl Metadata {
    /// Reads the document; unknown keys are passed over.
    ///
    /// # Errors
    /// It is too large, no JSON object, or a key has a wrong type: an interrupted write of the original looks so.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        if bytes.len() > MAX_METADATA_BYTES {
            return Err(MetadataError::TooLarge);
        }
        if bytes.is_empty() {
            return Err(MetadataError::Empty);
        }
        serde_json::from_slice(bytes).map_err(MetadataError::Json)
    }

    /// Writes the document to the byte as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.serialize(&mut Serializer::with_formatter(&mut bytes, PythonSpacing))
            .expect("strings, numbers and flags always serialise into memory");
        bytes
    }
}

/// `, ` and `: ` as Python's `json.dumps` writes them.
struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Why a `metadata` object can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// An interrupted write.
    #[error("it is empty")]
    Empty,
    /// No such document is that large.
    #[error("it has more than {MAX_METADATA_BYTES} bytes, and none is that large")]
    TooLarge,
    /// Not the document.
    #[error("it isn't the expected JSON")]
    Json(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const ORIGINAL: &str = r#"{"engine_name": "tar", "compression": "gzip", "encryption": false}"#;

    #[test]
    fn the_original_s_document_round_trips_to_the_byte() {
        let metadata = Metadata::parse(ORIGINAL.as_bytes()).unwrap();
        assert_eq!(metadata.compression.as_deref(), Some("gzip"));
        assert_eq!(metadata.to_bytes(), ORIGINAL.as_bytes());
    }

    #[test]
    fn our_keys_come_after_the_original_s() {
        let metadata = Metadata {
            engine_name: "tar".into(),
            compression: Some("gzip".into()),
            encryption: true,
            rsync_block_size: None,
            manifest_sha256: Some([0xab; 32]),
            key: Some(KeyInfo {
                wrapped: "w".into(),
                iterations: 600_000,
                check: "c".into(),
            }),
        };
        let expected = format!(
            concat!(
                r#"{{"engine_name": "tar", "compression": "gzip", "encryption": true, "#,
                r#""manifest_sha256": "{}", "key": {{"wrapped": "w", "iterations": 600000, "check": "c"}}}}"#
            ),
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(metadata.to_bytes()).unwrap(), expected);
        assert_eq!(Metadata::parse(expected.as_bytes()).unwrap(), metadata);
    }

    #[test]
    fn the_second_rsync_engine_is_told_by_its_block_size() {
        let text = r#"{"rsync_block_size": 4096, "engine_name": "rsync", "encryption": true, "compression": "bzip2"}"#;
        assert_eq!(
            Metadata::parse(text.as_bytes()).unwrap().rsync_block_size,
            Some(4096)
        );
    }

    #[test]
    fn unknown_keys_are_passed_over() {
        let text = r#"{"engine_name": "nova", "server": {"id": "x", "networks": [1]}, "encryption": false}"#;
        assert_eq!(Metadata::parse(text.as_bytes()).unwrap().engine_name, "nova");
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("[]")]
    #[case("{}")]
    #[case(r#"{"engine_name": "tar", "encryption": "yes"}"#)]
    #[case(r#"{"engine_name": "tar", "manifest_sha256": "abc"}"#)]
    #[case(r#"{"engine_name": "tar", "key": {"wrapped": "x", "iterations": -1, "check": ""}}"#)]
    fn damaged_documents_are_refused(#[case] text: &str) {
        assert!(Metadata::parse(text.as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_and_huge_documents_are_refused() {
        let deep = format!(r#"{{"engine_name": "tar", "x": {}"#, "[".repeat(100_000));
        assert!(Metadata::parse(deep.as_bytes()).is_err());
        let huge = vec![b' '; MAX_METADATA_BYTES + 1];
        assert!(matches!(Metadata::parse(&huge), Err(MetadataError::TooLarge)));
    }
}
