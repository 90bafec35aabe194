//! Storage s3: a bucket of an S3 service.
//!
//! Large objects are multipart uploads: invisible until they are completed, with all state in the upload-id or at the service.
//! Small ones are one request. An object bears the run that made it in its metadata, which tells a repeated `commit` from a
//! foreign object. Requests are made in `service.rs`; the bytes themselves never enter this plugin.

mod objects;
mod parts;
mod upload;
mod pages;
mod retention;
mod service;
mod place;
mod sign;
mod document;
mod failure;

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::export_storage;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{
    ContainerUsage, Existing, KeyEntry, KeyKind, KeyPage, Limits, PendingPage, Storage, check_prefix,
};

use pages::Depth;
use retention::Retention;
use service::Service;
use upload::Upload;

/// Parts that an upload may have, by the protocol.
const SEGMENTS: u32 = 10_000;
/// Least bytes of a part but the last, by the protocol.
const LEAST_SEGMENT_BYTES: u64 = 5 << 20;
/// 10 000 of them are 5 TiB, the largest object of most services; the protocol's 5 GiB would only cost memory.
const MOST_SEGMENT_BYTES: u64 = 512 << 20;
/// One connection to such a service rarely fills a line.
const PARALLEL_CALLS: u32 = 4;

/// A bucket of an S3 service.
struct S3 {
    service: Service,
    retention: Retention,
}

export_storage!(S3);

impl Storage for S3 {
    fn open(settings: Settings) -> Result<Self> {
        Ok(S3 {
            service: Service::new(&settings)?,
            retention: Retention::new(&settings)?,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: SEGMENTS,
            min_segment_bytes: LEAST_SEGMENT_BYTES,
            max_segment_bytes: MOST_SEGMENT_BYTES,
            parallel_calls: PARALLEL_CALLS,
        }
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        check_prefix(prefix)?;
        pages::keys(&self.service, prefix, Depth::OneLevel, cursor)
            .context(|| format!("can't list \"{prefix}\" in {}", self.service.place))
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        let full = self.service.place.full_key(key)?;
        let found = self
            .service
            .find(&full)
            .context(|| format!("can't look at object \"{key}\" in {}", self.service.place))?;
        let object = found.ok_or_else(|| self.absent(key))?;
        Ok(KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Object,
            size: object.size,
            modified: object.modified,
        })
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        self.read_object(key, offset, length)
    }

    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        self.put_object(key, content, existing)
    }

    fn remove(&self, keys: &[String]) -> Result<()> {
        self.remove_objects(keys)
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String> {
        self.begin_upload(key)?.id()
    }

    fn put_segment(&self, upload: &str, number: u32, _offset: u64, content: &Body) -> Result<String> {
        let upload = Upload::parse(upload)?;
        if number >= SEGMENTS {
            return Err(Error::invalid(format!(
                "segment {number}: an object may have {SEGMENTS}"
            )));
        }
        self.put_part(&upload, number, content).context(|| {
            format!(
                "can't store segment {number} of object \"{}\" in {}",
                upload.key, self.service.place
            )
        })
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        self.commit_upload(&Upload::parse(upload)?, size, receipts)
    }

    fn abort(&self, upload: &str) -> Result<()> {
        self.abort_upload(&Upload::parse(upload)?)
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        check_prefix(prefix)?;
        pages::uploads(&self.service, prefix, cursor).context(|| {
            format!(
                "can't list unfinished uploads below \"{prefix}\" in {}",
                self.service.place
            )
        })
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>> {
        let (mut objects, mut bytes) = (0_u64, 0_u64);
        let mut cursor = None;
        loop {
            let page = pages::keys(&self.service, "", Depth::All, cursor.as_deref())
                .context(|| format!("can't count what is in {}", self.service.place))?;
            objects += page.entries.len() as u64;
            bytes = page
                .entries
                .iter()
                .fold(bytes, |sum, entry| sum.saturating_add(entry.size));
            control::progress(
                &format!("counting objects in {}: {objects}", self.service.place),
                None,
            );
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let name = self.service.place.container();
        // The protocol doesn't tell what is left.
        Ok(vec![ContainerUsage {
            name,
            objects,
            bytes,
            available: None,
        }])
    }
}

impl S3 {
    fn absent(&self, key: &str) -> Error {
        Error::not_found(format!("there is no object \"{key}\" in {}", self.service.place))
    }

    fn present(&self, key: &str) -> Error {
        Error::already_exists(format!("object \"{key}\" is in {} already", self.service.place))
    }
}

/// What is to be removed may be gone already.
fn absent_is_done(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
