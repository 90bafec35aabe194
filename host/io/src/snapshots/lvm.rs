//! Snapshots of logical volumes, thick and thin: found by the device number of the path's file system, mounted in a
//! private directory, removed once nobody uses them.
//!
//! A thick snapshot that overflows becomes invalid, and LVM's event daemon unmounts it at once: whoever reads by path
//! then sees an empty directory and no error. [`View::verify`] notices, before anything of the backup counts.

mod tool;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mounts::{self, Place};
use super::options::{Options, Permission, Size};
use crate::error::{Error, ErrorKind};
use tool::{Volume, run, volumes};

/// How often a volume in use is tried to be removed, as the original does, and how far apart.
const REMOVE_TRIES: u32 = 5;
const REMOVE_PAUSE: Duration = Duration::from_secs(1);
/// What the names of snapshots begin with, as the original's do.
const NAME_PREFIX: &str = "freezer_backup_snap_";
/// What their tags begin with.
const TAG_PREFIX: &str = "freezer_";

/// What is made, and all that it takes to remove it: written down before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    group: String,
    origin: String,
    name: String,
    /// Tells it from a volume of the same name that somebody else made.
    tag: String,
    directory: PathBuf,
    /// Whether the directory goes, too.
    removes_directory: bool,
}

/// A mounted snapshot, and how to see that it is still the same.
pub(super) struct View {
    /// The frozen view of the asked path.
    pub(super) path: PathBuf,
    /// Numbers of the mount and the device.
    mounted: (u64, u64),
}

/// Whether a device is a logical volume, which the kernel tells without any tool.
pub(super) fn is_volume((major, minor): (u32, u32)) -> bool {
    std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/dm/uuid"))
        .is_ok_and(|uuid| uuid.starts_with("LVM-"))
}

/// The volume that a path lies on, and whether it is what the user takes it for.
pub(super) fn find(place: &Place, options: &Options) -> Result<Volume, Error> {
    let (path, source) = (place.path.display(), place.mount.source.display());
    let refused = |why: String| Err(Error::new(ErrorKind::Unsupported, why));
    if place.mount.kind == "btrfs" {
        return refused(format!(
            "{path} is on btrfs, of which two copies must never be mounted at once: let --snapshot be auto or btrfs"
        ));
    }
    let volume = volumes(None)?
        .into_iter()
        .find(|volume| volume.device() == Some(place.mount.device));
    let Some(volume) = volume else {
        return refused(format!(
            "{path} is on {source}, which is no logical volume of LVM"
        ));
    };
    if let Some(asked) = &options.group
        && *asked != volume.group
    {
        return Err(mismatch(&path, &volume, &format!("--lvm-volgroup {asked}")));
    }
    if let Some(asked) = &options.volume
        && !is_named(&volume, asked)
    {
        return Err(mismatch(&path, &volume, &format!("--lvm-srcvol {asked}")));
    }
    if volume.is_thick_snapshot() {
        return refused(format!(
            "{path} is on {source}, a snapshot itself, of which LVM makes no snapshots"
        ));
    }
    Ok(volume)
}

fn mismatch(path: &dyn std::fmt::Display, volume: &Volume, asked: &str) -> Error {
    let (group, name) = (&volume.group, &volume.name);
    let message = format!("{path} is on {group}/{name}, not on {asked}: leave that option out, it is found");
    Error::new(ErrorKind::Invalid, message)
}

/// Whether a user's name means this volume: `/dev/GROUP/VOLUME`, `GROUP/VOLUME`, `VOLUME`, or any link to its device.
fn is_named(volume: &Volume, asked: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Volume { group, name, .. } = volume;
    let plain = asked.strip_prefix("/dev/").unwrap_or(asked);
    if plain == format!("{group}/{name}") || plain == name {
        return true;
    }
    let device = volume
        .device()
        .map(|(major, minor)| rustix::fs::makedev(major, minor));
    std::fs::metadata(asked).is_ok_and(|facts| Some(facts.rdev()) == device)
}

impl Made {
    /// Says what will be made; nothing is made yet.
    pub(super) fn plan(volume: &Volume, options: &Options, (home, token): (&Path, &str)) -> Self {
        let own = || home.join(format!("mount_{token}"));
        let directory = options.directory.clone().unwrap_or_else(own);
        Self {
            group: volume.group.clone(),
            origin: volume.name.clone(),
            name: options
                .name
                .clone()
                .unwrap_or_else(|| format!("{NAME_PREFIX}{token}")),
            tag: format!("{TAG_PREFIX}{token}"),
            removes_directory: !directory.exists(),
            directory,
        }
    }

    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        format!("lvm {}/{}", self.group, self.name)
    }

    /// Makes it and mounts it. What is there after an error, [`Made::release`] takes away.
    pub(super) fn make(&self, place: &Place, volume: &Volume, options: &Options) -> Result<View, Error> {
        mounts::make_directory(&self.directory)?;
        let permission = match options.permission {
            Permission::ReadOnly => "r",
            Permission::ReadWrite => "rw",
        };
        let origin = format!("{}/{}", self.group, self.origin);
        let mut arguments = vec!["lvcreate", "--snapshot", "--yes", "--permission", permission];
        arguments.extend(["--name", &self.name, "--addtag", &self.tag]);
        match (&options.size, volume.is_thin()) {
            // It shares the pool's room; a mark that it is not to be activated is overruled.
            (_, true) => arguments.push("--ignoreactivationskip"),
            (Size::Bytes(size), false) => arguments.extend(["--size", size]),
            (Size::Extents(share), false) => arguments.extend(["--extents", share]),
        }
        arguments.push(&origin);
        run(&arguments).map_err(|error| {
            let what = format!("can't make a snapshot of {origin}: {}", error.message);
            Error::new(error.kind, what)
        })?;
        let volume = self.find()?.ok_or_else(|| self.lost())?;
        let is_read_only = options.permission == Permission::ReadOnly;
        let kind = place.mount.kind.as_str();
        let data = mount_options(kind, is_read_only);
        mounts::mount_device(
            Path::new(&volume.path),
            &self.directory,
            (kind, is_read_only),
            data,
        )?;
        let mounted = mounts::mount_of(&self.directory);
        let mounted = mounted.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        let view = View {
            path: mounts::joined(&self.directory, &place.within()),
            mounted,
        };
        match std::fs::symlink_metadata(&view.path) {
            Ok(_) => Ok(view),
            Err(error) => Err(Error::new(
                ErrorKind::Other,
                format!("can't find {} in its snapshot: {error}", place.path.display()),
            )),
        }
    }

    /// The snapshot as LVM knows it now, if it is there and this one.
    fn find(&self) -> Result<Option<Volume>, Error> {
        let all = volumes(Some(&self.group))?;
        let is_it = |volume: &Volume| volume.name == self.name && volume.has_tag(&self.tag);
        Ok(all.into_iter().find(is_it))
    }

    fn lost(&self) -> Error {
        let message = format!("{} is gone", self.description());
        Error::new(ErrorKind::Corrupt, message)
    }

    /// Whether all that was read is the content of the moment at which it was made.
    pub(super) fn verify(&self, view: &View) -> Result<(), Error> {
        let volume = self.find()?.ok_or_else(|| self.lost())?;
        if let Some(fault) = volume.fault() {
            let (group, origin) = (&self.group, &self.origin);
            let message = format!(
                "{} {fault}: more was written to {group}/{origin} than it has room for; give it more with --lvm-snapsize",
                self.description()
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        mounts::check_still_mounted(&self.directory, view.mounted, &self.description())
    }

    /// Takes away what is there of it; nothing there is a success.
    pub(super) fn release(&self) -> Result<(), Error> {
        let volume = self.find()?;
        if let Some(device) = volume.as_ref().and_then(Volume::device) {
            mounts::unmount(&self.directory, |mount| mount.device == device)?;
        }
        if self.removes_directory {
            mounts::remove_directory(&self.directory)?;
        }
        if volume.is_none() {
            return Ok(());
        }
        let name = format!("{}/{}", self.group, self.name);
        for tried in 1.. {
            let Err(error) = run(&["lvremove", "--force", "--yes", &name]) else {
                return Ok(());
            };
            if self.find()?.is_none() {
                return Ok(());
            }
            if tried == REMOVE_TRIES {
                return Err(error);
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
        Ok(())
    }
}

/// The kernel's options for the view of a file system, in the order in which they are tried.
fn mount_options(kind: &str, is_read_only: bool) -> &'static [&'static str] {
    match (kind, is_read_only) {
        // It refuses a second file system of one UUID, and can't replay a log on a device that is read-only; the log is
        // empty, since LVM freezes the file system while it makes the snapshot.
        ("xfs", true) => &["nouuid,norecovery"],
        ("xfs", false) => &["nouuid"],
        // As with xfs; where the origin is mounted without a freeze of its own, the journal isn't empty.
        ("ext3" | "ext4", true) => &["", "noload"],
        _ => &[""],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_written_down_and_read_again() {
        let made = Made {
            group: "vg-0".into(),
            origin: "data".into(),
            name: "snap".into(),
            tag: "freezer_00".into(),
            directory: "/var/lib/freezer/mount_00".into(),
            removes_directory: true,
        };
        let text = serde_json::to_string(&made).unwrap();
        assert_eq!(serde_json::from_str::<Made>(&text).unwrap(), made);
        assert_eq!(made.description(), "lvm vg-0/snap");
    }

    #[test]
    fn each_file_system_is_mounted_in_its_way() {
        assert_eq!(mount_options("xfs", true), ["nouuid,norecovery"]);
        assert_eq!(mount_options("xfs", false), ["nouuid"]);
        assert_eq!(mount_options("ext4", true), ["", "noload"]);
        assert_eq!(mount_options("ext4", false), [""]);
    }

    #[test]
    fn only_a_device_mapper_volume_of_lvm_is_one() {
        assert!(!is_volume((0, 0)));
        assert!(!is_volume((u32::MAX, u32::MAX)));
    }
}
