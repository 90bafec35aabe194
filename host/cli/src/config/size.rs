//! Sizes with units as people write them: `32M`, `1.5Gi`, `64 kibi`, plain bytes.
//!
//! The units are the original's (`human2bytes`): all are powers of 1024, `k` equals `K`,
//! and a long form such as `mega` or `mebi` is as good as its letter.

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// No number at the front.
    #[error("a size starts with a number, such as 32M")]
    NoNumber,
    /// The letters after the number are no unit.
    #[error("unknown unit \"{0}\"; units are B K M G T P E (powers of 1024)")]
    Unit(String),
    /// It does not fit 64 bits.
    #[error("too large")]
    TooLarge,
}

/// The long names of each power of 1024, in rising order.
const UNITS: [&[&str]; 7] = [
    &["", "b", "byte", "bytes"],
    &["k", "ki", "kb", "kib", "kilo", "kibi"],
    &["m", "mi", "mb", "mib", "mega", "mebi"],
    &["g", "gi", "gb", "gib", "giga", "gibi"],
    &["t", "ti", "tb", "tib", "tera", "tebi"],
    &["p", "pi", "pb", "pib", "peta", "pebi"],
    &["e", "ei", "eb", "eib", "exa", "exbi"],
];

impl std::str::FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let power = UNITS
            .iter()
            .position(|names| names.contains(&unit.as_str()))
            .ok_or_else(|| SizeError::Unit(unit.clone()))?;
        let factor = 1u64 << (10 * power);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return Err(SizeError::NoNumber);
        }
        let whole: u64 = whole.parse().map_err(|_| SizeError::TooLarge)?;
        let bytes = whole.checked_mul(factor).ok_or(SizeError::TooLarge)?;
        bytes
            .checked_add(fraction_of(fraction, factor))
            .map(Size)
            .ok_or(SizeError::TooLarge)
    }
}

/// `0.digits × factor`, rounded down. Digits past the 15th are below one byte of any unit's share.
fn fraction_of(digits: &str, factor: u64) -> u64 {
    let digits = &digits[..digits.len().min(15)];
    let Ok(value) = digits.parse::<u64>() else {
        return 0;
    };
    let scale = 10u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(u128::from(value) * u128::from(factor) / scale).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", 0)]
    #[case("33554432", 33_554_432)]
    #[case("5M", 5 << 20)]
    #[case("5 Mi", 5 << 20)]
    #[case("64k", 65_536)]
    #[case("64K", 65_536)]
    #[case("1.5G", 1_610_612_736)]
    #[case("2 kibi", 2048)]
    #[case("3mega", 3 << 20)]
    #[case("7b", 7)]
    #[case("15E", 15 << 60)]
    #[case("0.1K", 102)]
    fn sizes_are_powers_of_1024(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(text.parse(), Ok(Size(bytes)));
    }

    #[rstest]
    #[case("", SizeError::NoNumber)]
    #[case("M", SizeError::NoNumber)]
    #[case(".5M", SizeError::NoNumber)]
    #[case("1.2.3M", SizeError::NoNumber)]
    #[case("-1", SizeError::Unit("-1".into()))]
    #[case("5X", SizeError::Unit("x".into()))]
    #[case("16E", SizeError::TooLarge)]
    #[case("99999999999999999999", SizeError::TooLarge)]
    fn other_texts_are_refused(#[case] text: &str, #[case] error: SizeError) {
        assert_eq!(text.parse::<Size>(), Err(error));
    }
}
