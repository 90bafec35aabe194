//! What the host offers, as safe Rust: one module per interface of the contract.
//!
//! In a component the calls go to the host. In native builds they go to the fake host of the current thread
//! ([`crate::testing`]), so that plugins are tested without wasm. To call is not to be granted: what the operator has not
//! allowed fails with `denied`, and the message names the line that would allow it.

pub mod bodies;
pub mod commands;
pub mod control;
pub mod directories;
pub mod http;
pub mod leftovers;
pub mod snapshots;
pub mod sql;
pub mod ssh;
pub mod tcp;

// Both sides have the same modules and signatures, so that each wrapper is written once.
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::freezer::plugin as backend;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::backend;
