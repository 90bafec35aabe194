//! What a restore must know, kept in the manifest as JSON.

use freezer_sdk::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the bytes of a backup were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The files of the data directory.
    Physical,
    /// What mongodump writes.
    Logical,
}

impl Kind {
    /// Reads the setting.
    ///
    /// # Errors
    /// `invalid` for another word.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "physical" => Ok(Self::Physical),
            "logical" => Ok(Self::Logical),
            _ => Err(Error::invalid(format!(
                "kind is {text:?}: it must be physical or logical"
            ))),
        }
    }
}

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The version of this shape.
    pub(crate) version: u32,
    /// How the bytes were made.
    pub(crate) kind: Kind,
    /// The version of the server.
    pub(crate) server: String,
    /// Where it was asked.
    pub(crate) place: String,
    /// Its replica set, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replica_set: Option<String>,
    /// What it was in there: "primary", "secondary"; or "standalone", "router".
    pub(crate) role: String,
    /// Its data directory, if it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_directory: Option<String>,
    /// How long writers waited, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock_milliseconds: Option<u64>,
    /// What was frozen, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    /// Whether the dump holds the writes that came meanwhile.
    #[serde(default)]
    pub(crate) oplog: bool,
    /// The above in one line for people; the host shows it with the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
}

impl Note {
    /// Reads the note of a backup.
    ///
    /// # Errors
    /// `invalid` if it is none, or a newer one.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let note: Self = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("the note of the backup can't be read: {error}")))?;
        if note.version != 1 {
            let message = format!(
                "the note of the backup has version {}: use a newer plugin",
                note.version
            );
            return Err(Error::invalid(message));
        }
        Ok(note)
    }

    /// Writes it.
    ///
    /// # Errors
    /// `other`, which doesn't happen.
    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        let note = Note {
            version: 1,
            kind: Kind::Logical,
            server: "7.0.1".into(),
            place: "db:27017".into(),
            replica_set: Some("rs0".into()),
            role: "primary".into(),
            data_directory: None,
            lock_milliseconds: Some(12),
            snapshot: None,
            oplog: true,
            summary: None,
        };
        assert_eq!(Note::parse(&note.to_text().unwrap()).unwrap(), note);
        assert!(Note::parse("{}").is_err() && Note::parse("").is_err());
        assert!(Note::parse(r#"{"version":2,"kind":"logical","server":"","place":"","role":""}"#).is_err());
    }
}
