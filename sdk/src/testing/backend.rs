//! The imports of the contract, answered by the fake host: the same modules and signatures as the generated ones.

pub mod bodies;
pub mod commands;
pub mod control;
pub mod directories;
pub mod http;
pub mod snapshots;
pub mod sql;
pub mod ssh;
pub mod tcp;

pub use commands::processes;
pub use control::leftovers;
pub use directories::files;
