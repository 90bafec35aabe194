//! Records of a pax extended header: `length key=value\n`, the length counting all of it.
//!
//! Values are raw bytes of a known length, so that names with newlines and attributes with zero bytes need no
//! escaping. Source: POSIX.1-2017 `pax`, "pax Extended Header".

use crate::time::Time;

/// Appends a record.
pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    // One more digit may carry into another one.
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends a record with a number.
pub(super) fn put_number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    put(out, key, value.to_string().as_bytes());
}

/// Appends a record with a time, without zeros at its end.
pub(super) fn put_time(out: &mut Vec<u8>, key: &[u8], time: Time) {
    let nanos = time.as_nanos();
    let (sign, magnitude) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = format!(
        "{sign}{}.{:09}",
        magnitude / 1_000_000_000,
        magnitude % 1_000_000_000
    );
    put(
        out,
        key,
        text.trim_end_matches('0').trim_end_matches('.').as_bytes(),
    );
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Reads the records of a header's body; the error says what is wrong.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(super) fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }

    fn record(&mut self) -> Result<(&'a [u8], &'a [u8]), &'static str> {
        const BROKEN: &str = "a pax record can't be read";
        let blank = self
            .rest
            .iter()
            .take(20)
            .position(|&byte| byte == b' ')
            .ok_or(BROKEN)?;
        let length = decimal(&self.rest[..blank])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(BROKEN)?;
        if length < blank + 4 || length > self.rest.len() {
            return Err("a pax record's length is wrong");
        }
        let (record, rest) = self.rest.split_at(length);
        self.rest = rest;
        let record = record[blank + 1..]
            .strip_suffix(b"\n")
            .ok_or("a pax record has no end")?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or(BROKEN)?;
        if equals == 0 {
            return Err("a pax record has no keyword");
        }
        Ok((&record[..equals], &record[equals + 1..]))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        // Some writers fill the body up with zero bytes.
        if self.rest.iter().take_while(|&&byte| byte == 0).count() == self.rest.len() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

/// Reads an unsigned decimal number, digits only.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a time: a decimal number with an optional sign and fraction; digits below a nanosecond are dropped.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let seconds = decimal(&text[..dot])?;
    let fraction = text.get(dot + 1..).unwrap_or(&[]);
    let mut nanos = 0i128;
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        nanos = nanos * 10 + i128::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?);
    }
    let magnitude = i128::from(seconds) * 1_000_000_000 + nanos;
    let signed = if is_negative { -magnitude } else { magnitude };
    let time = Time::from_nanos(signed);
    (time.as_nanos() == signed).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_count_themselves() {
        for size in [
            0usize, 1, 2, 3, 4, 5, 85, 86, 87, 88, 89, 980, 981, 982, 983, 9_976, 9_977, 9_978, 99_990,
        ] {
            let mut body = Vec::new();
            put(&mut body, b"path", &vec![b'x'; size]);
            let blank = body.iter().position(|&byte| byte == b' ').unwrap();
            assert_eq!(decimal(&body[..blank]).unwrap(), body.len() as u64, "{size}");
        }
    }

    #[test]
    fn times_are_plain_decimal() {
        let text = |seconds, nanoseconds| {
            let mut body = Vec::new();
            put_time(&mut body, b"mtime", Time { seconds, nanoseconds });
            String::from_utf8(body).unwrap()
        };
        assert_eq!(text(1, 500_000_000), "13 mtime=1.5\n");
        assert_eq!(text(-6, 500_000_000), "14 mtime=-5.5\n");
        assert_eq!(text(100, 0), "13 mtime=100\n");
        assert_eq!(text(0, 0), "11 mtime=0\n");
        assert_eq!(text(i64::MIN, 0), "30 mtime=-9223372036854775808\n");
        assert_eq!(
            time(b"1.0000000019").unwrap(),
            Time {
                seconds: 1,
                nanoseconds: 1
            }
        );
        assert_eq!(
            time(b"1."),
            Some(Time {
                seconds: 1,
                nanoseconds: 0
            })
        );
        for bad in [
            b"" as &[u8],
            b".5",
            b"-",
            b"1.5x",
            b"1e5",
            b"99999999999999999999",
            b"+1",
        ] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn times_round_trip(seconds: i64, nanoseconds in 0u32..1_000_000_000) {
            let mut body = Vec::new();
            put_time(&mut body, b"mtime", Time { seconds, nanoseconds });
            let (_, value) = Records::new(&body).next().unwrap().unwrap();
            prop_assert_eq!(time(value), Some(Time { seconds, nanoseconds }));
        }

        #[test]
        fn records_round_trip(
            records in proptest::collection::vec(("[a-zA-Z.%]{1,40}", proptest::collection::vec(any::<u8>(), 0..200)), 0..8)
        ) {
            let mut body = Vec::new();
            for (key, value) in &records {
                put(&mut body, key.as_bytes(), value);
            }
            let read: Vec<_> = Records::new(&body).map(|record| record.unwrap()).collect();
            let wrote: Vec<_> = records.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())).collect();
            prop_assert_eq!(read, wrote);
        }

        #[test]
        fn any_bytes_end(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Records::new(&body).count() <= body.len());
        }
    }
}
