//! Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) and of the extensions that OpenSSH has (its file PROTOCOL).
//!
//! ```text
//! length u32 | kind u8 | request u32 | content        (INIT and VERSION: the version in the request's place)
//! string      length u32 | bytes
//! attributes  flags u32 | size u64 if 1 | uid u32, gid u32 if 2 | mode u32 if 4 | atime u32, mtime u32 if 8 | count u32, pairs if 8000_0000
//! ```
//! Answers are hostile input: every length is checked against what is there.

/// Kinds of packets, as far as they are used.
pub(super) mod kind {
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const VERSION: u8 = 2;
    pub(in super::super) const OPEN: u8 = 3;
    pub(in super::super) const CLOSE: u8 = 4;
    pub(in super::super) const READ: u8 = 5;
    pub(in super::super) const WRITE: u8 = 6;
    pub(in super::super) const LSTAT: u8 = 7;
    pub(in super::super) const OPENDIR: u8 = 11;
    pub(in super::super) const READDIR: u8 = 12;
    pub(in super::super) const REMOVE: u8 = 13;
    pub(in super::super) const MKDIR: u8 = 14;
    pub(in super::super) const RMDIR: u8 = 15;
    pub(in super::super) const REALPATH: u8 = 16;
    pub(in super::super) const STAT: u8 = 17;
    pub(in super::super) const RENAME: u8 = 18;
    pub(in super::super) const EXTENDED: u8 = 200;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRIBUTES: u8 = 105;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Codes of a status.
pub(super) mod status {
    pub(in super::super) const OK: u32 = 0;
    pub(in super::super) const EOF: u32 = 1;
    pub(in super::super) const NO_SUCH_FILE: u32 = 2;
    pub(in super::super) const PERMISSION_DENIED: u32 = 3;
    pub(in super::super) const NO_CONNECTION: u32 = 6;
    pub(in super::super) const CONNECTION_LOST: u32 = 7;
    pub(in super::super) const UNSUPPORTED: u32 = 8;
}

const ATTRIBUTE_SIZE: u32 = 1;
const ATTRIBUTE_OWNER: u32 = 2;
const ATTRIBUTE_MODE: u32 = 4;
const ATTRIBUTE_TIMES: u32 = 8;
const ATTRIBUTE_EXTENDED: u32 = 1 << 31;

/// A packet on its way out.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Begins one; the number comes with [`Request::finish`].
    pub(super) fn new(kind: u8) -> Self {
        let mut bytes = vec![0; 9];
        bytes[4] = kind;
        Self(bytes)
    }

    /// Begins a request of an extension.
    pub(super) fn extended(name: &str) -> Self {
        Self::new(kind::EXTENDED).text(name.as_bytes())
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn text(self, bytes: &[u8]) -> Self {
        // Nothing that is sent comes near 4 GiB: paths are checked and pieces are cut.
        let mut request = self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        request.0.extend_from_slice(bytes);
        request
    }

    /// Attributes that hold a mode and nothing else.
    pub(super) fn mode(self, mode: u32) -> Self {
        self.number(ATTRIBUTE_MODE).number(mode)
    }

    /// The bytes to send.
    pub(super) fn finish(mut self, request: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0[5..9].copy_from_slice(&request.to_be_bytes());
        self.0
    }
}

/// What is known of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
    pub(super) modified: Option<u32>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status { code: u32, message: String },
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(Vec<u8>, Attributes)>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

/// What comes out of bytes that were received.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & ATTRIBUTE_SIZE != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & ATTRIBUTE_OWNER != 0 {
            self.take(8)?;
        }
        if flags & ATTRIBUTE_MODE != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & ATTRIBUTE_TIMES != 0 {
            self.take(4)?;
            attributes.modified = Some(self.number()?);
        }
        if flags & ATTRIBUTE_EXTENDED != 0 {
            for _ in 0..self.number()? {
                self.text()?;
                self.text()?;
            }
        }
        Some(attributes)
    }
}

/// Takes an answer apart: the request that it belongs to, and what it says. `None` if it makes no sense.
pub(super) fn parse_reply(packet: &[u8]) -> Option<(u32, Reply)> {
    let mut fields = Fields::new(packet);
    let kind = fields.byte()?;
    let request = fields.number()?;
    let reply = match kind {
        kind::STATUS => {
            let code = fields.number()?;
            // Old servers leave the message out.
            let message = fields.text().unwrap_or_default();
            Reply::Status {
                code,
                message: shown(message),
            }
        }
        kind::HANDLE => Reply::Handle(fields.text()?.to_vec()),
        kind::DATA => Reply::Data(fields.text()?.to_vec()),
        kind::NAME => {
            let count = fields.number()?;
            // No capacity by an announced count: it may be a lie.
            let mut names = Vec::new();
            for _ in 0..count {
                let name = fields.text()?.to_vec();
                fields.text()?;
                names.push((name, fields.attributes()?));
            }
            Reply::Names(names)
        }
        kind::ATTRIBUTES => Reply::Attributes(fields.attributes()?),
        kind::EXTENDED_REPLY => Reply::Extended(fields.0.to_vec()),
        _ => return None,
    };
    Some((request, reply))
}

/// A server's words in one line of bounded length.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .take(200)
        .flat_map(|letter| {
            let control = letter.is_control();
            std::iter::once(if control { ' ' } else { letter })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u8, content: impl FnOnce(Request) -> Request) -> Vec<u8> {
        content(Request::new(kind)).finish(7)[4..].to_vec()
    }

    #[test]
    fn requests_have_length_kind_and_number() {
        let bytes = Request::new(kind::LSTAT).text(b"/a").finish(258);
        assert_eq!(bytes, [0, 0, 0, 11, 7, 0, 0, 1, 2, 0, 0, 0, 2, b'/', b'a']);
    }

    #[test]
    fn answers_come_apart_and_none_that_is_cut_does() {
        let names = reply(kind::NAME, |request| {
            request
                .number(1)
                .text(b"a")
                .text(b"-rw a")
                .number(0x8000_000f)
                .long(5)
                .number(1)
                .number(2)
                .number(0o100_600)
                .number(3)
                .number(4)
                .number(1)
                .text(b"x")
                .text(b"y")
        });
        let attributes = Attributes {
            size: Some(5),
            mode: Some(0o100_600),
            modified: Some(4),
        };
        assert_eq!(
            parse_reply(&names),
            Some((7, Reply::Names(vec![(b"a".to_vec(), attributes)])))
        );
        for end in 0..names.len() {
            assert_eq!(parse_reply(&names[..end]), None, "cut at {end}");
        }
        let lie = reply(kind::NAME, |request| request.number(u32::MAX));
        assert_eq!(parse_reply(&lie), None);
        let lie = reply(kind::DATA, |request| request.number(u32::MAX));
        assert_eq!(parse_reply(&lie), None);
        assert_eq!(parse_reply(&reply(99, |request| request)), None);
    }

    #[test]
    fn a_status_needs_no_message_and_its_message_stays_one_line() {
        let status = |code, message: &str| {
            Some((
                7,
                Reply::Status {
                    code,
                    message: message.to_owned(),
                },
            ))
        };
        assert_eq!(
            parse_reply(&reply(kind::STATUS, |request| request.number(4))),
            status(4, "")
        );
        let odd = reply(kind::STATUS, |request| request.number(4).text(b"a\x1b[31m\nb"));
        assert_eq!(parse_reply(&odd), status(4, "a [31m b"));
    }
}
