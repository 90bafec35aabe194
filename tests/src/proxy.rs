//! A TCP proxy that breaks connections by rule: at a byte of a direction, for connections of a number, always the same way.
//!
//! It listens on a loopback port of its own and passes everything on to one address, a thread for each direction of each
//! connection. Rules are counted over its life: connections from 0, bytes of a direction of one connection, turns of all
//! connections, and, for HTTP, their requests from 0.

mod http;
mod turn;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::HttpPipe;
use socket2::SockRef;
use turn::Turn;
pub use turn::{AtTurn, Point};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Both sides are reset.
    Cut,
    /// The receiver is told that this direction has ended.
    EarlyEnd,
    /// No further byte passes, and nothing is closed, until the proxy ends.
    Stall,
    /// The byte arrives with its lowest bit changed; all others as they are.
    FlipBit,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Breaks a direction of a connection after so many bytes.
    AtByte {
        /// The connection's number; without it, bytes are counted over all of them.
        connection: Option<u64>,
        /// Which way.
        direction: Direction,
        /// Bytes that pass before.
        after: u64,
        /// What happens then.
        event: Break,
    },
    /// Breaks a turn of the conversation.
    AtTurn(AtTurn),
    /// No more than so many bytes a second pass in each direction, so that every turn is slow.
    Slow {
        /// Bytes a second.
        rate: u64,
    },
    /// The first connections are reset before a byte passes.
    RefuseFirst(u64),
    /// A request isn't passed on, but answered.
    Answer {
        /// The request's number.
        request: u64,
        /// How many requests from that one on are answered so.
        times: u64,
        /// The status.
        status: u16,
        /// Seconds in the header `Retry-After`.
        retry_after: Option<u64>,
    },
    /// A request arrives with a bit of its body changed, if it has one.
    FlipBody {
        /// The request's number.
        request: u64,
    },
    /// The first so many listings as JSON are answered by an empty one, as by a service whose listings lag behind.
    EmptyListings(u64),
}

impl Rule {
    fn is_http(&self) -> bool {
        !matches!(
            self,
            Self::AtByte { .. } | Self::AtTurn(_) | Self::Slow { .. } | Self::RefuseFirst(_)
        )
    }
}

/// How soon a waiting thread notices that the proxy has ended.
const POLL: Duration = Duration::from_millis(20);

/// What all threads share.
struct Shared {
    target: SocketAddr,
    rules: Vec<Rule>,
    ended: AtomicBool,
    connections: AtomicU64,
    turns: AtomicU64,
    requests: AtomicU64,
    listings: AtomicU64,
    /// Bytes that came, and that were held against the rules, by direction.
    bytes: [AtomicU64; 2],
    judged: [AtomicU64; 2],
    hits: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A running proxy; ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(target: SocketAddr, rules: Vec<Rule>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            rules,
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            listings: AtomicU64::new(0),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            judged: [AtomicU64::new(0), AtomicU64::new(0)],
            hits: AtomicU64::new(0),
            threads: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = thread::spawn(move || serving.serve(&listener));
        Ok(Self {
            shared,
            address,
            listener: Some(listener),
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many turns all conversations had.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// How many HTTP requests came; counted only if a rule speaks of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many bytes came that way, over all connections.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes[direction as usize].load(Ordering::Relaxed)
    }

    /// How often a rule broke something.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        let threads =
            std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.has_ended() {
                return;
            }
            let Ok(client) = client else { continue };
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            let refuses = |rule: &Rule| matches!(rule, Rule::RefuseFirst(count) if number < *count);
            if self.rules.iter().any(refuses) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                reset_on_close(&client);
                continue;
            }
            // A server that isn't there is a reset to the client.
            let Ok(server) = TcpStream::connect(self.target) else {
                reset_on_close(&client);
                continue;
            };
            self.connect(number, client, server);
        }
    }

    fn connect(self: &Arc<Self>, number: u64, client: TcpStream, server: TcpStream) {
        let connection = Arc::new(Connection::new(number, Turn::new(&self.turns), client, server));
        let pipe = |direction| Pipe {
            shared: Arc::clone(self),
            connection: Arc::clone(&connection),
            direction,
            passed: 0,
        };
        let (up, down) = (pipe(Direction::Up), pipe(Direction::Down));
        let speaks_http = self.rules.iter().any(Rule::is_http);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread::spawn(move || {
            if speaks_http {
                HttpPipe::new(up).run();
            } else {
                up.run();
            }
        }));
        threads.push(thread::spawn(move || down.run()));
    }
}

/// Makes the close of a socket a reset.
fn reset_on_close(stream: &TcpStream) {
    // A socket that is closed already needs no reset.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Both ends of a connection. They are closed when the threads of both directions are done.
struct Connection {
    number: u64,
    turn: Turn,
    client: TcpStream,
    server: TcpStream,
    /// Both directions are to end, and both ends to be reset.
    cut: AtomicBool,
}

impl Connection {
    fn new(number: u64, turn: Turn, client: TcpStream, server: TcpStream) -> Self {
        for stream in [&client, &server] {
            // So that a thread notices the end of the proxy though nothing moves.
            drop(stream.set_read_timeout(Some(POLL)));
            drop(stream.set_write_timeout(Some(POLL)));
            drop(stream.set_nodelay(true));
        }
        Self {
            number,
            turn,
            client,
            server,
            cut: AtomicBool::new(false),
        }
    }

    fn cut(&self) {
        reset_on_close(&self.client);
        reset_on_close(&self.server);
        self.cut.store(true, Ordering::Relaxed);
    }
}

/// One direction of a connection.
struct Pipe {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    direction: Direction,
    passed: u64,
}

/// Whether a direction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

/// A call that was ended by its timeout, so that flags can be looked at.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

impl Pipe {
    fn from(&self) -> &TcpStream {
        match self.direction {
            Direction::Up => &self.connection.client,
            Direction::Down => &self.connection.server,
        }
    }

    fn to(&self) -> &TcpStream {
        match self.direction {
            Direction::Up => &self.connection.server,
            Direction::Down => &self.connection.client,
        }
    }

    fn is_over(&self) -> bool {
        self.shared.has_ended() || self.connection.cut.load(Ordering::Relaxed)
    }

    fn run(mut self) {
        let mut buffer = vec![0; 16 << 10];
        while let Some(count) = self.receive(&mut buffer) {
            if self.pass(&mut buffer[..count]) == Flow::Over {
                return;
            }
        }
        self.end_writing();
    }

    /// The receiver has been sent all there is; one that is to be reset isn't told so.
    fn end_writing(&self) {
        if !self.connection.cut.load(Ordering::Relaxed) {
            drop(self.to().shutdown(Shutdown::Write));
        }
    }

    /// The next bytes; `None` at the end.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while !self.is_over() {
            match self.from().read(buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    self.shared.bytes[self.direction as usize].fetch_add(count as u64, Ordering::Relaxed);
                    return Some(count);
                }
                Err(error) if is_pause(&error) => {}
                Err(_) => self.connection.cut(),
            }
        }
        None
    }

    /// Passes bytes on as the rules have it.
    fn pass(&mut self, bytes: &mut [u8]) -> Flow {
        let mut turn = self.connection.turn.piece(self.direction, &self.shared.turns);
        let judged = &self.shared.judged[self.direction as usize];
        let judged = judged.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut start = 0;
        while start < bytes.len() {
            let rest = &mut bytes[start..];
            let event = self.next_event(turn.take(), judged + start as u64, rest.len() as u64);
            let clean = event.map_or(rest.len(), |(at, _)| usize::try_from(at).unwrap_or(rest.len()));
            if self.send(&rest[..clean]) == Flow::Over {
                return Flow::Over;
            }
            start += clean;
            let Some((_, event)) = event else { break };
            self.shared.hits.fetch_add(1, Ordering::Relaxed);
            if event == Break::FlipBit {
                let flipped = bytes[start] ^ 1;
                if self.send(&[flipped]) == Flow::Over {
                    return Flow::Over;
                }
                start += 1;
                continue;
            }
            self.end(event);
            return Flow::Over;
        }
        Flow::On
    }

    /// The first thing that is to happen within the next bytes, and after how many of them.
    fn next_event(&self, turn: Option<u64>, judged: u64, length: u64) -> Option<(u64, Break)> {
        let due = |rule: &Rule| match rule {
            Rule::AtByte {
                connection,
                direction,
                after,
                event,
            } if connection.is_none_or(|number| number == self.connection.number)
                && *direction == self.direction =>
            {
                let at = after.checked_sub(connection.map_or(judged, |_| self.passed))?;
                (at < length).then_some((at, *event))
            }
            Rule::AtTurn(at) => at.due(turn?, self.direction, length),
            _ => None,
        };
        self.shared.rules.iter().filter_map(due).min_by_key(|(at, _)| *at)
    }

    fn send(&mut self, bytes: &[u8]) -> Flow {
        let rate = self.shared.rules.iter().find_map(|rule| match rule {
            Rule::Slow { rate } => Some(*rate),
            _ => None,
        });
        // A tenth of a second's worth at a time.
        let piece = rate.map_or(bytes.len(), |rate| {
            usize::try_from(rate / 10).unwrap_or(usize::MAX)
        });
        for piece in bytes.chunks(piece.max(1)) {
            if self.write(piece) == Flow::Over {
                return Flow::Over;
            }
            self.passed += piece.len() as u64;
            if rate.is_some() {
                self.shared.hits.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
        }
        Flow::On
    }

    fn write(&self, mut bytes: &[u8]) -> Flow {
        while !bytes.is_empty() {
            if self.is_over() {
                return Flow::Over;
            }
            match self.to().write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_pause(&error) => {}
                Err(_) => self.connection.cut(),
            }
        }
        Flow::On
    }

    fn end(&mut self, event: Break) {
        match event {
            Break::Cut => self.connection.cut(),
            Break::EarlyEnd => {
                self.end_writing();
                self.swallow();
            }
            Break::Stall | Break::FlipBit => {
                while !self.is_over() {
                    thread::sleep(POLL);
                }
            }
        }
    }

    /// Reads on, so that the sender doesn't stall where it was to see an end.
    fn swallow(&mut self) {
        let mut buffer = [0; 4096];
        while self.receive(&mut buffer).is_some() {}
    }
}
