//! One stream over the pieces in which a storage may answer a `read`.
//!
//! A storage that keeps an object in pieces answers up to the next border, and is asked again from there. A stream that a
//! connection lost is taken up the same way, at the byte where it broke: the bytes of an object once committed never change.

use std::io::{self, Read};
use std::time::Duration;

use freezer_pipeline::store::{ErrorKind, StoreError};

/// What one `read` of a storage answered.
pub(crate) struct Piece {
    /// Its bytes.
    pub(crate) reader: Box<dyn Read + Send>,
    /// How many there are, if the storage said so.
    pub(crate) size: Option<u64>,
}

/// Asks the storage for bytes from an offset on, and waits between tries.
pub(crate) trait Source: Send {
    /// `length` bytes from `offset`, or the first of them.
    fn open(&self, offset: u64, length: u64) -> Result<Piece, StoreError>;
    /// Waits after that failure; false once the run is cancelled.
    fn wait(&mut self, pause: Duration, error: &io::Error) -> bool;
    /// Hears that bytes came again.
    fn went_on(&mut self) {}
}

/// How often in a row a stream that yields nothing is opened anew: as often as a call of its own is tried.
pub(crate) const RESUMES: u32 = 5;
/// The pause before the second one; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Reads exactly the bytes that were asked for.
pub(crate) struct PieceReader<S> {
    source: S,
    key: String,
    piece: Box<dyn Read + Send>,
    /// Bytes that the piece still has to yield.
    piece_left: u64,
    /// The place of the next byte in the object.
    offset: u64,
    /// Bytes that are still to come in all.
    left: u64,
    /// Failures since the last byte.
    failures: u32,
}

impl<S: Source> PieceReader<S> {
    /// Goes on from a first piece; `length` bytes from `offset` were asked for.
    pub(crate) fn new(source: S, key: &str, first: Piece, (offset, length): (u64, u64)) -> Self {
        PieceReader {
            source,
            key: key.to_owned(),
            piece_left: first.size.unwrap_or(length).min(length),
            piece: first.reader,
            offset,
            left: length,
            failures: 0,
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let piece = self
            .source
            .open(self.offset, self.left)
            .map_err(io::Error::other)?;
        self.piece = piece.reader;
        self.piece_left = piece.size.unwrap_or(self.left).min(self.left);
        Ok(())
    }

    /// Opens the stream anew where it broke, or says that it can't help.
    fn resume(&mut self, error: io::Error) -> io::Result<()> {
        if !is_passing(error.kind()) || self.failures == RESUMES {
            return Err(self.told(error));
        }
        if self.failures > 0
            && !self
                .source
                .wait(FIRST_PAUSE * 2_u32.pow(self.failures - 1), &error)
        {
            return Err(self.told(error));
        }
        self.failures += 1;
        tracing::debug!(
            "reading {:?} broke at byte {}: {error}; taken up again",
            self.key,
            self.offset
        );
        self.open()
    }
}

impl<S: Source> PieceReader<S> {
    /// An error as the road knows it: a cancelled read must not look like damage.
    fn told(&self, error: io::Error) -> io::Error {
        let native = freezer_io::error::Error::from_io(&error);
        if native.kind != freezer_io::error::ErrorKind::Cancelled {
            return error;
        }
        io::Error::other(StoreError {
            kind: ErrorKind::Cancelled,
            storage: String::new(),
            operation: "read",
            key: self.key.clone(),
            message: native.message,
            cause: None,
        })
    }
}

impl<S: Source> Read for PieceReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.left > 0 {
            if self.piece_left == 0 {
                self.open()?;
            }
            let most = usize::try_from(self.piece_left).map_or(buffer.len(), |left| left.min(buffer.len()));
            match self.piece.read(&mut buffer[..most]) {
                Ok(0) => {
                    let message = format!(
                        "the storage sent {} bytes too few of {:?}",
                        self.piece_left, self.key
                    );
                    self.resume(io::Error::new(io::ErrorKind::UnexpectedEof, message))?;
                }
                Ok(count) => {
                    if std::mem::take(&mut self.failures) > 0 {
                        self.source.went_on();
                    }
                    self.offset += count as u64;
                    self.piece_left -= count as u64;
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.resume(error)?,
            }
        }
        Ok(0)
    }
}

/// True for what a connection does of itself. A disk's errors are not tried again.
fn is_passing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
    };
    matches!(
        kind,
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const OBJECT: &[u8] = b"0123456789abcdefghij";

    /// Answers in pieces of some bytes; some streams break.
    struct Pieces {
        bytes: usize,
        /// Bytes after which the stream of each opening breaks, and how; the last entry counts for all that follow.
        breaks: Vec<Option<(usize, io::ErrorKind)>>,
        opened: RefCell<Vec<u64>>,
    }

    struct Breaking(io::Cursor<Vec<u8>>, Option<io::ErrorKind>);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (self.0.read(buffer)?, self.1) {
                (0, Some(kind)) => Err(kind.into()),
                (count, _) => Ok(count),
            }
        }
    }

    impl Source for Pieces {
        fn open(&self, offset: u64, length: u64) -> Result<Piece, StoreError> {
            let number = self.opened.borrow().len();
            self.opened.borrow_mut().push(offset);
            let start = usize::try_from(offset).unwrap();
            let end = (start / self.bytes * self.bytes + self.bytes)
                .min(start + usize::try_from(length).unwrap())
                .min(OBJECT.len());
            if start >= OBJECT.len() {
                return Err(StoreError {
                    kind: ErrorKind::Corrupt,
                    storage: "test:".into(),
                    operation: "read",
                    key: "k".into(),
                    message: "too short".into(),
                    cause: None,
                });
            }
            let fault = self.breaks.get(number).or(self.breaks.last()).copied().flatten();
            let bytes = match fault {
                Some((after, _)) => &OBJECT[start..end.min(start + after)],
                None => &OBJECT[start..end],
            };
            Ok(Piece {
                reader: Box::new(Breaking(
                    io::Cursor::new(bytes.to_vec()),
                    fault.map(|fault| fault.1),
                )),
                size: Some((end - start) as u64),
            })
        }

        fn wait(&mut self, _pause: Duration, _error: &io::Error) -> bool {
            true
        }
    }

    fn read(
        bytes: usize,
        breaks: &[Option<(usize, io::ErrorKind)>],
        (offset, length): (u64, u64),
    ) -> (io::Result<Vec<u8>>, Vec<u64>) {
        let source = Pieces {
            bytes,
            breaks: breaks.to_vec(),
            opened: RefCell::default(),
        };
        let first = source.open(offset, length).unwrap();
        let mut reader = PieceReader::new(source, "k", first, (offset, length));
        let mut all = Vec::new();
        let result = reader.read_to_end(&mut all).map(|_| all);
        (result, reader.source.opened.into_inner())
    }

    #[test]
    fn pieces_follow_each_other_whatever_their_borders() {
        for bytes in 1..=21 {
            for offset in 0..19 {
                for length in 1..=(20 - offset) {
                    let (all, _) = read(bytes, &[None], (offset, length));
                    let range = usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap();
                    assert_eq!(all.unwrap(), &OBJECT[range], "{bytes} {offset} {length}");
                }
            }
        }
    }

    #[test]
    fn a_stream_that_broke_goes_on_where_it_broke() {
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            let (all, opened) = read(20, &[Some((7, kind)), None], (2, 18));
            assert_eq!(all.unwrap(), &OBJECT[2..]);
            assert_eq!(opened, [2, 9]);
        }
        // Each time it yields a little, so that it ends at last.
        let broken = Some((3, io::ErrorKind::TimedOut));
        assert_eq!(read(20, &[broken], (0, 20)).0.unwrap(), OBJECT);
    }

    #[test]
    fn a_stream_that_never_yields_is_given_up_with_its_first_cause() {
        let broken = Some((0, io::ErrorKind::ConnectionReset));
        let (all, opened) = read(20, &[broken], (0, 20));
        assert_eq!(all.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(opened.len(), 6);
    }

    #[test]
    fn a_broken_disk_is_not_asked_again() {
        let (all, opened) = read(20, &[Some((4, io::ErrorKind::InvalidData))], (0, 20));
        assert_eq!(all.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(opened.len(), 1);
    }

    #[test]
    fn what_the_storage_says_of_the_rest_is_kept() {
        let (all, _) = read(20, &[None], (0, 25));
        let error = all.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<StoreError>().unwrap();
        assert_eq!(inner.kind, ErrorKind::Corrupt);
    }
}
