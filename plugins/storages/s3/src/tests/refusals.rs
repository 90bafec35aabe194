//! What is refused, and in which words.

use super::*;

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
