//! One run of the program as plugins see it: its cancellation, its warnings, and all that must be given back at its
//! end, however it ends.
//!
//! What a plugin holds through the host (a connection, a snapshot, a process) is a [`Guard`] in the run's registry,
//! not in the instance: an instance that crashed can't clean up. The agent calls [`Run::release_all`] once the
//! instances are gone.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_io::limiter::{Bandwidth, Throttle};
use freezer_pipeline::cancel::Cancel;

/// Takes a warning for the summary and the manifest: one escaped line that begins with the plugin's name.
pub type Warn = Arc<dyn Fn(String) + Send + Sync>;
/// Takes what a plugin is doing now, for the progress line, and how far it is in percent.
pub type Progress = Arc<dyn Fn(String, Option<u8>) + Send + Sync>;

/// What a run is made of.
#[derive(Clone)]
pub struct RunConfig {
    /// Raised when the user wants to stop.
    pub cancel: Cancel,
    /// Absolute paths that the user named: allowed as roots of trees.
    pub named_paths: Vec<PathBuf>,
    /// Takes warnings.
    pub warn: Warn,
    /// Takes progress.
    pub progress: Progress,
    /// How fast the run may be.
    pub bandwidth: BandwidthLimits,
}

/// How many bytes a second all storages of a run may move together; no limit where none is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BandwidthLimits {
    /// To storages.
    pub upload: Option<u64>,
    /// From storages.
    pub download: Option<u64>,
}

/// Something that must be given back before the run may end.
pub trait Guard: Send {
    /// What it is, for messages: "snapshot vg0/freezer_1".
    fn description(&self) -> String;

    /// Gives it back and waits until it is gone.
    ///
    /// # Errors
    /// One line that says why it is still there.
    fn release(self: Box<Self>) -> Result<(), String>;
}

/// A run. Shared by all plugins that take part in it.
pub struct Run {
    config: RunConfig,
    bandwidth: Bandwidth,
    told: Mutex<BTreeSet<String>>,
    guards: Mutex<Vec<(u64, Box<dyn Guard>)>>,
    next_guard: AtomicU64,
}

impl Run {
    /// Starts a run that holds nothing.
    #[must_use]
    pub fn new(config: RunConfig) -> Arc<Self> {
        Arc::new(Self {
            bandwidth: Bandwidth {
                upload: Throttle::new(config.bandwidth.upload),
                download: Throttle::new(config.bandwidth.download),
            },
            told: Mutex::default(),
            config,
            guards: Mutex::new(Vec::new()),
            next_guard: AtomicU64::new(0),
        })
    }

    /// The token that ends the run early.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.config.cancel
    }

    /// The limits that all transfers of the run share.
    pub(crate) fn bandwidth(&self) -> &Bandwidth {
        &self.bandwidth
    }

    /// The paths that the user named.
    #[must_use]
    pub fn named_paths(&self) -> &[PathBuf] {
        &self.config.named_paths
    }

    /// Takes charge of something until [`Run::release`] or the end of the run.
    pub fn hold(&self, guard: Box<dyn Guard>) -> u64 {
        let id = self.next_guard.fetch_add(1, Ordering::Relaxed);
        self.guards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((id, guard));
        id
    }

    /// Gives one thing back now; one that is gone already is a success.
    ///
    /// # Errors
    /// Why it is still there. It isn't tried again.
    pub fn release(&self, id: u64) -> Result<(), String> {
        let guard = {
            let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
            guards
                .iter()
                .position(|(known, _)| *known == id)
                .map(|place| guards.remove(place).1)
        };
        guard.map_or(Ok(()), |guard| guard.release())
    }

    /// Gives everything back, the last taken first, and answers what is still there and why.
    pub fn release_all(&self) -> Vec<String> {
        let mut failures = Vec::new();
        loop {
            // The lock isn't held during the release: a guard may wait, and may use the run.
            let last = self.guards.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((_, guard)) = last else { return failures };
            let description = guard.description();
            if let Err(why) = guard.release() {
                failures.push(format!("{description}: {why}"));
            }
        }
    }

    /// Passes a warning on, unless the run heard the same before.
    pub(crate) fn warn_once(&self, line: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(line.clone()) {
            drop(told);
            self.warn(line);
        }
    }

    /// Passes a warning on.
    pub(crate) fn warn(&self, line: String) {
        (self.config.warn)(line);
    }

    /// Passes progress on.
    pub(crate) fn progress(&self, activity: String, percent: Option<u8>) {
        (self.config.progress)(activity, percent);
    }
}
