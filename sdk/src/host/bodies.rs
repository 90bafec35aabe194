//! Bytes that the host holds, handed from call to call without entering the plugin.

use crate::error::{Error, Result};
use crate::host::backend::bodies as backend;

pub use crate::bindings::imports::freezer::plugin::bodies::DigestAlgorithm;

/// Most bytes of a document made by a plugin.
pub const DOCUMENT_BYTES: usize = 16 << 20;
/// Most bytes that one [`Body::read`] returns.
pub const READ_BYTES: u32 = 1 << 20;

/// A run of bytes. *Replayable* ones (segments, documents) can be used again and again; *streams* flow once. Dropping a stream
/// early closes what feeds it.
#[derive(Debug)]
pub struct Body(pub(crate) backend::Body);

impl Body {
    /// Makes a small replayable document.
    ///
    /// # Errors
    /// `invalid` above [`DOCUMENT_BYTES`].
    pub fn from_bytes(content: &[u8]) -> Result<Self> {
        if content.len() > DOCUMENT_BYTES {
            let bytes = content.len();
            return Err(Error::invalid(format!(
                "a document of {bytes} bytes is too large; {DOCUMENT_BYTES} may be"
            )));
        }
        Ok(Body(backend::Body::new(content)))
    }

    /// The length in bytes, if it is known before the body is read.
    pub fn size(&self) -> Option<u64> {
        self.0.size()
    }

    /// True if the body can be used more than once.
    pub fn is_replayable(&self) -> bool {
        self.0.is_replayable()
    }

    /// The digest of all bytes in lower-case hex, computed by the host.
    ///
    /// # Errors
    /// `unsupported` for a stream; `denied` for the backup's own bytes without the grant `bodies`.
    pub fn digest(&self, algorithm: DigestAlgorithm) -> Result<String> {
        Ok(self.0.digest(algorithm)?)
    }

    /// The next bytes, at most `max` (clamped to [`READ_BYTES`]); empty at the end.
    ///
    /// # Errors
    /// `denied` for the backup's own bytes without the grant `bodies`; else what broke the stream.
    pub fn read(&self, max: u32) -> Result<Vec<u8>> {
        Ok(self.0.read(max.clamp(1, READ_BYTES))?)
    }

    /// All bytes that are left.
    ///
    /// # Errors
    /// As [`Body::read`]; `invalid` if there are more than `limit`.
    pub fn read_to_end(&self, limit: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let more = self.read(READ_BYTES)?;
            if more.is_empty() {
                return Ok(content);
            }
            if content.len().saturating_add(more.len()) > limit {
                return Err(Error::invalid(format!("longer than {limit} bytes")));
            }
            content.extend_from_slice(&more);
        }
    }
}
