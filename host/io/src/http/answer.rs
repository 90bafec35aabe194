//! An answer's content on its way in: pumped by a task, read by whoever holds it, from any thread.
//!
//! The task bounds the waiting: it watches for stalls and for the end of the run, so that a reader that merely blocks on
//! the channel never blocks for long. A short content is read before the answer is given, which frees the connection.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{MAX_ANSWER_HEADER_BYTES, failure};
use crate::error::{Error, ErrorKind};
use crate::limiter::Throttle;
use crate::stop::{self, Stop};

/// Contents up to this length are read at once.
const SMALL_BYTES: u64 = 64 << 10;
/// Pieces between the connection and the reader.
const DEPTH: usize = 4;

/// What came back.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers in the order received, names in lower case; values that aren't UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// The content's length, if it was announced.
    pub size: Option<u64>,
    /// The content. It fails with `Corrupt` if it is shorter than announced.
    pub content: Box<dyn Read + Send>,
}

/// A content as it arrives.
pub(super) struct Incoming {
    /// What was asked, for messages.
    pub(super) asked: String,
    pub(super) response: reqwest::Response,
    pub(super) throttle: Throttle,
    /// How long nothing may come.
    pub(super) stall: Duration,
    pub(super) stop: Stop,
}

impl Incoming {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = tokio::select! {
            piece = tokio::time::timeout(self.stall, self.response.chunk()) => piece,
            () = self.stop.raised() => return Err(stop::cancelled()),
        };
        let piece = match piece {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(failure::broken(&self.asked, &error)),
            Err(_) => return Err(self.stalled()),
        };
        if let Some(piece) = &piece {
            self.throttle.wait(piece.len(), &self.stop).await?;
        }
        Ok(piece)
    }

    fn stalled(&self) -> Error {
        let message = format!("{}: nothing came for {} s", self.asked, self.stall.as_secs_f64());
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Makes an answer of a response whose headers are there.
    ///
    /// # Errors
    /// `Other` if there are too many of them.
    pub(super) async fn answer(self) -> Result<Answer, Error> {
        let received = self.response.headers();
        let bytes: usize = received
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > MAX_ANSWER_HEADER_BYTES {
            let message = format!("{}: the answer has {bytes} bytes of headers", self.asked);
            return Err(Error::new(ErrorKind::Other, message));
        }
        let headers = received.iter().filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect();
        let (status, size) = (self.response.status().as_u16(), self.response.content_length());
        let content: Box<dyn Read + Send> = if size.is_some_and(|size| size <= SMALL_BYTES) {
            Box::new(self.gather().await)
        } else {
            let (sender, pieces) = async_channel::bounded(DEPTH);
            let asked = self.asked.clone();
            let pump = tokio::spawn(self.pump(sender)).abort_handle();
            Box::new(AnswerReader {
                asked,
                pieces,
                pump,
                current: Bytes::new(),
                ended: None,
            })
        };
        Ok(Answer {
            status,
            headers,
            size,
            content,
        })
    }

    /// Passes all pieces on; an empty one is the end.
    async fn pump(mut self, sender: async_channel::Sender<Result<Bytes, Error>>) {
        loop {
            let piece = match self.next().await {
                // Pieces on the wire are never empty, but nobody promises that.
                Ok(Some(piece)) if piece.is_empty() => continue,
                Ok(piece) => Ok(piece.unwrap_or_default()),
                Err(error) => Err(error),
            };
            let last = piece.as_ref().map_or(true, Bytes::is_empty);
            if sender.send(piece).await.is_err() || last {
                return;
            }
        }
    }

    /// Reads a short content; what goes wrong is told to its reader.
    async fn gather(mut self) -> Gathered {
        let mut bytes = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => return Gathered::new(bytes, None),
                Err(error) => return Gathered::new(bytes, Some(error)),
            }
        }
    }
}

/// A short content, and how it ended.
struct Gathered {
    bytes: io::Cursor<Vec<u8>>,
    failure: Option<Error>,
}

impl Gathered {
    fn new(bytes: Vec<u8>, failure: Option<Error>) -> Self {
        Self {
            bytes: io::Cursor::new(bytes),
            failure,
        }
    }
}

impl Read for Gathered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        match &self.failure {
            Some(failure) if count == 0 && !buffer.is_empty() => Err(failure.clone().into()),
            _ => Ok(count),
        }
    }
}

/// Reads what the task passes on; dropping it ends the task and closes the connection.
struct AnswerReader {
    asked: String,
    pieces: async_channel::Receiver<Result<Bytes, Error>>,
    pump: AbortHandle,
    current: Bytes,
    /// How it ended.
    ended: Option<Result<(), Error>>,
}

impl Read for AnswerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.current.is_empty() {
            match &self.ended {
                Some(Ok(())) => return Ok(0),
                Some(Err(error)) => return Err(error.clone().into()),
                None => {}
            }
            match self.pieces.recv_blocking() {
                Ok(Ok(piece)) if piece.is_empty() => self.ended = Some(Ok(())),
                Ok(Ok(piece)) => self.current = piece,
                Ok(Err(error)) => self.ended = Some(Err(error)),
                Err(_) => {
                    let message = format!("{}: the plugin host was shut down", self.asked);
                    self.ended = Some(Err(Error::new(ErrorKind::Unavailable, message)));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

impl Drop for AnswerReader {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// How long the answer's headers may take, once the content is sent.
pub(super) fn header_time(asked_ms: Option<u32>) -> Duration {
    asked_ms.map_or(super::HEADERS, |ms| {
        Duration::from_millis(ms.into()).min(super::MAX_HEADERS_TIME)
    })
}
