//! What a restore must know, kept in the manifest as JSON.

use freezer_sdk::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the bytes of a backup were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The files of the data directory.
    Physical,
    /// SQL that makes everything anew.
    Logical,
    /// What mariadb-backup copies of a running server.
    Hot,
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
            "hot" => Ok(Self::Hot),
            _ => Err(Error::invalid(format!(
                "kind is {text:?}: it must be physical, logical or hot"
            ))),
        }
    }
}

/// Where the binary log stood at the moment of the backup: replication and point-in-time recovery go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The file of the log.
    pub(crate) file: String,
    /// The place in it.
    pub(crate) position: i64,
    /// The same as global transaction ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gtid: Option<String>,
}

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The version of this shape.
    pub(crate) version: u32,
    /// How the bytes were made.
    pub(crate) kind: Kind,
    /// What the server says it is.
    pub(crate) server: String,
    /// Its data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_directory: Option<String>,
    /// The binary log, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binary_log: Option<Position>,
    /// The statement that locked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<String>,
    /// How long writers waited, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock_milliseconds: Option<u64>,
    /// How much of that the snapshot took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_milliseconds: Option<u64>,
    /// What was frozen, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    /// The above in one line for people; the host shows it with the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
    /// The tool that wrote the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<String>,
}

impl Note {
    /// A note that says no more than that.
    pub(crate) fn new(kind: Kind, server: &str) -> Self {
        Self {
            version: 1,
            kind,
            server: server.to_owned(),
            data_directory: None,
            binary_log: None,
            lock: None,
            lock_milliseconds: None,
            snapshot_milliseconds: None,
            snapshot: None,
            summary: None,
            tool: None,
        }
    }

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
        let mut note = Note::new(Kind::Physical, "10.11");
        note.binary_log = Some(Position {
            file: "binlog.000001".into(),
            position: 328,
            gtid: Some("0-1-3".into()),
        });
        note.lock_milliseconds = Some(12);
        assert_eq!(Note::parse(&note.to_text().unwrap()).unwrap(), note);
        assert!(Note::parse("{}").is_err() && Note::parse("").is_err());
        assert!(Note::parse(r#"{"version":2,"kind":"hot","server":""}"#).is_err());
    }
}
