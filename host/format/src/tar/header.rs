//! One 512-byte header block: where each field stands and how numbers are written in it.
//!
//! ```text
//!   0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
//! 157 link 100 | 257 magic 6, version 2 | 265 uname 32 | 297 gname 32 | 329 major 8 | 337 minor 8 | 345 prefix 155
//! old GNU instead of prefix: 345 atime 12 | 357 ctime 12 | 386 4 × (offset 12, size 12) | 482 more 1 | 483 real size 12
//! ```
//! Numbers are octal text, or big-endian two's complement with the first bit set (GNU base-256).
//! Sources: POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU tar 1.34 manual, "Basic Tar Format".

use std::ops::Range;

use super::BLOCK;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPEFLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
pub(super) const UNAME: Range<usize> = 265..297;
pub(super) const GNAME: Range<usize> = 297..329;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
/// Old GNU sparse: real size, in the header only.
pub(super) const REAL_SIZE: Range<usize> = 483..495;

const MAGIC_POSIX: &[u8; 8] = b"ustar\x0000";
const MAGIC_GNU: &[u8; 8] = b"ustar  \0";

/// Largest number in an octal field of 8 bytes.
pub(super) const OCTAL_8_MAX: u64 = 0o7_777_777;
/// Largest number in an octal field of 12 bytes.
pub(super) const OCTAL_12_MAX: u64 = 0o77_777_777_777;

/// Which dialect a header is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    Posix,
    Gnu,
}

/// A header block, being filled or being read.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) bytes: [u8; BLOCK],
}

impl Header {
    /// Makes a header of a type with all else zero.
    pub(super) fn new(typeflag: u8, magic: Magic) -> Header {
        let mut bytes = [0; BLOCK];
        bytes[TYPEFLAG] = typeflag;
        bytes[MAGIC].copy_from_slice(match magic {
            Magic::Posix => MAGIC_POSIX,
            Magic::Gnu => MAGIC_GNU,
        });
        Header { bytes }
    }

    /// Fills a text field, cut to its width; the caller knows that it fits.
    pub(super) fn set_text(&mut self, field: Range<usize>, text: &[u8]) {
        let length = text.len().min(field.len());
        self.bytes[field.start..field.start + length].copy_from_slice(&text[..length]);
    }

    /// Fills a number field: octal with a zero byte at the end, or base-256 if it is too large for that.
    pub(super) fn set_number(&mut self, field: Range<usize>, value: u64) {
        let field = &mut self.bytes[field];
        let digits = field.len() - 1;
        if value >> (3 * digits).min(63) == 0 {
            let mut rest = value;
            for byte in field[..digits].iter_mut().rev() {
                *byte = b'0' + (rest & 7) as u8;
                rest >>= 3;
            }
        } else {
            let start = field.len() - 8;
            field[start..].copy_from_slice(&value.to_be_bytes());
            field[0] |= 0x80;
        }
    }

    /// Fills in the checksum; nothing may be changed after it.
    pub(super) fn seal(&mut self) {
        let (sum, _) = self.sums();
        // Six digits, a zero byte, a blank: as every tar writes it.
        let mut rest = sum;
        for at in (CHECKSUM.start..CHECKSUM.start + 6).rev() {
            self.bytes[at] = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
        self.bytes[CHECKSUM.start + 6] = 0;
        self.bytes[CHECKSUM.start + 7] = b' ';
    }

    pub(super) fn is_zero(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == 0)
    }

    /// Says whether the checksum is right, by unsigned bytes or, as some old tars sum them, by signed ones.
    pub(super) fn is_sealed(&self) -> bool {
        let (unsigned, signed) = self.sums();
        match self.number(CHECKSUM) {
            Some(sum) => sum == i128::from(unsigned) || sum == i128::from(signed),
            None => false,
        }
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.bytes[TYPEFLAG]
    }

    /// Says whether the fields after `minor` are POSIX's prefix rather than GNU's times.
    pub(super) fn has_prefix(&self) -> bool {
        self.bytes[MAGIC].starts_with(b"ustar\0")
    }

    /// Returns a text field up to its first zero byte.
    pub(super) fn text(&self, field: Range<usize>) -> &[u8] {
        let field = &self.bytes[field];
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        &field[..end]
    }

    /// Returns a number field; `None` if it holds something else.
    pub(super) fn number(&self, field: Range<usize>) -> Option<i128> {
        number(&self.bytes[field])
    }

    fn sums(&self) -> (u32, i32) {
        let blank = u32::from(b' ') * CHECKSUM.len() as u32;
        let (mut unsigned, mut signed) = (blank, blank as i32);
        for (at, &byte) in self.bytes.iter().enumerate() {
            if !CHECKSUM.contains(&at) {
                unsigned += u32::from(byte);
                signed += i32::from(byte as i8);
            }
        }
        (unsigned, signed)
    }
}

/// Reads a number: octal text with blanks before it, ended by a blank, a zero byte or the field; or base-256.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The bit below the mark is the sign.
        let head = i128::from(first & 0x3f) - i128::from(first & 0x40);
        return Some(
            rest.iter()
                .fold(head, |value, &byte| value << 8 | i128::from(byte)),
        );
    }
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let mut value = 0;
    for &byte in &field[start..] {
        match byte {
            b'0'..=b'7' => value = value << 3 | i128::from(byte - b'0'),
            b' ' | 0 => break,
            _ => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_all_tars_are_read() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"77777777"), Some(0o77_777_777));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"64x\0\0\0\0\0"), None);
        assert_eq!(number(b"0000 8\0\0"), Some(0));
    }

    #[test]
    fn a_sealed_header_notices_a_changed_byte() {
        let mut header = Header::new(b'0', Magic::Posix);
        header.set_text(NAME, b"./a\xff");
        header.seal();
        assert!(header.is_sealed());
        header.bytes[2] ^= 1;
        assert!(!header.is_sealed());
    }

    proptest! {
        #[test]
        fn any_number_round_trips(value: u64) {
            let mut header = Header::new(b'0', Magic::Gnu);
            header.set_number(SIZE, value);
            prop_assert_eq!(header.number(SIZE), Some(i128::from(value)));
        }

        #[test]
        fn small_numbers_round_trip_in_short_fields(value in 0u64..=u64::from(u32::MAX)) {
            let mut header = Header::new(b'0', Magic::Gnu);
            header.set_number(MAJOR, value);
            prop_assert_eq!(header.number(MAJOR), Some(i128::from(value)));
        }
    }
}
