//! Byte connections against peers on loopback that do what a test says.

#![expect(clippy::unwrap_used, reason = "a test may panic where something is missing")]

mod peer;
mod tls;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use freezer_io::error::{Error, ErrorKind};
use freezer_io::http::Content;
use freezer_io::limiter::{Bandwidth, Throttle};
use freezer_io::stop::Stop;
use freezer_io::tcp::{Connection, Target};

use peer::*;

#[test]
fn bytes_go_both_ways_and_a_half_close_lets_the_other_half_live() {
    let address = peer(echo);
    runtime().block_on(async {
        let (connection, never) = (open(address).await, Stop::never());
        connection.write(b"hello".to_vec(), &never).await.unwrap();
        assert_eq!(connection.read(2, &never).await.unwrap(), b"he");
        assert_eq!(connection.read(100, &never).await.unwrap(), b"llo");
        let large = Arc::new(vec![7; 300_000]);
        let sent = connection.send(Content::Bytes(Arc::clone(&large)), &never);
        let received = connection.receive(Some(300_000), &never).unwrap();
        let received = tokio::task::spawn_blocking(move || drain(received));
        assert_eq!(sent.await.unwrap(), 300_000);
        assert!(received.await.unwrap().unwrap() == *large);
        let stream = Content::Stream {
            reader: Box::new(&b"stream"[..]),
            size: None,
        };
        assert_eq!(connection.send(stream, &never).await.unwrap(), 6);
        connection.shut(&never).await.unwrap();
        connection.shut(&never).await.unwrap();
        assert_fails(
            connection.write(vec![1], &never).await,
            ErrorKind::Invalid,
            "after the end",
        );
        let rest = connection.receive(None, &never).unwrap();
        assert_eq!(drain(rest).unwrap(), b"streambye");
        assert_eq!(
            connection.read(9, &never).await.unwrap(),
            b"",
            "the end stays the end"
        );
    });
}

#[test]
fn a_stream_of_a_connection_is_the_only_reader() {
    let address = peer(echo);
    runtime().block_on(async {
        let (connection, never) = (open(address).await, Stop::never());
        connection.write(b"abcdef".to_vec(), &never).await.unwrap();
        let mut stream = connection.receive(Some(4), &never).unwrap();
        let mut first = [0; 3];
        let read = thread::spawn(move || stream.read_exact(&mut first).map(|()| (stream, first)));
        let (mut stream, first) = read.join().unwrap().unwrap();
        assert_eq!(&first, b"abc");
        let mut last = [0; 1];
        // The last byte ends it, whether or not somebody looks for the end.
        let read = thread::spawn(move || stream.read_exact(&mut last).map(|()| last));
        assert_eq!(&read.join().unwrap().unwrap(), b"d");
        assert_eq!(connection.read(9, &never).await.unwrap(), b"ef");

        let stream = connection.receive(Some(100), &never).unwrap();
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Invalid,
            "isn't used up",
        );
        assert_fails(
            connection.receive(None, &never).map(drop),
            ErrorKind::Invalid,
            "isn't used up",
        );
        drop(stream);
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Unavailable,
            "closed before",
        );
    });
}

#[test]
fn a_stream_that_ends_early_is_corrupt_and_one_that_stands_still_unavailable() {
    let short = peer(|mut stream| stream.write_all(b"half"));
    let stalling = peer(|mut stream| {
        stream.write_all(b"half")?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    runtime().block_on(async {
        let never = Stop::never();
        let connection = open(short).await;
        let stream = connection.receive(Some(9), &never).unwrap();
        assert_fails(drain(stream), ErrorKind::Corrupt, "ended 5 bytes too early");
        let connection = open(stalling).await;
        let stream = connection.receive(Some(9), &never).unwrap();
        assert_fails(drain(stream), ErrorKind::Unavailable, "nothing came for 0.4 s");
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Unavailable,
            "closed before",
        );
    });
}

#[test]
fn what_stalls_is_given_up_in_both_directions() {
    let silent = peer(|_stream| {
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let started = Instant::now();
    runtime().block_on(async {
        let never = Stop::never();
        let connection = open(silent).await;
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Unavailable,
            "nothing came for 0.4 s",
        );
        let connection = open(silent).await;
        let much = Content::Bytes(Arc::new(vec![7; 64 << 20]));
        assert_fails(
            connection.send(much, &never).await,
            ErrorKind::Unavailable,
            "nothing could be sent for 0.4 s",
        );
        assert_fails(
            connection.write(vec![1], &never).await,
            ErrorKind::Unavailable,
            "closed before",
        );
    });
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_reset_and_a_flood_end_the_call_and_nothing_else() {
    let resetting = peer(|mut stream| {
        // Unread bytes make the system reset the connection.
        stream.read_exact(&mut [0; 1])?;
        Ok(())
    });
    let flooding = peer(|mut stream| {
        loop {
            stream.write_all(&[7; 65536])?;
        }
    });
    runtime().block_on(async {
        let never = Stop::never();
        let connection = open(resetting).await;
        connection.write(vec![1; 1000], &never).await.unwrap();
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Unavailable,
            "broken off: ",
        );
        let connection = open(flooding).await;
        for _ in 0..100 {
            let count = connection.read(usize::MAX, &never).await.unwrap().len();
            assert!((1..=1 << 20).contains(&count));
        }
        assert!(
            drain(connection.receive(Some(5 << 20), &never).unwrap())
                .unwrap()
                .len()
                == 5 << 20
        );
        connection.close().await;
        assert_fails(
            connection.read(1, &never).await,
            ErrorKind::Unavailable,
            "closed before",
        );
    });
}

#[test]
fn too_much_for_one_call_is_not_sent() {
    let address = peer(echo);
    runtime().block_on(async {
        let (connection, never) = (open(address).await, Stop::never());
        assert_fails(
            connection.write(vec![0; (1 << 20) + 1], &never).await,
            ErrorKind::Invalid,
            "at most 1048576 bytes",
        );
        connection.write(b"x".to_vec(), &never).await.unwrap();
        assert_eq!(connection.read(9, &never).await.unwrap(), b"x");
    });
}

#[test]
fn a_broken_body_breaks_the_sending() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(ErrorKind::Corrupt, "the source broke").into())
        }
    }
    let address = peer(echo);
    runtime().block_on(async {
        let (connection, never) = (open(address).await, Stop::never());
        let content = Content::Stream {
            reader: Box::new(Broken),
            size: Some(5),
        };
        assert_fails(
            connection.send(content, &never).await,
            ErrorKind::Corrupt,
            "the source broke",
        );
        assert_fails(
            connection.write(vec![1], &never).await,
            ErrorKind::Unavailable,
            "closed before",
        );
    });
}

#[test]
fn cancelling_and_cutting_end_the_waiting_at_once() {
    let silent = peer(|_stream| {
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let raised = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&raised);
    let stop = Stop::when(move || asked.load(Ordering::Relaxed));
    let patient = Target {
        timeout_ms: Some(u32::MAX),
        ..target(silent, None)
    };
    let started = Instant::now();
    runtime().block_on(async {
        let (reading, streaming) = (
            try_open(&patient, &stop).await.unwrap(),
            try_open(&patient, &stop).await.unwrap(),
        );
        let cut = Arc::new(try_open(&patient, &stop).await.unwrap());
        let stream = streaming.receive(None, &stop).unwrap();
        let (cutter, raiser) = (Arc::clone(&cut), Arc::clone(&raised));
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            cutter.cut();
            thread::sleep(Duration::from_millis(200));
            raiser.store(true, Ordering::Relaxed);
        });
        assert_fails(
            cut.read(1, &Stop::never()).await,
            ErrorKind::Unavailable,
            "the connection was closed",
        );
        assert_fails(reading.read(1, &stop).await, ErrorKind::Cancelled, "cancelled");
        assert_fails(drain(stream), ErrorKind::Cancelled, "cancelled");
        assert_fails(try_open(&patient, &stop).await, ErrorKind::Cancelled, "cancelled");
    });
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn places_that_lead_nowhere_say_so() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    runtime().block_on(async {
        let never = Stop::never();
        let to = |host: &str, port| Target {
            host: host.to_owned(),
            ..target(SocketAddr::new(closed.ip(), port), None)
        };
        let fails = async |host: &str, port| try_open(&to(host, port), &never).await;
        let place = format!("{closed}: no connection: Connection refused");
        assert_fails(
            fails("127.0.0.1", closed.port()).await,
            ErrorKind::Unavailable,
            &place,
        );
        assert_fails(fails("", 1).await, ErrorKind::Invalid, "a host and a port");
        assert_fails(
            fails("127.0.0.1", 0).await,
            ErrorKind::Invalid,
            "a host and a port",
        );
        // The same address in its decimal form, and inside of another.
        for host in [
            "169.254.169.254",
            "2852039166",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "fe80::1",
        ] {
            assert_fails(fails(host, 80).await, ErrorKind::Denied, "isn't granted");
        }
    });
}

#[test]
fn a_limit_slows_both_directions() {
    let memory = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&memory);
    let address = peer(move |mut stream| {
        let mut all = vec![0; 100_000];
        stream.read_exact(&mut all)?;
        *counted.lock().unwrap() += all.len();
        stream.write_all(&all)
    });
    let bandwidth = Bandwidth {
        upload: Throttle::new(Some(200_000)),
        download: Throttle::new(Some(200_000)),
    };
    let started = Instant::now();
    runtime().block_on(async {
        let never = Stop::never();
        let asked = target(address, None);
        let connection = Connection::open(&asked, &refuse, &bandwidth, &never)
            .await
            .unwrap();
        let content = Content::Bytes(Arc::new(vec![7; 100_000]));
        connection.send(content, &never).await.unwrap();
        let answer = drain(connection.receive(Some(100_000), &never).unwrap()).unwrap();
        assert_eq!((answer.len(), *memory.lock().unwrap()), (100_000, 100_000));
    });
    assert!(
        started.elapsed() > Duration::from_millis(600),
        "{:?}",
        started.elapsed()
    );
}
