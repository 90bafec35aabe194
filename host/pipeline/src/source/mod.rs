//! Where bytes start: a directory tree, walked below open handles, never by path.
//!
//! `exclude` says what is left out, `file_system` what inode numbers and change times are worth here, `directory`
//! lists one directory in constant memory, `scout` goes through the tree ahead of the walk, `count` sums up what there is to read, `attributes` reads what a header needs beside that.
//! Which entries are dumped, and how, is the archive's business (`archive/`).

mod attributes;
mod count;
mod directory;
mod exclude;
mod file_system;
mod owners;
mod read_ahead;
mod scout;
mod stat;

pub use exclude::{ExcludeError, ExcludeRules};
pub use file_system::FileSystemId;

pub(crate) use attributes::{AttributeReader, Attributes, Reach};
pub(crate) use count::count_bytes;
pub(crate) use directory::{ListError, Lister, Names};
pub(crate) use owners::Owners;
pub(crate) use read_ahead::{READ_AHEAD_QUEUE, READ_AHEAD_THREADS, ReadAhead, run_read_ahead};
pub(crate) use scout::{LookedEntries, ScoutPlan, ScoutedEntries, Scouting};
pub(crate) use stat::{Kind, Stat, open_quietly};
