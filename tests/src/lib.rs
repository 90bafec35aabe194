//! The harness of the end-to-end tests: runs the real `freezer` binary in a scrubbed environment, makes and
//! changes trees, compares them by a program that is not ours, and looks into what lies in a storage.
//!
//! The tests stand in `tests/tests/*.rs`, one file per theme. Every failure shows the command line that was run,
//! its output, and the seed if anything was random. What the machine may refuse (root, mounts, tracing) stands in modules
//! `needs_root`, `needs_mounts`, `needs_uml` and `needs_strace`, which `tests/run.sh` leaves out where it has to.

pub mod faults;
mod mounted;
mod mutate;
mod plugin_storage;
mod process;
pub mod proxy;
mod random;
mod recipes;
mod sandbox;
mod server;
mod storage;
mod storage_server;
mod tree;

pub use mounted::Mounted;
pub use mutate::Mutator;
pub use plugin_storage::{
    isolating_host, mode_subject, mode_subject_of, open_storage, open_storage_of, plugin_host, quiet_run,
};
pub use process::{Finished, Program, Running, process_status, program, shown_by_processes};
pub use random::Random;
pub use recipes::{Listing, Recipes};
pub use sandbox::{Sandbox, freezer_binary, shared_cache, workspace, workspace_files};
pub use server::Server;
pub use storage::{Backup, Part, backups};
pub use storage_server::StorageServer;
pub use tree::{assert_same, copy_tree, differences, differences_from_list, make_odd_tree, tool, write};
