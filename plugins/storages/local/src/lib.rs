//! Storage local: a directory of this machine.
//!
//! An object is a file whose path below the container is its key. Until it is whole it lies beside its place under a temporary
//! name (`upload.rs`) that no listing shows; making it visible is one rename, after its bytes are on disk. So nothing but a whole
//! object ever bears a key, whatever breaks off when. An object once there is replaced by `put` only, and only if asked.

mod container;
mod upload;
mod walk;

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::export_storage;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;
use freezer_sdk::host::directories::{Directory, EntryKind};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{
    ContainerUsage, Existing, KeyEntry, KeyKind, KeyPage, Limits, PAGE_ENTRIES, PendingPage, PendingUpload,
    Storage, check_prefix,
};

use container::Container;
use upload::{Upload, check_key};
use walk::Walk;

/// Segments are written at their place, so they may be small: the host holds whole ones in memory.
const SEGMENT_BYTES: u64 = 8 << 20;
/// 8 TiB in one object; the receipts of as many segments still pass to `commit` in one call.
const SEGMENTS: u32 = 1_000_000;
/// One disk: more writers only wait for each other.
const PARALLEL_CALLS: u32 = 2;

/// A directory of this machine.
struct Local {
    container: Container,
}

export_storage!(Local);

impl Storage for Local {
    fn open(settings: Settings) -> Result<Self> {
        Ok(Local {
            container: Container::new(settings.text("path")?)?,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: SEGMENTS,
            min_segment_bytes: 1,
            max_segment_bytes: SEGMENT_BYTES,
            parallel_calls: PARALLEL_CALLS,
        }
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        let folder = check_prefix(prefix)?;
        let directory = self.container.reading()?;
        let listing = || format!("can't list \"{prefix}\" in {}", self.container);
        if !is_folder(directory, folder).context(listing)? {
            return Ok(KeyPage {
                entries: Vec::new(),
                next: None,
            });
        }
        let page = directory.list(folder, cursor).context(listing)?;
        let mut entries = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let name = &entry.name;
            let (key, kind) = match entry.kind {
                EntryKind::File if upload::is_temporary(name) => continue,
                EntryKind::File => (format!("{prefix}{name}"), KeyKind::Object),
                EntryKind::Directory => (format!("{prefix}{name}/"), KeyKind::Prefix),
                // Nothing that this storage makes.
                EntryKind::Symlink | EntryKind::Other => continue,
            };
            entries.push(KeyEntry {
                key,
                kind,
                size: entry.size,
                modified: Some(entry.modified),
            });
        }
        Ok(KeyPage {
            entries,
            next: page.next,
        })
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        check_key(key)?;
        self.find(self.container.reading()?, key)?
            .ok_or_else(|| self.absent(key))
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        check_key(key)?;
        let directory = self.container.reading()?;
        let size = self.find(directory, key)?.ok_or_else(|| self.absent(key))?.size;
        if offset > size {
            return Err(Error::invalid(format!(
                "object \"{key}\" in {} has {size} bytes, none at {offset}",
                self.container
            )));
        }
        if length.is_some_and(|length| length > size - offset) {
            return Err(Error::corrupt(format!(
                "object \"{key}\" in {} is too short: {size} bytes",
                self.container
            )));
        }
        directory
            .read(key, offset, length)
            .context(|| format!("can't read object \"{key}\" in {}", self.container))
    }

    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        check_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.container);
        let directory = self.container.writing()?;
        if existing == Existing::Refuse && directory.find(key).context(storing)?.is_some() {
            return Err(self.present(key));
        }
        let upload = Upload::new(key);
        let stored = directory
            .write(&upload.temporary, 0, content)
            .and_then(|_| directory.publish(&upload.temporary, key, existing));
        stored
            .context(storing)
            .inspect_err(|_| self.tidy(directory, &upload))
    }

    fn remove(&self, keys: &[String]) -> Result<()> {
        if keys.len() > PAGE_ENTRIES {
            return Err(Error::invalid(format!(
                "{} keys to remove at once, {PAGE_ENTRIES} may be",
                keys.len()
            )));
        }
        keys.iter().try_for_each(|key| check_key(key))?;
        let Some(directory) = self.container.existing()? else {
            return Ok(());
        };
        for key in keys {
            // A directory is no object: it must not go, not even an empty one.
            if self.find(directory, key)?.is_some() {
                directory
                    .remove(key)
                    .context(|| format!("can't remove object \"{key}\" in {}", self.container))?;
            }
        }
        Ok(())
    }

    fn begin(&self, key: &str, _size: Option<u64>) -> Result<String> {
        check_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.container);
        let directory = self.container.writing()?;
        if directory.find(key).context(storing)?.is_some() {
            return Err(self.present(key));
        }
        let upload = Upload::new(key);
        // The empty file shows at once whether anything can be written, and lets `pending` find the upload.
        directory
            .write(&upload.temporary, 0, &Body::from_bytes(&[])?)
            .context(storing)
            .inspect_err(|_| self.tidy(directory, &upload))?;
        Ok(upload.id())
    }

    fn put_segment(&self, upload: &str, number: u32, offset: u64, content: &Body) -> Result<String> {
        let upload = Upload::parse(upload)?;
        let storing = || {
            format!(
                "can't store segment {number} of object \"{}\" in {}",
                upload.key, self.container
            )
        };
        let directory = self.container.writing()?;
        // Without this, a segment that comes after an abort would begin the file anew.
        if directory.find(&upload.temporary).context(storing)?.is_none() {
            return Err(self.gone(&upload));
        }
        let written = directory
            .write(&upload.temporary, offset, content)
            .context(storing)?;
        Ok(written.to_string())
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        let upload = Upload::parse(upload)?;
        let key = upload.key.as_str();
        let completing = || format!("can't complete object \"{key}\" in {}", self.container);
        let Some(directory) = self.container.existing()? else {
            return Err(self.gone(&upload));
        };
        let Some(temporary) = directory.find(&upload.temporary).context(completing)? else {
            return self.commit_again(directory, &upload, size);
        };
        let received = sum(receipts)?;
        if temporary.size != size || received != size {
            return Err(Error::corrupt(format!(
                "object \"{key}\" in {} must have {size} bytes, but its file has {} and its segments have {received}",
                self.container, temporary.size
            )));
        }
        match directory.publish(&upload.temporary, key, Existing::Refuse) {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Err(self.present(key)),
            published => published.context(completing),
        }
    }

    fn abort(&self, upload: &str) -> Result<()> {
        let upload = Upload::parse(upload)?;
        let Some(directory) = self.container.existing()? else {
            return Ok(());
        };
        directory
            .remove(&upload.temporary)
            .context(|| format!("can't remove \"{}\" in {}", upload.temporary, self.container))
    }

    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        let folder = check_prefix(prefix)?;
        let directory = self.container.reading()?;
        let mut uploads = Vec::new();
        let mut last = None;
        let mut walk = Walk::new(directory, folder, cursor);
        while let Some((path, entry)) = walk
            .next()
            .context(|| format!("can't list \"{prefix}\" in {}", self.container))?
        {
            let Some(upload) = Upload::of_temporary(&path) else {
                continue;
            };
            if uploads.len() == PAGE_ENTRIES {
                return Ok(PendingPage { uploads, next: last });
            }
            last = Some(path);
            let started = Some(entry.modified);
            uploads.push(PendingUpload {
                upload: upload.id(),
                key: upload.key,
                started,
            });
        }
        Ok(PendingPage { uploads, next: None })
    }

    fn usage(&self) -> Result<Vec<ContainerUsage>> {
        let directory = self.container.reading()?;
        let counting = || format!("can't count what is in {}", self.container);
        let (mut objects, mut bytes) = (0, 0_u64);
        let mut walk = Walk::new(directory, "", None);
        while let Some((_, entry)) = walk.next().context(counting)? {
            if !upload::is_temporary(&entry.name) {
                objects += 1;
                bytes = bytes.saturating_add(entry.size);
            }
        }
        let available = match directory.space() {
            Ok(space) => Some(space.available_bytes),
            Err(error) if error.kind == ErrorKind::Unsupported => None,
            Err(error) => return Err(error.context(counting())),
        };
        Ok(vec![ContainerUsage {
            name: self.container.path().to_owned(),
            objects,
            bytes,
            available,
        }])
    }
}

impl Local {
    /// The object of that key, if there is one. Directories and links are none.
    fn find(&self, directory: &Directory, key: &str) -> Result<Option<KeyEntry>> {
        let found = directory
            .find(key)
            .context(|| format!("can't look at object \"{key}\" in {}", self.container))?;
        let file = found.filter(|entry| entry.kind == EntryKind::File);
        Ok(file.map(|entry| KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Object,
            size: entry.size,
            modified: Some(entry.modified),
        }))
    }

    /// A commit whose upload has no file any more: the answer to an earlier one was lost, or it never was.
    fn commit_again(&self, directory: &Directory, upload: &Upload, size: u64) -> Result<()> {
        let key = upload.key.as_str();
        match self.find(directory, key)? {
            // The earlier one may have failed between renaming and syncing the folder.
            Some(object) if object.size == size => directory
                .publish(key, key, Existing::Replace)
                .context(|| format!("can't complete object \"{key}\" in {}", self.container)),
            Some(_) => Err(self.present(key)),
            None => Err(self.gone(upload)),
        }
    }

    /// Removes the temporary file of something that failed. If that fails too, it is only told: the first error matters.
    fn tidy(&self, directory: &Directory, upload: &Upload) {
        if let Err(error) = directory.remove(&upload.temporary) {
            control::warning(format!(
                "\"{}\" is left in {}: {error}",
                upload.temporary, self.container
            ));
        }
    }

    fn absent(&self, key: &str) -> Error {
        Error::not_found(format!("there is no object \"{key}\" in {}", self.container))
    }

    fn present(&self, key: &str) -> Error {
        Error::already_exists(format!("object \"{key}\" is in {} already", self.container))
    }

    fn gone(&self, upload: &Upload) -> Error {
        Error::not_found(format!(
            "the upload of object \"{}\" to {} is gone",
            upload.key, self.container
        ))
    }
}

/// The bytes of all segments.
fn sum(receipts: &[String]) -> Result<u64> {
    let mut sum = 0_u64;
    for (number, receipt) in receipts.iter().enumerate() {
        let length = receipt.parse::<u64>().ok();
        let next = length.and_then(|length| sum.checked_add(length));
        sum =
            next.ok_or_else(|| Error::invalid(format!("segment {number} has no receipt of this storage")))?;
    }
    Ok(sum)
}

/// True if there is a directory of that path. "" always is one.
fn is_folder(directory: &Directory, path: &str) -> Result<bool> {
    if path.is_empty() {
        return Ok(true);
    }
    Ok(directory
        .find(path)?
        .is_some_and(|entry| entry.kind == EntryKind::Directory))
}

#[cfg(test)]
mod tests;
