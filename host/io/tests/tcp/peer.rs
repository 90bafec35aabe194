//! Peers that do what a test says, and short words for connections to them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use freezer_io::address::needs_own_grant;
use freezer_io::error::{Error, ErrorKind};
use freezer_io::limiter::Bandwidth;
use freezer_io::stop::Stop;
use freezer_io::tcp::{Connection, Target, Tls};
use tokio::runtime::Runtime;

/// A peer that does this with each connection.
pub(crate) fn peer(act: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
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
pub(crate) fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 5000];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return stream.write_all(b"bye");
        }
        stream.write_all(&buffer[..count])?;
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn target(address: SocketAddr, tls: Option<Tls>) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        tls,
        timeout_ms: Some(400),
    }
}

/// Permits what isn't the machine's own surroundings.
pub(crate) fn refuse(address: IpAddr) -> Result<(), Error> {
    if !needs_own_grant(address) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, format!("{address} isn't granted")))
}

pub(crate) async fn try_open(target: &Target, stop: &Stop) -> Result<Connection, Error> {
    Connection::open(target, &refuse, &Bandwidth::default(), stop).await
}

pub(crate) async fn open(address: SocketAddr) -> Connection {
    try_open(&target(address, None), &Stop::never()).await.unwrap()
}

/// Reads a stream on a thread of its own, as the host does.
pub(crate) fn drain(mut stream: Box<dyn Read + Send>) -> Result<Vec<u8>, Error> {
    let read = thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all)
    });
    read.join().unwrap().map_err(|error| Error::from_io(&error))
}

#[track_caller]
pub(crate) fn assert_fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, says: &str) {
    let error = result.unwrap_err();
    assert!(error.kind == kind && error.message.contains(says), "{error:?}");
}
