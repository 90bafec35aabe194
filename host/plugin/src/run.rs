//! One run of the program as plugins see it: its cancellation, its warnings, and all that must be given back at its
//! end, however it ends.
//!
//! What a plugin holds through the host (a connection, a snapshot, a process) is a [`Guard`] in the run's registry,
//! not in the instance: an instance that crashed can't clean up. The agent calls [`Run::release_all`] once the
//! instances are gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_io::limiter::{Bandwidth, Throttle};
use freezer_pipeline::cancel::Cancel;

use crate::fault::Fault;
use crate::usage::{Meter, Meters, PluginUsage};

/// Takes a warning for the summary and the manifest: one escaped line that begins with the plugin's name.
pub type Warn = Arc<dyn Fn(String) + Send + Sync>;
/// Takes what a plugin is doing now, for the progress line, and how far it is in percent.
pub type Progress = Arc<dyn Fn(String, Option<u8>) + Send + Sync>;

/// Takes a line about what the run is waiting for.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

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
    /// Takes what is waited for.
    pub tell: Tell,
    /// How fast the run may be.
    pub bandwidth: BandwidthLimits,
}

impl RunConfig {
    /// A run that nobody watches, stops or slows down, as tests want it.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            cancel: Cancel::new(),
            named_paths: Vec::new(),
            warn: Arc::new(|_| {}),
            progress: Arc::new(|_, _| {}),
            tell: Arc::new(|_| {}),
            bandwidth: BandwidthLimits::default(),
        }
    }
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

    /// Whether all that was read of it until now can be trusted; asked once everything was read, before it counts.
    ///
    /// # Errors
    /// One line that says why not.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A frozen view of a path, readable as long as its guard is held.
struct View {
    guard: u64,
    /// Where it can be read.
    path: PathBuf,
    /// What it is a view of.
    live: PathBuf,
}

/// A run. Shared by all plugins that take part in it.
pub struct Run {
    config: RunConfig,
    fault: Option<Arc<Fault>>,
    is_trial: bool,
    bandwidth: Bandwidth,
    told: Mutex<BTreeSet<String>>,
    guards: Mutex<Vec<(u64, Box<dyn Guard>)>>,
    views: Mutex<Vec<View>>,
    /// Why what was read of things that are released already can't be trusted.
    spoiled: Mutex<Vec<String>>,
    next_guard: AtomicU64,
    meters: Meters,
}

impl Run {
    /// Starts a run that holds nothing.
    #[must_use]
    pub fn new(config: RunConfig) -> Arc<Self> {
        Self::make(config, None, false)
    }

    /// Starts a run that tries a plugin out: the handles that it holds are counted, which takes a look at each of them after each call.
    #[must_use]
    pub fn trial(config: RunConfig) -> Arc<Self> {
        Self::make(config, None, true)
    }

    /// Starts a trial in which one host call fails.
    #[must_use]
    pub fn breaking(config: RunConfig, fault: Arc<Fault>) -> Arc<Self> {
        Self::make(config, Some(fault), true)
    }

    fn make(config: RunConfig, fault: Option<Arc<Fault>>, is_trial: bool) -> Arc<Self> {
        Arc::new(Self {
            fault,
            is_trial,
            bandwidth: Bandwidth {
                upload: Throttle::new(config.bandwidth.upload),
                download: Throttle::new(config.bandwidth.download),
            },
            told: Mutex::default(),
            config,
            guards: Mutex::new(Vec::new()),
            views: Mutex::default(),
            spoiled: Mutex::default(),
            next_guard: AtomicU64::new(0),
            meters: Meters::default(),
        })
    }

    /// The token that ends the run early.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.config.cancel
    }

    /// True if the script wants this host call to fail.
    pub(crate) fn breaks(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.strikes())
    }

    /// True if what plugins hold is counted.
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
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

    /// Says that a guard's thing is a frozen view of `live`, which can be read at `path`.
    pub(crate) fn show(&self, guard: u64, path: PathBuf, live: PathBuf) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.push(View { guard, path, live });
    }

    /// Where frozen views can be read now.
    pub(crate) fn views(&self) -> Vec<PathBuf> {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.iter().map(|view| view.path.clone()).collect()
    }

    /// What a path in a frozen view is a view of; any other path is itself.
    pub(crate) fn live(&self, path: &Path) -> PathBuf {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let live = |view: &View| {
            let below = path.strip_prefix(&view.path).ok()?;
            // Joining nothing would add a slash.
            Some(match below.as_os_str().is_empty() {
                true => view.live.clone(),
                false => view.live.join(below),
            })
        };
        views.iter().find_map(live).unwrap_or_else(|| path.to_owned())
    }

    /// Whether all that was read until now can be trusted, also of what is released already. Call it once everything was
    /// read and before it counts.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn verify(&self) -> Result<(), String> {
        let spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = spoiled.first() {
            return Err(why.clone());
        }
        drop(spoiled);
        // As with `release_all`, the lock isn't held meanwhile.
        let held = std::mem::take(&mut *self.guards.lock().unwrap_or_else(PoisonError::into_inner));
        let verified = held.iter().try_for_each(|(_, guard)| guard.verify());
        let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = std::mem::replace(&mut *guards, held);
        guards.extend(newer);
        verified
    }

    /// Gives one thing back now, after a last look at whether it can be trusted; one that is gone already is a success.
    ///
    /// # Errors
    /// Why it is still there. It isn't tried again.
    pub fn release(&self, id: u64) -> Result<(), String> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| view.guard != id);
        drop(views);
        let guard = {
            let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
            guards
                .iter()
                .position(|(known, _)| *known == id)
                .map(|place| guards.remove(place).1)
        };
        let Some(guard) = guard else { return Ok(()) };
        if let Err(why) = guard.verify() {
            let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
            spoiled.push(why);
        }
        guard.release()
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

    /// What the plugins used until now, in the order of their names.
    #[must_use]
    pub fn usage(&self) -> Vec<PluginUsage> {
        self.meters.read()
    }

    /// What counts a plugin's use.
    pub(crate) fn meter(&self, plugin: &str, sha256: &str) -> Arc<Meter> {
        self.meters.of(plugin, sha256)
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

    /// Says what the run is waiting for.
    pub(crate) fn tell(&self, line: String) {
        (self.config.tell)(line);
    }

    /// Passes progress on.
    pub(crate) fn progress(&self, activity: String, percent: Option<u8>) {
        (self.config.progress)(activity, percent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes its release, and may say that it can't be trusted.
    struct Thing {
        name: &'static str,
        fault: Option<&'static str>,
        released: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Guard for Thing {
        fn description(&self) -> String {
            self.name.to_owned()
        }

        fn release(self: Box<Self>) -> Result<(), String> {
            self.released.lock().unwrap().push(self.name);
            Ok(())
        }

        fn verify(&self) -> Result<(), String> {
            self.fault.map_or(Ok(()), |fault| Err(fault.to_owned()))
        }
    }

    fn quiet() -> Arc<Run> {
        Run::new(RunConfig::quiet())
    }

    #[test]
    fn what_was_spoiled_stays_spoiled_after_its_release() {
        let (run, released) = (quiet(), Arc::default());
        let hold = |name, fault| {
            let released = Arc::clone(&released);
            run.hold(Box::new(Thing {
                name,
                fault,
                released,
            }))
        };
        hold("first", None);
        let second = hold("second", Some("overflowed"));
        hold("third", None);
        assert_eq!(run.verify(), Err("overflowed".to_owned()));
        run.release(second).unwrap();
        assert_eq!(run.verify(), Err("overflowed".to_owned()));
        assert_eq!(run.release_all(), [""; 0]);
        assert_eq!(*released.lock().unwrap(), ["second", "third", "first"]);
    }

    #[test]
    fn a_view_stands_for_its_live_path_as_long_as_it_is_held() {
        let run = quiet();
        let released = Arc::default();
        let guard = run.hold(Box::new(Thing {
            name: "view",
            fault: None,
            released,
        }));
        run.show(guard, "/mnt/view".into(), "/srv/data".into());
        assert_eq!(run.live(Path::new("/mnt/view")), Path::new("/srv/data"));
        assert_eq!(run.live(Path::new("/mnt/view/a")), Path::new("/srv/data/a"));
        assert_eq!(run.live(Path::new("/mnt/viewer")), Path::new("/mnt/viewer"));
        assert_eq!(run.views(), [PathBuf::from("/mnt/view")]);
        run.release(guard).unwrap();
        assert!(run.views().is_empty() && run.verify().is_ok());
    }
}
