//! Looks into directories before the walk comes to them, so that listing and judging overlap.
//!
//! The walk asks for the subdirectories that it enters next, below their parent's open handle; the nearest one is
//! looked at first. What isn't begun when the walk arrives, the walk does itself, so it never waits for anything but
//! the very directory it needs. Nothing here decides: an error or a large directory is left to the walk, which lists,
//! judges and warns in the same way either way, and the bytes that are archived don't depend on who looked.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use freezer_format::time::Time;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::directory::{Lister, SortedNames};
use super::stat::{Stat, open_quietly};

/// Directories that were looked into and wait for the walk, each with an open handle: with those that the walk keeps
/// open well below the usual limit of 1024.
const READY_DIRECTORIES: usize = 64;

/// Entries of these directories, about 200 bytes each: 3 MiB.
const READY_ENTRIES: usize = 16_384;

/// Requests that may wait, about 100 bytes each.
const WAITING_REQUESTS: usize = 4096;

/// Bytes of names (and their places) of a directory that is looked into: about 4000 entries. The walk lists larger
/// ones itself, beyond its own limit through a file.
const DIRECTORY_BYTES: usize = 128 << 10;

/// Most threads that look ahead: on a local file system one keeps up with the walk, a network's waits take more.
const MOST_THREADS: usize = 4;

/// A directory that was looked into.
pub(crate) struct Scouted {
    pub(crate) handle: OwnedFd,
    pub(crate) stat: Stat,
    pub(crate) entries: ScoutedEntries,
}

/// Its entries.
pub(crate) struct ScoutedEntries {
    /// The clock before the first entry was looked at, in nanoseconds.
    pub(crate) looked_at: i128,
    names: SortedNames,
    stats: std::vec::IntoIter<Result<Stat, Errno>>,
}

impl ScoutedEntries {
    /// Lends the next name, ascending by bytes, with what the kernel says of it.
    pub(crate) fn next(&mut self) -> Option<(&CStr, Result<Stat, Errno>)> {
        let stat = self.stats.next()?;
        let name = CStr::from_bytes_with_nul(self.names.next()?).ok()?;
        Some((name, stat))
    }
}

/// A directory that is to be looked into.
struct Request {
    name: CString,
    stage: Mutex<Stage>,
    changed: Condvar,
}

enum Stage {
    /// Nobody has begun. Holds the directory above.
    Waiting(Arc<OwnedFd>),
    /// A thread is at it.
    Begun,
    /// `None`: left to the walk.
    Ready(Option<Box<Scouted>>),
    /// The walk has it, or doesn't want it any more.
    Over,
}

impl Request {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, unless it is over; answers the directory above.
    fn begin(&self) -> Option<Arc<OwnedFd>> {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Waiting(above) => {
                *stage = Stage::Begun;
                Some(above)
            }
            _ => None,
        }
    }
}

/// The requests, shared by the walk and the threads.
pub(crate) struct Scouts<'a> {
    now: &'a (dyn Fn() -> Time + Sync),
    threads: usize,
    queue: Mutex<Queue>,
    /// There may be work, or room for it.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// The nearest last.
    waiting: Vec<Arc<Request>>,
    ready_directories: usize,
    ready_entries: usize,
    idle_threads: usize,
    is_over: bool,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.ready_directories < READY_DIRECTORIES && self.ready_entries < READY_ENTRIES
    }

    /// Whether a sleeping thread has enough to do: waking one for each directory would cost more than it gains.
    fn is_worth_waking(&self) -> bool {
        self.idle_threads > 0
            && !self.waiting.is_empty()
            && self.ready_directories <= READY_DIRECTORIES / 2
            && self.ready_entries <= READY_ENTRIES / 2
    }
}

impl<'a> Scouts<'a> {
    /// Makes the queue for a backup with so many workers; with one, there are no scouts.
    pub(crate) fn new(workers: usize, now: &'a (dyn Fn() -> Time + Sync)) -> Self {
        Self {
            now,
            threads: workers.saturating_sub(1).min(MOST_THREADS),
            queue: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// How many threads are to call [`Scouts::run`].
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for some subdirectories of a directory, in the order in which they will be entered.
    pub(crate) fn ask(&self, above: &Arc<OwnedFd>, names: Vec<CString>) -> Vec<Ticket<'_, 'a>> {
        let mut tickets = Vec::new();
        if self.threads == 0 || names.is_empty() {
            return tickets;
        }
        let mut queue = self.queue();
        // The walk takes the nearest first, so what is over lies at the end.
        while queue
            .waiting
            .last()
            .is_some_and(|request| Arc::strong_count(request) == 1)
        {
            queue.waiting.pop();
        }
        let room = WAITING_REQUESTS.saturating_sub(queue.waiting.len());
        for name in names.into_iter().take(room) {
            let request = Arc::new(Request {
                name,
                stage: Mutex::new(Stage::Waiting(Arc::clone(above))),
                changed: Condvar::new(),
            });
            tickets.push(Ticket {
                request,
                scouts: self,
            });
        }
        let requests = tickets.iter().rev().map(|ticket| Arc::clone(&ticket.request));
        queue.waiting.extend(requests);
        if queue.is_worth_waking() {
            self.changed.notify_all();
        }
        tickets
    }

    /// Looks into directories until [`Scouts::end`].
    pub(crate) fn run(&self) {
        let mut lister = Lister::with_memory(DIRECTORY_BYTES);
        while let Some(request) = self.next() {
            let Some(above) = request.begin() else {
                self.release(0);
                continue;
            };
            let scouted = scout(&above, &request.name, &mut lister, self.now).map(Box::new);
            drop(above);
            let entries = scouted.as_ref().map_or(0, |scouted| scouted.entries.stats.len());
            self.queue().ready_entries += entries;
            let mut stage = request.stage();
            if matches!(*stage, Stage::Begun) {
                *stage = Stage::Ready(scouted);
                request.changed.notify_one();
            } else {
                drop(stage);
                self.release(entries);
            }
        }
    }

    /// Waits for the nearest request, and room for its answer.
    fn next(&self) -> Option<Arc<Request>> {
        let mut queue = self.queue();
        loop {
            if queue.is_over {
                return None;
            }
            if queue.has_room()
                && let Some(request) = queue.waiting.pop()
            {
                if Arc::strong_count(&request) > 1 {
                    queue.ready_directories += 1;
                    return Some(request);
                }
                continue;
            }
            queue.idle_threads += 1;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle_threads -= 1;
        }
    }

    /// Gives the room of an answer back.
    fn release(&self, entries: usize) {
        let mut queue = self.queue();
        queue.ready_directories -= 1;
        queue.ready_entries -= entries;
        if queue.is_worth_waking() {
            self.changed.notify_all();
        }
    }

    /// Tells the threads to end when they are done with what they are at.
    pub(crate) fn end(&self) {
        self.queue().is_over = true;
        self.changed.notify_all();
    }
}

/// The walk's hold on a request. Dropped, it takes the request back.
pub(crate) struct Ticket<'s, 'a> {
    request: Arc<Request>,
    scouts: &'s Scouts<'a>,
}

impl Ticket<'_, '_> {
    /// Whether it is for a subdirectory of this name.
    pub(crate) fn is_for(&self, name: &CStr) -> bool {
        *self.request.name == *name
    }

    /// Takes the answer; `None` if the walk is to look itself. Waits only if a thread has begun.
    pub(crate) fn take(self) -> Option<Scouted> {
        let mut stage = self.request.stage();
        while matches!(*stage, Stage::Begun) {
            stage = self
                .request
                .changed
                .wait(stage)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let taken = self.finish(stage);
        taken.map(|scouted| *scouted)
    }

    fn finish(&self, mut stage: MutexGuard<'_, Stage>) -> Option<Box<Scouted>> {
        let last = std::mem::replace(&mut *stage, Stage::Over);
        drop(stage);
        let Stage::Ready(scouted) = last else { return None };
        let entries = scouted.as_ref().map_or(0, |scouted| scouted.entries.stats.len());
        self.scouts.release(entries);
        scouted
    }
}

impl Drop for Ticket<'_, '_> {
    fn drop(&mut self) {
        drop(self.finish(self.request.stage()));
    }
}

/// Looks into a directory; `None` if it is large or anything fails.
fn scout(
    above: &OwnedFd,
    name: &CStr,
    lister: &mut Lister,
    now: &(dyn Fn() -> Time + Sync),
) -> Option<Scouted> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = open_quietly(above, name, flags).ok()?;
    let stat = Stat::of(&handle).ok()?;
    let looked_at = now().as_nanos();
    let names = lister.list_small(&handle).ok()??;
    let stats: Vec<_> = names.iter().map(|name| Stat::at(&handle, name, false)).collect();
    Some(Scouted {
        handle,
        stat,
        entries: ScoutedEntries {
            looked_at,
            names,
            stats: stats.into_iter(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(directories: usize, files: usize) -> (tempfile::TempDir, Arc<OwnedFd>, Vec<CString>) {
        let root = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for number in 0..directories {
            let name = format!("{number:05}");
            fs::create_dir(root.path().join(&name)).unwrap();
            for file in 0..files {
                fs::write(root.path().join(&name).join(format!("f{file}")), b"x").unwrap();
            }
            names.push(CString::new(name).unwrap());
        }
        let handle = Arc::new(OwnedFd::from(fs::File::open(root.path()).unwrap()));
        (root, handle, names)
    }

    fn now() -> Time {
        Time::new(7, 0)
    }

    fn names_of(mut scouted: Scouted) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| {
            let (name, stat) = scouted.entries.next()?;
            assert!(stat.is_ok());
            Some(name.to_bytes().to_vec())
        })
        .collect()
    }

    #[test]
    fn every_directory_is_answered_or_left_to_the_walk() {
        let (root, handle, mut names) = tree(300, 3);
        names.push(c"absent".to_owned());
        fs::write(root.path().join("file"), b"x").unwrap();
        names.push(c"file".to_owned());
        let scouts = Scouts::new(3, &now);
        std::thread::scope(|scope| {
            for _ in 0..scouts.threads() {
                scope.spawn(|| scouts.run());
            }
            for (number, ticket) in scouts.ask(&handle, names).into_iter().enumerate() {
                if let Some(scouted) = ticket.take() {
                    assert!(number < 300);
                    assert_eq!(scouted.entries.looked_at, 7_000_000_000);
                    assert_eq!(names_of(scouted), [b"f0", b"f1", b"f2"]);
                }
            }
            scouts.end();
        });
        let queue = scouts.queue();
        assert_eq!((queue.ready_directories, queue.ready_entries), (0, 0));
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let (_root, handle, names) = tree(READY_DIRECTORIES * 2, 2);
        let scouts = Scouts::new(2, &now);
        std::thread::scope(|scope| {
            scope.spawn(|| scouts.run());
            let mut tickets = scouts.ask(&handle, names);
            let is_full =
                |queue: &Queue| (queue.ready_directories, queue.idle_threads) == (READY_DIRECTORIES, 1);
            while !is_full(&scouts.queue()) {
                std::thread::yield_now();
            }
            // The last can't have been begun: the walk does it without waiting. The first is there.
            assert!(tickets.pop().unwrap().take().is_none());
            let first = tickets.remove(0);
            assert!(first.is_for(c"00000"));
            assert!(first.take().is_some());
            drop(tickets);
            scouts.end();
        });
        let queue = scouts.queue();
        assert_eq!((queue.ready_directories, queue.ready_entries), (0, 0));
        assert_eq!(Arc::strong_count(&handle), 1);
    }

    #[test]
    fn a_large_directory_is_left_to_the_walk() {
        let (root, handle, names) = tree(1, 0);
        for number in 0..DIRECTORY_BYTES / 100 {
            fs::write(root.path().join("00000").join(format!("{number:0>100}")), b"").unwrap();
        }
        let mut lister = Lister::with_memory(DIRECTORY_BYTES);
        assert!(scout(&handle, &names[0], &mut lister, &now).is_none());
        assert_eq!(Scouts::new(1, &now).ask(&handle, names).len(), 0);
    }
}
