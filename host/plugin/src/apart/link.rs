//! Messages between freezer and the process of a guest: a length (32 bits), a kind (8 bits), the content.
//!
//! Both sides take turns: whoever asked waits. So neither needs a thread or a queue. Only what a guest writes is said without
//! a question.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use super::wire::{Reader, Take};

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// From freezer: a call, by its number, and its arguments.
    Call,
    /// The answer to the last call or question.
    Answer,
    /// From the process: a question of the guest, by its number, and its arguments.
    Question,
    /// From the process: the call ended in no answer.
    Died,
    /// From the process: it can't run this component, and why.
    Refused,
    /// From the process: bytes that the guest wrote, and where to ([`Said`]). Nobody answers.
    Said,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Call,
        Self::Answer,
        Self::Question,
        Self::Died,
        Self::Refused,
        Self::Said,
    ];

    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// What a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Its standard output.
    Output,
    /// Its standard error.
    Errors,
}

/// Bytes of a guest's output in one message at most.
pub(super) const SAID_BYTES: usize = 4096;

/// The length and the kind.
pub(super) const HEADER_BYTES: usize = 5;

/// One message as it is sent.
pub(super) fn message(kind: Kind, parts: &[&[u8]]) -> io::Result<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let short = u32::try_from(length).map_err(|_| io::Error::other("a message of more than 4 GiB"))?;
    let mut message = Vec::with_capacity(HEADER_BYTES + length);
    message.extend_from_slice(&short.to_le_bytes());
    message.push(kind as u8);
    for part in parts {
        message.extend_from_slice(part);
    }
    Ok(message)
}

/// The length and the kind of the message that begins so; `None` if there is no such kind.
pub(super) fn header(bytes: [u8; HEADER_BYTES]) -> Option<(usize, Kind)> {
    let [a, b, c, d, kind] = bytes;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    Some((length, Kind::of(kind)?))
}

/// The worker's end of the socket: its standard input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking(BorrowedFd<'static>);

impl Asking {
    /// The socket that this process was started with.
    pub(super) fn new() -> Self {
        Self(rustix::stdio::stdin())
    }

    pub(super) fn send(mut self, kind: Kind, parts: &[&[u8]]) -> io::Result<()> {
        self.write_all(&message(kind, parts)?)
    }

    /// The next message. Freezer is believed: it could end this process anyway.
    pub(super) fn receive(mut self) -> io::Result<(Kind, Vec<u8>)> {
        let mut bytes = [0; HEADER_BYTES];
        self.read_exact(&mut bytes)?;
        let (length, kind) = header(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut content = vec![0; length];
        self.read_exact(&mut content)?;
        Ok((kind, content))
    }

    /// Asks the host, and waits for its answer.
    ///
    /// # Errors
    /// If freezer is gone.
    pub(super) fn ask<T: Take>(self, number: u16, question: &[u8]) -> wasmtime::Result<T> {
        self.send(Kind::Question, &[&number.to_le_bytes(), question])?;
        let (_, content) = self.receive()?;
        let mut answer = Reader::new(&content, usize::MAX);
        T::take(&mut answer).map_err(|why| wasmtime::format_err!("the host's answer is no answer: {why:?}"))
    }
}

impl Read for Asking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

impl Write for Asking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
