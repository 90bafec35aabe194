//! Rust types and traits for the plugin contract, one file per major version.
//!
//! Version 1 serves all 1.x: wasmtime links minor versions both ways. Nothing here is written by hand beyond the mapping
//! of resources to the host's own types.

pub(crate) mod v1;
