//! Several storages in one run: who takes part, who has failed, and what a failure means.
//!
//! The source is read once; each segment goes to every storage that takes part, and the next one waits for the
//! slowest, so memory is that of one storage. A storage that fails drops out with its reason, or ends the run, as
//! the user wants it. Claims, documents and the level decision are made storage by storage in their own modules.

mod pick;
mod reader;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freezer_pipeline::BackupError;
use freezer_pipeline::object::ObjectError;
use freezer_pipeline::store::{Limits, Store, StoreError};

use crate::error::{AgentError, ExitClass};
use crate::level::chain_text;
use crate::resume::JournalStore;

pub use pick::{Picked, pick};
pub(crate) use store::Fan;

/// What the failure of one storage means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It ends the run.
    Abort,
    /// The run goes on as long as one storage is left.
    #[default]
    Continue,
}

/// A storage that is to receive a backup.
pub struct Storage {
    url: String,
    opened: Result<Arc<dyn Store>, AgentError>,
}

impl Storage {
    /// A storage that was opened.
    pub fn opened(store: Arc<dyn Store>) -> Self {
        Self {
            url: store.url().to_owned(),
            opened: Ok(store),
        }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it can take, if it was opened.
    pub fn limits(&self) -> Option<Limits> {
        self.opened.as_ref().ok().map(|store| store.limits())
    }

    /// What was opened.
    ///
    /// # Errors
    /// Why it couldn't be.
    pub fn into_store(self) -> Result<Arc<dyn Store>, AgentError> {
        self.opened
    }

    /// A storage that can't be opened: it counts as one that failed.
    pub fn unopened(url: String, error: AgentError) -> Self {
        Self {
            url,
            opened: Err(error),
        }
    }
}

/// A storage that doesn't hold the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStorage {
    /// The storage's URL.
    pub storage: String,
    /// Why, on one line.
    pub reason: String,
}

/// One storage that was opened.
pub(crate) struct Site {
    pub(crate) url: String,
    /// What is read.
    pub(crate) store: Arc<dyn Store>,
    /// What is written to; another one in a dry run, or with a journal.
    pub(crate) target: Arc<dyn Store>,
    /// The journal through which the target writes.
    pub(crate) journal: Option<Arc<JournalStore>>,
}

/// A site's place among those of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteNumber(usize);

struct Failure {
    /// `None` for a storage that was never opened.
    site: Option<SiteNumber>,
    url: String,
    reason: String,
    /// What is there may be whole, or another run's: it must not be touched.
    hands_off: bool,
    /// The error, until it ends the run.
    error: Option<AgentError>,
}

/// All storages of a run.
pub(crate) struct Sites {
    sites: Vec<Site>,
    on_failure: OnFailure,
    failures: Mutex<Vec<Failure>>,
}

impl Sites {
    /// Takes the storages of a run; `target` makes of each what is written to.
    ///
    /// # Errors
    /// One can't be opened and that ends the run, or none can.
    pub(crate) fn new(
        storages: Vec<Storage>,
        on_failure: OnFailure,
        target: impl Fn(&Arc<dyn Store>) -> (Arc<dyn Store>, Option<Arc<JournalStore>>),
    ) -> Result<Self, AgentError> {
        let mut all = Self {
            sites: Vec::new(),
            on_failure,
            failures: Mutex::default(),
        };
        let mut first = None;
        for Storage { url, opened } in storages {
            if all.sites.iter().any(|site| site.url == url) {
                return Err(twice(&url));
            }
            let error = match opened {
                Ok(store) => {
                    let (target, journal) = target(&store);
                    all.sites.push(Site {
                        url,
                        store,
                        target,
                        journal,
                    });
                    continue;
                }
                Err(error) => error,
            };
            if on_failure == OnFailure::Abort || error.exit_class() == ExitClass::Interrupted {
                return Err(error);
            }
            all.lock().push(Failure {
                site: None,
                url,
                reason: chain_text(&error),
                hands_off: true,
                error: None,
            });
            first.get_or_insert(error);
        }
        match first {
            Some(error) if all.sites.is_empty() => Err(error),
            _ => Ok(all),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that were opened, failed ones included.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SiteNumber, &Site)> {
        let numbered = self.sites.iter().enumerate();
        numbered.map(|(number, site)| (SiteNumber(number), site))
    }

    /// Those that take part and haven't failed.
    pub(crate) fn live(&self) -> Vec<(SiteNumber, &Site)> {
        self.all()
            .filter(|(number, _)| !self.has_failed(*number))
            .collect()
    }

    pub(crate) fn has_failed(&self, number: SiteNumber) -> bool {
        self.lock().iter().any(|failure| failure.site == Some(number))
    }

    /// True if what is there may be whole, or another run's.
    pub(crate) fn hands_off(&self, number: SiteNumber) -> bool {
        let failures = self.lock();
        let mut of_site = failures.iter().filter(|failure| failure.site == Some(number));
        of_site.any(|failure| failure.hands_off)
    }

    /// The storages that lack the backup.
    pub(crate) fn failed(&self) -> Vec<FailedStorage> {
        let failures = self.lock();
        let failed = failures.iter().map(|failure| FailedStorage {
            storage: failure.url.clone(),
            reason: failure.reason.clone(),
        });
        failed.collect()
    }

    /// Judges what came of a call to one site: `None` if it failed and the run goes on without it.
    ///
    /// # Errors
    /// The failure isn't the storage's, ends the run, or was the last storage's: then the first one's error.
    pub(crate) fn settle<T>(
        &self,
        number: SiteNumber,
        result: Result<T, AgentError>,
    ) -> Result<Option<T>, AgentError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        if error.exit_class() == ExitClass::Interrupted || !is_storage_failure(&error) {
            return Err(error);
        }
        let journal = self.sites.get(number.0).and_then(|site| site.journal.as_ref());
        if journal.is_some_and(|journal| journal.is_stale()) {
            // No storage's failure: the run begins anew.
            return Err(error);
        }
        let hands_off = matches!(error, AgentError::CommitUnknown { .. } | AgentError::Taken { .. });
        let mut failures = self.lock();
        let known = failures.iter().any(|failure| failure.site == Some(number));
        let mut failure = Failure {
            site: Some(number),
            url: self
                .sites
                .get(number.0)
                .map_or_else(String::new, |site| site.url.clone()),
            reason: chain_text(&error),
            hands_off,
            error: None,
        };
        if self.on_failure == OnFailure::Abort {
            failures.push(failure);
            return Err(error);
        }
        failure.error = Some(error);
        if !known {
            failures.push(failure);
        }
        let failed = failures.iter().filter(|failure| failure.site.is_some()).count();
        if failed < self.sites.len() {
            return Ok(None);
        }
        let first = failures.iter_mut().find_map(|failure| failure.error.take());
        Err(first.unwrap_or(AgentError::Interrupted))
    }

    /// The same for a call on the road.
    pub(crate) fn settle_store<T>(
        &self,
        number: SiteNumber,
        result: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match self.settle::<T>(number, Err(error.clone().into())) {
            Ok(none) => Ok(none),
            Err(AgentError::Store(first)) => Err(first),
            Err(_) => Err(error),
        }
    }

    /// True if what was continued in one of them can't become this backup.
    pub(crate) fn is_stale(&self) -> bool {
        let mut journals = self.sites.iter().filter_map(|site| site.journal.as_ref());
        journals.any(|journal| journal.is_stale())
    }

    /// True if a next run could go on with nothing of this one.
    pub(crate) fn is_beyond_resuming(&self) -> bool {
        let mut journals = self.sites.iter().filter_map(|site| site.journal.as_ref());
        self.is_stale() || journals.any(|journal| journal.is_finishing())
    }

    /// What every storage that takes part can take.
    ///
    /// # Errors
    /// There is no segment size that suits all.
    pub(crate) fn limits(&self) -> Result<Limits, AgentError> {
        let mut common = Limits {
            max_segments: u32::MAX,
            min_segment_bytes: 1,
            max_segment_bytes: u64::MAX,
            parallel_calls: u32::MAX,
        };
        for (_, site) in self.live() {
            let limits = site.target.limits();
            common.max_segments = common.max_segments.min(limits.max_segments);
            common.min_segment_bytes = common.min_segment_bytes.max(limits.min_segment_bytes);
            common.max_segment_bytes = common.max_segment_bytes.min(limits.max_segment_bytes);
            common.parallel_calls = common.parallel_calls.min(limits.parallel_calls);
        }
        if common.min_segment_bytes > common.max_segment_bytes {
            return Err(AgentError::Unsupported {
                reason: format!(
                    "the storages take no segments of one size: one takes none below {} bytes, another none above {}",
                    common.min_segment_bytes, common.max_segment_bytes
                ),
                next: "back up to one of them, then freezer copy to the other".to_owned(),
            });
        }
        Ok(common)
    }
}

/// The refusal to write twice to one place: cleaning up one would take away the other's.
pub(crate) fn twice(url: &str) -> AgentError {
    AgentError::Unsupported {
        reason: format!("the storage {url} is given twice"),
        next: "name each storage once".to_owned(),
    }
}

/// Tells a storage's failure from all others.
pub(crate) fn is_storage_failure(error: &AgentError) -> bool {
    matches!(
        error,
        AgentError::Store(_)
            | AgentError::CommitUnknown { .. }
            | AgentError::Taken { .. }
            | AgentError::NoContainer { .. }
            | AgentError::Object {
                source: ObjectError::Store(_),
                ..
            }
            | AgentError::Backup {
                source: BackupError::Store(_),
                ..
            }
    )
}
