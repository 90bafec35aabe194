//! Pages of a directory in the order of names, in constant memory however many entries there are.
//!
//! Each page reads the directory once and keeps the smallest names behind the cursor: a directory of 100 000 names is read
//! a hundred times for a whole listing, which takes a second or two and never more than one page of memory.

use std::collections::BinaryHeap;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::lookup::parts;
use super::{Directory, Entry, entry};
use crate::error::Error;

/// The most entries of a page, as the contract says.
pub(crate) const PAGE_ENTRIES: usize = 1000;

/// Some of a directory's entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In the order of their names' bytes.
    pub entries: Vec<Entry>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<String>,
    /// Names in the whole directory that aren't UTF-8 and were left out; counted on the first page only.
    pub unreadable_names: u64,
}

impl Directory {
    /// One page of a folder; the cursor is the `next` of the page before.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if `path` is no directory or the cursor isn't from here; `Denied`.
    pub fn list(&self, path: &str, cursor: Option<&str>) -> Result<ListPage, Error> {
        let parts = parts(path)?;
        if cursor.is_some_and(|cursor| cursor.is_empty() || cursor.contains(['/', '\0'])) {
            return Err(self.invalid("list", path, "the cursor isn't from this listing"));
        }
        self.page(&parts, cursor)
            .map_err(|errno| self.failed("list", path, errno))
    }

    fn page(&self, parts: &[&str], cursor: Option<&str>) -> Result<ListPage, Errno> {
        let folder = self.lookup(parts, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut page = ListPage::default();
        let mut names: BinaryHeap<String> = BinaryHeap::new();
        let mut more = false;
        for item in rustix::fs::Dir::read_from(&folder)? {
            let item = item?;
            let Ok(name) = item.file_name().to_str() else {
                page.unreadable_names += u64::from(cursor.is_none());
                continue;
            };
            if name == "." || name == ".." || cursor.is_some_and(|cursor| name <= cursor) {
                continue;
            }
            if names.len() == PAGE_ENTRIES {
                more = true;
                if names.peek().is_some_and(|largest| largest.as_str() <= name) {
                    continue;
                }
                names.pop();
            }
            names.push(name.to_owned());
        }
        let names = names.into_sorted_vec();
        page.next = names.last().filter(|_| more).cloned();
        for name in names {
            match rustix::fs::statx(&folder, &name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
                Ok(facts) => page.entries.push(entry(&name, &facts)),
                // It went away since the names were read.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(page)
    }
}
