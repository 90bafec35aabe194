//! The proxy itself breaks what it is told to, where it is told to, and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use freezer_tests::proxy::{AtTurn, Break, Direction, Point, Proxy, Rule};
use rstest::rstest;

/// A server that sends everything back, until the client ends; it lives as long as the test.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut from = stream.try_clone().expect("a clone");
                let mut to = stream;
                std::io::copy(&mut from, &mut to).ok();
                to.shutdown(Shutdown::Write).ok();
            });
        }
    });
    address
}

/// A server that answers each request with how many it has had, and the length of the body.
fn counting_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut count = 0;
        for mut stream in listener.incoming().flatten() {
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read) = stream.read(&mut buffer) {
                if read == 0 {
                    break;
                }
                text.extend_from_slice(&buffer[..read]);
                while let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&text[..end]).into_owned();
                    let length: usize = head
                        .lines()
                        .find_map(|line| line.strip_prefix("Content-Length: "))
                        .map_or(0, |length| length.parse().expect("a length"));
                    if text.len() < end + 4 + length {
                        break;
                    }
                    text.drain(..end + 4 + length);
                    count += 1;
                    let body = format!("{count}:{length}");
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    address
}

fn at(direction: Direction, after: u64, event: Break) -> Rule {
    Rule::AtByte {
        connection: Some(0),
        direction,
        after,
        event,
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream
}

/// Sends, says that it is all, and reads what comes back until the end or an error.
fn talk(proxy: &Proxy, bytes: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = connect(proxy);
    let mut found = Vec::new();
    let sent = stream
        .write_all(bytes)
        .and_then(|()| stream.shutdown(Shutdown::Write));
    let result = stream.read_to_end(&mut found);
    (found, sent.and(result.map(drop)).err().map(|error| error.kind()))
}

fn pattern() -> Vec<u8> {
    (0..100_000_u32).map(|number| (number % 251) as u8).collect()
}

#[test]
fn without_rules_it_is_not_there() {
    let proxy = Proxy::start(echo(), Vec::new()).expect("a proxy");
    for _ in 0..3 {
        assert_eq!(talk(&proxy, &pattern()), (pattern(), None));
    }
    assert_eq!((proxy.connections(), proxy.hits()), (3, 0));
    assert_eq!(proxy.bytes(Direction::Up), 300_000);
    assert_eq!(proxy.bytes(Direction::Down), 300_000);
}

#[test]
fn a_cut_is_a_reset_after_that_byte_and_only_on_that_connection() {
    for direction in [Direction::Up, Direction::Down] {
        let proxy = Proxy::start(echo(), vec![at(direction, 5000, Break::Cut)]).expect("a proxy");
        let (found, error) = talk(&proxy, &pattern());
        assert!(
            found.len() <= 5000 && pattern().starts_with(&found),
            "{} bytes",
            found.len()
        );
        assert!(
            matches!(
                error,
                Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected)
            ),
            "{error:?}"
        );
        assert_eq!(talk(&proxy, &pattern()), (pattern(), None));
        assert_eq!(proxy.hits(), 1);
    }
}

#[test]
fn an_early_end_is_an_end_and_no_error() {
    let proxy = Proxy::start(echo(), vec![at(Direction::Down, 5000, Break::EarlyEnd)]).expect("a proxy");
    let (found, error) = talk(&proxy, &pattern());
    assert_eq!((found, error), (pattern()[..5000].to_vec(), None));
    // The other way, the server sees the end and ends too.
    let proxy = Proxy::start(echo(), vec![at(Direction::Up, 5000, Break::EarlyEnd)]).expect("a proxy");
    assert_eq!(talk(&proxy, &pattern()).0, pattern()[..5000]);
}

#[test]
fn a_stall_is_silence_without_an_end() {
    let proxy = Proxy::start(echo(), vec![at(Direction::Down, 5000, Break::Stall)]).expect("a proxy");
    let mut stream = connect(&proxy);
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    stream.write_all(&pattern()[..20_000]).expect("room in buffers");
    let mut found = Vec::new();
    let error = stream.read_to_end(&mut found).expect_err("silence");
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    assert_eq!(found, pattern()[..5000]);
    // Ending the proxy ends its threads, stalled ones too.
    drop(proxy);
}

#[test]
fn a_flipped_bit_is_one_bit() {
    let proxy = Proxy::start(echo(), vec![at(Direction::Up, 70_000, Break::FlipBit)]).expect("a proxy");
    let mut wanted = pattern();
    wanted[70_000] ^= 1;
    assert_eq!(talk(&proxy, &pattern()), (wanted, None));
    assert_eq!(proxy.hits(), 1);
}

#[test]
fn the_first_connections_are_refused() {
    let proxy = Proxy::start(echo(), vec![Rule::RefuseFirst(2)]).expect("a proxy");
    for _ in 0..2 {
        let (found, error) = talk(&proxy, b"hello");
        assert!(found.is_empty() && error.is_some(), "{found:?} {error:?}");
    }
    assert_eq!(talk(&proxy, b"hello"), (b"hello".to_vec(), None));
}

#[test]
fn a_slow_connection_takes_its_time() {
    let proxy = Proxy::start(echo(), vec![Rule::Slow { rate: 50_000 }]).expect("a proxy");
    let start = std::time::Instant::now();
    assert_eq!(talk(&proxy, &pattern()), (pattern(), None));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Sends a request with a body on a connection and reads one answer; `None` when the connection breaks instead.
fn request(stream: &mut TcpStream, body: &str) -> Option<String> {
    let text = format!("PUT /x HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).ok()?;
    let mut found = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        found.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&found).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        if length.is_some_and(|length| length.parse() == Ok(body.len())) {
            return Some(text);
        }
    }
}

#[test]
fn a_request_is_answered_in_the_server_s_place() {
    let rule = Rule::Answer {
        request: 1,
        times: 2,
        status: 503,
        retry_after: Some(7),
    };
    let proxy = Proxy::start(counting_server(), vec![rule]).expect("a proxy");
    let mut stream = connect(&proxy);
    assert!(request(&mut stream, "first").expect("an answer").ends_with("1:5"));
    let refused = request(&mut stream, "second").expect("an answer");
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: 7\r\n"),
        "{refused}"
    );
    let refused = request(&mut connect(&proxy), "second again").expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // The server has seen none of them.
    let answer = request(&mut connect(&proxy), "third").expect("an answer");
    assert!(answer.ends_with("2:5"), "{answer}");
    assert_eq!((proxy.requests(), proxy.hits()), (4, 2));
}

#[test]
fn a_bit_flips_in_the_body_of_one_request() {
    let proxy = Proxy::start(echo(), vec![Rule::FlipBody { request: 1 }]).expect("a proxy");
    let text = |body: &str| format!("PUT /x HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let sent = [text("aaa"), text("bbb"), text("ccc")].concat();
    let wanted = [text("aaa"), text("bcb"), text("ccc")].concat();
    assert_eq!(talk(&proxy, sent.as_bytes()), (wanted.into_bytes(), None));
    assert_eq!((proxy.requests(), proxy.hits()), (3, 1));
}

/// Turns 1 and 2 of a conversation are the second and third request on its one connection.
fn broken_turn(point: Point, event: Break) -> (Vec<Option<String>>, Proxy) {
    let rule = Rule::AtTurn(AtTurn {
        turn: 1,
        point,
        event,
    });
    let proxy = Proxy::start(counting_server(), vec![rule]).expect("a proxy");
    let mut stream = connect(&proxy);
    let answers = ["first", "second"].map(|body| request(&mut stream, body));
    // The server serves one connection after the other.
    drop(stream);
    let third = request(&mut connect(&proxy), "third");
    (answers.into_iter().chain([third]).collect(), proxy)
}

#[rstest]
#[case::before_the_server_hears_of_it(Point::Request, Break::Cut, "2:5")]
#[case::in_the_middle_of_it(Point::InRequest, Break::EarlyEnd, "2:5")]
#[case::when_the_server_has_answered(Point::Answer, Break::Cut, "3:5")]
#[case::in_the_answer(Point::InAnswer, Break::EarlyEnd, "3:5")]
fn a_turn_breaks_and_no_other(#[case] point: Point, #[case] event: Break, #[case] third: &str) {
    let (answers, proxy) = broken_turn(point, event);
    assert!(
        answers[0].as_ref().is_some_and(|text| text.ends_with("1:5")),
        "{answers:?}"
    );
    assert_eq!(answers[1], None);
    assert!(
        answers[2].as_ref().is_some_and(|text| text.ends_with(third)),
        "{answers:?}"
    );
    assert_eq!((proxy.turns(), proxy.hits()), (3, 1));
}

#[test]
fn a_bit_flips_in_the_middle_of_what_a_turn_says() {
    for point in [Point::InRequest, Point::InAnswer] {
        let event = Break::FlipBit;
        let rule = Rule::AtTurn(AtTurn {
            turn: 1,
            point,
            event,
        });
        let proxy = Proxy::start(echo(), vec![rule]).expect("a proxy");
        let mut stream = connect(&proxy);
        let mut says = |text: &str| {
            stream.write_all(text.as_bytes()).expect("room in buffers");
            let mut answer = [0; 3];
            stream.read_exact(&mut answer).expect("an answer");
            String::from_utf8_lossy(&answer).into_owned()
        };
        assert_eq!(["aaa", "bbb", "ccc"].map(&mut says), ["aaa", "bcb", "ccc"]);
        assert_eq!((proxy.turns(), proxy.hits()), (3, 1));
    }
}
