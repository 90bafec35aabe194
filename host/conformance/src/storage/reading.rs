//! Looking at objects and reading ranges of them.

use freezer_pipeline::store::{ErrorKind, Existing};
use std::sync::Arc;

use super::checks::{Sent, fails, has_not, holds, noise, put, read, same, segments, works, wrong};
use super::{Subject, Verdict};

/// Later than 2001: a time that isn't just left out.
const PLAUSIBLE_TIME: i64 = 1_000_000_000;

/// `stat` is up to date, and a mere prefix is no object.
pub(super) fn stat_tells_objects_from_prefixes(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let key = format!("{place}folder/object");
    put(store, &key, b"12345")?;
    let Some(entry) = works("stat", store.stat(&key))? else {
        return wrong(format!("stat of {key:?} finds nothing though it was stored"));
    };
    same("the key", &entry.key, &key)?;
    same("the size", &entry.size, &5)?;
    same("whether it is a prefix", &entry.is_prefix, &false)?;
    let plausible = entry.modified.is_none_or(|time| time.0 > PLAUSIBLE_TIME);
    holds(plausible, || {
        format!("{key:?} was modified at {:?}", entry.modified)
    })?;
    let folder = format!("{place}folder");
    same(
        "a folder as an object",
        &works("stat", store.stat(&folder))?,
        &None,
    )?;
    put(store, &key, b"1")?;
    let size = works("stat", subject.other_run.stat(&key))?.map(|entry| entry.size);
    same("the size after a change", &size, &Some(1))?;
    works("remove", store.remove(std::slice::from_ref(&key)))?;
    has_not(&*subject.other_run, &key)
}

/// Any range of a small and of a large object, also around the borders of segments.
pub(super) fn ranges_are_exact(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let (small, large, empty) = (
        format!("{place}small"),
        format!("{place}large"),
        format!("{place}empty"),
    );
    let content = noise(1, 10_000);
    put(store, &small, &content)?;
    put(store, &empty, b"")?;
    let sent = Sent::stored(store, &large, 2, 3)?;
    let border = segments(store).0 as u64;
    for (key, content) in [(&small, &content[..]), (&large, &sent.content), (&empty, &[])] {
        let size = content.len() as u64;
        let offsets = [0, 1, border - 1, border, border + 1, 2 * border - 3, size / 2];
        let offsets = offsets.into_iter().chain([size.saturating_sub(1), size]);
        for offset in offsets.filter(|offset| *offset <= size) {
            let rest = size - offset;
            let lengths = [0, 1, 2, 7, border, border + 2, rest].map(Some);
            for length in lengths.into_iter().chain([None]) {
                if length.is_some_and(|length| length > rest) {
                    continue;
                }
                let what = format!("read of {length:?} bytes at {offset} of {size}");
                let found = works(&what, read(store, key, offset, length))?;
                let end = offset + length.unwrap_or(rest);
                let wanted = &content[offset as usize..end as usize];
                holds(found == wanted, || {
                    format!(
                        "{what} must give the {} bytes there, but gave {} others",
                        wanted.len(),
                        found.len()
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// No byte more than there is, and never silently fewer than asked for.
pub(super) fn reading_behind_the_end_fails(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let (small, large) = (format!("{place}small"), format!("{place}large"));
    put(store, &small, &noise(1, 5000))?;
    let size = Sent::stored(store, &large, 2, 2)?.content.len() as u64;
    for (key, size) in [(&small, 5000), (&large, size)] {
        for offset in [size + 1, size + 1000, 1 << 40, u64::MAX] {
            for length in [None, Some(0), Some(1)] {
                let what = format!("read of {length:?} bytes at {offset} of {size}");
                fails(&what, &[ErrorKind::Invalid], read(store, key, offset, length))?;
            }
        }
        for (offset, length) in [
            (0, size + 1),
            (size - 1, 2),
            (size, 1),
            (1, u64::MAX),
            (1, 1 << 40),
        ] {
            let what = format!("read of {length} bytes at {offset} of {size}");
            fails(
                &what,
                &[ErrorKind::Corrupt],
                read(store, key, offset, Some(length)),
            )?;
        }
    }
    Ok(())
}

/// Also where a folder of that name is.
pub(super) fn absent_objects_are_not_found(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    put(store, &format!("{place}folder/object"), b"x")?;
    for name in [
        "absent",
        "folder",
        "folder/objec",
        "folder/object2",
        "absent/deep/er",
    ] {
        has_not(store, &format!("{place}{name}"))?;
        let range = read(store, &format!("{place}{name}"), 5, Some(5));
        fails(
            "read of a range of what isn't there",
            &[ErrorKind::NotFound],
            range,
        )?;
    }
    Ok(())
}

/// A mistyped container is no empty one; removing from it is a success all the same.
pub(super) fn an_absent_container_is_told(subject: &Subject, _place: &str) -> Verdict {
    let Some(store) = subject.absent.as_deref() else {
        return Ok(());
    };
    let not_found = &[ErrorKind::NotFound][..];
    fails("list without a container", not_found, store.list("", None))?;
    fails("list without a container", not_found, store.list("a/b/", None))?;
    fails("read without a container", not_found, read(store, "a/b", 0, None))?;
    if subject.capabilities.pending {
        fails("pending without a container", not_found, store.pending("", None))?;
    }
    works("remove without a container", store.remove(&["a/b".to_owned()]))?;
    fails("list after a remove", not_found, store.list("", None))?;
    // The first write makes it.
    let put = store.put("a/b", Arc::new(b"first".to_vec()), Existing::Replace);
    works("the first put", put)?;
    let found = works("read", read(store, "a/b", 0, None))?;
    same("the first object", &found, &b"first".to_vec())
}
