//! Files whose content decides what plugins may do: nobody but root and the user may have written them, and they are
//! changed by a whole new file that takes the old one's place.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

/// The largest file that is read as a whole; real ones have a few kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Opens a regular file that only root and this user can write or replace. Links aren't followed, and a pipe isn't
/// waited for.
///
/// # Errors
/// Those of opening; `InvalidData` with what to change if others could have written it.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
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
    check_directory(parent_of(path))?;
    Ok(file)
}

/// The line of a place in such a file, from 1.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    let before = text.as_bytes().get(..place).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// What is wrong in such a file, with its line if that is known.
pub(crate) fn at_line(text: &str, span: Option<Range<usize>>, why: &str) -> String {
    let why = crate::escape::line(why, 400);
    match span {
        Some(span) => format!("line {}: {why}", line_of(text, span.start)),
        None => why,
    }
}

/// The directory that a path is in.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Checks that only root and this user can put files into a directory.
///
/// # Errors
/// Those of looking; `InvalidData` with what to change.
pub(crate) fn check_directory(directory: &Path) -> io::Result<()> {
    let facts = std::fs::metadata(directory)?;
    if !facts.is_dir() {
        return Err(refused("it isn't in a directory"));
    }
    if !is_ours(&facts) || is_open_to_others(&facts) {
        return Err(refused(
            "others can write the directory that it is in: make that root's or yours and run chmod go-w on it",
        ));
    }
    Ok(())
}

/// Reads such a file as text; `None` if there is none.
///
/// # Errors
/// Those of [`open`]; `InvalidData` if it is too large or no text.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(refused(&format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(Some(text))
}

/// Makes a directory and what is missing above it, for this user alone to write, and checks it.
///
/// # Errors
/// Those of making it and of [`check_directory`].
pub(crate) fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(directory)?;
    check_directory(directory)
}

/// Puts a whole new file in the place of `path`: it is there with its old content or with all of the new one, also after a
/// power cut. The directory must be trusted and what is there must be no link.
///
/// # Errors
/// Those of writing; `InvalidData` with what to change.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent_of(path);
    check_directory(directory)?;
    match open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let temporary = temporary(path);
    // Left by a process of the same number that was killed.
    if std::fs::remove_file(&temporary).is_ok() {
        tracing::debug!(temporary = %temporary.display(), "removed a half-written file");
    }
    let written = write_new(&temporary, content, mode).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() && std::fs::remove_file(&temporary).is_err() {
        tracing::debug!(temporary = %temporary.display(), "can't remove a half-written file");
    }
    written?;
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask: a file of the machine must be readable for those whom it binds.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Beside the file, under a name that nothing looks for.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Changes such a text: `change` gets what is there, or nothing, and answers what is to be there. Two programs that change
/// it at once do so one after the other.
///
/// # Errors
/// Those of [`read`] and [`replace`], and what `change` refuses.
pub(crate) fn edit(
    path: &Path,
    mode: u32,
    change: impl FnOnce(Option<String>) -> io::Result<String>,
) -> io::Result<()> {
    let directory = parent_of(path);
    make_directory(directory, 0o755)?;
    let lock = File::open(directory)?;
    // Held until the end of this function.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let text = change(read(path)?)?;
    replace(path, text.as_bytes(), mode)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn is_ours(facts: &Metadata) -> bool {
    facts.uid() == 0 || facts.uid() == rustix::process::geteuid().as_raw()
}

fn is_open_to_others(facts: &Metadata) -> bool {
    facts.mode() & 0o022 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_no_remnants() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("new/deep/a.toml");
        edit(&path, 0o600, |old| {
            assert_eq!(old, None);
            Ok("one".to_owned())
        })
        .unwrap();
        edit(&path, 0o600, |old| Ok(old.unwrap() + "two")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), "onetwo");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_or_an_open_directory_is_never_written_through() {
        let temp = tempfile::tempdir().unwrap();
        let (victim, link) = (temp.path().join("victim"), temp.path().join("link"));
        std::fs::write(&victim, "old").unwrap();
        symlink(&victim, &link).unwrap();
        let error = replace(&link, b"new", 0o600).unwrap_err().to_string();
        assert!(error.contains("it is a link"), "{error}");
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = replace(&victim, b"new", 0o600).unwrap_err().to_string();
        assert!(error.contains("others can write the directory"), "{error}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "old");
    }

    #[test]
    fn a_refused_change_leaves_the_file_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a");
        replace(&path, b"old", 0o600).unwrap();
        let refused = edit(&path, 0o600, |_| Err(io::Error::other("no")));
        assert_eq!(refused.unwrap_err().to_string(), "no");
        assert_eq!(read(&path).unwrap().unwrap(), "old");
    }
}
