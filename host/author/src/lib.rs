//! The plugin author's road: from nothing to a packed and signed plugin.
//!
//! In reading order: the folder that an author works in and how it is made, what compiles it, how it is tried out in the real
//! host, how it is packed, and its reference page. The command line is the only caller; it parses, shows and chooses exit codes.
//! Nothing here is used by a backup.

pub mod error;
pub mod project;
mod file;
pub mod sdk;
pub mod scaffold;
pub mod toolchain;
mod python;
pub mod build;
pub mod trial;
pub mod pack;
pub mod docs;

pub use error::AuthorError;
pub use project::{Language, Project};
