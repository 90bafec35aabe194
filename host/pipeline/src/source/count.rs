//! Counts what a first backup will read, for its progress line: a walk of its own that only looks at sizes, well ahead of
//! the backup. Nothing depends on it, so what it can't look into it leaves out.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::directory::{Lister, Names};
use super::scout::{DIRECTORY, ScoutPlan, push_name};
use super::stat::{Kind, Stat, open_quietly};

/// Directories below each other that are entered, each with an open handle.
const DEEPEST: usize = 64;

/// Files of several names that are remembered, so that each counts once: 1 MiB or so.
const LINKED_FILES: usize = 65_536;

/// Sums up the sizes of all files below a root, in bytes. `None` if `goes_on` said no before the end.
pub(crate) fn count_bytes(plan: &ScoutPlan<'_>, goes_on: &dyn Fn() -> bool) -> Option<u64> {
    let mut count = Count {
        plan,
        goes_on,
        lister: Lister::default(),
        path: Vec::new(),
        linked: HashSet::new(),
        bytes: 0,
    };
    // A handle of its own: the place in a listing belongs to whoever opened the directory.
    let root = open_quietly(&plan.root, c".", DIRECTORY).ok()?;
    let mut stack = vec![count.look(Arc::new(root))?];
    while let Some(frame) = stack.last_mut() {
        count.path.truncate(frame.path_length);
        let Some(name) = frame.below.pop() else {
            stack.pop();
            continue;
        };
        let Ok(handle) = open_quietly(&frame.handle, &name, DIRECTORY) else {
            continue;
        };
        push_name(&mut count.path, &name);
        let entered = count.look(Arc::new(handle))?;
        if stack.len() < DEEPEST {
            stack.push(entered);
        }
    }
    Some(count.bytes)
}

/// A directory that is gone through.
struct Frame {
    handle: Arc<OwnedFd>,
    /// Subdirectories still to be entered.
    below: Vec<CString>,
    path_length: usize,
}

struct Count<'c> {
    plan: &'c ScoutPlan<'c>,
    goes_on: &'c dyn Fn() -> bool,
    lister: Lister,
    /// The path of the directory at hand, below the root.
    path: Vec<u8>,
    linked: HashSet<(u64, u64)>,
    bytes: u64,
}

impl Count<'_> {
    /// Counts the files of a directory. `None` if it is to stop.
    fn look(&mut self, handle: Arc<OwnedFd>) -> Option<Frame> {
        let mut frame = Frame {
            handle: Arc::clone(&handle),
            below: Vec::new(),
            path_length: self.path.len(),
        };
        let is_elsewhere = |root: Stat| Stat::of(&handle).is_ok_and(|stat| !stat.is_on_mount_of(&root));
        if !self.plan.mount.is_some_and(is_elsewhere)
            && let Ok(mut names) = self.lister.list(&handle)
        {
            self.look_at_all(&mut names, &mut frame)?;
        }
        Some(frame)
    }

    fn look_at_all(&mut self, names: &mut Names, frame: &mut Frame) -> Option<()> {
        let rules = self.plan.exclude;
        while let Ok(Some(name)) = names.next() {
            if !(self.goes_on)() {
                return None;
            }
            let Ok(stat) = Stat::at(&frame.handle, name, false) else {
                continue;
            };
            if !matches!(stat.kind, Kind::File | Kind::Directory) {
                continue;
            }
            push_name(&mut self.path, name);
            let is_excluded = rules.excludes(&self.path, stat.kind == Kind::Directory);
            self.path.truncate(frame.path_length);
            match stat.kind {
                _ if is_excluded => {}
                Kind::Directory => frame.below.push(name.to_owned()),
                _ if self.is_counted(&stat) => {}
                _ => self.bytes = self.bytes.saturating_add(content(&stat)),
            }
        }
        Some(())
    }

    /// Whether a file was counted by another of its names.
    fn is_counted(&mut self, stat: &Stat) -> bool {
        let key = (stat.device, stat.inode);
        stat.nlink > 1 && self.linked.len() < LINKED_FILES && !self.linked.insert(key)
    }
}

/// What is read of a file: holes aren't. A file system that compresses or keeps small files elsewhere says less than it gives,
/// so only what is mostly hole is taken for one with holes.
fn content(stat: &Stat) -> u64 {
    match stat.occupied_bytes < stat.size / 2 && stat.size > 1 << 20 {
        true => stat.occupied_bytes,
        false => stat.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ExcludeRules;
    use freezer_format::time::Time;
    use std::cell::Cell;
    use std::fs::{self, File};

    #[test]
    fn what_will_be_read_is_counted_once_and_no_more() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("cache")).unwrap();
        fs::write(root.join("one"), [1; 1000]).unwrap();
        fs::write(root.join("a/b/two"), [1; 200]).unwrap();
        fs::hard_link(root.join("one"), root.join("a/again")).unwrap();
        fs::write(root.join("cache/large"), [1; 70_000]).unwrap();
        fs::write(root.join("a/left.tmp"), [1; 5000]).unwrap();
        std::os::unix::fs::symlink("one", root.join("link")).unwrap();
        File::create(root.join("hole")).unwrap().set_len(1 << 30).unwrap();
        let patterns = ["cache/".to_owned(), "*.tmp".to_owned()];
        let exclude = ExcludeRules::new(&patterns, &[], false).unwrap();
        let plan = ScoutPlan {
            root: Arc::new(OwnedFd::from(File::open(root).unwrap())),
            mount: None,
            exclude: &exclude,
            now: &|| Time::new(0, 0),
        };
        assert_eq!(count_bytes(&plan, &|| true), Some(1200));
        let left = Cell::new(3);
        let goes_on = || left.replace(left.get() - 1) > 0;
        assert_eq!(count_bytes(&plan, &goes_on), None);
    }
}
