//! Native doing behind the plugin interfaces; no WebAssembly types, no decisions about what is allowed.
//!
//! One file per interface. `freezer-plugin` has a thin adapter for each, which checks grants and converts errors.

pub mod address;
pub mod digest;
pub mod directory;
pub mod error;
pub mod file;
pub mod http;
pub mod limiter;
pub mod processes;
pub mod retry;
pub mod sql;
pub mod snapshots;
pub mod stop;
pub mod ssh;
pub mod tcp;
