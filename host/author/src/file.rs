//! Reading and writing files with errors that name them.

use std::path::Path;

use crate::error::AuthorError;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuthorError> {
    std::fs::read(path).map_err(|source| AuthorError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Writes a file, with its folders.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), AuthorError> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, content))
        .map_err(|source| AuthorError::File {
            action: "write",
            path: path.to_owned(),
            source,
        })
}
