//! What a backup is asked to do and what it answers: plain data, judged elsewhere.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::index::LevelRow;
use freezer_format::time::Time;

use crate::cancel::Cancel;
use crate::counters::{Counters, Warning};
use crate::object::StoredIndex;
use crate::source::{ExcludeRules, FileSystemId};
use crate::store::Store;

/// One level of one tree, to be written to one storage.
pub struct BackupJob<'a> {
    /// What is backed up.
    pub source: TreeSource,
    /// Where it goes.
    pub store: Arc<dyn Store>,
    /// The keys of the objects that are written.
    pub keys: ObjectKeys,
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// The salt of the data object, never used before with this cipher but by an interrupted run of the same backup.
    pub data_salt: [u8; 8],
    /// Bytes of a segment of the data object; brought within the storage's limits.
    pub segment_bytes: u64,
    /// Bytes of buffers that the road may hold; see `memory.rs` for the sum.
    pub memory_bytes: u64,
    /// Most threads that compress; fewer run if the memory doesn't suffice.
    pub workers: usize,
    /// This level's number.
    pub level: u32,
    /// The index's levels table: the ancestors' rows, then this level's own with zeros as its manifest digest.
    pub levels: Vec<LevelRow>,
    /// What this level is compared with.
    pub parent: Parent,
    /// The file system that the parent saw. If it differs from the present one, inode numbers aren't compared.
    pub parent_file_system: Option<FileSystemId>,
    /// Clock, randomness, counters and the way to the user.
    pub context: &'a RunContext<'a>,
}

/// A stream of unknown length, to be written to one storage as a level 0.
pub struct StreamJob<'a> {
    /// The bytes. An error at its end, instead of the end, keeps anything from being committed.
    pub content: Box<dyn Read + Send + 'a>,
    /// The name of the file that it becomes when it is restored: one component.
    pub file_name: String,
    /// The time that the file gets.
    pub time: Time,
    /// Whether a stream without a single byte is a backup.
    pub allow_empty: bool,
    /// Where it goes.
    pub store: Arc<dyn Store>,
    /// The keys of the objects that are written; no snapshot file is.
    pub keys: ObjectKeys,
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// The salt of the data object, never used before with this cipher.
    pub data_salt: [u8; 8],
    /// Bytes of a segment of the data object; brought within the storage's limits.
    pub segment_bytes: u64,
    /// Bytes of buffers that the road may hold; see `memory.rs` for the sum.
    pub memory_bytes: u64,
    /// Most threads that compress; fewer run if the memory doesn't suffice.
    pub workers: usize,
    /// The index's levels table: this level's row alone, with zeros as its manifest digest.
    pub levels: Vec<LevelRow>,
    /// Randomness, counters and the way to the user.
    pub context: &'a RunContext<'a>,
}

/// The state that a level is compared with.
pub enum Parent {
    /// Nothing: everything is dumped.
    None,
    /// The index of the parent level.
    Index(Box<StoredIndex>),
    /// The snapshot file of a level that the original wrote.
    Snar(Box<dyn Read + Send>),
}

/// A directory tree or a single file.
#[derive(Debug, Clone)]
pub struct TreeSource {
    /// The directory whose content is backed up, or one file: then its directory holds only that name.
    pub root: PathBuf,
    /// Whether directories on other file systems are kept as empty ones.
    pub one_file_system: bool,
    /// What is left out.
    pub exclude: ExcludeRules,
    /// Which links are replaced by what they point to.
    pub dereference: Dereference,
    /// Whether the kernel is told that the memory of what was read isn't needed any more.
    pub gives_memory_back: bool,
}

/// Which links are replaced by what they point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dereference {
    /// None: links are kept as links.
    #[default]
    None,
    /// Symbolic links are followed.
    Soft,
    /// Hard links are stored as separate files.
    Hard,
    /// Both.
    All,
}

/// The keys of the objects that a backup writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKeys {
    /// The frames: of a tar archive, or of a stream as it came.
    pub data: String,
    /// The index.
    pub index: String,
    /// The snapshot file that GNU tar reads; `None` if it isn't to be written.
    pub engine_metadata: Option<String>,
}

/// How the bytes are compressed and encrypted.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// How frames are compressed.
    pub compression: Compression,
    /// How hard; `None` is the format's usual level.
    pub level: Option<u32>,
    /// How the data object is encrypted.
    pub cipher: Option<Cipher>,
    /// How the index is encrypted. The snapshot file is always clear text.
    pub index_cipher: Option<Cipher>,
}

/// What a run is given from outside, so that nothing in here asks the machine.
pub struct RunContext<'a> {
    /// Totals for the progress line.
    pub counters: &'a Counters,
    /// Called for each warning as it happens.
    pub warn: &'a (dyn Fn(&Warning) + Sync),
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// The clock, the same one that stamps inode changes on this machine.
    pub now: &'a (dyn Fn() -> Time + Sync),
    /// Fills a buffer with random bytes fit for salts.
    pub random: &'a (dyn Fn(&mut [u8]) + Sync),
}

/// What a backup wrote. The objects are committed and durable; manifest and metadata are the caller's.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The data object.
    pub data: DataFacts,
    /// The index object.
    pub index: IndexFacts,
    /// The snapshot file, if one was asked for.
    pub engine_metadata: Option<ObjectFacts>,
    /// What was seen and done.
    pub counts: Counts,
    /// The first 100 warnings; all of them stand in the index.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// Whether something isn't in this level as it should be.
    pub partial: bool,
    /// The file system of the root, for the next level's `parent_file_system`; streams lie on none.
    pub file_system: Option<FileSystemId>,
}

/// The data object as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFacts {
    /// Bytes stored.
    pub bytes: u64,
    /// Bytes before compression.
    pub plain: u64,
    /// Bytes of a segment (the last may be shorter), after the storage's limits were applied.
    pub segment: u64,
    /// Number of segments.
    pub segments: u64,
    /// SHA-256 of the concatenated SHA-256 digests of the segments.
    pub sha256: [u8; 32],
    /// The salt in the object's head, if it is encrypted.
    pub salt: Option<[u8; 8]>,
}

/// The index object as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFacts {
    /// Bytes stored.
    pub bytes: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: [u8; 32],
    /// The last 64 bytes of the index before encryption.
    pub trailer: [u8; 64],
    /// The salt in the object's head, if it is encrypted.
    pub salt: Option<[u8; 8]>,
}

/// A small object as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Bytes stored.
    pub bytes: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: [u8; 32],
}

/// What a backup saw and did, in entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files in the tree, by their first names.
    pub files: u64,
    /// Directories in the tree, the root included.
    pub directories: u64,
    /// Symbolic links in the tree.
    pub symlinks: u64,
    /// Further names of files that are in the tree already.
    pub hard_links: u64,
    /// Devices and FIFOs in the tree.
    pub others: u64,
    /// Sockets left out.
    pub sockets_skipped: u64,
    /// Entries left out by rules (their content isn't counted).
    pub excluded: u64,
    /// Entries that the parent didn't have.
    pub new: u64,
    /// Entries that the parent had differently.
    pub changed: u64,
    /// Entries that are as the parent had them.
    pub unchanged: u64,
    /// Entries that the parent had and that are gone.
    pub removed: u64,
    /// Entries that couldn't be read.
    pub unreadable: u64,
    /// Files that changed while they were read.
    pub inexact: u64,
    /// Entries that were gone when they were to be read.
    pub vanished: u64,
    /// Bytes of content of all regular files in the tree.
    pub bytes: u64,
}
