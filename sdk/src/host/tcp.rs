//! A byte connection, for protocols that the host doesn't know. Needs the grant `tcp` for host and port.

use crate::error::Result;
use crate::host::backend::tcp as backend;
use crate::host::bodies::Body;

pub use crate::bindings::imports::freezer::plugin::tcp::{Target, Tls, Trust};

/// Connects, and makes the TLS handshake if asked.
///
/// # Errors
/// `denied` (no grant, certificate not trusted); `unavailable`; `not-found`; `invalid` (no such setting, too many connections).
pub fn connect(target: &Target) -> Result<Connection> {
    Ok(Connection(backend::connect(target)?))
}

/// An open connection. After any error but `invalid` it is of no more use.
#[derive(Debug)]
pub struct Connection(backend::Connection);

impl Connection {
    /// Sends all of the bytes, at most 1 MiB a call.
    ///
    /// # Errors
    /// `unavailable`, `cancelled`, `invalid`.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write(bytes)?)
    }

    /// The next bytes, at most `max` (clamped to 1 MiB); empty once the other side has ended.
    ///
    /// # Errors
    /// `unavailable`, `cancelled`; `invalid` while a stream from [`Connection::receive`] isn't used up.
    pub fn read(&self, max: u32) -> Result<Vec<u8>> {
        Ok(self.0.read(max)?)
    }

    /// Sends a whole body and gives its length; its bytes don't enter the plugin.
    ///
    /// # Errors
    /// As [`Connection::write`], and what broke the body.
    pub fn send(&self, content: &Body) -> Result<u64> {
        Ok(self.0.send(&content.0)?)
    }

    /// The next `length` bytes as a stream (all to the end without a length).
    ///
    /// # Errors
    /// `invalid` while another one isn't used up. The stream fails if the bytes end before.
    pub fn receive(&self, length: Option<u64>) -> Result<Body> {
        Ok(Body(self.0.receive(length)?))
    }

    /// Tells the other side that no more will be written.
    ///
    /// # Errors
    /// `unavailable`.
    pub fn shut(&self) -> Result<()> {
        Ok(self.0.shut()?)
    }
}
