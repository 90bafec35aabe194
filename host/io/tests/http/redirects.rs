//! Where redirects lead, what goes along, and where nothing goes.

use std::io::Write;

use freezer_io::error::ErrorKind;
use freezer_io::http::{Content, Header, Request};
use zeroize::Zeroizing;

use crate::server::{Server, Tester, Then, bytes, header, read_content, request};

/// A server that answers `/go/STATUS` with a redirect to `target`, and all else with 200.
fn redirecting(target: String) -> Server {
    Server::start(move |received, stream| {
        read_content(received, stream)?;
        let path = received.line.split(' ').nth(1).unwrap_or_default();
        let answer = match path.strip_prefix("/go/") {
            Some(status) => {
                format!("HTTP/1.1 {status} Go\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")
            }
            None => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        Ok(Then::KeepAlive)
    })
}

fn following(method: &str, url: &str) -> Request {
    Request {
        follow_redirects: 3,
        ..request(method, url)
    }
}

#[test]
fn method_and_content_go_along_as_the_status_says() {
    let server = redirecting("/there?x=1".to_owned());
    let tester = Tester::new();
    for (method, status, expected, content) in [
        ("GET", 301, "GET", false),
        ("HEAD", 303, "HEAD", false),
        ("PUT", 307, "PUT", true),
        ("PUT", 302, "PUT", true),
        ("POST", 308, "POST", true),
        ("POST", 302, "GET", false),
        ("PUT", 303, "GET", false),
    ] {
        let mut asked = following(method, &server.url(&format!("/go/{status}")));
        asked.headers = vec![header("content-type", "text/plain"), header("authorization", "a")];
        let sent = if method == "PUT" || method == "POST" {
            bytes(b"content")
        } else {
            None
        };
        assert_eq!(tester.send(asked, sent).unwrap().status, 200, "{method} {status}");
        let received = server.received().pop().unwrap();
        assert_eq!(
            received.line,
            format!("{expected} /there?x=1 HTTP/1.1"),
            "{method} {status}"
        );
        assert_eq!(received.content == b"content", content, "{method} {status}");
        assert_eq!(received.header("authorization"), Some("a"), "one origin");
        assert_eq!(
            received.header("content-type").is_some(),
            expected != "GET" || method == "GET"
        );
    }
}

#[test]
fn another_origin_gets_no_credentials() {
    let target = redirecting(String::new());
    // The same server by another name.
    let server = redirecting(format!("http://localhost:{}/there", target.address.port()));
    let mut asked = following("GET", &server.url("/go/302"));
    let secret = Header {
        name: "x-key".to_owned(),
        value: Zeroizing::new("s".to_owned()),
        secret: true,
    };
    asked.headers = vec![
        header("Authorization", "a"),
        header("cookie", "c"),
        header("X-Auth-Token", "t"),
        secret,
        header("accept", "*/*"),
    ];
    assert_eq!(Tester::new().send(asked, None).unwrap().status, 200);
    let received = target.received().pop().unwrap();
    let names: Vec<_> = received
        .headers
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    assert_eq!(names, ["accept", "host"]);
}

#[test]
fn the_last_redirect_is_the_answer_when_there_were_enough() {
    let server = redirecting("/go/302".to_owned());
    let tester = Tester::new();
    for (allowed, sent) in [(0, 1), (3, 4), (255, 11)] {
        let before = server.received().len();
        let asked = Request {
            follow_redirects: allowed,
            ..request("GET", &server.url("/go/302"))
        };
        let answer = tester.send(asked, None).unwrap();
        assert_eq!(answer.status, 302);
        assert!(
            answer
                .headers
                .contains(&("location".to_owned(), "/go/302".to_owned()))
        );
        assert_eq!(server.received().len() - before, sent);
    }
}

#[test]
fn a_stream_is_not_sent_twice() {
    let server = redirecting("/there".to_owned());
    let stream = Content::Stream {
        reader: Box::new(&b"once"[..]),
        size: Some(4),
    };
    let answer = Tester::new()
        .send(following("PUT", &server.url("/go/307")), Some(stream))
        .unwrap();
    assert_eq!((answer.status, server.received().len()), (307, 1));
}

#[test]
fn no_redirect_leads_where_nothing_was_granted() {
    for target in [
        "http://192.0.2.1/",
        "https://example.org/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        // Other ways to write it.
        "http://2852039166/",
        "http://0xa9.0xfea9fe/",
    ] {
        let server = redirecting(target.to_owned());
        let answer = Tester::new().send(following("GET", &server.url("/go/302")), None);
        let error = answer.map(|answer| answer.status).expect_err(target);
        assert_eq!(error.kind, ErrorKind::Denied, "{target}: {error}");
    }
    for target in [
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/",
        "http://[",
    ] {
        let server = redirecting(target.to_owned());
        let answer = Tester::new()
            .send(following("GET", &server.url("/go/302")), None)
            .unwrap();
        assert_eq!(answer.status, 302, "{target:?} is no place to go");
        assert_eq!(server.received().len(), 1);
    }
}

#[test]
fn a_link_local_address_is_refused_even_if_its_origin_is_granted() {
    let error = Tester::new().fail(request("GET", "http://169.254.169.254/latest"), None);
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Denied, "169.254.169.254 isn't granted")
    );
}
