//! Gathers what a restore did and what went wrong at single entries, from all its threads.

use std::sync::{Mutex, PoisonError};

use super::target::{EntryError, Outcome};
use super::{RestoreError, RestoreReport};
use crate::counters::{Counters, Warning, WarningKind};
use crate::job::RunContext;

/// How many warnings a report keeps; all are handed to the context as they happen.
const WARNINGS_KEPT: usize = 100;

/// The report of a run under way.
pub(super) struct Reporter<'a> {
    pub(super) context: &'a RunContext<'a>,
    report: Mutex<RestoreReport>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(context: &'a RunContext<'a>) -> Self {
        Self {
            context,
            report: Mutex::default(),
        }
    }

    /// Ends the run; answers the report.
    pub(super) fn finish(self) -> RestoreReport {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the report's counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut RestoreReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Forgets the entries counted so far: they were made for a while only.
    pub(super) fn forget_entries(&self) {
        self.count(|report| {
            (report.files, report.directories, report.symlinks) = (0, 0, 0);
            (report.hard_links, report.others, report.bytes) = (0, 0, 0);
            report.removed = 0;
        });
    }

    /// Counts a file.
    pub(super) fn count_file(&self, bytes: u64) {
        Counters::add(&self.context.counters.files, 1);
        self.count(|report| {
            report.files += 1;
            report.bytes += bytes;
        });
    }

    /// Counts a directory.
    pub(super) fn count_directory(&self) {
        Counters::add(&self.context.counters.directories, 1);
        self.count(|report| report.directories += 1);
    }

    /// Counts an entry that is neither, where `change` says what it is.
    pub(super) fn count_other(&self, change: impl FnOnce(&mut RestoreReport)) {
        Counters::add(&self.context.counters.others, 1);
        self.count(change);
    }

    /// Tells the user about one path.
    pub(super) fn warn(&self, path: &[u8], kind: WarningKind, message: String, partial: bool) {
        let warning = Warning {
            path: path.to_vec(),
            kind,
            message,
            partial,
        };
        Counters::add(&self.context.counters.warnings, 1);
        (self.context.warn)(&warning);
        self.count(|report| {
            report.warning_count += 1;
            report.partial |= partial;
            if report.warnings.len() < WARNINGS_KEPT {
                report.warnings.push(warning);
            }
        });
    }

    /// Names an entry that couldn't be made; the run goes on unless the cause would hit all others too.
    pub(super) fn left_out(&self, path: &[u8], error: &EntryError) -> Result<(), RestoreError> {
        if let Some(errno) = error.fatal() {
            return Err(RestoreError::Target {
                operation: error.operation,
                path: path_for_people(path),
                source: errno.into(),
            });
        }
        self.count(|report| report.refused += 1);
        let kind = if error.is_refusal() {
            WarningKind::Refused
        } else {
            WarningKind::Unsupported
        };
        self.warn(path, kind, error.to_string(), true);
        Ok(())
    }

    /// Takes in what became of an entry's attributes.
    pub(super) fn attributes(&self, path: &[u8], outcome: Outcome) -> Result<(), RestoreError> {
        if outcome.setid_kept || outcome.setid_dropped {
            self.count(|report| {
                report.setuid_kept += u64::from(outcome.setid_kept);
                report.setuid_dropped += u64::from(outcome.setid_dropped);
            });
        }
        for failure in outcome.failures {
            if let Some(errno) = failure.fatal() {
                let (operation, source) = (failure.operation, errno.into());
                return Err(RestoreError::Target {
                    operation,
                    path: path_for_people(path),
                    source,
                });
            }
            self.warn(path, WarningKind::Attribute, failure.to_string(), true);
        }
        Ok(())
    }
}

/// A path of raw bytes as a path of this system.
pub(super) fn path_for_people(path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path).into()
}
