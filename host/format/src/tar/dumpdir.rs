//! The list of names GNU tar keeps with a directory of an incremental archive.
//!
//! Entries of a type byte, a name and a zero byte; one more zero byte ends the list. Types: `Y` is in this archive,
//! `N` exists but isn't in this archive, `D` is a directory: these sorted by name, by bytes; `R` and `T` rename from and to, `X` gives a name for a
//! temporary directory during swaps. At restore every name of the directory that isn't listed is removed.
//! We write only `N` and `D` (docs/format.md says why); the original's archives hold all of them.

use super::TarError;

/// One entry of a dumpdir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpdirEntry<'a> {
    /// `Y`: a file whose member is in this archive.
    Dumped(&'a [u8]),
    /// `N`: a file that exists and isn't in this archive.
    Kept(&'a [u8]),
    /// `D`: a directory.
    Directory(&'a [u8]),
    /// `R`: the next `T` renames this path; relative to the archive's root. Empty: the temporary name of `X`.
    RenameFrom(&'a [u8]),
    /// `T`: the new path of the preceding `R`. Empty: the temporary name of `X`.
    RenameTo(&'a [u8]),
    /// `X`: a directory in which a temporary name is to be made.
    Temporary(&'a [u8]),
}

/// Collects the names of one directory.
///
/// GNU tar looks names up by halving, so a list that isn't sorted by bytes makes it remove live files: names that come
/// out of order are sorted in the end.
#[derive(Debug, Default)]
pub struct DumpdirWriter {
    bytes: Vec<u8>,
    /// Where the last name starts in `bytes`.
    last: usize,
    is_unsorted: bool,
}

impl DumpdirWriter {
    /// Makes an empty list.
    pub fn new() -> DumpdirWriter {
        DumpdirWriter::default()
    }

    /// Lists a file that exists and isn't in this archive.
    pub fn kept(&mut self, name: &[u8]) {
        self.push(b'N', name);
    }

    /// Lists a directory.
    pub fn directory(&mut self, name: &[u8]) {
        self.push(b'D', name);
    }

    /// Returns the size in bytes the finished list would have now.
    pub fn len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Says whether no name is listed yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the list and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        if self.is_unsorted {
            let mut entries: Vec<&[u8]> = self.bytes.split_inclusive(|&byte| byte == 0).collect();
            entries.sort_by(|a, b| a[1..].cmp(&b[1..]));
            self.bytes = entries.concat();
        }
        self.bytes.push(0);
        self.bytes
    }

    fn push(&mut self, kind: u8, name: &[u8]) {
        let last = self
            .bytes
            .get(self.last..self.bytes.len().saturating_sub(1))
            .unwrap_or(&[]);
        self.is_unsorted |= name < last;
        self.bytes.push(kind);
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }
}

/// Reads the entries of a dumpdir in their order.
#[derive(Debug, Clone)]
pub struct Dumpdir<'a> {
    rest: &'a [u8],
}

impl<'a> Dumpdir<'a> {
    /// Reads the list `bytes`, as it stands in [`super::Member::dumpdir`].
    pub fn new(bytes: &'a [u8]) -> Dumpdir<'a> {
        Dumpdir { rest: bytes }
    }
}

impl<'a> Iterator for Dumpdir<'a> {
    type Item = Result<DumpdirEntry<'a>, TarError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.rest.split_first()?;
        if kind == 0 {
            // The end of the list; GNU tar pads nothing after it, and what follows has no meaning.
            self.rest = &[];
            return None;
        }
        let Some(end) = rest.iter().position(|&byte| byte == 0) else {
            self.rest = &[];
            return Some(Err(damaged("a dumpdir entry has no end")));
        };
        let (name, after) = (&rest[..end], &rest[end + 1..]);
        self.rest = after;
        let entry = match kind {
            b'Y' => DumpdirEntry::Dumped(name),
            b'N' => DumpdirEntry::Kept(name),
            b'D' => DumpdirEntry::Directory(name),
            b'R' => DumpdirEntry::RenameFrom(name),
            b'T' => DumpdirEntry::RenameTo(name),
            b'X' => DumpdirEntry::Temporary(name),
            _ => {
                self.rest = &[];
                return Some(Err(damaged("a dumpdir entry has an unknown type")));
            }
        };
        Some(Ok(entry))
    }
}

fn damaged(reason: &'static str) -> TarError {
    TarError::Damaged { offset: 0, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_types_of_the_original_are_read() {
        let list = b"Yf\0Nkept\0Dsub\0X./\0R./old\0T\0R\0T./new\0\0";
        let entries: Vec<_> = Dumpdir::new(list).map(|entry| entry.unwrap()).collect();
        assert_eq!(
            entries,
            [
                DumpdirEntry::Dumped(b"f"),
                DumpdirEntry::Kept(b"kept"),
                DumpdirEntry::Directory(b"sub"),
                DumpdirEntry::Temporary(b"./"),
                DumpdirEntry::RenameFrom(b"./old"),
                DumpdirEntry::RenameTo(b""),
                DumpdirEntry::RenameFrom(b""),
                DumpdirEntry::RenameTo(b"./new"),
            ]
        );
    }

    #[test]
    fn unknown_types_and_names_without_end_are_errors() {
        assert!(Dumpdir::new(b"Qx\0\0").next().unwrap().is_err());
        let mut cut = Dumpdir::new(b"Nx");
        assert!(cut.next().unwrap().is_err());
        assert!(cut.next().is_none());
    }

    proptest! {
        #[test]
        fn names_round_trip(names in proptest::collection::vec((any::<bool>(), "[^\0/]{1,20}"), 0..50)) {
            let mut writer = DumpdirWriter::new();
            for (is_directory, name) in &names {
                if *is_directory { writer.directory(name.as_bytes()) } else { writer.kept(name.as_bytes()) }
            }
            prop_assert_eq!(writer.is_empty(), names.is_empty());
            let length = writer.len();
            let bytes = writer.finish();
            prop_assert_eq!(bytes.len(), length);
            let read: Vec<_> = Dumpdir::new(&bytes).map(|entry| entry.unwrap()).collect();
            let mut names = names;
            names.sort_by(|(_, a), (_, b)| a.as_bytes().cmp(b.as_bytes()));
            let wrote: Vec<_> = names
                .iter()
                .map(|(is_directory, name)| match is_directory {
                    true => DumpdirEntry::Directory(name.as_bytes()),
                    false => DumpdirEntry::Kept(name.as_bytes()),
                })
                .collect();
            prop_assert_eq!(read, wrote);
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>(), Just(b'N')], 0..200)) {
            prop_assert!(Dumpdir::new(&bytes).count() <= bytes.len());
        }
    }
}
