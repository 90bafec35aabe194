//! The memory budget of a backup, as a sum. Nothing on the road grows with the size, number or depth of files.
//!
//! ```text
//!   segments   (uploads + 1) × segment             one is filled while the others are under way
//! + side lanes 2 × side segment                    index and snapshot file, up to 4 MiB each
//! + frames     (workers + 1) × (frame + its bound) raw and compressed buffers, recycled
//! + encoders   workers × encoder                   1 MiB (gzip) to 64 MiB (zstd from level 13 on)
//! + program    12 MiB                              its code, stacks and plugins
//! + walk       see source/directory.rs: 16 MiB of names and states, then temporary files
//! ```
//! Where a storage takes so many segments only, those of an object that needs more than half of them grow to 16 × (see
//! `segment/growth.rs`): two of them at most exist then, one filled and one under way. That is the one thing that grows with
//! the size of a backup, in `s3` from 156 GiB on.
//!
//! Segments come first, since their size is the user's or the storage's; then as many workers as fit, one at least.
//! A second upload in flight is given up before a second worker: a local storage gains nothing by it.

use freezer_format::compression::Compression;

use crate::compress::{encoder_bytes, frame_bound};
use crate::store::Limits;

/// Segments of the side lanes: large enough for few requests, small enough not to matter in the sum.
const SIDE_SEGMENT_BYTES: u64 = 4 << 20;

/// Most segments under way at once: more hide no latency that four don't.
const MOST_UPLOADS: u64 = 4;

/// What the program itself takes of its budget: its code, stacks and running plugins.
const PROGRAM_BYTES: u64 = 12 << 20;

/// The bytes of buffers that a backup takes at least, with one upload and one worker: less is asked for in vain.
#[must_use]
pub fn least_memory(
    segment_bytes: u64,
    limits: &Limits,
    (compression, level): (Compression, Option<u32>),
) -> u64 {
    Sums::new(segment_bytes, limits, (compression, level)).of(1, 1)
}

/// The sizes that the sum is made of.
struct Sums {
    segment: u64,
    side: u64,
    buffers: u64,
    encoder: u64,
}

impl Sums {
    fn new(segment_bytes: u64, limits: &Limits, (compression, level): (Compression, Option<u32>)) -> Self {
        let clamp = |bytes: u64| {
            bytes
                .min(limits.max_segment_bytes)
                .max(limits.min_segment_bytes)
                .max(1)
        };
        let segment = clamp(segment_bytes);
        let frame = compression.frame_bytes();
        Self {
            segment,
            side: clamp(SIDE_SEGMENT_BYTES.min(segment)),
            buffers: frame + frame_bound(frame as usize) as u64,
            encoder: encoder_bytes(compression, level),
        }
    }

    fn of(&self, uploads: u64, workers: u64) -> u64 {
        (uploads + 1)
            .saturating_mul(self.segment)
            .saturating_add(2 * self.side + (workers + 1) * self.buffers + workers * self.encoder)
    }
}

/// How many of each thing a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Bytes of a segment of the data object.
    pub(crate) segment_bytes: u64,
    /// Bytes of a segment of the other objects.
    pub(crate) side_segment_bytes: u64,
    /// Segments under way at once.
    pub(crate) uploads: usize,
    /// Threads that compress.
    pub(crate) workers: usize,
    /// Frames that exist at once, as raw and as compressed buffers each.
    pub(crate) frames: usize,
}

impl Plan {
    /// Divides `memory_bytes`.
    pub(crate) fn new(
        memory_bytes: u64,
        segment_bytes: u64,
        workers: usize,
        limits: &Limits,
        (compression, level): (Compression, Option<u32>),
    ) -> Self {
        let sums = Sums::new(segment_bytes, limits, (compression, level));
        let memory_bytes = memory_bytes.saturating_sub(PROGRAM_BYTES);
        let wanted = (workers as u64).max(1);
        let most = u64::from(limits.parallel_calls).clamp(1, MOST_UPLOADS);
        let uploads = (1..=most)
            .rev()
            .find(|&uploads| sums.of(uploads, wanted) <= memory_bytes)
            .unwrap_or(1);
        let workers = (1..=wanted)
            .rev()
            .find(|&workers| sums.of(uploads, workers) <= memory_bytes)
            .unwrap_or(1);
        Self {
            segment_bytes: sums.segment,
            side_segment_bytes: sums.side,
            uploads: uploads as usize,
            workers: workers as usize,
            frames: workers as usize + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits {
        max_segments: 1000,
        min_segment_bytes: 1,
        max_segment_bytes: 5 << 30,
        parallel_calls: 4,
    };

    fn plan(memory: u64, segment: u64, compression: Compression) -> Plan {
        Plan::new(memory, segment, 2, &LIMITS, (compression, None))
    }

    #[test]
    fn the_defaults_fit_into_128_mib() {
        let gzip = plan(128 * MIB, 32 * MIB, Compression::Gzip);
        assert_eq!((gzip.uploads, gzip.workers), (2, 2));
        let zstd = plan(128 * MIB, 32 * MIB, Compression::Zstd);
        assert_eq!((zstd.uploads, zstd.workers), (1, 2));
        let xz = plan(128 * MIB, 32 * MIB, Compression::Xz);
        assert_eq!((xz.uploads, xz.workers), (1, 1));
    }

    #[test]
    fn a_small_budget_still_works() {
        let small = plan(MIB, 32 * MIB, Compression::Gzip);
        assert_eq!((small.uploads, small.workers, small.frames), (1, 1, 2));
        let least = least_memory(32 * MIB, &LIMITS, (Compression::Gzip, None));
        assert!((72 * MIB..80 * MIB).contains(&least), "{least}");
    }

    #[test]
    fn a_storage_s_limits_win() {
        let limits = Limits {
            min_segment_bytes: 5 * MIB,
            max_segment_bytes: 8 * MIB,
            ..LIMITS
        };
        let plan = Plan::new(64 * MIB, 32 * MIB, 2, &limits, (Compression::Gzip, None));
        assert_eq!((plan.segment_bytes, plan.side_segment_bytes), (8 * MIB, 5 * MIB));
    }
}
