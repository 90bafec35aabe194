//! Decompresses single frames, whole in memory, bounded by the frame size of their level.
//!
//! Called by the restore workers, by `dump` and by `verify`, each with a decoder of its own.

use std::io::Read;

use freezer_format::compression::Compression;
use libdeflater::{DecompressionError, Decompressor};
use xz2::stream::Stream;

/// Most memory that an xz frame may ask for: its dictionary is its frame size (4 MiB), the rest is the decoder's.
const XZ_MEMORY_BYTES: u64 = 32 << 20;

/// Why a frame with the right digest can't be decompressed. Only a broken or hostile writer makes such frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// It isn't what its compression makes.
    #[error("the frame isn't valid {0}")]
    Invalid(Compression),
    /// It holds more than a frame may.
    #[error("the frame holds more than {0} bytes")]
    TooLarge(usize),
}

/// Decompresses frames of one level; reuses its codec's memory.
pub(crate) struct FrameDecoder {
    compression: Compression,
    frame_bytes: usize,
    gzip: Decompressor,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl FrameDecoder {
    /// Makes a decoder for frames of at most `frame_bytes` bytes of archive.
    #[must_use]
    pub(crate) fn new(compression: Compression, frame_bytes: usize) -> Self {
        Self {
            compression,
            frame_bytes,
            gzip: Decompressor::new(),
            zstd: None,
        }
    }

    /// Decompresses one frame into `out`, whose previous content is lost.
    ///
    /// # Errors
    /// The frame is invalid or holds more than a frame may; `out` is then empty.
    pub(crate) fn decode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let decoded = match self.compression {
            Compression::None => copy(frame, self.frame_bytes, out),
            Compression::Gzip => self.decode_gzip(frame, out),
            Compression::Zstd => self.decode_zstd(frame, out),
            Compression::Bzip2 => read_capped(bzip2::read::BzDecoder::new(frame), self.frame_bytes, out),
            Compression::Xz => match Stream::new_stream_decoder(XZ_MEMORY_BYTES, 0) {
                Ok(stream) => read_capped(
                    xz2::read::XzDecoder::new_stream(frame, stream),
                    self.frame_bytes,
                    out,
                ),
                Err(_) => Err(None),
            },
        };
        decoded.map_err(|too_large| {
            out.clear();
            too_large.unwrap_or(FrameError::Invalid(self.compression))
        })
    }

    fn decode_gzip(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Option<FrameError>> {
        out.resize(self.frame_bytes, 0);
        match self.gzip.gzip_decompress(frame, out) {
            Ok(length) => {
                out.truncate(length);
                Ok(())
            }
            Err(DecompressionError::InsufficientSpace) => Err(Some(FrameError::TooLarge(self.frame_bytes))),
            Err(DecompressionError::BadData) => Err(None),
        }
    }

    fn decode_zstd(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Option<FrameError>> {
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            None => self
                .zstd
                .insert(zstd::bulk::Decompressor::new().map_err(|_| None)?),
        };
        // The content size stands in our frames; one that claims more is refused before anything is allocated.
        if let Ok(Some(claimed)) = zstd::zstd_safe::get_frame_content_size(frame)
            && claimed > self.frame_bytes as u64
        {
            return Err(Some(FrameError::TooLarge(self.frame_bytes)));
        }
        out.clear();
        out.reserve(self.frame_bytes);
        decoder
            .decompress_to_buffer(frame, out)
            .map(drop)
            .map_err(|_| None)
    }
}

fn copy(frame: &[u8], frame_bytes: usize, out: &mut Vec<u8>) -> Result<(), Option<FrameError>> {
    if frame.len() > frame_bytes {
        return Err(Some(FrameError::TooLarge(frame_bytes)));
    }
    out.clear();
    out.extend_from_slice(frame);
    Ok(())
}

fn read_capped(reader: impl Read, frame_bytes: usize, out: &mut Vec<u8>) -> Result<(), Option<FrameError>> {
    out.clear();
    // One byte more than allowed tells a frame that is too large from one that fits exactly.
    reader
        .take(frame_bytes as u64 + 1)
        .read_to_end(out)
        .map_err(|_| None)?;
    if out.len() > frame_bytes {
        return Err(Some(FrameError::TooLarge(frame_bytes)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Write;

    fn encode(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => content.to_vec(),
            Compression::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Xz => {
                let mut writer = xz2::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Zstd => zstd::bulk::compress(content, 3).unwrap(),
        }
    }

    #[rstest]
    fn a_frame_gives_its_content(
        #[values(
            Compression::None,
            Compression::Gzip,
            Compression::Bzip2,
            Compression::Xz,
            Compression::Zstd
        )]
        compression: Compression,
        #[values(0, 1, 9_999, 10_000)] length: usize,
    ) {
        let content: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
        let mut decoder = FrameDecoder::new(compression, 10_000);
        let mut out = Vec::new();
        for _ in 0..2 {
            decoder.decode(&encode(compression, &content), &mut out).unwrap();
            assert!(out == content);
        }
    }

    #[rstest]
    fn a_frame_that_swells_beyond_the_frame_size_is_refused(
        #[values(
            Compression::None,
            Compression::Gzip,
            Compression::Bzip2,
            Compression::Xz,
            Compression::Zstd
        )]
        compression: Compression,
    ) {
        let bomb = encode(compression, &vec![0; 5_000_000]);
        let mut out = Vec::new();
        let error = FrameDecoder::new(compression, 10_000)
            .decode(&bomb, &mut out)
            .unwrap_err();
        assert!(matches!(error, FrameError::TooLarge(10_000)), "{error}");
        assert!(out.is_empty() && out.capacity() < 100_000, "{}", out.capacity());
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_said() {
        let invalid = FrameError::Invalid(Compression::Zstd).to_string();
        assert_eq!(invalid, "the frame isn't valid zstd");
        let too_large = FrameError::TooLarge(10_000).to_string();
        assert_eq!(too_large, "the frame holds more than 10000 bytes");
    }

    #[rstest]
    fn a_broken_frame_is_refused(
        #[values(Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd)]
        compression: Compression,
        #[values(0, 3, 11)] kept: usize,
    ) {
        let frame = encode(compression, b"some content that is long enough to be cut");
        let mut out = Vec::new();
        let mut decoder = FrameDecoder::new(compression, 10_000);
        let error = decoder.decode(&frame[..kept], &mut out);
        // An empty bzip2 or xz input ends at once; its digest would have told before.
        assert!(error.is_err() || (kept == 0 && out.is_empty()));
    }
}
