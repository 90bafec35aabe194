//! Where neither LVM nor btrfs is: the file system itself, frozen while it is read. Whoever writes to it waits.
//!
//! The kernel flushes what is in memory first, so the view is consistent, as long as it is frozen: a limit of time keeps
//! writers from waiting for ever, and a backup that takes longer fails. A child of ours thaws it if this process is
//! killed. The kernel can't be asked whether a file system is frozen; only thawing it tells.
#![expect(
    unsafe_code,
    reason = "freezing and thawing are ioctls, which rustix has no functions for"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};
use serde::{Deserialize, Serialize};

use super::mounts::{self, Place};
use crate::error::{Error, ErrorKind};

/// `FIFREEZE` and `FITHAW` of linux/fs.h.
const FREEZE: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'X', 119);
const THAW: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'X', 120);
/// Where distributions keep the program with which the child thaws.
const PROGRAMS: [&str; 3] = ["/usr/sbin/fsfreeze", "/sbin/fsfreeze", "/usr/bin/fsfreeze"];
/// Thaws when its input ends without a line, which is what happens when this process is killed.
const WATCH: &str = "read -r line || exec \"$1\" --unfreeze \"$2\"";

/// What is frozen: written down before it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    point: PathBuf,
    device: (u32, u32),
}

/// A frozen file system and those who thaw it.
pub(super) struct Frozen {
    made: Made,
    state: Arc<Mutex<State>>,
    /// Dropped to tell the thread that it is no longer needed.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    watch: Option<(Child, ChildStdin)>,
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Frozen,
    /// We thawed it, after all was read.
    Thawed,
    /// The limit of time passed.
    Expired,
    /// Somebody else thawed it.
    Foreign,
}

impl Made {
    pub(super) fn of(point: &Path, device: (u32, u32)) -> Self {
        Self {
            point: point.to_owned(),
            device,
        }
    }

    /// Says what will be frozen, unless freezing it would stop this process as well.
    pub(super) fn plan(place: &Place, home: &Path) -> Result<Self, Error> {
        let point = &place.mount.point;
        let device = place.mount.device;
        let holds = |path: &Path| Place::of(path).is_ok_and(|other| other.mount.device == device);
        let needed = [Path::new("/"), Path::new("/tmp"), Path::new("/run"), home];
        match needed.into_iter().find(|path| holds(path)) {
            None => Ok(Self::of(point, device)),
            Some(needed) => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the file system of {} can't be frozen: {} is on it, and freezer itself would wait for ever",
                    place.path.display(),
                    needed.display()
                ),
            )),
        }
    }

    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        format!("freeze of {}", self.point.display())
    }

    /// Freezes it for at most `limit`.
    pub(super) fn make(&self, limit: Duration) -> Result<Frozen, Error> {
        let watch = watch(&self.point)?;
        let mut frozen = Frozen {
            made: self.clone(),
            state: Arc::new(Mutex::new(State::Thawed)),
            stop: None,
            thread: None,
            watch: Some(watch),
            limit,
        };
        set(&self.point, FREEZE).map_err(|errno| match errno {
            Errno::BUSY => Error::new(
                ErrorKind::Busy,
                format!("{} is frozen already, by somebody else", self.point.display()),
            ),
            Errno::OPNOTSUPP | Errno::NOTTY => Error::new(
                ErrorKind::Unsupported,
                format!("the file system on {} can't be frozen", self.point.display()),
            ),
            errno => Error::system(&format!("freeze {}", self.point.display()), errno),
        })?;
        frozen.set(State::Frozen);
        let (stop, stopped) = sync_channel(0);
        let (state, point) = (Arc::clone(&frozen.state), self.point.clone());
        let thread = std::thread::Builder::new()
            .name("thaw".to_owned())
            .spawn(move || {
                if stopped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    thaw(&point, &state, State::Expired);
                }
            });
        match thread {
            Ok(thread) => {
                (frozen.stop, frozen.thread) = (Some(stop), Some(thread));
                Ok(frozen)
            }
            Err(error) => {
                let message = format!("can't start a thread that thaws: {error}");
                Err(Error::new(ErrorKind::Other, message))
            }
        }
    }

    /// Thaws what a killed run left frozen; not frozen is a success.
    pub(super) fn release(&self) -> Result<(), Error> {
        let is_it = |mount: &mounts::Mount| mount.point == self.point && mount.device == self.device;
        if !mounts::table()?.iter().any(is_it) {
            return Ok(());
        }
        match set(&self.point, THAW) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Error::system(&format!("thaw {}", self.point.display()), errno)),
        }
    }
}

impl Frozen {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Thaws it and tells whether it was frozen until now. Everything must have been read.
    pub(super) fn verify(&self) -> Result<(), Error> {
        thaw(&self.made.point, &self.state, State::Thawed);
        let point = self.made.point.display();
        let corrupt = |message: String| Err(Error::new(ErrorKind::Corrupt, message));
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Thawed => Ok(()),
            State::Frozen => corrupt(format!("{point} can't be thawed")),
            State::Expired => corrupt(format!(
                "{point} was thawed after {} seconds, before everything was read: allow more with freeze-seconds",
                self.limit.as_secs()
            )),
            State::Foreign => corrupt(format!(
                "{point} was thawed by somebody else before everything was read"
            )),
        }
    }

    /// Thaws it, if it still is frozen.
    pub(super) fn release(&mut self) -> Result<(), Error> {
        thaw(&self.made.point, &self.state, State::Thawed);
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It only thaws; a panic there was reported by its hook.
            drop(thread.join());
        }
        if *self.state.lock().unwrap_or_else(PoisonError::into_inner) == State::Frozen {
            let message = format!("{} can't be thawed", self.made.point.display());
            return Err(Error::new(ErrorKind::Other, message));
        }
        if let Some((mut child, mut input)) = self.watch.take() {
            // A child that is gone needn't be told.
            drop(input.write_all(b"thawed\n"));
            drop(input);
            drop(child.wait());
        }
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::error!(%error, "a file system stays frozen");
        }
    }
}

/// Thaws once, and notes what that showed.
fn thaw(point: &Path, state: &Mutex<State>, done: State) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if *state != State::Frozen {
        return;
    }
    match set(point, THAW) {
        Ok(()) => *state = done,
        Err(Errno::INVAL) => *state = State::Foreign,
        Err(errno) => tracing::error!(point = %point.display(), %errno, "can't thaw"),
    }
}

/// Starts the child that thaws if this process is killed.
fn watch(point: &Path) -> Result<(Child, ChildStdin), Error> {
    let program = PROGRAMS.iter().find(|program| Path::new(program).exists());
    let program = program.ok_or_else(|| {
        let message = "fsfreeze isn't installed: install the package util-linux";
        Error::new(ErrorKind::Unsupported, message)
    })?;
    let failed = |why: String| {
        Error::new(
            ErrorKind::Other,
            format!("can't start the watch over a freeze: {why}"),
        )
    };
    let mut child = Command::new("/bin/sh")
        .args(["-c", WATCH, "sh", program])
        .arg(point)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    match child.stdin.take() {
        Some(input) => Ok((child, input)),
        None => Err(failed("it has no input".to_owned())),
    }
}

fn set(point: &Path, operation: rustix::ioctl::Opcode) -> Result<(), Errno> {
    let file = File::open(point).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    // SAFETY: both operations take an integer that the kernel ignores, and touch no memory of ours.
    match operation {
        FREEZE => unsafe { ioctl(&file, Setter::<FREEZE, i32>::new(0)) },
        _ => unsafe { ioctl(&file, Setter::<THAW, i32>::new(0)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_stands_on_is_never_frozen() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::of(temp.path()).unwrap();
        let refused = Made::plan(&place, temp.path()).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unsupported);
        assert!(refused.message.contains("wait for ever"), "{refused}");
    }

    #[test]
    fn what_is_mounted_no_more_needs_no_thawing() {
        Made::of(Path::new("/nowhere"), (1, 2)).release().unwrap();
    }
}
