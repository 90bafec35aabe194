//! What a stream is written to: a new file, which has no name before it is whole, or a pipe, whose reader may never come.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use freezer_agent::await_ready;
use freezer_pipeline::cancel::Cancel;
use rustix::event::PollFlags;
use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

/// How often a FIFO that nobody reads is tried again.
const PATIENCE: Duration = Duration::from_millis(100);

/// A file of this user alone that becomes visible when it is whole: of a killed run nothing is left.
pub(super) enum NewFile {
    Unnamed {
        file: File,
        link: PathBuf,
    },
    /// Where the file system has no files without names.
    Named(NamedTempFile),
}

impl NewFile {
    /// Makes one that will be named in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(folder);
        if let Ok(file) = unnamed {
            let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if link.symlink_metadata().is_ok() {
                return Ok(Self::Unnamed { file, link });
            }
        }
        named_in(folder).map(Self::Named)
    }

    /// Makes it durable and gives it its name; over what has that name only if `overwrite` says so.
    pub(super) fn finish(self, path: &Path, overwrite: bool) -> io::Result<()> {
        let named = match self {
            Self::Named(named) => {
                named.as_file().sync_all()?;
                named
            }
            Self::Unnamed { file, link } => {
                file.sync_all()?;
                let link_to = |path: &Path| linkat(CWD, &link, CWD, path, AtFlags::SYMLINK_FOLLOW);
                if !overwrite {
                    // Whoever made it meanwhile keeps it.
                    return Ok(link_to(path)?);
                }
                let folder = path.parent().unwrap_or(Path::new("."));
                Builder::new().prefix(".freezer-").make_in(folder, |place| {
                    link_to(place)?;
                    file.try_clone()
                })?
            }
        };
        let persisted = match overwrite {
            true => named.persist(path),
            false => named.persist_noclobber(path),
        };
        persisted.map(drop).map_err(|error| error.error)
    }
}

fn named_in(folder: &Path) -> io::Result<NamedTempFile> {
    NamedTempFile::with_prefix_in(".freezer-", folder)
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unnamed { file, .. } => file.write(bytes),
            Self::Named(named) => named.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A device, a FIFO or standard output, whose reader may let us wait: each wait ends when the run is to end.
pub(super) struct PatientFile<'c> {
    file: File,
    cancel: &'c Cancel,
}

impl<'c> PatientFile<'c> {
    /// Opens it. A FIFO is waited for until somebody reads it.
    pub(super) fn open(path: &Path, cancel: &'c Cancel) -> io::Result<Self> {
        loop {
            match open_at_once(path) {
                Ok(file) => return Ok(Self { file, cancel }),
                Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_fifo(path) => {
                    cancel.check().map_err(io::Error::other)?;
                    std::thread::sleep(PATIENCE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Standard output, if it is a pipe. An opening of our own: others who write to the same one aren't made to return early.
    pub(super) fn standard_output(cancel: &'c Cancel) -> Option<Self> {
        let path = Path::new("/proc/self/fd/1");
        let file = is_fifo(path).then(|| open_at_once(path))?.ok()?;
        Some(Self { file, cancel })
    }
}

fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo())
}

impl Write for PatientFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    await_ready(self.file.as_fd(), PollFlags::OUT, self.cancel)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
