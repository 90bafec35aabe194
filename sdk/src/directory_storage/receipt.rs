//! What `commit` must know of a segment: its bytes, and the time that the upload's file then had.
//!
//! ```text
//! receipt   BYTES@SECONDS.NANOSECONDS      BYTES alone in those of earlier versions
//! ```

use std::fmt;

use crate::error::{Error, Result};
use crate::host::directories::Timestamp;

/// Of one segment, or of all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) bytes: u64,
    /// Seconds and nanoseconds; none if one is unknown.
    time: Option<(i64, u32)>,
}

impl Receipt {
    pub(super) fn new(bytes: u64, modified: Timestamp) -> Self {
        Receipt {
            bytes,
            time: Some((modified.seconds, modified.nanoseconds)),
        }
    }

    /// True if a file was last changed by what this is the receipt of.
    pub(super) fn is_of(self, modified: Option<Timestamp>) -> bool {
        let modified = modified.map(|time| (time.seconds, time.nanoseconds));
        self.time.is_some() && self.time == modified
    }

    fn parse(text: &str) -> Option<Self> {
        let (bytes, time) = match text.split_once('@') {
            Some((bytes, time)) => (bytes, Some(time.split_once('.')?)),
            None => (text, None),
        };
        let time = match time {
            Some((seconds, nanoseconds)) => Some((seconds.parse().ok()?, nanoseconds.parse().ok()?)),
            None => None,
        };
        Some(Receipt {
            bytes: bytes.parse().ok()?,
            time,
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.bytes)?;
        match self.time {
            Some((seconds, nanoseconds)) => write!(formatter, "@{seconds}.{nanoseconds}"),
            None => Ok(()),
        }
    }
}

/// The bytes of all segments, and the time of the last one.
///
/// # Errors
/// `invalid` if one is no receipt of this storage.
pub(super) fn sum(receipts: &[String]) -> Result<Receipt> {
    let mut all: Option<Receipt> = None;
    for (number, text) in receipts.iter().enumerate() {
        let next = Receipt::parse(text).and_then(|receipt| {
            let Some(before) = all else { return Some(receipt) };
            Some(Receipt {
                bytes: before.bytes.checked_add(receipt.bytes)?,
                time: before.time.zip(receipt.time).map(|(one, other)| one.max(other)),
            })
        });
        let unknown = || Error::invalid(format!("segment {number} has no receipt of this storage"));
        all = Some(next.ok_or_else(unknown)?);
    }
    Ok(all.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn the_sum_has_all_bytes_and_the_last_time() {
        let texts = [(5, at(-3, 9)), (7, at(20, 1)), (1, at(20, 0))]
            .map(|(bytes, time)| Receipt::new(bytes, time).to_string());
        let all = sum(&texts).unwrap();
        assert_eq!(all.bytes, 13);
        assert!(all.is_of(Some(at(20, 1))));
        assert!(!all.is_of(Some(at(20, 0))) && !all.is_of(None));
        let with_an_old_one = [texts[0].clone(), "5".to_owned()];
        assert!(!sum(&with_an_old_one).unwrap().is_of(Some(at(-3, 9))));
        assert!(!sum(&[]).unwrap().is_of(Some(at(0, 0))));
    }

    #[test]
    fn foreign_receipts_are_refused() {
        for text in ["", "x", "5@", "5@1", "5@1.x", "-5@1.1", "5@1.4294967296"] {
            sum(&[text.to_owned()]).unwrap_err();
        }
        sum(&[u64::MAX.to_string(), "2".to_owned()]).unwrap_err();
    }
}
