//! A read that goes on in the next storage where one fails: all hold the same bytes.

use std::io::{self, Read};
use std::sync::Arc;

use freezer_pipeline::store::StoreError;

use super::Sites;

/// Reads an object from the first storage that answers.
pub(super) struct FailoverReader {
    sites: Arc<Sites>,
    key: String,
    offset: u64,
    left: Option<u64>,
    /// The storages that weren't tried yet begin here.
    next: usize,
    inner: Box<dyn Read + Send>,
}

impl FailoverReader {
    /// Opens the object.
    ///
    /// # Errors
    /// Every storage fails; the first one's error.
    pub(super) fn open(
        sites: Arc<Sites>,
        key: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let (inner, next) = open_from(&sites, 0, key, (offset, length))?;
        Ok(Box::new(Self {
            sites,
            key: key.to_owned(),
            offset,
            left: length,
            next,
            inner,
        }))
    }

    fn advance(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(bytes as u64);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes as u64);
        }
    }
}

impl Read for FailoverReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.inner.read(buffer) {
                Ok(bytes) => {
                    self.advance(bytes);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => error,
            };
            let range = (self.offset, self.left);
            // The first cause is worth more than that of the last storage.
            let Ok((inner, next)) = open_from(&self.sites, self.next, &self.key, range) else {
                return Err(error);
            };
            (self.inner, self.next) = (inner, next);
        }
    }
}

type Opened = (Box<dyn Read + Send>, usize);

/// Tries the storages from `first` on; failed ones aren't asked.
fn open_from(
    sites: &Sites,
    first: usize,
    key: &str,
    (offset, length): (u64, Option<u64>),
) -> Result<Opened, StoreError> {
    let mut cause: Option<StoreError> = None;
    for (place, (number, site)) in sites.all().enumerate().skip(first) {
        if sites.has_failed(number) {
            continue;
        }
        match site.store.read(key, offset, length) {
            Ok(inner) => return Ok((inner, place + 1)),
            Err(error) => cause = cause.or(Some(error)),
        }
    }
    Err(cause.unwrap_or_else(|| super::store::nobody("read", key)))
}
