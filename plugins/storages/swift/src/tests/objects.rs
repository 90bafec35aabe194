//! Objects come into being whole, once, and are read as they are.

use super::*;

#[test]
fn a_small_object_comes_back_whole_and_in_ranges() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for container in ["c", "//c/pre fix/ё"] {
        let store = cluster.open(container, false);
        for key in ["manifest", "a/ключ ё?#&%41+=", "a/b'\"<>"] {
            store
                .put(key, &host.segment(b"0123456789"), Existing::Refuse)
                .unwrap();
            for (offset, length) in [
                (0, None),
                (3, None),
                (10, None),
                (0, Some(10)),
                (2, Some(5)),
                (10, Some(0)),
            ] {
                let body = store.read(key, offset, length).unwrap();
                let start = usize::try_from(offset).unwrap();
                let end = length.map_or(10, |length| start + usize::try_from(length).unwrap());
                assert_eq!(
                    host.drain(&body).unwrap(),
                    &b"0123456789"[start..end],
                    "{key} {offset} {length:?}"
                );
            }
            assert_eq!(store.read(key, 11, None).unwrap_err().kind, ErrorKind::Invalid);
            assert_eq!(store.read(key, 11, Some(1)).unwrap_err().kind, ErrorKind::Invalid);
            assert_eq!(store.read(key, 5, Some(6)).unwrap_err().kind, ErrorKind::Corrupt);
            let stat = store.stat(key).unwrap();
            assert_eq!(
                (stat.size, stat.modified.map(|time| time.seconds)),
                (10, Some(1_795_571_818))
            );
        }
        assert_eq!(store.read("no", 0, None).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(store.stat("no").unwrap_err().kind, ErrorKind::NotFound);
    }
}

#[test]
fn the_container_is_made_by_writing_and_never_by_reading() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    for error in [
        store.list("", None).map(drop).unwrap_err(),
        store.stat("a").map(drop).unwrap_err(),
        store.read("a", 0, None).map(drop).unwrap_err(),
        store.usage().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    }
    store.remove(&["a".to_owned()]).unwrap();
    assert!(cluster.state().containers.is_empty());
    store.put("a", &host.segment(b"x"), Existing::Replace).unwrap();
    assert_eq!(cluster.names("c"), ["a"]);
    let other = cluster.open("d", false);
    other.begin(KEY, None).unwrap();
    assert_eq!(cluster.names("d").len(), 1);
}

#[test]
fn an_object_is_replaced_only_if_asked() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    store.put("a", &host.segment(b"1"), Existing::Refuse).unwrap();
    let error = store.put("a", &host.segment(b"2"), Existing::Refuse).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(read(&host, &store, "a", 0, 1), b"1");
    store.put("a", &host.segment(b"3"), Existing::Replace).unwrap();
    assert_eq!(read(&host, &store, "a", 0, 1), b"3");
    assert_eq!(store.begin("a", None).unwrap_err().kind, ErrorKind::AlreadyExists);
}

#[test]
fn a_large_object_shows_when_it_is_complete_and_is_read_by_pieces() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let segments: [&[u8]; 5] = [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ", b"zyxwv", b"!"];
    let whole = segments.concat();
    for is_static in [false, true] {
        let container = if is_static { "static" } else { "dynamic" };
        let store = cluster.open(container, is_static);
        let id = store.begin(KEY, None).unwrap();
        store.put_segment(&id, 0, 0, &host.segment(segments[0])).unwrap();
        assert_eq!(store.stat(KEY).unwrap_err().kind, ErrorKind::NotFound);
        assert!(list(&store, "data/tar/h_n/1/0_1/").is_empty());
        assert_eq!(pending(&store, "")[0].upload, id);
        store.abort(&id).unwrap();
        assert!(cluster.names(container).is_empty());

        upload(&host, &store, KEY, &segments);
        // A new instance knows nothing but what the service says.
        let reader = cluster.open(container, false);
        assert_eq!(reader.stat(KEY).unwrap().size, 36);
        let entries = reader.list("data/tar/h_n/1/0_1/", None).unwrap().entries;
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].key.as_str(), entries[0].kind), (KEY, KeyKind::Object));
        assert!(is_static || entries[0].size == 36);
        for offset in 0..36 {
            for length in [1, 9, 10, 11, 36] {
                let length = length.min(36 - offset);
                let start = usize::try_from(offset).unwrap();
                let end = start + usize::try_from(length).unwrap();
                assert_eq!(read(&host, &reader, KEY, offset, length), &whole[start..end]);
            }
        }
        assert_eq!(
            reader.read(KEY, 3, None).unwrap_err().kind,
            ErrorKind::Unsupported
        );
        assert_eq!(host.drain(&reader.read(KEY, 35, None).unwrap()).unwrap(), b"!");
        assert!(
            host.drain(&reader.read(KEY, 36, None).unwrap())
                .unwrap()
                .is_empty()
        );
        assert_eq!(reader.read(KEY, 37, None).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(
            reader.read(KEY, 30, Some(7)).unwrap_err().kind,
            ErrorKind::Corrupt
        );
        assert!(pending(&reader, "").is_empty());
        reader.remove(&[KEY.to_owned()]).unwrap();
        assert!(
            cluster.names(container).is_empty(),
            "{:?}",
            cluster.names(container)
        );
    }
}

#[test]
fn the_original_can_follow_a_dynamic_manifest() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("cö/pre fix", false);
    let (id, _) = upload(&host, &store, KEY, &[b"one", b"two"]);
    let run = id.split(':').next().unwrap();
    let state = cluster.state();
    let manifest = &state.containers["cö"][&format!("pre fix/{KEY}")];
    assert_eq!(
        manifest.headers["x-object-manifest"],
        format!("c%C3%B6/pre%20fix/data/tar/h_n/1/0_1/segments/data.{run}/")
    );
    let folder = format!("pre fix/data/tar/h_n/1/0_1/segments/data.{run}/");
    let joined: Vec<u8> = state.containers["cö"]
        .iter()
        .filter(|(name, _)| name.starts_with(&folder))
        .flat_map(|(_, object)| object.content.clone())
        .collect();
    assert_eq!(joined, b"onetwo");
}

#[test]
fn an_empty_large_object_is_an_object() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for is_static in [false, true] {
        let store = cluster.open(if is_static { "s" } else { "d" }, is_static);
        let (id, _) = upload(&host, &store, KEY, &[]);
        assert_eq!(store.stat(KEY).unwrap().size, 0);
        assert!(host.drain(&store.read(KEY, 0, None).unwrap()).unwrap().is_empty());
        store.commit(&id, 0, &[]).unwrap();
        assert!(pending(&store, "").is_empty());
    }
}

#[test]
fn a_commit_may_come_again_and_must_be_whole() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    let (id, receipts) = upload(&host, &store, KEY, &[b"12345", b"678"]);
    store.commit(&id, 8, &receipts).unwrap();
    cluster.open("c", false).commit(&id, 8, &receipts).unwrap();
    // Another upload of the same key, begun before this one was complete.
    let rival = id.replacen(&id[..1], if id.starts_with('0') { "1" } else { "0" }, 1);
    let error = store.commit(&rival, 8, &receipts).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    for (size, some) in [(7, &receipts[..]), (8, &receipts[..1]), (9, &receipts[..])] {
        assert_eq!(
            store.commit(&id, size, some).unwrap_err().kind,
            ErrorKind::Corrupt
        );
    }
    for odd in ["", "8", "8:", "x:d41d8cd98f00b204e9800998ecf8427e", "8:zz"] {
        assert_eq!(
            store.commit(&id, 8, &[odd.to_owned()]).unwrap_err().kind,
            ErrorKind::Invalid
        );
    }
}

#[test]
fn of_two_writers_the_second_is_told() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let (one, two) = (cluster.open("c", false), cluster.open("c", false));
    let (first, second) = (one.begin(KEY, None).unwrap(), two.begin(KEY, None).unwrap());
    let put = |store: &Swift, id: &str, content: &[u8]| {
        store.put_segment(id, 0, 0, &host.segment(content)).unwrap()
    };
    let (a, b) = (put(&one, &first, b"first"), put(&two, &second, b"second"));
    one.commit(&first, 5, &[a]).unwrap();
    assert_eq!(
        two.commit(&second, 6, &[b]).unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
    assert_eq!(pending(&one, "")[0].upload, second);
    two.abort(&second).unwrap();
    one.abort(&first).unwrap();
    assert_eq!(read(&host, &one, KEY, 0, 5), b"first");
    assert!(pending(&one, "").is_empty());
}

#[test]
fn an_aborted_upload_is_gone_for_every_instance() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    let id = store.begin(KEY, None).unwrap();
    let receipt = store.put_segment(&id, 0, 0, &host.segment(b"x")).unwrap();
    cluster.open("c", false).abort(&id).unwrap();
    cluster.open("c", false).abort(&id).unwrap();
    let fresh = cluster.open("c", false);
    assert_eq!(
        fresh
            .put_segment(&id, 1, 1, &host.segment(b"y"))
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
    assert_eq!(
        fresh.commit(&id, 1, &[receipt]).unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert!(cluster.names("c").is_empty());
    for id in ["", "x", "0123456789abcdef:../x"] {
        assert_eq!(store.abort(id).unwrap_err().kind, ErrorKind::Invalid);
    }
}
