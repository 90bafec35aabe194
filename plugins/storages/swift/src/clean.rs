//! Taking away: objects with their segments, uploads that came to nothing, and finding the latter.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::control;
use freezer_sdk::storage::{PAGE_ENTRIES, PendingPage, PendingUpload, check_key, check_prefix};
use serde::Deserialize;

use crate::listing::{self, Listed, Question};
use crate::object::{Layout, Stored};
use crate::place::{encode, object_path};
use crate::read::at;
use crate::session::Call;
use crate::upload::{FOLDER, Upload, number, parse_number};
use crate::{Swift, status};

/// Uploads that one call of `pending` judges, each by a request: the host asks for the next page.
const JUDGED: usize = 200;
/// Largest answer to a bulk deletion.
const ANSWER_BYTES: usize = 4 << 20;

impl Swift {
    /// `remove` of the contract.
    pub(crate) fn remove_objects(&self, keys: &[String]) -> Result<()> {
        if keys.len() > PAGE_ENTRIES {
            return Err(Error::invalid(format!(
                "{} keys to remove at once, {PAGE_ENTRIES} may be",
                keys.len()
            )));
        }
        keys.iter().try_for_each(|key| check_key(key))?;
        for key in keys {
            self.remove_object(key)
                .context(|| format!("can't remove object \"{key}\" in {}", self.shown()))?;
        }
        Ok(())
    }

    /// The object goes first: what is left if this breaks off is an upload that `pending` shows, and never half an object.
    fn remove_object(&self, key: &str) -> Result<()> {
        self.cache.forget(key);
        let Some((stored, _)) = self.inspect(key)? else {
            return Ok(());
        };
        self.cache.forget(key);
        self.delete(&self.path_of(key)?)?;
        let Stored::Large(layout) = stored else {
            return Ok(());
        };
        if !self.owns(key, &layout) {
            control::warning(format!(
                "the segments of object \"{key}\" lie in container {:?} below {:?}, where freezer puts none; they are left there",
                layout.container, layout.folder
            ));
            return Ok(());
        }
        let (segments, _) = layout.table.totals();
        let names = (0..segments).map(|place| format!("{}{}", layout.folder, number(place)));
        self.delete_all(&layout.container, names)?;
        if let Some(upload) = &layout.upload {
            let parts = (0..layout.parts).map(|place| format!("{}{}", upload.parts(), number(place)));
            let rest = parts.chain([upload.mark()]).map(|key| self.place.object(&key));
            self.delete_all(&self.place.container, rest)?;
        }
        Ok(())
    }

    /// True if the segments lie where this storage, or the original, puts those of that key. A manifest is only text: it must not lead
    /// a removal elsewhere.
    fn owns(&self, key: &str, layout: &Layout) -> bool {
        if layout.upload.is_some() {
            return true;
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside = self.place.object(&format!("{folder}/{FOLDER}/"));
        let is_new = layout.container == self.place.container && layout.folder == beside;
        is_new || self.is_old(key, layout)
    }

    /// `abort` of the contract.
    pub(crate) fn abort_upload(&self, id: &str) -> Result<()> {
        let upload = Upload::parse(id)?;
        let aborting = || {
            format!(
                "can't take back the upload of object \"{}\" to {}",
                upload.key,
                self.shown()
            )
        };
        self.alive.replace(None);
        if self.is_complete(&upload)? {
            return Ok(());
        }
        self.delete(&self.path(&upload.mark())).context(aborting)?;
        for folder in [upload.segments(), upload.parts()] {
            let prefix = self.place.object(&folder);
            let mut names = Vec::new();
            let listed = listing::all(&self.session, (&self.place.container, &prefix), |object| {
                // Nothing else lies there, and nothing else is taken away.
                if object.name.strip_prefix(&prefix).and_then(parse_number).is_some() {
                    names.push(object.name);
                }
                Ok(())
            });
            match listed {
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
                listed => listed.context(aborting)?,
            }
            self.delete_all(&self.place.container, names.into_iter())
                .context(aborting)?;
        }
        Ok(())
    }

    /// `pending` of the contract. The cursor is the last name that was judged.
    pub(crate) fn pending_page(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
        check_prefix(prefix)?;
        let listing = || format!("can't list \"{prefix}\" in {}", self.shown());
        let question = Question {
            container: &self.place.container,
            prefix: &self.place.object(prefix),
            marker: cursor,
            limit: None,
            one_level: false,
        };
        let page = listing::page(&self.session, &question).context(listing)?;
        let mut found = Found::after(cursor.and_then(|name| self.upload_of(name)));
        let mut last = None;
        for entry in &page {
            let Listed::Object(object) = entry else { continue };
            if let Some(upload) = self.upload_of(&object.name) {
                if found.is_full_before(&upload) {
                    break;
                }
                let modified = object.last_modified.as_deref().and_then(listing::seconds);
                found.add(upload, modified);
            }
            last = Some(object.name.clone());
        }
        let mut uploads = Vec::new();
        for (upload, started) in found.uploads {
            if !self.is_complete(&upload).context(listing)? {
                uploads.push(PendingUpload {
                    upload: upload.id(),
                    key: upload.key,
                    started: started.map(at),
                });
            }
        }
        Ok(PendingPage {
            uploads,
            next: last.filter(|_| !page.is_empty()),
        })
    }

    /// The upload to which a listed name belongs.
    fn upload_of(&self, name: &str) -> Option<Upload> {
        self.place.key(name).and_then(Upload::of_piece)
    }

    /// Deletes one object; an absent one is a success.
    fn delete(&self, path: &str) -> Result<()> {
        let response = self.session.send(&Call::new("DELETE", path.to_owned()))?;
        match response.status {
            404 => Ok(()),
            status if status::is_success(status) => Ok(()),
            _ => Err(status::error(&response)),
        }
    }

    /// Deletes objects, many at once where the cluster can.
    fn delete_all(&self, container: &str, names: impl Iterator<Item = String>) -> Result<()> {
        let mut paths = names.map(|name| object_path(container, &name)).peekable();
        while paths.peek().is_some() {
            let group: Vec<String> = paths.by_ref().take(1000).collect();
            let most = if group.len() > 2 {
                self.info().bulk_deletes
            } else {
                0
            };
            if most == 0 {
                group.iter().try_for_each(|path| self.delete(path))?;
                continue;
            }
            for some in group.chunks(most) {
                self.delete_in_bulk(some)?;
            }
        }
        Ok(())
    }

    fn delete_in_bulk(&self, paths: &[String]) -> Result<()> {
        let list = Body::from_bytes(paths.join("\n").as_bytes())?;
        let mut call = Call::new("POST", String::new())
            .query("bulk-delete")
            .header("Content-Type", "text/plain")
            .header("Accept", "application/json");
        call.content = Some(&list);
        let response = self.session.send(&call)?;
        if matches!(response.status, 400 | 403 | 404 | 405 | 501) {
            // A cluster that doesn't do it after all, or not for this user.
            return paths.iter().try_for_each(|path| self.delete(path));
        }
        if !status::is_success(response.status) {
            return Err(status::error(&response));
        }
        let content = status::document(&response, ANSWER_BYTES)?;
        let answer: BulkAnswer = serde_json::from_slice(&content)
            .map_err(|error| Error::other(format!("the answer to a bulk deletion is no JSON: {error}")))?;
        // What it says of single objects is judged by deleting those again.
        let left = answer.errors.iter().map(|(path, _)| path.as_str());
        left.map(|path| {
            if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            }
        })
        .map(|path| encode_again(&path))
        .try_for_each(|path| self.delete(&path))?;
        if answer.status.starts_with('2') || !answer.errors.is_empty() {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "a bulk deletion ended with {:?}",
            answer.status
        )))
    }
}

/// Uploads in the order of a listing, each once.
struct Found {
    /// Told by an earlier page.
    told: Option<Upload>,
    uploads: Vec<(Upload, Option<i64>)>,
}

impl Found {
    fn after(told: Option<Upload>) -> Self {
        Found {
            told,
            uploads: Vec::new(),
        }
    }

    /// True if a further upload is one too many.
    fn is_full_before(&self, upload: &Upload) -> bool {
        self.uploads.len() == JUDGED && self.uploads.last().is_some_and(|(last, _)| last != upload)
    }

    fn add(&mut self, upload: Upload, modified: Option<i64>) {
        if self.told.as_ref() == Some(&upload) {
            return;
        }
        match self.uploads.last_mut() {
            Some((last, newest)) if *last == upload => *newest = (*newest).max(modified),
            _ => self.uploads.push((upload, modified)),
        }
    }
}

/// What Swift answers to a bulk deletion, whatever its status line says.
#[derive(Deserialize)]
struct BulkAnswer {
    #[serde(rename = "Response Status", default)]
    status: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

/// The answer's paths are encoded as ours were, by most versions; by some they aren't.
fn encode_again(path: &str) -> String {
    crate::place::decode(path).map_or_else(|| path.to_owned(), |plain| encode(&plain))
}
