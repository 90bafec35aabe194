//! The warnings of a run: told as they happen, kept for the manifest.

use std::sync::{Mutex, MutexGuard, PoisonError};

use freezer_pipeline::RunContext;
use freezer_pipeline::counters::{Warning, WarningKind};

use crate::several::{FailedStorage, Sites};

/// The warnings of a run that its manifest will hold.
pub(super) struct Noted<'a> {
    context: &'a RunContext<'a>,
    warnings: Mutex<Vec<Warning>>,
    mode: Mutex<Option<String>>,
}

impl<'a> Noted<'a> {
    pub(super) fn new(context: &'a RunContext<'a>) -> Self {
        Self {
            context,
            warnings: Mutex::default(),
            mode: Mutex::default(),
        }
    }

    /// Tells the user and the manifest.
    pub(super) fn add(&self, warning: Warning) {
        self.tell(&warning);
        self.lock().push(warning);
    }

    /// Tells the user.
    pub(super) fn tell(&self, warning: &Warning) {
        (self.context.warn)(warning);
    }

    /// What was noted so far.
    pub(super) fn all(&self) -> Vec<Warning> {
        self.lock().clone()
    }

    /// Keeps the mode's own note for the summary.
    pub(super) fn keep_mode(&self, note: &str) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(note.to_owned());
    }

    /// The mode's own note, once it finished.
    pub(super) fn mode(&self) -> Option<String> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Warning>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which storages lack the backup: loudly to the user, as a fact to the manifest, since it isn't partial.
    pub(super) fn lacking(&self, sites: &Sites) {
        for FailedStorage { storage, reason } in sites.failed() {
            let warning = source_warning(format!("{storage} doesn't get this backup: {reason}"));
            self.tell(&Warning {
                partial: true,
                ..warning.clone()
            });
            self.lock().push(warning);
        }
    }
}

/// A warning about the run as a whole.
pub(super) fn source_warning(message: String) -> Warning {
    Warning {
        path: Vec::new(),
        kind: WarningKind::Source,
        message,
        partial: false,
    }
}
