//! Storage ssh: a directory of another machine, by SFTP. Needs no shell there.
//!
//! How objects lie in the directory and become visible is `freezer_sdk::directory_storage`; `remote.rs` holds the connection. Each
//! instance has one of its own, made at its first call and again after it broke: the host repeats what may be repeated.

mod login;
mod remote;

use freezer_sdk::directory_storage::DirectoryStorage;
use freezer_sdk::export_storage;

use remote::Remote;

/// A directory of another machine that holds objects.
type Ssh = DirectoryStorage<Remote>;

export_storage!(Ssh);

#[cfg(test)]
mod tests;
