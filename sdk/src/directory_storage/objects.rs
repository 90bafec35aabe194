//! Objects as files: what each call of a storage does with them.

use std::rc::Rc;

use super::Place;
use super::receipt::{self, Receipt};
use super::upload::{self, Upload, check_key};
use super::walk::Walk;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::bodies::Body;
use crate::host::control;
use crate::host::directories::{Directory, EntryKind};
use crate::storage::{
    self, ContainerUsage, Existing, KeyEntry, KeyKind, KeyPage, PAGE_ENTRIES, PendingPage, PendingUpload,
    check_prefix,
};

/// The objects below one place.
#[derive(Debug)]
pub(super) struct Objects<P> {
    pub(super) place: P,
}

impl<P: Place> Objects<P> {
    pub(super) fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        let folder = check_prefix(prefix)?;
        let directory = &*self.place.reading()?;
        let listing = || format!("can't list \"{prefix}\" in {}", self.place);
        if !is_folder(directory, folder).context(listing)? {
            return Ok(KeyPage {
                entries: Vec::new(),
                next: None,
            });
        }
        let page = directory.list(folder, cursor).context(listing)?;
        let mut entries = Vec::with_capacity(page.entries.len());
        let mut foreign = Vec::new();
        for entry in page.entries {
            let name = &entry.name;
            // What this storage can't have made, a name with a line break for example, is no reason to show nothing.
            if storage::check_key(&format!("{prefix}{name}")).is_err() {
                foreign.push(name.clone());
                continue;
            }
            let (key, kind) = match entry.kind {
                EntryKind::File if upload::is_temporary(name) => continue,
                EntryKind::File => (format!("{prefix}{name}"), KeyKind::Object),
                EntryKind::Directory => (format!("{prefix}{name}/"), KeyKind::Prefix),
                EntryKind::Symlink | EntryKind::Other => {
                    foreign.push(name.clone());
                    continue;
                }
            };
            entries.push(KeyEntry {
                key,
                kind,
                size: entry.size,
                modified: Some(entry.modified),
            });
        }
        self.warn_of(prefix, &foreign);
        Ok(KeyPage {
            entries,
            next: page.next,
        })
    }

    /// Tells what a listing passes over: who put it there may take it for a backup.
    fn warn_of(&self, prefix: &str, foreign: &[String]) {
        let Some(first) = foreign.first() else { return };
        let more = match foreign.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let first: String = first.chars().take(60).collect();
        control::warning(format!(
            "{first:?}{more} below \"{prefix}\" in {} passed over: links, special files and odd names are no part of a storage",
            self.place
        ));
    }

    pub(super) fn stat(&self, key: &str) -> Result<KeyEntry> {
        check_key(key)?;
        self.find(&*self.place.reading()?, key)?
            .ok_or_else(|| self.absent(key))
    }

    pub(super) fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        check_key(key)?;
        let directory = &*self.place.reading()?;
        let size = self.find(directory, key)?.ok_or_else(|| self.absent(key))?.size;
        if offset > size {
            return Err(Error::invalid(format!(
                "object \"{key}\" in {} has {size} bytes, none at {offset}",
                self.place
            )));
        }
        if length.is_some_and(|length| length > size - offset) {
            return Err(Error::corrupt(format!(
                "object \"{key}\" in {} is too short: {size} bytes",
                self.place
            )));
        }
        directory
            .read(key, offset, length)
            .context(|| format!("can't read object \"{key}\" in {}", self.place))
    }

    pub(super) fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        check_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.place);
        let directory = &*self.place.writing()?;
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

    pub(super) fn remove(&self, keys: &[String]) -> Result<()> {
        if keys.len() > PAGE_ENTRIES {
            return Err(Error::invalid(format!(
                "{} keys to remove at once, {PAGE_ENTRIES} may be",
                keys.len()
            )));
        }
        keys.iter().try_for_each(|key| check_key(key))?;
        let Some(directory) = self.existing()? else {
            return Ok(());
        };
        let directory = &*directory;
        for key in keys {
            // A directory is no object: asked for by itself it must not go, not even an empty one.
            if self.find(directory, key)?.is_some() {
                directory
                    .remove(key)
                    .context(|| format!("can't remove object \"{key}\" in {}", self.place))?;
                tidy_folders(directory, key);
            }
        }
        Ok(())
    }

    pub(super) fn begin(&self, key: &str) -> Result<String> {
        check_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.place);
        let directory = &*self.place.writing()?;
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

    pub(super) fn put_segment(
        &self,
        upload: &str,
        (number, offset): (u32, u64),
        content: &Body,
    ) -> Result<String> {
        let upload = Upload::parse(upload)?;
        let storing = || {
            format!(
                "can't store segment {number} of object \"{}\" in {}",
                upload.key, self.place
            )
        };
        let directory = &*self.place.writing()?;
        // Without this, a segment that comes after an abort would begin the file anew.
        if directory.find(&upload.temporary).context(storing)?.is_none() {
            return Err(self.gone(&upload));
        }
        let written = directory
            .write(&upload.temporary, offset, content)
            .context(storing)?;
        let file = directory.find(&upload.temporary).context(storing)?;
        let file = file.ok_or_else(|| self.gone(&upload))?;
        Ok(Receipt::new(written, file.modified).to_string())
    }

    pub(super) fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        let upload = Upload::parse(upload)?;
        let key = upload.key.as_str();
        let completing = || format!("can't complete object \"{key}\" in {}", self.place);
        let Some(directory) = self.existing()? else {
            return Err(self.gone(&upload));
        };
        let directory = &*directory;
        let Some(temporary) = directory.find(&upload.temporary).context(completing)? else {
            return self.commit_again(directory, &upload, (size, receipts));
        };
        let received = receipt::sum(receipts)?.bytes;
        if temporary.size != size || received != size {
            return Err(Error::corrupt(format!(
                "object \"{key}\" in {} must have {size} bytes, but its file has {} and its segments have {received}",
                self.place, temporary.size
            )));
        }
        match directory.publish(&upload.temporary, key, Existing::Refuse) {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Err(self.present(key)),
            published => published.context(completing),
        }
    }

    pub(super) fn abort(&self, upload: &str) -> Result<()> {
        let upload = Upload::parse(upload)?;
        let Some(directory) = self.existing()? else {
            return Ok(());
        };
        let directory = &*directory;
        directory
            .remove(&upload.temporary)
            .context(|| format!("can't remove \"{}\" in {}", upload.temporary, self.place))?;
        tidy_folders(directory, &upload.temporary);
        Ok(())
    }

    pub(super) fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        let folder = check_prefix(prefix)?;
        let directory = &*self.place.reading()?;
        let mut uploads = Vec::new();
        let mut last = None;
        let mut walk = Walk::new(directory, folder, cursor);
        while let Some((path, entry)) = walk
            .next()
            .context(|| format!("can't list \"{prefix}\" in {}", self.place))?
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

    pub(super) fn usage(&self) -> Result<Vec<ContainerUsage>> {
        let directory = &*self.place.reading()?;
        let counting = || format!("can't count what is in {}", self.place);
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
            name: self.place.name(),
            objects,
            bytes,
            available,
        }])
    }
}

impl<P: Place> Objects<P> {
    /// The directory, to remove from it; none if it isn't there.
    fn existing(&self) -> Result<Option<Rc<Directory>>> {
        match self.place.reading() {
            Ok(_) => self.place.writing().map(Some),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object of that key, if there is one. Directories and links are none.
    fn find(&self, directory: &Directory, key: &str) -> Result<Option<KeyEntry>> {
        let found = directory
            .find(key)
            .context(|| format!("can't look at object \"{key}\" in {}", self.place))?;
        let file = found.filter(|entry| entry.kind == EntryKind::File);
        Ok(file.map(|entry| KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Object,
            size: entry.size,
            modified: Some(entry.modified),
        }))
    }

    /// A commit whose upload has no file any more: the answer to an earlier one was lost, or it never was. The file keeps
    /// the time of its last segment when it becomes an object; another upload's of the same length has another.
    fn commit_again(
        &self,
        directory: &Directory,
        upload: &Upload,
        (size, receipts): (u64, &[String]),
    ) -> Result<()> {
        let key = upload.key.as_str();
        let sent = receipt::sum(receipts)?;
        match self.find(directory, key)? {
            // The earlier one may have failed between renaming and syncing the folder.
            Some(object) if object.size == size && (size == 0 || sent.is_of(object.modified)) => directory
                .publish(key, key, Existing::Replace)
                .context(|| format!("can't complete object \"{key}\" in {}", self.place)),
            Some(_) => Err(self.present(key)),
            None => Err(self.gone(upload)),
        }
    }

    /// Removes the temporary file of something that failed. If that fails too, it is only told: the first error matters.
    fn tidy(&self, directory: &Directory, upload: &Upload) {
        if let Err(error) = directory.remove(&upload.temporary) {
            control::warning(format!(
                "\"{}\" is left in {}: {error}",
                upload.temporary, self.place
            ));
        }
    }

    fn absent(&self, key: &str) -> Error {
        Error::not_found(format!("there is no object \"{key}\" in {}", self.place))
    }

    fn present(&self, key: &str) -> Error {
        Error::already_exists(format!("object \"{key}\" is in {} already", self.place))
    }

    fn gone(&self, upload: &Upload) -> Error {
        Error::not_found(format!(
            "the upload of object \"{}\" to {} is gone",
            upload.key, self.place
        ))
    }
}

/// Takes away the folders that a removal left empty: else every listing would go through those of all backups that
/// ever were. One that holds something can't be removed, and one that was just filled again stays.
fn tidy_folders(directory: &Directory, key: &str) {
    let mut path = key;
    while let Some((folder, _)) = path.rsplit_once('/') {
        if !is_folder(directory, folder).unwrap_or(false) || directory.remove(folder).is_err() {
            return;
        }
        path = folder;
    }
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
