//! One recipe per verb: the only place where the road of the bytes and the plugins meet.
//!
//! A recipe is handed everything: an opened storage, the mode, clock, randomness, the cancel token, counters and a
//! sink for warnings. It prints nothing, reads no environment and answers typed reports (serialisable, for
//! `--json`) or an [`AgentError`] that says what failed on which backup, why, and what to do next.

mod advice;
mod backup;
mod browse;
mod catalogue;
mod check;
mod commit;
mod continuity;
mod copy;
mod date;
mod dry;
mod error;
mod estimate;
mod exec;
mod facts;
mod hooks;
mod info;
mod keys;
mod leftovers;
mod level;
mod list;
mod mode;
mod mode_stream;
mod objects;
mod own_storage;
mod page_cache;
mod plan;
mod priority;
mod process_group;
mod prune;
mod recovery;
mod restore;
mod restore_stream;
mod resume;
mod seen;
mod select;
mod several;
mod storage_clock;
mod stream_command;
mod survey;
mod tags;
mod trial;

pub use advice::of_cause as advice_of_cause;
pub use backup::{BackupOptions, BackupOutcome, Excludes, backup};
pub use browse::{Listed, LsEntry, LsOptions, dump, ls};
pub use catalogue::Filter;
pub use check::{CheckOptions, CheckReport, Problem, Severity, check};
pub use copy::{CopiedLevel, CopyOptions, CopyReport, CopyState, CopyWhich, FailedCopy, copy};
pub use error::{AgentError, ExitClass};
pub use exec::{ExecOutput, exec, split_pipeline};
pub use hooks::{CommandEnd, HookFacts, HookKind, HookReport, Hooks, run_hooks};
pub use info::{StorageInfo, info, info_exit};
pub use keys::Keyring;
pub use leftovers::{Fate, Leftover, LeftoverOptions, LeftoverReport, leftovers};
pub use list::{BackupRow, ListOptions, Listing, State, list};
pub use mode::{BackupMode, PluginMode, PreparedBackup, PreparedRestore, RestoreMode};
pub use mode_stream::{StreamFeed, StreamMode};
pub use page_cache::{DropCaches, drop_all_pages, sync_file_systems};
pub use priority::{IoClass, Priority, set_priority};
pub use process_group::Stops;
pub use prune::{Action, PruneOptions, PruneReport, PrunedBackup, PrunedName, prune};
pub use recovery::recovery;
pub use restore::{OpenBackup, RestoreOptions, RestoreOutcome, restore};
pub use restore_stream::{SinkCommand, StreamGoal, StreamOutcome, restore_stream};
pub use resume::JournalOptions;
pub use seen::SeenBackups;
pub use select::Wanted;
pub use several::{FailedStorage, OnFailure, Picked, Storage, pick};
pub use stream_command::await_ready;
pub use survey::Unreadable;
pub use tags::{Change, TAGS_OPTION, TagListing, TaggedBackup, Which, change_tags, list_tags};
pub use trial::{TrialOptions, TrialReport, TrialRow, TrialState, trial};

#[cfg(test)]
mod tests;
