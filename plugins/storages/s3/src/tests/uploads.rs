//! Objects come into being whole, once, and not over others.

use super::*;

#[test]
fn an_object_is_invisible_until_it_is_committed_whole() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    assert!(upload.len() <= 1024);
    let receipts = put_segments(&host, &s3, &upload, &[2, 0, 1]).unwrap();
    assert!(receipts.iter().all(|receipt| receipt.len() <= 256));
    assert_kind(s3.stat(KEY), ErrorKind::NotFound);
    s3.commit(&upload, 12, &receipts).unwrap();
    let entry = s3.stat(KEY).unwrap();
    assert_eq!((entry.size, entry.modified.unwrap().seconds), (12, 1_700_000_000));
    assert_eq!(service.content(KEY).unwrap(), b"aaaabbbbcccc");
    assert_eq!(service.uploads(), 0);
}

#[test]
fn all_keys_bear_the_prefix_in_the_bucket() {
    let (host, service) = start();
    let s3 = open_with(&[("prefix", text("deep/er"))]).unwrap();
    store(&host, &s3, "a/data").unwrap();
    s3.put("a/b c+d", &host.segment(b"x"), Existing::Refuse).unwrap();
    service.put("deep/other", b"");
    assert_eq!(
        service.keys(),
        ["deep/er/a/b c+d", "deep/er/a/data", "deep/other"]
    );
    let keys: Vec<String> = s3
        .list("a/", None)
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(keys, ["a/b c+d", "a/data"]);
    assert_eq!(s3.usage().unwrap()[0].objects, 2);
    s3.begin("p/q", None).unwrap();
    let pending = s3.pending("p/", None).unwrap().uploads;
    assert_eq!(pending[0].key, "p/q");
    s3.abort(&pending[0].upload).unwrap();
    s3.remove(&["a/data".into(), "a/b c+d".into()]).unwrap();
    assert_eq!(service.keys(), ["deep/other"]);
    assert_eq!(service.uploads(), 0);
}

#[test]
fn an_upload_goes_on_in_any_instance_and_a_segment_may_come_again() {
    let (host, service) = start();
    let upload = open().begin(KEY, None).unwrap();
    open().put_segment(&upload, 0, 0, &host.segment(b"xxxx")).unwrap();
    let receipts = put_segments(&host, &open(), &upload, &[1, 0]).unwrap();
    open().commit(&upload, 8, &receipts).unwrap();
    assert_eq!(service.content(KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_repeated_commit_succeeds_and_one_of_another_size_does_not() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &s3, &upload, &[0, 1]).unwrap();
    s3.commit(&upload, 8, &receipts).unwrap();
    open().commit(&upload, 8, &receipts).unwrap();
    assert_kind(
        open().commit(&upload, 4, &receipts[..1]),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(service.content(KEY).unwrap(), b"aaaabbbb");
}

#[test]
fn a_commit_refuses_what_is_not_whole() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    let first = s3.put_segment(&upload, 0, 0, &host.segment(b"aaaa")).unwrap();
    let third = s3.put_segment(&upload, 2, 8, &host.segment(b"cccc")).unwrap();
    assert_kind(
        s3.commit(&upload, 12, &[first.clone(), third.clone()]),
        ErrorKind::Corrupt,
    );
    // The sum fits, but segment 1 is missing: the service says so with status 200.
    let message = assert_kind(s3.commit(&upload, 8, &[first, third]), ErrorKind::Corrupt);
    assert!(
        message.contains(KEY) && message.contains("InvalidPart"),
        "{message}"
    );
    assert_kind(s3.commit(&upload, 12, &["nonsense".into()]), ErrorKind::Invalid);
    assert_eq!(service.keys(), [""; 0]);
}

#[test]
fn an_object_that_is_there_is_never_overwritten() {
    for conditions in [
        Conditions::Honoured,
        Conditions::NotImplemented,
        Conditions::Overlooked,
    ] {
        let (host, service) = start();
        service.with(|state| state.conditions = conditions);
        let s3 = open();
        let late = s3.begin(KEY, None).unwrap();
        let receipt = s3.put_segment(&late, 0, 0, &host.segment(b"late")).unwrap();
        store(&host, &s3, KEY).unwrap();
        assert_kind(s3.begin(KEY, None), ErrorKind::AlreadyExists);
        assert_kind(
            s3.put(KEY, &host.segment(b"new"), Existing::Refuse),
            ErrorKind::AlreadyExists,
        );
        let message = assert_kind(s3.commit(&late, 4, &[receipt]), ErrorKind::AlreadyExists);
        assert!(message.contains(KEY), "{message}");
        assert_eq!(service.content(KEY).unwrap(), b"aaaabbbbcccc", "{conditions:?}");
        s3.abort(&late).unwrap();
        assert_eq!((service.keys().len(), service.uploads()), (1, 0));
    }
}

#[test]
fn an_object_that_appears_at_the_last_moment_is_not_replaced() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    let receipts = put_segments(&host, &s3, &upload, &[0]).unwrap();
    // Seen as absent by the look before, there when the request proper comes.
    let racing = |service: &FakeService| service.with(|state| state.answers.push(status(404)));
    service.put(KEY, b"theirs");
    racing(&service);
    assert_kind(s3.commit(&upload, 4, &receipts), ErrorKind::AlreadyExists);
    racing(&service);
    assert_kind(
        s3.put(KEY, &host.segment(b"ours"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(service.content(KEY).unwrap(), b"theirs");
}

#[test]
fn a_service_without_conditions_refuses_nothing_safely_and_says_so() {
    let (host, service) = start();
    service.with(|state| state.conditions = Conditions::NotImplemented);
    let s3 = open();
    assert_kind(
        s3.put("claim", &host.segment(b"x"), Existing::Refuse),
        ErrorKind::Unsupported,
    );
    assert_eq!(service.keys(), [""; 0]);
    s3.put("claim", &host.segment(b"x"), Existing::Replace).unwrap();
    store(&host, &s3, KEY).unwrap();
    assert_eq!(service.keys().len(), 2);
}

#[test]
fn an_empty_object_can_be_stored() {
    let (_host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, Some(0)).unwrap();
    s3.commit(&upload, 0, &[]).unwrap();
    s3.commit(&upload, 0, &[]).unwrap();
    assert_eq!(service.content(KEY).unwrap(), b"");
}

#[test]
fn an_abort_leaves_nothing_may_be_repeated_and_touches_no_object() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    put_segments(&host, &s3, &upload, &[0, 1]).unwrap();
    s3.abort(&upload).unwrap();
    s3.abort(&upload).unwrap();
    assert_eq!(service.uploads(), 0);
    assert_kind(
        s3.put_segment(&upload, 2, 8, &host.segment(b"late")),
        ErrorKind::NotFound,
    );
    assert_kind(s3.commit(&upload, 0, &[]), ErrorKind::NotFound);
    let upload = store(&host, &s3, KEY).unwrap();
    s3.abort(&upload).unwrap();
    assert_eq!(service.keys(), [KEY]);
}
