//! Snapshots of btrfs subvolumes: made read-only under a hidden name in the subvolume itself, read through a private
//! mount, deleted afterwards.
//!
//! The private mount keeps users who may rename things in the subvolume from putting something else in its place. A
//! snapshot holds no nested subvolumes, they are empty directories in it: each is told.

mod library;

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::mounts::{self, Place};
use crate::error::{Error, ErrorKind};
use library::BtrfsUtil;

/// What the names of snapshots begin with; 32 hexadecimal digits follow.
pub(super) const NAME_PREFIX: &str = ".freezer-snapshot-";
/// What `statfs` calls btrfs.
pub(super) const MAGIC: u64 = 0x9123_683e;
/// The root of every subvolume has this number, and nothing else in it (`BTRFS_FIRST_FREE_OBJECTID`).
const ROOT_INODE: u64 = 256;
/// Nested subvolumes that are named one by one.
const MAX_TOLD: usize = 20;

/// What is made, and all that it takes to remove it: written down before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    subvolume: PathBuf,
    name: String,
    directory: PathBuf,
}

/// A mounted snapshot, and how to see that it is still the same.
pub(super) struct View {
    /// The frozen view of the asked path.
    pub(super) path: PathBuf,
    /// What isn't in it.
    pub(super) notes: Vec<String>,
    mounted: (u64, u64),
}

/// The root of the subvolume that a path lies in.
pub(super) fn find(place: &Place) -> Result<PathBuf, Error> {
    let refused = |why: String| Err(Error::new(ErrorKind::Unsupported, why));
    let path = place.path.display();
    if place.mount.kind != "btrfs" {
        return refused(format!("{path} is on {}, not on btrfs", place.mount.kind));
    }
    let is_root = |above: &&Path| {
        std::fs::symlink_metadata(above).is_ok_and(|facts| facts.ino() == ROOT_INODE && facts.is_dir())
    };
    let mut shown = place
        .path
        .ancestors()
        .take_while(|above| above.starts_with(&place.mount.point));
    match shown.find(is_root) {
        Some(root) => Ok(root.to_owned()),
        None => refused(format!(
            "{path} is on a mount that shows only a part of its subvolume: name the path on a mount of all of it"
        )),
    }
}

impl Made {
    /// Says what will be made; nothing is made yet.
    pub(super) fn plan(subvolume: PathBuf, (home, token): (&Path, &str)) -> Self {
        Self {
            subvolume,
            name: format!("{NAME_PREFIX}{token}"),
            directory: home.join(format!("mount_{token}")),
        }
    }

    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        format!("btrfs {}", self.subvolume.join(&self.name).display())
    }

    /// Makes it and mounts it. What is there after an error, [`Made::release`] takes away.
    pub(super) fn make(&self, place: &Place) -> Result<View, Error> {
        let library = BtrfsUtil::load()?;
        mounts::make_directory(&self.directory)?;
        let subvolume = open(&self.subvolume)?;
        library
            .snapshot(&subvolume, &subvolume, &self.name)
            .map_err(|error| {
                let message = format!("{} of {}", error.message, self.subvolume.display());
                Error::new(error.kind, message)
            })?;
        // What is mounted is what was opened, whoever renames it in between.
        let snapshot = open(&self.subvolume.join(&self.name))?;
        let (own, other) = (library.id(&snapshot)?, library.id(&subvolume)?);
        if own == other || snapshot.metadata().map_or(0, |facts| facts.ino()) != ROOT_INODE {
            let message = format!("{} was replaced by something else", self.description());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&snapshot));
        mounts::mount_again(Path::new(&handle), &self.directory)?;
        let mounted = mounts::mount_of(&self.directory);
        let mounted = mounted.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        let below = place.path.strip_prefix(&self.subvolume).unwrap_or(Path::new(""));
        Ok(View {
            path: mounts::joined(&self.directory, below),
            notes: self.notes(&library, &subvolume, below),
            mounted,
        })
    }

    /// What lies below the asked path and isn't in the snapshot.
    fn notes(&self, library: &BtrfsUtil, subvolume: &File, below: &Path) -> Vec<String> {
        let nested = match library.nested(subvolume) {
            Ok(nested) => nested,
            Err(error) => {
                return vec![format!(
                    "nested subvolumes may be missing in the snapshot: {error}"
                )];
            }
        };
        let is_snapshot = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(NAME_PREFIX))
        };
        let missing: Vec<_> = nested
            .iter()
            .filter(|path| path.starts_with(below) && !is_snapshot(path))
            .collect();
        let tell = |path: &&PathBuf| {
            let path = self.subvolume.join(path);
            format!(
                "{} is a subvolume of its own and not in the snapshot: back it up by itself",
                path.display()
            )
        };
        let mut notes: Vec<_> = missing
            .iter()
            .take(MAX_TOLD)
            .copied()
            .map(|path| tell(&path))
            .collect();
        if missing.len() > MAX_TOLD {
            notes.push(format!(
                "{} more subvolumes are not in the snapshot",
                missing.len() - MAX_TOLD
            ));
        }
        notes
    }

    /// Whether all that was read is the content of the snapshot.
    pub(super) fn verify(&self, view: &View) -> Result<(), Error> {
        mounts::check_still_mounted(&self.directory, view.mounted, &self.description())
    }

    /// Takes away what is there of it; nothing there is a success.
    pub(super) fn release(&self) -> Result<(), Error> {
        // Nothing else is ever mounted in a directory whose name nobody else has.
        mounts::unmount(&self.directory, |_| true)?;
        mounts::remove_directory(&self.directory)?;
        let subvolume = match File::open(&self.subvolume) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            _ => open(&self.subvolume)?,
        };
        let snapshot = self.subvolume.join(&self.name);
        match std::fs::symlink_metadata(&snapshot) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            _ => BtrfsUtil::load()?.delete(&subvolume, &self.name),
        }
    }
}

/// Opens a directory, but no link to one.
fn open(path: &Path) -> Result<File, Error> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(flags.bits() as i32).open(path);
    opened.map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::system(&format!("open {}", path.display()), errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_file_systems_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let mut place = Place::of(temp.path()).unwrap();
        place.mount.kind = "ext4".to_owned();
        assert!(find(&place).unwrap_err().message.contains("not on btrfs"));
        place.mount.kind = "btrfs".to_owned();
        place.mount.point = temp.path().canonicalize().unwrap();
        assert!(find(&place).unwrap_err().message.contains("only a part"));
    }

    #[test]
    fn what_was_never_made_is_released_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let made = Made::plan(temp.path().join("gone"), (temp.path(), "00"));
        made.release().unwrap();
        let made = Made::plan(temp.path().to_owned(), (temp.path(), "00"));
        made.release().unwrap();
        assert_eq!(
            made.description(),
            format!("btrfs {}/.freezer-snapshot-00", temp.path().display())
        );
    }
}
