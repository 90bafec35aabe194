//! Maps of sparse files: which pieces of a file hold data.
//!
//! Written as GNU.sparse 1.0: before the content stand decimal numbers, one a line, filled up to a block: the number
//! of pieces, then offset and length of each. Read too: 0.0 and 0.1 (in pax records) and the old GNU form (in the
//! header and blocks after it). Source: GNU tar 1.34 manual, "Storing Sparse Files".

use super::{BLOCK, SPARSE_PIECES_MAX};

/// Offset and length of a piece of data.
pub(super) type Piece = (u64, u64);

/// Appends the map of a file of `size` bytes, filled up to a block. A hole at the end is named by an empty piece.
pub(super) fn put_map(pieces: &[Piece], size: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let is_hole_last = pieces
        .last()
        .is_none_or(|&(offset, length)| offset + length < size);
    let count = pieces.len() + usize::from(is_hole_last);
    let mut line = |number: u64| {
        out.extend_from_slice(number.to_string().as_bytes());
        out.push(b'\n');
    };
    line(count as u64);
    for &(offset, length) in pieces {
        line(offset);
        line(length);
    }
    if is_hole_last {
        line(size);
        line(0);
    }
    let length = out.len() - start;
    out.resize(start + length.next_multiple_of(BLOCK), 0);
}

/// Checks that pieces rise, don't overlap and lie within `size`; returns the sum of their lengths.
pub(super) fn check(pieces: &[Piece], size: u64) -> Option<u64> {
    let mut end = 0;
    let mut sum = 0u64;
    for &(offset, length) in pieces {
        if offset < end {
            return None;
        }
        end = offset.checked_add(length)?;
        sum = sum.checked_add(length)?;
    }
    (end <= size).then_some(sum)
}

/// Drops the empty pieces that only name the end.
pub(super) fn without_empty(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.retain(|&(_, length)| length > 0);
    pieces
}

/// Adds a piece unless the file has too many.
pub(super) fn add(pieces: &mut Vec<Piece>, piece: Piece) -> Result<(), &'static str> {
    if pieces.len() >= SPARSE_PIECES_MAX {
        return Err("a sparse file has too many pieces");
    }
    pieces.push(piece);
    Ok(())
}

/// Reads the map before the content, a block at a time.
#[derive(Debug, Default)]
pub(super) struct MapParser {
    /// Digits of the number at hand.
    number: Option<u64>,
    /// Numbers that are still to come; `None` before the count was read.
    missing: Option<u64>,
    offset: Option<u64>,
    pieces: Vec<Piece>,
}

impl MapParser {
    /// Takes a block; returns the pieces if it was the last one.
    pub(super) fn feed(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Piece>>, &'static str> {
        const BROKEN: &str = "a sparse file's map can't be read";
        for &byte in block {
            match byte {
                b'0'..=b'9' => {
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    self.number = Some(
                        number
                            .and_then(|n| n.checked_add(u64::from(byte - b'0')))
                            .ok_or(BROKEN)?,
                    );
                }
                b'\n' => {
                    let number = self.number.take().ok_or(BROKEN)?;
                    if self.line(number)? {
                        return Ok(Some(std::mem::take(&mut self.pieces)));
                    }
                }
                _ => return Err(BROKEN),
            }
        }
        Ok(None)
    }

    /// Takes a number; returns whether it was the last one.
    fn line(&mut self, number: u64) -> Result<bool, &'static str> {
        let Some(missing) = self.missing.as_mut() else {
            if number > SPARSE_PIECES_MAX as u64 {
                return Err("a sparse file has too many pieces");
            }
            self.missing = Some(number * 2);
            return Ok(number == 0);
        };
        *missing -= 1;
        let is_last = *missing == 0;
        match self.offset.take() {
            None => self.offset = Some(number),
            Some(offset) => add(&mut self.pieces, (offset, number))?,
        }
        Ok(is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(map: &[u8]) -> Result<Option<Vec<Piece>>, &'static str> {
        let mut parser = MapParser::default();
        for block in map.chunks_exact(BLOCK) {
            if let Some(pieces) = parser.feed(block.try_into().unwrap())? {
                return Ok(Some(pieces));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_file_that_is_one_hole_has_one_empty_piece() {
        let mut map = Vec::new();
        put_map(&[], 1 << 40, &mut map);
        assert!(map.starts_with(b"1\n1099511627776\n0\n"));
        assert_eq!(without_empty(read(&map).unwrap().unwrap()), []);
    }

    #[test]
    fn overlaps_and_pieces_behind_the_end_are_refused() {
        assert_eq!(check(&[(0, 10), (5, 10)], 100), None);
        assert_eq!(check(&[(0, 10), (95, 10)], 100), None);
        assert_eq!(check(&[(u64::MAX, 2)], u64::MAX), None);
        assert_eq!(check(&[(0, 10), (10, 10)], 20), Some(20));
    }

    proptest! {
        #[test]
        fn maps_round_trip(lengths in proptest::collection::vec((0u64..1 << 40, 1u64..1 << 40), 0..200), rest: u32) {
            let (mut end, mut pieces) = (0, Vec::new());
            for (hole, length) in lengths {
                pieces.push((end + hole, length));
                end += hole + length;
            }
            let size = end + u64::from(rest);
            let mut map = Vec::new();
            put_map(&pieces, size, &mut map);
            prop_assert_eq!(map.len() % BLOCK, 0);
            prop_assert_eq!(without_empty(read(&map).unwrap().unwrap()), pieces);
        }

        #[test]
        fn any_block_is_a_map_or_an_error(bytes in proptest::collection::vec(any::<u8>(), BLOCK * 2)) {
            drop(read(&bytes));
        }
    }
}
