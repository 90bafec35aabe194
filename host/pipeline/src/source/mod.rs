//! Where bytes start: a directory tree, walked below open handles, never by path.
//!
//! `exclude` says what is left out, `file_system` what inode numbers and change times are worth here, `directory`
//! lists and stats one directory in constant memory, `attributes` reads what a header needs beside that.
//! Which entries are dumped, and how, is the archive's business (`archive/`).

mod exclude;
mod file_system;

pub use exclude::{ExcludeError, ExcludeRules};
pub use file_system::FileSystemId;
