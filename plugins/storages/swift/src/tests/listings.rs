//! Listings, and what others wrote there.

use super::*;

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
