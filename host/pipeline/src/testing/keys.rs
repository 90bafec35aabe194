//! Which keys and prefixes the contract knows.

use crate::store::ErrorKind;

/// Most entries of a page.
pub(super) const MAX_PAGE: usize = 1000;

/// Refuses what the contract calls no key.
pub(super) fn check_key(key: &str) -> Result<(), (ErrorKind, String)> {
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if key.len() <= 1024 && key.split('/').all(good) {
        return Ok(());
    }
    Err((ErrorKind::Invalid, "it is no key".to_owned()))
}

pub(super) fn check_prefix(prefix: &str) -> Result<(), (ErrorKind, String)> {
    match prefix.strip_suffix('/') {
        Some(key) => check_key(key),
        None if prefix.is_empty() => Ok(()),
        None => Err((ErrorKind::Invalid, "it is no prefix".to_owned())),
    }
}
