//! Byte connections against peers on loopback that do what a test says.

#![expect(clippy::unwrap_used, reason = "a test may panic where something is missing")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use freezer_io::error::{Error, ErrorKind};
use freezer_io::http::{Content, Trust};
use freezer_io::limiter::{Bandwidth, Throttle};
use freezer_io::stop::Stop;
use freezer_io::tcp::{Connection, Target, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::runtime::Runtime;

/// A peer that does this with each connection.
fn peer(act: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let act = Arc::new(act);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let act = Arc::clone(&act);
            // A test may well break a connection on purpose.
            thread::spawn(move || drop(stream.and_then(|stream| act(stream))));
        }
    });
    address
}

/// Sends back what comes, and ends when the other side does.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 5000];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return stream.write_all(b"bye");
        }
        stream.write_all(&buffer[..count])?;
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn target(address: SocketAddr, tls: Option<Tls>) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        tls,
        timeout_ms: Some(400),
    }
}

fn refuse(address: IpAddr) -> Result<(), Error> {
    Err(Error::new(ErrorKind::Denied, format!("{address} isn't granted")))
}

async fn try_open(target: &Target, stop: &Stop) -> Result<Connection, Error> {
    Connection::open(target, &refuse, &Bandwidth::default(), stop).await
}

async fn open(address: SocketAddr) -> Connection {
    try_open(&target(address, None), &Stop::never()).await.unwrap()
}

/// Reads a stream on a thread of its own, as the host does.
fn drain(mut stream: Box<dyn Read + Send>) -> Result<Vec<u8>, Error> {
    let read = thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all)
    });
    read.join().unwrap().map_err(|error| Error::from_io(&error))
}

#[track_caller]
fn assert_fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, says: &str) {
    let error = result.unwrap_err();
    assert!(error.kind == kind && error.message.contains(says), "{error:?}");
}

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

/// A peer with a certificate for `localhost`; the file that vouches for it.
fn secure(
    act: fn(&mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<()>,
) -> (SocketAddr, PathBuf, tempfile::TempDir) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let address = peer(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        act(&mut StreamOwned::new(connection, stream))
    });
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (address, file, temp)
}

fn tls(name: &str, trust: Trust) -> Option<Tls> {
    Some(Tls {
        server_name: name.to_owned(),
        trust,
    })
}

#[test]
fn only_the_right_authority_and_name_are_trusted() {
    let (address, authority, _temp) = secure(|stream| {
        let mut word = [0; 5];
        stream.read_exact(&mut word)?;
        stream.write_all(&word)?;
        stream.conn.send_close_notify();
        stream.flush()
    });
    let (_, other, _other_temp) = secure(|_| Ok(()));
    runtime().block_on(async {
        let never = Stop::never();
        let talk = async |name: &str, trust: Trust| {
            let connection = try_open(&target(address, tls(name, trust)), &never).await?;
            connection.write(b"hello".to_vec(), &never).await?;
            drain(connection.receive(None, &never)?)
        };
        let named = Trust::Certificates(authority.clone());
        assert_eq!(talk("localhost", named.clone()).await.unwrap(), b"hello");
        assert_eq!(talk("other.example", Trust::Anything).await.unwrap(), b"hello");
        let refused = format!("{address}: its certificate isn't trusted: ");
        assert_fails(
            talk("localhost", Trust::System).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("localhost", Trust::Certificates(other)).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("other.example", named.clone()).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("127.0.0.1", named.clone()).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("not a name", named).await,
            ErrorKind::Invalid,
            "is no name that a certificate could bear",
        );
        let missing = Trust::Certificates("/nowhere/ca.pem".into());
        assert_fails(
            talk("localhost", missing).await,
            ErrorKind::Invalid,
            "/nowhere/ca.pem",
        );
    });
}

#[test]
fn tls_that_ends_without_a_farewell_is_no_end() {
    let (address, authority, _temp) = secure(|stream| {
        stream.write_all(b"half")?;
        stream.flush()
    });
    let plain = peer(|mut stream| stream.write_all(b"220 this speaks no TLS\r\n"));
    let closing = peer(|_| Ok(()));
    runtime().block_on(async {
        let never = Stop::never();
        let named = || tls("localhost", Trust::Certificates(authority.clone()));
        let connection = try_open(&target(address, named()), &never).await.unwrap();
        let stream = connection.receive(None, &never).unwrap();
        assert_fails(drain(stream), ErrorKind::Unavailable, "without its farewell");
        for no_tls in [plain, closing] {
            let opened = try_open(&target(no_tls, named()), &never).await;
            assert_fails(opened, ErrorKind::Unavailable, "TLS failed");
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
