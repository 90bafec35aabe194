//! Listings, a page at a time: objects one level below a prefix, all objects, unfinished uploads.
//!
//! Keys come URL-encoded where the service can do that, since XML can't hold every character. What is no key of this storage
//! (folder marks, foreign names) is left out.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::directories::Timestamp;
use freezer_sdk::storage::{KeyEntry, KeyKind, KeyPage, PAGE_ENTRIES, PendingPage, PendingUpload};
use percent_encoding::percent_decode_str;

use crate::document::Element;
use crate::service::{Ask, Service, timestamp};
use crate::upload::{self, Upload};

/// Uploads that one call judges, each by a request of its own: the host asks for the next page.
const JUDGED: usize = 200;
/// Most parts of an upload, and most of them in a page: the protocol's own limits.
const PARTS: usize = 10_000;
/// See [`PARTS`].
const PAGE_PARTS: usize = 1000;
/// What the cursors of key listings begin with.
const CURSOR: &str = "after:";

/// What a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Objects one level below, and the prefixes of those deeper.
    OneLevel,
    /// All objects.
    All,
}

/// A page of objects and prefixes below a prefix.
///
/// # Errors
/// What the service's refusal means; `corrupt` for an answer without sense.
pub(crate) fn keys(service: &Service, prefix: &str, depth: Depth, cursor: Option<&str>) -> Result<KeyPage> {
    let full = service.place.full_prefix(prefix);
    let most = PAGE_ENTRIES.to_string();
    let mut query = vec![
        ("list-type", "2"),
        ("encoding-type", "url"),
        ("max-keys", most.as_str()),
        ("prefix", &full),
    ];
    if depth == Depth::OneLevel {
        query.push(("delimiter", "/"));
    }
    // Not every service refuses a foreign token in an orderly way.
    let token = cursor
        .map(|cursor| cursor.strip_prefix(CURSOR).ok_or_else(foreign))
        .transpose()?;
    query.extend(token.map(|token| ("continuation-token", token)));
    let page = service.ask_document(&Ask {
        method: "GET",
        query,
        ..Ask::default()
    })?;
    let encoded = is_encoded(&page);
    let mut entries = Vec::new();
    for object in page.children("Contents") {
        let full = decode(object.exact_text("Key"), encoded)?;
        let Some(key) = service.place.own_key(&full) else {
            continue;
        };
        let size = object
            .text("Size")
            .parse()
            .map_err(|_| senseless("an object without a length"))?;
        let modified = date(object.text("LastModified"));
        entries.push(KeyEntry {
            key: key.to_owned(),
            kind: KeyKind::Object,
            size,
            modified,
        });
    }
    for common in page.children("CommonPrefixes") {
        let full = decode(common.exact_text("Prefix"), encoded)?;
        let folder = full
            .strip_suffix('/')
            .and_then(|full| service.place.own_key(full));
        entries.extend(folder.map(|folder| KeyEntry {
            key: format!("{folder}/"),
            kind: KeyKind::Prefix,
            size: 0,
            modified: None,
        }));
    }
    if entries.len() > PAGE_ENTRIES {
        return Err(senseless("more entries than were asked for"));
    }
    let next = is_truncated(&page).then(|| page.exact_text("NextContinuationToken"));
    let next = next
        .map(|next| further(next, token))
        .transpose()?
        .map(|next| format!("{CURSOR}{next}"));
    Ok(KeyPage { entries, next })
}

/// A page of unfinished uploads whose keys begin with a prefix.
///
/// # Errors
/// As [`keys`]; `invalid` for a foreign cursor.
pub(crate) fn uploads(service: &Service, prefix: &str, cursor: Option<&str>) -> Result<PendingPage> {
    let full = service.place.full_prefix(prefix);
    let most = JUDGED.to_string();
    let mut query = vec![
        ("uploads", ""),
        ("encoding-type", "url"),
        ("max-uploads", most.as_str()),
        ("prefix", full.as_str()),
    ];
    if let Some(cursor) = cursor {
        let (service_id, key) = upload::split(cursor).ok_or_else(foreign)?;
        query.extend([("key-marker", key), ("upload-id-marker", service_id)]);
    }
    let page = service.ask_document(&Ask {
        method: "GET",
        query,
        ..Ask::default()
    })?;
    let encoded = is_encoded(&page);
    let mut uploads = Vec::new();
    for found in page.children("Upload") {
        let full = decode(found.exact_text("Key"), encoded)?;
        let Some(key) = service.place.own_key(&full).filter(|key| key.starts_with(prefix)) else {
            continue;
        };
        let upload = Upload {
            run: None,
            service_id: found.text("UploadId").to_owned(),
            key: key.to_owned(),
        };
        let begun = date(found.text("Initiated"));
        uploads.push(PendingUpload {
            upload: upload.id()?,
            started: newest(last_part(service, (&full, &upload.service_id))?, begun),
            key: upload.key,
        });
    }
    if uploads.len() > PAGE_ENTRIES {
        return Err(senseless("more uploads than were asked for"));
    }
    let next = if is_truncated(&page) {
        let key = decode(page.exact_text("NextKeyMarker"), encoded)?;
        Some(further(
            &upload::join(page.text("NextUploadIdMarker"), &key),
            cursor,
        )?)
    } else {
        None
    };
    Ok(PendingPage { uploads, next })
}

/// When an upload last grew, so that a run which works at it for days isn't taken for a dead one; none if the service
/// doesn't tell. Its parts are listed by number, and come in any order.
fn last_part(service: &Service, (full, service_id): (&str, &str)) -> Result<Option<Timestamp>> {
    let most = PAGE_PARTS.to_string();
    let (mut latest, mut marker) = (None, String::from("0"));
    for _ in 0..PARTS / PAGE_PARTS {
        let query = vec![
            ("uploadId", service_id),
            ("max-parts", most.as_str()),
            ("part-number-marker", marker.as_str()),
        ];
        let listed = service.ask_document(&Ask {
            method: "GET",
            key: Some(full),
            query,
            ..Ask::default()
        });
        let page = match listed {
            Ok(page) => page,
            // Gone meanwhile, or not for this user: when it began is known.
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unsupported
                ) =>
            {
                return Ok(latest);
            }
            Err(error) => return Err(error),
        };
        for part in page.children("Part") {
            latest = newest(latest, date(part.text("LastModified")));
        }
        if !is_truncated(&page) {
            break;
        }
        marker = further(page.text("NextPartNumberMarker"), Some(&marker))?;
    }
    Ok(latest)
}

fn is_truncated(page: &Element) -> bool {
    page.text("IsTruncated") == "true"
}

fn is_encoded(page: &Element) -> bool {
    page.text("EncodingType") == "url"
}

/// The next page's cursor. One that doesn't move would list for ever.
fn further(next: &str, cursor: Option<&str>) -> Result<String> {
    if next.is_empty() || Some(next) == cursor {
        return Err(senseless("a page that has a next one, but doesn't say which"));
    }
    Ok(next.to_owned())
}

/// A key as it is.
fn decode(text: &str, encoded: bool) -> Result<String> {
    if !encoded {
        return Ok(text.to_owned());
    }
    // Some services write a space as "+", and all write "+" as "%2B".
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text)
        .decode_utf8()
        .map_err(|_| senseless("a key that isn't UTF-8"))?;
    Ok(decoded.into_owned())
}

/// A date as in listings; none if the service writes another one.
fn date(text: &str) -> Option<Timestamp> {
    DateTime::from_str(text, Format::DateTimeWithOffset)
        .ok()
        .map(timestamp)
}

/// The later one of two times.
fn newest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    let order = |time: &Timestamp| (time.seconds, time.nanoseconds);
    one.into_iter().chain(other).max_by_key(order)
}

fn foreign() -> Error {
    Error::invalid("the cursor isn't one of this storage's")
}

fn senseless(what: &str) -> Error {
    Error::corrupt(format!("the service's listing makes no sense: {what}"))
}
