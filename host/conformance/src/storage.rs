//! What every storage must do, rule by rule, as `wit/storage.wit` says it: one function for each rule.
//!
//! A rule needs nothing but opened storages and what the storage says of itself, so the same suite serves a storage of
//! this workspace, one in memory, and one of an author elsewhere ([`Subject::test_all`]). Each rule works below a prefix of its own, so that
//! rules can run at once on one container; it cleans nothing up: the container is thrown away.
//!
//! A rule answers the first thing that is wrong, in words; [`Subject::violations`] runs them all.

mod checks;
mod keys;
mod listing;
mod pending;
mod reading;
mod small;
mod uploads;
pub mod faults;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freezer_pipeline::store::{ErrorKind, Store};

use crate::{Answer, Finding};

/// Rules that run at once.
const AT_ONCE: usize = 4;

/// How far a storage can keep a second writer from replacing an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Of writers at once, one wins.
    Atomic,
    /// A writer that comes later is refused; of writers at once several may believe they won.
    Sequential,
    /// `put` answers `unsupported`.
    Unsupported,
}

/// What a storage may do in one way or another, and how much of everything the rules make.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// What `refuse` means.
    pub refusal: Refusal,
    /// Whether unfinished uploads can be listed.
    pub pending: bool,
    /// Whether it tells how full it is.
    pub usage: bool,
    /// How long a listing may lag behind.
    pub listing_lag: Duration,
    /// Objects in the folder whose listing takes several pages.
    pub listed_objects: usize,
    /// Unfinished uploads whose list takes several pages.
    pub pending_uploads: usize,
    /// Whether it says of an upload that is gone that it is, and keeps one that is asked for under another key; a server
    /// under test may fail instead.
    pub knows_gone_uploads: bool,
}

impl Capabilities {
    /// How a call for an upload that is gone fails.
    fn gone(&self) -> &'static [ErrorKind] {
        if self.knows_gone_uploads {
            &[ErrorKind::NotFound]
        } else {
            &[ErrorKind::NotFound, ErrorKind::Unavailable]
        }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            refusal: Refusal::Atomic,
            pending: true,
            usage: true,
            listing_lag: Duration::ZERO,
            listed_objects: 1005,
            pending_uploads: 1005,
            knows_gone_uploads: true,
        }
    }
}

/// A storage under test.
#[derive(Clone)]
pub struct Subject {
    /// The storage.
    pub store: Arc<dyn Store>,
    /// The same container, opened as another run would.
    pub other_run: Arc<dyn Store>,
    /// A container that doesn't exist, where one can be named.
    pub absent: Option<Arc<dyn Store>>,
    /// What it says of itself.
    pub capabilities: Capabilities,
}

/// What a storage does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a rule answers.
pub type Verdict = Result<(), Violation>;

/// One rule of the contract.
pub struct Rule {
    /// A fact about every storage.
    pub name: &'static str,
    check: fn(&Subject, &str) -> Verdict,
}

/// Lists rules by their functions' names.
macro_rules! rules {
    ($($module:ident: $($rule:ident),+;)+) => {
        &[$($(Rule { name: stringify!($rule), check: $module::$rule },)+)+]
    };
}

/// All rules.
pub const RULES: &[Rule] = rules! {
    keys: keys_of_the_contract_are_taken, other_keys_are_invalid, other_prefixes_are_invalid,
        equal_looking_keys_are_different, an_object_where_a_folder_is_harms_nothing;
    small: put_stores_whole_objects, replacing_leaves_nothing_of_the_old, refusing_keeps_the_old,
        of_several_writers_one_wins, remove_takes_exactly_the_keys_named;
    reading: stat_tells_objects_from_prefixes, ranges_are_exact, reading_behind_the_end_fails,
        absent_objects_are_not_found, an_absent_container_is_told;
    listing: a_listing_has_one_level, a_listing_comes_in_pages_that_any_run_can_turn, odd_names_are_listed_as_they_are,
        nothing_is_an_empty_page, a_foreign_cursor_does_no_harm;
    uploads: segments_come_in_any_order_and_at_once, an_object_of_many_segments_is_read_across_borders,
        small_and_empty_uploads_are_objects, a_segment_sent_again_replaces_the_first,
        nothing_shows_before_the_commit, a_commit_bears_repetition, a_commit_of_another_size_is_corrupt,
        large_objects_are_never_replaced, an_upload_goes_on_in_another_run, removing_spares_what_others_write,
        foreign_upload_ids_do_no_harm;
    pending: unfinished_uploads_are_found, unfinished_uploads_come_in_pages, an_abort_leaves_nothing,
        an_abort_never_harms_an_object, usage_counts_what_is_stored;
};

impl Subject {
    /// Tests one rule below `prefix`, which ends with `/` and is nobody else's.
    ///
    /// # Errors
    /// What the storage does wrong.
    pub fn test(&self, rule: &Rule, prefix: &str) -> Verdict {
        (rule.check)(self, prefix)
    }

    /// Why a rule isn't tried with this storage, if it isn't.
    fn skips(&self, rule: &Rule) -> Option<&'static str> {
        match rule.name {
            "of_several_writers_one_wins" if self.capabilities.refusal != Refusal::Atomic => {
                Some("it can't refuse to replace an object atomically")
            }
            "unfinished_uploads_come_in_pages" if !self.capabilities.pending => {
                Some("it doesn't list unfinished uploads")
            }
            "an_absent_container_is_told" if self.absent.is_none() => {
                Some("no container that isn't there can be named")
            }
            _ => None,
        }
    }

    /// Tests all rules, some at once, and tells of each as it ends.
    pub fn test_all(&self, tell: impl Fn(Finding) + Sync) {
        let next = Mutex::new(RULES.iter());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let rule = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(rule) = rule else { break };
                        tell(Finding::new(rule.name, self.answer(rule)));
                    }
                });
            }
        });
    }

    fn answer(&self, rule: &Rule) -> Answer {
        if let Some(why) = self.skips(rule) {
            return Answer::Skipped(why.to_owned());
        }
        match self.test(rule, &format!("conformance/{}/", rule.name)) {
            Ok(()) => Answer::Kept,
            Err(violation) => Answer::Broken(violation.to_string()),
        }
    }

    /// Tests all rules and answers one line for each that doesn't hold.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let found = Mutex::new(Vec::new());
        self.test_all(|finding| {
            if finding.is_broken() {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push(finding.to_string());
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort();
        found
    }
}
