//! A request's content on its way out: in pieces, under the upload limit, and with its exact length.
//!
//! Replayable bytes are sent without a copy. A stream is read by a thread of its own, two pieces ahead.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::error::{Error, ErrorKind};
use crate::limiter::Throttle;

/// What is sent with a request.
pub enum Content {
    /// Bytes that can be sent again.
    Bytes(Arc<Vec<u8>>),
    /// Bytes that flow once.
    Stream {
        /// Where they come from; it may block.
        reader: Box<dyn Read + Send>,
        /// How many there are, if that is known.
        size: Option<u64>,
    },
}

/// When something moved last, and whether all is sent.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    moved_ms: AtomicU64,
    done: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            moved_ms: AtomicU64::new(0),
            done: AtomicBool::new(false),
        })
    }

    fn moved(&self) {
        self.moves_at(Instant::now());
    }

    /// Says when something moves next: the time until then isn't idle.
    fn moves_at(&self, time: Instant) {
        let elapsed = time.saturating_duration_since(self.begun).as_millis();
        self.moved_ms
            .store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Says that nothing is left to send.
    pub(super) fn finish(&self) {
        self.moved();
        self.done.store(true, Ordering::Release);
    }

    /// How long nothing has moved.
    pub(super) fn idle(&self) -> Duration {
        let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(moved)
    }

    /// Whether the whole content was handed to the connection.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// Shares bytes of the backup with a connection.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

enum Source {
    Bytes(Bytes),
    Stream {
        pieces: mpsc::Receiver<Result<Bytes, Error>>,
        /// What is still to come, if the length was announced.
        left: Option<u64>,
        ended: bool,
    },
}

/// A content as a connection takes it.
pub(super) struct Upload {
    source: Source,
    throttle: Throttle,
    /// The pause before `ready` may flow.
    pause: Option<Pin<Box<Sleep>>>,
    ready: Option<Bytes>,
    progress: Arc<Progress>,
}

impl Upload {
    pub(super) fn new(content: Option<Content>, throttle: &Throttle, progress: &Arc<Progress>) -> Self {
        let source = match content {
            None => Source::Bytes(Bytes::new()),
            Some(Content::Bytes(bytes)) => Source::Bytes(Bytes::from_owner(Shared(bytes))),
            Some(Content::Stream { reader, size }) => Source::Stream {
                pieces: feed(reader, throttle.piece()),
                left: size,
                ended: size == Some(0),
            },
        };
        let upload = Self {
            source,
            throttle: throttle.clone(),
            pause: None,
            ready: None,
            progress: Arc::clone(progress),
        };
        if http_body::Body::is_end_stream(&upload) {
            progress.finish();
        }
        upload
    }

    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(self.throttle.piece()));
                Poll::Ready(Some(Ok(piece)))
            }
            Source::Stream { ended: true, .. } => Poll::Ready(None),
            Source::Stream { pieces, left, ended } => {
                let piece = std::task::ready!(pieces.poll_recv(context))
                    .unwrap_or_else(|| Err(Error::new(ErrorKind::Other, "what reads the content stopped")));
                Poll::Ready(account(piece, left, ended).transpose())
            }
        }
    }
}

/// Holds a stream to its announced length; an empty piece is its end.
fn account(
    piece: Result<Bytes, Error>,
    left: &mut Option<u64>,
    ended: &mut bool,
) -> Result<Option<Bytes>, Error> {
    let piece = piece?;
    if piece.is_empty() {
        *ended = true;
        return match left {
            Some(missing) if *missing > 0 => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the content is {missing} bytes shorter than announced"),
            )),
            _ => Ok(None),
        };
    }
    if let Some(left) = left {
        let rest = left.checked_sub(piece.len() as u64);
        *left = rest.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the content is longer than announced"))?;
        *ended = *left == 0;
    }
    Ok(Some(piece))
}

/// Reads a stream two pieces ahead; an empty piece is its end.
pub(crate) fn feed(mut reader: Box<dyn Read + Send>, piece: usize) -> mpsc::Receiver<Result<Bytes, Error>> {
    let (sender, receiver) = mpsc::channel(2);
    // It ends with the stream, or at its next piece once nobody takes them any more.
    tokio::task::spawn_blocking(move || {
        loop {
            let mut buffer = vec![0; piece];
            let piece = match reader.read(&mut buffer) {
                Ok(count) => {
                    buffer.truncate(count);
                    Ok(Bytes::from(buffer))
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Error::from_io(&error)),
            };
            let last = piece.as_ref().map_or(true, Bytes::is_empty);
            if sender.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    receiver
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let upload = &mut *self;
        if upload.ready.is_none() {
            let piece = match std::task::ready!(upload.next_piece(context)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    upload.progress.finish();
                    return Poll::Ready(None);
                }
            };
            let due = upload.throttle.reserve(piece.len());
            upload.progress.moves_at(due.unwrap_or_else(Instant::now));
            upload.pause = due.map(|due| Box::pin(tokio::time::sleep_until(due.into())));
            upload.ready = Some(piece);
        }
        if let Some(pause) = &mut upload.pause {
            std::task::ready!(pause.as_mut().poll(context));
            upload.pause = None;
        }
        upload.progress.moved();
        let piece = upload.ready.take();
        if http_body::Body::is_end_stream(upload) {
            upload.progress.finish();
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none()
            && match &self.source {
                Source::Bytes(bytes) => bytes.is_empty(),
                Source::Stream { ended, .. } => *ended,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.as_ref().map_or(0, Bytes::len) as u64;
        match &self.source {
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64 + ready),
            Source::Stream { left: Some(left), .. } => SizeHint::with_exact(*left + ready),
            Source::Stream { left: None, .. } => SizeHint::default(),
        }
    }
}
