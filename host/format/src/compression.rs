//! The compressions of a stored stream: their names, frame sizes, level ranges and magic bytes.
//!
//! Compressing itself is the pipeline's work. Frame sizes are bytes of tar input (stored-format: frames).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a stream is compressed: independent frames of [`Compression::frame_bytes`] input each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Stored as it is.
    None,
    /// One gzip member per frame.
    Gzip,
    /// One bzip2 stream per frame.
    Bzip2,
    /// One xz stream per frame.
    Xz,
    /// One zstd frame per frame.
    Zstd,
}

impl Compression {
    /// All compressions, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Bzip2, Self::Xz, Self::Zstd, Self::None];

    /// The word for options, manifest and `metadata`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// The name that the original knows; `None` if it can't read this compression.
    pub fn original_name(self) -> Option<&'static str> {
        match self {
            Self::Gzip | Self::Bzip2 | Self::Xz => Some(self.name()),
            Self::None | Self::Zstd => None,
        }
    }

    /// Bytes of input per frame. Smaller frames cost ratio, larger ones cost a one-file restore and memory.
    pub fn frame_bytes(self) -> u64 {
        match self {
            Self::None | Self::Gzip => 1 << 20,
            Self::Bzip2 => 900_000,
            Self::Xz | Self::Zstd => 4 << 20,
        }
    }

    /// Levels that can be asked for; empty range for [`Compression::None`].
    pub fn levels(self) -> RangeInclusive<u32> {
        match self {
            Self::None => 0..=0,
            Self::Gzip => 1..=12,
            Self::Bzip2 => 1..=9,
            Self::Xz => 0..=9,
            Self::Zstd => 1..=19,
        }
    }

    /// The level that is taken when none is asked for.
    pub fn default_level(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Gzip | Self::Xz => 6,
            Self::Bzip2 => 9,
            Self::Zstd => 3,
        }
    }

    /// Tells the compression from a stream's first bytes (six are enough); `None` if no magic fits.
    pub fn detect(start: &[u8]) -> Option<Self> {
        if start.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if start.starts_with(b"BZh") {
            Some(Self::Bzip2)
        } else if start.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Some(Self::Xz)
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// The program that decompresses a stream on its standard input.
    pub fn decompress_command(self) -> &'static str {
        match self {
            Self::None => "cat",
            Self::Gzip => "gzip -d",
            Self::Bzip2 => "bzip2 -d",
            Self::Xz => "xz -d",
            Self::Zstd => "zstd -d",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == text)
            .ok_or_else(|| UnknownCompression {
                text: text.chars().take(40).collect(),
            })
    }
}

/// A word that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {text:?}: gzip, bzip2, xz, zstd and none are known")]
pub struct UnknownCompression {
    /// The word, cut to 40 characters.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn names_round_trip() {
        for compression in Compression::ALL {
            assert_eq!(compression.name().parse(), Ok(compression));
        }
        assert!("lzma".parse::<Compression>().is_err());
    }

    #[rstest]
    #[case(&[0x1f, 0x8b, 8], Some(Compression::Gzip))]
    #[case(b"BZh9", Some(Compression::Bzip2))]
    #[case(&[0xfd, b'7', b'z', b'X', b'Z', 0], Some(Compression::Xz))]
    #[case(&[0x28, 0xb5, 0x2f, 0xfd], Some(Compression::Zstd))]
    #[case(b"Salted__", None)]
    #[case(b"", None)]
    fn magic_tells_the_compression(#[case] start: &[u8], #[case] expected: Option<Compression>) {
        assert_eq!(Compression::detect(start), expected);
    }

    #[test]
    fn default_levels_can_be_asked_for() {
        for compression in Compression::ALL {
            assert!(compression.levels().contains(&compression.default_level()));
        }
    }

    #[test]
    fn the_original_reads_three_of_them() {
        let known: Vec<_> = Compression::ALL
            .into_iter()
            .filter_map(Compression::original_name)
            .collect();
        assert_eq!(known, ["gzip", "bzip2", "xz"]);
    }
}
