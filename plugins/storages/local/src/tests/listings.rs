//! What is there is listed, read and removed as it is.

use super::*;

#[test]
fn a_listing_shows_one_level_without_temporaries_and_foreign_things() {
    let host = host();
    let local = open();
    store(&host, &local, "data/tar/h_n/1/0_1/data").unwrap();
    local
        .put(
            "data/tar/h_n/1/0_1/manifest",
            &host.segment(b"{}"),
            Existing::Refuse,
        )
        .unwrap();
    local.begin("data/tar/h_n/1/0_1/index", None).unwrap();
    host.put_symlink(ROOT, "data/tar/h_n/1/0_1/link");
    host.put_file(ROOT, "data/tar/h_n/1/0_1/line\nbreak", b"");
    host.put_file(ROOT, "data/tar/odd\u{1b}name/1/0_1/data", b"");
    let keys = |prefix: &str| -> Vec<(String, KeyKind)> {
        let page = local.list(prefix, None).unwrap();
        assert_eq!(page.next, None);
        page.entries
            .into_iter()
            .map(|entry| (entry.key, entry.kind))
            .collect()
    };
    assert_eq!(keys(""), [("data/".into(), KeyKind::Prefix)]);
    assert_eq!(keys("data/tar/"), [("data/tar/h_n/".into(), KeyKind::Prefix)]);
    let object = |name: &str| (format!("data/tar/h_n/1/0_1/{name}"), KeyKind::Object);
    assert_eq!(keys("data/tar/h_n/1/0_1/"), [object("data"), object("manifest")]);
    assert_eq!(keys("nowhere/"), []);
    assert_eq!(keys("data/tar/h_n/1/0_1/data/"), []);
    assert_kind(local.list("data", None), ErrorKind::Invalid);
}

#[test]
fn a_long_listing_comes_in_pages() {
    let host = host();
    for number in 0..2500 {
        host.put_file(ROOT, &format!("many/{number:05}"), b"");
    }
    let local = open();
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = local.list("many/", cursor.as_deref()).unwrap();
        assert!(page.entries.len() <= PAGE_ENTRIES);
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys.len(), 2500);
    keys.dedup();
    assert_eq!(keys.len(), 2500);
}

#[test]
fn pending_names_every_unfinished_upload_and_nothing_else() {
    let host = host();
    let local = open();
    store(&host, &local, "data/tar/a/1/0_1/data").unwrap();
    let mut begun: Vec<String> = ["data/tar/a/1/0_1/index", "data/tar/b/1/0_1/data", "top"]
        .iter()
        .map(|key| local.begin(key, None).unwrap())
        .collect();
    let uploads = |prefix: &str| -> Vec<String> {
        let page = open().pending(prefix, None).unwrap();
        assert!(page.next.is_none() && page.uploads.iter().all(|upload| upload.started.is_some()));
        page.uploads.into_iter().map(|upload| upload.upload).collect()
    };
    let mut found = uploads("");
    found.sort();
    begun.sort();
    assert_eq!(found, begun);
    assert_eq!(uploads("data/tar/b/").len(), 1);
    assert!(uploads("metadata/").is_empty());
    found.iter().for_each(|upload| local.abort(upload).unwrap());
    assert_eq!(host.paths(ROOT), ["data/tar/a/1/0_1/data"]);
}

#[test]
fn many_pending_uploads_come_in_pages() {
    let host = host();
    for number in 0..1500 {
        host.put_file(
            ROOT,
            &format!("{:03}/.data.{number:016x}.partial", number % 7),
            b"",
        );
    }
    let local = open();
    let first = local.pending("", None).unwrap();
    assert_eq!(first.uploads.len(), PAGE_ENTRIES);
    let second = local.pending("", first.next.as_deref()).unwrap();
    assert_eq!((second.uploads.len(), second.next), (500, None));
    let mut ids: Vec<String> = first
        .uploads
        .into_iter()
        .chain(second.uploads)
        .map(|upload| upload.upload)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1500);
}

#[test]
fn a_read_gives_exactly_the_range_or_an_error() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    let read = |offset, length| local.read(KEY, offset, length).and_then(|body| host.drain(&body));
    assert_eq!(read(0, None).unwrap(), b"aaaabbbbcccc");
    assert_eq!(read(3, Some(2)).unwrap(), b"ab");
    assert_eq!(read(12, None).unwrap(), b"");
    assert_kind(read(13, None), ErrorKind::Invalid);
    assert_kind(read(u64::MAX, Some(u64::MAX)), ErrorKind::Invalid);
    let message = assert_kind(read(8, Some(5)), ErrorKind::Corrupt);
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(local.read("absent", 0, None), ErrorKind::NotFound);
}

#[test]
fn remove_takes_what_was_asked_and_nothing_else() {
    let host = host();
    let local = open();
    store(&host, &local, "a/1/data").unwrap();
    store(&host, &local, "a/2/data").unwrap();
    local
        .remove(&["a/1/data".into(), "a/1/absent".into(), "nowhere/data".into()])
        .unwrap();
    assert_eq!(host.paths(ROOT), ["a/2/data"]);
    // The folder that it emptied went with it; "a/2" is a directory, and no object.
    local.remove(&["a/1".into(), "a/2".into()]).unwrap();
    let prefixes = local.list("a/", None).unwrap().entries;
    assert_eq!(prefixes.len(), 1);
    local.remove(&["a/1/data".into()]).unwrap();
    local.remove(&["a/2/data".into()]).unwrap();
    assert_eq!(local.list("", None).unwrap().entries.len(), 0);
}

#[test]
fn one_bad_key_among_many_removes_nothing() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    assert_kind(
        local.remove(&[KEY.into(), "../etc/passwd".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(
        local.remove(&vec![KEY.to_owned(); PAGE_ENTRIES + 1]),
        ErrorKind::Invalid,
    );
    assert_eq!(host.paths(ROOT), [KEY]);
}
