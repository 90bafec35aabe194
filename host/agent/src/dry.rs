//! A storage that reads from another one and takes writes without keeping them: for a dry run.
//!
//! Everything on the road happens, so that the summary is the real one; the storage isn't touched.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use freezer_pipeline::store::{
    ContainerUsage, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};

/// Small objects that were put are kept, since they are read back; segments are not.
pub(crate) struct DryStore {
    inner: Arc<dyn Store>,
    written: Mutex<BTreeMap<String, Arc<Vec<u8>>>>,
}

impl DryStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            written: Mutex::default(),
        }
    }

    fn written(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }
}

impl Store for DryStore {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.inner.list(prefix, cursor)
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.inner.stat(key)
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        match self.written(key) {
            Some(content) if offset == 0 && length.is_none() => {
                Ok(Box::new(std::io::Cursor::new(Vec::clone(&content))))
            }
            _ => self.inner.read(key, offset, length),
        }
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, _existing: Existing) -> Result<(), StoreError> {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned(), content);
        Ok(())
    }

    fn remove(&self, _keys: &[String]) -> Result<(), StoreError> {
        Ok(())
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String, StoreError> {
        Ok(key.to_owned())
    }

    fn put_segment(
        &self,
        _upload: &str,
        _number: u32,
        _offset: u64,
        _content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        Ok(String::new())
    }

    fn commit(&self, _upload: &str, _size: u64, _receipts: &[String]) -> Result<(), StoreError> {
        Ok(())
    }

    fn abort(&self, _upload: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.inner.pending(prefix, cursor)
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.inner.usage()
    }
}
