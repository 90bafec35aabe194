//! Numbers of variable length: LEB128 (`uv`) and its zigzag form for signed numbers (`sv`).

use super::IndexError;

/// Appends an unsigned number.
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number: small magnitudes of both signs are short.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i128) {
    let mut zigzag = ((value << 1) ^ (value >> 127)) as u128;
    while zigzag > u128::from(u64::MAX) {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    put_unsigned(out, zigzag as u64);
}

/// Takes numbers and bytes off the front of a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take<'a> {
    bytes: &'a [u8],
    at: usize,
}

const CUT: IndexError = IndexError::Damaged("a block ends inside a row");
const OVERFLOW: IndexError = IndexError::Damaged("a number is too large");

impl<'a> Take<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Take<'a> {
        Take { bytes, at }
    }

    /// Where the next byte will be taken from.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, IndexError> {
        let byte = *self.bytes.get(self.at).ok_or(CUT)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, IndexError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(OVERFLOW);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(super) fn unsigned_u32(&mut self) -> Result<u32, IndexError> {
        u32::try_from(self.unsigned()?).map_err(|_| OVERFLOW)
    }

    pub(super) fn signed(&mut self) -> Result<i128, IndexError> {
        let mut zigzag = 0u128;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift > 126 || (shift == 126 && bits > 3) {
                return Err(OVERFLOW);
            }
            zigzag |= bits << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], IndexError> {
        let end = self.at.checked_add(length).ok_or(CUT)?;
        let slice = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(slice)
    }

    /// Takes a number and as many bytes.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], IndexError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| CUT)?;
        self.slice(length)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        self.slice(N)?.try_into().map_err(|_| CUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unsigned_round_trips(value: u64) {
            let mut bytes = Vec::new();
            put_unsigned(&mut bytes, value);
            let mut take = Take::new(&bytes, 0);
            prop_assert_eq!(take.unsigned().unwrap(), value);
            prop_assert!(take.is_empty());
        }

        #[test]
        fn signed_round_trips(value: i128) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            prop_assert_eq!(Take::new(&bytes, 0).signed().unwrap(), value);
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let mut take = Take::new(&bytes, 0);
            while take.unsigned().is_ok() {}
            let mut take = Take::new(&bytes, 0);
            while take.signed().is_ok() {}
        }
    }

    #[test]
    fn known_bytes() {
        let mut bytes = Vec::new();
        put_unsigned(&mut bytes, 300);
        put_signed(&mut bytes, -1);
        put_signed(&mut bytes, 64);
        assert_eq!(bytes, [0xac, 0x02, 0x01, 0x80, 0x01]);
    }
}
