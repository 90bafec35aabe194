//! The suite for storages itself: it finds nothing wrong with a storage that is right, and each of these sins.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use freezer_conformance::storage::{Capabilities, RULES, Subject};
use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use freezer_pipeline::testing::MemoryStore;
use rstest::rstest;

/// What a storage does wrong, and in all else is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sin {
    None,
    TakesAnyKey,
    FoldsCase,
    IgnoresOffsets,
    SendsTooFew,
    ListsOnePage,
    ListsAllLevels,
    ListsItself,
    AnswersAbsentPrefixesWithErrors,
    ReplacesAlways,
    RemovesByPrefix,
    ReplacesLargeObjects,
    CommitsAnySize,
    ForgetsCommits,
    KeepsTheFirstSegment,
    ShowsUncommitted,
    AbortRemovesObjects,
    FailsToAbortTwice,
    HidesPending,
    ShowsForeignPending,
    StatsPrefixes,
    LosesEmptyObjects,
    CountsNothing,
    AnswersWithoutAContainer,
}

/// Makes another storage's sins.
struct Sinner {
    inner: MemoryStore,
    sin: Sin,
    /// Nothing has been written to it yet.
    absent: bool,
    aborts: AtomicU32,
}

impl Sinner {
    fn key(&self, key: &str) -> String {
        if self.sin == Sin::FoldsCase {
            return key.to_lowercase();
        }
        if self.sin == Sin::TakesAnyKey {
            // Like a file system that resolves them.
            let parts: Vec<&str> = key
                .split('/')
                .filter(|part| !matches!(*part, "" | "." | ".."))
                .collect();
            return if parts.is_empty() {
                "root".to_owned()
            } else {
                parts.join("/")
            };
        }
        key.to_owned()
    }

    fn is(&self, sin: Sin) -> bool {
        self.sin == sin
    }

    fn fail<T>(kind: ErrorKind, key: &str) -> Result<T, StoreError> {
        Err(StoreError {
            kind,
            storage: "sinner:".to_owned(),
            operation: "use",
            key: key.to_owned(),
            message: "a sin".to_owned(),
            cause: None,
        })
    }

    fn require_container(&self) -> Result<(), StoreError> {
        if self.absent && self.inner.keys().is_empty() && !self.is(Sin::AnswersWithoutAContainer) {
            return Self::fail(ErrorKind::NotFound, "");
        }
        Ok(())
    }
}

impl Store for Sinner {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.require_container()?;
        let mut page = self.inner.list(prefix, cursor)?;
        if self.is(Sin::ListsOnePage) {
            page.next = None;
        }
        if self.is(Sin::ListsAllLevels) && prefix.len() > 1 {
            for key in self.inner.keys() {
                if key.starts_with(prefix) && !page.entries.iter().any(|entry| entry.key == key) {
                    page.entries.extend(self.inner.stat(&key)?);
                }
            }
        }
        if self.is(Sin::ListsItself) && !prefix.is_empty() {
            page.entries.push(KeyEntry {
                key: prefix.to_owned(),
                is_prefix: true,
                size: 0,
                modified: None,
            });
        }
        if self.is(Sin::AnswersAbsentPrefixesWithErrors) && page.entries.is_empty() {
            return Self::fail(ErrorKind::NotFound, prefix);
        }
        if self.is(Sin::ShowsUncommitted) {
            for upload in self.inner.pending(prefix, None)?.uploads {
                let name = &upload.key[prefix.len()..];
                if !name.contains('/') {
                    page.entries.push(KeyEntry {
                        key: format!("{}.partial", upload.key),
                        is_prefix: false,
                        size: 1,
                        modified: None,
                    });
                }
            }
        }
        Ok(page)
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        let entry = self.inner.stat(&self.key(key))?;
        let found = entry.map(|entry| KeyEntry {
            key: key.to_owned(),
            ..entry
        });
        if self.is(Sin::StatsPrefixes)
            && found.is_none()
            && !self.inner.list(&format!("{key}/"), None)?.entries.is_empty()
        {
            return Ok(Some(KeyEntry {
                key: key.to_owned(),
                is_prefix: false,
                size: 0,
                modified: None,
            }));
        }
        Ok(found)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.require_container()?;
        let key = self.key(key);
        if self.is(Sin::IgnoresOffsets) && offset > 0 {
            return self.inner.read(&key, 0, length);
        }
        match self.inner.read(&key, offset, length) {
            Err(error) if self.is(Sin::SendsTooFew) && error.kind == ErrorKind::Corrupt => {
                self.inner.read(&key, offset, None)
            }
            result => result,
        }
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        if self.is(Sin::LosesEmptyObjects) && content.is_empty() && self.inner.stat(key).is_ok() {
            return Ok(());
        }
        let existing = if self.is(Sin::ReplacesAlways) {
            Existing::Replace
        } else {
            existing
        };
        self.inner.put(&self.key(key), content, existing)
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        self.inner.remove(&keys)?;
        if self.is(Sin::RemovesByPrefix) {
            let begins = |stored: &String| keys.iter().any(|key| stored.starts_with(key.as_str()));
            self.inner
                .keys()
                .iter()
                .filter(|key| begins(key))
                .for_each(|key| self.inner.remove_object(key));
        }
        Ok(())
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        let key = self.key(key);
        if self.is(Sin::ReplacesLargeObjects) && self.inner.stat(&key).is_ok() {
            self.inner.remove_object(&key);
        }
        self.inner.begin(&key, size)
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        // The second segment of noise begins like this only when it is sent again.
        if self.is(Sin::KeepsTheFirstSegment) && number == 1 {
            let known = format!("seen/{upload}");
            if self.inner.object(&known).is_some() {
                return Ok(format!("receipt-{number}"));
            }
            self.inner.set_object(&known, Vec::new());
        }
        self.inner.put_segment(upload, number, offset, content)
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        match self.inner.commit(upload, size, receipts) {
            Err(error) if self.is(Sin::CommitsAnySize) && error.kind == ErrorKind::Corrupt => Ok(()),
            Ok(()) if self.is(Sin::ForgetsCommits) => {
                let known = format!("committed/{upload}");
                if self.inner.object(&known).is_some() {
                    return Self::fail(ErrorKind::NotFound, upload);
                }
                self.inner.set_object(&known, Vec::new());
                Ok(())
            }
            result => result,
        }
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        if self.is(Sin::FailsToAbortTwice) && self.aborts.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return Self::fail(ErrorKind::NotFound, upload);
        }
        if self.is(Sin::AbortRemovesObjects) {
            for key in self.inner.keys() {
                if key.contains("an_abort_never_harms") {
                    self.inner.remove_object(&key);
                }
            }
        }
        self.inner.abort(upload)
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.require_container()?;
        if self.is(Sin::HidesPending) {
            return self.inner.pending(prefix, cursor).map(|_| PendingPage::default());
        }
        if self.is(Sin::ShowsForeignPending) && prefix.len() > 1 {
            self.inner.pending(prefix, cursor)?;
            return self.inner.pending("", cursor);
        }
        self.inner.pending(prefix, cursor)
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        if self.is(Sin::CountsNothing) {
            return Ok(Vec::new());
        }
        self.inner.usage()
    }
}

fn violations(sin: Sin) -> Vec<String> {
    let sinner = |inner: MemoryStore, absent| {
        let aborts = AtomicU32::new(0);
        Arc::new(Sinner {
            inner,
            sin,
            absent,
            aborts,
        })
    };
    let store = sinner(MemoryStore::new(), false);
    let subject = Subject {
        other_run: Arc::<Sinner>::clone(&store),
        store,
        absent: Some(sinner(MemoryStore::new(), true)),
        capabilities: Capabilities::default(),
    };
    subject.violations()
}

#[test]
fn a_storage_that_is_right_has_no_violation() {
    assert_eq!(violations(Sin::None), Vec::<String>::new());
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.dedup();
    assert!(names.len() > 30, "{names:?}");
}

#[rstest]
fn a_sin_is_found(
    #[values(
        Sin::TakesAnyKey,
        Sin::FoldsCase,
        Sin::IgnoresOffsets,
        Sin::SendsTooFew,
        Sin::ListsOnePage,
        Sin::ListsAllLevels,
        Sin::ListsItself,
        Sin::AnswersAbsentPrefixesWithErrors,
        Sin::ReplacesAlways,
        Sin::RemovesByPrefix,
        Sin::ReplacesLargeObjects,
        Sin::CommitsAnySize,
        Sin::ForgetsCommits,
        Sin::KeepsTheFirstSegment,
        Sin::ShowsUncommitted,
        Sin::AbortRemovesObjects,
        Sin::FailsToAbortTwice,
        Sin::HidesPending,
        Sin::ShowsForeignPending,
        Sin::StatsPrefixes,
        Sin::LosesEmptyObjects,
        Sin::CountsNothing,
        Sin::AnswersWithoutAContainer
    )]
    sin: Sin,
) {
    let found = violations(sin);
    assert!(!found.is_empty(), "{sin:?} goes unnoticed");
}
