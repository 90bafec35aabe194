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

/// Makes output streams whose lines go to the log.
pub(crate) struct LogOutput(Log);

impl LogOutput {
    pub(crate) fn new(log: Log) -> Self {
        Self(log)
    }

    fn line_stream(&self) -> LineStream {
        LineStream {
            log: Arc::clone(&self.0),
            line: Vec::new(),
        }
    }
}

impl IsTerminal for LogOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.line_stream())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.line_stream())
    }
}

struct LineStream {
    log: Log,
    /// The unfinished line, cut at the longest line that the log takes.
    line: Vec<u8>,
}

impl LineStream {
    fn take(&mut self, bytes: &[u8]) {
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

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        self.finish_line();
    }
}
