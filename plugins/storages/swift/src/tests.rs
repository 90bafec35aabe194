//! Storage swift against a strict cluster in memory.

mod cluster;

use freezer_sdk::error::ErrorKind;
use freezer_sdk::storage::{KeyKind, PendingUpload};
use freezer_sdk::testing::FakeHost;

use super::*;
use cluster::{Cluster, md5};

const KEY: &str = "data/tar/h_n/1/0_1/data";

fn list(store: &Swift, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(prefix, cursor.as_deref()).unwrap();
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return keys,
        }
    }
}

fn pending(store: &Swift, prefix: &str) -> Vec<PendingUpload> {
    let mut uploads = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.pending(prefix, cursor.as_deref()).unwrap();
        uploads.extend(page.uploads);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return uploads,
        }
    }
}

/// Uploads these segments, the last first, and completes the object.
fn upload(host: &FakeHost, store: &Swift, key: &str, segments: &[&[u8]]) -> (String, Vec<String>) {
    let upload = store.begin(key, None).unwrap();
    let mut receipts = Vec::new();
    for (place, segment) in segments.iter().enumerate().rev() {
        let number = u32::try_from(place).unwrap();
        let receipt = store
            .put_segment(&upload, number, 0, &host.segment(segment))
            .unwrap();
        receipts.insert(0, receipt);
    }
    let size = segments.iter().map(|segment| segment.len() as u64).sum();
    store.commit(&upload, size, &receipts).unwrap();
    (upload, receipts)
}

/// Reads as the host does: on from where a piece ended.
fn read(host: &FakeHost, store: &Swift, key: &str, offset: u64, length: u64) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    while (all.len() as u64) < length {
        let done = all.len() as u64;
        let piece = store.read(key, offset + done, Some(length - done)).unwrap();
        let piece = host.drain(&piece).unwrap();
        assert!(!piece.is_empty());
        all.extend(piece);
    }
    all
}

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

#[test]
fn listings_go_on_behind_each_page() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for number in 0..2345 {
        cluster.put("c", &format!("p/metadata/{number:05}/x"), b"1", &[]);
    }
    for odd in [
        "p/metadata//x",
        "p/metadata/../x",
        "p/metadata/a\nb",
        "q",
        "p/metadata/folder/",
    ] {
        cluster.put("c", odd, b"1", &[]);
    }
    let store = cluster.open("c/p", false);
    assert_eq!(list(&store, "metadata/").len(), 2346);
    assert_eq!(list(&store, ""), ["metadata/"]);
    assert!(list(&store, "nothing/").is_empty());
    store.list("metadata", None).unwrap_err();
    // A server may give less at once than it was asked for, and an object may be missing in its listing.
    cluster.state().page = 1000;
    cluster.state().unlisted.push("p/metadata/00007/x".to_owned());
    assert_eq!(list(&store, "metadata/").len(), 2345);
    assert_eq!(store.stat("metadata/00007/x").unwrap().size, 1);
}

#[test]
fn unfinished_uploads_are_found_over_many_pages() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c/p", false);
    let mut open = Vec::new();
    for level in 0..450 {
        let key = format!("data/tar/h_n/1/{level}_1/data");
        let id = store.begin(&key, None).unwrap();
        let receipts: Vec<String> = (0..3)
            .map(|place| store.put_segment(&id, place, 0, &host.segment(b"abc")).unwrap())
            .collect();
        if level % 3 == 0 {
            store.commit(&id, 9, &receipts).unwrap();
        } else {
            open.push(id);
        }
    }
    cluster.state().page = 100;
    let mut found: Vec<String> = pending(&store, "data/")
        .into_iter()
        .map(|upload| upload.upload)
        .collect();
    found.sort();
    open.sort();
    assert_eq!(found, open);
    assert_eq!(pending(&store, "data/tar/h_n/1/1_1/").len(), 1);
    assert!(pending(&store, "metadata/").is_empty());
}

#[test]
fn an_expired_token_is_renewed_once_for_each_request() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    cluster.state().token_uses = Some(3);
    upload(&host, &store, KEY, &[b"12345", b"67890", b"abc"]);
    assert_eq!(read(&host, &store, KEY, 0, 13), b"1234567890abc");
    assert!(cluster.state().logins > 2);
    // A token that is refused as soon as it is made is no expired one.
    cluster.state().token_uses = Some(0);
    let logins = cluster.state().logins;
    assert_eq!(store.stat(KEY).unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(cluster.state().logins, logins + 1);
}

#[test]
fn a_wrong_digest_is_told() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    let id = store.begin(KEY, None).unwrap();
    cluster.state().script.push(("PUT".to_owned(), 422));
    assert_eq!(
        store
            .put_segment(&id, 0, 0, &host.segment(b"x"))
            .unwrap_err()
            .kind,
        ErrorKind::Unavailable
    );
    let receipt = store.put_segment(&id, 0, 0, &host.segment(b"x")).unwrap();
    assert_eq!(receipt, format!("1:{}", md5(b"x")));
}

#[test]
fn a_missing_segment_is_damage_and_a_removed_object_is_absent() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    let (id, _) = upload(&host, &store, KEY, &[b"12345", b"67890"]);
    assert_eq!(read(&host, &store, KEY, 0, 10), b"1234567890");
    let second = format!("data/tar/h_n/1/0_1/segments/data.{}/00000001", &id[..16]);
    cluster.put("c", &second, b"678", &[]);
    assert_eq!(store.read(KEY, 5, Some(5)).unwrap_err().kind, ErrorKind::Corrupt);
    cluster.state().containers.get_mut("c").unwrap().remove(&second);
    let error = store.read(KEY, 5, Some(5)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.contains("segment 1"), "{error}");
    cluster.open("c", false).remove(&[KEY.to_owned()]).unwrap();
    assert_eq!(store.read(KEY, 0, Some(5)).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn the_original_s_segments_are_counted() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("freezer_gold", false);
    let target = "freezer_gold/data/tar/h_n/1/0_1/segments";
    cluster.put("freezer_gold", KEY, b"", &[("x-object-manifest", target)]);
    for (place, content) in ["0123", "4567", "89"].iter().enumerate() {
        cluster.put(
            "freezer_gold",
            &format!("data/tar/h_n/1/0_1/segments/{place:08}"),
            content.as_bytes(),
            &[],
        );
    }
    assert_eq!(store.stat(KEY).unwrap().size, 10);
    assert_eq!(read(&host, &store, KEY, 2, 8), b"23456789");
    assert!(pending(&store, "").is_empty());
    let middle = "data/tar/h_n/1/0_1/segments/00000001".to_owned();
    cluster.state().unlisted.push(middle);
    let error = cluster.open("freezer_gold", false).stat(KEY).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.contains("segment 1 is missing"), "{error}");
    cluster.state().unlisted.clear();
    store.remove(&[KEY.to_owned()]).unwrap();
    assert!(cluster.names("freezer_gold").is_empty());
}

#[test]
fn the_old_layout_shows_as_folders() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for (id, segments) in [("h_n_10_0", 2), ("h_n_12_1", 1), ("h_n_20_0", 1), ("h_m_5_0", 1)] {
        let target = format!("foo_segments/{id}");
        cluster.put("freezer_foo", id, b"", &[("x-object-manifest", &target)]);
        cluster.put("freezer_foo", &format!("tar_metadata_{id}"), b"snar", &[]);
        for place in 0..segments {
            let name = format!("{id}/{}/4/{place:08}", &id[4..6]);
            cluster.put("foo_segments", &name, b"abcd", &[]);
        }
    }
    for container in ["foo", "freezer_foo"] {
        let store = cluster.open(container, false);
        assert_eq!(list(&store, ""), ["h_m/", "h_n/"]);
        assert_eq!(list(&store, "h_n/"), ["h_n/10/", "h_n/20/"]);
        let levels = [
            "h_n/10/h_n_10_0",
            "h_n/10/tar_metadata_h_n_10_0",
            "h_n/10/h_n_12_1",
            "h_n/10/tar_metadata_h_n_12_1",
        ];
        assert_eq!(list(&store, "h_n/10/"), levels);
        assert_eq!(store.stat(levels[0]).unwrap().size, 8);
        assert_eq!(read(&host, &store, levels[0], 2, 6), b"cdabcd");
        assert_eq!(read(&host, &store, levels[1], 0, 4), b"snar");
        assert_eq!(
            store.stat("h_n/10/h_n_99_0").unwrap_err().kind,
            ErrorKind::NotFound
        );
    }
    // A container of that name may be made meanwhile.
    let store = cluster.open("foo", false);
    store
        .put("metadata/x", &host.segment(b"new"), Existing::Refuse)
        .unwrap();
    assert_eq!(list(&store, ""), ["metadata/", "h_m/", "h_n/"]);
    store
        .remove(&[
            "h_n/10/h_n_10_0".to_owned(),
            "h_n/10/tar_metadata_h_n_10_0".to_owned(),
        ])
        .unwrap();
    assert_eq!(cluster.names("foo_segments").len(), 3);
    assert_eq!(cluster.names("freezer_foo").len(), 6);
    assert_eq!(
        cluster
            .open("bar", false)
            .list("", None)
            .map(drop)
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
}

#[test]
fn a_manifest_can_t_lead_a_removal_elsewhere() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    cluster.put("other", "precious/00000000", b"1", &[]);
    cluster.put("c", "data/tar/h_m/1/0_1/segments/00000000", b"1", &[]);
    for (key, target) in [
        ("a/data", "other/precious"),
        ("b/data", "c/data/tar/h_m/1/0_1/segments"),
    ] {
        cluster.put("c", key, b"", &[("x-object-manifest", target)]);
        store.remove(&[key.to_owned()]).unwrap();
        assert_eq!(store.stat(key).unwrap_err().kind, ErrorKind::NotFound);
    }
    assert_eq!(cluster.names("other").len() + cluster.names("c").len(), 2);
    assert_eq!(host.logs().len(), 2);
}

#[test]
fn a_static_object_of_another_program_is_read_through_swift() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let headers = [("x-static-large-object", "True"), ("foreign", "yes")];
    cluster.put("c", "big", b"as the service joins it", &headers);
    let store = cluster.open("c", false);
    assert_eq!(store.stat("big").unwrap().size, 23);
    assert_eq!(read(&host, &store, "big", 3, 3), b"the");
}

#[test]
fn removal_takes_exactly_what_is_named_with_and_without_bulk() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    for bulk in [true, false] {
        cluster.state().bulk = bulk;
        for is_static in [true, false] {
            let store = cluster.open("c", is_static);
            let many: Vec<&[u8]> = vec![b"abc"; 9];
            upload(&host, &store, "l/data", &many);
            upload(&host, &store, "l/index", &many[..2]);
            upload(&host, &store, "l/data.2", &many[..2]);
            store
                .put("l/manifest", &host.segment(b"m"), Existing::Refuse)
                .unwrap();
            store
                .remove(&[
                    "l/data".to_owned(),
                    "l/nothing".to_owned(),
                    "l/manifest".to_owned(),
                ])
                .unwrap();
            assert_eq!(list(&store, "l/"), ["l/data.2", "l/index"]);
            assert_eq!(read(&host, &store, "l/index", 0, 6), b"abcabc");
            assert_eq!(
                cluster
                    .names("c")
                    .iter()
                    .filter(|name| name.contains("/data."))
                    .count(),
                4
            );
            store
                .remove(&["l/data.2".to_owned(), "l/index".to_owned()])
                .unwrap();
            assert!(cluster.names("c").is_empty());
        }
    }
    let store = cluster.open("c", false);
    store.remove(&vec!["k".to_owned(); 1001]).unwrap_err();
    store.remove(&["../k".to_owned()]).unwrap_err();
}

#[test]
fn whatever_request_fails_or_loses_its_answer_a_repetition_makes_it_right() {
    for fault in [0, 1, 503] {
        for position in 0.. {
            let host = FakeHost::new();
            let cluster = Cluster::new(&host);
            let struck = run_with_fault(&host, &cluster, position, fault);
            if !struck {
                assert!(position > 5);
                break;
            }
        }
    }
}

/// Writes, reads and removes with one request failing; every call is made again once, as the host does. False if there was no
/// such request.
fn run_with_fault(host: &FakeHost, cluster: &Cluster, position: usize, fault: u16) -> bool {
    let store = cluster.open("c", true);
    let mut left = Some(position);
    let mut again = |call: &mut dyn FnMut() -> Result<()>| {
        cluster.requests();
        // The fault waits for the request of that number among all.
        if let Some(number) = left {
            cluster.state().fault = Some((number, fault));
        }
        let first = call();
        let made = cluster.requests().len();
        if let Some(number) = left {
            left = number.checked_sub(made);
        }
        cluster.state().fault = None;
        match first {
            Err(error) if error.is_retryable() => call().unwrap(),
            first => first.unwrap(),
        }
    };
    let mut id = String::new();
    again(&mut || {
        id = store.begin(KEY, None)?;
        Ok(())
    });
    let mut receipts = vec![String::new(); 4];
    for (number, receipt) in (0..).zip(&mut receipts) {
        again(&mut || {
            *receipt = store.put_segment(&id, number, 0, &host.segment(b"abcd"))?;
            Ok(())
        });
    }
    again(&mut || store.commit(&id, 16, &receipts));
    again(&mut || store.put("m", &host.segment(b"m"), Existing::Replace));
    assert_eq!(read(host, &store, KEY, 0, 16), b"abcdabcdabcdabcd");
    again(&mut || store.remove(&[KEY.to_owned(), "m".to_owned()]));
    for upload in pending(&store, "") {
        again(&mut || store.abort(&upload.upload));
    }
    assert!(
        cluster.names("c").is_empty(),
        "{position} {fault}: {:?}",
        cluster.names("c")
    );
    left.is_none()
}

#[test]
fn the_secrets_are_in_no_message() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    for status in [401, 403, 404, 500, 503] {
        cluster.state().script.push((String::new(), status));
        if let Err(error) = store.put("a", &host.segment(b"x"), Existing::Refuse) {
            assert!(
                !error.message.contains("token") && !error.message.contains("testing"),
                "{error}"
            );
        }
    }
    assert!(host.logs().is_empty());
}

#[test]
fn a_login_that_is_not_there_is_no_empty_storage() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    let store = cluster.open("c", false);
    host.serve_http(|_, _| {
        Ok(freezer_sdk::testing::FakeResponse {
            status: 404,
            ..Default::default()
        })
    });
    assert_eq!(store.stat("a").unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(
        store.list("", None).map(drop).unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[test]
fn usage_is_the_container_s() {
    let host = FakeHost::new();
    let cluster = Cluster::new(&host);
    cluster.put("c", "a", b"12345", &[]);
    cluster.put("c", "b", b"1", &[]);
    let usage = cluster.open("c", false).usage().unwrap();
    assert_eq!(
        (usage[0].name.as_str(), usage[0].objects, usage[0].bytes),
        ("c", 2, 6)
    );
    assert_eq!(usage[0].available, Some(999_994));
}
