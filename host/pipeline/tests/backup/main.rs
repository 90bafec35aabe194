//! Backups into memory, read back by GNU tar, the compressors' own programs and openssl: nothing of ours reads here.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod faults;
mod histories;
mod odd_trees;
mod resources;
mod round_trips;
mod support;
