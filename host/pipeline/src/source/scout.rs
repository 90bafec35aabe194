//! Goes through the tree ahead of the walk, so that listing and looking overlap with judging and writing.
//!
//! The scout enters directories in the walk's own order and queues what it saw; the walk takes what fits the directory
//! that it enters and passes over the rest. A walk that waits gets mere names, and looks at the entries itself: so both
//! have half of the work whichever half is dearer here. Nothing is decided here: where the scout fails or gives up, the
//! walk lists, judges and warns in the same way, and the bytes that are archived don't depend on who looked.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use freezer_format::time::Time;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::directory::{Lister, SortedNames};
use super::exclude::ExcludeRules;
use super::stat::{Kind, Stat, open_quietly};

/// Directories that may wait for the walk, each with an open handle: with those that the walk keeps open well below the
/// usual limit of 1024.
const READY_DIRECTORIES: usize = 128;

/// Entries of these directories, about 200 bytes each: 3 MiB.
const READY_ENTRIES: usize = 16_384;

/// With less work ready than this, in entries, the walk is about to wait, and gets names only.
const STARVING: usize = 256;

/// The walk's work for a directory beside its entries, in entries.
const DIRECTORY_WORK: usize = 8;

/// Entries that are worth waking the walk for: a sleep for each small directory would cost more than the overlap gains.
const WAKE_ENTRIES: usize = 64;

/// After so long the walk looks for less: the next directory may be a slow one.
const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// Bytes of names (and their places) of a directory that is looked into: about 16 000 entries. The walk lists larger
/// ones itself, beyond its own limit through a file.
const DIRECTORY_BYTES: usize = 512 << 10;

/// Directories below each other whose handles the scout keeps; what lies deeper is left to the walk.
const DEEPEST: usize = 64;

/// What marks a cache directory; what lies in it may be left out, which the walk decides.
const CACHE_TAG: &CStr = c"CACHEDIR.TAG";

/// How directories are opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory that was looked into.
pub(crate) struct Scouted {
    /// Directories between it and the root.
    depth: usize,
    name: CString,
    pub(crate) handle: Arc<OwnedFd>,
    pub(crate) stat: Stat,
    pub(crate) entries: ScoutedEntries,
}

/// The entries of a directory, ascending by bytes.
pub(crate) enum ScoutedEntries {
    /// Names only.
    Named(SortedNames),
    /// With what the kernel says of each.
    Looked(LookedEntries),
}

/// Entries that were looked at.
pub(crate) struct LookedEntries {
    /// The clock before the first entry was looked at, in nanoseconds.
    pub(crate) looked_at: i128,
    names: SortedNames,
    stats: std::vec::IntoIter<Result<Stat, Errno>>,
}

impl LookedEntries {
    /// How many are left.
    pub(crate) fn count(&self) -> usize {
        self.stats.len()
    }

    /// Lends the next name with what the kernel says of it.
    pub(crate) fn next(&mut self) -> Option<(&CStr, Result<Stat, Errno>)> {
        let stat = self.stats.next()?;
        let name = CStr::from_bytes_with_nul(self.names.next()?).ok()?;
        Some((name, stat))
    }
}

impl ScoutedEntries {
    fn count(&self) -> usize {
        match self {
            Self::Named(names) => names.count(),
            Self::Looked(looked) => looked.count(),
        }
    }
}

/// What the scout has seen and the walk hasn't taken yet. Made for one backup.
pub(crate) struct Scouting {
    queue: Mutex<Queue>,
    /// The walk may go on.
    filled: Condvar,
    /// The scout may go on.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Scouted>,
    entries: usize,
    walk_waits: bool,
    scout_waits: bool,
    /// One side has ended.
    is_over: bool,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.ready.len() >= READY_DIRECTORIES || self.entries >= READY_ENTRIES
    }

    /// Room that is worth waking the scout for.
    fn has_much_room(&self) -> bool {
        self.ready.len() <= READY_DIRECTORIES / 2 && self.entries <= READY_ENTRIES / 2
    }

    fn pop(&mut self) -> Option<Scouted> {
        let scouted = self.ready.pop_front()?;
        self.entries -= scouted.entries.count();
        Some(scouted)
    }
}

/// What the scout needs to know of the tree.
pub(crate) struct ScoutPlan<'a> {
    /// The root's handle.
    pub(crate) root: Arc<OwnedFd>,
    /// Set if only directories on the root's mount are entered.
    pub(crate) mount: Option<Stat>,
    pub(crate) exclude: &'a ExcludeRules,
    pub(crate) now: &'a (dyn Fn() -> Time + Sync),
}

impl Scouting {
    /// Makes the queue. Without a scout it is over from the beginning.
    pub(crate) fn new(has_scout: bool) -> Self {
        let queue = Queue {
            is_over: !has_scout,
            ..Queue::default()
        };
        Self {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the scout saw in the directory of this name, so many directories below the root; `None` if the walk is to
    /// look itself. Directories must be asked for in the order in which the walk enters them.
    pub(crate) fn take(&self, depth: usize, name: &CStr) -> Option<Scouted> {
        let mut queue = self.queue();
        loop {
            let Some(first) = queue.ready.front() else {
                if queue.is_over {
                    return None;
                }
                queue.walk_waits = true;
                let waited = self.filled.wait_timeout(queue, LONGEST_WAIT);
                (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
                queue.walk_waits = false;
                continue;
            };
            let order = depth
                .cmp(&first.depth)
                .then_with(|| first.name.as_c_str().cmp(name));
            let taken = match order {
                // The scout is past it: it saw nothing there.
                Ordering::Greater => return None,
                Ordering::Equal => queue.pop(),
                // The walk didn't enter it.
                Ordering::Less => {
                    queue.pop();
                    None
                }
            };
            if queue.scout_waits && queue.has_much_room() {
                self.emptied.notify_one();
            }
            if taken.is_some() {
                return taken;
            }
        }
    }

    /// Ends the other side's waiting.
    pub(crate) fn end(&self) {
        self.queue().is_over = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Waits for room. Says whether the walk is about to wait; `None` once it has ended.
    fn wait_for_room(&self) -> Option<bool> {
        let mut queue = self.queue();
        while queue.is_full() && !queue.is_over {
            queue.scout_waits = true;
            queue = self.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.scout_waits = false;
        }
        let work = queue.entries + DIRECTORY_WORK * queue.ready.len();
        (!queue.is_over).then_some(work < STARVING)
    }

    fn push(&self, scouted: Scouted) {
        let mut queue = self.queue();
        queue.entries += scouted.entries.count();
        queue.ready.push_back(scouted);
        if queue.walk_waits && (queue.entries >= WAKE_ENTRIES || queue.is_full()) {
            self.filled.notify_one();
        }
    }

    /// Goes through the tree until it is done or the walk has ended.
    pub(crate) fn run(&self, plan: &ScoutPlan<'_>) {
        Scout {
            scouting: self,
            plan,
            lister: Lister::with_memory(DIRECTORY_BYTES),
            path: Vec::new(),
        }
        .run();
        self.end();
    }
}

/// A directory that the scout is in.
struct Frame {
    handle: Arc<OwnedFd>,
    /// Subdirectories still to be entered, the next one last.
    below: Vec<CString>,
    path_length: usize,
}

struct Scout<'s> {
    scouting: &'s Scouting,
    plan: &'s ScoutPlan<'s>,
    lister: Lister,
    /// The path of the directory at hand, below the root.
    path: Vec<u8>,
}

impl Scout<'_> {
    fn run(&mut self) {
        let mut stack = Vec::new();
        // A handle of its own: the place in a listing belongs to whoever opened the directory.
        let Ok(root) = open_quietly(&self.plan.root, c".", DIRECTORY) else {
            return;
        };
        stack.extend(self.look(0, CString::default(), Arc::new(root)).flatten());
        while let Some(frame) = stack.last_mut() {
            self.path.truncate(frame.path_length);
            let Some(name) = frame.below.pop() else {
                stack.pop();
                continue;
            };
            let Ok(handle) = open_quietly(&frame.handle, &name, DIRECTORY) else {
                continue;
            };
            push_name(&mut self.path, &name);
            let depth = stack.len();
            match self.look(depth, name, Arc::new(handle)) {
                Some(Some(entered)) if depth < DEEPEST => stack.push(entered),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Looks into a directory and queues what it saw. `None` once the walk has ended, `Some(None)` if nothing below is
    /// to be entered.
    fn look(&mut self, depth: usize, name: CString, handle: Arc<OwnedFd>) -> Option<Option<Frame>> {
        let is_starving = self.scouting.wait_for_room()?;
        let Ok(stat) = Stat::of(&handle) else {
            return Some(None);
        };
        if self.plan.mount.is_some_and(|root| !stat.is_on_mount_of(&root)) {
            return Some(None);
        }
        let looked_at = (self.plan.now)().as_nanos();
        let Ok(Some(names)) = self.lister.list_small(&handle) else {
            return Some(None);
        };
        let names_only = is_starving && names.kinds_are_known();
        let stats: Vec<_> = if names_only {
            Vec::new()
        } else {
            names.iter().map(|name| Stat::at(&handle, name, false)).collect()
        };
        let below = self.below(&names, &stats);
        let entries = if names_only {
            ScoutedEntries::Named(names)
        } else {
            ScoutedEntries::Looked(LookedEntries {
                looked_at,
                names,
                stats: stats.into_iter(),
            })
        };
        let frame = (!below.is_empty()).then(|| Frame {
            handle: Arc::clone(&handle),
            below,
            path_length: self.path.len(),
        });
        self.scouting.push(Scouted {
            depth,
            name,
            handle,
            stat,
            entries,
        });
        Some(frame)
    }

    /// The subdirectories that the walk will enter as far as can be told here, the first one last.
    fn below(&mut self, names: &SortedNames, stats: &[Result<Stat, Errno>]) -> Vec<CString> {
        let rules = self.plan.exclude;
        let (length, judges) = (self.path.len(), !rules.has_no_patterns());
        let mut below = Vec::new();
        for (place, name) in names.iter().enumerate() {
            if rules.caches() && name == CACHE_TAG {
                return Vec::new();
            }
            let is_directory = match stats.get(place) {
                Some(stat) => stat.is_ok_and(|stat| stat.kind == Kind::Directory),
                None => names.is_directory(place),
            };
            if !is_directory {
                continue;
            }
            push_name(&mut self.path, name);
            let is_excluded = judges && rules.excludes(&self.path, true);
            self.path.truncate(length);
            if !is_excluded {
                below.push(name.to_owned());
            }
        }
        below.reverse();
        below
    }
}

pub(super) fn push_name(path: &mut Vec<u8>, name: &CStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::path::Path;

    fn now() -> Time {
        Time::new(7, 0)
    }

    fn plan<'a>(root: &Path, exclude: &'a ExcludeRules) -> ScoutPlan<'a> {
        ScoutPlan {
            root: Arc::new(OwnedFd::from(File::open(root).unwrap())),
            mount: None,
            exclude,
            now: &now,
        }
    }

    fn rules(patterns: &[&str], caches: bool) -> ExcludeRules {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        ExcludeRules::new(&patterns, &[], caches).unwrap()
    }

    fn names_of(entries: ScoutedEntries) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        match entries {
            ScoutedEntries::Named(mut names) => {
                while let Some(name) = names.next() {
                    all.push(name[..name.len() - 1].to_vec());
                }
            }
            ScoutedEntries::Looked(mut looked) => {
                assert_eq!(looked.looked_at, 7_000_000_000);
                while let Some((name, stat)) = looked.next() {
                    assert!(stat.is_ok());
                    all.push(name.to_bytes().to_vec());
                }
            }
        }
        all
    }

    /// Runs a scout and asks for `wanted` directories; answers what was seen in each.
    fn ask(plan: &ScoutPlan<'_>, wanted: &[(usize, &CStr)]) -> Vec<Option<Vec<Vec<u8>>>> {
        let scouting = Scouting::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| scouting.run(plan));
            let ask = |&(depth, name): &(usize, &CStr)| Some(names_of(scouting.take(depth, name)?.entries));
            let seen = wanted.iter().map(ask).collect();
            scouting.end();
            seen
        })
    }

    fn names(names: &[&str]) -> Option<Vec<Vec<u8>>> {
        Some(names.iter().map(|name| name.as_bytes().to_vec()).collect())
    }

    #[test]
    fn the_walk_gets_what_it_enters_and_passes_over_the_rest() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/deep/er", "b/x", "b/y", "d"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        File::create(root.path().join("b/x/file")).unwrap();
        let exclude = rules(&[], false);
        let wanted = [
            (0, c""),
            (1, c"b"),
            (2, c"x"),
            (1, c"c"),
            (1, c"d"),
            (2, c"none"),
            (1, c"e"),
        ];
        let seen = ask(&plan(root.path(), &exclude), &wanted);
        let expected = [
            names(&["a", "b", "d"]),
            names(&["x", "y"]),
            names(&["file"]),
            None,
            names(&[]),
            None,
            None,
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for_and_the_end_frees_the_scout() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..READY_DIRECTORIES * 2 {
            fs::create_dir(root.path().join(format!("{number:05}"))).unwrap();
        }
        let exclude = rules(&[], false);
        let plan = plan(root.path(), &exclude);
        let scouting = Scouting::new(true);
        std::thread::scope(|scope| {
            let scout = scope.spawn(|| scouting.run(&plan));
            while scouting.queue().ready.len() < READY_DIRECTORIES {
                std::thread::yield_now();
            }
            assert!(scouting.take(0, c"").is_some());
            assert!(
                scouting.take(1, c"00200").is_some(),
                "it goes on where there is room"
            );
            assert!(!scout.is_finished() || scouting.queue().is_over);
            scouting.end();
        });
        assert!(scouting.queue().ready.len() <= READY_DIRECTORIES);
    }

    #[test]
    fn what_is_excluded_large_or_a_cache_is_not_entered() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/in", "cache/in", "large/in", "z"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        File::create(root.path().join("cache/CACHEDIR.TAG")).unwrap();
        for number in 0..DIRECTORY_BYTES / 100 {
            File::create(root.path().join(format!("large/{number:0>100}"))).unwrap();
        }
        let exclude = rules(&["/a"], true);
        let wanted = [
            (0, c""),
            (1, c"a"),
            (1, c"cache"),
            (2, c"in"),
            (1, c"large"),
            (2, c"in"),
            (1, c"z"),
        ];
        let seen = ask(&plan(root.path(), &exclude), &wanted);
        let is_seen: Vec<_> = seen.iter().map(Option::is_some).collect();
        assert_eq!(is_seen, [true, false, true, false, false, false, true]);
    }

    #[test]
    fn without_a_scout_the_walk_looks_itself() {
        assert!(Scouting::new(false).take(0, c"").is_none());
    }
}
