//! How large the next segment of an object is, so that a storage that takes so many segments only takes large objects too.
//!
//! ```text
//! segments used    0 … 1/2    … 5/8    … 6/8    … 7/8    … all
//! size             1 ×        2 ×      4 ×      8 ×      16 ×      of the first, the storage's own maximum at most
//! ```
//! An object gets 4.25 times as large as with segments of one size: 1.3 TiB instead of 312 GiB in 10 000 segments that begin
//! with 32 MiB. Half of them stay as they are, since most objects are small and memory is counted in segments. The size
//! depends on nothing but the segment's number, so an upload that is gone on with is cut alike.

use crate::store::Limits;

/// The growing sizes of one object's segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    first_bytes: u64,
    max_bytes: u64,
    max_segments: u64,
}

impl Growth {
    pub(super) fn new(first_bytes: u64, limits: &Limits) -> Self {
        Self {
            first_bytes,
            max_bytes: limits.max_segment_bytes,
            max_segments: limits.max_segments.into(),
        }
    }

    /// Bytes of the segment behind so many.
    pub(super) fn segment_bytes(self, used: usize) -> u64 {
        let eighths = (used as u64).saturating_mul(8) / self.max_segments.max(1);
        let wanted = match eighths {
            0..4 => 1,
            4 => 2,
            5 => 4,
            6 => 8,
            _ => 16,
        };
        // Whole pieces only: each has a digest.
        let most = (self.max_bytes / self.first_bytes.max(1)).max(1);
        self.first_bytes.saturating_mul(most.min(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(first_bytes: u64, max_segments: u32, max_segment_bytes: u64) -> Growth {
        Growth::new(
            first_bytes,
            &Limits {
                max_segments,
                min_segment_bytes: 1,
                max_segment_bytes,
                parallel_calls: 1,
            },
        )
    }

    fn total(growth: Growth, segments: usize) -> u64 {
        (0..segments).map(|used| growth.segment_bytes(used)).sum()
    }

    #[test]
    fn ten_thousand_segments_take_more_than_a_tebibyte() {
        let s3 = growth(32 << 20, 10_000, 512 << 20);
        assert_eq!(s3.segment_bytes(4999), 32 << 20);
        assert_eq!(s3.segment_bytes(5000), 64 << 20);
        assert_eq!(s3.segment_bytes(9999), 512 << 20);
        assert_eq!(total(s3, 10_000), 42_500 * (32 << 20));
    }

    #[test]
    fn no_segment_is_larger_than_the_storage_takes_and_all_are_of_whole_pieces() {
        for max in [1, 9, 10, 25, 100, u64::MAX] {
            for used in 0..16 {
                let bytes = growth(10, 16, max).segment_bytes(used);
                assert!(bytes == 10 || bytes <= max, "{max} {used}: {bytes}");
                assert_eq!(bytes % 10, 0);
            }
        }
    }

    #[test]
    fn few_segments_grow_too() {
        assert_eq!(total(growth(1, 1, 100), 1), 1);
        let sizes: Vec<u64> = (0..8).map(|used| growth(1, 8, 100).segment_bytes(used)).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 2, 4, 8, 16]);
    }
}
