//! Requests and answers as they should be.

use freezer_io::http::Content;

use crate::server::{Server, Tester, bytes, header, read_all, request};

#[test]
fn a_request_arrives_as_it_was_made() {
    let server = Server::answering(b"HTTP/1.1 201 Created\r\nETag: \"x\"\r\nX-Odd: \xff\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 5\r\n\r\nhello");
    let tester = Tester::new();
    let mut put = request("PUT", &server.url("/v1/a%20b?x=1&y"));
    put.headers = vec![header("X-Auth-Token", "t"), header("X-Object", "ü")];
    let content: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let mut answer = tester.send(put, bytes(&content)).unwrap();
    assert_eq!(answer.status, 201);
    let headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("etag", "\"x\""),
            ("x-two", "a"),
            ("x-two", "b"),
            ("content-length", "5")
        ]
    );
    assert_eq!(
        (answer.size, read_all(&mut answer).unwrap()),
        (Some(5), b"hello".to_vec())
    );

    let received = &server.received()[0];
    assert_eq!(received.line, "PUT /v1/a%20b?x=1&y HTTP/1.1");
    assert_eq!(received.header("content-length"), Some("300000"));
    assert_eq!(received.header("host"), Some(server.address.to_string().as_str()));
    let mut names: Vec<_> = received.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["accept", "content-length", "host", "x-auth-token", "x-object"];
    assert_eq!(names, expected, "hardly anything of its own");
    assert!(received.content == content);
}

#[test]
fn a_content_may_be_absent_empty_or_a_stream() {
    let server = Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let tester = Tester::new();
    let stream = |content: &'static [u8], size| {
        Some(Content::Stream {
            reader: Box::new(content),
            size,
        })
    };
    for (method, content) in [
        ("GET", None),
        ("PUT", None),
        ("PUT", bytes(b"")),
        ("POST", stream(b"streamed", Some(8))),
        ("POST", stream(b"streamed", None)),
    ] {
        tester.send(request(method, &server.url("/")), content).unwrap();
    }
    let received = server.received();
    let lengths: Vec<_> = received
        .iter()
        .map(|received| received.header("content-length"))
        .collect();
    assert_eq!(lengths, [None, Some("0"), Some("0"), Some("8"), None]);
    assert_eq!(received[3].content, b"streamed");
    assert_eq!(received[4].content, b"streamed");
    let connections = received.iter().map(|received| received.connection).max();
    assert!(connections < Some(4), "connections are used again");
}
