//! zstd frames, each with its content size and checksum. Incompressible blocks are stored by the library itself.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::grow;

pub(super) struct ZstdEncoder(Compressor<'static>);

impl ZstdEncoder {
    pub(super) fn new(level: u32) -> io::Result<Self> {
        let mut compressor = Compressor::new(i32::try_from(level).unwrap_or(i32::MAX))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self(compressor))
    }

    pub(super) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        grow(out, compress_bound(raw.len()));
        self.0.compress_to_buffer(raw, &mut out[..])
    }
}
