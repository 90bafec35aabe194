//! What to do when the machine, the storage or what was asked for stands in the way.
//!
//! Advice goes by the kind of the failure, never by its words. Where only the storage knows what is wrong, the
//! advice says so and points to its own answer, which stands above it.

use std::io;
use std::path::Path;

use freezer_pipeline::BackupError;
use freezer_pipeline::object::ObjectError;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::{Cause, ErrorKind, StoreError};

/// How to find out what is damaged.
const CHECK: &str = "freezer check --read-data names everything that is damaged and the backups it hits";
/// For paths that a backup doesn't hold.
const SHOW_PATHS: &str = "freezer ls -R shows the paths of the backup; they begin below its root";
/// For temporary files.
const TEMPORARY: &str = "make room where temporary files lie, or name another directory with TMPDIR";

/// The next step after a backup failed.
pub(crate) fn of_backup(error: &BackupError) -> String {
    match error {
        BackupError::Cancelled(_) => "run it again: nothing of this run counts".to_owned(),
        BackupError::Source { path, source, .. } => of_source(path, source),
        BackupError::Stream { .. } => {
            "mend what feeds the stream, then run it again: nothing of it was kept".to_owned()
        }
        BackupError::EmptyStream { .. } => {
            "look at what should have fed it; give --allow-empty if nothing is right".to_owned()
        }
        BackupError::Store(error) => of_store(error),
        BackupError::ParentIndex(_) | BackupError::ParentSnar(_) => {
            "begin a new chain with --full; freezer check names what is damaged".to_owned()
        }
        BackupError::TooManySegments { .. } => "raise --max-segment-size".to_owned(),
        BackupError::Compress { .. } => "choose another --compression, or another level of it".to_owned(),
        BackupError::Index(_) => "leave the entry that it names out with --exclude, and report it".to_owned(),
        BackupError::Spool(_) => TEMPORARY.to_owned(),
    }
}

fn of_source(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("check the path: {} must be there", path.display()),
        io::ErrorKind::PermissionDenied => "run it as a user who may read it, such as root".to_owned(),
        _ => format!("check that {} can be read, then run it again", path.display()),
    }
}

/// The next step where it is known what exactly stood in the way.
pub fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Login => {
            "check user name, password, key or token, and that they are of this service; freezer plugin inspect NAME shows where \
             they are taken from"
        }
        Cause::UnknownMachine => {
            "compare the fingerprint with the machine's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then add \
             the line"
        }
        Cause::ChangedMachine => {
            "send nothing there before you know why its key changed; if it was set up anew, replace the old line"
        }
        Cause::NoSuchHost => {
            "check the host's name in the URL or settings, and that this machine can look names up"
        }
        Cause::NoConnection => "check host and port, that the service runs there, and firewalls on the way",
        Cause::Limit => {
            "raise that limit in [limits.NAME] of the configuration file, if you trust the plugin; freezer plugin inspect NAME \
             shows them"
        }
        Cause::Certificate => {
            "check the host's name and this machine's clock, and name the authority's certificates in the storage's settings; \
             freezer plugin inspect NAME shows which"
        }
    }
}

/// The next step after a storage failed.
pub(crate) fn of_store(error: &StoreError) -> String {
    if let Some(cause) = error.cause {
        return of_cause(cause).to_owned();
    }
    match error.kind {
        ErrorKind::NotFound => "check the storage's URL, and that it is mounted or reachable",
        ErrorKind::AlreadyExists => "wait for other runs of this backup, then run it again",
        ErrorKind::Denied => "let this user read and write the storage, or name another one",
        ErrorKind::Invalid | ErrorKind::Unsupported => {
            "check the storage's URL and settings; freezer plugin inspect NAME shows what there is"
        }
        ErrorKind::Busy | ErrorKind::Unavailable => "wait until the storage answers, then run it again",
        ErrorKind::Corrupt => CHECK,
        ErrorKind::Cancelled => "run it again",
        ErrorKind::Other => "mend what the storage says (a full one needs room), then run it again",
    }
    .to_owned()
}

/// The next step after a stored object couldn't be opened.
pub(crate) fn of_object(error: &ObjectError) -> String {
    match error {
        ObjectError::Store(error) => of_store(error),
        ObjectError::Undecipherable { .. } => {
            "check the pass file: its first line is the password; or freezer check, if it is right".to_owned()
        }
        error if error.is_damage() => CHECK.to_owned(),
        _ => "run it again; if it fails again, freezer check looks at the storage".to_owned(),
    }
}

/// The next step after reading a backup back failed.
pub(crate) fn of_restore(error: &RestoreError) -> String {
    match error {
        RestoreError::Cancelled(_) => "run it again with --overwrite: what is there is replaced",
        RestoreError::NoLevels | RestoreError::MissingLevel { .. } | RestoreError::Damaged { .. } => CHECK,
        RestoreError::Index { .. } => CHECK,
        RestoreError::Object { source, .. } => return of_object(source),
        RestoreError::Target { source, .. } => return of_target(source),
        RestoreError::TargetNotEmpty { .. } => NOT_EMPTY,
        RestoreError::NotAStream { .. } => {
            "restore it into a directory with --target, or write one of its files out with freezer dump"
        }
        RestoreError::IsSymlink { .. } => {
            "dump the file that it points to, or take the link itself out with freezer restore --path"
        }
        RestoreError::NotAFile { kind, .. } => {
            return match *kind {
                "directory" => "freezer ls lists it, freezer restore --path takes it out with all below it",
                _ => "freezer ls shows what it is and where a link leads: dump the file that it points to",
            }
            .to_owned();
        }
        RestoreError::Unreadable { .. } => {
            "take it from an earlier backup with --at; freezer list shows them"
        }
        RestoreError::Output(_) => "check where the output goes: room, permissions",
        RestoreError::Spool(_) => TEMPORARY,
        // What was asked for isn't there, or is something else.
        _ => SHOW_PATHS,
    }
    .to_owned()
}

/// The next step for a restore directory that holds something.
pub(crate) const NOT_EMPTY: &str =
    "give --overwrite to restore over what is there, or another directory with --target";

/// The next step after the restore directory couldn't be used.
pub(crate) fn of_target(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "name a directory with --target; it is made if it isn't there"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory with --target that this user may write, or run it as root"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, then run it again with --overwrite; or name another place with --target"
        }
        _ => "name another directory with --target",
    }
    .to_owned()
}
