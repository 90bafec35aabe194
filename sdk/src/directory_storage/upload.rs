//! Names of what isn't whole yet.
//!
//! ```text
//! key              data/tar/web01_etc/1700000000/0_1700000000/data
//! run              16 hex digits, new for each upload
//! temporary file   data/tar/web01_etc/1700000000/0_1700000000/.data.RUN.partial
//! upload-id        RUN:data/tar/web01_etc/1700000000/0_1700000000/data
//! ```
//! The file lies in the folder of its target, so that the rename stays within one file system. Each name tells all of the others:
//! any instance and any later run can go on, or clean up.

use crate::error::{Error, Result};
use crate::host::control;
use crate::storage;

/// Hex digits in a run.
const RUN_DIGITS: usize = 16;
/// What a temporary name ends with.
const SUFFIX: &str = ".partial";
/// Longest name in a directory, of nearly all file systems.
const NAME_BYTES: usize = 255;
/// Longest key: with the run, no more than a key may have.
const KEY_BYTES: usize = storage::KEY_BYTES - RUN_DIGITS - 1;
/// Longest last part of a key: with the dots, run and suffix of a temporary name.
const LAST_PART_BYTES: usize = NAME_BYTES - RUN_DIGITS - SUFFIX.len() - 2;
/// Deepest key. Keeps the memory of a walk small in any container.
pub(super) const KEY_PARTS: usize = 32;

/// An object that isn't whole yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload {
    run: String,
    /// The key that it will get.
    pub(super) key: String,
    /// The file that holds it until then, relative to the container.
    pub(super) temporary: String,
}

impl Upload {
    /// A new one; the key must have been checked.
    pub(super) fn new(key: &str) -> Self {
        Upload::of_run(key, control::unique_name())
    }

    fn of_run(key: &str, run: String) -> Self {
        let (folder, name) = split(key);
        Upload {
            temporary: format!("{folder}.{name}.{run}{SUFFIX}"),
            key: key.to_owned(),
            run,
        }
    }

    /// The text that names it.
    pub(super) fn id(&self) -> String {
        format!("{}:{}", self.run, self.key)
    }

    /// Understands the text that names an upload.
    ///
    /// # Errors
    /// `invalid` if it isn't one of this storage's.
    pub(super) fn parse(id: &str) -> Result<Self> {
        let parts = id
            .split_once(':')
            .filter(|(run, key)| is_run(run) && check_key(key).is_ok());
        let Some((run, key)) = parts else {
            let shown: String = id.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "{shown:?} names no upload of this storage"
            )));
        };
        Ok(Upload::of_run(key, run.to_owned()))
    }

    /// The upload whose temporary file has that path, if it is one.
    pub(super) fn of_temporary(path: &str) -> Option<Self> {
        let (folder, name) = split(path);
        let (target, run) = parse_temporary(name)?;
        let key = format!("{folder}{target}");
        check_key(&key).ok()?;
        Some(Upload::of_run(&key, run.to_owned()))
    }
}

/// True for the names of temporary files.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    parse_temporary(name).is_some()
}

/// Refuses what is no key here: more than the contract does, what a file system can't hold and what looks like a temporary file.
///
/// # Errors
/// `invalid`, naming the key.
pub(super) fn check_key(key: &str) -> Result<()> {
    storage::check_key(key)?;
    let refuse = |why: String| {
        let shown: String = key.chars().take(60).collect();
        Err(Error::invalid(format!("the key {shown:?} {why}")))
    };
    let last = split(key).1;
    if key.len() > KEY_BYTES {
        return refuse(format!("has more than {KEY_BYTES} bytes"));
    }
    if key.split('/').count() > KEY_PARTS {
        return refuse(format!("has more than {KEY_PARTS} parts"));
    }
    if last.len() > LAST_PART_BYTES || key.split('/').any(|part| part.len() > NAME_BYTES) {
        return refuse(format!("has a part of more than {LAST_PART_BYTES} bytes"));
    }
    if is_temporary(last) {
        return refuse("looks like a temporary file".to_owned());
    }
    Ok(())
}

/// ".NAME.RUN.partial" → NAME and RUN.
fn parse_temporary(name: &str) -> Option<(&str, &str)> {
    let (target, run) = name.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    (is_run(run) && !target.is_empty()).then_some((target, run))
}

fn is_run(run: &str) -> bool {
    run.len() == RUN_DIGITS
        && run
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder with its "/", and the last part.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_tell_each_other() {
        for key in ["data", "data/tar/h_n/1/0_1/data", "a/.hidden", "a/b.c", "a/x:y"] {
            let upload = Upload::new(key);
            assert_eq!(Upload::parse(&upload.id()).unwrap(), upload);
            assert_eq!(Upload::of_temporary(&upload.temporary).unwrap(), upload);
            assert_eq!(split(&upload.temporary).0, split(key).0);
        }
    }

    #[test]
    fn names_at_their_limits_fit() {
        let folder = format!("{}/", "f".repeat(NAME_BYTES)).repeat(3);
        let key = format!("{folder}{}", "k".repeat(KEY_BYTES - folder.len()).split_off(10));
        let key = &key[..key.len().min(folder.len() + LAST_PART_BYTES)];
        check_key(key).unwrap();
        let upload = Upload::new(key);
        assert!(upload.id().len() <= storage::KEY_BYTES);
        assert!(split(&upload.temporary).1.len() <= NAME_BYTES);
    }

    #[test]
    fn what_the_file_system_or_the_names_cannot_hold_is_refused() {
        let too_long = "k".repeat(LAST_PART_BYTES + 1);
        let too_deep = "d/".repeat(KEY_PARTS) + "data";
        let too_long_in_all = format!("{}data", "0123456789/".repeat(92));
        let temporary = Upload::new("a/data").temporary;
        for key in [
            too_long,
            too_deep,
            too_long_in_all,
            temporary,
            "../a".into(),
            String::new(),
        ] {
            check_key(&key).unwrap_err();
        }
    }

    #[test]
    fn foreign_upload_ids_are_refused() {
        let run = "0123456789abcdef";
        for id in [
            "",
            "data",
            ":data",
            "0123456789ABCDEF:data",
            "0123456789abcde:data",
        ] {
            Upload::parse(id).unwrap_err();
        }
        for key in ["", "/etc/passwd", "../data", "a//b"] {
            Upload::parse(&format!("{run}:{key}")).unwrap_err();
        }
    }

    #[test]
    fn other_names_are_no_temporaries() {
        for name in [
            "data",
            ".data.partial",
            "..0123456789abcdef.partial",
            "data.0123456789abcdef.partial",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
