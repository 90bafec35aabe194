//! xz frames: one stream each, with a dictionary of the frame's size and CRC64.

use std::io;

use freezer_format::compression::Compression;
use xz2::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use super::probe::Probe;
use super::{frame_bound, grow};

/// For incompressible frames: the fastest preset, which stores what it can't shorten.
const FASTEST: u32 = 0;

pub(super) struct XzEncoder {
    level: u32,
    probe: Probe,
}

impl XzEncoder {
    pub(super) fn new(level: u32) -> io::Result<Self> {
        filters(level)?;
        Ok(Self {
            level,
            probe: Probe::new()?,
        })
    }

    pub(super) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let level = if self.probe.is_incompressible(raw) {
            FASTEST
        } else {
            self.level
        };
        grow(out, frame_bound(raw.len()));
        let mut stream =
            Stream::new_stream_encoder(&filters(level)?, Check::Crc64).map_err(io::Error::from)?;
        loop {
            let (read, written) = (stream.total_in() as usize, stream.total_out() as usize);
            let status = stream.process(&raw[read..], &mut out[written..], Action::Finish);
            match status.map_err(io::Error::from)? {
                Status::StreamEnd => return Ok(stream.total_out() as usize),
                _ if stream.total_out() as usize == written && stream.total_in() as usize == read => {
                    return Err(io::Error::other("xz made no progress"));
                }
                _ => {}
            }
        }
    }
}

fn filters(level: u32) -> io::Result<Filters> {
    let mut options = LzmaOptions::new_preset(level).map_err(io::Error::from)?;
    options.dict_size(u32::try_from(Compression::Xz.frame_bytes()).map_err(io::Error::other)?);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Ok(filters)
}
