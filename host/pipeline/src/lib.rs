//! The road of the bytes: archive, compress, encrypt, segment, store, and back.
//!
//! Plain `std::io` and threads: no plugins, network, clock or environment; whatever is needed from outside comes in
//! a [`RunContext`]. Modules stand in the order in which the bytes meet them.

pub mod cancel;
pub mod counters;
mod job;
mod backup;
mod backup_stream;
mod road;
mod error;
pub mod source;
mod memory;
mod archive;
mod framing;
mod channel;
mod compress;
mod encrypt;
mod segment;
mod output;
mod shared_buffer;
mod transfer;
pub mod store;
pub mod testing;
pub mod object;
mod decompress;
pub mod restore;

pub use backup::backup;
pub use backup_stream::backup_stream;
pub use error::BackupError;
pub use job::{
    BackupJob, BackupReport, Counts, DataFacts, Dereference, Encoding, IndexFacts, ObjectFacts, ObjectKeys,
    Parent, RunContext, StreamJob, TreeSource,
};
pub use memory::least_memory;
pub use transfer::{Announced, TransferError, TransferJob, transfer};
