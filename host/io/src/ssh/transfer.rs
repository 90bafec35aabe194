//! Bytes of files in both directions, with many requests under way, so that the distance to the other machine counts once.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use super::Connection;
use super::packet::{Reply, Request, kind, status};
use super::wire::{Wire, refusal};
use crate::error::{Error, ErrorKind};
use crate::stop::Stop;

/// Bytes that are asked for or sent without an answer yet: about what a channel's window holds. It bounds the memory of a stream.
const WINDOW_BYTES: usize = 2 << 20;

/// Exactly the announced bytes of a file of another machine.
pub struct RemoteReader {
    connection: Arc<Connection>,
    handle: Vec<u8>,
    /// For messages.
    path: String,
    /// What to ask for next, and where that ends.
    next: u64,
    end: u64,
    under_way: VecDeque<Piece>,
    piece: Vec<u8>,
    position: usize,
    remaining: u64,
    /// What ends its waits, whatever is called on the connection meanwhile.
    stop: Stop,
}

/// A part of a file that was asked for.
struct Piece {
    request: u32,
    offset: u64,
    bytes: usize,
}

impl std::fmt::Debug for RemoteReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("RemoteReader").field(&self.path).finish()
    }
}

impl RemoteReader {
    /// Reads `length` bytes from `offset` on through an open handle, which it closes.
    pub(super) fn new(
        connection: Arc<Connection>,
        handle: Vec<u8>,
        path: String,
        (offset, length): (u64, u64),
    ) -> Self {
        let stop = connection
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Self {
            connection,
            handle,
            path,
            stop,
            next: offset,
            end: offset.saturating_add(length),
            under_way: VecDeque::new(),
            piece: Vec::new(),
            position: 0,
            remaining: length,
        }
    }

    /// The bytes that are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Asks for as much as may be under way, then takes the first answer.
    fn turn(&mut self) -> Result<(), Error> {
        let mut wire = self.connection.wire();
        wire.link.stop = self.stop.clone();
        let most = wire.abilities.read_bytes;
        while self.next < self.end && self.under_way.len() * most < WINDOW_BYTES {
            let bytes = usize::try_from(self.end - self.next).unwrap_or(most).min(most);
            let request = ask_piece(&mut wire, &self.handle, self.next, bytes)?;
            self.under_way.push_back(Piece {
                request,
                offset: self.next,
                bytes,
            });
            self.next += bytes as u64;
        }
        let Some(piece) = self.under_way.pop_front() else {
            return Ok(());
        };
        let data = match wire.answer(piece.request)? {
            Reply::Data(data) if !data.is_empty() && data.len() <= piece.bytes => data,
            Reply::Status {
                code: status::EOF, ..
            } => {
                let message = format!(
                    "{} became shorter: {} bytes are missing",
                    self.path, self.remaining
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Reply::Status { code, message } => {
                return Err(refusal(&format!("read {}", self.path), code, &message));
            }
            _ => return Err(wire.link.lost("an answer to READ makes no sense")),
        };
        // A server may answer with less than it was asked for.
        let missing = piece.bytes - data.len();
        if missing > 0 {
            let offset = piece.offset + data.len() as u64;
            let request = ask_piece(&mut wire, &self.handle, offset, missing)?;
            self.under_way.push_front(Piece {
                request,
                offset,
                bytes: missing,
            });
        }
        drop(wire);
        self.piece = data;
        self.position = 0;
        Ok(())
    }
}

fn ask_piece(wire: &mut Wire, handle: &[u8], offset: u64, bytes: usize) -> Result<u32, Error> {
    let length = u32::try_from(bytes).unwrap_or(u32::MAX);
    wire.send(Request::new(kind::READ).text(handle).long(offset).number(length))
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if self.position == self.piece.len() {
            self.turn()?;
        }
        let count = (&self.piece[self.position..]).read(buffer)?;
        self.position += count;
        self.remaining -= count as u64;
        Ok(count)
    }
}

impl Drop for RemoteReader {
    fn drop(&mut self) {
        let mut wire = self.connection.wire();
        for piece in &self.under_way {
            wire.abandon(piece.request);
        }
        wire.close(&self.handle);
    }
}

/// Writes a file piece by piece; [`Sending::finish`] tells whether all of it arrived.
pub(super) struct Sending<'a> {
    wire: &'a mut Wire,
    handle: &'a [u8],
    offset: u64,
    under_way: VecDeque<u32>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(wire: &'a mut Wire, (handle, offset): (&'a [u8], u64)) -> Self {
        Self {
            wire,
            handle,
            offset,
            under_way: VecDeque::new(),
        }
    }

    /// Sends more of the content.
    ///
    /// # Errors
    /// What the server refused of it or of what was sent before.
    pub(super) fn send(&mut self, content: &[u8], what: &str) -> Result<(), Error> {
        let most = self.wire.abilities.write_bytes;
        for piece in content.chunks(most) {
            while self.under_way.len() * most >= WINDOW_BYTES {
                self.settle(what)?;
            }
            let request = Request::new(kind::WRITE)
                .text(self.handle)
                .long(self.offset)
                .text(piece);
            self.under_way.push_back(self.wire.send(request)?);
            self.offset = self.offset.checked_add(piece.len() as u64).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("can't {what}: it would be too large"))
            })?;
        }
        Ok(())
    }

    /// Waits for all answers.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) fn finish(mut self, what: &str) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle(what)?;
        }
        Ok(())
    }

    fn settle(&mut self, what: &str) -> Result<(), Error> {
        let Some(request) = self.under_way.pop_front() else {
            return Ok(());
        };
        match self.wire.answer(request)? {
            Reply::Status { code: status::OK, .. } => Ok(()),
            Reply::Status { code, message } => Err(refusal(what, code, &message)),
            _ => Err(self.wire.link.lost("an answer to WRITE makes no sense")),
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        for request in &self.under_way {
            self.wire.abandon(*request);
        }
    }
}
