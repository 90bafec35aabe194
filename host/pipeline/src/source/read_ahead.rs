//! Asks the kernel to read files before the walk comes to them, so that a slow disk's waits overlap.
//!
//! Only while files turn out not to be in memory: otherwise opening each file twice would cost more than it gains.
//! A request that finds no room is dropped, for this is advice, never work that has to be done.

use std::ffi::{CStr, CString};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use rustix::fs::{Advice, Mode, OFlags, fadvise, openat};

/// Threads that open files and ask for them: enough to keep a disk's queue filled.
pub(crate) const READ_AHEAD_THREADS: usize = 2;

/// Requests that may wait, each a name and a share of a handle.
pub(crate) const READ_AHEAD_QUEUE: usize = 256;

/// Bytes of a file that are asked for; the kernel's own read-ahead serves what lies behind.
const BYTES: NonZeroU64 = NonZeroU64::new(1 << 20).expect("it isn't zero");

/// How many files are asked for after one that was not in memory.
const COLD_FILES: u32 = 1000;

/// A file that will be read soon.
pub(crate) struct Soon {
    directory: Arc<OwnedFd>,
    name: CString,
}

/// The walk's end.
pub(crate) struct ReadAhead {
    requests: Sender<Soon>,
    /// Files for which it is still worth asking.
    cold_files: u32,
}

impl ReadAhead {
    pub(crate) fn new(requests: Sender<Soon>) -> Self {
        Self {
            requests,
            cold_files: 0,
        }
    }

    /// Notes that a file was not in memory.
    pub(crate) fn note_cold(&mut self) {
        self.cold_files = COLD_FILES;
    }

    /// Opens a directory for requests; `None` if nothing is to be asked for.
    pub(crate) fn directory(&self, directory: BorrowedFd<'_>) -> Option<Arc<OwnedFd>> {
        if self.cold_files == 0 {
            None
        } else {
            directory.try_clone_to_owned().ok().map(Arc::new)
        }
    }

    /// Asks for a file.
    pub(crate) fn ask(&mut self, directory: &Arc<OwnedFd>, name: &CStr) {
        self.cold_files = self.cold_files.saturating_sub(1);
        let soon = Soon {
            directory: Arc::clone(directory),
            name: name.to_owned(),
        };
        // Full: the disk has enough to do.
        drop(self.requests.try_send(soon));
    }
}

/// Asks for files until the walk is over.
pub(crate) fn run_read_ahead(requests: &Receiver<Soon>) {
    for Soon { directory, name } in requests {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(directory.as_fd(), &name, flags | OFlags::NOATIME, Mode::empty());
        // Whatever fails here fails again for the walk, which says so.
        if let Ok(file) = opened
            && let Err(error) = fadvise(&file, 0, Some(BYTES), Advice::WillNeed)
        {
            tracing::debug!(%error, "can't read ahead");
        }
    }
}
