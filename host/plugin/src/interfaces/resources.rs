//! The host's own types behind the handles that guests hold.
#![expect(
    unreachable_pub,
    reason = "the generated bindings re-export these types, which crate-only visibility forbids"
)]

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use freezer_io::directory::Folder;
use freezer_io::{sql, ssh};

/// An opened directory, of this machine or of another.
pub type Directory = Box<dyn Folder>;
/// A connection to another machine.
pub type SshConnection = Arc<ssh::Connection>;

/// A running command and the run's hold on it.
pub type Child = Arc<super::processes::Command>;
/// A session with a database server.
pub struct SqlConnection {
    pub(super) connection: Arc<sql::Connection>,
    /// Its place in the run's registry.
    pub(super) guard: u64,
}
/// A byte connection and the run's hold on it.
pub type TcpConnection = Arc<super::tcp::Open>;

/// A frozen view of a volume; the run holds a guard over it, too.
pub struct Snapshot {
    pub(super) held: Arc<Mutex<freezer_io::snapshots::Snapshot>>,
    pub(super) guard: u64,
    pub(super) path: String,
    pub(super) description: String,
}

/// Where bytes come from; decides whether a guest may see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The plugin made or fetched them itself.
    Plugin,
    /// They are the backup's own: the grant `bodies` is needed to look at them.
    Backup,
}

/// Bytes that the host holds for a guest.
pub struct Body {
    content: Content,
    origin: Origin,
    /// Held for its drop alone.
    _charge: Option<Charge>,
}

/// Bytes of bodies that one store holds for its guest, which count against none of the guest's own memory.
#[derive(Clone, Default)]
pub struct BodyBudget(Arc<AtomicUsize>);

/// A body's share of the budget, given back when it is dropped.
pub struct Charge {
    bytes: usize,
    budget: BodyBudget,
}

impl BodyBudget {
    /// The most bytes at once.
    pub const MAX_BYTES: usize = 64 << 20;

    /// Takes a share; `None` if too much is held already.
    pub fn take(&self, bytes: usize) -> Option<Charge> {
        let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= Self::MAX_BYTES);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.ok().map(|_| Charge {
            bytes,
            budget: self.clone(),
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

enum Content {
    /// Replayable. The position is that of `read` through this handle.
    Bytes { bytes: Arc<Vec<u8>>, position: usize },
    /// Flows once.
    Stream {
        stream: Arc<Mutex<Stream>>,
        size: Option<u64>,
    },
}

enum Stream {
    Fresh(Box<dyn Read + Send>),
    /// The guest reads it piece by piece.
    Begun(Box<dyn Read + Send>),
    Gone,
}

/// The bytes of a body, taken out of it for the host.
pub enum Taken {
    /// Replayable.
    Bytes(Arc<Vec<u8>>),
    /// A stream that was fresh.
    Stream(Box<dyn Read + Send>),
}

impl Body {
    /// A replayable body.
    pub fn bytes(bytes: Arc<Vec<u8>>, origin: Origin) -> Self {
        Self {
            content: Content::Bytes { bytes, position: 0 },
            origin,
            _charge: None,
        }
    }

    /// A body that the guest made of its own bytes.
    pub fn made(bytes: Vec<u8>, charge: Charge) -> Self {
        Self {
            _charge: Some(charge),
            ..Self::bytes(Arc::new(bytes), Origin::Plugin)
        }
    }

    /// A stream, with its length if that is known.
    pub fn stream(reader: Box<dyn Read + Send>, size: Option<u64>, origin: Origin) -> Self {
        Self {
            content: Content::Stream {
                stream: Arc::new(Mutex::new(Stream::Fresh(reader))),
                size,
            },
            origin,
            _charge: None,
        }
    }

    /// Where the bytes come from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The length, if it is known.
    pub fn size(&self) -> Option<u64> {
        match &self.content {
            Content::Bytes { bytes, .. } => Some(bytes.len() as u64),
            Content::Stream { size, .. } => *size,
        }
    }

    /// The bytes of a replayable body.
    pub fn replayable(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.content {
            Content::Bytes { bytes, .. } => Some(bytes),
            Content::Stream { .. } => None,
        }
    }

    /// All its bytes for one use; `None` for a stream that was used before.
    pub fn take(&self) -> Option<Taken> {
        match &self.content {
            Content::Bytes { bytes, .. } => Some(Taken::Bytes(Arc::clone(bytes))),
            Content::Stream { stream, .. } => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                match std::mem::replace(&mut *stream, Stream::Gone) {
                    Stream::Fresh(reader) => Some(Taken::Stream(reader)),
                    Stream::Begun(_) | Stream::Gone => None,
                }
            }
        }
    }

    /// The next bytes for the guest, at most `most`; empty at the end, `None` for a stream that was used otherwise.
    pub fn read(&mut self, most: usize) -> Option<io::Result<Vec<u8>>> {
        match &mut self.content {
            Content::Bytes { bytes, position } => {
                let end = bytes.len().min(position.saturating_add(most));
                let piece = bytes[*position..end].to_vec();
                *position = end;
                Some(Ok(piece))
            }
            Content::Stream { stream, .. } => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let mut reader = match std::mem::replace(&mut *stream, Stream::Gone) {
                    Stream::Fresh(reader) | Stream::Begun(reader) => reader,
                    Stream::Gone => return None,
                };
                let piece = read_piece(&mut reader, most);
                if piece.is_ok() {
                    *stream = Stream::Begun(reader);
                }
                Some(piece)
            }
        }
    }
}

fn read_piece(reader: &mut dyn Read, most: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; most];
    loop {
        match reader.read(&mut piece) {
            Ok(count) => {
                piece.truncate(count);
                return Ok(piece);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Taken {
    /// The bytes as a reader.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Bytes(bytes) => Box::new(SharedReader { bytes, position: 0 }),
            Self::Stream(reader) => reader,
        }
    }
}

/// Reads shared bytes without a copy of them.
struct SharedReader {
    bytes: Arc<Vec<u8>>,
    position: usize,
}

impl Read for SharedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.bytes[self.position..]).read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_flows_once() {
        let body = Body::stream(Box::new(&b"abc"[..]), Some(3), Origin::Plugin);
        assert!(matches!(body.take(), Some(Taken::Stream(_))));
        assert!(body.take().is_none());
        let mut body = Body::stream(Box::new(&b"abc"[..]), Some(3), Origin::Plugin);
        assert_eq!(body.read(2).unwrap().unwrap(), b"ab");
        assert!(
            body.take().is_none(),
            "a stream that the guest began can't be handed on"
        );
        assert!(body.read(2).is_none());
    }

    #[test]
    fn made_bodies_share_a_budget_until_they_are_dropped() {
        let budget = BodyBudget::default();
        let part = BodyBudget::MAX_BYTES / 4;
        let held: Vec<_> = (0..4)
            .map(|_| Body::made(Vec::new(), budget.take(part).unwrap()))
            .collect();
        assert!(budget.take(1).is_none() && budget.take(usize::MAX).is_none());
        drop(held);
        assert!(budget.take(BodyBudget::MAX_BYTES).is_some());
    }

    #[test]
    fn bytes_can_be_used_again_and_have_a_position_per_handle() {
        let mut body = Body::bytes(Arc::new(b"abc".to_vec()), Origin::Plugin);
        assert_eq!(body.read(2).unwrap().unwrap(), b"ab");
        let mut all = Vec::new();
        body.take().unwrap().into_reader().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"abc");
        assert_eq!(body.read(usize::MAX).unwrap().unwrap(), b"c");
        assert_eq!(body.read(5).unwrap().unwrap(), b"");
    }
}
