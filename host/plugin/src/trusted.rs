//! Opens files whose content decides what plugins may do: nobody but root and the user may have written them.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file that only root and this user can write or replace. Links aren't followed, and a pipe isn't
/// waited for.
///
/// # Errors
/// Those of opening; `InvalidData` with what to change if others could have written it.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // The flags' bits fit: they are those of the system call.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match options.custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(refused("it is a link: put the file itself there"));
        }
        opened => opened?,
    };
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(refused("it isn't a regular file"));
    }
    if !is_ours(&facts) {
        return Err(refused("it belongs to somebody else: it must be root's or yours"));
    }
    if is_open_to_others(&facts) {
        return Err(refused("others can write it: run chmod go-w on it"));
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = std::fs::metadata(parent)?;
    if !is_ours(&parent) || is_open_to_others(&parent) {
        return Err(refused(
            "others can write the directory that it is in: make that root's or yours and run chmod go-w on it",
        ));
    }
    Ok(file)
}

fn is_ours(facts: &Metadata) -> bool {
    facts.uid() == 0 || facts.uid() == rustix::process::geteuid().as_raw()
}

fn is_open_to_others(facts: &Metadata) -> bool {
    facts.mode() & 0o022 != 0
}
