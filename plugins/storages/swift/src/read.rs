//! Looking: listings, facts, contents, and how full the container is.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::directories::Timestamp;
use freezer_sdk::host::http::Response;
use freezer_sdk::storage::{
    ContainerUsage, KeyEntry, KeyKind, KeyPage, PAGE_ENTRIES, check_key, check_prefix,
};

use crate::listing::{self, Listed, Question};
use crate::object::{ITSELF, Layout, Stored, content_length};
use crate::place::{encode, object_path};
use crate::session::Call;
use crate::upload::{FOLDER, number};
use crate::{Swift, old, status};

impl Swift {
    /// `list` of the contract.
    pub(crate) fn list_page(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        let folder = check_prefix(prefix)?;
        if folder.split('/').any(|part| part == FOLDER) {
            return Ok(KeyPage {
                entries: Vec::new(),
                next: None,
            });
        }
        let listing = || format!("can't list \"{prefix}\" in {}", self.shown());
        if let Some(page) = old::page_of(cursor) {
            return self.old_page(prefix, page).context(listing);
        }
        let question = Question {
            container: &self.place.container,
            prefix: &self.place.object(prefix),
            marker: cursor,
            limit: Some(PAGE_ENTRIES),
            one_level: true,
        };
        let page = match listing::page(&self.session, &question) {
            Err(error) if error.kind == ErrorKind::NotFound && self.may_be_old(prefix) => {
                return self.old_page(prefix, 0).context(listing);
            }
            page => page.context(listing)?,
        };
        let next = page.last().map(|entry| entry.name().to_owned());
        if next.is_some() && next.as_deref() == cursor {
            return Err(Error::corrupt("the listing has no end").context(listing()));
        }
        let mut entries = Vec::with_capacity(page.len());
        for listed in &page {
            if let Some(entry) = self.entry(listed).context(listing)? {
                entries.push(entry);
            }
        }
        // No cluster gives fewer than it was asked for unless there are no more.
        let next = next.filter(|_| page.len() >= PAGE_ENTRIES);
        let next = next.or_else(|| self.may_be_old(prefix).then(Self::old_cursor));
        Ok(KeyPage { entries, next })
    }

    /// A listed name as an entry; `None` for what is none of the storage's.
    fn entry(&self, listed: &Listed) -> Result<Option<KeyEntry>> {
        let Some(key) = self.place.key(listed.name()) else {
            return Ok(None);
        };
        if check_key(key.strip_suffix('/').unwrap_or(key)).is_err() {
            return Ok(None);
        }
        let mut entry = KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Prefix,
            size: 0,
            modified: None,
        };
        match listed {
            Listed::Prefix { .. } => {
                let hidden = key == format!("{FOLDER}/") || key.ends_with(&format!("/{FOLDER}/"));
                Ok((!hidden).then_some(entry))
            }
            // Shown below folders of their own.
            Listed::Object(_) if old::is_object(key) => Ok(None),
            // What looks like a folder made by other programs.
            Listed::Object(_) if key.ends_with('/') => Ok(None),
            // A dynamic manifest has no bytes of its own: what it stands for has.
            Listed::Object(object) if object.bytes == 0 => self.found(key),
            Listed::Object(object) => {
                entry.kind = KeyKind::Object;
                entry.size = object.bytes;
                entry.modified = object.last_modified.as_deref().and_then(listing::seconds).map(at);
                Ok(Some(entry))
            }
        }
    }

    /// `stat` of the contract.
    pub(crate) fn stat_object(&self, key: &str) -> Result<KeyEntry> {
        check_key(key)?;
        let looking = || format!("can't look at object \"{key}\" in {}", self.shown());
        self.found(key).context(looking)?.ok_or_else(|| self.absent(key))
    }

    fn found(&self, key: &str) -> Result<Option<KeyEntry>> {
        let found = self.inspect(key)?;
        Ok(found.map(|(stored, response)| KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Object,
            size: stored.size(),
            modified: written(&response),
        }))
    }

    /// `read` of the contract.
    pub(crate) fn read_object(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        check_key(key)?;
        let reading = || format!("can't read object \"{key}\" in {}", self.shown());
        if let Some(layout) = self.cache.get(key) {
            match self.read_large((key, &layout), offset, length) {
                // A segment is missing: perhaps the whole object was removed meanwhile.
                Err(error) if error.kind == ErrorKind::Corrupt => self.cache.forget(key),
                read => return read.context(reading),
            }
        }
        let path = self.path_of(key).context(reading)?;
        let call = ranged(Call::new("GET", path.clone()).query(ITSELF), offset, length);
        let response = self.session.send(&call).context(reading)?;
        let read = match response.status {
            404 => return Err(self.absent(key)),
            200 | 206 | 416 => match self.manifest(key, &response).context(reading)? {
                None => content(response, offset, length),
                Some(Stored::Large(layout)) => self.read_large((key, &layout), offset, length),
                Some(_) => {
                    let call = ranged(Call::new("GET", path), offset, length);
                    let response = self.session.send(&call).context(reading)?;
                    content(response, offset, length)
                }
            },
            _ => Err(status::error(&response)),
        };
        read.context(reading)
    }

    /// The bytes of a large object, up to the end of a segment.
    fn read_large(&self, (key, layout): (&str, &Layout), offset: u64, length: Option<u64>) -> Result<Body> {
        let (_, size) = layout.table.totals();
        let Some(rest) = size.checked_sub(offset) else {
            return Err(behind(size, offset));
        };
        let wanted = length.unwrap_or(rest);
        if wanted > rest {
            return Err(too_short(size));
        }
        let Some(spot) = layout.table.locate(offset).filter(|_| wanted > 0) else {
            return Body::from_bytes(b"");
        };
        if length.is_none() && wanted > spot.left {
            return Err(Error::unsupported(format!(
                "object \"{key}\" lies in pieces: it must be read with a length"
            )));
        }
        let name = format!("{}{}", layout.folder, number(spot.number));
        let (inside, taken) = (spot.inside, wanted.min(spot.left));
        let call = Call::new("GET", object_path(&layout.container, &name));
        let response = self.session.send(&ranged(call, inside, Some(taken)))?;
        let damaged = || format!("segment {} of it is damaged", spot.number);
        match response.status {
            404 => Err(Error::corrupt(format!(
                "segment {} of it is missing",
                spot.number
            ))),
            200 | 206 | 416 => content(response, inside, Some(taken)).map_err(|error| match error.kind {
                ErrorKind::Invalid => Error::corrupt(error.message).context(damaged()),
                _ => error.context(damaged()),
            }),
            _ => Err(status::error(&response)),
        }
    }

    /// `usage` of the contract.
    pub(crate) fn container_usage(&self) -> Result<Vec<ContainerUsage>> {
        let counting = || format!("can't count what is in {}", self.shown());
        let path = format!("/{}", encode(&self.place.container));
        let response = self.session.ask(&Call::new("HEAD", path)).context(counting)?;
        let bytes = figure(&response, "x-container-bytes-used").unwrap_or(0);
        let quota = figure(&response, "x-container-meta-quota-bytes");
        let mut available = quota.map(|quota| quota.saturating_sub(bytes));
        // Not everyone who may write into a container may look at its account.
        if let Ok(account) = self.session.ask(&Call::new("HEAD", String::new()))
            && let Some(quota) = figure(&account, "x-account-meta-quota-bytes")
        {
            let used = figure(&account, "x-account-bytes-used").unwrap_or(0);
            let left = quota.saturating_sub(used);
            available = Some(available.map_or(left, |other| other.min(left)));
        }
        Ok(vec![ContainerUsage {
            name: self.place.container.clone(),
            objects: figure(&response, "x-container-object-count").unwrap_or(0),
            bytes,
            available,
        }])
    }

    /// The storage's name in messages.
    pub(crate) fn shown(&self) -> String {
        format!("container {:?}", self.place.container)
    }

    pub(crate) fn absent(&self, key: &str) -> Error {
        Error::not_found(format!("there is no object \"{key}\" in {}", self.shown()))
    }
}

/// Adds the range to a request; none for a whole object.
fn ranged(call: Call<'_>, offset: u64, length: Option<u64>) -> Call<'_> {
    match length {
        None if offset == 0 => call,
        None => call.header("Range", format!("bytes={offset}-")),
        // No range is empty: one byte shows as well whether the offset is behind the end.
        Some(length) => {
            let last = offset.saturating_add(length.max(1)) - 1;
            call.header("Range", format!("bytes={offset}-{last}"))
        }
    }
}

/// The content of an answer, which must be what was asked for.
fn content(response: Response, offset: u64, length: Option<u64>) -> Result<Body> {
    match response.status {
        206 => {
            let (first, last, size) = content_range(&response)
                .ok_or_else(|| Error::other("the answer doesn't say which bytes it holds"))?;
            let held = last.saturating_sub(first).saturating_add(1);
            if first != offset {
                return Err(Error::other("the answer holds other bytes than were asked for"));
            }
            match length {
                Some(0) => Body::from_bytes(b""),
                Some(length) if held != length => Err(too_short(size)),
                None if last.saturating_add(1) != size => Err(too_short(size)),
                _ => Ok(response.content),
            }
        }
        416 => {
            let range = response.header("content-range").unwrap_or_default();
            let size = range.rsplit_once('/').and_then(|(_, size)| size.parse().ok());
            let size: u64 =
                size.ok_or_else(|| Error::other("the answer doesn't say how long the object is"))?;
            match length {
                _ if offset > size => Err(behind(size, offset)),
                Some(length) if length > 0 => Err(too_short(size)),
                _ => Body::from_bytes(b""),
            }
        }
        status if status::is_success(status) => whole(response, offset, length),
        _ => Err(status::error(&response)),
    }
}

/// An answer without a range: everything was asked for, or the object is empty.
fn whole(response: Response, offset: u64, length: Option<u64>) -> Result<Body> {
    let size = content_length(&response)?;
    match length {
        None if offset == 0 => Ok(response.content),
        _ if offset > size => Err(behind(size, offset)),
        Some(length) if offset == 0 && length == size => Ok(response.content),
        Some(length) if length > size - offset => Err(too_short(size)),
        Some(0) => Body::from_bytes(b""),
        None if offset == size => Body::from_bytes(b""),
        _ => Err(Error::unsupported(
            "the service answers whole objects where a range was asked for",
        )),
    }
}

/// `bytes FIRST-LAST/SIZE`.
fn content_range(response: &Response) -> Option<(u64, u64, u64)> {
    let range = response.header("content-range")?.strip_prefix("bytes ")?;
    let (range, size) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, size.parse().ok()?))
}

fn behind(size: u64, offset: u64) -> Error {
    Error::invalid(format!("it has {size} bytes, none at {offset}"))
}

fn too_short(size: u64) -> Error {
    Error::corrupt(format!("it is too short: {size} bytes"))
}

fn figure(response: &Response, header: &str) -> Option<u64> {
    response.header(header)?.parse().ok()
}

/// When an object was written, by Swift's own stamp.
fn written(response: &Response) -> Option<Timestamp> {
    let stamp = response.header("x-timestamp")?;
    let seconds = stamp.split_once('.').map_or(stamp, |(seconds, _)| seconds);
    seconds.parse().ok().map(at)
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds: 0,
    }
}
