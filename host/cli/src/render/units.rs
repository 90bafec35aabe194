//! Numbers for people: bytes, rates, durations, counts, dates.

use std::time::Duration;

use freezer_format::name::Timestamp;

/// `1.2 GiB`; exact below 1 KiB.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, rounded; the next unit takes over where rounding reaches 1024.
    let mut unit = 0;
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (1 << (10 * (unit + 1) - 1))) >> (10 * (unit + 1));
    while unit + 1 < UNITS.len() && tenths(unit) >= 10_240 {
        unit += 1;
    }
    let tenths = tenths(unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `12.3 MiB/s`.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let milliseconds = time.as_millis().max(1);
    let per_second = u128::from(count) * 1000 / milliseconds;
    format!("{}/s", bytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// `1 234 567`, groups of three.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `2 files`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `0.42 s`, `12.3 s`, `3:05 min`, `2:03:04 h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!(
            "{}:{:02}:{:02} h",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ),
    }
}

/// `3.5`: how many times smaller the stored form is.
pub(crate) fn ratio(plain: u64, stored: u64) -> String {
    if stored == 0 {
        return "-".to_owned();
    }
    let hundredths = u128::from(plain) * 100 / u128::from(stored);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `2026-03-01T02:00:00Z`: UTC, for people and documents alike, as `--at` takes it; bare seconds where the calendar ends.
pub(crate) fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.0.to_string(), |instant| instant.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0 B")]
    #[case(1023, "1023 B")]
    #[case(1024, "1.0 KiB")]
    #[case(1_536, "1.5 KiB")]
    #[case(1_048_575, "1.0 MiB")]
    #[case(5 << 30, "5.0 GiB")]
    #[case(u64::MAX, "16.0 EiB")]
    fn bytes_have_one_decimal(#[case] number: u64, #[case] text: &str) {
        assert_eq!(bytes(number), text);
    }

    #[rstest]
    #[case(7, "7")]
    #[case(1234, "1 234")]
    #[case(1_234_567, "1 234 567")]
    fn counts_are_grouped(#[case] number: u64, #[case] text: &str) {
        assert_eq!(count(number), text);
    }

    #[rstest]
    #[case(420, "0.42 s")]
    #[case(12_340, "12.3 s")]
    #[case(185_000, "3:05 min")]
    #[case(7_384_000, "2:03:04 h")]
    fn durations_have_three_figures(#[case] milliseconds: u64, #[case] text: &str) {
        assert_eq!(duration(Duration::from_millis(milliseconds)), text);
    }

    #[test]
    fn ratios_and_rates_survive_nothing_stored_and_no_time() {
        assert_eq!(ratio(700, 200), "3.50");
        assert_eq!(ratio(0, 0), "-");
        assert_eq!(rate(1 << 20, Duration::ZERO), "1000.0 MiB/s");
    }

    #[test]
    fn dates_outside_the_calendar_are_shown_as_seconds() {
        assert_eq!(date(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(date(Timestamp(i64::MAX)), i64::MAX.to_string());
    }
}
