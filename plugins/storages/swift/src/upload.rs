//! Names of an upload's objects. Each tells all of the others, so that any instance and any later run can go on or clean up.
//!
//! ```text
//! key          data/tar/h_n/1700000000/0_1700000000/data
//! upload-id    RUN:data/tar/h_n/1700000000/0_1700000000/data                        RUN: 16 hex digits, new each time
//! mark         data/tar/h_n/1700000000/0_1700000000/segments/data.RUN               empty; stands for the upload
//! segments     data/tar/h_n/1700000000/0_1700000000/segments/data.RUN/00000000 …
//! parts        data/tar/h_n/1700000000/0_1700000000/segments/data.RUN.parts/00000000 …   manifests of 1000 segments each
//! ```
//! Two writers of one key never share a name. No listing shows what lies in a folder named `segments`.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::control;
use freezer_sdk::storage::check_key;

use crate::place::{OBJECT_BYTES, Place};

/// The folder that holds what isn't an object yet, or only a piece of one.
pub(crate) const FOLDER: &str = "segments";
/// Hex digits in a run.
const RUN_DIGITS: usize = 16;
/// What the folder of parts ends with.
const PARTS: &str = ".parts";
/// Digits in the name of a segment.
const NUMBER_DIGITS: usize = 8;
/// What the longest of the names has beside its key.
const MORE_BYTES: usize = FOLDER.len() + 1 + 1 + RUN_DIGITS + PARTS.len() + 1 + NUMBER_DIGITS;

/// An object that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) run: String,
    /// The key that it will get.
    pub(crate) key: String,
}

impl Upload {
    /// A new one.
    ///
    /// # Errors
    /// `invalid` if the names of its segments would be too long.
    pub(crate) fn new(place: &Place, key: &str) -> Result<Self> {
        check(key)?;
        let most = OBJECT_BYTES - MORE_BYTES - place.prefix.len().min(OBJECT_BYTES - MORE_BYTES);
        if key.len() > most {
            let shown: String = key.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "the key {shown:?} has more than {most} bytes"
            )));
        }
        Ok(Upload {
            run: control::unique_name(),
            key: key.to_owned(),
        })
    }

    /// The text that names it.
    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.run, self.key)
    }

    /// Understands the text that names an upload.
    ///
    /// # Errors
    /// `invalid` if it isn't one of this storage's.
    pub(crate) fn parse(id: &str) -> Result<Self> {
        let parts = id
            .split_once(':')
            .filter(|(run, key)| is_run(run) && check(key).is_ok());
        let Some((run, key)) = parts else {
            let shown: String = id.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "{shown:?} names no upload of this storage"
            )));
        };
        Ok(Upload {
            run: run.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The upload to which a key below a folder `segments` belongs.
    pub(crate) fn of_piece(key: &str) -> Option<Self> {
        let (mut above, mut stem) = key.rsplit_once('/')?;
        if is_number(stem) {
            (above, stem) = above.rsplit_once('/')?;
            stem = stem.strip_suffix(PARTS).unwrap_or(stem);
        }
        let folder = above.strip_suffix(FOLDER)?;
        let (name, run) = stem.rsplit_once('.')?;
        if !(folder.is_empty() || folder.ends_with('/')) || !is_run(run) {
            return None;
        }
        let key = format!("{folder}{name}");
        check(&key).ok()?;
        Some(Upload {
            run: run.to_owned(),
            key,
        })
    }

    /// The key of its mark; all its other keys begin with that.
    pub(crate) fn mark(&self) -> String {
        let (folder, name) = self
            .key
            .split_at(self.key.rfind('/').map_or(0, |slash| slash + 1));
        format!("{folder}{FOLDER}/{name}.{}", self.run)
    }

    /// The folder of its segments, with a slash.
    pub(crate) fn segments(&self) -> String {
        format!("{}/", self.mark())
    }

    /// The folder of its parts, with a slash.
    pub(crate) fn parts(&self) -> String {
        format!("{}{PARTS}/", self.mark())
    }
}

/// The last part of the name of a segment or part.
pub(crate) fn number(number: u32) -> String {
    format!("{number:0NUMBER_DIGITS$}")
}

/// Understands [`number`]: at least eight digits and nothing else.
pub(crate) fn parse_number(text: &str) -> Option<u32> {
    let parsed = text.parse().ok()?;
    (number(parsed) == text).then_some(parsed)
}

/// Refuses what can't be written here: what the contract forbids, and what would lie among segments.
///
/// # Errors
/// `invalid`, naming the key.
pub(crate) fn check(key: &str) -> Result<()> {
    check_key(key)?;
    if key.split('/').any(|part| part == FOLDER) {
        let shown: String = key.chars().take(60).collect();
        return Err(Error::invalid(format!(
            "the key {shown:?} lies in a folder \"{FOLDER}\", which holds pieces of objects here"
        )));
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    parse_number(text).is_some()
}

fn is_run(run: &str) -> bool {
    run.len() == RUN_DIGITS
        && run
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(prefix: &str) -> Place {
        Place {
            container: "c".into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn each_name_tells_the_others() {
        for key in [
            "data",
            "data/tar/h_n/1/0_1/data",
            "a/b.c",
            "a/x:y",
            "ё/00000001",
            "a/data.parts",
        ] {
            let upload = Upload::new(&place(""), key).unwrap();
            assert_eq!(Upload::parse(&upload.id()).unwrap(), upload);
            for piece in [
                upload.mark(),
                format!("{}{}", upload.segments(), number(0)),
                format!("{}{}", upload.segments(), number(99_999)),
                format!("{}{}", upload.parts(), number(3)),
            ] {
                assert!(piece.starts_with(&upload.mark()));
                assert_eq!(Upload::of_piece(&piece).as_ref(), Some(&upload), "{piece}");
            }
        }
    }

    #[test]
    fn the_longest_names_fit() {
        for prefix in ["", "some/prefix/"] {
            let most = OBJECT_BYTES - MORE_BYTES - prefix.len();
            let place = place(prefix);
            let upload = Upload::new(&place, &"k".repeat(most)).unwrap();
            assert_eq!(
                place.object(&format!("{}{}", upload.parts(), number(7))).len(),
                OBJECT_BYTES
            );
            assert!(upload.id().len() <= 1024);
            Upload::new(&place, &"k".repeat(most + 1)).unwrap_err();
        }
        Upload::new(&place(&"p".repeat(2000)), "k").unwrap_err();
    }

    #[test]
    fn foreign_names_belong_to_no_upload() {
        let run = "0123456789abcdef";
        for key in [
            "data",
            "a/data",
            "segments/data",
            "segments/00000001",
            "a/segments/00000000",
            &format!("a/xsegments/data.{run}"),
            &format!("a/segments/data.{run}/x"),
            &format!("a/segments/data.{run}/1"),
            &format!("a/segments/.{run}"),
            "a/segments/data.0123456789ABCDEF/00000000",
        ] {
            assert_eq!(Upload::of_piece(key), None, "{key}");
        }
        for id in ["", "data", ":data", "0123456789abcdef:", "0123456789abcdef:../x"] {
            Upload::parse(id).unwrap_err();
        }
        check("a/segments/b").unwrap_err();
        Upload::parse("0123456789abcdef:a/segments/b").unwrap_err();
    }

    #[test]
    fn numbers_have_one_form() {
        for (text, parsed) in [
            ("00000000", Some(0)),
            ("00000012", Some(12)),
            ("100000000", Some(100_000_000)),
            ("000000001", None),
            ("0", None),
            ("+0000001", None),
            ("0000000x", None),
        ] {
            assert_eq!(parse_number(text), parsed, "{text}");
        }
    }
}
