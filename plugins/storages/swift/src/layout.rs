//! In which segments a large object lies: what its manifest says in its own headers.
//!
//! ```text
//! X-Object-Meta-Freezer-Segments: 319x33554432,1x1234       320 segments and their sizes
//! X-Object-Meta-Freezer-Segments-1: …                       goes on, if there are very many sizes
//! X-Object-Meta-Freezer-Upload: RUN                         by whom it was written
//! X-Object-Meta-Freezer-Parts: 2                            with nested static manifests
//! ```
//! So no listing, which may lag behind, decides what belongs to an object.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::http::Response;

/// Names of the headers, as Swift takes and gives them.
pub(crate) const SEGMENTS: &str = "X-Object-Meta-Freezer-Segments";
pub(crate) const UPLOAD: &str = "X-Object-Meta-Freezer-Upload";
pub(crate) const PARTS: &str = "X-Object-Meta-Freezer-Parts";

/// Longest value of such a header, by Swift's default.
const VALUE_BYTES: usize = 256;
/// Most headers for one table: together well below the 4096 bytes of metadata that an object may have.
const VALUES: usize = 8;

/// The sizes of numbered segments, equal neighbours counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(Vec<(u32, u64)>);

/// Where a byte lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The segment.
    pub(crate) number: u32,
    /// The byte's place in it.
    pub(crate) inside: u64,
    /// Bytes from there to the segment's end.
    pub(crate) left: u64,
}

impl Table {
    /// Adds a segment.
    pub(crate) fn push(&mut self, size: u64) {
        match self.0.last_mut() {
            Some((count, last)) if *last == size && *count < u32::MAX => *count += 1,
            _ => self.0.push((1, size)),
        }
    }

    /// How many segments there are, and their bytes.
    pub(crate) fn totals(&self) -> (u32, u64) {
        let add = |(segments, bytes): (u32, u64), (count, size): &(u32, u64)| {
            let more = size.saturating_mul(u64::from(*count));
            (segments.saturating_add(*count), bytes.saturating_add(more))
        };
        self.0.iter().fold((0, 0), add)
    }

    /// Where the byte at `offset` lies; `None` behind the end.
    pub(crate) fn locate(&self, offset: u64) -> Option<Spot> {
        let (mut number, mut rest) = (0_u32, offset);
        for (count, size) in &self.0 {
            let bytes = size.saturating_mul(u64::from(*count));
            if rest < bytes {
                let skipped = u32::try_from(rest / size).ok()?;
                let inside = rest % size;
                return Some(Spot {
                    number: number.checked_add(skipped)?,
                    inside,
                    left: size - inside,
                });
            }
            rest -= bytes;
            number = number.checked_add(*count)?;
        }
        None
    }

    /// The headers that hold it.
    ///
    /// # Errors
    /// `invalid` if it is too long, which needs hundreds of different sizes.
    pub(crate) fn headers(&self) -> Result<Vec<(String, String)>> {
        let runs: Vec<String> = self
            .0
            .iter()
            .map(|(count, size)| format!("{count}x{size}"))
            .collect();
        let text = runs.join(",");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(VALUE_BYTES).collect();
        if pieces.len() > VALUES {
            return Err(Error::invalid(
                "the segments have too many different sizes to be written down",
            ));
        }
        let header = |(place, piece): (usize, &&[u8])| {
            let value = String::from_utf8_lossy(piece).into_owned();
            (header_name(place), value)
        };
        Ok(pieces.iter().enumerate().map(header).collect())
    }

    /// Reads it from the headers of a manifest; `None` if it isn't there.
    ///
    /// # Errors
    /// `corrupt` if it makes no sense.
    pub(crate) fn of(response: &Response) -> Result<Option<Self>> {
        let mut text = String::new();
        for place in 0..VALUES {
            match response.header(&header_name(place)) {
                Some(value) => text.push_str(value),
                None => break,
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        let run = |run: &str| -> Option<(u32, u64)> {
            let (count, size) = run.split_once('x')?;
            let run = (count.parse().ok()?, size.parse().ok()?);
            (run.0 > 0 && run.1 > 0).then_some(run)
        };
        let runs: Option<Vec<_>> = text.split(',').map(run).collect();
        let table = runs.map(Table).filter(|table| {
            let bytes = |(count, size): &(u32, u64)| size.checked_mul(u64::from(*count));
            let total = table
                .0
                .iter()
                .map(bytes)
                .try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?));
            let count = table
                .0
                .iter()
                .try_fold(0_u32, |sum, (count, _)| sum.checked_add(*count));
            total.is_some() && count.is_some()
        });
        match table {
            Some(table) => Ok(Some(table)),
            None => Err(Error::corrupt(
                "the list of segments in the manifest makes no sense",
            )),
        }
    }
}

fn header_name(place: usize) -> String {
    match place {
        0 => SEGMENTS.to_owned(),
        place => format!("{SEGMENTS}-{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::host::bodies::Body;
    use freezer_sdk::host::http::Field;
    use freezer_sdk::testing::FakeHost;

    fn table(sizes: &[u64]) -> Table {
        let mut table = Table::default();
        sizes.iter().for_each(|size| table.push(*size));
        table
    }

    fn response(headers: &[(String, String)]) -> Response {
        let field = |(name, value): &(String, String)| Field {
            name: name.to_lowercase(),
            value: value.clone(),
        };
        Response {
            status: 200,
            headers: headers.iter().map(field).collect(),
            content: Body::from_bytes(b"").unwrap(),
        }
    }

    #[test]
    fn a_byte_is_found_in_its_segment() {
        let sizes = [5, 5, 5, 3, 7];
        let table = table(&sizes);
        let (mut number, mut start) = (0, 0);
        for size in sizes {
            for inside in 0..size {
                let spot = table.locate(start + inside).unwrap();
                let wanted = Spot {
                    number,
                    inside,
                    left: size - inside,
                };
                assert_eq!(spot, wanted);
            }
            (number, start) = (number + 1, start + size);
        }
        assert_eq!((number, start), table.totals());
        assert_eq!(table.locate(start), None);
        assert_eq!(Table::default().locate(0), None);
    }

    #[test]
    fn a_table_survives_the_way_through_headers() {
        let _host = FakeHost::new();
        let many: Vec<u64> = (0..150).map(|number| 1_000_000 + number).collect();
        for sizes in [&[7][..], &[5, 5, 5, 3], &many] {
            let table = table(sizes);
            let headers = table.headers().unwrap();
            assert!(headers.iter().all(|(_, value)| value.len() <= VALUE_BYTES));
            assert_eq!(Table::of(&response(&headers)).unwrap(), Some(table));
        }
        let equal = table(&[33_554_432; 100_000]);
        assert_eq!(equal.headers().unwrap()[0].1, "100000x33554432");
        let huge: Vec<u64> = (0..1000).collect();
        assert!(table(&huge).headers().is_err());
    }

    #[test]
    fn nonsense_is_damage() {
        let _host = FakeHost::new();
        assert_eq!(Table::of(&response(&[])).unwrap(), None);
        for text in [
            "x",
            "1",
            "1x",
            "0x5",
            "1x0",
            "-1x5",
            "1x5,",
            "4294967296x1",
            "2x18446744073709551615",
            "4294967295x1,2x1",
        ] {
            let error = Table::of(&response(&[(SEGMENTS.to_owned(), text.to_owned())])).unwrap_err();
            assert_eq!(error.kind, freezer_sdk::error::ErrorKind::Corrupt, "{text}");
        }
    }
}
