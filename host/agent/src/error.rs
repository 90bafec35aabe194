//! What ends a recipe, what it means for the exit code, and what the user can do about it.
//!
//! Each `Display` states its own part on one line; causes are `source()`, never repeated. The command line prints
//! the chain once and then the lines of [`AgentError::next`].

use std::path::PathBuf;

use freezer_format::chain::SelectError;
use freezer_format::chain_key::KeyError;
use freezer_pipeline::BackupError;
use freezer_pipeline::cancel::Cancelled;
use freezer_pipeline::object::ObjectError;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::{ErrorKind, StoreError};
use freezer_plugin::PluginError;

use crate::date::date;

/// What the exit code is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitClass {
    /// All is well: 0.
    Ok,
    /// It failed: 1.
    Failed,
    /// Done, but something was skipped or unreadable: 3.
    Partial,
    /// No backup or path matches: 4.
    NothingFound,
    /// Stored data is damaged or not authentic: 5.
    Damaged,
    /// The user stopped it: 130.
    Interrupted,
}

/// Why a recipe ended early.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
    /// No backup of this name. The wording is the original's: scripts match on it.
    #[error("No matching backup name {name:?} found in {storage}")]
    UnknownName {
        /// Host and backup name that were asked for.
        name: String,
        /// The storage's URL.
        storage: String,
        /// The most similar name there is.
        nearest: Option<String>,
        /// True if the storage holds no backup at all.
        empty: bool,
    },
    /// The name exists, the wanted date or level doesn't.
    #[error("can't choose a backup of {name}")]
    Select {
        /// Host and backup name.
        name: String,
        /// Why.
        #[source]
        source: SelectError,
    },
    /// What is stored for a backup is not what was written.
    #[error("{backup} is damaged: {object:?} {reason}")]
    Damaged {
        /// Name, level and date.
        backup: String,
        /// The object's key.
        object: String,
        /// What is wrong with it, in words that follow the key.
        reason: String,
    },
    /// A pass phrase is given and a level isn't authenticated by it.
    #[error("{backup} is not authenticated: {reason}")]
    Unauthenticated {
        /// Name, level and date.
        backup: String,
        /// What is missing.
        reason: String,
    },
    /// The backup is encrypted and no pass phrase is given. The wording is the original's.
    #[error("Cannot restore encrypted backup without key: {backup}")]
    NoPassphrase {
        /// Name, level and date.
        backup: String,
    },
    /// The chain key can't be opened.
    #[error("{backup} can't be opened")]
    Key {
        /// Name, level and date.
        backup: String,
        /// Wrong pass phrase or damage.
        #[source]
        source: KeyError,
    },
    /// A stored object can't be opened.
    #[error("{backup} can't be read")]
    Object {
        /// Name, level and date.
        backup: String,
        /// Why.
        #[source]
        source: ObjectError,
    },
    /// Reading a backup back failed.
    #[error("{operation} {backup} failed")]
    Restore {
        /// `restoring`, `reading`.
        operation: &'static str,
        /// Name, level and date.
        backup: String,
        /// Why.
        #[source]
        source: RestoreError,
    },
    /// Writing a backup failed. Nothing of it counts.
    #[error("backing up {backup} failed")]
    Backup {
        /// Name, level and date.
        backup: String,
        /// Why.
        #[source]
        source: BackupError,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugin failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The restore directory holds something. The wording is the original's.
    #[error(
        "Restore dir is not empty. Please use --overwrite or provide different path or remove the content of {}",
        path.display()
    )]
    TargetNotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The restore directory can't be looked at.
    #[error("can't look into the restore directory {}", path.display())]
    Target {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The asked options can't go together, or not with this backup.
    #[error("{reason}")]
    Unsupported {
        /// What can't be done, and why.
        reason: String,
        /// What can be done instead.
        next: String,
    },
    /// Another run wrote the same level, or took all the times that were tried.
    #[error("another run is writing {backup} at the same time")]
    Taken {
        /// Name, level and date.
        backup: String,
    },
    /// The storage didn't say whether the last write of a backup took effect.
    #[error("{backup} may or may not be stored: the storage didn't answer the last write")]
    CommitUnknown {
        /// Name, level and date.
        backup: String,
        /// What it said.
        #[source]
        source: StoreError,
    },
}

impl AgentError {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Interrupted => ExitClass::Interrupted,
            Self::UnknownName { .. } | Self::Select { .. } => self.selection_class(),
            Self::Damaged { .. } | Self::Unauthenticated { .. } => ExitClass::Damaged,
            Self::Key { source, .. } => match source {
                KeyError::Wrong => ExitClass::Failed,
                KeyError::Malformed(_) => ExitClass::Damaged,
            },
            Self::Object { source, .. } if source.is_damage() => ExitClass::Damaged,
            Self::Restore { source, .. } => restore_class(source),
            Self::Backup {
                source: BackupError::Cancelled(_),
                ..
            } => ExitClass::Interrupted,
            Self::Store(error)
            | Self::Backup {
                source: BackupError::Store(error),
                ..
            } => store_class(error),
            Self::Plugin(error) if error.kind() == ErrorKind::Cancelled => ExitClass::Interrupted,
            _ => ExitClass::Failed,
        }
    }

    fn selection_class(&self) -> ExitClass {
        match self {
            Self::Select {
                source: SelectError::MissingLevel { .. },
                ..
            } => ExitClass::Damaged,
            _ => ExitClass::NothingFound,
        }
    }

    /// What to do about it, one step a line; empty if nothing sensible can be said.
    pub fn next(&self) -> Vec<String> {
        match self {
            Self::UnknownName { empty: true, .. } => {
                vec!["check the storage's URL: it holds no backup at all".to_owned()]
            }
            Self::UnknownName { nearest: Some(nearest), .. } => {
                vec![format!("did you mean {nearest}?"), "freezer list shows all names".to_owned()]
            }
            Self::UnknownName { .. } => vec!["freezer list shows all names".to_owned()],
            Self::Select { source, .. } => select_next(source),
            Self::Damaged { .. } => vec![
                "freezer check names everything that is damaged and the backups it hits".to_owned(),
                "restore an earlier date with --at, or copy the object back from another copy".to_owned(),
            ],
            Self::Unauthenticated { .. } => vec![
                "if it was written without a pass phrase or by the original, and you trust the storage: --compat"
                    .to_owned(),
            ],
            Self::NoPassphrase { .. } => vec!["give the pass phrase with --encrypt-pass-file FILE".to_owned()],
            Self::Key { source: KeyError::Malformed(_), .. } => {
                vec!["freezer check names everything that is damaged and the backups it hits".to_owned()]
            }
            Self::Key { .. } => vec!["check the pass file: its first line is the pass phrase".to_owned()],
            Self::Unsupported { next, .. } => vec![next.clone()],
            Self::Taken { .. } => vec!["wait for the other run, then try again".to_owned()],
            Self::CommitUnknown { .. } => vec!["freezer list shows whether it is there".to_owned()],
            Self::Restore { source, .. } if source.is_damage() => {
                vec!["freezer check --read-data names everything that is damaged".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// The storage error that caused it, if one did.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Interrupted
            | Self::Backup {
                source: BackupError::Cancelled(_),
                ..
            } => ErrorKind::Cancelled,
            Self::Store(error)
            | Self::CommitUnknown { source: error, .. }
            | Self::Backup {
                source: BackupError::Store(error),
                ..
            } => error.kind,
            Self::Plugin(error) => error.kind(),
            Self::Damaged { .. } | Self::Unauthenticated { .. } => ErrorKind::Corrupt,
            Self::UnknownName { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        }
    }
}

impl From<Cancelled> for AgentError {
    fn from(_: Cancelled) -> Self {
        Self::Interrupted
    }
}

fn store_class(error: &StoreError) -> ExitClass {
    match error.kind {
        ErrorKind::Cancelled => ExitClass::Interrupted,
        ErrorKind::Corrupt => ExitClass::Damaged,
        _ => ExitClass::Failed,
    }
}

fn restore_class(error: &RestoreError) -> ExitClass {
    match error {
        RestoreError::Cancelled(_) => ExitClass::Interrupted,
        RestoreError::NothingMatched { .. } | RestoreError::NotFound { .. } => ExitClass::NothingFound,
        RestoreError::MissingLevel { .. } => ExitClass::Damaged,
        RestoreError::Object {
            source: ObjectError::Store(error),
            ..
        } if error.kind == ErrorKind::Cancelled => ExitClass::Interrupted,
        error if error.is_damage() => ExitClass::Damaged,
        _ => ExitClass::Failed,
    }
}

fn select_next(error: &SelectError) -> Vec<String> {
    match error {
        SelectError::Empty => vec!["freezer list shows what is there".to_owned()],
        SelectError::NoneBefore { at, oldest } => {
            vec![format!(
                "there is none from {} or before; the oldest backup is of {}, take a date from there on",
                date(*at),
                date(*oldest)
            )]
        }
        SelectError::MissingLevel { level, wanted, .. } => vec![format!(
            "copy level {level} back into the storage, or restore a state before {} with --at",
            date(wanted.time)
        )],
    }
}
