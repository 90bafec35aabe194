//! What is there is read, listed and removed as it is.

use super::*;

#[test]
fn a_read_gives_exactly_the_range_or_an_error() {
    let (host, _service) = start();
    let s3 = open();
    store(&host, &s3, KEY).unwrap();
    let read = |offset, length| s3.read(KEY, offset, length).and_then(|body| host.drain(&body));
    assert_eq!(read(0, None).unwrap(), b"aaaabbbbcccc");
    assert_eq!(read(0, Some(12)).unwrap(), b"aaaabbbbcccc");
    assert_eq!(read(3, Some(2)).unwrap(), b"ab");
    assert_eq!(read(11, None).unwrap(), b"c");
    for (offset, length) in [(12, None), (12, Some(0)), (5, Some(0))] {
        assert_eq!(read(offset, length).unwrap(), b"");
    }
    assert_kind(read(13, None), ErrorKind::Invalid);
    assert_kind(read(13, Some(0)), ErrorKind::Invalid);
    assert_kind(read(u64::MAX, Some(u64::MAX)), ErrorKind::Invalid);
    assert_kind(read(12, Some(1)), ErrorKind::Corrupt);
    let message = assert_kind(read(8, Some(5)), ErrorKind::Corrupt);
    assert!(
        message.contains(KEY) && message.contains("store:9000"),
        "{message}"
    );
    assert_kind(s3.read("absent", 0, None), ErrorKind::NotFound);
    assert_kind(s3.read("absent", 0, Some(0)), ErrorKind::NotFound);
}

#[test]
fn a_service_that_sends_another_range_is_not_believed() {
    let (_host, service) = start();
    let s3 = open();
    service.put(KEY, b"aaaabbbbcccc");
    let headers = |headers: &[(&str, &str)]| {
        headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let answer = |status, named: &[(&str, &str)]| FakeResponse {
        status,
        headers: headers(named),
        content: b"aaaa".to_vec(),
    };
    let cases = [
        (answer(200, &[("content-length", "12")]), ErrorKind::Unsupported),
        (answer(200, &[]), ErrorKind::Corrupt),
        (
            answer(
                206,
                &[("content-length", "4"), ("content-range", "bytes 40-43/50")],
            ),
            ErrorKind::Corrupt,
        ),
        (answer(206, &[("content-length", "4")]), ErrorKind::Corrupt),
        (
            answer(206, &[("content-length", "5"), ("content-range", "bytes 4-8/12")]),
            ErrorKind::Corrupt,
        ),
        (
            answer(206, &[("content-length", "3"), ("content-range", "bytes 4-6/12")]),
            ErrorKind::Corrupt,
        ),
    ];
    for (answer, kind) in cases {
        service.with(|state| state.answers.push(answer));
        assert_kind(s3.read(KEY, 4, Some(4)), kind);
    }
}

#[test]
fn listings_come_in_pages_one_level_deep_without_foreign_things() {
    let (_host, service) = start();
    service.with(|state| state.page = 7);
    let s3 = open();
    for number in 0..20 {
        service.put(&format!("many/{number:02} +&/x"), b"");
        service.put(&format!("many/{number:02}"), b"12345");
    }
    for foreign in ["many/", "many//x", "many/../x"] {
        service.put(foreign, b"");
    }
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let page = s3.list("many/", cursor.as_deref()).unwrap();
        entries.extend(
            page.entries
                .into_iter()
                .map(|entry| (entry.key, entry.kind, entry.size)),
        );
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(entries.len(), 40);
    assert!(entries.contains(&("many/07".into(), KeyKind::Object, 5)));
    assert!(entries.contains(&("many/07 +&/".into(), KeyKind::Prefix, 0)));
    assert!(s3.list("nowhere/", None).unwrap().entries.is_empty());
    assert_kind(s3.list("many", None), ErrorKind::Invalid);
    assert_eq!(s3.usage().unwrap()[0].bytes, 100);
}

#[test]
fn pending_names_every_unfinished_upload_and_nothing_else() {
    let (host, service) = start();
    service.with(|state| state.page = 4);
    let s3 = open();
    store(&host, &s3, "data/tar/a/1/0_1/data").unwrap();
    for number in 0..10 {
        s3.begin(&format!("data/tar/b/{number}"), None).unwrap();
    }
    // Two of one key.
    s3.begin("data/tar/b/3", None).unwrap();
    s3.begin("top", None).unwrap();
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = open().pending("data/", cursor.as_deref()).unwrap();
        assert!(page.uploads.iter().all(|upload| upload.started.is_some()));
        found.extend(page.uploads);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 11);
    found
        .iter()
        .for_each(|pending| s3.abort(&pending.upload).unwrap());
    assert_eq!(service.uploads(), 1);
    assert!(s3.pending("data/", None).unwrap().uploads.is_empty());
    assert_kind(s3.pending("", Some("foreign")), ErrorKind::Invalid);
}

#[test]
fn an_upload_is_as_young_as_its_last_part() {
    let (_host, service) = start();
    service.with(|state| state.page = 4);
    let s3 = open();
    let upload = s3.begin("k", None).unwrap();
    let started = || s3.pending("", None).unwrap().uploads[0].started.unwrap().seconds;
    let begun = started();
    for number in [6, 0, 3, 1, 5, 2, 4, 8, 7] {
        let segment = Body::from_bytes(b"x").unwrap();
        s3.put_segment(&upload, number, u64::from(number), &segment)
            .unwrap();
    }
    // That is the ninth, on the third page, and not the one that was stored last.
    assert_eq!(started() - begun, 40 + 9);
}

#[test]
fn a_listing_that_never_ends_is_refused() {
    let (_host, service) = start();
    let s3 = open();
    let endless = |next: &str| FakeResponse {
        content: format!(
            "<R><IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken></R>"
        )
        .into_bytes(),
        ..status(200)
    };
    service.with(|state| state.answers = vec![endless("same"), endless("same"), endless("")]);
    assert_kind(s3.usage(), ErrorKind::Corrupt);
    assert_kind(s3.list("", None), ErrorKind::Corrupt);
}

#[test]
fn remove_takes_what_was_asked_and_nothing_else() {
    let (host, service) = start();
    let s3 = open();
    for key in ["a/1", "a/2", "a/3", "a/4"] {
        s3.put(key, &host.segment(b"x"), Existing::Refuse).unwrap();
    }
    s3.remove(&[]).unwrap();
    s3.remove(&["a/1".into(), "absent".into()]).unwrap();
    s3.remove(&["a/2".into()]).unwrap();
    s3.remove(&["a/2".into()]).unwrap();
    assert_eq!(service.keys(), ["a/3", "a/4"]);
    assert_kind(s3.remove(&["a/3".into(), "../x".into()]), ErrorKind::Invalid);
    assert_kind(
        s3.remove(&vec!["a/3".to_owned(); PAGE_ENTRIES + 1]),
        ErrorKind::Invalid,
    );
    let denied = "<DeleteResult><Error><Key>a/3</Key><Code>AccessDenied</Code></Error></DeleteResult>";
    service.with(|state| {
        state.answers.push(FakeResponse {
            content: denied.into(),
            ..status(200)
        });
    });
    let message = assert_kind(s3.remove(&["a/3".into(), "a/4".into()]), ErrorKind::Denied);
    assert!(message.contains("a/3"), "{message}");
    assert_eq!(service.keys(), ["a/3", "a/4"]);
}
