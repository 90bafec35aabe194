//! What is refused, and in which words.

use super::*;

#[test]
fn bad_keys_are_refused_before_anything_is_touched() {
    let host = host();
    let local = open();
    host.clear_calls();
    for key in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a\nb",
        "a/.data.0123456789abcdef.partial",
    ] {
        assert_kind(local.stat(key), ErrorKind::Invalid);
        assert_kind(local.read(key, 0, None), ErrorKind::Invalid);
        assert_kind(
            local.put(key, &host.segment(b""), Existing::Replace),
            ErrorKind::Invalid,
        );
        assert_kind(local.begin(key, None), ErrorKind::Invalid);
        assert_kind(
            local.abort(&format!("0123456789abcdef:{key}")),
            ErrorKind::Invalid,
        );
    }
    assert!(host.calls().is_empty());
}

#[test]
fn a_missing_container_is_told_when_reading_and_made_when_writing() {
    let host = FakeHost::new();
    host.grant_directory(ROOT);
    let local = open();
    let missing = format!("container \"{ROOT}\" does not exist");
    assert_eq!(assert_kind(local.list("", None), ErrorKind::NotFound), missing);
    assert_eq!(assert_kind(local.stat(KEY), ErrorKind::NotFound), missing);
    assert_eq!(
        assert_kind(local.read(KEY, 0, None), ErrorKind::NotFound),
        missing
    );
    assert_eq!(assert_kind(local.pending("", None), ErrorKind::NotFound), missing);
    assert_eq!(assert_kind(local.usage(), ErrorKind::NotFound), missing);
    local.remove(&[KEY.into()]).unwrap();
    local.abort(&format!("0123456789abcdef:{KEY}")).unwrap();
    assert_kind(local.list("", None), ErrorKind::NotFound);
    store(&host, &local, KEY).unwrap();
    assert_eq!(local.stat(KEY).unwrap().size, 12);
}

#[test]
fn a_container_that_is_a_file_is_no_directory() {
    let host = FakeHost::new();
    host.put_file("/srv/file", "", b"not a directory");
    let local = open_at("/srv/file").unwrap();
    let told = "container \"/srv/file\" is no directory";
    assert_eq!(assert_kind(local.list("", None), ErrorKind::Invalid), told);
    assert_eq!(assert_kind(local.begin(KEY, None), ErrorKind::Invalid), told);
}

#[test]
fn a_container_that_is_not_granted_is_denied_with_its_name() {
    let _host = FakeHost::new();
    let message = assert_kind(open().list("", None), ErrorKind::Denied);
    assert!(message.contains(ROOT), "{message}");
}

#[test]
fn a_relative_container_is_refused() {
    for path in ["", "backups", "./b", "/a\0b"] {
        assert_kind(open_at(path), ErrorKind::Invalid);
    }
    assert_kind(Local::open(Settings::default()), ErrorKind::Invalid);
}

#[test]
fn a_full_disk_gives_a_clear_error_and_abort_leaves_nothing() {
    let host = host();
    host.set_capacity(ROOT, 6);
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    let message = assert_kind(put_segments(&host, &local, &upload, &[0, 1]), ErrorKind::Other);
    assert!(
        message.contains("segment 1") && message.contains("no space left"),
        "{message}"
    );
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());

    assert_kind(
        local.put("metadata", &host.segment(b"too long"), Existing::Refuse),
        ErrorKind::Other,
    );
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn a_read_only_directory_gives_a_clear_error_and_leaves_nothing() {
    let host = host();
    host.set_read_only(ROOT);
    let local = open();
    let message = assert_kind(local.begin(KEY, None), ErrorKind::Denied);
    assert!(message.contains(KEY) && message.contains(ROOT), "{message}");
    assert_kind(
        local.put(KEY, &host.segment(b"x"), Existing::Refuse),
        ErrorKind::Denied,
    );
    assert!(host.paths(ROOT).is_empty());
}

#[test]
fn usage_counts_objects_but_no_temporaries() {
    let host = host();
    let local = open();
    store(&host, &local, KEY).unwrap();
    local
        .put("metadata/a", &host.segment(b"123"), Existing::Refuse)
        .unwrap();
    local.begin("metadata/b", None).unwrap();
    let usage = local.usage().unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(
        (usage[0].name.as_str(), usage[0].objects, usage[0].bytes),
        (ROOT, 2, 15)
    );
    assert!(usage[0].available.is_some());
}

#[test]
fn a_cancelled_call_says_so() {
    let host = host();
    let local = open();
    let upload = local.begin(KEY, None).unwrap();
    host.cancel();
    assert_kind(
        local.put_segment(&upload, 0, 0, &host.segment(b"aaaa")),
        ErrorKind::Cancelled,
    );
    host.mask_cancel();
    local.abort(&upload).unwrap();
    assert!(host.paths(ROOT).is_empty());
}
