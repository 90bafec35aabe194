//! A run of bytes of a connection on its way in: pumped by a task, read by whoever holds it, from any thread.
//!
//! The task bounds the waiting, so that a reader that merely blocks on the channel never blocks for long. It reads no byte
//! beyond the stream and gives the direction back before it tells of the end.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::task::AbortHandle;

use super::{READ_BYTES, Reader, Shared};
use crate::error::{Error, ErrorKind};
use crate::limiter::Throttle;
use crate::stop::Stop;

/// Pieces between the connection and the reader.
const DEPTH: usize = 4;

/// Starts to read; it ends with the stream.
pub(super) fn start(
    shared: &Arc<Shared>,
    reader: Reader,
    length: Option<u64>,
    throttle: Throttle,
    stop: &Stop,
) -> Box<dyn Read + Send> {
    let (sender, pieces) = async_channel::bounded(DEPTH);
    let incoming = Incoming {
        shared: Arc::clone(shared),
        left: length,
        throttle,
        stop: stop.clone(),
    };
    let pump = tokio::spawn(incoming.pump(reader, sender)).abort_handle();
    Box::new(StreamReader {
        shared: Arc::clone(shared),
        pieces,
        pump,
        current: Bytes::new(),
        left: length,
        ended: None,
    })
}

struct Incoming {
    shared: Arc<Shared>,
    /// What is still to come, if the length is known.
    left: Option<u64>,
    throttle: Throttle,
    stop: Stop,
}

impl Incoming {
    /// The next piece; empty at the end.
    async fn next(&mut self, reader: &mut Reader) -> Result<Bytes, Error> {
        let most = self.left.map_or(READ_BYTES, |left| {
            usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES)
        });
        if most == 0 {
            return Ok(Bytes::new());
        }
        let mut piece = vec![0; most];
        let reading = async { reader.read(&mut piece).await };
        let count = self.shared.within(&self.stop, "nothing came", reading).await?;
        piece.truncate(count);
        match &mut self.left {
            Some(missing) if count == 0 => {
                let place = &self.shared.place;
                let message = format!("{place}: the connection ended {missing} bytes too early");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Some(left) => *left -= count as u64,
            None => {}
        }
        self.throttle.wait(count, &self.stop).await?;
        Ok(Bytes::from(piece))
    }

    /// Passes all pieces on; an empty one is the end.
    async fn pump(mut self, mut reader: Reader, sender: async_channel::Sender<Result<Bytes, Error>>) {
        loop {
            let piece = self.next(&mut reader).await;
            let (failed, empty) = (piece.is_err(), piece.as_ref().is_ok_and(Bytes::is_empty));
            if empty || (self.left == Some(0) && !failed) {
                // Whoever has the last bytes may go on with the connection at once.
                self.shared.reader.give(reader);
                if empty || sender.send(piece).await.is_ok() {
                    sender.send(Ok(Bytes::new())).await.unwrap_or_default();
                }
                return;
            }
            if sender.send(piece).await.is_err() || failed {
                self.shared.reader.discard();
                return;
            }
        }
    }
}

/// Reads what the task passes on.
struct StreamReader {
    shared: Arc<Shared>,
    pieces: async_channel::Receiver<Result<Bytes, Error>>,
    pump: AbortHandle,
    current: Bytes,
    /// What its reader hasn't had, if the length is known.
    left: Option<u64>,
    /// How it ended.
    ended: Option<Result<(), Error>>,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.current.is_empty() {
            match &self.ended {
                Some(Ok(())) => return Ok(0),
                Some(Err(error)) => return Err(error.clone().into()),
                None => {}
            }
            match self.pieces.recv_blocking() {
                Ok(Ok(piece)) if piece.is_empty() => self.ended = Some(Ok(())),
                Ok(Ok(piece)) => self.current = piece,
                Ok(Err(error)) => self.ended = Some(Err(error)),
                Err(_) => {
                    let message = format!("{}: the plugin host was shut down", self.shared.place);
                    self.ended = Some(Err(Error::new(ErrorKind::Unavailable, message)));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        if let Some(left) = &mut self.left {
            *left -= count as u64;
        }
        Ok(count)
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let used_up = self.left == Some(0) || matches!(self.ended, Some(Ok(())));
        if !used_up {
            // Its rest would be taken for what comes after it.
            self.pump.abort();
            self.shared.reader.discard();
        }
    }
}
