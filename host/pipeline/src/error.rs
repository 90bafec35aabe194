//! What ends a backup. Failures at single entries are warnings, not errors.
//!
//! The caller tells by the variant what to advise and which exit code to give.

use std::io;
use std::path::PathBuf;

use freezer_format::index::IndexError;
use freezer_format::tar::TarError;

use crate::cancel::Cancelled;
use crate::store::StoreError;

/// Why a backup ended early. Nothing was committed, and what was begun is aborted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled(#[from] Cancelled),
    /// The source as a whole can't be used: it isn't there, isn't readable, or vanished meanwhile.
    #[error("can't {operation} the source {path:?}")]
    Source {
        /// What was tried, in words that fit after "can't".
        operation: &'static str,
        /// The source.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// What feeds a stream failed, or said at its end that it had.
    #[error("can't read {name:?} to its end")]
    Stream {
        /// The name that the stream's file was to have.
        name: String,
        /// What its reader said.
        #[source]
        source: io::Error,
    },
    /// A stream ended before its first byte, which mostly means that what feeds it went wrong.
    #[error("{name:?} is empty: nothing came before its end")]
    EmptyStream {
        /// The name that the stream's file was to have.
        name: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parent level's index can't be read; usually it is damaged.
    #[error("can't read the index of the previous level")]
    ParentIndex(#[source] IndexError),
    /// The parent level's snapshot file can't be read.
    #[error("can't read the snapshot file of the previous level")]
    ParentSnar(#[source] TarError),
    /// The object needs more segments than the storage takes.
    #[error("{key:?} needs more than {max_segments} segments of {segment_bytes} bytes in {storage}")]
    TooManySegments {
        /// The object.
        key: String,
        /// The storage's URL.
        storage: String,
        /// What the storage takes.
        max_segments: u32,
        /// The size of a segment in this run.
        segment_bytes: u64,
    },
    /// A compressor refused its input or options.
    #[error("can't compress with {compression}")]
    Compress {
        /// The compression's name.
        compression: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The index can't take a row or block.
    #[error("can't write the index")]
    Index(#[source] IndexError),
    /// A temporary file, needed for a directory with very many names, can't be used.
    #[error("can't use a temporary file")]
    Spool(#[source] io::Error),
}
