//! Requests and answers of SFTP over one channel: any number of requests under way, answers by their number.
//!
//! Written anew instead of using libssh2's own SFTP, which offers neither replacing renames nor a server's words, and can't
//! keep requests of several files under way.

use std::io::{Read, Write};

use ssh2::{Channel, ErrorCode};

use super::answers::Answers;
use super::link::Link;
use super::packet::{Fields, Reply, Request, kind, parse_reply, status};
use crate::error::{Error, ErrorKind};

/// The version that all servers speak.
const VERSION: u32 = 3;
/// The longest answer that is believed: OpenSSH's own ceiling is 256 KiB.
const MAX_PACKET_BYTES: usize = 300 << 10;
/// What is asked of the channel at once.
const RECEIVE_BYTES: usize = 64 << 10;
/// Bytes in one READ or WRITE: what every server must take.
const PIECE_BYTES: usize = 32 << 10;
/// And no more than that, where the server names a larger limit.
const MAX_PIECE_BYTES: u64 = 128 << 10;

/// What the server can do beyond the draft.
#[derive(Debug, Clone, Default)]
pub(super) struct Abilities {
    pub(super) posix_rename: bool,
    pub(super) fsync: bool,
    pub(super) space: bool,
    limits: bool,
    /// Bytes in one READ.
    pub(super) read_bytes: usize,
    /// Bytes in one WRITE.
    pub(super) write_bytes: usize,
}

/// An SFTP channel with its connection.
pub(super) struct Wire {
    pub(super) link: Link,
    channel: Channel,
    next: u32,
    answers: Answers,
    inbox: Vec<u8>,
    pub(super) abilities: Abilities,
}

/// libssh2's code for a server that refuses a channel's request.
const REQUEST_DENIED: i32 = -22;

impl Wire {
    /// Starts SFTP on a connection that is logged in.
    ///
    /// # Errors
    /// `Denied` if the server has no SFTP; `Unavailable`.
    pub(super) fn start(mut link: Link) -> Result<Self, Error> {
        let opened = link.call(|session| session.channel_session())?;
        let mut channel = opened.map_err(|error| link.lost(error.message()))?;
        let started = link.call(|_| channel.subsystem("sftp"))?;
        started.map_err(|error| {
            // Anything but the server's word is a connection that broke meanwhile.
            if error.code() != ErrorCode::Session(REQUEST_DENIED) {
                return link.lost(error.message());
            }
            let message = format!("{} has no SFTP for this user: {}", link.place, error.message());
            Error::new(ErrorKind::Denied, message)
        })?;
        let mut wire = Self {
            link,
            channel,
            next: 0,
            answers: Answers::default(),
            inbox: Vec::new(),
            abilities: Abilities::default(),
        };
        wire.greet()?;
        Ok(wire)
    }

    fn greet(&mut self) -> Result<(), Error> {
        self.transmit(&Request::new(kind::INIT).finish(VERSION))?;
        let packet = self.packet()?;
        let mut fields = Fields::new(&packet);
        if fields.byte() != Some(kind::VERSION) || fields.number().is_none_or(|version| version < VERSION) {
            return Err(self.link.lost("the other side doesn't speak SFTP 3"));
        }
        let mut abilities = Abilities {
            read_bytes: PIECE_BYTES,
            write_bytes: PIECE_BYTES,
            ..Abilities::default()
        };
        while let (Some(name), Some(_)) = (fields.text(), fields.text()) {
            match name {
                b"posix-rename@openssh.com" => abilities.posix_rename = true,
                b"fsync@openssh.com" => abilities.fsync = true,
                b"statvfs@openssh.com" => abilities.space = true,
                b"limits@openssh.com" => abilities.limits = true,
                _ => {}
            }
        }
        self.abilities = abilities;
        if self.abilities.limits {
            self.ask_limits()?;
        }
        Ok(())
    }

    fn ask_limits(&mut self) -> Result<(), Error> {
        let Reply::Extended(content) = self.ask(Request::extended("limits@openssh.com"))? else {
            return Ok(());
        };
        let mut fields = Fields::new(&content);
        let numbers = (fields.long(), fields.long(), fields.long());
        if let (Some(_), Some(read), Some(write)) = numbers {
            // 0 stands for "no limit".
            let piece = |limit: u64| {
                let limit = if limit == 0 {
                    MAX_PIECE_BYTES
                } else {
                    limit.min(MAX_PIECE_BYTES)
                };
                usize::try_from(limit).unwrap_or(PIECE_BYTES).max(1)
            };
            self.abilities.read_bytes = piece(read);
            self.abilities.write_bytes = piece(write);
        }
        Ok(())
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`; what the server refused is an answer.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        let number = self.send(request)?;
        self.answer(number)
    }

    /// Sends a request; its answer is fetched by the number.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`.
    pub(super) fn send(&mut self, request: Request) -> Result<u32, Error> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.transmit(&request.finish(number))?;
        self.answers.expect(number);
        Ok(number)
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`.
    pub(super) fn answer(&mut self, number: u32) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.answers.fetch(number) {
                return Ok(reply);
            }
            let packet = self.packet()?;
            let Some((request, reply)) = parse_reply(&packet) else {
                return Err(self.link.lost("an answer of SFTP makes no sense"));
            };
            if !self.answers.arrived(request, reply) {
                return Err(self.link.lost("it answers what wasn't asked by SFTP"));
            }
        }
    }

    /// Says that nobody will fetch this answer.
    pub(super) fn abandon(&mut self, number: u32) {
        self.answers.abandon(number);
    }

    /// Closes a file's handle without waiting for the answer: nothing was written through it, or it was synced before.
    pub(super) fn close(&mut self, handle: &[u8]) {
        if !self.link.is_broken()
            && let Ok(number) = self.send(Request::new(kind::CLOSE).text(handle))
        {
            self.abandon(number);
        }
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut sent = 0;
        while sent < bytes.len() {
            let channel = &mut self.channel;
            sent += self.link.transfer(|| channel.write(&bytes[sent..]))?;
        }
        Ok(())
    }

    /// The next packet, without its length.
    fn packet(&mut self) -> Result<Vec<u8>, Error> {
        self.fill(4)?;
        let length = self
            .inbox
            .first_chunk()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_PACKET_BYTES {
            return Err(self.link.lost("an answer of SFTP is too long"));
        }
        self.fill(4 + length)?;
        let rest = self.inbox.split_off(4 + length);
        let mut packet = std::mem::replace(&mut self.inbox, rest);
        packet.drain(..4);
        Ok(packet)
    }

    /// Receives until the inbox holds that many bytes.
    fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        while self.inbox.len() < wanted {
            let held = self.inbox.len();
            self.inbox.resize(held.max(wanted) + RECEIVE_BYTES, 0);
            let (channel, room) = (&mut self.channel, &mut self.inbox[held..]);
            let count = self.link.transfer(|| channel.read(room));
            self.inbox.truncate(held + count.as_ref().copied().unwrap_or(0));
            if count? == 0 {
                return Err(self.link.lost("the other side ended it"));
            }
        }
        Ok(())
    }
}

/// Turns a status that isn't OK into an error: `what` follows "can't".
pub(super) fn refusal(what: &str, code: u32, message: &str) -> Error {
    let (kind, why) = match code {
        status::NO_SUCH_FILE => (ErrorKind::NotFound, "it doesn't exist"),
        status::PERMISSION_DENIED => (ErrorKind::Denied, "the other machine doesn't permit it"),
        status::NO_CONNECTION | status::CONNECTION_LOST => {
            (ErrorKind::Unavailable, "the other machine lost it")
        }
        status::UNSUPPORTED => (ErrorKind::Unsupported, "the other machine can't do that"),
        _ => (ErrorKind::Other, ""),
    };
    let text = match (why, message) {
        ("", "") => format!("can't {what}: the other machine says no more than status {code}"),
        ("", message) => format!("can't {what}: the other machine says \"{message}\""),
        (why, _) => format!("can't {what}: {why}"),
    };
    Error::new(kind, text)
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A working connection says goodbye, which takes a moment; a broken one is let go.
        self.link.session.set_blocking(!self.link.is_broken());
    }
}
