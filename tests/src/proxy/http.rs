//! The way up of a connection that speaks HTTP/1.1: whole requests are counted, and some are answered here.
//!
//! Understands what clients of storages send: a head, then nothing, a body of a length, or a chunked one.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use super::{Flow, Pipe, Rule};

/// A request's head is shorter.
const MOST_HEAD: usize = 64 << 10;

/// What is done with a request.
enum Treatment {
    Pass,
    Answer {
        status: u16,
        retry_after: Option<u64>,
    },
    /// An empty listing.
    Empty,
    Flip,
}

/// How a request's body ends.
enum Body {
    Length(u64),
    Chunked,
}

/// The way up of one connection.
pub(super) struct HttpPipe {
    pipe: Pipe,
    /// Bytes that came and were neither passed on nor dropped.
    waiting: Vec<u8>,
    /// A bit of the next piece of this request's body is to be changed.
    flips: bool,
}

impl HttpPipe {
    pub(super) fn new(pipe: Pipe) -> Self {
        Self {
            pipe,
            waiting: Vec::new(),
            flips: false,
        }
    }

    pub(super) fn run(mut self) {
        while let Some(head) = self.head() {
            let number = self.pipe.shared.requests.fetch_add(1, Ordering::Relaxed);
            if self.request(&head, number) == Flow::Over {
                return;
            }
        }
        self.pipe.end_writing();
    }

    /// One request: passed on or answered.
    fn request(&mut self, head: &[u8], number: u64) -> Flow {
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        let treatment = match self.is_lagging(&text) {
            true => Treatment::Empty,
            false => self.treatment(number),
        };
        self.flips = matches!(treatment, Treatment::Flip);
        if !matches!(treatment, Treatment::Pass | Treatment::Flip) {
            self.pipe.shared.hits.fetch_add(1, Ordering::Relaxed);
        }
        let passes = !matches!(treatment, Treatment::Answer { .. } | Treatment::Empty);
        if passes && self.forward(head) == Flow::Over {
            return Flow::Over;
        }
        // A client that waits to be told to go on would wait for ever if the answer were held back.
        if !passes && text.contains("expect: 100-continue") {
            return self.answer(treatment);
        }
        if self.body(&body_of(&text), passes) == Flow::Over {
            return Flow::Over;
        }
        match treatment {
            Treatment::Pass | Treatment::Flip => Flow::On,
            Treatment::Answer { .. } | Treatment::Empty => self.answer(treatment),
        }
    }

    /// True for a listing that is to be answered as if nothing were there.
    fn is_lagging(&self, head: &str) -> bool {
        let shared = &self.pipe.shared;
        let first = shared.rules.iter().find_map(|rule| match rule {
            Rule::EmptyListings(first) => Some(*first),
            _ => None,
        });
        first.is_some_and(|first| {
            head.starts_with("get ")
                && head
                    .lines()
                    .next()
                    .is_some_and(|line| line.contains("format=json"))
                && shared.listings.fetch_add(1, Ordering::Relaxed) < first
        })
    }

    fn treatment(&self, number: u64) -> Treatment {
        let of = |rule: &Rule| match *rule {
            Rule::Answer {
                request,
                times,
                status,
                retry_after,
            } if number >= request && number - request < times => {
                Some(Treatment::Answer { status, retry_after })
            }
            Rule::FlipBody { request } if number == request => Some(Treatment::Flip),
            _ => None,
        };
        self.pipe
            .shared
            .rules
            .iter()
            .find_map(of)
            .unwrap_or(Treatment::Pass)
    }

    fn forward(&mut self, bytes: &[u8]) -> Flow {
        let mut bytes = bytes.to_vec();
        self.pipe.pass(&mut bytes)
    }

    /// Answers in the server's place. The connection ends with it, as with servers that shed load.
    fn answer(&mut self, treatment: Treatment) -> Flow {
        let (status, retry_after, body) = match treatment {
            Treatment::Answer { status, retry_after } => (status, retry_after, ""),
            Treatment::Empty => (200, None, "[]"),
            Treatment::Pass | Treatment::Flip => return Flow::On,
        };
        let retry_after =
            retry_after.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
        let answer = format!(
            "HTTP/1.1 {status} Scripted\r\n{retry_after}Content-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let mut client = &self.pipe.connection.client;
        drop(client.write_all(answer.as_bytes()));
        drop(client.shutdown(Shutdown::Write));
        drop(self.pipe.connection.server.shutdown(Shutdown::Both));
        self.pipe.swallow();
        Flow::Over
    }

    /// The bytes up to the empty line; `None` at the end of the connection.
    fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.waiting, b"\r\n\r\n") {
                return Some(self.waiting.drain(..end + 4).collect());
            }
            if self.waiting.len() > MOST_HEAD {
                return None;
            }
            self.more()?;
        }
    }

    fn body(&mut self, body: &Body, passes: bool) -> Flow {
        match body {
            Body::Length(length) => self.piece(*length, passes),
            Body::Chunked => loop {
                let Some(line) = self.line() else {
                    return Flow::Over;
                };
                let text = String::from_utf8_lossy(&line);
                let digits = text.trim().split(';').next().unwrap_or_default();
                let Ok(length) = u64::from_str_radix(digits, 16) else {
                    return Flow::Over;
                };
                if passes && self.forward(&line) == Flow::Over {
                    return Flow::Over;
                }
                // The chunk and the end of its line; after the last one only the latter.
                if self.piece(length + 2, passes) == Flow::Over {
                    return Flow::Over;
                }
                if length == 0 {
                    return Flow::On;
                }
            },
        }
    }

    /// Passes on, or drops, so many bytes.
    fn piece(&mut self, mut length: u64, passes: bool) -> Flow {
        while length > 0 {
            if self.waiting.is_empty() && self.more().is_none() {
                return Flow::Over;
            }
            let count = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.waiting.len());
            let mut bytes: Vec<u8> = self.waiting.drain(..count).collect();
            if std::mem::take(&mut self.flips) {
                self.pipe.shared.hits.fetch_add(1, Ordering::Relaxed);
                bytes[count / 2] ^= 1;
            }
            length -= count as u64;
            if passes && self.forward(&bytes) == Flow::Over {
                return Flow::Over;
            }
        }
        Flow::On
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.waiting, b"\r\n") {
                return Some(self.waiting.drain(..end + 2).collect());
            }
            self.more()?;
        }
    }

    /// Reads on; `None` at the end.
    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        let count = self.pipe.receive(&mut buffer)?;
        self.waiting.extend_from_slice(&buffer[..count]);
        Some(())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What follows a head, which is in lower case.
fn body_of(head: &str) -> Body {
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    if field("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return Body::Chunked;
    }
    let length = field("content-length").and_then(|value| value.parse().ok());
    Body::Length(length.unwrap_or(0))
}
