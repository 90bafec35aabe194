//! Small objects: stored in one step, replaced or refused, removed exactly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use freezer_pipeline::store::{ErrorKind, Existing};

use super::checks::{Sent, at_once, becomes, fails, has, has_not, holds, list_deep, noise, put, same, works};
use super::{Refusal, Subject, Verdict};

/// The largest small object.
const LARGEST: usize = 16 << 20;

/// Empty, one byte, and the largest that is allowed.
pub(super) fn put_stores_whole_objects(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    for length in [0, 1, 4095, 4096, 100_000, LARGEST] {
        let key = format!("{place}{length}");
        let content = noise(7, length);
        let put = store.put(&key, Arc::clone(&content), Existing::Replace);
        works(&format!("put of {length} bytes"), put)?;
        has(store, &key, &content)?;
        has(&*subject.other_run, &key, &content)?;
    }
    Ok(())
}

/// Longer, shorter, empty and the same again.
pub(super) fn replacing_leaves_nothing_of_the_old(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let key = format!("{place}object");
    for (seed, length) in [(1, 1000), (2, 200_000), (2, 200_000), (3, 10), (4, 0), (5, 1)] {
        let content = noise(seed, length);
        put(store, &key, &content)?;
        has(store, &key, &content)?;
    }
    becomes(subject, "what is listed", &vec![key], || list_deep(store, place))
}

/// `refuse` is `already-exists` over small and large objects, also if the content is the same.
pub(super) fn refusing_keeps_the_old(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let (small, large) = (format!("{place}small"), format!("{place}large"));
    let refusing = |key: &str, content: &[u8]| store.put(key, Arc::new(content.to_vec()), Existing::Refuse);
    if subject.capabilities.refusal == Refusal::Unsupported {
        return fails(
            "put with refuse",
            &[ErrorKind::Unsupported],
            refusing(&small, b"first"),
        );
    }
    works("put with refuse of a new key", refusing(&small, b"first"))?;
    has(store, &small, b"first")?;
    for content in [&b"first"[..], b"second", b""] {
        let what = "put with refuse of a key that is there";
        fails(what, &[ErrorKind::AlreadyExists], refusing(&small, content))?;
        has(store, &small, b"first")?;
    }
    let sent = Sent::stored(store, &large, 3, 2)?;
    let what = "put with refuse over a large object";
    fails(what, &[ErrorKind::AlreadyExists], refusing(&large, b"small"))?;
    has(store, &large, &sent.content)?;
    works("remove", store.remove(std::slice::from_ref(&small)))?;
    works("put with refuse of a removed key", refusing(&small, b"again"))?;
    has(store, &small, b"again")
}

/// Of several that refuse at once one succeeds, and its content is what stays.
pub(super) fn of_several_writers_one_wins(subject: &Subject, place: &str) -> Verdict {
    if subject.capabilities.refusal != Refusal::Atomic {
        return Ok(());
    }
    let store = &*subject.store;
    for round in 0..5 {
        let key = format!("{place}{round}");
        let (wins, winner) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        at_once(store, 6, |number| {
            let content = noise(number as u64 + 1, 5000);
            let put = store.put(&key, Arc::clone(&content), Existing::Refuse);
            if put.is_ok() {
                wins.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut winner) = winner.lock() {
                    *winner = content.to_vec();
                }
                return Ok(());
            }
            fails("put with refuse after another", &[ErrorKind::AlreadyExists], put)
        })?;
        same("the number of writers that won", &wins.into_inner(), &1)?;
        has(store, &key, &winner.into_inner().unwrap_or_default())?;
    }
    Ok(())
}

/// Neighbours that begin alike stay, absent keys and folders are a success.
pub(super) fn remove_takes_exactly_the_keys_named(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let key = |name: &str| format!("{place}{name}");
    let neighbours = [
        "dat",
        "data2",
        "data.0",
        "data-",
        "data ",
        "Data",
        "other/data",
        "folder/data",
    ]
    .map(key);
    for neighbour in &neighbours {
        put(store, neighbour, neighbour.as_bytes())?;
    }
    let large = key("data-large");
    let sent = Sent::stored(store, &large, 9, 2)?;
    for victim in [key("data"), key("data-larg")] {
        let small = victim.ends_with("data");
        if small {
            put(store, &victim, b"victim")?;
        } else {
            Sent::stored(store, &victim, 5, 2)?;
        }
        let named = [key("absent"), victim.clone(), key("folder"), key("absent/deep")];
        works("remove", store.remove(&named))?;
        works("remove again", subject.other_run.remove(&named))?;
        has_not(store, &victim)?;
    }
    works("remove of nothing", store.remove(&[]))?;
    for neighbour in &neighbours {
        has(store, neighbour, neighbour.as_bytes())?;
    }
    has(store, &large, &sent.content)?;
    let mut left: Vec<String> = neighbours.to_vec();
    left.push(large);
    left.sort();
    becomes(subject, "what is left", &left, || list_deep(store, place))?;
    let many: Vec<String> = (0..1000).map(|number| key(&format!("many/{number}"))).collect();
    for one in many.iter().step_by(100) {
        put(store, one, b"x")?;
    }
    works("remove of 1000 keys", store.remove(&many))?;
    let found = many
        .iter()
        .step_by(100)
        .find(|key| !matches!(store.stat(key), Ok(None)));
    holds(found.is_none(), || {
        format!("{found:?} was removed with 999 others and is there")
    })
}
