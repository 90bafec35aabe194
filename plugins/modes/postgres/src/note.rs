//! What a restore must know, kept in the manifest as JSON.

use freezer_sdk::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the bytes of a backup were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The files of the data directory.
    Physical,
    /// What makes one database anew.
    Logical,
    /// What pg_basebackup copies of a running server.
    Base,
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
            "base" => Ok(Self::Base),
            _ => Err(Error::invalid(format!(
                "kind is {text:?}: it must be physical, logical or base"
            ))),
        }
    }
}

/// A tablespace beside the two that lie in every data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tablespace {
    /// Its number, which is the name of its link in `pg_tblspc`.
    pub(crate) oid: String,
    /// Its name.
    pub(crate) name: String,
    /// Where it lies.
    pub(crate) location: String,
}

/// What the server said at the end of backup mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupMode {
    /// The label that it was begun with.
    pub(crate) label: String,
    /// Where the log stood at its beginning.
    pub(crate) start_lsn: String,
    /// And at its end.
    pub(crate) stop_lsn: String,
    /// The history that both belong to.
    pub(crate) timeline: u32,
    /// The log file in which it begins.
    pub(crate) first_wal_file: String,
    /// The log file in which it ends.
    pub(crate) last_wal_file: String,
    /// The content of the file `backup_label`.
    pub(crate) backup_label: String,
    /// The content of the file `tablespace_map`; empty without tablespaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tablespace_map: String,
    /// How long it lasted, in milliseconds.
    pub(crate) milliseconds: u64,
}

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The version of this shape.
    pub(crate) version: u32,
    /// How the bytes were made.
    pub(crate) kind: Kind,
    /// The version that the server says.
    pub(crate) server: String,
    /// The number that all copies of one data directory share.
    pub(crate) system_identifier: String,
    /// The path that was backed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The data directory, at or below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_directory: Option<String>,
    /// What lies outside of the data directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tablespaces: Vec<Tablespace>,
    /// Backup mode around the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backup_mode: Option<BackupMode>,
    /// What was frozen, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    /// The database that was dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<String>,
    /// The above in one line for people; the host shows it with the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
}

impl Note {
    /// A note that says no more than that.
    pub(crate) fn new(kind: Kind, server: &str, system_identifier: &str) -> Self {
        Self {
            version: 1,
            kind,
            server: server.to_owned(),
            system_identifier: system_identifier.to_owned(),
            path: None,
            data_directory: None,
            tablespaces: Vec::new(),
            backup_mode: None,
            snapshot: None,
            database: None,
            summary: None,
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
        let mut note = Note::new(Kind::Physical, "15.8", "7301");
        note.tablespaces = vec![Tablespace {
            oid: "16384".into(),
            name: "fast".into(),
            location: "/srv/fast".into(),
        }];
        note.backup_mode = Some(BackupMode {
            label: "freezer".into(),
            start_lsn: "0/2000028".into(),
            stop_lsn: "0/2006848".into(),
            timeline: 1,
            first_wal_file: "000000010000000000000002".into(),
            last_wal_file: "000000010000000000000002".into(),
            backup_label: "START WAL LOCATION\n".into(),
            tablespace_map: String::new(),
            milliseconds: 3,
        });
        assert_eq!(Note::parse(&note.to_text().unwrap()).unwrap(), note);
        assert!(Note::parse("{}").is_err() && Note::parse("").is_err());
        assert!(Note::parse(r#"{"version":2,"kind":"base","server":"","system_identifier":""}"#).is_err());
    }
}
