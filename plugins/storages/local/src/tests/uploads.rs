//! Objects come into being whole, once, and not over others.

use super::*;

#[test]
fn an_object_is_invisible_until_it_is_committed_whole() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[2, 0, 1]).unwrap();
    assert_kind(local.stat(KEY), ErrorKind::NotFound);
    assert!(
        local
            .list("data/tar/web01_etc/1700000000/0_1700000000/", None)
            .unwrap()
            .entries
            .is_empty()
    );

    local.commit(&upload, 12, &receipts).unwrap();
    assert_eq!(local.stat(KEY).unwrap().size, 12);
    assert_eq!(host.paths(ROOT), [KEY]);
    host.cut_power();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
}

#[test]
fn an_upload_goes_on_in_any_instance() {
    let host = host();
    let upload = open().begin(KEY, None).unwrap();
    assert!(upload.len() <= 1024);
    let first = put_segments(&host, &open(), &upload, &[0]).unwrap();
    let second = open().put_segment(&upload, 1, 4, &host.segment(b"bbbb")).unwrap();
    open().commit(&upload, 8, &[first[0].clone(), second]).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_segment_may_come_again() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    local.put_segment(&upload, 0, 0, &host.segment(b"xxxx")).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.commit(&upload, 8, &receipts).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_repeated_commit_succeeds_and_makes_the_object_durable() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.commit(&upload, 8, &receipts).unwrap();
    host.clear_calls();
    open().commit(&upload, 8, &receipts).unwrap();
    assert!(
        host.calls()
            .iter()
            .any(|call| call.name == "directory.publish" && call.subject == KEY)
    );
}

#[test]
fn a_repeated_commit_of_another_size_is_told_that_the_key_is_taken() {
    let host = host();
    let local = open();
    let upload = store(&host, &local, KEY).unwrap();
    assert_kind(local.commit(&upload, 11, &[]), ErrorKind::AlreadyExists);
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
}

#[test]
fn another_upload_of_the_same_length_is_not_taken_for_this_one() {
    let host = host();
    let local = open();
    let lost = local.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &local, &lost, &[0, 1]).unwrap();
    let rival = local.begin(KEY, None).unwrap();
    let theirs = local
        .put_segment(&rival, 0, 0, &host.segment(b"theirs!!"))
        .unwrap();
    local.commit(&rival, 8, std::slice::from_ref(&theirs)).unwrap();
    local.abort(&lost).unwrap();
    assert_kind(open().commit(&lost, 8, &receipts), ErrorKind::AlreadyExists);
    open().commit(&rival, 8, &[theirs]).unwrap();
    // Receipts of earlier versions tell no time.
    assert_kind(open().commit(&rival, 8, &["8".into()]), ErrorKind::AlreadyExists);
}

#[test]
fn an_object_that_appears_at_the_last_moment_is_not_replaced() {
    let host = host();
    let local = open();
    host.before_next("directory.publish", |host| host.put_file(ROOT, KEY, b"theirs"));
    assert_kind(
        local.put(KEY, &host.segment(b"ours"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"theirs");
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn a_begin_that_fails_leaves_nothing() {
    let host = host();
    for position in 0.. {
        host.lose_answer(position, Error::unavailable("broken off"));
        let begun = open().begin(KEY, None);
        if !host.fault_struck() {
            begun.unwrap();
            break;
        }
        assert_kind(begun, ErrorKind::Unavailable);
        assert!(host.paths(ROOT).is_empty(), "left at {position}");
    }
}

#[test]
fn a_commit_refuses_what_is_not_whole() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    // Segment 1 is missing, though the file is as long as the object: it has a hole.
    let first = local.put_segment(&upload, 0, 0, &host.segment(b"aaaa")).unwrap();
    let third = local.put_segment(&upload, 2, 8, &host.segment(b"cccc")).unwrap();
    let message = assert_kind(
        local.commit(&upload, 12, &[first.clone(), third]),
        ErrorKind::Corrupt,
    );
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(local.commit(&upload, 4, &[first]), ErrorKind::Corrupt);
    assert_kind(
        local.commit(&upload, 12, &["nonsense".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(
        local.commit(&upload, 12, &[u64::MAX.to_string(), "2".into()]),
        ErrorKind::Invalid,
    );
    assert_kind(local.stat(KEY), ErrorKind::NotFound);
}

#[test]
fn an_object_that_is_there_is_never_overwritten() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    let before = host.file(ROOT, KEY).unwrap();
    assert_kind(local.begin(KEY, None), ErrorKind::AlreadyExists);
    assert_kind(
        local.put(KEY, &host.segment(b"new"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(host.paths(ROOT), [KEY]);
    assert_eq!(host.file(ROOT, KEY).unwrap(), before);
}

#[test]
fn of_two_uploads_of_one_key_the_first_commit_wins() {
    let host = host();
    let local = open();
    let late = local.begin(KEY, None).unwrap();
    let receipt = local.put_segment(&late, 0, 0, &host.segment(b"late")).unwrap();
    store(&host, &local, KEY).unwrap();
    let message = assert_kind(local.commit(&late, 4, &[receipt]), ErrorKind::AlreadyExists);
    assert!(message.contains(KEY), "{message}");
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"aaaabbbbcccc");
    local.abort(&late).unwrap();
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn an_abort_leaves_nothing_and_may_be_repeated() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    put_segments(&host, &local, &upload, &[0, 1]).unwrap();
    local.abort(&upload).unwrap();
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());
    assert_kind(
        local.put_segment(&upload, 2, 8, &host.segment(b"late")),
        ErrorKind::NotFound,
    );
    assert_kind(local.commit(&upload, 12, &[]), ErrorKind::NotFound);
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn an_abort_never_touches_a_committed_object() {
    let host = host();
    let local = open();
    let upload = store(&host, &local, KEY).unwrap();
    local.abort(&upload).unwrap();
    assert_eq!(host.paths(ROOT), [KEY]);
}

#[test]
fn an_empty_object_can_be_stored() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, Some(0)).unwrap();
    local.commit(&upload, 0, &[]).unwrap();
    assert_eq!(host.file(ROOT, KEY).unwrap(), b"");
}

#[test]
fn a_small_object_is_put_whole_and_durable() {
    let host = host();
    let local = open();
    local
        .put("metadata/a", &host.segment(b"one"), Existing::Refuse)
        .unwrap();
    local
        .put("metadata/a", &host.segment(b"two"), Existing::Replace)
        .unwrap();
    host.cut_power();
    assert_eq!(host.file(ROOT, "metadata/a").unwrap(), b"two");
    assert_eq!(host.paths(ROOT), ["metadata/a"]);
}

#[test]
fn a_put_of_a_broken_stream_leaves_the_old_object() {
    let host = host();
    let local = open();
    local
        .put("metadata/a", &host.segment(b"one"), Existing::Refuse)
        .unwrap();
    let broken = host.broken_stream(b"tw", Error::unavailable("connection lost"));
    assert_kind(
        local.put("metadata/a", &broken, Existing::Replace),
        ErrorKind::Unavailable,
    );
    assert_eq!(host.file(ROOT, "metadata/a").unwrap(), b"one");
    assert_eq!(host.paths(ROOT), ["metadata/a"]);
}
