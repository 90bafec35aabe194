//! What identifies a backup: host and backup name, level-0 time, level, time.
//!
//! The original's `hostname_backup_name` (`HOST_NAME`) is one folder name in the storage, so names that
//! can't be one are refused here, before any key is made of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest host and backup name together, in bytes: one folder name on every file system.
pub const MAX_NAME_BYTES: usize = 255;

/// The time of a backup in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The level of a backup: 0 is full, n holds the changes since level n − 1 of the same chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u32);

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One backup of a name: its chain's level-0 time, its level and its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelId {
    /// Time of the chain's level 0; names the chain.
    pub zero: Timestamp,
    /// Level within the chain.
    pub level: Level,
    /// Time of this backup; equals `zero` at level 0.
    pub time: Timestamp,
}

/// Host name, `_` and backup name, as the storage spells them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostBackupName(String);

impl HostBackupName {
    /// Joins a host name and a backup name.
    ///
    /// # Errors
    /// One of the two is empty, or the result can't be one folder name.
    pub fn new(host: &str, name: &str) -> Result<Self, NameError> {
        if host.is_empty() {
            return Err(NameError::EmptyHost);
        }
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        Self::from_stored(&format!("{host}_{name}"))
    }

    /// Takes a folder name found in a storage.
    ///
    /// # Errors
    /// It is empty, `.` or `..`, longer than 255 bytes, or holds `/` or a control character.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(NameError::Dots {
                name: text.to_owned(),
            });
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|c| *c == '/' || c.is_control()) {
            return Err(NameError::Character {
                name: text.to_owned(),
                character,
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as the storage spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if this is `name` of some host, told by the end of the stored text.
    pub fn is_of_backup(&self, name: &str) -> bool {
        self.0
            .strip_suffix(name)
            .is_some_and(|host| host.len() > 1 && host.ends_with('_'))
    }
}

impl fmt::Display for HostBackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostBackupName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::from_stored(&text)
    }
}

impl From<HostBackupName> for String {
    fn from(name: HostBackupName) -> Self {
        name.0
    }
}

/// Why a text can't name backups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No backup name was given.
    #[error("the backup name is empty")]
    Empty,
    /// No host name was given.
    #[error("the host name is empty")]
    EmptyHost,
    /// `.` or `..` would name another folder.
    #[error("{name:?} can't be a backup name")]
    Dots {
        /// The refused text.
        name: String,
    },
    /// A character that a storage key can't hold.
    #[error("the backup name {name:?} holds {character:?}")]
    Character {
        /// The refused text.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// Longer than a folder name may be.
    #[error("host and backup name are {bytes} bytes long together, at most {MAX_NAME_BYTES} are possible")]
    TooLong {
        /// Length of the refused text.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn host_and_name_are_joined_by_an_underscore() {
        assert_eq!(HostBackupName::new("web01", "etc").unwrap().as_str(), "web01_etc");
    }

    #[rstest]
    #[case("", NameError::Empty)]
    #[case(".", NameError::Dots { name: ".".into() })]
    #[case("..", NameError::Dots { name: "..".into() })]
    #[case("a/b", NameError::Character { name: "a/b".into(), character: '/' })]
    #[case("a\0b", NameError::Character { name: "a\0b".into(), character: '\0' })]
    #[case("a\nb", NameError::Character { name: "a\nb".into(), character: '\n' })]
    fn texts_that_are_no_folder_name_are_refused(#[case] text: &str, #[case] error: NameError) {
        assert_eq!(HostBackupName::from_stored(text), Err(error));
    }

    #[test]
    fn the_longest_name_has_255_bytes() {
        assert!(HostBackupName::from_stored(&"x".repeat(255)).is_ok());
        assert_eq!(
            HostBackupName::from_stored(&"x".repeat(256)),
            Err(NameError::TooLong { bytes: 256 })
        );
    }

    #[test]
    fn empty_parts_are_told_apart() {
        assert_eq!(HostBackupName::new("", "etc"), Err(NameError::EmptyHost));
        assert_eq!(HostBackupName::new("web01", ""), Err(NameError::Empty));
    }

    #[test]
    fn the_original_s_literal_template_name_is_taken() {
        assert!(HostBackupName::from_stored("h_freezer_{mode}_{resource_id}").is_ok());
    }

    #[test]
    fn a_backup_is_recognised_by_its_name_without_the_host() {
        let name = HostBackupName::new("web_01", "etc").unwrap();
        assert!(name.is_of_backup("etc"));
        assert!(!name.is_of_backup("tc"));
        assert!(!HostBackupName::from_stored("_etc").unwrap().is_of_backup("etc"));
    }
}
