//! Decides for all entries of one directory, before its header is written, which of them are archived.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use freezer_format::index::{EntryKind, path_excess};
use freezer_format::tar::snar::{SnarDirectory, SnarKind};
use rustix::io::Errno;

use super::children::{Child, Children, Kept, Verdict};
use super::incremental::{Known, KnownDirectory, keeps_link};
use super::links::First;
use super::{Archiver, SNAR_PIECE_BYTES};
use crate::channel::Halt;
use crate::counters::WarningKind;
use crate::error::BackupError;
use crate::job::Dereference;
use crate::source::{Kind, ListError, LookedEntries, Names, ScoutedEntries, Stat};

/// Memory of all lists of entries on the stack of directories; beyond it they go to temporary files.
const LISTS_BYTES: usize = 16 << 20;

/// Memory that each list may take even so: no file is made for a small directory.
const LEAST_LIST_BYTES: usize = 64 << 10;

/// What a directory holds.
pub(super) struct Judged {
    pub(super) children: Children,
    /// Bytes of the dumpdir that lists them.
    pub(super) dumpdir_bytes: u64,
}

/// What the kernel says of an entry.
type Looked = Result<Stat, Errno>;

/// The names of a directory.
enum Listed {
    /// Their entries are still to be looked at.
    Now(Names),
    Ahead(LookedEntries),
}

impl Listed {
    /// How many names there are, as far as that is known.
    fn count(&self) -> usize {
        match self {
            Self::Now(Names::Memory(names)) => names.count(),
            Self::Now(Names::Spilled(_)) => 0,
            Self::Ahead(entries) => entries.count(),
        }
    }

    fn next(&mut self) -> io::Result<Option<(&CStr, Option<Looked>)>> {
        Ok(match self {
            Self::Now(names) => names.next()?.map(|name| (name, None)),
            Self::Ahead(entries) => entries.next().map(|(name, seen)| (name, Some(seen))),
        })
    }
}

/// Which names of a directory count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    All,
    Only(&'a CStr),
}

impl Archiver<'_> {
    /// Lists and judges the directory whose path is at hand. `None` if it can't be listed: that was warned about.
    pub(super) fn judge_directory(
        &mut self,
        directory: BorrowedFd<'_>,
        stat: &Stat,
        (wanted, scouted): (Wanted<'_>, Option<ScoutedEntries>),
    ) -> Result<Option<Judged>, Halt> {
        let Some((mut listed, now)) = self.list(directory, scouted)? else {
            return Ok(None);
        };
        let mut known = self.parent.directory(&self.path)?;
        self.begin_snar(stat)?;
        let limit = LISTS_BYTES
            .saturating_sub(self.listed_bytes)
            .max(LEAST_LIST_BYTES);
        let mut judged = Judged {
            children: Children::new(limit, listed.count()),
            dumpdir_bytes: 1,
        };
        let ahead = self.read_ahead.directory(directory);
        let path_length = self.path.len();
        while let Some((name, seen)) = listed.next().map_err(BackupError::Spool)? {
            if matches!(wanted, Wanted::Only(only) if only != name) {
                continue;
            }
            self.context.cancel.check().map_err(BackupError::from)?;
            push_component(&mut self.path, name.to_bytes());
            let result = self.judge_entry((directory, name, seen), now, &mut known, &mut judged);
            self.path.truncate(path_length);
            if let (true, Some(ahead)) = (result?, &ahead) {
                self.read_ahead.ask(ahead, name);
            }
        }
        if let Some((snar, _)) = &mut self.snar {
            snar.end().map_err(BackupError::Spool)?;
        }
        self.send_snar(SNAR_PIECE_BYTES)?;
        judged.children.rewind().map_err(BackupError::Spool)?;
        Ok(Some(judged))
    }

    /// Lists a directory, or takes what was listed ahead, with the clock before its entries are looked at. `None` if it
    /// can't be listed: that was warned about.
    fn list(
        &mut self,
        directory: BorrowedFd<'_>,
        scouted: Option<ScoutedEntries>,
    ) -> Result<Option<(Listed, i128)>, Halt> {
        let now = (self.context.now)().as_nanos();
        match scouted {
            Some(ScoutedEntries::Looked(looked)) => {
                let looked_at = looked.looked_at;
                return Ok(Some((Listed::Ahead(looked), looked_at)));
            }
            Some(ScoutedEntries::Named(names)) => return Ok(Some((Listed::Now(Names::Memory(names)), now))),
            None => {}
        }
        match self.lister.list(directory) {
            Ok(names) => Ok(Some((Listed::Now(names), now))),
            Err(ListError::Spool(error)) => Err(BackupError::Spool(error).into()),
            Err(ListError::Directory(error)) => {
                let message = format!("can't list the directory: {error}");
                self.warn(WarningKind::Unreadable, message, true)?;
                Ok(None)
            }
        }
    }

    fn begin_snar(&mut self, stat: &Stat) -> Result<(), Halt> {
        let Some((snar, _)) = &mut self.snar else {
            return Ok(());
        };
        let directory = SnarDirectory {
            nfs: self.file_system.is_nfs(),
            mtime: stat.mtime,
            device: stat.device,
            inode: stat.inode,
            path: self.path.clone(),
        };
        Ok(snar.begin(&directory).map_err(BackupError::Spool)?)
    }

    /// Judges the entry whose path is at hand; answers whether its content is going to be read.
    fn judge_entry(
        &mut self,
        (directory, name, seen): (BorrowedFd<'_>, &CStr, Option<Looked>),
        now: i128,
        known: &mut KnownDirectory,
        judged: &mut Judged,
    ) -> Result<bool, Halt> {
        let Some(stat) = self.look(directory, name, seen)? else {
            return Ok(false);
        };
        if !self.source.exclude.has_no_patterns()
            && self
                .source
                .exclude
                .excludes(&self.path, stat.kind == Kind::Directory)
        {
            self.counts.excluded += 1;
            return Ok(false);
        }
        match stat.kind {
            Kind::Socket => {
                self.counts.sockets_skipped += 1;
                self.warn(WarningKind::Socket, "a socket, left out".to_owned(), false)?;
                return Ok(false);
            }
            Kind::Other => {
                let message = "of an unknown kind, left out".to_owned();
                self.warn(WarningKind::Unsupported, message, true)?;
                return Ok(false);
            }
            _ => {}
        }
        if let Some(excess) = path_excess(&self.path) {
            self.counts.unreadable += 1;
            self.warn(WarningKind::Unsupported, format!("{excess}, left out"), true)?;
            return Ok(false);
        }
        let found = known.find(&mut self.parent, name.to_bytes(), &stat)?;
        let verdict = self.verdict(&stat, &found);
        let link = match (&found, verdict) {
            (Known::Row(row), Verdict::Keep(_)) => row.link(),
            _ => b"",
        };
        let child = Child {
            stat,
            is_racy: self.rule.is_racy(&stat, now),
            verdict,
        };
        judged
            .children
            .push(&child, name, link)
            .map_err(BackupError::Spool)?;
        if !matches!(verdict, Verdict::Dump { .. }) {
            judged.dumpdir_bytes += name.count_bytes() as u64 + 2;
        }
        if let Some((snar, _)) = &mut self.snar {
            let kind = if stat.kind == Kind::Directory {
                SnarKind::Directory
            } else {
                SnarKind::Kept
            };
            snar.name(kind, name.to_bytes()).map_err(BackupError::Spool)?;
        }
        self.send_snar(SNAR_PIECE_BYTES)?;
        Ok(stat.kind == Kind::File && stat.size > 0 && matches!(verdict, Verdict::Dump { .. }))
    }

    /// Looks at an entry, unless it was `seen` already. `None` if it is gone or can't be looked at.
    fn look(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        seen: Option<Looked>,
    ) -> Result<Option<Stat>, Halt> {
        let follow = self.follows_symlinks();
        let mut looked = seen.unwrap_or_else(|| Stat::at(directory, name, follow));
        if follow && looked.is_err() {
            // A link that leads nowhere is kept as a link.
            looked = Stat::at(directory, name, false);
        }
        if follow && looked.is_ok_and(|stat| self.leads_back(directory, &stat)) {
            // So is one that leads back to a directory above it.
            looked = Stat::at(directory, name, false);
        }
        match looked {
            Ok(stat) => Ok(Some(stat)),
            // Gone since the directory was read, which is as if it had gone before.
            Err(Errno::NOENT) => Ok(None),
            Err(error) => {
                self.counts.unreadable += 1;
                self.warn(
                    WarningKind::Unreadable,
                    format!("can't look at it: {error}"),
                    true,
                )?;
                Ok(None)
            }
        }
    }

    /// Whether an entry of `directory` is that directory itself or one above it.
    fn leads_back(&self, directory: BorrowedFd<'_>, stat: &Stat) -> bool {
        let key = (stat.device, stat.inode);
        stat.kind == Kind::Directory
            && (self.ancestors.contains(&key)
                || Stat::of(directory).is_ok_and(|own| (own.device, own.inode) == key))
    }

    fn verdict(&mut self, stat: &Stat, found: &Known) -> Verdict {
        let known = !matches!(found, Known::No);
        if stat.kind == Kind::Directory {
            return match found {
                Known::Row(found) => Verdict::Enter {
                    known: found.row().kind == EntryKind::Directory,
                },
                _ => Verdict::Enter { known },
            };
        }
        let is_linked = self.is_linked(stat);
        let key = (stat.device, stat.inode);
        let kept = match found {
            Known::Row(found) if self.rule.is_unchanged(found.row(), stat) => {
                let row = found.row();
                let is_hard_link = row.kind == EntryKind::HardLink;
                let keeps = if is_linked {
                    keeps_link(&self.links, key, found)
                } else {
                    !is_hard_link
                };
                let is_unindexed = row.is_unindexed;
                keeps.then_some(Kept {
                    level: row.level,
                    offset: row.offset,
                    is_hard_link,
                    is_unindexed,
                })
            }
            // The original's snapshot file doesn't say where content lies; its levels are read front to back.
            Known::Name { is_unchanged: true } if !is_linked => Some(Kept {
                level: self.level.saturating_sub(1),
                offset: 0,
                is_hard_link: false,
                is_unindexed: true,
            }),
            _ => None,
        };
        if is_linked && self.links.first(key).is_none() {
            let first = if kept.is_some() {
                First::Kept(self.path.clone())
            } else {
                First::Planned
            };
            self.links.note(key, first, stat.nlink);
        }
        kept.map_or(Verdict::Dump { known }, Verdict::Keep)
    }

    /// Whether an entry has several names that are to be one again. Symbolic links, FIFOs and devices may too.
    pub(super) fn is_linked(&self, stat: &Stat) -> bool {
        stat.nlink > 1
            && stat.kind != Kind::Directory
            && !matches!(self.source.dereference, Dereference::Hard | Dereference::All)
    }

    /// Whether symbolic links are replaced by what they point to.
    pub(super) fn follows_symlinks(&self) -> bool {
        matches!(self.source.dereference, Dereference::Soft | Dereference::All)
    }
}

/// Appends a name to a path.
pub(super) fn push_component(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
