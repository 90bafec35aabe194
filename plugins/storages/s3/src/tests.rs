//! Each rule of the storage, and a fault at every position, against a service in memory.

mod fake;

use super::*;
use fake::{Conditions, Service as FakeService, refusal, status};
use freezer_sdk::host::http::Trust;
use freezer_sdk::settings::SettingValue;
use freezer_sdk::storage::PAGE_ENTRIES;
use freezer_sdk::testing::{FakeHost, FakeResponse};
use std::time::Duration;

const KEY: &str = "data/tar/web01_etc/1700000000/0_1700000000/data";
/// The least the protocol demands doesn't bind the service in memory.
const SEGMENT: u64 = 4;

fn start() -> (FakeHost, FakeService) {
    let host = FakeHost::new();
    let service = FakeService::start(&host);
    (host, service)
}

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.into())
}

fn open_with(more: &[(&str, SettingValue)]) -> Result<S3> {
    let common = [
        ("bucket", text("web")),
        ("endpoint", text("http://store:9000")),
        ("region", text("us-east-1")),
        ("access-key", text("AK")),
        ("path-style", SettingValue::Flag(true)),
    ];
    let kept = common
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    S3::open(Settings::new(kept.chain(more.iter().cloned())))
}

fn open() -> S3 {
    open_with(&[]).unwrap()
}

/// Puts segments of 4 bytes in the given order and returns the receipts by number.
fn put_segments(host: &FakeHost, s3: &S3, upload: &str, order: &[u32]) -> Result<Vec<String>> {
    let mut receipts = vec![String::new(); order.len()];
    for &number in order {
        let content = [b'a' + number as u8; 4];
        receipts[number as usize] = s3.put_segment(
            upload,
            number,
            u64::from(number) * SEGMENT,
            &host.segment(&content),
        )?;
    }
    Ok(receipts)
}

fn store(host: &FakeHost, s3: &S3, key: &str) -> Result<String> {
    let upload = s3.begin(key, None)?;
    let receipts = put_segments(host, s3, &upload, &[0, 1, 2])?;
    s3.commit(&upload, 12, &receipts)?;
    Ok(upload)
}

#[track_caller]
fn assert_kind<T>(result: Result<T>, kind: ErrorKind) -> String {
    match result {
        Ok(_) => panic!("it succeeded instead of failing with {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{error}");
            error.message
        }
    }
}

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

#[test]
fn bad_keys_are_refused_before_anything_is_asked() {
    let (host, service) = start();
    let s3 = open();
    for key in ["", "/etc/passwd", "../x", "a/../../x", "a\nb", "a/"] {
        assert_kind(s3.stat(key), ErrorKind::Invalid);
        assert_kind(s3.read(key, 0, None), ErrorKind::Invalid);
        assert_kind(
            s3.put(key, &host.segment(b""), Existing::Replace),
            ErrorKind::Invalid,
        );
        assert_kind(s3.begin(key, None), ErrorKind::Invalid);
        assert_kind(s3.remove(&[key.into()]), ErrorKind::Invalid);
        assert_kind(s3.abort(&format!("-:1:x{key}")), ErrorKind::Invalid);
    }
    assert!(service.with(|state| state.requests.is_empty()));
}

#[test]
fn a_missing_bucket_is_told_and_made_only_if_asked() {
    let (host, service) = start();
    service.with(|state| state.bucket = false);
    let s3 = open();
    for message in [
        assert_kind(s3.list("", None), ErrorKind::NotFound),
        assert_kind(s3.read(KEY, 0, None), ErrorKind::NotFound),
        assert_kind(s3.begin(KEY, None), ErrorKind::NotFound),
        assert_kind(
            s3.put(KEY, &host.segment(b""), Existing::Refuse),
            ErrorKind::NotFound,
        ),
        assert_kind(s3.pending("", None), ErrorKind::NotFound),
        assert_kind(s3.usage(), ErrorKind::NotFound),
    ] {
        assert!(
            message.contains("in bucket \"web\" at http://store:9000: there is no such bucket"),
            "{message}"
        );
    }
    s3.remove(&[KEY.into()]).unwrap();
    assert!(!service.with(|state| state.bucket));
    let making = open_with(&[("create-bucket", SettingValue::Flag(true))]).unwrap();
    assert_kind(making.list("", None), ErrorKind::NotFound);
    store(&host, &making, KEY).unwrap();
    assert_eq!(service.keys(), [KEY]);
}

#[test]
fn a_bucket_of_somebody_else_is_not_taken_for_an_object() {
    let (host, service) = start();
    service.with(|state| {
        state.answers = vec![refusal(404, "NoSuchBucket"), refusal(409, "BucketAlreadyExists")];
    });
    let making = open_with(&[("create-bucket", SettingValue::Flag(true))]).unwrap();
    let message = assert_kind(
        making.put("a", &host.segment(b""), Existing::Replace),
        ErrorKind::Denied,
    );
    assert!(message.contains("belongs to somebody else"), "{message}");
}

#[test]
fn settings_say_whose_certificates_count() {
    let (_host, service) = start();
    let cases = [
        (vec![], Trust::System),
        (vec![("insecure", SettingValue::Flag(false))], Trust::System),
        (
            vec![("ca-file", text("/etc/ca.pem"))],
            Trust::Certificates("ca-file".into()),
        ),
        (
            vec![("insecure", SettingValue::Flag(true))],
            Trust::Anything("insecure".into()),
        ),
    ];
    for (settings, trust) in cases {
        open_with(&settings).unwrap().list("", None).unwrap();
        assert_eq!(service.with(|state| state.requests.pop()).unwrap().trust, trust);
    }
}

#[test]
fn a_key_that_may_only_write_can_store() {
    let (host, service) = start();
    service.with(|state| state.write_only = true);
    let s3 = open();
    store(&host, &s3, KEY).unwrap();
    s3.put("metadata", &host.segment(b"{}"), Existing::Refuse)
        .unwrap();
    assert_kind(
        s3.put("metadata", &host.segment(b"other"), Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_kind(s3.stat("metadata"), ErrorKind::Denied);
    assert_eq!(service.content("metadata").unwrap(), b"{}");
}

#[test]
fn locks_and_classes_are_asked_for_with_each_object() {
    let (host, service) = start();
    let s3 = open_with(&[
        ("object-lock-mode", text("compliance")),
        ("object-lock-days", SettingValue::Integer(30)),
        ("storage-class", text("STANDARD_IA")),
    ])
    .unwrap();
    store(&host, &s3, "large").unwrap();
    s3.put("small", &host.segment(b"x"), Existing::Refuse).unwrap();
    for (key, class) in [("large", Some("STANDARD_IA")), ("small", None)] {
        let headers = service.with(|state| state.objects[key].headers.clone());
        assert_eq!(headers["x-amz-object-lock-mode"], "COMPLIANCE");
        assert!(
            headers.contains_key("x-amz-object-lock-retain-until-date"),
            "{headers:?}"
        );
        assert_eq!(headers.get("x-amz-storage-class").map(String::as_str), class);
    }
    // The protocol wants a digest with each content that is locked.
    let with_content = |request: &freezer_sdk::host::http::Request| request.method == "PUT";
    let puts = service
        .with(|state| state.requests.clone())
        .into_iter()
        .filter(with_content);
    assert!(
        puts.into_iter()
            .all(|put| put.headers.iter().any(|header| header.name == "content-md5"))
    );
}

#[test]
fn refusals_keep_their_meaning_and_their_wait() {
    let (_host, service) = start();
    let s3 = open();
    let cases = [
        (503, "SlowDown", ErrorKind::Busy, "SlowDown"),
        (503, "", ErrorKind::Busy, "503"),
        (429, "", ErrorKind::Busy, "429"),
        (500, "InternalError", ErrorKind::Unavailable, "InternalError"),
        (502, "", ErrorKind::Unavailable, "502"),
        (400, "RequestTimeout", ErrorKind::Unavailable, "RequestTimeout"),
        (
            403,
            "AccessDenied",
            ErrorKind::Denied,
            "access key \"AK\" may not",
        ),
        (
            403,
            "InvalidAccessKeyId",
            ErrorKind::Denied,
            "there is no access key \"AK\"",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            ErrorKind::Denied,
            "secret-key or region",
        ),
        (400, "ExpiredToken", ErrorKind::Denied, "session-token"),
        (403, "RequestTimeTooSkewed", ErrorKind::Denied, "clock"),
        (403, "InvalidObjectState", ErrorKind::Denied, "archive"),
        (301, "PermanentRedirect", ErrorKind::Invalid, "set region"),
        (
            400,
            "AuthorizationHeaderMalformed",
            ErrorKind::Invalid,
            "set region",
        ),
        (400, "EntityTooLarge", ErrorKind::Invalid, "segments"),
        (507, "", ErrorKind::Other, "no room left"),
        (501, "NotImplemented", ErrorKind::Unsupported, "NotImplemented"),
        (400, "BadDigest", ErrorKind::Unavailable, "BadDigest"),
    ];
    for (status, code, kind, words) in cases {
        let mut answer = if code.is_empty() {
            fake::status(status)
        } else {
            refusal(status, code)
        };
        answer.headers.push(("retry-after".into(), "7".into()));
        service.with(|state| state.answers.push(answer));
        let error = s3.list("", None).unwrap_err();
        assert_eq!(error.kind, kind, "{status} {code}: {error}");
        assert!(error.message.contains(words), "{status} {code}: {error}");
        assert!(
            error
                .message
                .contains("can't list \"\" in bucket \"web\" at http://store:9000"),
            "{error}"
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        let said = error.code.unwrap();
        assert_eq!(
            said.strip_prefix("login ").unwrap_or(&said),
            if code.is_empty() {
                status.to_string()
            } else {
                code.to_owned()
            }
        );
    }
}

#[test]
fn a_wrong_region_and_a_wrong_clock_are_told_with_the_right_ones() {
    let (_host, service) = start();
    let s3 = open();
    let mut moved = refusal(301, "PermanentRedirect");
    moved
        .headers
        .push(("x-amz-bucket-region".into(), "eu-west-1".into()));
    let skewed =
        "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2023-11-14T22:13:20Z</ServerTime></Error>";
    service.with(|state| {
        state.answers = vec![
            moved,
            FakeResponse {
                content: skewed.into(),
                ..status(403)
            },
        ];
    });
    assert!(
        s3.list("", None)
            .unwrap_err()
            .message
            .contains("set region to \"eu-west-1\"")
    );
    assert!(
        s3.list("", None)
            .unwrap_err()
            .message
            .contains("there it is 2023-11-14T22:13:20Z")
    );
}

#[test]
fn the_reason_of_a_refused_look_is_asked_for() {
    let (_host, service) = start();
    let s3 = open();
    service.with(|state| state.answers = vec![status(403), refusal(403, "SignatureDoesNotMatch")]);
    let message = assert_kind(s3.stat(KEY), ErrorKind::Denied);
    assert!(message.contains("secret-key or region"), "{message}");
    // An upload must not go on when the key itself is wrong.
    service.with(|state| state.answers = vec![status(403), refusal(403, "InvalidAccessKeyId")]);
    assert_kind(s3.begin(KEY, None), ErrorKind::Denied);
    assert_eq!(service.uploads(), 0);
}

#[test]
fn the_secret_key_is_in_no_request_and_no_message() {
    let (host, service) = start();
    host.set_secret("session-token", "TOKEN");
    let s3 = open();
    store(&host, &s3, KEY).unwrap();
    service.with(|state| state.answers = vec![refusal(403, "InvalidToken")]);
    let error = s3.list("", None).unwrap_err();
    assert!(!format!("{error:?} {:?}", host.logs()).contains("hunter2"));
    for request in service.with(|state| state.requests.clone()) {
        assert!(!format!("{request:?}").contains("hunter2"));
        assert!(
            !request.url.contains("TOKEN") && !request.url.contains("Signature"),
            "{}",
            request.url
        );
    }
}

#[test]
fn an_absent_secret_is_told_by_its_setting() {
    let host = FakeHost::new();
    host.serve_http(|_, _| panic!("asked without a key"));
    let message = assert_kind(open().list("", None), ErrorKind::NotFound);
    assert!(message.contains("secret key"), "{message}");
}

#[test]
fn a_cancelled_call_says_so() {
    let (host, service) = start();
    let s3 = open();
    let upload = s3.begin(KEY, None).unwrap();
    host.cancel();
    assert_kind(put_segments(&host, &s3, &upload, &[0]), ErrorKind::Cancelled);
    host.mask_cancel();
    s3.abort(&upload).unwrap();
    assert_eq!(service.uploads(), 0);
}

/// How a call goes wrong in the sweeps below.
#[derive(Clone, Copy, Debug)]
enum Breakage {
    Fails,
    AnswerLost,
}

/// Runs `attempt` with a fault at each position in turn, until it gets through unhurt; on services of each sort.
fn sweep(
    attempt: impl Fn(&FakeHost, &S3) -> Result<()>,
    check: impl Fn(&FakeHost, &S3, &FakeService, Result<()>),
) {
    for (breakage, conditions) in [
        (Breakage::Fails, Conditions::Honoured),
        (Breakage::AnswerLost, Conditions::Honoured),
        (Breakage::AnswerLost, Conditions::NotImplemented),
        (Breakage::AnswerLost, Conditions::Overlooked),
    ] {
        for position in 0.. {
            assert!(position < 100, "the sweep doesn't end");
            let (host, service) = start();
            service.with(|state| state.conditions = conditions);
            service.put("older", b"older");
            let s3 = open();
            let error = Error::unavailable("broken off");
            match breakage {
                Breakage::Fails => host.fail_call(position, error),
                Breakage::AnswerLost => host.lose_answer(position, error),
            }
            let result = attempt(&host, &s3);
            if !host.fault_struck() {
                result.unwrap();
                break;
            }
            check(&host, &s3, &service, result);
            assert_eq!(
                service.content("older").unwrap(),
                b"older",
                "{breakage:?} at {position}"
            );
        }
    }
}

/// Calls once more after a failure that the host retries.
fn again<T>(call: impl Fn() -> Result<T>) -> Result<T> {
    call().or_else(|error| if error.is_retryable() { call() } else { Err(error) })
}

/// Removes all that `pending` finds, as the garbage collection does.
fn collect_garbage(s3: &S3) {
    for pending in s3.pending("", None).unwrap().uploads {
        s3.abort(&pending.upload).unwrap();
    }
}

#[test]
fn an_upload_broken_at_any_call_leaves_no_half_object_and_can_be_made_again() {
    sweep(
        |host, s3| store(host, s3, KEY).map(|_| ()),
        |host, s3, service, result| {
            // A refusal without its text is still understood by its status.
            assert!(result.is_err() || service.content(KEY).is_some());
            if let Some(content) = service.content(KEY) {
                assert_eq!(content, b"aaaabbbbcccc");
                s3.remove(&[KEY.into()]).unwrap();
            }
            collect_garbage(s3);
            assert_eq!(service.uploads(), 0);
            store(host, s3, KEY).unwrap();
        },
    );
}

#[test]
fn every_repeated_call_of_an_upload_brings_it_through() {
    sweep(
        |host, s3| {
            let upload = again(|| s3.begin(KEY, None))?;
            let first = again(|| s3.put_segment(&upload, 0, 0, &host.segment(b"aaaa")))?;
            let second = again(|| s3.put_segment(&upload, 1, 4, &host.segment(b"bbbb")))?;
            again(|| s3.commit(&upload, 8, &[first.clone(), second.clone()]))
        },
        |_host, s3, service, result| {
            result.unwrap();
            assert_eq!(service.content(KEY).unwrap(), b"aaaabbbb");
            collect_garbage(s3);
            assert_eq!((service.keys().len(), service.uploads()), (2, 0));
        },
    );
}

#[test]
fn a_put_broken_at_any_call_leaves_the_old_object_or_the_new_one() {
    sweep(
        |host, s3| s3.put("older", &host.segment(b"newer"), Existing::Replace),
        |host, s3, service, result| {
            result.unwrap_err();
            let content = service.content("older").unwrap();
            assert!(content == b"older" || content == b"newer", "{content:?}");
            s3.put("older", &host.segment(b"older"), Existing::Replace)
                .unwrap();
        },
    );
}

#[test]
fn a_removal_broken_at_any_call_can_be_repeated() {
    sweep(
        |host, s3| {
            for key in ["a", "b", "c"] {
                s3.put(key, &host.segment(b""), Existing::Replace)?;
            }
            s3.remove(&["a".into(), "b".into()])?;
            s3.remove(&["c".into()])
        },
        |_host, s3, service, result| {
            result.unwrap_err();
            s3.remove(&["a".into(), "b".into(), "c".into()]).unwrap();
            assert_eq!(service.keys(), ["older"]);
        },
    );
}

#[test]
fn a_broken_read_or_listing_is_an_error_never_less() {
    sweep(
        |host, s3| {
            assert_eq!(host.drain(&s3.read("older", 0, None)?)?, b"older");
            assert_eq!(host.drain(&s3.read("older", 5, None)?)?, b"");
            assert_eq!(s3.list("", None)?.entries.len(), 1);
            assert_eq!(s3.pending("", None)?.uploads.len(), 0);
            assert_eq!(s3.usage()?[0].objects, 1);
            Ok(())
        },
        |_host, _s3, _service, result| {
            assert_kind(result, ErrorKind::Unavailable);
        },
    );
}
