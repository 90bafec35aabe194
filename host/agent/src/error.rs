//! What ends a recipe, what it means for the exit code, and what the user can do about it.
//!
//! Each `Display` states its own part on one line; causes are `source()`, never repeated. The command line prints
//! the chain once and then the lines of [`AgentError::next`].

use std::error::Error;
use std::path::PathBuf;

use freezer_format::chain::SelectError;
use freezer_format::chain_key::KeyError;
use freezer_format::manifest::FORMAT;
use freezer_pipeline::BackupError;
use freezer_pipeline::cancel::Cancelled;
use freezer_pipeline::object::ObjectError;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::{ErrorKind, StoreError};
use freezer_plugin::PluginError;

use crate::advice;
use crate::date::date;
use crate::survey::is_refusal;

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

/// What to do about a backup of a later freezer.
pub(crate) const WITH_A_NEWER: &str = "use the freezer that wrote it, or a newer one";

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
    /// There is no container at the storage's place.
    #[error("no backups in {storage}: {reason}")]
    NoContainer {
        /// The storage's URL.
        storage: String,
        /// The storage's words.
        reason: String,
    },
    /// The name exists, the wanted date or level doesn't.
    #[error("can't choose a backup of {name}: {}", in_dates(reason))]
    Select {
        /// Host and backup name.
        name: String,
        /// Why; not a `source`, since its own words tell times as numbers.
        reason: SelectError,
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
    /// A later freezer wrote it. What the storage says of that isn't authenticated.
    #[error("{backup} has format {format}, and this freezer reads up to {FORMAT}")]
    Newer {
        /// Name, level and date.
        backup: String,
        /// The format that its manifest names.
        format: u32,
    },
    /// A password is given and a level isn't authenticated by it.
    #[error("{backup} is not authenticated: {reason}")]
    Unauthenticated {
        /// Name, level and date.
        backup: String,
        /// What is missing.
        reason: String,
    },
    /// The backup is encrypted and no password is given. The wording is the original's.
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
        /// Wrong password or damage.
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
    /// The command that a stream is restored to failed, or ended before it had all of it.
    #[error("the command that {backup} is restored to failed")]
    SinkCommand {
        /// Name, level and date.
        backup: String,
        /// How it ended.
        #[source]
        source: std::io::Error,
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
    /// The restore directory holds something.
    #[error("the restore directory {} is not empty", path.display())]
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
            error if is_interruption(error) => ExitClass::Interrupted,
            Self::UnknownName { .. } | Self::Select { .. } | Self::NoContainer { .. } => {
                self.selection_class()
            }
            Self::Damaged { .. } | Self::Unauthenticated { .. } => ExitClass::Damaged,
            Self::Key { source, .. } => match source {
                KeyError::Wrong => ExitClass::Failed,
                KeyError::Malformed(_) => ExitClass::Damaged,
            },
            Self::Object { source, .. } if source.is_damage() => ExitClass::Damaged,
            Self::Restore { source, .. } => restore_class(source),
            Self::Store(error)
            | Self::Backup {
                source: BackupError::Store(error),
                ..
            } => store_class(error),
            _ => ExitClass::Failed,
        }
    }

    fn selection_class(&self) -> ExitClass {
        match self {
            Self::Select {
                reason: SelectError::MissingLevel { .. },
                ..
            } => ExitClass::Damaged,
            _ => ExitClass::NothingFound,
        }
    }

    /// What to do about it, one step a line; never empty.
    pub fn next(&self) -> Vec<String> {
        match self {
            Self::NoContainer { .. } => {
                vec!["check the storage's URL; the first backup makes the container".to_owned()]
            }
            Self::UnknownName { empty: true, .. } => {
                vec!["check the storage's URL: it holds no backup at all".to_owned()]
            }
            Self::UnknownName {
                nearest: Some(nearest),
                ..
            } => {
                vec![
                    format!("did you mean {nearest}?"),
                    "freezer list shows all names".to_owned(),
                ]
            }
            Self::UnknownName { .. } => vec!["freezer list shows all names".to_owned()],
            Self::Select { reason, .. } => select_next(reason),
            Self::Damaged { .. } => vec![
                "freezer check names everything that is damaged and the backups it hits".to_owned(),
                "restore an earlier date with --at, or copy the object back from another copy".to_owned(),
            ],
            Self::Newer { .. } => vec![WITH_A_NEWER.to_owned()],
            Self::Unauthenticated { .. } => vec![
                "if it was written without a password or by the original, and you trust the storage: --compat"
                    .to_owned(),
            ],
            Self::NoPassphrase { .. } => vec!["give the password with --encrypt-pass-file FILE".to_owned()],
            Self::Key {
                source: KeyError::Malformed(_),
                ..
            } => {
                vec!["freezer check names everything that is damaged and the backups it hits".to_owned()]
            }
            Self::Key { .. } => vec!["check the pass file: its first line is the password".to_owned()],
            Self::Unsupported { next, .. } => vec![next.clone()],
            Self::Taken { .. } => vec!["wait for the other run, then try again".to_owned()],
            Self::CommitUnknown { .. } => vec!["freezer list shows whether it is there".to_owned()],
            Self::Object { source, .. } => vec![advice::of_object(source)],
            Self::Restore { source, .. } => vec![advice::of_restore(source)],
            Self::Backup { source, .. } => vec![advice::of_backup(source)],
            Self::SinkCommand { .. } => vec![
                "mend the command, or write the stream to a file with -o: it is whole in the storage"
                    .to_owned(),
            ],
            Self::Store(error) => vec![advice::of_store(error)],
            Self::TargetNotEmpty { .. } => vec![advice::NOT_EMPTY.to_owned()],
            Self::Target { source, .. } => vec![advice::of_target(source)],
            Self::Plugin(_) => {
                vec!["freezer plugin list shows the plugins and what is wrong with them".to_owned()]
            }
            Self::Interrupted => vec!["run it again".to_owned()],
        }
    }

    /// The storage's failure that ended it, if one did: its text is both the message's and the cause's.
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error)
            | Self::CommitUnknown { source: error, .. }
            | Self::Backup {
                source: BackupError::Store(error),
                ..
            }
            | Self::Object {
                source: ObjectError::Store(error),
                ..
            }
            | Self::Restore {
                source:
                    RestoreError::Object {
                        source: ObjectError::Store(error),
                        ..
                    },
                ..
            } => Some(error),
            _ => None,
        }
    }

    /// Tells whether one thing can't be looked into, and others still may.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Newer { .. }) || self.store_error().is_some_and(is_refusal)
    }

    /// The storage error that caused it, if one did.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            error if is_interruption(error) => ErrorKind::Cancelled,
            Self::Store(error)
            | Self::CommitUnknown { source: error, .. }
            | Self::Backup {
                source: BackupError::Store(error),
                ..
            } => error.kind,
            Self::Plugin(error) => error.kind(),
            Self::Damaged { .. } | Self::Unauthenticated { .. } => ErrorKind::Corrupt,
            Self::UnknownName { .. } | Self::NoContainer { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        }
    }
}

impl From<Cancelled> for AgentError {
    fn from(_: Cancelled) -> Self {
        Self::Interrupted
    }
}

/// Tells whether an error comes from nothing but the user's wish to stop, wherever the run was at that moment.
fn is_interruption(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if is_cancellation(error) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The same for one link of the chain. Transparent errors hide what they hold from it, so they are opened here.
fn is_cancellation(error: &(dyn Error + 'static)) -> bool {
    let cancelled = |error: &StoreError| error.kind == ErrorKind::Cancelled;
    if let Some(error) = error.downcast_ref::<AgentError>() {
        return match error {
            AgentError::Interrupted => true,
            AgentError::Store(error) => cancelled(error),
            AgentError::Plugin(error) => error.kind() == ErrorKind::Cancelled,
            _ => false,
        };
    }
    match error.downcast_ref::<BackupError>() {
        Some(BackupError::Cancelled(_)) => return true,
        Some(BackupError::Store(error)) => return cancelled(error),
        _ => {}
    }
    if let Some(RestoreError::Cancelled(_)) = error.downcast_ref() {
        return true;
    }
    if let Some(ObjectError::Store(error)) = error.downcast_ref() {
        return cancelled(error);
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        let inner = error.get_ref();
        return inner.is_some_and(|inner| inner.downcast_ref::<StoreError>().is_some_and(cancelled));
    }
    error.downcast_ref::<StoreError>().is_some_and(cancelled)
}

fn store_class(error: &StoreError) -> ExitClass {
    match error.kind {
        ErrorKind::Corrupt => ExitClass::Damaged,
        _ => ExitClass::Failed,
    }
}

fn restore_class(error: &RestoreError) -> ExitClass {
    match error {
        RestoreError::NothingMatched { .. } | RestoreError::NotFound { .. } => ExitClass::NothingFound,
        RestoreError::MissingLevel { .. } => ExitClass::Damaged,
        error if error.is_damage() => ExitClass::Damaged,
        _ => ExitClass::Failed,
    }
}

/// The reason in words, times as dates.
fn in_dates(reason: &SelectError) -> String {
    match reason {
        SelectError::Empty => "there is none".to_owned(),
        SelectError::NoneBefore { at, oldest } => format!(
            "there is none of {} or before, the oldest is of {}",
            date(*at),
            date(*oldest)
        ),
        SelectError::MissingLevel { zero, level, wanted } => format!(
            "level {level} of the chain begun at {} is missing, so level {} of {} can't be restored",
            date(*zero),
            wanted.level,
            date(wanted.time)
        ),
    }
}

fn select_next(error: &SelectError) -> Vec<String> {
    match error {
        SelectError::Empty => vec!["freezer list shows what is there".to_owned()],
        SelectError::NoneBefore { .. } => vec![
            "take a later date with --at, or leave it out for the newest".to_owned(),
            "freezer list shows what is there".to_owned(),
        ],
        SelectError::MissingLevel { level, wanted, .. } => vec![format!(
            "copy level {level} back into the storage, or restore a state before {} with --at",
            date(wanted.time)
        )],
    }
}
