//! The storages of a run as one [`Store`], for the road of the bytes.
//!
//! A call goes to all that take part at the same time and ends with the slowest of them: nobody runs ahead, and a
//! segment's memory is shared. Names of uploads and receipts are lists with a place for each storage; one that
//! failed has an empty place from then on.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};

use super::reader::FailoverReader;
use super::{Site, SiteNumber, Sites};

/// Several storages as one.
pub(crate) struct Fan {
    sites: Arc<Sites>,
    limits: Limits,
    url: String,
}

impl Fan {
    /// The storages as what the road reads from and writes to. A single one stands for itself.
    pub(crate) fn over(sites: &Arc<Sites>, limits: Limits) -> Arc<dyn Store> {
        if let ([(_, only)], 1) = (sites.live().as_slice(), sites.all().count()) {
            return Arc::clone(&only.target);
        }
        let urls: Vec<&str> = sites.live().iter().map(|(_, site)| site.url.as_str()).collect();
        Arc::new(Self {
            limits,
            url: urls.join(", "),
            sites: Arc::clone(sites),
        })
    }

    /// Makes one call to every storage that takes part, all at once; answers by place.
    fn each<T: Send>(
        &self,
        call: impl Fn(usize, &Site) -> Option<Result<T, StoreError>> + Sync,
    ) -> Result<Vec<Option<T>>, StoreError> {
        let live = self.sites.live();
        let one = |(number, site): &(SiteNumber, &Site)| call(number.0, site);
        let answers: Vec<Option<Result<T, StoreError>>> = match live.as_slice() {
            [single] => vec![one(single)],
            live => thread::scope(|scope| {
                let calls: Vec<_> = live.iter().map(|site| scope.spawn(|| one(site))).collect();
                let broken = |_| Some(Err(nobody("reach", &self.url)));
                calls
                    .into_iter()
                    .map(|call| call.join().unwrap_or_else(broken))
                    .collect()
            }),
        };
        let mut placed: Vec<Option<T>> = self.sites.all().map(|_| None).collect();
        // A stopped run is no storage's failure, whatever else went wrong at the same moment.
        let cancelled = answers.iter().flatten().find_map(|answer| match answer {
            Err(error) if error.kind == ErrorKind::Cancelled => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = cancelled {
            return Err(error);
        }
        for ((number, _), answer) in live.iter().zip(answers) {
            if let Some(answer) = answer {
                placed[number.0] = self.sites.settle_store(*number, answer)?;
            }
        }
        Ok(placed)
    }

    /// Asks the storages one by one until one answers.
    fn first<T>(&self, ask: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut cause: Option<StoreError> = None;
        for (_, site) in self.sites.live() {
            match ask(&*site.store) {
                Ok(answer) => return Ok(answer),
                Err(error) => cause = cause.or(Some(error)),
            }
        }
        Err(cause.unwrap_or_else(|| nobody("reach", &self.url)))
    }
}

/// What is said when nobody is left to ask.
pub(super) fn nobody(operation: &'static str, key: &str) -> StoreError {
    StoreError {
        kind: ErrorKind::Other,
        storage: "any storage".to_owned(),
        operation,
        key: key.to_owned(),
        message: "no storage is left".to_owned(),
        cause: None,
    }
}

/// A list with a place for each storage, as one text.
fn joined(parts: &[Option<String>]) -> Result<String, StoreError> {
    serde_json::to_string(parts).map_err(|error| StoreError {
        message: error.to_string(),
        ..nobody("name", "")
    })
}

fn parted(text: &str) -> Result<Vec<Option<String>>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError {
        kind: ErrorKind::Invalid,
        message: error.to_string(),
        ..nobody("find", text)
    })
}

/// What stands in a storage's place.
fn part(parts: &[Option<String>], place: usize) -> Option<&String> {
    parts.get(place).and_then(Option::as_ref)
}

impl Store for Fan {
    fn url(&self) -> &str {
        &self.url
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.first(|store| store.list(prefix, cursor))
    }

    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.first(|store| store.stat(key))
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        FailoverReader::open(Arc::clone(&self.sites), key, offset, length)
    }

    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.each(|_, site| Some(site.target.put(key, Arc::clone(&content), existing)))
            .map(drop)
    }

    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        // One that fails here keeps what a clean-up will look at again.
        let results = self
            .sites
            .live()
            .into_iter()
            .map(|(_, site)| site.target.remove(keys));
        results.fold(Ok(()), Result::and)
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        joined(&self.each(|_, site| Some(site.target.begin(key, size)))?)
    }

    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        let uploads = parted(upload)?;
        let receipts = self.each(|place, site| {
            let upload = part(&uploads, place)?;
            Some(
                site.target
                    .put_segment(upload, number, offset, Arc::clone(&content)),
            )
        })?;
        joined(&receipts)
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        let uploads = parted(upload)?;
        let mut by_place: Vec<Vec<String>> = uploads.iter().map(|_| Vec::new()).collect();
        for receipt in receipts {
            for (place, receipt) in parted(receipt)?.into_iter().enumerate() {
                if let (Some(list), Some(receipt)) = (by_place.get_mut(place), receipt) {
                    list.push(receipt);
                }
            }
        }
        self.each(|place, site| {
            let upload = part(&uploads, place)?;
            Some(site.target.commit(upload, size, &by_place[place]))
        })
        .map(drop)
    }

    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        let uploads = parted(upload)?;
        let mut result = Ok(());
        for (place, (_, site)) in self.sites.all().enumerate() {
            if let Some(upload) = part(&uploads, place) {
                result = result.and(site.target.abort(upload));
            }
        }
        result
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.first(|store| store.pending(prefix, cursor))
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.first(|store| store.usage())
    }
}
