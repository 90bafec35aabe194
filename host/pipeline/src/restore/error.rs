//! What ends a restore, a dump or a verification. Failures at single paths are warnings, not errors.
//!
//! The caller tells by the variant what to advise and which exit code to give.

use std::io;
use std::path::PathBuf;

use freezer_format::index::IndexError;

use crate::cancel::Cancelled;
use crate::object::ObjectError;

/// Why reading a backup back ended early.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled(#[from] Cancelled),
    /// No level was handed over.
    #[error("there is no level to restore")]
    NoLevels,
    /// An index row points to a level that wasn't handed over.
    #[error("the backup needs level {level}, which is missing or has no index")]
    MissingLevel {
        /// The level that is missing.
        level: u32,
    },
    /// A stored object can't be read or decrypted.
    #[error("level {level} can't be read")]
    Object {
        /// The level it belongs to.
        level: u32,
        /// What the object's reader says.
        #[source]
        source: ObjectError,
    },
    /// An index can't be read; usually it is damaged.
    #[error("the index of level {level} can't be read")]
    Index {
        /// The level it belongs to.
        level: u32,
        /// What the index's reader says.
        #[source]
        source: IndexError,
    },
    /// What is stored isn't what was written.
    #[error("{object:?} of level {level} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The object's key.
        object: String,
        /// The level it belongs to.
        level: u32,
        /// Where, in the stored object or, if `reason` says so, in the archive inside it.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A stream was asked for where a tree is stored.
    #[error("level {level} holds a tree of files, no stream")]
    NotAStream {
        /// The level.
        level: u32,
    },
    /// The target as a whole can't be used, or is full.
    #[error("can't {operation} {path:?}")]
    Target {
        /// What was tried, in words that fit after "can't".
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The target holds something and overwriting wasn't asked for.
    #[error("the target {path:?} isn't empty")]
    TargetNotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// None of the paths asked for is in the backup.
    #[error("the backup holds none of the paths asked for: {paths}")]
    NothingMatched {
        /// The paths, escaped, separated by commas.
        paths: String,
    },
    /// The path to dump isn't in the backup.
    #[error("the backup doesn't hold {path:?}")]
    NotFound {
        /// The path, escaped.
        path: String,
    },
    /// The path to dump has no content.
    #[error("{path:?} is a {kind}, only files can be dumped")]
    NotAFile {
        /// The path, escaped.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// The path to dump is a symbolic link, which isn't followed.
    #[error("{path:?} is a symbolic link to {goal:?}, only files can be dumped")]
    IsSymlink {
        /// The path, escaped.
        path: String,
        /// Where the link points, escaped.
        goal: String,
    },
    /// The file couldn't be read when the newest level was made.
    #[error("{path:?} couldn't be read when it was backed up")]
    Unreadable {
        /// The path, escaped.
        path: String,
    },
    /// The output of a dump can't be written.
    #[error("can't write the output")]
    Output(#[source] io::Error),
    /// A temporary file can't be made or read.
    #[error("can't use a temporary file")]
    Spool(#[source] io::Error),
}

impl RestoreError {
    /// True if the cause is damage to stored data (or a wrong key), not the machine or the storage.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Object { source, .. } => source.is_damage(),
            Self::Index {
                source: IndexError::Io(error),
                ..
            } => {
                let inner = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<ObjectError>());
                inner.is_some_and(ObjectError::is_damage)
            }
            Self::Index { .. } => true,
            _ => false,
        }
    }
}
