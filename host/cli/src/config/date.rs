//! Dates as people write them, turned into whole Unix seconds.
//!
//! A date without a time zone is read in the zone given by the caller. A date that names only
//! a day or a minute means its last second: `--at 2026-03-01` finds the backups of that day.

use freezer_format::name::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A point in time as written, before its time zone is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateText {
    /// Exact: Unix seconds or a date with an offset.
    Exact(i64),
    /// A wall clock reading, the last second of what was named.
    Civil(DateTime),
}

/// Why a text is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DateError {
    /// None of the forms.
    #[error("dates are YYYY-MM-DD, YYYY-MM-DD HH:MM[:SS], RFC 3339 or Unix seconds")]
    Form,
    /// The form is right, the value isn't: a 30th of February, hour 25.
    #[error("no such date: {0}")]
    Value(String),
}

impl std::str::FromStr for DateText {
    type Err = DateError;

    fn from_str(text: &str) -> Result<DateText, DateError> {
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(DateText::Exact).map_err(|_| DateError::Form);
        }
        if let Ok(exact) = text.parse::<jiff::Timestamp>() {
            return Ok(DateText::Exact(exact.as_second()));
        }
        let (day, time) = match text.split_once([' ', 'T', 't']) {
            Some((day, time)) => (day, Some(time)),
            None => (text, None),
        };
        let day = parse_day(day)?;
        let time = match time {
            Some(time) => parse_time(time)?,
            None => END_OF_DAY,
        };
        Ok(DateText::Civil(day.to_datetime(time)))
    }
}

/// The last second of a day.
const END_OF_DAY: Time = Time::constant(23, 59, 59, 0);

impl DateText {
    /// The Unix second it means in `zone`.
    ///
    /// # Errors
    /// When the reading lies outside what the calendar can hold.
    pub(crate) fn in_zone(self, zone: &TimeZone) -> Result<Timestamp, DateError> {
        match self {
            DateText::Exact(seconds) => Ok(Timestamp(seconds)),
            DateText::Civil(civil) => civil
                .to_zoned_datetime(zone.clone())
                .map(|zoned| Timestamp(zoned.timestamp().as_second()))
                .map_err(|error| DateError::Value(error.to_string())),
        }
    }
}

/// `YYYY-MM-DD`, nothing else.
fn parse_day(text: &str) -> Result<Date, DateError> {
    let fields = numbers::<3>(text, '-', &[4, 2, 2]).ok_or(DateError::Form)?;
    let value = |_| DateError::Value(text.to_owned());
    let small = |number: u32| i8::try_from(number).map_err(|_| DateError::Form);
    let year = i16::try_from(fields[0]).map_err(|_| DateError::Form)?;
    Date::new(year, small(fields[1])?, small(fields[2])?).map_err(value)
}

/// `HH:MM` or `HH:MM:SS`.
fn parse_time(text: &str) -> Result<Time, DateError> {
    let [hour, minute, second] = match numbers::<3>(text, ':', &[2, 2, 2]) {
        Some(fields) => fields,
        None => {
            let [hour, minute] = numbers::<2>(text, ':', &[2, 2]).ok_or(DateError::Form)?;
            [hour, minute, 59]
        }
    };
    let small = |number: u32| i8::try_from(number).map_err(|_| DateError::Form);
    Time::new(small(hour)?, small(minute)?, small(second)?, 0).map_err(|_| DateError::Value(text.to_owned()))
}

/// Exactly `N` numbers of the given digit counts between `separator`s.
fn numbers<const N: usize>(text: &str, separator: char, widths: &[usize; N]) -> Option<[u32; N]> {
    let mut fields = [0; N];
    let mut parts = text.split(separator);
    for (field, width) in fields.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != *width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *field = part.parse().ok()?;
    }
    parts.next().is_none().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1795552886", 1_795_552_886)]
    #[case("0", 0)]
    #[case("2026-11-24T20:00:00Z", 1_795_550_400)]
    #[case("2026-11-24T22:00:00.5+02:00", 1_795_550_400)]
    #[case("2026-11-24 21:00:00", 1_795_550_400)]
    #[case("2026-11-24T21:00:00", 1_795_550_400)]
    #[case("2026-11-24 21:00", 1_795_550_459)]
    #[case("2026-11-24", 1_795_561_199)]
    fn dates_without_a_zone_are_read_in_the_given_one(#[case] text: &str, #[case] seconds: i64) {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let date: DateText = text.parse().expect("a date");
        assert_eq!(date.in_zone(&zone), Ok(Timestamp(seconds)));
    }

    #[rstest]
    #[case("", DateError::Form)]
    #[case("yesterday", DateError::Form)]
    #[case("2026-1-1", DateError::Form)]
    #[case("2026-11-24 9:00", DateError::Form)]
    #[case("2026-11-24 09:00:00:00", DateError::Form)]
    #[case("2026-02-30", DateError::Value("2026-02-30".into()))]
    #[case("2026-02-03 25:00", DateError::Value("25:00".into()))]
    #[case("99999999999999999999", DateError::Form)]
    fn other_texts_are_refused(#[case] text: &str, #[case] error: DateError) {
        assert_eq!(text.parse::<DateText>(), Err(error));
    }
}
