//! Backup times as people read them: UTC, whole seconds.

use freezer_format::name::Timestamp;

/// `2026-03-01T02:00:00Z`; a number of seconds that is no date stays a number.
pub(crate) fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shown_as_a_date() {
        assert_eq!(date(Timestamp(1_772_330_400)), "2026-03-01T02:00:00Z");
        assert_eq!(date(Timestamp(i64::MAX)), i64::MAX.to_string());
    }
}
