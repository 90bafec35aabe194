//! A file system in memory, with what goes wrong on real ones: full, read-only, symlinks, power cuts.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;

use super::machine::{WitResult, fault};
use crate::bindings::imports::freezer::plugin::directories::{Entry, EntryKind, EntryPage, Existing};
use crate::bindings::imports::freezer::plugin::types::Timestamp;
use crate::error::ErrorKind;
use crate::host::directories::PATH_BYTES;

/// Entries in one page, as the contract says.
const PAGE_ENTRIES: usize = 1000;

#[derive(Debug)]
enum Node {
    Directory,
    File { content: Vec<u8>, durable: bool },
    Symlink,
}

#[derive(Debug, Default)]
struct Tree {
    /// By path; the root is "" and exists once it was made.
    nodes: BTreeMap<String, (Node, Timestamp)>,
    capacity: Option<u64>,
    read_only: bool,
    /// Each change happens a second after the one before.
    clock: i64,
}

/// All below one root.
#[derive(Debug, Default)]
pub(super) struct Disk(RefCell<Tree>);

impl Disk {
    fn tree(&self) -> RefMut<'_, Tree> {
        self.0.borrow_mut()
    }

    pub(super) fn make_root(&self) {
        self.tree().insert("", Node::Directory);
    }

    pub(super) fn has_root(&self) -> bool {
        self.tree().nodes.contains_key("")
    }

    /// Makes the root if need be; a plain file in its place is shown by [`Disk::put_file`] with the path "".
    pub(super) fn open(&self, writing: bool) -> WitResult<()> {
        let mut tree = self.tree();
        match tree.nodes.get("") {
            Some((Node::Directory, _)) => Ok(()),
            Some(_) => Err(fault(ErrorKind::Invalid, "not a directory")),
            None if writing => {
                tree.check_writable()?;
                tree.insert("", Node::Directory);
                Ok(())
            }
            None => Err(fault(ErrorKind::NotFound, "no such directory")),
        }
    }

    pub(super) fn set_read_only(&self) {
        self.tree().read_only = true;
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.tree().capacity = Some(bytes);
    }

    pub(super) fn put_file(&self, path: &str, content: &[u8]) {
        let mut tree = self.tree();
        tree.make_parents(path)
            .expect("the path of a test file leads through directories");
        tree.insert(
            path,
            Node::File {
                content: content.to_vec(),
                durable: true,
            },
        );
    }

    pub(super) fn put_symlink(&self, path: &str) {
        let mut tree = self.tree();
        tree.make_parents(path)
            .expect("the path of a test symlink leads through directories");
        tree.insert(path, Node::Symlink);
    }

    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        match self.tree().nodes.get(path) {
            Some((Node::File { content, .. }, _)) => Some(content.clone()),
            _ => None,
        }
    }

    pub(super) fn paths(&self) -> Vec<String> {
        let tree = self.tree();
        let files = tree
            .nodes
            .iter()
            .filter(|(_, (node, _))| !matches!(node, Node::Directory));
        files.map(|(path, _)| path.clone()).collect()
    }

    pub(super) fn cut_power(&self) {
        for (node, _) in self.tree().nodes.values_mut() {
            if let Node::File {
                content,
                durable: false,
            } = node
            {
                content.clear();
            }
        }
    }

    pub(super) fn list(&self, path: &str, cursor: Option<&str>) -> WitResult<EntryPage> {
        let tree = self.tree();
        if !matches!(tree.look_up(path)?, Node::Directory) {
            return Err(fault(ErrorKind::Invalid, "not a directory"));
        }
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let mut names: Vec<&str> = tree
            .nodes
            .keys()
            .filter_map(|other| other.strip_prefix(prefix.as_str()))
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .filter(|name| cursor.is_none_or(|cursor| *name > cursor))
            .collect();
        names.sort_unstable();
        let more = names.len() > PAGE_ENTRIES;
        names.truncate(PAGE_ENTRIES);
        let next = names.last().filter(|_| more).map(|name| (*name).to_owned());
        let entries = names
            .into_iter()
            .map(|name| tree.entry(&format!("{prefix}{name}")))
            .collect::<WitResult<_>>()?;
        Ok(EntryPage { entries, next })
    }

    pub(super) fn stat(&self, path: &str) -> WitResult<Entry> {
        let tree = self.tree();
        tree.look_up(path)?;
        tree.entry(path)
    }

    /// The bytes of a range, and whether it is as long as was asked.
    pub(super) fn read(&self, path: &str, offset: u64, length: Option<u64>) -> WitResult<(Vec<u8>, bool)> {
        let tree = self.tree();
        let Node::File { content, .. } = tree.look_up(path)? else {
            return Err(fault(ErrorKind::Invalid, "not a regular file"));
        };
        let start = usize::try_from(offset)
            .ok()
            .filter(|start| *start <= content.len());
        let start = start.ok_or_else(|| fault(ErrorKind::Invalid, "the offset lies behind the end"))?;
        let left = content.len() - start;
        let wanted = length.map_or(left, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let end = start + wanted.min(left);
        Ok((content[start..end].to_vec(), wanted <= left))
    }

    pub(super) fn write(&self, path: &str, offset: u64, bytes: &[u8]) -> WitResult<u64> {
        let mut tree = self.tree();
        tree.check_writable()?;
        tree.make_parents(path)?;
        let used = tree.used();
        let free = tree
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(used));
        if !tree.nodes.contains_key(path) {
            tree.insert(
                path,
                Node::File {
                    content: Vec::new(),
                    durable: false,
                },
            );
        }
        let now = tree.now();
        let Some((Node::File { content, durable }, modified)) = tree.nodes.get_mut(path) else {
            return Err(fault(ErrorKind::Invalid, "not a regular file"));
        };
        (*durable, *modified) = (false, now);
        let start = usize::try_from(offset).map_err(|_| fault(ErrorKind::Invalid, "offset too large"))?;
        let growth = ((start + bytes.len()) as u64).saturating_sub(content.len() as u64);
        let fits = bytes.len()
            - usize::try_from(growth.saturating_sub(free))
                .unwrap_or(0)
                .min(bytes.len());
        if content.len() < start + fits {
            content.resize(start + fits, 0);
        }
        content[start..start + fits].copy_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(fault(ErrorKind::Other, "no space left on device"));
        }
        Ok(bytes.len() as u64)
    }

    pub(super) fn publish(&self, source: &str, target: &str, existing: Existing) -> WitResult<()> {
        let mut tree = self.tree();
        tree.check_writable()?;
        if !matches!(tree.look_up(source)?, Node::File { .. }) {
            return Err(fault(ErrorKind::Invalid, "not a regular file"));
        }
        if existing == Existing::Refuse && tree.nodes.contains_key(target) {
            return Err(fault(ErrorKind::AlreadyExists, "file exists"));
        }
        if matches!(tree.nodes.get(target), Some((Node::Directory, _))) {
            return Err(fault(ErrorKind::Invalid, "is a directory"));
        }
        tree.make_parents(target)?;
        if let Some((Node::File { content, .. }, modified)) = tree.nodes.remove(source) {
            tree.nodes.insert(
                target.to_owned(),
                (
                    Node::File {
                        content,
                        durable: true,
                    },
                    modified,
                ),
            );
        }
        Ok(())
    }

    pub(super) fn make_directory(&self, path: &str) -> WitResult<()> {
        let mut tree = self.tree();
        tree.check_writable()?;
        tree.make_parents(&format!("{path}/x"))
    }

    pub(super) fn remove(&self, path: &str) -> WitResult<()> {
        let mut tree = self.tree();
        match tree.look_up(path) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => tree.check_writable()?,
        }
        let below = format!("{path}/");
        if tree
            .nodes
            .range(below.clone()..)
            .next()
            .is_some_and(|(other, _)| other.starts_with(&below))
        {
            return Err(fault(ErrorKind::Invalid, "directory not empty"));
        }
        tree.nodes.remove(path);
        Ok(())
    }

    pub(super) fn space(&self) -> (u64, u64) {
        let tree = self.tree();
        let used = tree.used();
        (
            used,
            tree.capacity
                .map_or(1 << 40, |capacity| capacity.saturating_sub(used)),
        )
    }
}

impl Tree {
    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp {
            seconds: self.clock,
            nanoseconds: 0,
        }
    }

    fn insert(&mut self, path: &str, node: Node) {
        let now = self.now();
        self.nodes.insert(path.to_owned(), (node, now));
    }

    fn used(&self) -> u64 {
        let size = |(node, _): &(Node, Timestamp)| match node {
            Node::File { content, .. } => content.len() as u64,
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    fn check_writable(&self) -> WitResult<()> {
        if self.read_only {
            return Err(fault(ErrorKind::Denied, "read-only file system"));
        }
        Ok(())
    }

    /// The node at a path; refuses paths that the contract refuses.
    fn look_up(&self, path: &str) -> WitResult<&Node> {
        check_path(path)?;
        for parent in parents(path) {
            match self.nodes.get(parent) {
                Some((Node::Directory, _)) => {}
                Some((Node::Symlink, _)) => return Err(fault(ErrorKind::Denied, "leads out by a symlink")),
                _ => return Err(fault(ErrorKind::NotFound, "no such file or directory")),
            }
        }
        let found = self.nodes.get(path).map(|(node, _)| node);
        found.ok_or_else(|| fault(ErrorKind::NotFound, "no such file or directory"))
    }

    fn make_parents(&mut self, path: &str) -> WitResult<()> {
        check_path(path)?;
        let missing: Vec<String> = parents(path).map(str::to_owned).collect();
        for parent in missing {
            match self.nodes.get(parent.as_str()) {
                Some((Node::Directory, _)) => {}
                Some((Node::Symlink, _)) => return Err(fault(ErrorKind::Denied, "leads out by a symlink")),
                Some(_) => return Err(fault(ErrorKind::AlreadyExists, "not a directory")),
                None => self.insert(&parent, Node::Directory),
            }
        }
        Ok(())
    }

    fn entry(&self, path: &str) -> WitResult<Entry> {
        let Some((node, modified)) = self.nodes.get(path) else {
            return Err(fault(ErrorKind::NotFound, "no such file or directory"));
        };
        let (kind, size) = match node {
            Node::Directory => (EntryKind::Directory, 0),
            Node::File { content, .. } => (EntryKind::File, content.len() as u64),
            Node::Symlink => (EntryKind::Symlink, 0),
        };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Entry {
            name,
            kind,
            size,
            modified: *modified,
        })
    }
}

/// "" and every folder above a path, from the top.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let root = (!path.is_empty()).then_some("");
    root.into_iter()
        .chain(path.match_indices('/').map(|(end, _)| &path[..end]))
}

fn check_path(path: &str) -> WitResult<()> {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if path.is_empty() || (path.len() <= PATH_BYTES && path.split('/').all(part)) {
        return Ok(());
    }
    Err(fault(ErrorKind::Invalid, "not a path within the directory"))
}
