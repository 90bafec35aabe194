//! A server that does what a test says, and remembers what it was asked; and a client that may reach it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use freezer_io::error::{Error, ErrorKind};
use freezer_io::http::{Answer, Client, Content, Header, Permission, Request, Trust};
use freezer_io::limiter::Bandwidth;
use freezer_io::stop::Stop;
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

/// A connection that may be encrypted.
pub(crate) trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

/// One request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    /// Counts connections from 0.
    pub(crate) connection: usize,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What a server does after it read the head of a request; `Close` ends the connection.
pub(crate) enum Then {
    KeepAlive,
    Close,
}

/// Answers one request; it may also read the content by itself.
pub(crate) type Script =
    dyn Fn(&mut Received, &mut BufReader<Box<dyn Connection>>) -> io::Result<Then> + Send + Sync;
/// Makes something of a fresh connection.
pub(crate) type Wrap = dyn Fn(TcpStream) -> io::Result<Box<dyn Connection>> + Send + Sync;

/// A server that lives as long as the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
}

impl Server {
    /// Answers each request by the script.
    pub(crate) fn start(
        script: impl Fn(&mut Received, &mut BufReader<Box<dyn Connection>>) -> io::Result<Then>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::wrapped(Box::new(|stream| Ok(Box::new(stream))), Box::new(script))
    }

    /// Reads each content whole and answers with these bytes.
    pub(crate) fn answering(bytes: &'static [u8]) -> Self {
        Self::start(move |received, stream| {
            read_content(received, stream)?;
            stream.get_mut().write_all(bytes)?;
            Ok(Then::KeepAlive)
        })
    }

    pub(crate) fn wrapped(wrap: Box<Wrap>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let busy = Arc::new(AtomicUsize::new(0));
        let memory = (Arc::clone(&received), Arc::clone(&busy));
        let (wrap, script): (Arc<Wrap>, Arc<Script>) = (wrap.into(), script.into());
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (wrap, script, memory) = (Arc::clone(&wrap), Arc::clone(&script), memory.clone());
                thread::spawn(move || {
                    // A test may well break a connection on purpose.
                    drop(stream.and_then(|stream| serve(wrap(stream)?, &*script, &memory, number)));
                });
            }
        });
        Self {
            address,
            received,
            busy,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests that were answered; waits for those that are being answered.
    pub(crate) fn received(&self) -> Vec<Received> {
        wait_until("every request is answered", || {
            self.busy.load(Ordering::SeqCst) == 0
        });
        self.answered()
    }

    /// The requests that were answered so far.
    pub(crate) fn answered(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(
    stream: Box<dyn Connection>,
    script: &Script,
    (memory, busy): &(Arc<Mutex<Vec<Received>>>, Arc<AtomicUsize>),
    connection: usize,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut received) = read_head(&mut stream)? {
        received.connection = connection;
        busy.fetch_add(1, Ordering::SeqCst);
        let then = script(&mut received, &mut stream);
        memory.lock().unwrap().push(received);
        busy.fetch_sub(1, Ordering::SeqCst);
        if matches!(then?, Then::Close) {
            return Ok(());
        }
    }
    Ok(())
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut received = Received::default();
    if stream.read_line(&mut received.line)? == 0 {
        return Ok(None);
    }
    received.line.truncate(received.line.trim_end().len());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(Some(received));
        };
        received.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Reads the content of a request by its length or in chunks.
pub(crate) fn read_content(
    received: &mut Received,
    stream: &mut BufReader<Box<dyn Connection>>,
) -> io::Result<()> {
    if let Some(length) = received.header("content-length") {
        received.content = vec![0; length.parse().unwrap()];
        return stream.read_exact(&mut received.content);
    }
    if received.header("transfer-encoding") != Some("chunked") {
        return Ok(());
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut chunk = vec![0; usize::from_str_radix(line.trim_end(), 16).unwrap()];
        stream.read_exact(&mut chunk)?;
        stream.read_line(&mut line)?;
        if chunk.is_empty() {
            return Ok(());
        }
        received.content.extend(chunk);
    }
}

/// Permits loopback under any port and host name, and nothing else.
pub(crate) struct Loopback;

impl Permission for Loopback {
    fn origin(&self, url: &Url) -> Result<(), Error> {
        let host = url.host_str().unwrap_or_default();
        if host == "127.0.0.1" || host == "localhost" || host == "169.254.169.254" {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, format!("{host} isn't granted")))
    }

    fn address(&self, address: IpAddr) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Denied, format!("{address} isn't granted")))
    }
}

/// A client with its runtime.
pub(crate) struct Tester {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

impl Tester {
    pub(crate) fn new() -> Self {
        Self::limited(Bandwidth::default())
    }

    pub(crate) fn limited(bandwidth: Bandwidth) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Self {
            runtime: runtime.unwrap(),
            client: Client::new(Arc::new(Loopback), bandwidth),
        }
    }

    pub(crate) fn send(&self, request: Request, content: Option<Content>) -> Result<Answer, Error> {
        self.runtime
            .block_on(self.client.send(request, content, &Stop::never()))
    }

    /// The error of a request that must fail.
    pub(crate) fn fail(&self, request: Request, content: Option<Content>) -> Error {
        match self.send(request, content) {
            Ok(answer) => panic!("it was answered with {}", answer.status),
            Err(error) => error,
        }
    }
}

pub(crate) fn request(method: &str, url: &str) -> Request {
    Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        follow_redirects: 0,
        timeout_ms: None,
        trust: Trust::System,
    }
}

pub(crate) fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: Zeroizing::new(value.to_owned()),
        secret: false,
    }
}

pub(crate) fn bytes(content: &[u8]) -> Option<Content> {
    Some(Content::Bytes(Arc::new(content.to_vec())))
}

/// Reads a content to its end.
pub(crate) fn read_all(answer: &mut Answer) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    answer.content.read_to_end(&mut all)?;
    Ok(all)
}

/// The error that broke a content.
pub(crate) fn broken(answer: &mut Answer) -> Error {
    Error::from_io(&read_all(answer).expect_err("the content must break"))
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never came true: {what}");
}
