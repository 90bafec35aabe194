//! Writes members and their rows in the index: directories, links, nodes, and rows of what stays where it is.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use freezer_format::index::{Entry, EntryKind, PATH_BYTES_MAX, State};
use freezer_format::tar::dumpdir::DumpdirWriter;
use freezer_format::tar::{DUMPDIR_RECORD_MAX, Member, MemberKind, TarError, encode, encode_large_directory};
use rustix::fs::readlinkat;
use rustix::io::Errno;

use super::Archiver;
use super::children::{Child, Kept, Verdict};
use super::incremental::ParentState;
use super::judge::Judged;
use super::links::First;
use crate::channel::{Halt, Item};
use crate::counters::{Counters, WarningKind};
use crate::error::BackupError;
use crate::source::{Attributes, Kind, Reach, Stat};

/// Where the content that a row speaks of lies, and in which condition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) level: u32,
    pub(super) offset: u64,
    pub(super) is_inexact: bool,
    pub(super) is_unindexed: bool,
    pub(super) is_racy: bool,
    /// Only for directories: what they hold couldn't be seen.
    pub(super) is_unreadable: bool,
}

impl Archiver<'_> {
    /// Where a member written now would lie.
    pub(super) fn here(&self, is_racy: bool) -> Place {
        Place {
            level: self.level,
            offset: self.tar.position(),
            is_racy,
            ..Place::default()
        }
    }

    /// A member of the entry at hand, with what its stat says.
    pub(super) fn member(&mut self, kind: MemberKind, stat: &Stat, attributes: Attributes) -> Member {
        Member {
            mode: stat.mode,
            uid: stat.uid.into(),
            gid: stat.gid.into(),
            uname: self.owners.user(stat.uid).to_vec(),
            gname: self.owners.group(stat.gid).to_vec(),
            mtime: stat.mtime,
            xattrs: attributes.xattrs,
            acl_access: attributes.acl_access,
            acl_default: attributes.acl_default,
            ..Member::new(self.path.clone(), kind)
        }
    }

    /// Reads extended attributes and ACLs; warns and goes on without if that fails.
    pub(super) fn read_attributes(&mut self, reach: Reach<'_>) -> Result<Attributes, Halt> {
        match self.attributes.read(reach) {
            Ok(attributes) => Ok(attributes),
            Err(error) => {
                let message = format!("can't read its extended attributes: {error}");
                self.warn(WarningKind::Attribute, message, true)?;
                Ok(Attributes::default())
            }
        }
    }

    /// Writes a member's header. A member that tar has no form for is tried once more without its attributes;
    /// `false` if it can't be written at all.
    pub(super) fn write_header(&mut self, member: &mut Member, large: Option<u64>) -> Result<bool, Halt> {
        let mut encoded = self.encode(member, large);
        let has_attributes =
            !member.xattrs.is_empty() || member.acl_access.is_some() || member.acl_default.is_some();
        if encoded.is_err() && has_attributes {
            (member.xattrs, member.acl_access, member.acl_default) = (Vec::new(), None, None);
            encoded = self.encode(member, large);
            if encoded.is_ok() {
                let message = "its extended attributes are too large and were left out".to_owned();
                self.warn(WarningKind::Attribute, message, true)?;
            }
        }
        if let Err(error) = encoded {
            self.warn(WarningKind::Unsupported, error.to_string(), true)?;
            return Ok(false);
        }
        self.tar.write(&self.header)?;
        Ok(true)
    }

    fn encode(&mut self, member: &Member, large: Option<u64>) -> Result<(), TarError> {
        self.header.clear();
        match large {
            Some(bytes) => encode_large_directory(member, bytes, &mut self.header),
            None => encode(member, &mut self.header),
        }
    }

    /// Writes the row of the entry at hand.
    pub(super) fn write_row(
        &mut self,
        kind: EntryKind,
        stat: &Stat,
        place: Place,
        link: &[u8],
    ) -> Result<(), Halt> {
        let entry = &mut self.entry;
        entry.path.clear();
        entry.path.extend_from_slice(&self.path);
        entry.link.clear();
        entry.link.extend_from_slice(link);
        entry.kind = kind;
        entry.unreadable = place.is_unreadable;
        entry.inexact = place.is_inexact;
        entry.unindexed = place.is_unindexed;
        entry.level = place.level;
        entry.offset = place.offset;
        entry.size = if matches!(kind, EntryKind::File | EntryKind::HardLink) {
            stat.size
        } else {
            0
        };
        (entry.mode, entry.uid, entry.gid, entry.mtime) = (stat.mode, stat.uid, stat.gid, stat.mtime);
        entry.rdev = stat.rdev;
        let state = State {
            inode: stat.inode,
            ctime: stat.ctime,
            nlink: stat.nlink.into(),
            racy: place.is_racy || place.is_inexact,
        };
        self.push_row(&state)
    }

    fn push_row(&mut self, state: &State) -> Result<(), Halt> {
        if let Some((entries, states)) = self.rows.push(&self.entry, state).map_err(BackupError::Index)? {
            self.inlet.item(Item::Block(entries))?;
            self.inlet.item(Item::Block(states))?;
        }
        Ok(())
    }

    /// Writes a directory with the list of its entries.
    pub(super) fn write_directory(
        &mut self,
        handle: BorrowedFd<'_>,
        child: &Child,
        judged: &mut Judged,
    ) -> Result<(), Halt> {
        let attributes = self.read_attributes(Reach::Open(handle))?;
        let mut member = self.member(MemberKind::Directory, &child.stat, attributes);
        let is_large = judged.dumpdir_bytes > DUMPDIR_RECORD_MAX as u64;
        if !is_large {
            member.dumpdir = Some(dumpdir(judged)?);
        }
        let place = self.here(child.is_racy);
        if !self.write_header(&mut member, is_large.then_some(judged.dumpdir_bytes))? {
            return Ok(());
        }
        if is_large {
            self.write_large_dumpdir(judged)?;
        }
        self.count_directory(child);
        self.write_row(EntryKind::Directory, &child.stat, place, b"")
    }

    /// Writes a dumpdir as data, from the list of entries.
    fn write_large_dumpdir(&mut self, judged: &mut Judged) -> Result<(), Halt> {
        while let Some((child, name, _)) = judged.children.next().map_err(BackupError::Spool)? {
            let kind = match child.verdict {
                Verdict::Enter { .. } => b"D",
                Verdict::Keep(_) => b"N",
                Verdict::Dump { .. } => continue,
            };
            self.tar.write(kind)?;
            self.tar.write(name.to_bytes_with_nul())?;
        }
        self.tar.write(b"\0")?;
        self.tar.pad(judged.dumpdir_bytes)?;
        judged.children.rewind().map_err(BackupError::Spool)?;
        Ok(())
    }

    /// Writes a directory that is empty as far as this backup is concerned.
    pub(super) fn archive_empty_directory(&mut self, child: &Child) -> Result<(), Halt> {
        let mut member = self.member(MemberKind::Directory, &child.stat, Attributes::default());
        member.dumpdir = Some(DumpdirWriter::new().finish());
        let place = self.here(child.is_racy);
        if self.write_header(&mut member, None)? {
            self.count_directory(child);
            self.write_row(EntryKind::Directory, &child.stat, place, b"")?;
        }
        Ok(())
    }

    /// Writes a directory whose content can't be seen. Without a dumpdir a restore removes nothing from it, and the
    /// rows of what the parent level has below it are kept, marked as unreadable.
    pub(super) fn archive_unreadable_directory(&mut self, child: &Child) -> Result<(), Halt> {
        self.counts.unreadable += 1;
        let mut member = self.member(MemberKind::Directory, &child.stat, Attributes::default());
        let place = Place {
            is_unreadable: true,
            ..self.here(true)
        };
        if !self.write_header(&mut member, None)? {
            return Ok(());
        }
        self.count_directory(child);
        self.write_row(EntryKind::Directory, &child.stat, place, b"")?;
        let (rows, inlet, level) = (&mut self.rows, self.inlet, self.level);
        if let ParentState::Index(index) = &mut self.parent {
            let parent_level = index.level();
            index.subtree(&self.path, |entry, state| {
                let mut entry = entry.clone();
                if is_without_content(&entry, parent_level) {
                    (entry.level, entry.offset) = (level, 0);
                }
                entry.unreadable = true;
                if let Some((entries, states)) = rows.push(&entry, state).map_err(BackupError::Index)? {
                    inlet.item(Item::Block(entries))?;
                    inlet.item(Item::Block(states))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes the row of an entry that can't be read: it keeps level and offset of its last good content. An entry
    /// that the chain has no content of gets this level and offset 0: whatever could be read lies in earlier levels.
    pub(super) fn unreadable(&mut self, stat: &Stat, message: String) -> Result<(), Halt> {
        self.counts.unreadable += 1;
        self.warn(WarningKind::Unreadable, message, true)?;
        let known = match &self.parent {
            ParentState::Index(index) => index.find(&self.path)?.filter(|known| {
                known.kind != EntryKind::Directory && !is_without_content(known, index.level())
            }),
            _ => None,
        };
        match known {
            Some(known) => self.entry = known,
            None => {
                self.entry = Entry {
                    level: self.level,
                    size: stat.size,
                    mode: stat.mode,
                    uid: stat.uid,
                    gid: stat.gid,
                    mtime: stat.mtime,
                    ..Entry::new(self.path.clone(), EntryKind::File)
                };
            }
        }
        self.entry.unreadable = true;
        self.push_row(&State {
            inode: stat.inode,
            ctime: stat.ctime,
            nlink: stat.nlink.into(),
            racy: true,
        })
    }

    /// Notes that an entry was gone when it was to be read. It has no row, and its parent's dumpdir doesn't name it.
    pub(super) fn vanished(&mut self) -> Result<(), Halt> {
        self.counts.vanished += 1;
        self.warn(
            WarningKind::Vanished,
            "removed before it could be read".to_owned(),
            true,
        )
    }

    /// Whether there is a level to compare with.
    pub(super) fn has_parent(&self) -> bool {
        !matches!(self.parent, ParentState::None)
    }

    /// Counts the root as found again.
    pub(super) fn count_root_match(&mut self) {
        if let ParentState::Index(index) = &mut self.parent {
            index.count_match();
        }
    }

    /// Writes the row of an entry that stays where the parent level has it.
    pub(super) fn keep(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        child: &Child,
        (kept, link): (Kept, &[u8]),
    ) -> Result<(), Halt> {
        let stat = &child.stat;
        self.counts.unchanged += 1;
        self.count_kind(stat, kept.is_hard_link);
        let kind = match stat.kind {
            _ if kept.is_hard_link => EntryKind::HardLink,
            kind => entry_kind(kind),
        };
        let place = Place {
            level: kept.level,
            offset: kept.offset,
            is_unindexed: kept.is_unindexed,
            is_racy: child.is_racy,
            ..Place::default()
        };
        if self.is_linked(stat) {
            self.links.done((stat.device, stat.inode));
        }
        if kind == EntryKind::Symlink && link.is_empty() {
            // The original's snapshot file doesn't hold targets.
            let target = readlinkat(directory, name, Vec::new()).map(|target| target.into_bytes());
            let target = target.ok().filter(|target| target.len() <= PATH_BYTES_MAX);
            return self.write_row(kind, stat, place, &target.unwrap_or_default());
        }
        self.write_row(kind, stat, place, link)
    }

    /// Archives an entry that is no directory.
    pub(super) fn dump(&mut self, directory: BorrowedFd<'_>, name: &CStr, child: &Child) -> Result<(), Halt> {
        if self.is_linked(&child.stat) && self.dump_hard_link(child)? {
            return Ok(());
        }
        match child.stat.kind {
            Kind::File => self.dump_file(directory, name, child),
            Kind::Symlink => self.dump_symlink(directory, name, child),
            Kind::Fifo => self.dump_node(directory, name, child, MemberKind::Fifo),
            Kind::CharDevice => self.dump_node(directory, name, child, MemberKind::CharDevice),
            Kind::BlockDevice => self.dump_node(directory, name, child, MemberKind::BlockDevice),
            Kind::Directory | Kind::Socket | Kind::Other => Ok(()),
        }
    }

    /// Archives a further name of a file whose first name is in this backup; `false` if it has none.
    fn dump_hard_link(&mut self, child: &Child) -> Result<bool, Halt> {
        let stat = &child.stat;
        let key = (stat.device, stat.inode);
        let first = match self.links.first(key) {
            Some(First::Kept(first) | First::Dumped(first)) => first.clone(),
            Some(First::Planned) | None => return Ok(false),
        };
        let mut member = self.member(MemberKind::HardLink, stat, Attributes::default());
        member.link.clone_from(&first);
        let place = self.here(child.is_racy);
        if self.write_header(&mut member, None)? {
            self.count_kind(stat, true);
            self.write_row(EntryKind::HardLink, stat, place, &first)?;
        }
        self.links.done(key);
        Ok(true)
    }

    /// Notes that the entry at hand, which has several names, was archived under this one.
    pub(super) fn note_dumped(&mut self, stat: &Stat) {
        let key = (stat.device, stat.inode);
        self.links.note(key, First::Dumped(self.path.clone()), stat.nlink);
        self.links.done(key);
    }

    fn dump_symlink(&mut self, directory: BorrowedFd<'_>, name: &CStr, child: &Child) -> Result<(), Halt> {
        let key = (child.stat.device, child.stat.inode);
        let target = match readlinkat(directory, name, Vec::new()) {
            Ok(target) if target.count_bytes() > PATH_BYTES_MAX => {
                self.links.forget(key);
                self.counts.unreadable += 1;
                let message = "a symbolic link with a target that is too long, left out".to_owned();
                return self.warn(WarningKind::Unsupported, message, true);
            }
            Ok(target) => target.into_bytes(),
            // No link any more: replaced since it was looked at.
            Err(Errno::NOENT | Errno::INVAL) => {
                self.links.forget(key);
                return self.vanished();
            }
            Err(error) => {
                self.links.forget(key);
                return self.unreadable(&child.stat, format!("can't read the link: {error}"));
            }
        };
        let attributes = self.read_attributes(Reach::Named(directory.as_fd(), name))?;
        let mut member = self.member(MemberKind::Symlink, &child.stat, attributes);
        member.link.clone_from(&target);
        self.write_special(&mut member, child, &target)
    }

    fn dump_node(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        child: &Child,
        kind: MemberKind,
    ) -> Result<(), Halt> {
        let attributes = self.read_attributes(Reach::Named(directory.as_fd(), name))?;
        let mut member = self.member(kind, &child.stat, attributes);
        if kind != MemberKind::Fifo {
            member.rdev = child.stat.rdev;
        }
        self.write_special(&mut member, child, b"")
    }

    /// Writes the first name of a symbolic link, FIFO or device, and its row.
    fn write_special(&mut self, member: &mut Member, child: &Child, link: &[u8]) -> Result<(), Halt> {
        let stat = &child.stat;
        let place = self.here(child.is_racy);
        if !self.write_header(member, None)? {
            self.links.forget((stat.device, stat.inode));
            return Ok(());
        }
        self.count_kind(stat, false);
        if self.is_linked(stat) {
            self.note_dumped(stat);
        }
        self.write_row(entry_kind(stat.kind), stat, place, link)
    }

    /// Counts an entry that is no directory.
    pub(super) fn count_kind(&mut self, stat: &Stat, is_hard_link: bool) {
        let counters = self.context.counters;
        let (count, counter) = match stat.kind {
            _ if is_hard_link => (&mut self.counts.hard_links, &counters.others),
            Kind::File => (&mut self.counts.files, &counters.files),
            Kind::Symlink => (&mut self.counts.symlinks, &counters.others),
            _ => (&mut self.counts.others, &counters.others),
        };
        *count += 1;
        Counters::add(counter, 1);
        if stat.kind == Kind::File && !is_hard_link {
            self.counts.bytes = self.counts.bytes.saturating_add(stat.size);
        }
    }
}

/// Whether a row of a level says that the chain up to it has no content of an entry. Unreadable directories have
/// a member even so.
fn is_without_content(entry: &Entry, level: u32) -> bool {
    entry.unreadable && entry.level == level && entry.kind != EntryKind::Directory
}

fn dumpdir(judged: &mut Judged) -> Result<Vec<u8>, BackupError> {
    let mut dumpdir = DumpdirWriter::new();
    while let Some((child, name, _)) = judged.children.next().map_err(BackupError::Spool)? {
        match child.verdict {
            Verdict::Enter { .. } => dumpdir.directory(name.to_bytes()),
            Verdict::Keep(_) => dumpdir.kept(name.to_bytes()),
            Verdict::Dump { .. } => {}
        }
    }
    judged.children.rewind().map_err(BackupError::Spool)?;
    Ok(dumpdir.finish())
}

fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Fifo => EntryKind::Fifo,
        Kind::CharDevice => EntryKind::CharDevice,
        Kind::BlockDevice => EntryKind::BlockDevice,
        Kind::File | Kind::Socket | Kind::Other => EntryKind::File,
    }
}
