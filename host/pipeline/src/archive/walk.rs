//! Goes through the tree below open handles: a stack of directories, each with its judged entries.
//!
//! The deepest [`OPEN_DIRECTORIES`] handles stay open; those above are opened anew through `..` of their child, and
//! only used if they are still the directories they were.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_format::time::Time;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::Archiver;
use super::children::{Child, Children, Verdict};
use super::judge::{Wanted, push_component};
use crate::channel::Halt;
use crate::counters::{Counters, WarningKind};
use crate::error::BackupError;
use crate::job::{Dereference, TreeSource};
use crate::source::{FileSystemId, Kind, ScoutPlan, ScoutedEntries, Stat, open_quietly};

/// Handles kept open: well below the usual limit of 1024 for everything that a process has open.
const OPEN_DIRECTORIES: usize = 128;

/// A directory with this file, which begins with [`CACHE_SIGNATURE`], can be made anew by whoever filled it.
const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
/// Source: the Cache Directory Tagging Specification, bford.info/cachedir.
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The source, opened.
pub(crate) struct Root {
    handle: Arc<OwnedFd>,
    /// The only name that counts, if the source is a single file.
    only: Option<CString>,
    pub(super) stat: Stat,
    pub(super) file_system: FileSystemId,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = |operation, source: io::Error| BackupError::Source {
            operation,
            path: PathBuf::from(path),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (handle, only) = match openat(CWD, path, flags, Mode::empty()) {
            Ok(handle) => (handle, None),
            Err(Errno::NOTDIR) => {
                let name = path
                    .file_name()
                    .and_then(|name| CString::new(name.as_bytes()).ok());
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                let handle = openat(CWD, parent, flags, Mode::empty());
                (handle.map_err(|error| failed("open", error.into()))?, name)
            }
            Err(error) => return Err(failed("open", error.into())),
        };
        if let Some(name) = &only {
            Stat::at(&handle, name, false).map_err(|error| failed("look at", error.into()))?;
        }
        let stat = Stat::of(&handle).map_err(|error| failed("look at", error.into()))?;
        let file_system = FileSystemId::of(&handle).map_err(|error| failed("look at", error))?;
        Ok(Self {
            handle: Arc::new(handle),
            only,
            stat,
            file_system,
        })
    }

    /// What a scout is to know; `None` where it could be of no use.
    pub(crate) fn scout_plan<'a>(
        &self,
        source: &'a TreeSource,
        now: &'a (dyn Fn() -> Time + Sync),
    ) -> Option<ScoutPlan<'a>> {
        let follows = matches!(source.dereference, Dereference::Soft | Dereference::All);
        (self.only.is_none() && !follows).then(|| ScoutPlan {
            root: Arc::clone(&self.handle),
            mount: source.one_file_system.then_some(self.stat),
            exclude: &source.exclude,
            now,
        })
    }
}

/// A directory on the stack.
pub(super) struct Frame {
    /// `None` while too many are open.
    handle: Option<Arc<OwnedFd>>,
    stat: Stat,
    children: Children,
    /// Length of the directory's own path.
    path_length: usize,
    listed_bytes: usize,
}

impl Archiver<'_> {
    /// Archives everything from the root on.
    pub(super) fn walk(&mut self, root: Root) -> Result<(), Halt> {
        let mut stack = Vec::new();
        let is_file = root.only.is_some();
        let wanted = root.only.as_deref().map_or(Wanted::All, Wanted::Only);
        let child = Child {
            stat: root.stat,
            is_racy: true,
            verdict: Verdict::Enter {
                known: self.has_parent(),
            },
        };
        stack.extend(if is_file {
            self.open_single(root.handle, &child, wanted)?
        } else {
            self.count_root_match();
            match self
                .scouting
                .take(0, c"")
                .filter(|scouted| scouted.stat.is_same_file(&root.stat))
            {
                Some(scouted) => self.archive_directory(scouted.handle, &child, Some(scouted.entries))?,
                None => self.archive_directory(root.handle, &child, None)?,
            }
        });
        loop {
            let depth = stack.len();
            let Some(frame) = stack.last_mut() else { break };
            self.context.cancel.check().map_err(BackupError::from)?;
            self.path.truncate(frame.path_length);
            let next = frame.children.next().map_err(BackupError::Spool)?;
            let (Some((child, name, link)), Some(handle)) = (next, &frame.handle) else {
                self.leave(&mut stack)?;
                continue;
            };
            push_component(&mut self.path, name.to_bytes());
            let entered = match child.verdict {
                Verdict::Enter { .. } => self.enter((handle.as_fd(), name), &child, depth)?,
                Verdict::Keep(kept) => {
                    self.keep(handle.as_fd(), name, &child, (kept, link))?;
                    None
                }
                Verdict::Dump { known } => {
                    self.count_change(known);
                    self.dump(handle.as_fd(), name, &child)?;
                    None
                }
            };
            if let Some(entered) = entered {
                stack.push(entered);
                park(&mut stack);
            }
        }
        Ok(())
    }

    /// Takes the deepest directory off the stack and makes the one above usable again.
    fn leave(&mut self, stack: &mut Vec<Frame>) -> Result<(), Halt> {
        let Some(left) = stack.pop() else { return Ok(()) };
        self.listed_bytes -= left.listed_bytes;
        self.ancestors.pop();
        if stack.is_empty() && left.handle.as_deref().is_some_and(is_removed) {
            return Err(BackupError::Source {
                operation: "finish reading",
                path: self.source.root.clone(),
                source: io::Error::new(io::ErrorKind::NotFound, "it was removed meanwhile"),
            }
            .into());
        }
        if let Some(above) = stack.last_mut()
            && above.handle.is_none()
        {
            above.handle = left
                .handle
                .as_ref()
                .and_then(|handle| open_above(handle.as_fd(), &above.stat))
                .map(Arc::new);
            if above.handle.is_none() {
                self.path.truncate(above.path_length);
                let message =
                    "the directory was moved while it was read; the rest of it is missing".to_owned();
                self.counts.vanished += 1;
                self.warn(WarningKind::Vanished, message, true)?;
            }
        }
        Ok(())
    }

    /// The source is one file: nothing is said of its directory.
    fn open_single(
        &mut self,
        handle: Arc<OwnedFd>,
        child: &Child,
        wanted: Wanted<'_>,
    ) -> Result<Option<Frame>, Halt> {
        let judged = self.judge_directory(handle.as_fd(), &child.stat, (wanted, None))?;
        Ok(judged.map(|judged| self.frame(handle, child.stat, judged.children)))
    }

    /// Opens a directory, archives it, and answers it if there is something in it to go through.
    fn enter(
        &mut self,
        (above, name): (BorrowedFd<'_>, &CStr),
        child: &Child,
        depth: usize,
    ) -> Result<Option<Frame>, Halt> {
        if self.source.one_file_system && !child.stat.is_on_mount_of(&self.root) {
            self.archive_empty_directory(child)?;
            return Ok(None);
        }
        let key = (child.stat.device, child.stat.inode);
        if self.follows_symlinks() && self.ancestors.contains(&key) {
            let message = "a symbolic link that leads back to a directory above it, left out".to_owned();
            self.warn(WarningKind::Unsupported, message, true)?;
            return Ok(None);
        }
        let scouted = self.scouting.take(depth, name);
        if let Some(scouted) = scouted.filter(|scouted| scouted.stat.is_same_file(&child.stat)) {
            let child = Child {
                stat: scouted.stat,
                ..*child
            };
            return self.archive_directory(scouted.handle, &child, Some(scouted.entries));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let follow = if self.follows_symlinks() {
            OFlags::empty()
        } else {
            OFlags::NOFOLLOW
        };
        match open_quietly(above, name, flags | follow) {
            Ok(handle) => {
                let stat = Stat::of(&handle).unwrap_or(child.stat);
                self.archive_directory(Arc::new(handle), &Child { stat, ..*child }, None)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                // Its parent's header says it is there, so a restore must not keep an earlier level's content of it.
                self.counts.vanished += 1;
                self.warn(
                    WarningKind::Vanished,
                    "the directory was removed while it was read".to_owned(),
                    true,
                )?;
                self.archive_empty_directory(child)?;
                Ok(None)
            }
            Err(error) => {
                self.warn(
                    WarningKind::Unreadable,
                    format!("can't open the directory: {error}"),
                    true,
                )?;
                self.archive_unreadable_directory(child)?;
                Ok(None)
            }
        }
    }

    /// Archives an open directory: its header, then a frame for its entries.
    fn archive_directory(
        &mut self,
        handle: Arc<OwnedFd>,
        child: &Child,
        scouted: Option<ScoutedEntries>,
    ) -> Result<Option<Frame>, Halt> {
        let wanted = if self.source.exclude.caches() && is_tagged_cache(handle.as_fd()) {
            Wanted::Only(CACHE_TAG)
        } else {
            Wanted::All
        };
        let judged = self.judge_directory(handle.as_fd(), &child.stat, (wanted, scouted))?;
        let Some(mut judged) = judged else {
            self.archive_unreadable_directory(child)?;
            return Ok(None);
        };
        self.write_directory(handle.as_fd(), child, &mut judged)?;
        Ok(Some(self.frame(handle, child.stat, judged.children)))
    }

    fn frame(&mut self, handle: Arc<OwnedFd>, stat: Stat, children: Children) -> Frame {
        let listed_bytes = children.memory_bytes();
        self.listed_bytes += listed_bytes;
        self.ancestors.push((stat.device, stat.inode));
        Frame {
            handle: Some(handle),
            stat,
            children,
            path_length: self.path.len(),
            listed_bytes,
        }
    }

    /// Counts an archived entry.
    pub(super) fn count_change(&mut self, known: bool) {
        if known {
            self.counts.changed += 1;
        } else {
            self.counts.new += 1;
        }
    }

    /// Counts a directory.
    pub(super) fn count_directory(&mut self, child: &Child) {
        self.counts.directories += 1;
        Counters::add(&self.context.counters.directories, 1);
        match child.verdict {
            Verdict::Enter { known: true } => self.counts.unchanged += 1,
            _ => self.counts.new += 1,
        }
    }
}

/// Closes the handle of the uppermost open directory if there are too many.
fn park(stack: &mut [Frame]) {
    if stack.len() > OPEN_DIRECTORIES {
        let parked = stack.len() - OPEN_DIRECTORIES - 1;
        stack[parked].handle = None;
    }
}

/// Whether an open directory has no name any more.
fn is_removed(directory: &OwnedFd) -> bool {
    Stat::of(directory).is_ok_and(|stat| stat.nlink == 0)
}

/// Opens the directory above, provided it is still the one it was.
fn open_above(below: BorrowedFd<'_>, above: &Stat) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = openat(below, c"..", flags, Mode::empty()).ok()?;
    let stat = Stat::of(&handle).ok()?;
    ((stat.device, stat.inode) == (above.device, above.inode)).then_some(handle)
}

fn is_tagged_cache(directory: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = open_quietly(directory, CACHE_TAG, flags) else {
        return false;
    };
    if Stat::of(&tag).is_ok_and(|stat| stat.kind != Kind::File) {
        return false;
    }
    let mut start = [0; CACHE_SIGNATURE.len()];
    matches!(rustix::io::read(&tag, &mut start), Ok(length) if start[..length] == *CACHE_SIGNATURE)
}
