//! Byte connections for plugins, with TLS or without: everything bounded, nothing waits for ever.
//!
//! A name is resolved once, each address is asked for where it needs a permission of its own, and what was checked is what gets
//! connected. A half that a call takes is put back only if the call went well: after time, cancelling or the network broke
//! one, nobody could tell what comes next. Needs a tokio runtime with timers and I/O; streams are read from anywhere.

mod connect;
mod failure;
mod half;
mod stream;

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::AddressPermission;
use crate::error::{Error, ErrorKind};
use crate::http::{Content, Trust, feed};
use crate::limiter::Bandwidth;
use crate::stop::{self, Stop};
use half::Half;

/// How long a connection may take to come about, TLS included.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a goodbye may take; afterwards the connection is just cut.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long nothing may move, unless the caller asks for another time.
const STALL: Duration = Duration::from_secs(60);
/// The longest time that a caller can ask for.
const MAX_STALL: Duration = Duration::from_secs(600);
/// The most bytes of one `write` and of one `read`, as the contract says.
pub const MAX_CALL_BYTES: usize = 1 << 20;
/// What one `read` asks of the system at most: enough for a whole record of TLS, and little to hold for a small answer.
const READ_BYTES: usize = 64 << 10;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How to encrypt; none to speak in the clear.
    pub tls: Option<Tls>,
    /// Milliseconds for which nothing may move: 60 000 without it, at most 600 000.
    pub timeout_ms: Option<u32>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The name or address that the certificate must bear.
    pub server_name: String,
    /// Whose certificates count.
    pub trust: Trust,
}

impl Target {
    /// Where it is, for grants and messages.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// An open connection.
pub struct Connection {
    shared: Arc<Shared>,
    writer: Half<Writer>,
    bandwidth: Bandwidth,
}

/// What a stream of the connection needs, too.
struct Shared {
    place: String,
    patience: Duration,
    reader: Half<Reader>,
    /// Raised when the run closes the connection under whoever waits for it.
    cut: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Connection").field(&self.shared.place).finish()
    }
}

impl Connection {
    /// Connects, and makes the TLS handshake.
    ///
    /// # Errors
    /// `Denied` (an address without permission, an untrusted certificate); `Unavailable`; `NotFound` (no such host); `Invalid`;
    /// `Cancelled`.
    pub async fn open(
        target: &Target,
        permission: &AddressPermission<'_>,
        bandwidth: &Bandwidth,
        stop: &Stop,
    ) -> Result<Self, Error> {
        // A peer on this machine may answer before the wait below looks.
        stop.check()?;
        let place = target.place();
        let connecting = connect::open(target, permission);
        let opened = tokio::select! {
            opened = tokio::time::timeout(CONNECT, connecting) => opened,
            () = stop.raised() => return Err(stop::cancelled()),
        };
        let (reader, writer) = opened.map_err(|_| {
            let why = format!("no connection within {} s", CONNECT.as_secs());
            failure::unavailable(&place, &why)
        })??;
        let patience = target.timeout_ms.map(|time| Duration::from_millis(time.into()));
        Ok(Self {
            shared: Arc::new(Shared {
                place,
                patience: patience.unwrap_or(STALL).min(MAX_STALL),
                reader: Half::new(reader),
                cut: AtomicBool::new(false),
            }),
            writer: Half::new(writer),
            bandwidth: bandwidth.clone(),
        })
    }

    /// Where it leads, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.shared.place
    }

    /// Sends all of the bytes.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`; `Invalid` for too many, and after [`Connection::shut`].
    pub async fn write(&self, bytes: Vec<u8>, stop: &Stop) -> Result<(), Error> {
        if bytes.len() > MAX_CALL_BYTES {
            let message = format!("one write takes at most {MAX_CALL_BYTES} bytes");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut writer = self.writer.take(&self.shared.place)?;
        self.pass(&mut writer, Bytes::from(bytes), stop).await?;
        self.flush(&mut writer, stop).await?;
        self.writer.give(writer);
        Ok(())
    }

    /// Sends a whole content and gives its length.
    ///
    /// # Errors
    /// As [`Connection::write`], and what broke the content.
    pub async fn send(&self, content: Content, stop: &Stop) -> Result<u64, Error> {
        let mut writer = self.writer.take(&self.shared.place)?;
        let mut sent = 0;
        match content {
            Content::Bytes(bytes) => {
                sent = bytes.len() as u64;
                self.pass(&mut writer, Bytes::from_owner(Owned(bytes)), stop)
                    .await?;
            }
            Content::Stream { reader, .. } => {
                let mut pieces = feed(reader, self.bandwidth.upload.piece());
                loop {
                    let piece = tokio::select! {
                        piece = pieces.recv() => piece,
                        () = stop.raised() => return Err(stop::cancelled()),
                    };
                    let piece = piece.unwrap_or_else(|| {
                        Err(Error::new(ErrorKind::Other, "what reads the content stopped"))
                    })?;
                    if piece.is_empty() {
                        break;
                    }
                    sent += piece.len() as u64;
                    self.pass(&mut writer, piece, stop).await?;
                }
            }
        }
        self.flush(&mut writer, stop).await?;
        self.writer.give(writer);
        Ok(sent)
    }

    /// Tells the other side that no more will be written.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`.
    pub async fn shut(&self, stop: &Stop) -> Result<(), Error> {
        let Some(mut writer) = self.writer.end(&self.shared.place)? else {
            return Ok(());
        };
        let shutting = async { writer.shutdown().await };
        self.shared.within(stop, "nothing could be sent", shutting).await
    }

    /// The next bytes, at most `most`; empty once the other side has ended.
    ///
    /// # Errors
    /// `Unavailable`, `Cancelled`; `Invalid` while a stream is being read.
    pub async fn read(&self, most: usize, stop: &Stop) -> Result<Vec<u8>, Error> {
        let mut reader = self.shared.reader.take(&self.shared.place)?;
        let mut piece = vec![0; most.clamp(1, READ_BYTES)];
        let reading = async { reader.read(&mut piece).await };
        let count = self.shared.within(stop, "nothing came", reading).await?;
        self.bandwidth.download.wait(count, stop).await?;
        self.shared.reader.give(reader);
        piece.truncate(count);
        Ok(piece)
    }

    /// The next `length` bytes as a stream, all to the end without a length. Dropping it early breaks the connection.
    ///
    /// # Errors
    /// `Invalid` while another one is being read; `Unavailable` if the connection is gone.
    pub fn receive(&self, length: Option<u64>, stop: &Stop) -> Result<Box<dyn Read + Send>, Error> {
        let reader = self.shared.reader.lend(&self.shared.place)?;
        let throttle = self.bandwidth.download.clone();
        Ok(stream::start(&self.shared, reader, length, throttle, stop))
    }

    /// Says goodbye and closes the connection.
    pub async fn close(&self) {
        if let Ok(Some(mut writer)) = self.writer.end(&self.shared.place)
            && !matches!(tokio::time::timeout(GOODBYE, writer.shutdown()).await, Ok(Ok(())))
        {
            tracing::debug!(place = self.place(), "the other side didn't hear the goodbye");
        }
        self.cut();
    }

    /// Closes the connection under whoever waits for it.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
        self.writer.discard();
        self.shared.reader.discard();
    }

    /// Writes in pieces, so that a slow line isn't taken for one that stands still.
    async fn pass(&self, writer: &mut Writer, bytes: Bytes, stop: &Stop) -> Result<(), Error> {
        let throttle = &self.bandwidth.upload;
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(throttle.piece()));
            throttle.wait(piece.len(), stop).await?;
            let writing = async { writer.write_all(&piece).await };
            self.shared.within(stop, "nothing could be sent", writing).await?;
        }
        Ok(())
    }

    async fn flush(&self, writer: &mut Writer, stop: &Stop) -> Result<(), Error> {
        let flushing = async { writer.flush().await };
        self.shared.within(stop, "nothing could be sent", flushing).await
    }
}

impl Shared {
    /// One step of a call: it ends with the time, the run, and the connection.
    async fn within<T>(
        &self,
        stop: &Stop,
        stalled: &str,
        work: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, Error> {
        let done = tokio::select! {
            done = tokio::time::timeout(self.patience, work) => done,
            () = stop.raised() => return Err(stop::cancelled()),
            () = self.was_cut() => return Err(failure::unavailable(&self.place, "the connection was closed")),
        };
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failure::broken(&self.place, &error)),
            Err(_) => {
                let why = format!("{stalled} for {} s", self.patience.as_secs_f64());
                Err(failure::unavailable(&self.place, &why))
            }
        }
    }

    async fn was_cut(&self) {
        while !self.cut.load(Ordering::Relaxed) {
            tokio::time::sleep(stop::POLL).await;
        }
    }
}

/// Bytes of the backup, sent without a copy of them.
struct Owned(Arc<Vec<u8>>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
