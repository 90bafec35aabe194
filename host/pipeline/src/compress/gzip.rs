//! gzip frames: one member each, by libdeflate, with a header that says nothing but "gzip".
//!
//! ```text
//! 1f 8b 08 00  00 00 00 00  00 ff   deflate data   crc32  input size      (RFC 1952; no name, no time)
//! ```

use std::io;

use libdeflater::{CompressionLvl, Compressor};

use super::grow;
use super::probe::Probe;

/// Position of the header byte that tells the level: always 0, so that the bytes depend on the content alone.
const EXTRA_FLAGS: usize = 8;

pub(super) struct GzipEncoder {
    compressor: Compressor,
    stored: Compressor,
    probe: Probe,
}

impl GzipEncoder {
    pub(super) fn new(level: u32) -> io::Result<Self> {
        Ok(Self {
            compressor: compressor(level)?,
            stored: compressor(0)?,
            probe: Probe::new()?,
        })
    }

    pub(super) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let chosen = if self.probe.is_incompressible(raw) {
            &mut self.stored
        } else {
            &mut self.compressor
        };
        grow(out, chosen.gzip_compress_bound(raw.len()));
        let bytes = chosen.gzip_compress(raw, out).map_err(io::Error::other)?;
        out[EXTRA_FLAGS] = 0;
        Ok(bytes)
    }
}

pub(super) fn compressor(level: u32) -> io::Result<Compressor> {
    let level = i32::try_from(level)
        .ok()
        .and_then(|level| CompressionLvl::new(level).ok());
    let level = level.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such level of gzip"))?;
    Ok(Compressor::new(level))
}
