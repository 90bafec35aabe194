//! All files below a folder, in a fixed order, in memory for one page per level.
//!
//! The order is by the parts of a path, so that a walk can go on behind any path without a state of its own.

use std::cmp::Ordering;
use std::vec::IntoIter;

use crate::error::Result;
use crate::host::directories::{Directory, Entry, EntryKind, absent_is_none};

use super::upload::KEY_PARTS;

/// A walk over files, links and the like left out.
pub(super) struct Walk<'a> {
    directory: &'a Directory,
    /// From the top down; the last one is being read.
    folders: Vec<Folder>,
    /// Only paths behind this one are given.
    after: Option<&'a str>,
}

struct Folder {
    path: String,
    entries: IntoIter<Entry>,
    next: Next,
}

/// Which page comes when the entries are used up.
enum Next {
    First,
    At(String),
    None,
}

impl<'a> Walk<'a> {
    /// A walk below `folder`, behind `after`. Nothing is read yet.
    pub(super) fn new(directory: &'a Directory, folder: &str, after: Option<&'a str>) -> Self {
        Walk {
            directory,
            folders: vec![Folder::new(folder.to_owned())],
            after,
        }
    }

    /// The next file and its path.
    ///
    /// # Errors
    /// What breaks a listing. A folder that vanishes meanwhile is none.
    pub(super) fn next(&mut self) -> Result<Option<(String, Entry)>> {
        while let Some(folder) = self.folders.last_mut() {
            let Some(entry) = folder.entries.next() else {
                if !folder.turn_page(self.directory)? {
                    self.folders.pop();
                }
                continue;
            };
            let path = folder.path_of(&entry.name);
            match entry.kind {
                EntryKind::File if self.after.is_none_or(|after| order(&path, after).is_gt()) => {
                    return Ok(Some((path, entry)));
                }
                EntryKind::Directory if self.is_wanted(&path) => self.folders.push(Folder::new(path)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// True if something below a folder may lie behind `after`, and no deeper than a key can.
    fn is_wanted(&self, folder: &str) -> bool {
        let holds = |after: &str| {
            after
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let behind = self
            .after
            .is_none_or(|after| order(folder, after).is_gt() || holds(after));
        behind && folder.split('/').count() < KEY_PARTS
    }
}

impl Folder {
    fn new(path: String) -> Self {
        Folder {
            path,
            entries: Vec::new().into_iter(),
            next: Next::First,
        }
    }

    /// Reads the next page; false after the last.
    fn turn_page(&mut self, directory: &Directory) -> Result<bool> {
        let cursor = match &self.next {
            Next::First => None,
            Next::At(cursor) => Some(cursor.as_str()),
            Next::None => return Ok(false),
        };
        let Some(page) = absent_is_none(directory.list(&self.path, cursor))? else {
            return Ok(false);
        };
        self.entries = page.entries.into_iter();
        self.next = page.next.map_or(Next::None, Next::At);
        Ok(true)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

/// By parts: a folder's content comes where the folder's name does.
fn order(left: &str, right: &str) -> Ordering {
    left.split('/').cmp(right.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::directories::{Access, open};
    use crate::testing::FakeHost;

    const ROOT: &str = "/srv";

    fn walk(after: Option<&str>) -> Vec<String> {
        let directory = open(ROOT, Access::ReadOnly).unwrap();
        let mut walk = Walk::new(&directory, "", after);
        std::iter::from_fn(|| walk.next().unwrap())
            .map(|(path, _)| path)
            .collect()
    }

    #[test]
    fn a_walk_goes_on_behind_any_of_its_paths() {
        let host = FakeHost::new();
        host.add_directory(ROOT);
        for path in ["a", "b/c/d", "b/c/e", "b/c-d", "b-c", "b.d/x", "c/z"] {
            host.put_file(ROOT, path, b"");
        }
        host.put_symlink(ROOT, "link");
        let all = walk(None);
        assert_eq!(all.len(), 7);
        assert!(
            all.windows(2).all(|pair| order(&pair[0], &pair[1]).is_lt()),
            "{all:?}"
        );
        for (position, path) in all.iter().enumerate() {
            assert_eq!(walk(Some(path)), all[position + 1..], "behind {path}");
        }
    }

    #[test]
    fn a_walk_reads_all_pages() {
        let host = FakeHost::new();
        host.add_directory(ROOT);
        for number in 0..2100 {
            host.put_file(ROOT, &format!("folder/{number:05}"), b"");
        }
        assert_eq!(walk(None).len(), 2100);
        assert_eq!(walk(Some("folder/01999")).len(), 100);
    }

    #[test]
    fn a_walk_stops_where_no_key_can_be() {
        let host = FakeHost::new();
        host.add_directory(ROOT);
        let depth = |parts: usize| format!("{}file", "d/".repeat(parts - 1));
        host.put_file(ROOT, &depth(KEY_PARTS), b"");
        host.put_file(ROOT, &depth(KEY_PARTS + 5), b"");
        assert_eq!(walk(None), [depth(KEY_PARTS)]);
    }
}
