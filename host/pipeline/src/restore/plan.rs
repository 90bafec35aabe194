//! Cuts the rows of one level into units of work: stretches of its archive that one thread reads.
//!
//! Rows of a level come with rising offsets, since archive and index have the same order. A unit ends where the next
//! frame begins that makes it large enough, so that few frames are decompressed by two threads.

use std::ops::Range;

use freezer_format::index::{Entry, EntryKind};

/// Most rows of a unit: about half a megabyte of paths.
const ROWS_MAX: usize = 4096;
/// A file of this size is a unit of its own.
const LARGE_FILE_BYTES: u64 = 32 << 20;
/// What a member's headers are taken to need: a pax header with its records, and the header itself.
const HEADERS_BYTES: u64 = 4 * 512;

/// What a worker must know of an index row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) offset: u64,
    pub(super) size: u64,
    /// Whether the member is of an earlier state than the row.
    pub(super) is_stale: bool,
    /// Where it is made, if not at `path`.
    pub(super) place: Option<Vec<u8>>,
    /// Where its member is taken to end.
    end: u64,
}

impl Row {
    pub(super) fn new(entry: &Entry) -> Self {
        let content = if entry.kind == EntryKind::File {
            entry.size
        } else {
            0
        };
        let end = entry.offset.saturating_add(content).saturating_add(HEADERS_BYTES);
        Self {
            path: entry.path.clone(),
            kind: entry.kind,
            offset: entry.offset,
            size: entry.size,
            is_stale: entry.unreadable,
            place: None,
            end,
        }
    }

    /// The part of the archive that the member is taken to fill.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.end
    }
}

/// Rows of one level that one thread restores.
#[derive(Debug)]
pub(super) struct Unit {
    /// The level's number.
    pub(super) level: u32,
    pub(super) rows: Vec<Row>,
}

/// Gathers rows of one level into units.
pub(super) struct UnitBuilder {
    level: u32,
    frame_bytes: u64,
    unit_bytes: u64,
    rows: Vec<Row>,
}

impl UnitBuilder {
    /// Begins a level; `unit_bytes` is the archive length that a unit shall have.
    pub(super) fn new(level: u32, frame_bytes: u64, unit_bytes: u64) -> Self {
        Self {
            level,
            frame_bytes,
            unit_bytes,
            rows: Vec::new(),
        }
    }

    /// Adds a row; answers the unit that is complete before it.
    pub(super) fn push(&mut self, row: Row) -> Option<Unit> {
        let mut complete = false;
        if let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) {
            let starts_a_frame = row.offset / self.frame_bytes != last.offset / self.frame_bytes;
            let is_long = row.offset.saturating_sub(first.offset) >= self.unit_bytes;
            let is_large = row.size >= LARGE_FILE_BYTES || last.size >= LARGE_FILE_BYTES;
            complete = (starts_a_frame && is_long) || self.rows.len() >= ROWS_MAX || is_large;
        }
        // The next member's start bounds this one's end: what is sparse takes much less than its size.
        if let Some(last) = self.rows.last_mut()
            && row.offset > last.offset
        {
            last.end = last.end.min(row.offset);
        }
        let unit = if complete { self.finish() } else { None };
        self.rows.push(row);
        unit
    }

    /// Ends the level; answers the rest.
    pub(super) fn finish(&mut self) -> Option<Unit> {
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then_some(Unit {
            level: self.level,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(offset: u64, size: u64) -> Row {
        Row::new(&Entry {
            offset,
            size,
            ..Entry::new(format!("f{offset}"), EntryKind::File)
        })
    }

    fn cut(rows: &[(u64, u64)]) -> Vec<Vec<u64>> {
        let mut builder = UnitBuilder::new(3, 1000, 4000);
        let mut units: Vec<Unit> = rows
            .iter()
            .filter_map(|(offset, size)| builder.push(row(*offset, *size)))
            .collect();
        units.extend(builder.finish());
        units
            .iter()
            .map(|unit| unit.rows.iter().map(|row| row.offset).collect())
            .collect()
    }

    #[test]
    fn units_end_at_frame_borders() {
        let rows: Vec<_> = (0..12).map(|number| (number * 700, 100)).collect();
        assert_eq!(
            cut(&rows),
            [
                vec![0, 700, 1400, 2100, 2800, 3500],
                vec![4200, 4900, 5600, 6300, 7000, 7700]
            ]
        );
    }

    #[test]
    fn a_large_file_is_alone() {
        assert_eq!(
            cut(&[(0, 5), (600, LARGE_FILE_BYTES), (90_000_000, 5)]),
            [vec![0], vec![600], vec![90_000_000]]
        );
    }

    #[test]
    fn a_member_ends_before_the_next_begins() {
        let mut builder = UnitBuilder::new(0, 1000, 4000);
        assert!(builder.push(row(0, 1 << 20)).is_none());
        assert!(builder.push(row(2048, 10)).is_none());
        let unit = builder.finish().unwrap();
        assert_eq!(unit.rows[0].range(), 0..2048);
        assert_eq!(unit.rows[1].range(), 2048..2048 + 10 + HEADERS_BYTES);
    }
}
