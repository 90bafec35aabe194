//! Answers that break, stall, lie or are too large, and requests that break the rules.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use freezer_io::error::ErrorKind;
use freezer_io::http::{Content, Header, Request};
use freezer_io::stop::Stop;
use zeroize::Zeroizing;

use crate::server::{Server, Tester, Then, broken, bytes, header, read_all, request, wait_until};

#[test]
fn a_short_answer_is_corrupt() {
    for head in [
        // Read before the answer is given, and read by a task.
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let server = Server::start(move |_, stream| {
            stream.get_mut().write_all(head.as_bytes())?;
            Ok(Then::Close)
        });
        let tester = Tester::new();
        let mut answer = tester
            .send(request("GET", &server.url("/o?secret")), None)
            .unwrap();
        let mut first = [0; 5];
        answer.content.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"hello");
        let error = broken(&mut answer);
        let expected = format!("GET {}: the answer is shorter than announced", server.url("/o"));
        assert_eq!((error.kind, error.message), (ErrorKind::Corrupt, expected));
        assert_eq!(broken(&mut answer).kind, ErrorKind::Corrupt, "it stays broken");
    }
}

#[test]
fn a_chunked_answer_has_no_size_and_is_read_to_its_end() {
    let server = Server::answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    );
    let tester = Tester::new();
    let mut answer = tester.send(request("GET", &server.url("/")), None).unwrap();
    assert_eq!(answer.size, None);
    assert_eq!(read_all(&mut answer).unwrap(), b"hello world");
}

#[test]
fn no_answer_is_unavailable() {
    let closing = Server::start(|_, _| Ok(Then::Close));
    let error = Tester::new().fail(request("GET", &closing.url("/o")), None);
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/o");
    let error = Tester::new().fail(request("GET", &url), None);
    let expected = format!("GET {url}: no connection: Connection refused");
    assert_eq!((error.kind, error.message), (ErrorKind::Unavailable, expected));

    let noise = Server::answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let error = Tester::new().fail(request("GET", &noise.url("/o")), None);
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[test]
fn an_answer_that_comes_while_the_content_is_sent_is_heard() {
    let server = Server::start(|_, stream| {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        // The content isn't read; the connection is closed once the client had time to see the answer.
        thread::sleep(Duration::from_secs(1));
        Ok(Then::Close)
    });
    let mut answer = Tester::new()
        .send(request("PUT", &server.url("/")), bytes(&vec![0; 64 << 20]))
        .unwrap();
    assert_eq!(
        (answer.status, read_all(&mut answer).unwrap()),
        (413, b"no".to_vec())
    );
}

#[test]
fn waiting_for_headers_ends_after_the_time_asked_for() {
    let silent = Server::start(|_, _| {
        thread::sleep(Duration::from_secs(30));
        Ok(Then::Close)
    });
    let asked = Request {
        timeout_ms: Some(300),
        ..request("GET", &silent.url("/o"))
    };
    let started = Instant::now();
    let error = Tester::new().fail(asked, None);
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.ends_with("/o: no answer for 0.3 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_stalls_is_given_up() {
    let stalling = Server::start(|received, stream| {
        if received.line.starts_with("GET") {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")?;
        }
        thread::sleep(Duration::from_secs(30));
        Ok(Then::Close)
    });
    let mut tester = Tester::new();
    tester.client = tester.client.giving_up_after(Duration::from_millis(500));
    let mut answer = tester.send(request("GET", &stalling.url("/o")), None).unwrap();
    let error = broken(&mut answer);
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.ends_with("/o: nothing came for 0.5 s"), "{error}");
    let error = tester.fail(request("PUT", &stalling.url("/o")), bytes(&vec![0; 64 << 20]));
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(
        error.message.ends_with("/o: nothing could be sent for 0.5 s"),
        "{error}"
    );
}

#[test]
fn a_cancelled_run_ends_the_waiting_but_not_what_cleans_up() {
    let slow = Server::start(|received, stream| {
        if received.line.starts_with("GET") {
            stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")?;
        }
        thread::sleep(Duration::from_secs(if received.line.starts_with("DELETE") {
            1
        } else {
            30
        }));
        stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        Ok(Then::Close)
    });
    let cancelled = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&cancelled);
    let stop = Stop::when(move || asked.load(Ordering::Relaxed));
    let tester = Tester::new();
    let send = |method, stop: &Stop| {
        let request = request(method, &slow.url("/o"));
        tester.runtime.block_on(tester.client.send(request, None, stop))
    };
    let mut answer = send("GET", &stop).unwrap();
    let canceller = Arc::clone(&cancelled);
    let later = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        canceller.store(true, Ordering::Relaxed);
    });
    assert_eq!(send("PUT", &stop).err().unwrap().kind, ErrorKind::Cancelled);
    assert_eq!(broken(&mut answer).kind, ErrorKind::Cancelled);
    assert_eq!(send("PUT", &stop).err().unwrap().kind, ErrorKind::Cancelled);
    assert_eq!(send("DELETE", &Stop::never()).unwrap().status, 204);
    later.join().unwrap();
}

#[test]
fn an_answer_that_outlives_its_host_fails_instead_of_waiting() {
    let server = Server::start(|_, stream| {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")?;
        thread::sleep(Duration::from_secs(30));
        Ok(Then::Close)
    });
    let mut answer = Tester::new()
        .send(request("GET", &server.url("/")), None)
        .unwrap();
    assert_eq!(broken(&mut answer).kind, ErrorKind::Unavailable);
}

#[test]
fn a_dropped_answer_closes_its_connection() {
    let server = Server::start(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.get_mut().write_all(head)?;
        let chunk = [b"10000\r\n", &[7; 0x10000][..], b"\r\n"].concat();
        loop {
            stream.get_mut().write_all(&chunk)?;
        }
    });
    let tester = Tester::new();
    let answer = tester.send(request("GET", &server.url("/")), None).unwrap();
    assert!(server.answered().is_empty(), "it is still being sent");
    drop(answer);
    wait_until("the server can't send any more", || !server.answered().is_empty());
}

#[test]
fn too_many_or_too_long_headers_are_refused() {
    let many = Server::start(|_, stream| {
        let head = "X-A: b\r\n".repeat(300);
        stream
            .get_mut()
            .write_all(format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n").as_bytes())?;
        Ok(Then::Close)
    });
    let long = Server::start(|_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n",
            "b".repeat(1 << 20)
        );
        stream.get_mut().write_all(head.as_bytes())?;
        Ok(Then::Close)
    });
    let medium = Server::start(|_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n",
            "b".repeat(100 << 10)
        );
        stream.get_mut().write_all(head.as_bytes())?;
        Ok(Then::Close)
    });
    for server in [many, long, medium] {
        let error = Tester::new().fail(request("GET", &server.url("/o")), None);
        assert!(
            matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Other),
            "{error:?}"
        );
        assert!(error.message.contains("head"), "{error}");
    }
}

#[test]
fn a_content_of_another_length_than_announced_is_not_sent_as_if_it_were_whole() {
    let server = Server::start(|received, stream| {
        crate::server::read_content(received, stream)?;
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    });
    let tester = Tester::new();
    let stream = |content: &'static [u8], size| {
        Some(Content::Stream {
            reader: Box::new(content),
            size: Some(size),
        })
    };
    for (content, size) in [(&b"short"[..], 9), (&b"too long"[..], 3)] {
        let error = tester.fail(request("PUT", &server.url("/o")), stream(content, size));
        assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    }
}

#[test]
fn a_request_that_breaks_the_rules_is_invalid_and_not_sent() {
    let server = Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let tester = Tester::new();
    let url = server.url("/");
    let with = |headers: Vec<Header>| Request {
        headers,
        ..request("GET", &url)
    };
    let mut wrong = vec![
        with(
            (0..129)
                .map(|number| header(&format!("x-{number}"), "y"))
                .collect(),
        ),
        with(vec![header("x", &"y".repeat(65 << 10))]),
        with(vec![header("x", "a\r\nHost: b")]),
        with(vec![header("x", "a\nb")]),
        with(vec![header("x", "a\0b")]),
        with(vec![header("x y", "a")]),
        with(vec![header("", "a")]),
        with(vec![header("x:", "a")]),
    ];
    for own in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "Expect",
        "Proxy-Authorization",
    ] {
        wrong.push(with(vec![header(own, "1")]));
    }
    for method in ["", "get", "CONNECT", "TRACE", "GET /", "GET\r\n", &"A".repeat(33)] {
        wrong.push(request(method, &url));
    }
    let long = format!("{url}{}", "x".repeat(8 << 10));
    for url in [
        "",
        "/path",
        "127.0.0.1",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http://user@127.0.0.1/",
        "http://u:p@127.0.0.1/",
        "http://127.0.0.1/#f",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nx",
        "http://127.0.0.1/ü",
        "http://127.0.0.1/a/../b",
        "http://127.0.0.1/a/%2e%2e/b",
        "http://127.0.0.1\\@evil/",
        "http://127.0.0.1:99999/",
        &long,
    ] {
        wrong.push(request("GET", url));
    }
    for request in wrong {
        let shown = format!("{} {}", request.method, request.url);
        let error = tester.fail(request, None);
        assert_eq!(error.kind, ErrorKind::Invalid, "{shown}: {error}");
    }
    assert!(server.received().is_empty());
}

#[test]
fn messages_hold_no_query_and_no_header() {
    let closing = Server::start(|_, _| Ok(Then::Close));
    let secret = Header {
        name: "authorization".to_owned(),
        value: Zeroizing::new("hunter2\n".to_owned()),
        secret: true,
    };
    let bad = Request {
        headers: vec![secret],
        ..request("GET", &closing.url("/?sig=hunter2"))
    };
    let failing = Request {
        headers: vec![header("authorization", "hunter2")],
        ..request("GET", &closing.url("/?sig=hunter2"))
    };
    for request in [bad, failing] {
        let error = Tester::new().fail(request, None);
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}
