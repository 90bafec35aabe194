//! What can be wrong with an index or with a row to be written.

use std::io;

/// Why an index can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The storage below failed; whether a retry helps is its matter.
    #[error("can't read or write the index")]
    Io(#[from] io::Error),
    /// A digest, a length or a field is wrong.
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
    /// The index uses something this version doesn't know; it must not be ignored.
    #[error("the index was written by a newer freezer: {0}")]
    Newer(&'static str),
    /// Blocks of this index lie in the index of another level that wasn't given.
    #[error("the index refers to that of level {level}, which isn't at hand")]
    MissingPlace {
        /// Level whose index holds the blocks.
        level: u32,
    },
    /// A row can't be written.
    #[error("the row can't be written to the index: {0}")]
    Unwritable(&'static str),
}
