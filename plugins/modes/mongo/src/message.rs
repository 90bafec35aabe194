//! Commands and answers on the wire: OP_MSG with one document each way.
//!
//! ```text
//! i32 length of all · i32 request id · i32 id that is answered · i32 2013 · u32 flags · u8 0 · document
//! ```
//!
//! All are little-endian. As MongoDB's documentation of its wire protocol has it. An answer is believed only as far as its length,
//! its operation and the id that it answers fit; nothing is allocated by a number that the other side wrote.

use bson::RawDocumentBuf;
use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::tcp::Connection;

/// What we ask is answered in a few KiB; a server may send up to 48 MB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The four numbers.
const HEADER_BYTES: usize = 16;
/// The header, the flags and the kind of the section.
const LEAST_BYTES: usize = HEADER_BYTES + 5;
const OP_MSG: i32 = 2013;
/// Flag: four bytes of checksum follow.
const CHECKSUM: u32 = 1;
/// Flags that must not be ignored by those who don't know them.
const REQUIRED: u32 = 0xffff;

/// A command, framed.
pub(crate) fn frame(request: i32, document: &RawDocumentBuf) -> Vec<u8> {
    let document = document.as_bytes();
    let length = i32::try_from(LEAST_BYTES + document.len()).unwrap_or(i32::MAX);
    let mut frame = Vec::with_capacity(LEAST_BYTES + document.len());
    for number in [length, request, 0, OP_MSG, 0] {
        frame.extend(number.to_le_bytes());
    }
    frame.push(0);
    frame.extend(document);
    frame
}

/// Reads the answer to a request.
///
/// # Errors
/// `other` for what is no answer to it; what the connection says.
pub(crate) fn receive(connection: &Connection, request: i32) -> Result<RawDocumentBuf> {
    let header = read_exactly(connection, HEADER_BYTES)?;
    let number = |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = usize::try_from(number(0)).unwrap_or(0);
    if number(12) != OP_MSG || number(8) != request {
        return Err(nonsense("this is no answer of a MongoDB server"));
    }
    if !(LEAST_BYTES..=MAX_ANSWER_BYTES).contains(&length) {
        return Err(nonsense(&format!("an answer of {} bytes", number(0))));
    }
    let mut content = read_exactly(connection, length - HEADER_BYTES)?;
    let flags = u32::from_le_bytes([content[0], content[1], content[2], content[3]]);
    if flags & REQUIRED & !CHECKSUM != 0 {
        // Also that more answers follow, which nobody asked for.
        return Err(nonsense(&format!("an answer with the flags {flags:#x}")));
    }
    if flags & CHECKSUM != 0 {
        content.truncate(content.len().saturating_sub(4));
    }
    if content.get(4) != Some(&0) {
        return Err(nonsense("an answer without a document"));
    }
    RawDocumentBuf::from_bytes(content.split_off(5)).map_err(|error| nonsense(&error.to_string()))
}

/// Reads that many bytes in pieces as they come.
fn read_exactly(connection: &Connection, count: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let missing = u32::try_from(count - bytes.len()).unwrap_or(u32::MAX);
        let piece = connection.read(missing)?;
        if piece.is_empty() {
            return Err(Error::unavailable("the server closed the connection"));
        }
        bytes.extend(piece);
    }
    Ok(bytes)
}

fn nonsense(why: &str) -> Error {
    Error::other(format!("the server answered nonsense: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;
    use freezer_sdk::error::ErrorKind;
    use freezer_sdk::host::tcp::{self, Target};
    use freezer_sdk::testing::FakeHost;

    fn answered(bytes: Vec<u8>) -> Result<RawDocumentBuf> {
        let host = FakeHost::new();
        host.serve_tcp(move |_| Ok(bytes.clone()));
        let target = Target {
            host: "db".into(),
            port: 1,
            tls: None,
            timeout_ms: None,
        };
        let connection = tcp::connect(&target).unwrap();
        connection.write(b"x").unwrap();
        receive(&connection, 7)
    }

    /// An answer to request 7.
    fn answer() -> Vec<u8> {
        let mut bytes = frame(1, &rawdoc! { "ok": 1 });
        bytes[8] = 7;
        bytes
    }

    #[test]
    fn an_answer_is_read_with_and_without_a_checksum() {
        assert_eq!(answered(answer()).unwrap().get_i32("ok").unwrap(), 1);
        let mut checked = answer();
        checked[16] = 1;
        checked[0] += 4;
        checked.extend([1, 2, 3, 4]);
        assert_eq!(answered(checked).unwrap().get_i32("ok").unwrap(), 1);
    }

    #[test]
    fn what_is_no_answer_is_refused_before_it_is_read() {
        let change = |at: usize, value: &[u8]| {
            let mut bytes = answer();
            bytes[at..at + value.len()].copy_from_slice(value);
            bytes
        };
        for (bytes, why) in [
            (
                change(0, &i32::MAX.to_le_bytes()),
                "an answer of 2147483647 bytes",
            ),
            (change(0, &(-1_i32).to_le_bytes()), "an answer of -1 bytes"),
            (change(0, &20_i32.to_le_bytes()), "an answer of 20 bytes"),
            (change(12, &1_i32.to_le_bytes()), "no answer"),
            (change(8, &6_i32.to_le_bytes()), "no answer"),
            (change(16, &[2]), "flags 0x2"),
            (change(16, &[0x80]), "flags 0x80"),
            (change(20, &[1]), "without a document"),
            (change(21, &[0xff, 0xff, 0xff, 0x7f]), "nonsense"),
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), "no answer"),
        ] {
            let error = answered(bytes).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Other, "{why}");
            assert!(error.message.contains(why), "{why}: {error}");
        }
        let mut short = answer();
        short.pop();
        assert_eq!(answered(short).unwrap_err().kind, ErrorKind::Unavailable);
    }
}
