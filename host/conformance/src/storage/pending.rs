//! What isn't finished, giving it up, and how full the storage is.

use std::collections::BTreeMap;

use freezer_pipeline::store::{ErrorKind, Store};

use super::checks::{
    Sent, at_once, becomes, fails, has, has_not, holds, list_deep, noise, put, works, wrong,
};
use super::{Subject, Verdict, Violation};

/// All unfinished uploads below a prefix: their names and keys.
fn pending(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, String>, Violation> {
    let (mut found, mut cursor) = (BTreeMap::new(), None::<String>);
    for _ in 0..1000 {
        let page = works("pending", store.pending(prefix, cursor.as_deref()))?;
        holds(page.uploads.len() <= 1000, || {
            "a page has more than 1000 uploads".to_owned()
        })?;
        for upload in page.uploads {
            let name = upload.upload.clone();
            let twice = found.insert(upload.upload, upload.key).is_some();
            holds(!twice, || format!("the upload {name:?} comes twice"))?;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
    wrong("the list of unfinished uploads has no end")
}

/// Their keys, in order. What an upload is called may differ from what `begin` answered: it is only for `abort`.
fn pending_keys(store: &dyn Store, prefix: &str) -> Result<Vec<String>, Violation> {
    let mut keys: Vec<String> = pending(store, prefix)?.into_values().collect();
    keys.sort();
    Ok(keys)
}

/// From `begin` on, in any depth, until they are committed or aborted.
pub(super) fn unfinished_uploads_are_found(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    if !subject.capabilities.pending {
        return fails("pending", &[ErrorKind::Unsupported], store.pending(place, None));
    }
    put(store, &format!("{place}whole"), b"x")?;
    let keys = ["top", "a/b/c/deep", "a/begun", "ab/beside", "größe"].map(|name| format!("{place}{name}"));
    let mut uploads = Vec::new();
    for key in &keys {
        let segments = if key.ends_with("begun") { 0 } else { 2 };
        uploads.push((Sent::new(store, key, 1, segments)?, key));
    }
    let shows = |prefix: &str, wanted: &[usize]| {
        let mut wanted: Vec<String> = wanted.iter().map(|number| uploads[*number].1.clone()).collect();
        wanted.sort();
        let what = format!("what is unfinished below {prefix:?}");
        becomes(subject, &what, &wanted, || pending_keys(store, prefix))?;
        becomes(subject, &what, &wanted, || {
            pending_keys(&*subject.other_run, prefix)
        })
    };
    shows(place, &[0, 1, 2, 3, 4])?;
    shows(&format!("{place}a/"), &[1, 2])?;
    shows(&format!("{place}a/b/"), &[1])?;
    shows(&format!("{place}absent/"), &[])?;
    works("commit", uploads[1].0.commit(store))?;
    works("abort", store.abort(&uploads[0].0.upload))?;
    shows(place, &[2, 3, 4])?;
    let everywhere = pending(store, "")?;
    let mine = everywhere.values().filter(|key| key.starts_with(place)).count();
    holds(mine == 3, || {
        format!("{mine} of 3 unfinished uploads are found below \"\"")
    })?;
    for upload in pending(&*subject.other_run, place)?.keys() {
        works("abort of what was found", subject.other_run.abort(upload))?;
    }
    shows(place, &[])
}

/// Uploads of killed runs pile up: more than a page of them.
pub(super) fn unfinished_uploads_come_in_pages(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    if !subject.capabilities.pending {
        return Ok(());
    }
    let count = subject.capabilities.pending_uploads;
    let mut keys: Vec<String> = (0..count)
        .map(|number| format!("{place}{}/{number}", number % 7))
        .collect();
    at_once(store, count, |number| {
        works("begin", store.begin(&keys[number], None)).map(drop)
    })?;
    keys.sort();
    becomes(subject, "what is unfinished", &keys, || {
        pending_keys(store, place)
    })?;
    let names: Vec<String> = pending(store, place)?.into_keys().collect();
    at_once(store, names.len(), |number| {
        works("abort", store.abort(&names[number]))
    })?;
    becomes(subject, "what is unfinished", &Vec::new(), || {
        pending_keys(store, place)
    })
}

/// Twice is as good as once; what is given up can't be finished.
pub(super) fn an_abort_leaves_nothing(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let sent = Sent::new(store, &key, 1, 3)?;
    works("abort", store.abort(&sent.upload))?;
    works("abort again", store.abort(&sent.upload))?;
    works("abort in another run", subject.other_run.abort(&sent.upload))?;
    has_not(store, &key)?;
    fails(
        "commit of an aborted upload",
        subject.capabilities.gone(),
        sent.commit(store),
    )?;
    has_not(store, &key)?;
    becomes(subject, "what is listed", &Vec::new(), || list_deep(store, place))?;
    if subject.capabilities.pending {
        becomes(subject, "what is unfinished", &BTreeMap::new(), || {
            pending(store, place)
        })?;
    }
    // A straggler: refused, or at least found by the next look.
    match store.put_segment(&sent.upload, 0, 0, noise(1, 1000)) {
        Ok(_) => {
            has_not(store, &key)?;
            let found = !subject.capabilities.pending || !pending(store, place)?.is_empty();
            holds(found, || {
                "a segment after the abort is stored where nobody finds it".to_owned()
            })?;
            works("abort", store.abort(&sent.upload))?;
        }
        segment => fails("a segment after the abort", subject.capabilities.gone(), segment)?,
    }
    let again = Sent::stored(store, &key, 9, 2)?;
    has(store, &key, &again.content)
}

/// Not in this run, nor in another, nor with an upload for the same key.
pub(super) fn an_abort_never_harms_an_object(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let rival = Sent::new(store, &key, 5, 2)?;
    let sent = Sent::stored(store, &key, 1, 3)?;
    works("abort of a committed upload", store.abort(&sent.upload))?;
    works("abort in another run", subject.other_run.abort(&sent.upload))?;
    has(store, &key, &sent.content)?;
    works("abort of the upload that lost", store.abort(&rival.upload))?;
    has(store, &key, &sent.content)?;
    works("commit after an abort came too late", sent.commit(store))?;
    has(&*subject.other_run, &key, &sent.content)
}

/// At least what this rule stored.
pub(super) fn usage_counts_what_is_stored(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    if !subject.capabilities.usage {
        return fails("usage", &[ErrorKind::Unsupported], store.usage());
    }
    for number in 0..10 {
        put(store, &format!("{place}{number}"), &noise(1, 10_000))?;
    }
    let sent = Sent::stored(store, &format!("{place}large"), 1, 2)?;
    let least = 100_000 + sent.content.len() as u64;
    becomes(subject, "whether all of it is counted", &true, || {
        let usage = works("usage", store.usage())?;
        holds(usage.iter().all(|container| !container.name.is_empty()), || {
            format!("a container has no name: {usage:?}")
        })?;
        let objects: u64 = usage.iter().map(|container| container.objects).sum();
        let bytes: u64 = usage.iter().map(|container| container.bytes).sum();
        Ok(objects >= 11 && bytes >= least)
    })
}
