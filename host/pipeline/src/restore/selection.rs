//! Which paths of a backup are wanted, and the index rows that they select.

use freezer_format::index::{Entry, EntryKind, IndexError, Part, compare_paths};

use super::target::path::is_within;
use crate::object::StoredIndex;

/// A set of paths, each with everything below it.
pub(super) struct Selection {
    /// Sorted as the index is, none within another; empty for all.
    paths: Vec<Vec<u8>>,
}

impl Selection {
    /// Takes paths as people write them: a `./` before and a `/` after them don't count. None at all means all.
    pub(super) fn new(paths: &[Vec<u8>]) -> Self {
        let mut simple: Vec<Vec<u8>> = paths.iter().map(|path| simplify(path).to_vec()).collect();
        simple.sort_by(|a, b| compare_paths(a, b));
        // In this order everything below a path follows it at once.
        simple.dedup_by(|later, earlier| is_within(later, earlier));
        if simple.first().is_some_and(Vec::is_empty) {
            simple.clear();
        }
        Self { paths: simple }
    }

    pub(super) fn is_all(&self) -> bool {
        self.paths.is_empty()
    }

    /// The paths that were asked for, or none for all.
    pub(super) fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Whether a path is wanted.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.is_all() || self.root_of(path).is_some()
    }

    /// The number of the wanted path that `path` is or lies below.
    pub(super) fn root_of(&self, path: &[u8]) -> Option<usize> {
        let after = self
            .paths
            .partition_point(|root| compare_paths(root, path).is_le());
        let candidate = after.checked_sub(1)?;
        is_within(path, &self.paths[candidate]).then_some(candidate)
    }

    /// Whether a path is a directory above something wanted.
    pub(super) fn leads_to(&self, path: &[u8]) -> bool {
        let after = self
            .paths
            .partition_point(|root| compare_paths(root, path).is_le());
        self.paths.get(after).is_some_and(|root| is_within(root, path))
    }

    /// Visits the selected rows in order: what is wanted, and the directories above it except the root.
    pub(super) fn for_each<E: From<IndexError>>(
        &self,
        index: &StoredIndex,
        mut visit: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_all() {
            let mut entries = index.entries()?;
            while entries.advance()? {
                visit(entries.entry())?;
            }
            return Ok(());
        }
        let mut wanted = index.parts(self.parts())?;
        while wanted.advance()? {
            let entry = wanted.entry();
            if entry.kind == EntryKind::Directory || self.contains(&entry.path) {
                visit(entry)?;
            }
        }
        Ok(())
    }

    /// What is wanted of an index: each path with what lies below it, and the directories above.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut before: &[u8] = b"";
        for root in &self.paths {
            for (at, _) in root.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                let above = &root[..at];
                if !is_within(before, above) {
                    parts.push(Part::only(above));
                }
            }
            parts.push(Part::below(root));
            before = root;
        }
        parts
    }
}

/// Rows that a look over the index keeps for the passes after it.
#[derive(Default)]
pub(super) struct KeptRows {
    rows: Vec<Entry>,
    bytes: usize,
    /// There are more than are kept.
    is_cut: bool,
}

impl KeptRows {
    /// Most bytes of rows and their paths: some thousand rows.
    const BYTES_MAX: usize = 1 << 20;

    pub(super) fn keep(&mut self, entry: &Entry) {
        self.bytes += size_of::<Entry>() + entry.path.len() + entry.link.len();
        if self.bytes > Self::BYTES_MAX {
            self.is_cut = true;
            self.rows = Vec::new();
        }
        if !self.is_cut {
            self.rows.push(entry.clone());
        }
    }

    /// All rows, if all were kept.
    pub(super) fn all(&self) -> Option<&[Entry]> {
        (!self.is_cut).then_some(&self.rows)
    }
}

fn simplify(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some(rest) = path.strip_prefix(b"./") {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    if path == b"." { b"" } else { path }
}

/// Paths for a message: escaped, separated by commas, cut if there are very many.
pub(super) fn for_people(paths: &[Vec<u8>]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = paths
        .iter()
        .take(SHOWN)
        .map(|path| path.escape_ascii().to_string())
        .collect();
    if paths.len() > SHOWN {
        shown.push(format!("and {} more", paths.len() - SHOWN));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(paths: &[&str]) -> Selection {
        Selection::new(
            &paths
                .iter()
                .map(|path| path.as_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_path_selects_itself_and_what_lies_below() {
        let selection = selection(&["./etc/ssh/", "home", "etc/ssh/keys", "home"]);
        assert_eq!(selection.paths(), [b"etc/ssh".to_vec(), b"home".to_vec()]);
        for wanted in ["etc/ssh", "etc/ssh/a/b", "home/x"] {
            assert!(selection.contains(wanted.as_bytes()), "{wanted}");
        }
        for unwanted in ["etc", "etc/sshd", "homes", "a", ""] {
            assert!(!selection.contains(unwanted.as_bytes()), "{unwanted}");
        }
        assert!(selection.leads_to(b"etc") && selection.leads_to(b""));
        assert!(!selection.leads_to(b"home") && !selection.leads_to(b"et"));
    }

    #[test]
    fn no_path_and_the_root_select_all() {
        for all in [&[][..], &["."], &["./", "a"], &[""]] {
            assert!(selection(all).is_all() && selection(all).contains(b"x/y"));
        }
    }

    #[test]
    fn names_that_sort_before_a_slash_do_not_hide_a_subtree() {
        let selection = selection(&["a", "a b", "a-b"]);
        assert_eq!(selection.paths().len(), 3);
        assert!(selection.contains(b"a/x") && selection.contains(b"a b/x") && selection.contains(b"a-b"));
    }
}
