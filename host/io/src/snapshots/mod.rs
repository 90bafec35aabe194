//! Frozen views of local volumes: by LVM, by btrfs, or by freezing the file system itself.
//!
//! Whatever is made is written down first (`record`), so that the next run releases what a killed one left. Each
//! technique says what it will make (`plan`), makes it, sees to it that what was read is the content of one moment
//! (`verify`), and takes it away (`release`), in this run or in another. Nothing here decides who may ask.

mod options;
mod mounts;
mod record;
mod lvm;
mod btrfs;
mod freeze;

use std::path::{Path, PathBuf};

pub use options::{Method, Options, Permission, Size};

use crate::error::{Error, ErrorKind};
use crate::stop::Stop;
use mounts::Place;
use record::{Entry, Made};

/// Where the kernel gives a new random name.
const NEW_NAME: &str = "/proc/sys/kernel/random/uuid";

/// A gitignore line for snapshots of btrfs, which lie in what they are snapshots of.
#[must_use]
pub fn exclude_pattern() -> String {
    format!("{}{}/", btrfs::NAME_PREFIX, "[0-9a-f]".repeat(32))
}

/// Whether a tree lies on a file system whose snapshots lie in it, too.
#[must_use]
pub fn may_hold_snapshots(root: &Path) -> bool {
    rustix::fs::statfs(root).is_ok_and(|facts| facts.f_type as u64 & 0xffff_ffff == btrfs::MAGIC)
}

/// Makes snapshots, and releases those of killed runs.
#[derive(Debug, Clone)]
pub struct Snapshots {
    home: PathBuf,
}

/// A frozen view. Must be given back by [`Snapshot::release`]; dropping it leaves it to the next run.
pub struct Snapshot {
    made: Made,
    view: View,
    entry: Entry,
    is_released: bool,
}

enum View {
    Lvm(lvm::View),
    Btrfs(btrfs::View),
    Freeze(PathBuf, freeze::Frozen),
}

/// What became of a snapshot of a killed run.
#[derive(Debug)]
pub struct Released {
    /// What it was, for people.
    pub description: String,
    /// Whether it is gone; a failure is tried again by the next run.
    pub result: Result<(), Error>,
}

impl Snapshots {
    /// Makes snapshots whose records and mounts are kept in `home`, a directory of this user alone.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        Self { home }
    }

    /// Freezes what holds `path`, which must be absolute. On an error nothing is left, or it is written down for the
    /// next run.
    ///
    /// # Errors
    /// `Denied` without the right to mount, `NotFound`, `Unsupported` if it can't be frozen, `Invalid` if options don't
    /// fit it, `Cancelled`, `Other` if there is no room.
    pub fn create(&self, path: &Path, options: &Options, stop: &Stop) -> Result<Snapshot, Error> {
        stop.check()?;
        if !rustix::process::geteuid().is_root() {
            let message = format!("a snapshot of {} needs root: run freezer as root", path.display());
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let place = Place::of(path)?;
        let token = new_name()?;
        record::make_home(&self.home).map_err(|error| {
            let message = format!(
                "can't use the directory of snapshots {}: {error}",
                self.home.display()
            );
            Error::new(ErrorKind::Other, message)
        })?;
        match method(&place, options.method)? {
            Method::Btrfs => {
                let made = btrfs::Made::plan(btrfs::find(&place)?, (&self.home, &token));
                self.make(&token, Made::Btrfs(made.clone()), || {
                    made.make(&place).map(View::Btrfs)
                })
            }
            Method::Freeze => {
                let made = freeze::Made::plan(&place, &self.home)?;
                let freeze = || made.make(options.freeze_limit);
                let view = |frozen| View::Freeze(place.path.clone(), frozen);
                self.make(&token, Made::Freeze(made.clone()), || freeze().map(view))
            }
            Method::Auto | Method::Lvm => {
                let volume = lvm::find(&place, options)?;
                let made = lvm::Made::plan(&volume, options, (&self.home, &token));
                let make = || made.make(&place, &volume, options).map(View::Lvm);
                self.make(&token, Made::Lvm(made.clone()), make)
            }
        }
    }

    /// Writes down what will be made, and makes it.
    fn make(
        &self,
        token: &str,
        made: Made,
        make: impl FnOnce() -> Result<View, Error>,
    ) -> Result<Snapshot, Error> {
        let entry = Entry::write(&self.home, token, &made)?;
        match make() {
            Ok(view) => Ok(Snapshot {
                made,
                view,
                entry,
                is_released: false,
            }),
            Err(error) => match made.release().and_then(|()| entry.settle()) {
                Ok(()) => Err(error),
                Err(left) => Err(Error::new(
                    error.kind,
                    format!("{error}; {} is left for the next run: {left}", made.description()),
                )),
            },
        }
    }

    /// Releases what killed runs left, the last made first.
    #[must_use]
    pub fn release_dead(&self) -> Vec<Released> {
        let release = |(entry, made): (Entry, Made)| {
            let result = made.release().and_then(|()| entry.settle());
            let result = result.map_err(|error| {
                let advice = format!(
                    "{error}; if it is gone for good, remove {}",
                    entry.path().display()
                );
                Error::new(error.kind, advice)
            });
            Released {
                description: made.description(),
                result,
            }
        };
        record::dead(&self.home).into_iter().map(release).collect()
    }
}

impl Snapshot {
    /// The absolute path at which the frozen view of the asked path can be read.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.view {
            View::Lvm(view) => &view.path,
            View::Btrfs(view) => &view.path,
            View::Freeze(path, _) => path,
        }
    }

    /// What was made, for people.
    #[must_use]
    pub fn description(&self) -> String {
        self.made.description()
    }

    /// What a user should know of it, one line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match &self.view {
            View::Btrfs(view) => &view.notes,
            View::Lvm(_) | View::Freeze(..) => &[],
        }
    }

    /// Whether all that was read of it until now is the content of the moment at which it was made. A frozen file system
    /// is thawed by that, so nothing may be read afterwards.
    ///
    /// # Errors
    /// `Corrupt`: what was read can't be trusted. Others: it can't be found out.
    pub fn verify(&self) -> Result<(), Error> {
        match (&self.made, &self.view) {
            (Made::Lvm(made), View::Lvm(view)) => made.verify(view),
            (Made::Btrfs(made), View::Btrfs(view)) => made.verify(view),
            (_, View::Freeze(_, frozen)) => frozen.verify(),
            (made, _) => Err(Error::new(
                ErrorKind::Other,
                format!("{} has no view", made.description()),
            )),
        }
    }

    /// Takes it away and waits until it is gone; again is a success.
    ///
    /// # Errors
    /// Why it is still there. It may be tried again, and the next run tries it again.
    pub fn release(&mut self) -> Result<(), Error> {
        if self.is_released {
            return Ok(());
        }
        match &mut self.view {
            View::Freeze(_, frozen) => frozen.release()?,
            View::Lvm(_) | View::Btrfs(_) => self.made.release()?,
        }
        self.entry.settle()?;
        self.is_released = true;
        Ok(())
    }
}

/// The technique that fits, or the one that was asked for.
fn method(place: &Place, asked: Method) -> Result<Method, Error> {
    if asked != Method::Auto {
        return Ok(asked);
    }
    if place.mount.kind == "btrfs" {
        return Ok(Method::Btrfs);
    }
    if lvm::is_volume(place.mount.device) {
        return Ok(Method::Lvm);
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "there is no way to make a snapshot of {}: it is on {} ({}), which is neither btrfs nor a logical volume of \
             LVM; leave the snapshot out and files are read while they may change, or let snapshot be freeze, which \
             makes everybody who writes there wait until the backup has read it",
            place.path.display(),
            place.mount.source.display(),
            place.mount.kind
        ),
    ))
}

/// 32 hexadecimal digits that nobody else has.
fn new_name() -> Result<String, Error> {
    let text = std::fs::read_to_string(NEW_NAME)
        .map_err(|error| Error::new(ErrorKind::Other, format!("can't read {NEW_NAME}: {error}")))?;
    Ok(text.trim().replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_new_and_have_the_form_that_is_left_out() {
        let (one, other) = (new_name().unwrap(), new_name().unwrap());
        assert_ne!(one, other);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(exclude_pattern().matches("[0-9a-f]").count(), 32);
    }

    #[test]
    fn where_nothing_can_be_frozen_the_message_says_what_else_can_be_done() {
        let temp = tempfile::tempdir().unwrap();
        let mut place = Place::of(temp.path()).unwrap();
        (place.mount.kind, place.mount.device) = ("ext4".to_owned(), (0, 0));
        let refused = method(&place, Method::Auto).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unsupported);
        assert!(
            refused.message.contains("freeze") && refused.message.contains("leave"),
            "{refused}"
        );
        place.mount.kind = "btrfs".to_owned();
        assert_eq!(method(&place, Method::Auto).unwrap(), Method::Btrfs);
        assert_eq!(method(&place, Method::Freeze).unwrap(), Method::Freeze);
    }

    #[test]
    fn a_machine_without_records_has_nothing_to_release() {
        let temp = tempfile::tempdir().unwrap();
        assert!(
            Snapshots::new(temp.path().join("absent"))
                .release_dead()
                .is_empty()
        );
    }
}
