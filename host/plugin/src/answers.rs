//! Checks what storages answer: a guest is as little to be believed as a network peer.
//!
//! Each function turns an answer into the road's types, or says in words that follow the call's name what is wrong with it.

use freezer_format::name::Timestamp;
use freezer_pipeline::store::{ContainerUsage, KeyEntry, Limits, Page, PendingPage, PendingUpload};

use crate::bindings::v1::imports::freezer::plugin::types;
use crate::bindings::v1::storage::exports::freezer::plugin::storage as wit;
use crate::escape;
use crate::interfaces::resources::Taken;
use crate::storage::pieces::Piece;

/// The contract's ceilings.
const MAX_KEY_BYTES: usize = 1024;
const MAX_PAGE_ENTRIES: usize = 1000;
const MAX_CURSOR_BYTES: usize = 4096;
const MAX_UPLOAD_BYTES: usize = 2048;
const MAX_RECEIPT_BYTES: usize = 256;
const MAX_PARALLEL_CALLS: u32 = 16;
const MAX_CONTAINERS: usize = 10_000;

/// What the storage can take.
pub(crate) fn limits(limits: &wit::Limits) -> Result<Limits, String> {
    let wit::Limits {
        max_segments,
        min_segment_bytes,
        max_segment_bytes,
        parallel_calls,
    } = *limits;
    if max_segments == 0
        || max_segment_bytes == 0
        || min_segment_bytes > max_segment_bytes
        || parallel_calls == 0
    {
        return Err(format!("its limits make no sense: {limits:?}"));
    }
    Ok(Limits {
        max_segments,
        min_segment_bytes,
        max_segment_bytes,
        parallel_calls: parallel_calls.min(MAX_PARALLEL_CALLS),
    })
}

/// A page of a listing one level below `prefix`.
pub(crate) fn page(prefix: &str, cursor: Option<&str>, page: wit::KeyPage) -> Result<Page, String> {
    if page.entries.len() > MAX_PAGE_ENTRIES {
        return Err(format!("a page of {} entries", page.entries.len()));
    }
    let entries = page
        .entries
        .into_iter()
        .map(|entry| listed(prefix, entry))
        .collect::<Result<_, _>>()?;
    Ok(Page {
        entries,
        next: next(cursor, page.next)?,
    })
}

fn listed(prefix: &str, entry: wit::KeyEntry) -> Result<KeyEntry, String> {
    check_key(&entry.key, entry.kind)?;
    let Some(name) = entry.key.strip_prefix(prefix) else {
        return Err(format!(
            "{} doesn't lie below {}",
            shown(&entry.key),
            shown(prefix)
        ));
    };
    let name = if entry.kind == wit::KeyKind::Prefix {
        name.strip_suffix('/').unwrap_or(name)
    } else {
        name
    };
    if name.is_empty() || name.contains('/') {
        return Err(format!(
            "{} isn't one level below {}",
            shown(&entry.key),
            shown(prefix)
        ));
    }
    Ok(key_entry(entry))
}

/// Facts about the object that was asked for.
pub(crate) fn object(key: &str, entry: wit::KeyEntry) -> Result<KeyEntry, String> {
    if entry.key != key || entry.kind != wit::KeyKind::Object {
        return Err(format!("it spoke of {} instead", shown(&entry.key)));
    }
    Ok(key_entry(entry))
}

/// The name of an upload.
pub(crate) fn upload(upload: String) -> Result<String, String> {
    check_text("upload", &upload, 1..=MAX_UPLOAD_BYTES)?;
    Ok(upload)
}

/// What `commit` must know of a segment.
pub(crate) fn receipt(receipt: String) -> Result<String, String> {
    check_text("receipt", &receipt, 0..=MAX_RECEIPT_BYTES)?;
    Ok(receipt)
}

/// A page of unfinished uploads.
pub(crate) fn pending(
    prefix: &str,
    cursor: Option<&str>,
    page: wit::PendingPage,
) -> Result<PendingPage, String> {
    if page.uploads.len() > MAX_PAGE_ENTRIES {
        return Err(format!("a page of {} uploads", page.uploads.len()));
    }
    let check = |pending: wit::PendingUpload| {
        check_key(&pending.key, wit::KeyKind::Object)?;
        if !pending.key.starts_with(prefix) {
            return Err(format!(
                "{} doesn't lie below {}",
                shown(&pending.key),
                shown(prefix)
            ));
        }
        let started = pending.started.map(timestamp);
        Ok(PendingUpload {
            upload: upload(pending.upload)?,
            key: pending.key,
            started,
        })
    };
    let uploads = page.uploads.into_iter().map(check).collect::<Result<_, _>>()?;
    Ok(PendingPage {
        uploads,
        next: next(cursor, page.next)?,
    })
}

/// How full the containers are.
pub(crate) fn usage(containers: Vec<wit::ContainerUsage>) -> Result<Vec<ContainerUsage>, String> {
    if containers.len() > MAX_CONTAINERS {
        return Err(format!("{} containers", containers.len()));
    }
    let shown = |usage: wit::ContainerUsage| ContainerUsage {
        name: escape::line(&usage.name, MAX_KEY_BYTES),
        objects: usage.objects,
        bytes: usage.bytes,
        available: usage.available,
    };
    Ok(containers.into_iter().map(shown).collect())
}

/// A cursor that leads on: the same one again would go on for ever.
fn next(cursor: Option<&str>, next: Option<String>) -> Result<Option<String>, String> {
    match &next {
        Some(next) if next.len() > MAX_CURSOR_BYTES => Err(format!("a cursor of {} bytes", next.len())),
        Some(next) if Some(next.as_str()) == cursor => {
            Err("the cursor of the next page is that of this one".to_owned())
        }
        _ => Ok(next),
    }
}

/// Holds keys to relative, `/`-separated paths without surprises.
fn check_key(key: &str, kind: wit::KeyKind) -> Result<(), String> {
    let parts = match kind {
        wit::KeyKind::Object => key,
        wit::KeyKind::Prefix => key
            .strip_suffix('/')
            .ok_or_else(|| format!("prefix {} has no / at its end", shown(key)))?,
    };
    let good =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    if key.len() > MAX_KEY_BYTES || !parts.split('/').all(good) {
        return Err(format!("{} is no key", shown(key)));
    }
    Ok(())
}

fn check_text(what: &str, text: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    if !lengths.contains(&text.len()) || text.chars().any(char::is_control) {
        return Err(format!("{} of {} bytes is no {what}", shown(text), text.len()));
    }
    Ok(())
}

fn key_entry(entry: wit::KeyEntry) -> KeyEntry {
    KeyEntry {
        is_prefix: entry.kind == wit::KeyKind::Prefix,
        key: entry.key,
        size: entry.size,
        modified: entry.modified.map(timestamp),
    }
}

fn timestamp(time: types::Timestamp) -> Timestamp {
    Timestamp(time.seconds)
}

fn shown(text: &str) -> String {
    format!("{:?}", escape::line(text, 100))
}

/// The first bytes, or all, of what was asked for: never more, and at least one if any were asked for.
pub(crate) fn piece(
    (taken, size): (Taken, Option<u64>),
    key: &str,
    length: Option<u64>,
) -> Result<Piece, String> {
    match (length, size) {
        (Some(length), Some(size)) if size > length || (size == 0 && length > 0) => Err(format!(
            "it answered {size} bytes of {} where {length} were asked for",
            shown(key)
        )),
        _ => Ok(Piece {
            reader: taken.into_reader(),
            size,
        }),
    }
}
