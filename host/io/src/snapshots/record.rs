//! The journal of snapshots: one file for each, written before anything is made, removed when all of it is gone.
//!
//! The file is locked as long as its run lives. One whose lock is free belongs to a run that was killed; what it names
//! is released by whatever run comes next. A file that isn't whole was never acted upon.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use super::{btrfs, freeze, lvm};
use crate::error::{Error, ErrorKind};

/// What the names of the files end in.
const EXTENSION: &str = "snapshot";
/// The longest record: some names and three paths.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// What was made, by technique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Made {
    Lvm(lvm::Made),
    Btrfs(btrfs::Made),
    Freeze(freeze::Made),
}

impl Made {
    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Lvm(made) => made.description(),
            Self::Btrfs(made) => made.description(),
            Self::Freeze(made) => made.description(),
        }
    }

    /// Takes away what is there of it; nothing there is a success.
    pub(super) fn release(&self) -> Result<(), Error> {
        match self {
            Self::Lvm(made) => made.release(),
            Self::Btrfs(made) => made.release(),
            Self::Freeze(made) => made.release(),
        }
    }
}

/// A record on disk, locked by us.
pub(super) struct Entry {
    path: PathBuf,
    /// Held for its lock alone.
    file: File,
}

impl Entry {
    /// Writes a record down; durable on return. `token` is nobody else's.
    pub(super) fn write(directory: &Path, token: &str, made: &Made) -> Result<Self, Error> {
        write(directory, token, made).map_err(|error| {
            let message = format!(
                "can't keep the journal of snapshots in {}: {error}",
                directory.display()
            );
            Error::new(ErrorKind::Other, message)
        })
    }

    /// Says that all of it is gone.
    pub(super) fn settle(&self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(|error| {
            let message = format!("can't remove {}: {error}", self.path.display());
            Error::new(ErrorKind::Other, message)
        })
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the directory of records: this user's alone.
pub(super) fn make_home(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match is_trusted(&std::fs::metadata(directory)?) {
        true => Ok(()),
        false => Err(io::Error::other(
            "it must belong to this user, and nobody else may write it",
        )),
    }
}

fn write(directory: &Path, token: &str, made: &Made) -> io::Result<Entry> {
    make_home(directory)?;
    let path = directory.join(format!("{token}.{EXTENSION}"));
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    let mut text = serde_json::to_vec(made)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()?;
    // Whoever looked for dead records just before the lock took the empty file for one and removed it.
    if rustix::fs::fstat(&file)?.st_nlink == 0 {
        return write(directory, &format!("{token}0"), made);
    }
    File::open(directory)?.sync_all()?;
    Ok(Entry { path, file })
}

/// The records of runs that are no more, the last made first. Files that others could have written are passed over.
pub(super) fn dead(directory: &Path) -> Vec<(Entry, Made)> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let records = paths.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    let mut found: Vec<_> = records.filter_map(|path| open_dead(&path)).collect();
    found.sort_by_key(|(entry, _)| {
        std::cmp::Reverse(entry.file.metadata().and_then(|facts| facts.modified()).ok())
    });
    found
}

/// `None` while its run lives, or where there is nothing to release.
fn open_dead(path: &Path) -> Option<(Entry, Made)> {
    let read = || -> io::Result<Option<(File, Vec<u8>)>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let parent = std::fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
        let facts = file.metadata()?;
        if !facts.is_file() || !is_trusted(&facts) || !is_trusted(&parent) {
            return Err(io::Error::other("others could have written it"));
        }
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let mut text = Vec::new();
        Read::take(&file, MAX_RECORD_BYTES).read_to_end(&mut text)?;
        Ok(Some((file, text)))
    };
    let (file, text) = match read() {
        Ok(read) => read?,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "can't read a record of a snapshot");
            return None;
        }
    };
    let entry = Entry {
        path: path.to_owned(),
        file,
    };
    let made = text
        .strip_suffix(b"\n")
        .and_then(|line| serde_json::from_slice(line).ok());
    match made {
        Some(made) => Some((entry, made)),
        None if text.ends_with(b"\n") => {
            tracing::warn!(path = %path.display(), "can't understand a record of a snapshot, perhaps of a later version");
            None
        }
        None => {
            if let Err(error) = entry.settle() {
                tracing::debug!(%error, "can't remove a record that was never acted upon");
            }
            None
        }
    }
}

fn is_trusted(facts: &std::fs::Metadata) -> bool {
    let is_ours = facts.uid() == 0 || facts.uid() == rustix::process::geteuid().as_raw();
    is_ours && facts.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(point: &str) -> Made {
        Made::Freeze(freeze::Made::of(Path::new(point), (7, 1)))
    }

    #[test]
    fn a_record_is_dead_once_its_run_is() {
        let temp = tempfile::tempdir().unwrap();
        let entry = Entry::write(temp.path(), "aa", &made("/srv")).unwrap();
        assert!(dead(temp.path()).is_empty(), "its run lives");
        let path = entry.path().to_owned();
        drop(entry);
        let found = dead(temp.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, made("/srv"));
        assert!(dead(temp.path()).is_empty(), "whoever found it has it");
        found[0].0.settle().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_whole_was_never_acted_upon() {
        let temp = tempfile::tempdir().unwrap();
        let torn = temp.path().join("aa.snapshot");
        std::fs::write(&torn, "{\"freeze\":{\"po").unwrap();
        let later = temp.path().join("bb.snapshot");
        std::fs::write(&later, "{\"zfs\":{}}\n").unwrap();
        assert!(dead(temp.path()).is_empty());
        assert!(!torn.exists());
        assert!(later.exists(), "what isn't understood stays");
    }

    #[test]
    fn a_record_that_others_could_plant_is_not_believed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let temp = tempfile::tempdir().unwrap();
        drop(Entry::write(temp.path(), "aa", &made("/srv")).unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(
            temp.path().join("aa.snapshot"),
            elsewhere.path().join("aa.snapshot"),
        )
        .unwrap();
        assert!(dead(elsewhere.path()).is_empty(), "a link");
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(dead(temp.path()).is_empty(), "a directory of everybody");
        assert!(Entry::write(temp.path(), "bb", &made("/srv")).is_err());
    }
}
