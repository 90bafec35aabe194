//! Large objects: segments in any order, one commit, nothing to be seen before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use freezer_pipeline::store::{ErrorKind, Existing};

use super::checks::{
    Sent, at_once, becomes, fails, has, has_not, holds, list, list_deep, noise, put, read, same, segments,
    works, wrong,
};
use super::{Subject, Verdict};

/// Five segments from the last to the first, several at once, from two runs.
pub(super) fn segments_come_in_any_order_and_at_once(subject: &Subject, place: &str) -> Verdict {
    const COUNT: usize = 5;
    let (store, key) = (&*subject.store, format!("{place}object"));
    let (length, _) = segments(store);
    let size = (length * COUNT) as u64;
    let upload = works("begin", store.begin(&key, Some(size)))?;
    let receipts = Mutex::new(vec![String::new(); COUNT]);
    at_once(store, COUNT, |turn| {
        let number = COUNT - 1 - turn;
        let run = if turn % 2 == 0 { store } else { &*subject.other_run };
        let offset = (number * length) as u64;
        let segment = noise(number as u64, length);
        let put = run.put_segment(&upload, number as u32, offset, segment);
        let receipt = works(&format!("segment {number}"), put)?;
        if let Ok(mut receipts) = receipts.lock() {
            receipts[number] = receipt;
        }
        Ok(())
    })?;
    let receipts = receipts.into_inner().unwrap_or_default();
    works("commit", store.commit(&upload, size, &receipts))?;
    let wanted: Vec<u8> = (0..COUNT)
        .flat_map(|number| noise(number as u64, length).to_vec())
        .collect();
    has(store, &key, &wanted)
}

/// More segments than fit into one page, header or request of a small mind; read in pieces that end nowhere near borders.
pub(super) fn an_object_of_many_segments_is_read_across_borders(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let (length, count) = segments(store);
    let sent = Sent::stored(store, &key, 3, count)?;
    has(store, &key, &sent.content)?;
    let piece = length + length / 3 + 1;
    for (number, wanted) in sent.content.chunks(piece).enumerate() {
        let offset = (number * piece) as u64;
        let found = works("read", read(store, &key, offset, Some(wanted.len() as u64)))?;
        holds(found == wanted, || {
            format!("{} bytes at {offset} are wrong", wanted.len())
        })?;
    }
    becomes(subject, "what is listed", &vec![key], || list_deep(store, place))
}

/// One byte, one segment, and none at all.
pub(super) fn small_and_empty_uploads_are_objects(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    for length in [1, 100] {
        let key = format!("{place}one-{length}");
        let upload = works("begin", store.begin(&key, Some(length as u64)))?;
        let content = noise(1, length);
        let receipt = works(
            "a segment",
            store.put_segment(&upload, 0, 0, Arc::clone(&content)),
        )?;
        let commit = store.commit(&upload, length as u64, &[receipt]);
        works(&format!("commit of one segment of {length} bytes"), commit)?;
        has(store, &key, &content)?;
    }
    let key = format!("{place}none");
    let upload = works("begin", store.begin(&key, None))?;
    works("commit without segments", store.commit(&upload, 0, &[]))?;
    has(store, &key, b"")
}

/// The last one of a number counts.
pub(super) fn a_segment_sent_again_replaces_the_first(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let mut sent = Sent::new(store, &key, 1, 3)?;
    let (length, _) = segments(store);
    for run in [store, &*subject.other_run] {
        let again = noise(99, length);
        let put = run.put_segment(&sent.upload, 1, length as u64, Arc::clone(&again));
        sent.receipts[1] = works("the same segment again", put)?;
        sent.content[length..2 * length].copy_from_slice(&again);
    }
    works("commit", sent.commit(store))?;
    has(store, &key, &sent.content)
}

/// Neither the object nor its segments, and afterwards the object alone.
pub(super) fn nothing_shows_before_the_commit(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let neighbour = format!("{place}neighbour");
    put(store, &neighbour, b"x")?;
    let sent = Sent::new(store, &key, 1, 3)?;
    let shows = |wanted: &[(&String, u64)]| {
        let wanted: BTreeMap<String, Option<u64>> = wanted
            .iter()
            .map(|(key, size)| ((*key).clone(), Some(*size)))
            .collect();
        becomes(subject, "what is listed", &wanted, || list(store, place))?;
        becomes(subject, "what is listed", &wanted, || {
            list(&*subject.other_run, place)
        })?;
        let deep = wanted.into_keys().collect();
        becomes(subject, "what is listed in any depth", &deep, || {
            list_deep(store, place)
        })
    };
    has_not(store, &key)?;
    shows(&[(&neighbour, 1)])?;
    let below = format!("{key}/");
    becomes(subject, "what is below the key", &BTreeMap::new(), || {
        list(store, &below)
    })?;
    works("commit", sent.commit(store))?;
    has(store, &key, &sent.content)?;
    shows(&[(&neighbour, 1), (&key, sent.content.len() as u64)])?;
    becomes(subject, "what is below the key", &BTreeMap::new(), || {
        list(store, &below)
    })
}

/// An answer may be lost: the same commit again is a success, in this run and in another.
pub(super) fn a_commit_bears_repetition(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let sent = Sent::stored(store, &key, 1, 3)?;
    works("the same commit again", sent.commit(store))?;
    works("the same commit in another run", sent.commit(&*subject.other_run))?;
    has(store, &key, &sent.content)?;
    becomes(subject, "what is listed", &vec![key], || list_deep(store, place))
}

/// Missing, short and foreign segments make no object.
pub(super) fn a_commit_of_another_size_is_corrupt(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    for change in [-1_i64, 1, 1000, i64::MAX / 2] {
        let key = format!("{place}size{change}");
        let sent = Sent::new(store, &key, 1, 2)?;
        let size = (sent.content.len() as u64).saturating_add_signed(change);
        let what = format!("commit of {size} bytes where {} are stored", sent.content.len());
        fails(
            &what,
            &[ErrorKind::Corrupt],
            store.commit(&sent.upload, size, &sent.receipts),
        )?;
        has_not(store, &key)?;
        // The upload is still there: the right commit, or an abort, may follow.
        works("the right commit after a wrong one", sent.commit(store))?;
        has(store, &key, &sent.content)?;
    }
    let key = format!("{place}missing");
    let sent = Sent::new(store, &key, 1, 2)?;
    let size = sent.content.len() as u64;
    let commit = store.commit(&sent.upload, size, &sent.receipts[..1]);
    fails(
        "commit without the last receipt",
        &[ErrorKind::Corrupt, ErrorKind::Invalid],
        commit,
    )?;
    has_not(store, &key)
}

/// `begin` refuses what is there; of two uploads the later commit does.
pub(super) fn large_objects_are_never_replaced(subject: &Subject, place: &str) -> Verdict {
    let (store, exists) = (&*subject.store, &[ErrorKind::AlreadyExists][..]);
    let (small, large) = (format!("{place}small"), format!("{place}large"));
    put(store, &small, b"small")?;
    let stored = Sent::stored(store, &large, 1, 2)?;
    fails("begin over a small object", exists, store.begin(&small, None))?;
    fails("begin over a large object", exists, store.begin(&large, None))?;
    has(store, &large, &stored.content)?;
    let key = format!("{place}contested");
    let one = Sent::new(store, &key, 5, 2)?;
    // Of another length: where only the size could be compared, it tells them apart.
    let two = Sent::new(&*subject.other_run, &key, 7, 3)?;
    works("the first commit", one.commit(store))?;
    fails("the second commit", exists, two.commit(&*subject.other_run))?;
    has(store, &key, &one.content)?;
    works("abort of the second", store.abort(&two.upload))?;
    has(store, &key, &one.content)?;
    let key = format!("{place}overtaken");
    let late = Sent::new(store, &key, 9, 2)?;
    let put = store.put(&key, Arc::new(b"first".to_vec()), Existing::Replace);
    works("put beside an upload", put)?;
    fails("commit over a small object", exists, late.commit(store))?;
    has(store, &key, b"first")
}

/// All state is in the upload's name or at the service.
pub(super) fn an_upload_goes_on_in_another_run(subject: &Subject, place: &str) -> Verdict {
    let (one, other, key) = (&*subject.store, &*subject.other_run, format!("{place}object"));
    let mut sent = Sent::new(one, &key, 1, 2)?;
    // The second segment is short, so another one can't follow: it is sent again in full length.
    let (length, _) = segments(one);
    sent.content.truncate(length);
    sent.receipts.truncate(1);
    for number in 1..3 {
        let segment = noise(50 + number, length);
        let offset = sent.content.len() as u64;
        sent.content.extend_from_slice(&segment);
        let put = other.put_segment(&sent.upload, number as u32, offset, segment);
        sent.receipts
            .push(works("a segment of another run's upload", put)?);
    }
    works("commit of another run's upload", sent.commit(other))?;
    has(one, &key, &sent.content)
}

/// Removing an object takes its own segments, not those of an upload for the same key.
pub(super) fn removing_spares_what_others_write(subject: &Subject, place: &str) -> Verdict {
    let (store, key) = (&*subject.store, format!("{place}object"));
    let one = Sent::new(store, &key, 1, 2)?;
    let two = Sent::new(&*subject.other_run, &key, 5, 3)?;
    works("commit", one.commit(store))?;
    works("remove", store.remove(std::slice::from_ref(&key)))?;
    has_not(store, &key)?;
    works("commit after the object before it was removed", two.commit(store))?;
    has(store, &key, &two.content)
}

/// Names that no `begin` answered are `invalid` or not found, and touch nothing.
pub(super) fn foreign_upload_ids_do_no_harm(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let (key, pending) = (format!("{place}object"), format!("{place}pending"));
    let stored = Sent::stored(store, &key, 1, 2)?;
    let unfinished = Sent::new(store, &pending, 5, 2)?;
    let mut foreign: Vec<String> = [
        "",
        "x",
        "/",
        "..",
        "../../etc/passwd",
        "\0",
        "a:b",
        ":",
        "0123456789abcdef:../x",
        "{}",
        "%2e%2e",
    ]
    .map(str::to_owned)
    .to_vec();
    foreign.push(key.clone());
    foreign.push("u".repeat(2000));
    if subject.capabilities.knows_gone_uploads {
        // That of the unfinished one, pointed at the whole one.
        foreign.push(unfinished.upload.replace(&pending, &key));
        foreign.push(format!("{}x", unfinished.upload));
    }
    for upload in foreign.iter().filter(|upload| **upload != unfinished.upload) {
        let shown: String = upload.chars().take(60).collect();
        let refused = [
            &[ErrorKind::Invalid, ErrorKind::AlreadyExists, ErrorKind::Corrupt],
            subject.capabilities.gone(),
        ]
        .concat();
        let commit = store.commit(upload, 5, &["5".to_owned()]);
        fails(&format!("commit of {shown:?}"), &refused, commit)?;
        if let Err(error) = store.abort(upload) {
            same(
                &format!("the failure of abort of {shown:?}"),
                &error.kind,
                &ErrorKind::Invalid,
            )?;
        }
        if let Err(error) = store.put_segment(upload, 0, 0, noise(1, 5))
            && !refused.contains(&error.kind)
        {
            return wrong(format!(
                "a segment of {shown:?} fails with {:?}: {error}",
                error.kind
            ));
        }
    }
    has(store, &key, &stored.content)?;
    works("commit of the unfinished upload", unfinished.commit(store))?;
    has(store, &pending, &unfinished.content)
}
