//! What a status that isn't a success means. The host tries again what is `busy` or `unavailable`, and nothing else.
//!
//! ```text
//! 401 403   denied            413   other (a quota, or too large), busy if it says when to come again
//! 404       not-found         422 499   unavailable: what was sent arrived changed or not whole, sent again it may not
//! 409       busy              408 429 498 503   busy, with Retry-After
//! 412       already-exists    500 502 504       unavailable      507   other: no space left
//! ```

use freezer_sdk::error::{Error, ErrorKind, Result, code};
use freezer_sdk::host::http::Response;

/// Bytes of an answer that are looked at for the service's own words.
const WORDS_BYTES: u32 = 2000;
/// Characters of them that are shown.
const SHOWN_CHARACTERS: usize = 200;

/// True for what the service calls a success.
pub(crate) fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// The error that an answer means. Reads some of its content.
pub(crate) fn error(response: &Response) -> Error {
    let status = response.status;
    let wait = response.retry_after();
    let (kind, meaning) = match status {
        401 => (ErrorKind::Denied, "the login is not accepted"),
        403 => (ErrorKind::Denied, "not permitted"),
        404 | 410 => (ErrorKind::NotFound, "it isn't there"),
        409 => (ErrorKind::Busy, "somebody else changes it"),
        412 => (ErrorKind::AlreadyExists, "it is there already"),
        413 if wait.is_some() => (ErrorKind::Busy, "too many requests"),
        413 => (ErrorKind::Other, "a quota is used up, or it is too large"),
        422 => (ErrorKind::Unavailable, "what arrived is not what was sent"),
        499 => (ErrorKind::Unavailable, "what was sent broke off on its way"),
        429 | 498 => (ErrorKind::Busy, "too many requests"),
        408 | 503 => (ErrorKind::Busy, "the service is overloaded or in maintenance"),
        507 => (ErrorKind::Other, "no space is left"),
        500..=599 => (ErrorKind::Unavailable, "the service failed"),
        _ => (ErrorKind::Other, "unexpected answer"),
    };
    let mut message = format!("{meaning} (status {status}");
    if let Some(words) = words(response) {
        message.push_str(": ");
        message.push_str(&words);
    }
    message.push(')');
    let error = Error::new(kind, message).with_code(match status {
        401 => format!("{} 401", code::LOGIN),
        _ => status.to_string(),
    });
    match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// A document of the service, whole. One that broke off is worth another try: it is no part of a backup.
///
/// # Errors
/// `unavailable` if it broke off; `invalid` above `limit` bytes.
pub(crate) fn document(response: &Response, limit: usize) -> Result<Vec<u8>> {
    response
        .content
        .read_to_end(limit)
        .map_err(|error| match error.kind {
            ErrorKind::Corrupt => Error::unavailable(error.message),
            _ => error,
        })
}

/// What the service says itself: the message of a JSON document, or a page's text without its tags.
fn words(response: &Response) -> Option<String> {
    let content = response.content.read(WORDS_BYTES).ok()?;
    let text = String::from_utf8_lossy(&content);
    let plain = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(document) => document["error"]["message"].as_str()?.to_owned(),
        Err(_) => without_tags(&text),
    };
    let shown: Vec<&str> = plain.split_whitespace().collect();
    let shown: String = shown.join(" ").chars().take(SHOWN_CHARACTERS).collect();
    Some(shown).filter(|shown| !shown.is_empty())
}

fn without_tags(text: &str) -> String {
    let mut plain = String::new();
    for part in text.split('<') {
        plain.push(' ');
        plain.push_str(part.split_once('>').map_or(part, |(_, after)| after));
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use freezer_sdk::host::http::{Request, Trust, send};
    use freezer_sdk::testing::{FakeHost, FakeResponse};

    fn answer(status: u16, headers: &[(&str, &str)], content: &str) -> Error {
        let host = FakeHost::new();
        let response = FakeResponse {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            content: content.as_bytes().to_vec(),
        };
        host.serve_http(move |_, _| Ok(response.clone()));
        let request = Request {
            method: "GET".into(),
            url: "http://h/".into(),
            headers: vec![],
            follow_redirects: 0,
            timeout_ms: None,
            trust: Trust::System,
        };
        error(&send(&request, None).unwrap())
    }

    #[test]
    fn every_status_has_its_kind() {
        use ErrorKind::{AlreadyExists, Busy, Denied, NotFound, Other, Unavailable};
        for (status, kind) in [
            (401, Denied),
            (403, Denied),
            (404, NotFound),
            (408, Busy),
            (409, Busy),
            (412, AlreadyExists),
            (413, Other),
            (422, Unavailable),
            (499, Unavailable),
            (429, Busy),
            (498, Busy),
            (500, Unavailable),
            (502, Unavailable),
            (503, Busy),
            (504, Unavailable),
            (507, Other),
            (418, Other),
        ] {
            let error = answer(status, &[], "");
            assert_eq!(error.kind, kind, "{status}");
            let code = match status {
                401 => "login 401".to_owned(),
                status => status.to_string(),
            };
            assert_eq!(error.code, Some(code));
        }
    }

    #[test]
    fn the_wait_that_is_asked_for_is_passed_on() {
        let error = answer(503, &[("retry-after", "7")], "");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        let error = answer(413, &[("retry-after", " 2 ")], "");
        assert_eq!(
            (error.kind, error.retry_after),
            (ErrorKind::Busy, Some(Duration::from_secs(2)))
        );
        let headers = [
            ("Date", "Wed, 21 Oct 2026 07:27:15 GMT"),
            ("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(
            answer(503, &headers, "").retry_after,
            Some(Duration::from_secs(45))
        );
        for odd in ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(answer(503, &[("retry-after", odd)], "").retry_after, None);
        }
    }

    #[test]
    fn the_service_s_own_words_are_shown_briefly() {
        let page = "<html><h1>Forbidden</h1><p>Access was denied to this resource.</p></html>";
        let error = answer(403, &[], page);
        assert_eq!(
            error.message,
            "not permitted (status 403: Forbidden Access was denied to this resource.)"
        );
        let keystone =
            r#"{"error": {"code": 401, "message": "The request you have made\nrequires authentication."}}"#;
        let error = answer(401, &[], keystone);
        assert!(error.message.contains("made requires authentication"));
        let long = "x".repeat(100_000);
        assert!(answer(500, &[], &long).message.len() < 300);
    }
}
