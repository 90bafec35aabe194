//! The user stops a run at any moment: it leaves nothing or a whole backup, though the storage refuses its calls.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use freezer_pipeline::testing::MemoryStore;

use super::support::*;
use crate::*;

/// Raises the token at one call and heeds it as storages of plugins do: what may take long is refused from then on.
struct Interrupted {
    inner: MemoryStore,
    cancel: Cancel,
    /// The number of the call that raises it, from 0.
    at: u64,
    calls: AtomicU64,
}

impl Interrupted {
    fn count(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.at {
            self.cancel.cancel();
        }
    }

    fn heed(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        self.count();
        if !self.cancel.is_cancelled() {
            return Ok(());
        }
        Err(StoreError {
            kind: ErrorKind::Cancelled,
            storage: self.inner.url().to_owned(),
            operation,
            key: key.to_owned(),
            message: "the run was cancelled".to_owned(),
            cause: None,
        })
    }
}

impl Store for Interrupted {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.heed("list", prefix)?;
        self.inner.list(prefix, cursor)
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.heed("look at", key)?;
        self.inner.stat(key)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.heed("read", key)?;
        self.inner.read(key, offset, length)
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.heed("write", key)?;
        self.inner.put(key, content, existing)
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        self.heed("remove", "")?;
        self.inner.remove(keys)
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        self.heed("begin to write", key)?;
        self.inner.begin(key, size)
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        self.heed("write a segment of", upload)?;
        self.inner.put_segment(upload, number, offset, content)
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        self.heed("finish writing", upload)?;
        self.inner.commit(upload, size, receipts)
    }

    // The road gives its uploads up before the recipe's clean-up begins: this call is never refused.
    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        self.count();
        self.inner.abort(upload)
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.heed("list what is unfinished below", prefix)?;
        self.inner.pending(prefix, cursor)
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.inner.usage()
    }
}

#[test]
fn a_run_stopped_at_any_storage_call_leaves_nothing_or_a_whole_backup() {
    let mut stopped = 0;
    for at in 0.. {
        let mut bench = Bench::encrypted();
        bench.write("a", "first");
        bench.backup();
        let before = bench.store.keys();
        bench.write("b", &"second".repeat(100));
        bench.cancel = Cancel::new();
        let store = Arc::new(Interrupted {
            inner: bench.store.clone(),
            cancel: bench.cancel.clone(),
            at,
            calls: AtomicU64::new(0),
        });
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let mode = Directory::new(bench.source());
        let storages = vec![Storage::opened(shared)];
        let result = bench.run(|context| backup(storages, &bench.options, &bench.keyring(), &mode, context));
        let case = format!("stopped at call {at}: {result:?}");
        if !bench.cancel.is_raised() {
            assert!(result.is_ok(), "{case}");
            break;
        }
        assert_eq!(bench.store.open_uploads(), 0, "{case}");
        match result {
            Ok(_) => {
                bench.cancel = Cancel::new();
                assert_eq!(bench.restore(None).unwrap(), bench.expected(), "{case}");
            }
            Err(error) => {
                stopped += 1;
                assert_eq!(error.exit_class(), ExitClass::Interrupted, "{case}");
                assert_eq!(bench.store.keys(), before, "{case}");
                assert_eq!(bench.warnings.lock().unwrap().len(), 0, "{case}");
            }
        }
    }
    assert!(stopped > 10, "only {stopped} runs were stopped");
}

#[test]
fn a_trial_stopped_at_any_storage_call_takes_everything_away() {
    let mut stopped = 0;
    for at in 0.. {
        let mut bench = Bench::new();
        bench.cancel = Cancel::new();
        let store: Arc<dyn Store> = Arc::new(Interrupted {
            inner: bench.store.clone(),
            cancel: bench.cancel.clone(),
            at,
            calls: AtomicU64::new(0),
        });
        let options = TrialOptions {
            size_bytes: 256 << 10,
        };
        let result = bench.run(|context| trial(&store, options, context));
        assert_eq!(bench.store.keys(), [""; 0], "stopped at call {at}");
        assert_eq!(bench.store.open_uploads(), 0, "stopped at call {at}");
        if !bench.cancel.is_raised() {
            assert!(result.is_ok());
            break;
        }
        if let Err(error) = result {
            stopped += 1;
            assert_eq!(error.exit_class(), ExitClass::Interrupted);
        }
    }
    assert!(stopped > 10, "only {stopped} trials were stopped");
}
