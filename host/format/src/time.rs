//! A file's time with nanoseconds, before 1970 and after 2106 alike.
//!
//! Used by tar members, index rows and the walk. Backup times are whole seconds and live in [`crate::name`].

/// A point in time: seconds since 1970 (rounded down, may be negative) and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded towards minus infinity.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, 0 to 999 999 999.
    pub nanoseconds: u32,
}

const NANOS: i128 = 1_000_000_000;

impl Time {
    /// Makes a time; nanoseconds of a second or more are carried, saturating at the ends of the range.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self::from_nanos(i128::from(seconds) * NANOS + i128::from(nanoseconds))
    }

    /// Nanoseconds since 1970, negative before it.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * NANOS + i128::from(self.nanoseconds)
    }

    /// The time that lies `nanos` nanoseconds after 1970; beyond the range of `seconds` it saturates.
    pub fn from_nanos(nanos: i128) -> Self {
        let seconds = nanos.div_euclid(NANOS);
        let nanoseconds = u32::try_from(nanos.rem_euclid(NANOS)).unwrap_or(0);
        match i64::try_from(seconds) {
            Ok(seconds) => Self { seconds, nanoseconds },
            Err(_) if seconds < 0 => Self {
                seconds: i64::MIN,
                nanoseconds: 0,
            },
            Err(_) => Self {
                seconds: i64::MAX,
                nanoseconds: 999_999_999,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_second_before_1970_is_minus_one_and_a_half_billion() {
        let time = Time::from_nanos(-500_000_000);
        assert_eq!(
            time,
            Time {
                seconds: -1,
                nanoseconds: 500_000_000
            }
        );
        assert_eq!(time.as_nanos(), -500_000_000);
    }

    #[test]
    fn far_times_saturate() {
        assert_eq!(Time::from_nanos(i128::MAX).seconds, i64::MAX);
        assert_eq!(Time::from_nanos(i128::MIN).seconds, i64::MIN);
        assert_eq!(Time::new(i64::MAX, u32::MAX).seconds, i64::MAX);
    }

    proptest! {
        #[test]
        fn nanos_round_trip(seconds: i64, nanoseconds in 0u32..1_000_000_000) {
            let time = Time { seconds, nanoseconds };
            prop_assert_eq!(Time::from_nanos(time.as_nanos()), time);
        }

        #[test]
        fn order_is_the_order_of_nanos(a: (i64, u32), b: (i64, u32)) {
            let (a, b) = (Time::new(a.0, a.1), Time::new(b.0, b.1));
            prop_assert_eq!(a.cmp(&b), a.as_nanos().cmp(&b.as_nanos()));
        }
    }
}
