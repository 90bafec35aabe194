//! The archive inside a backup: POSIX pax tar with GNU tar's incremental directories.
//!
//! `encode` turns one [`Member`] into header bytes, [`MemberReader`] reads ours and every form GNU tar and the
//! original Freezer wrote, [`dumpdir`] and [`snar`] hold the lists that make increments replayable.
//! The road (host/pipeline) moves the content bytes; nothing here opens a file or knows a clock.
//! Sources: POSIX.1-2017 `pax`, GNU tar 1.34 manual appendix "Tar Internals", `docs/format.md`.

mod decode;
pub mod dumpdir;
mod error;
mod extended;
mod header;
mod member;
mod pax;
mod read;
pub mod snar;
mod sparse;
mod write;

pub use error::TarError;
pub use member::{Member, MemberKind};
pub use read::{End, MemberReader, ReadOptions};
pub use write::{content_bytes, encode, encode_large_directory, padding};

/// Size of a tar record in bytes: headers and content are padded to it.
pub const BLOCK: usize = 512;

/// The end of an archive: two zero blocks.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Largest dumpdir in bytes that is stored as a pax record.
///
/// bsdtar and Go's reader refuse a pax header above 1 MiB and stop the whole archive there.
pub const DUMPDIR_RECORD_MAX: usize = 512 * 1024;

/// Largest dumpdir in bytes that is read, in either form: about two million names.
///
/// It bounds what a hostile archive can make the reader hold.
pub const DUMPDIR_MAX: u64 = 64 * 1024 * 1024;

/// Largest pax record, long name or long link in bytes, dumpdirs apart.
pub const RECORD_MAX: u64 = 1024 * 1024;

/// Largest sum of the pax records of one member in bytes, dumpdirs apart.
pub const RECORDS_MAX: u64 = 8 * 1024 * 1024;

/// Largest number of data pieces in a sparse file: 16 MiB of memory while its member is read.
///
/// A file with more pieces is written without a map, as plain content.
pub const SPARSE_PIECES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
