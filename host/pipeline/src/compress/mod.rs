//! Turns frames of the tar stream into independent compressed pieces that concatenate to a standard stream.
//!
//! A frame is cut by input size alone, so that frame number = tar offset ÷ frame size. Each worker owns one
//! [`FrameEncoder`]; the order of frames is the queue's business. Reading back is `decompress`.

mod bzip2;
mod gzip;
mod probe;
mod xz;
mod zstd;

use std::io;

use freezer_format::compression::Compression;

/// Compresses one frame after the other, each independent of the others.
pub(crate) struct FrameEncoder {
    compression: Compression,
    codec: Codec,
}

enum Codec {
    None,
    Gzip(gzip::GzipEncoder),
    Bzip2(bzip2::Bzip2Encoder),
    Xz(xz::XzEncoder),
    Zstd(zstd::ZstdEncoder),
}

impl FrameEncoder {
    /// Makes an encoder. A level outside the format's range is brought to its nearest end.
    pub(crate) fn new(compression: Compression, level: Option<u32>) -> io::Result<Self> {
        let range = compression.levels();
        let level = level
            .unwrap_or(compression.default_level())
            .clamp(*range.start(), *range.end());
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip(gzip::GzipEncoder::new(level)?),
            Compression::Bzip2 => Codec::Bzip2(bzip2::Bzip2Encoder::new(level)),
            Compression::Xz => Codec::Xz(xz::XzEncoder::new(level)?),
            Compression::Zstd => Codec::Zstd(zstd::ZstdEncoder::new(level)?),
        };
        Ok(Self { compression, codec })
    }

    /// Compresses `raw` into the start of `out`, which grows as needed and is never shortened, so that it needn't be
    /// cleared for each frame. Answers how many of its bytes count.
    pub(crate) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.codec {
            Codec::None => {
                grow(out, raw.len());
                out[..raw.len()].copy_from_slice(raw);
                Ok(raw.len())
            }
            Codec::Gzip(gzip) => gzip.encode(raw, out),
            Codec::Bzip2(bzip2) => bzip2.encode(raw, out),
            Codec::Xz(xz) => xz.encode(raw, out),
            Codec::Zstd(zstd) => zstd.encode(raw, out),
        }
    }

    /// The compression's name for messages.
    pub(crate) fn name(&self) -> &'static str {
        self.compression.name()
    }
}

/// Upper bound of a compressed frame in bytes: incompressible input plus headers.
pub(crate) fn frame_bound(frame_bytes: usize) -> usize {
    // bzip2 states 1 % + 600 bytes for its worst case, the others less.
    frame_bytes + frame_bytes / 64 + 4096
}

/// Bytes that one encoder holds beside its buffers. Rounded up from measurements of the libraries.
pub(crate) fn encoder_bytes(compression: Compression, level: Option<u32>) -> u64 {
    const MIB: u64 = 1 << 20;
    let level = level.unwrap_or(compression.default_level());
    match (compression, level) {
        (Compression::None, _) => 0,
        (Compression::Gzip, 0..=9) => MIB,
        (Compression::Gzip, _) => 10 * MIB,
        (Compression::Bzip2, _) => 8 * MIB,
        (Compression::Xz, 0..=3) => 32 * MIB,
        (Compression::Xz, _) => 53 * MIB,
        (Compression::Zstd, 0..=5) => 7 * MIB,
        (Compression::Zstd, 6..=12) => 24 * MIB,
        (Compression::Zstd, _) => 64 * MIB,
    }
}

fn grow(out: &mut Vec<u8>, bytes: usize) {
    if out.len() < bytes {
        // Fresh zeros cost nothing until they are written to, unlike those of a resize.
        *out = vec![0; bytes];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Read;

    fn text(bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n: u64| format!("line {} of {n}\n", n * n).into_bytes())
            .take(bytes)
            .collect()
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    fn decode(compression: Compression, stored: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.extend_from_slice(stored),
            Compression::Gzip => {
                flate2::read::MultiGzDecoder::new(stored)
                    .read_to_end(&mut plain)
                    .unwrap();
            }
            Compression::Bzip2 => {
                ::bzip2::read::MultiBzDecoder::new(stored)
                    .read_to_end(&mut plain)
                    .unwrap();
            }
            Compression::Xz => {
                xz2::read::XzDecoder::new_multi_decoder(stored)
                    .read_to_end(&mut plain)
                    .unwrap();
            }
            Compression::Zstd => {
                ::zstd::stream::read::Decoder::new(stored)
                    .unwrap()
                    .read_to_end(&mut plain)
                    .unwrap();
            }
        }
        plain
    }

    #[rstest]
    fn frames_concatenate_to_one_stream(
        #[values(
            Compression::None,
            Compression::Gzip,
            Compression::Bzip2,
            Compression::Xz,
            Compression::Zstd
        )]
        compression: Compression,
    ) {
        let mut encoder = FrameEncoder::new(compression, None).unwrap();
        let (mut out, mut stored, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for frame in [
            text(700_000),
            noise(300_000),
            Vec::new(),
            vec![0; 100_000],
            text(1),
        ] {
            let bytes = encoder.encode(&frame, &mut out).unwrap();
            assert!(
                bytes <= frame_bound(frame.len()),
                "{} became {bytes}",
                frame.len()
            );
            stored.extend_from_slice(&out[..bytes]);
            plain.extend_from_slice(&frame);
        }
        assert!(
            decode(compression, &stored) == plain,
            "{compression} changed the content"
        );
    }

    #[test]
    fn every_level_works_and_levels_out_of_range_are_clamped() {
        let raw = text(50_000);
        for compression in Compression::ALL {
            for level in 0..=30 {
                let mut encoder = FrameEncoder::new(compression, Some(level)).unwrap();
                let mut out = Vec::new();
                let bytes = encoder.encode(&raw, &mut out).unwrap();
                assert!(decode(compression, &out[..bytes]) == raw, "{compression}:{level}");
            }
        }
    }

    #[test]
    fn a_gzip_member_has_no_name_time_or_level_in_its_header() {
        for level in [1, 6, 12] {
            let mut out = Vec::new();
            FrameEncoder::new(Compression::Gzip, Some(level))
                .unwrap()
                .encode(b"text", &mut out)
                .unwrap();
            assert_eq!(out[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        }
    }
}
