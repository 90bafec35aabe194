//! Objects in one request each: reading ranges, storing small ones, removing.

use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::http::Response;
use freezer_sdk::storage::{Existing, PAGE_ENTRIES};

use crate::service::{self, Ask};
use crate::{S3, absent_is_done, document};

impl S3 {
    /// Exactly the bytes that were asked for, or an error.
    pub(crate) fn read_object(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let full = self.service.place.full_key(key)?;
        let reading = || format!("can't read object \"{key}\" in {}", self.service.place);
        // The protocol has no range without bytes.
        if length == Some(0) {
            let object = self
                .service
                .find(&full)
                .context(reading)?
                .ok_or_else(|| self.absent(key))?;
            return self
                .check_range(key, object.size, (offset, length))
                .and_then(|()| Body::from_bytes(&[]));
        }
        let range = match length {
            None if offset == 0 => None,
            None => Some(format!("bytes={offset}-")),
            Some(length) => Some(format!("bytes={offset}-{}", offset.saturating_add(length - 1))),
        };
        let headers = range.map(|range| ("range", range)).into_iter().collect();
        let response = self
            .service
            .send(&Ask {
                method: "GET",
                key: Some(&full),
                headers,
                ..Ask::default()
            })
            .context(reading)?;
        match response.status {
            200 | 206 => {
                check_content(&response, offset, length).context(reading)?;
                Ok(response.content)
            }
            // Behind the end, or exactly there.
            416 => {
                let object = self
                    .service
                    .find(&full)
                    .context(reading)?
                    .ok_or_else(|| self.absent(key))?;
                self.check_range(key, object.size, (offset, length))
                    .and_then(|()| Body::from_bytes(&[]))
            }
            _ => match self.service.refused(&response) {
                error
                    if error.kind == ErrorKind::NotFound
                        && error.code.as_deref() != Some(service::NO_BUCKET) =>
                {
                    Err(self.absent(key))
                }
                error => Err(error.context(reading())),
            },
        }
    }

    /// Stores a small object.
    pub(crate) fn put_object(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        let full = self.service.place.full_key(key)?;
        let storing = || format!("can't store object \"{key}\" in {}", self.service.place);
        let mut headers = self.retention.headers(service::now())?;
        if existing == Existing::Refuse {
            // A look first: there are services that overlook the condition.
            if self.service.find_if_allowed(&full).context(storing)?.is_some() {
                return Err(self.present(key));
            }
            headers.push(("if-none-match", "*".to_owned()));
        }
        let stored = self.service.ask_to_write(&Ask {
            method: "PUT",
            key: Some(&full),
            headers,
            content: Some(content),
            ..Ask::default()
        });
        match stored {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Err(self.present(key)),
            stored => stored.map(|_| ()).context(storing),
        }
    }

    /// Removes objects; absent ones are a success.
    pub(crate) fn remove_objects(&self, keys: &[String]) -> Result<()> {
        if keys.len() > PAGE_ENTRIES {
            return Err(Error::invalid(format!(
                "{} keys to remove at once, {PAGE_ENTRIES} may be",
                keys.len()
            )));
        }
        let full: Vec<String> = keys
            .iter()
            .map(|key| self.service.place.full_key(key))
            .collect::<Result<_>>()?;
        let removing = || format!("can't remove objects in {}", self.service.place);
        let removed = match full.as_slice() {
            [] => return Ok(()),
            [key] => self
                .service
                .ask(&Ask {
                    method: "DELETE",
                    key: Some(key),
                    ..Ask::default()
                })
                .map(|_| ()),
            keys => self.remove_many(keys),
        };
        absent_is_done(removed).context(removing)
    }

    fn remove_many(&self, keys: &[String]) -> Result<()> {
        let document = Body::from_bytes(document::delete_objects(keys).as_bytes())?;
        let query = vec![("delete", "")];
        let answer = self.service.ask_document(&Ask {
            method: "POST",
            query,
            content: Some(&document),
            ..Ask::default()
        })?;
        let first = answer
            .children("Error")
            .find(|error| error.text("Code") != "NoSuchKey");
        first.map_or(Ok(()), |error| {
            let key = error.exact_text("Key");
            Err(self.service.refusal(error).context(format!("object \"{key}\"")))
        })
    }

    /// Refuses a range that the object doesn't have.
    fn check_range(&self, key: &str, size: u64, (offset, length): (u64, Option<u64>)) -> Result<()> {
        let place = &self.service.place;
        if offset > size {
            return Err(Error::invalid(format!(
                "object \"{key}\" in {place} has {size} bytes, none at {offset}"
            )));
        }
        if length.is_some_and(|length| length > size - offset) {
            return Err(Error::corrupt(format!(
                "object \"{key}\" in {place} is too short: {size} bytes"
            )));
        }
        Ok(())
    }
}

/// Refuses an answer that doesn't announce exactly what was asked for. The host sees to it that as much comes.
fn check_content(response: &Response, offset: u64, length: Option<u64>) -> Result<()> {
    let announced: Option<u64> = response
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let Some(announced) = announced else {
        return Err(Error::corrupt("the service doesn't tell how much it sends"));
    };
    if response.status == 200 {
        return match (offset, length) {
            (0, None) => Ok(()),
            (0, Some(length)) if length == announced => Ok(()),
            _ => Err(Error::unsupported(
                "the service sends the whole object instead of a range",
            )),
        };
    }
    let begins = response
        .header("content-range")
        .is_some_and(|range| range.starts_with(&format!("bytes {offset}-")));
    if !begins {
        return Err(Error::corrupt(
            "the service sends another range than it was asked for",
        ));
    }
    match length {
        Some(length) if announced < length => Err(Error::corrupt(format!(
            "it is too short: {announced} bytes from {offset}, not {length}"
        ))),
        Some(length) if announced > length => {
            Err(Error::corrupt("the service sends more than it was asked for"))
        }
        _ => Ok(()),
    }
}
