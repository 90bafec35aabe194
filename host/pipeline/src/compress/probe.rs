//! Tells whether a frame is worth compressing at all: pictures, films and archives aren't.

use std::io;

use libdeflater::Compressor;

use super::grow;

/// Bytes looked at, as four pieces spread over the frame.
const SAMPLE_BYTES: usize = 64 << 10;
/// Compressing must save more than this part of the sample: 2 %.
const LEAST_SAVING: usize = 50;
/// Sum of squared byte counts, relative to that of evenly spread bytes, above which a sample surely compresses by
/// Huffman codes alone. The cheap test spares the trial for nearly all compressible frames.
const CLEARLY_UNEVEN: u64 = 2;

pub(super) struct Probe {
    compressor: Compressor,
    sample: Vec<u8>,
    out: Vec<u8>,
}

impl Probe {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: super::gzip::compressor(1)?,
            sample: Vec::new(),
            out: Vec::new(),
        })
    }

    pub(super) fn is_incompressible(&mut self, raw: &[u8]) -> bool {
        self.sample.clear();
        if raw.len() <= SAMPLE_BYTES {
            self.sample.extend_from_slice(raw);
        } else {
            let piece = SAMPLE_BYTES / 4;
            for part in 0..4 {
                let start = (raw.len() - piece) / 3 * part;
                self.sample.extend_from_slice(&raw[start..start + piece]);
            }
        }
        if is_uneven(&self.sample) {
            return false;
        }
        let bound = self.compressor.deflate_compress_bound(self.sample.len());
        grow(&mut self.out, bound);
        match self.compressor.deflate_compress(&self.sample, &mut self.out) {
            Ok(bytes) => bytes > self.sample.len() - self.sample.len() / LEAST_SAVING,
            Err(_) => false,
        }
    }
}

/// Whether bytes are so unevenly spread that no trial is needed. Small samples are too: they decide nothing.
fn is_uneven(sample: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    let even = (sample.len() as u64).pow(2) / 256;
    squares > even * CLEARLY_UNEVEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_incompressible_and_text_is_not() {
        let mut probe = Probe::new().unwrap();
        let mut noise = vec![0; 300_000];
        getrandom::fill(&mut noise).unwrap();
        assert!(probe.is_incompressible(&noise));
        assert!(!probe.is_incompressible(&b"some text ".repeat(10_000)));
        // Evenly spread bytes that repeat: only the trial can tell.
        let even: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        assert!(!probe.is_incompressible(&even));
    }
}
