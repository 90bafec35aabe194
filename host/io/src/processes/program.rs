//! Finds programs, and refuses those that others could have written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::error::{Error, ErrorKind};

/// Where bare names are looked up: never in the caller's `PATH`, which a user may have changed.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The sticky bit: in such a directory nobody can replace what belongs to others.
const STICKY: u32 = 0o1000;

/// The absolute path of a program: the path itself, or that of a bare name in the system's directories.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    let mut places = PLACES.iter().map(|place| Path::new(place).join(program));
    places.find(|path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok())
}

/// Fails unless only root and this user can have written the program, every directory on the way to it, and, where it is
/// a link, what it leads to.
///
/// # Errors
/// `NotFound`; `Denied` with what to change.
pub fn check_trusted(program: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::NotFound,
        };
        Error::new(
            kind,
            format!("there is no program {program:?}: {}", plain(&error)),
        )
    };
    let real = program.canonicalize().map_err(failed)?;
    if !std::fs::metadata(&real).map_err(failed)?.is_file() {
        return Err(Error::new(
            ErrorKind::Denied,
            format!("{program:?} is no program: it isn't a regular file"),
        ));
    }
    // The link's own directories count as well: who can write them can point it elsewhere.
    let parents = program.parent().into_iter().flat_map(Path::ancestors);
    for path in real.ancestors().chain(parents) {
        let facts = std::fs::metadata(path).map_err(failed)?;
        if !is_safe(&facts) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "{program:?} isn't run: others could have written {path:?}; make it root's or yours and run chmod go-w on it"
                ),
            ));
        }
    }
    Ok(())
}

fn is_safe(facts: &Metadata) -> bool {
    let ours = facts.uid() == 0 || facts.uid() == rustix::process::geteuid().as_raw();
    let closed = facts.mode() & 0o022 == 0 || (facts.is_dir() && facts.mode() & STICKY != 0);
    ours && closed
}

/// A system error in words, without its number.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
