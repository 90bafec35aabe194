//! The mount table: on which mount a path lies, and the private mounts through which snapshots are read.
//!
//! A path is looked up by the number of its mount, not by comparing names: names are ambiguous where file systems are
//! mounted over each other. See proc_pid_mountinfo(5) for the table.

use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags};
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

use crate::error::{Error, ErrorKind};

/// Where the kernel shows it.
const TABLE: &str = "/proc/self/mountinfo";
/// A table of a hundred thousand mounts has some 20 MiB; no real one comes near.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// How often and how far apart an unmount is tried while somebody still looks into the directory.
const UNMOUNT_TRIES: u32 = 10;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(200);

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number.
    pub(super) id: u64,
    /// Major and minor number of the device.
    pub(super) device: (u32, u32),
    /// Which directory of the file system it shows.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// The kind of file system: "ext4".
    pub(super) kind: String,
    /// The device's name, for messages.
    pub(super) source: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ');
        let mut word = || words.next();
        let text = |word: &[u8]| std::str::from_utf8(word).ok().map(str::to_owned);
        let id = text(word()?)?.parse().ok()?;
        word()?;
        let device = text(word()?)?;
        let (major, minor) = device.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let (root, point) = (unescaped(word()?), unescaped(word()?));
        // Options and tags, of any number, end at a dash.
        while word()? != b"-" {}
        Some(Self {
            id,
            device,
            root,
            point,
            kind: text(word()?)?,
            source: unescaped(word()?),
        })
    }
}

/// Spaces and the like stand as `\040`.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// All mounts that this process sees, in the kernel's order.
pub(super) fn table() -> Result<Vec<Mount>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Other,
            format!("can't read the mount table {TABLE}: {error}"),
        )
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(TABLE).map_err(failed)?;
    file.take(MAX_TABLE_BYTES)
        .read_to_end(&mut text)
        .map_err(failed)?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(Mount::parse)
        .collect())
}

/// Where a path lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The path, its links resolved.
    pub(super) path: PathBuf,
    /// The mount that shows it.
    pub(super) mount: Mount,
}

impl Place {
    /// Looks a path up. A link to a directory is followed, as the archive does with its root; any other last part isn't.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
            Error::system(&format!("find {}", path.display()), errno)
        };
        let is_directory = std::fs::metadata(path).is_ok_and(|facts| facts.is_dir());
        let resolved = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !is_directory => {
                parent.canonicalize().map(|parent| parent.join(name))
            }
            _ => path.canonicalize(),
        };
        let resolved = resolved.map_err(failed)?;
        let id = mount_of(&resolved).map_err(failed)?.0;
        let mount = table()?.into_iter().find(|mount| mount.id == id);
        let mount = mount.filter(|mount| resolved.starts_with(&mount.point));
        let mount = mount.ok_or_else(|| {
            let message = format!("{} lies on no mount that this process sees", path.display());
            Error::new(ErrorKind::Unsupported, message)
        })?;
        Ok(Self {
            path: resolved,
            mount,
        })
    }

    /// The path within its file system, relative.
    pub(super) fn within(&self) -> PathBuf {
        let below = self.path.strip_prefix(&self.mount.point).unwrap_or(Path::new(""));
        let root = self.mount.root.strip_prefix("/").unwrap_or(&self.mount.root);
        joined(root, below)
    }
}

/// `base/below` without the slash that joining nothing would add.
pub(super) fn joined(base: &Path, below: &Path) -> PathBuf {
    match below.as_os_str().is_empty() {
        true => base.to_owned(),
        false => base.join(below),
    }
}

/// The numbers of the mount and the device that a path lies on.
pub(super) fn mount_of(path: &Path) -> std::io::Result<(u64, u64)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let facts = statx(CWD, path, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    Ok((
        facts.stx_mnt_id,
        makedev(facts.stx_dev_major, facts.stx_dev_minor),
    ))
}

/// Fails if what was `mounted` in `directory` isn't any more; `what` it was is for the message.
pub(super) fn check_still_mounted(directory: &Path, mounted: (u64, u64), what: &str) -> Result<(), Error> {
    match mount_of(directory) {
        Ok(now) if now == mounted => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{what} isn't mounted in {} any more: it was unmounted while it was read",
                directory.display()
            ),
        )),
    }
}

/// Makes a directory to mount in, or takes an empty one that nobody else can write.
pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    let failed = |why: String| {
        Error::new(
            ErrorKind::Other,
            format!("can't mount a snapshot in {}: {why}", path.display()),
        )
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed(error.to_string()))?;
    let facts = std::fs::symlink_metadata(path).map_err(|error| failed(error.to_string()))?;
    let is_ours = facts.uid() == rustix::process::geteuid().as_raw() && facts.mode() & 0o022 == 0;
    if !facts.is_dir() || !is_ours {
        return Err(failed(
            "it must be a directory of this user that nobody else can write".to_owned(),
        ));
    }
    let mut entries = std::fs::read_dir(path).map_err(|error| failed(error.to_string()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(failed("it isn't empty".to_owned())),
    }
}

/// Removes a directory that was made to mount in; absent is a success.
pub(super) fn remove_directory(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new(
            ErrorKind::Other,
            format!("can't remove the directory {}: {error}", path.display()),
        )),
        _ => Ok(()),
    }
}

/// Mounts a device. The kernel's own options come in `data`, the first that works counts.
pub(super) fn mount_device(
    device: &Path,
    directory: &Path,
    (kind, read_only): (&str, bool),
    data: &[&str],
) -> Result<(), Error> {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    flags.set(MsFlags::MS_RDONLY, read_only);
    let mut last = nix::errno::Errno::EINVAL;
    for options in data {
        match nix::mount::mount(Some(device), directory, Some(kind), flags, Some(*options)) {
            Ok(()) => return Ok(()),
            Err(errno) => last = errno,
        }
    }
    let what = format!("mount {} ({kind}) in {}", device.display(), directory.display());
    Err(system(&what, last))
}

/// Shows a directory at another place, read-only.
pub(super) fn mount_again(source: &Path, directory: &Path) -> Result<(), Error> {
    let what = format!("show {} in {}", source.display(), directory.display());
    let bind = MsFlags::MS_BIND;
    nix::mount::mount(Some(source), directory, None::<&str>, bind, None::<&str>)
        .map_err(|errno| system(&what, errno))?;
    // A bind mount takes its own flags only when it is mounted once more.
    let closed = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let closed = bind | MsFlags::MS_REMOUNT | closed;
    nix::mount::mount(None::<&str>, directory, None::<&str>, closed, None::<&str>)
        .map_err(|errno| system(&what, errno))
}

/// Takes away what is mounted in a directory, if `is_ours` says so. Whoever still looks into it is waited for, and then
/// keeps what it has open.
pub(super) fn unmount(directory: &Path, is_ours: impl Fn(&Mount) -> bool) -> Result<(), Error> {
    let is_there = |mounts: &[Mount]| {
        mounts
            .iter()
            .any(|mount| mount.point == directory && is_ours(mount))
    };
    for tried in 0..=UNMOUNT_TRIES {
        if !is_there(&table()?) {
            return Ok(());
        }
        let flags = match tried < UNMOUNT_TRIES {
            true => MntFlags::UMOUNT_NOFOLLOW,
            false => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
        };
        match nix::mount::umount2(directory, flags) {
            Err(nix::errno::Errno::EBUSY) => std::thread::sleep(UNMOUNT_PAUSE),
            Err(errno) => return Err(system(&format!("unmount {}", directory.display()), errno)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// An error of a system call.
pub(super) fn system(what: &str, errno: nix::errno::Errno) -> Error {
    Error::system(what, rustix::io::Errno::from_raw_os_error(errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_its_names_are() {
        let line =
            b"36 35 254:3 /a\\040b /mnt/x\\134y rw,noatime master:1 shared:2 - ext4 /dev/mapper/vg-lv rw";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.device), (36, (254, 3)));
        assert_eq!(
            (mount.root.to_str(), mount.point.to_str()),
            (Some("/a b"), Some("/mnt/x\\y"))
        );
        assert_eq!(
            (mount.kind.as_str(), mount.source.to_str()),
            ("ext4", Some("/dev/mapper/vg-lv"))
        );
        for line in [
            &b""[..],
            b"x",
            b"36 35 254:3 / /mnt rw",
            b"36 35 254 / / rw - ext4 x rw",
        ] {
            assert_eq!(Mount::parse(line), None);
        }
        assert_eq!(unescaped(b"a\\04").to_str(), Some("a\\04"));
    }

    #[test]
    fn a_path_is_found_on_its_mount_with_its_links_resolved() {
        let temp = tempfile::tempdir().unwrap();
        let (real, link) = (temp.path().join("real"), temp.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let place = Place::of(&link).unwrap();
        assert_eq!(place.path, real.canonicalize().unwrap());
        assert_eq!(place.mount.id, mount_of(&real).unwrap().0);
        assert!(place.path.starts_with(&place.mount.point));
        let dangling = temp.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert_eq!(
            Place::of(&dangling).unwrap().path.file_name(),
            dangling.file_name()
        );
        assert_eq!(
            Place::of(&temp.path().join("absent")).unwrap_err().kind,
            ErrorKind::NotFound
        );
    }

    #[test]
    fn only_an_own_empty_directory_is_mounted_in() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let new = temp.path().join("a/b");
        make_directory(&new).unwrap();
        assert_eq!(std::fs::metadata(&new).unwrap().mode() & 0o777, 0o700);
        make_directory(&new).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(make_directory(&new).is_err());
        assert!(make_directory(temp.path()).unwrap_err().message.contains("empty"));
        remove_directory(&new).unwrap();
        remove_directory(&new).unwrap();
        assert!(remove_directory(temp.path()).is_err());
    }
}
