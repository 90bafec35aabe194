//! A guest's standard output and error: lines for the log, bounded and escaped like all others.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::escape;

/// Bytes that a guest may write at once.
const PERMIT_BYTES: usize = 64 << 10;

/// Takes a line.
type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Takes what a guest writes, in pieces as they come.
pub(crate) type Writer = Box<dyn FnMut(&[u8]) + Send + Sync>;

/// Makes output streams.
pub(crate) struct Output(Box<dyn Fn() -> Writer + Send + Sync>);

impl Output {
    /// Streams that pass on what is written.
    pub(crate) fn new(writer: impl Fn() -> Writer + Send + Sync + 'static) -> Self {
        Self(Box::new(writer))
    }

    /// Streams whose lines go to the log.
    pub(crate) fn lines(log: Log) -> Self {
        Self::new(move || {
            let mut lines = Lines::new(Arc::clone(&log));
            Box::new(move |bytes| lines.take(bytes))
        })
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Stream((self.0)()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream((self.0)()))
    }
}

struct Stream(Writer);

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        (self.0)(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (self.0)(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Makes lines of what comes in pieces; what is left at the end is a line, too.
pub(crate) struct Lines {
    log: Log,
    /// The unfinished line, cut at the longest line that the log takes.
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            line: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = (escape::MAX_LINE + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.finish_line();
            }
        }
    }

    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            (self.log)(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.finish_line();
    }
}
