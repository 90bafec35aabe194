//! bzip2 frames: one stream each. 900 000 bytes of input fill one block of level 9.

use std::io;

use bzip2::{Action, Compress, Compression, Status};

use super::{frame_bound, grow};

pub(super) struct Bzip2Encoder(Compression);

impl Bzip2Encoder {
    pub(super) fn new(level: u32) -> Self {
        Self(Compression::new(level))
    }

    pub(super) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        grow(out, frame_bound(raw.len()));
        // The library has no way to begin anew; its 8 MiB are cheap beside the work on a frame.
        let mut stream = Compress::new(self.0, 30);
        loop {
            let (read, written) = (stream.total_in() as usize, stream.total_out() as usize);
            match stream
                .compress(&raw[read..], &mut out[written..], Action::Finish)
                .map_err(io::Error::other)?
            {
                Status::StreamEnd => return Ok(stream.total_out() as usize),
                _ if stream.total_out() as usize == written && stream.total_in() as usize == read => {
                    return Err(io::Error::other("bzip2 made no progress"));
                }
                _ => {}
            }
        }
    }
}
