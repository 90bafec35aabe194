//! What the list of names of a directory says of the level before: what is renamed, and what is still there.

use freezer_format::tar::TarError;
use freezer_format::tar::dumpdir::{Dumpdir, DumpdirEntry};

use super::sequential::simplify;

/// What a swap's temporary directory is called, below the directory that its `X` names.
const SWAP_NAME: &[u8] = b".freezer-swap";

/// Old and new paths of what a level renames, in the order in which that is done.
pub(super) type Renames = Vec<(Vec<u8>, Vec<u8>)>;

/// The renames of a list.
pub(super) fn renames(names: &[u8]) -> Result<Renames, TarError> {
    let mut swap = SWAP_NAME.to_vec();
    let mut renames = Renames::new();
    let mut from = None;
    let named = |path, swap: &Vec<u8>| match simplify(path) {
        b"" => swap.clone(),
        path => path.to_vec(),
    };
    for entry in Dumpdir::new(names) {
        match entry? {
            DumpdirEntry::Temporary(directory) => {
                let directory = simplify(directory);
                let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
                swap = [directory, slash, SWAP_NAME].concat();
            }
            DumpdirEntry::RenameFrom(path) => from = Some(named(path, &swap)),
            DumpdirEntry::RenameTo(path) => {
                renames.extend(from.take().map(|from| (from, named(path, &swap))));
            }
            _ => {}
        }
    }
    Ok(renames)
}

/// The names that a directory has according to a list.
pub(super) struct Listed {
    bytes: Vec<u8>,
    /// Where each name lies, sorted by names, and whether it is a directory as far as the list says.
    names: Vec<(u32, u32, Option<bool>)>,
}

impl Listed {
    pub(super) fn new(list: &[u8]) -> Result<Self, TarError> {
        let mut listed = Self {
            bytes: Vec::with_capacity(list.len()),
            names: Vec::new(),
        };
        for entry in Dumpdir::new(list) {
            match entry? {
                DumpdirEntry::Dumped(name) => listed.push(name, Some(false)),
                DumpdirEntry::Kept(name) => listed.push(name, None),
                DumpdirEntry::Directory(name) => listed.push(name, Some(true)),
                _ => {}
            }
        }
        let Self { bytes, names } = &mut listed;
        names.sort_unstable_by(|a, b| slice(bytes, a).cmp(slice(bytes, b)));
        Ok(listed)
    }

    /// Whether a name is listed, and not as the other of file and directory.
    pub(super) fn holds(&self, name: &[u8], is_directory: bool) -> bool {
        let found = self
            .names
            .binary_search_by(|listed| slice(&self.bytes, listed).cmp(name))
            .ok();
        found.is_some_and(|at| self.names[at].2.is_none_or(|wanted| wanted == is_directory))
    }

    fn push(&mut self, name: &[u8], is_directory: Option<bool>) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name);
        // A list is read into memory from a header whose length is bounded far below 4 GiB.
        self.names.push((start, self.bytes.len() as u32, is_directory));
    }
}

fn slice<'b>(bytes: &'b [u8], (start, end, _): &(u32, u32, Option<bool>)) -> &'b [u8] {
    &bytes[*start as usize..*end as usize]
}
