//! A tree in memory: what archives leave behind when they are replayed, and what a directory on disk holds.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use freezer_format::tar::dumpdir::{Dumpdir, DumpdirEntry};
use freezer_format::tar::{Member, MemberKind, MemberReader, ReadOptions};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: MemberKind,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, u32),
    /// Content of a file or target of a symbolic link.
    pub(crate) content: Vec<u8>,
    /// Names of one file share this number.
    pub(crate) inode: u64,
}

/// Paths and what stands there; the root is the empty path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
    next_inode: u64,
}

impl Tree {
    /// Applies an archive as `tar --extract --incremental` should.
    pub(crate) fn apply(&mut self, archive: impl Read) {
        let mut reader = MemberReader::new(archive, 0, ReadOptions { ignore_zeros: true });
        while let Some(member) = reader.next_member().unwrap() {
            let mut stored = Vec::new();
            reader.read_to_end(&mut stored).unwrap();
            self.put(member, stored);
        }
    }

    fn put(&mut self, member: Member, stored: Vec<u8>) {
        if member.kind != MemberKind::Directory {
            self.remove(&member.path);
        }
        if let Some(dumpdir) = &member.dumpdir {
            self.purge(&member.path, dumpdir);
        }
        let mtime = (member.mtime.seconds, member.mtime.nanoseconds);
        if member.kind == MemberKind::HardLink {
            let node = self.nodes[&member.link].clone();
            self.nodes.insert(member.path, node);
            return;
        }
        let content = match member.kind {
            MemberKind::Symlink => member.link.clone(),
            _ => unfold(&member, &stored),
        };
        self.next_inode += 1;
        let node = Node {
            kind: member.kind,
            mode: member.mode,
            mtime,
            content,
            inode: self.next_inode,
        };
        self.nodes.insert(member.path, node);
    }

    /// Replays the renames of a dumpdir and removes what it doesn't list.
    fn purge(&mut self, directory: &[u8], dumpdir: &[u8]) {
        let mut names = Vec::new();
        let mut from: Vec<u8> = Vec::new();
        for entry in Dumpdir::new(dumpdir) {
            match entry.unwrap() {
                DumpdirEntry::Dumped(name) | DumpdirEntry::Kept(name) | DumpdirEntry::Directory(name) => {
                    names.push(name.to_vec());
                }
                DumpdirEntry::RenameFrom(path) => from = plain(path),
                DumpdirEntry::RenameTo(path) => self.rename(&from, &plain(path)),
                DumpdirEntry::Temporary(_) => panic!("no archive here swaps directories"),
            }
        }
        let gone: Vec<_> = self
            .nodes
            .keys()
            .filter(|path| is_below(path, directory))
            .filter(|path| {
                let rest = if directory.is_empty() {
                    &path[..]
                } else {
                    &path[directory.len() + 1..]
                };
                !names
                    .iter()
                    .any(|name| rest == name || rest.starts_with(&[name, &b"/"[..]].concat()))
            })
            .cloned()
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        let moved: Vec<_> = self
            .nodes
            .keys()
            .filter(|path| *path == from || is_below(path, from))
            .cloned()
            .collect();
        for path in moved {
            if let Some(node) = self.nodes.remove(&path) {
                self.nodes.insert([to, &path[from.len()..]].concat(), node);
            }
        }
    }

    /// Removes a path and all below it.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.nodes
            .retain(|other, _| other != path && !is_below(other, path));
    }

    /// Reads a directory on disk.
    pub(crate) fn of_disk(root: &Path) -> Tree {
        let mut tree = Tree::default();
        tree.add_disk(root, Vec::new());
        tree
    }

    fn add_disk(&mut self, at: &Path, path: Vec<u8>) {
        let metadata = std::fs::symlink_metadata(at).unwrap();
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_dir() => MemberKind::Directory,
            () if file_type.is_symlink() => MemberKind::Symlink,
            () if file_type.is_fifo() => MemberKind::Fifo,
            () => MemberKind::File,
        };
        let content = match kind {
            MemberKind::File => std::fs::read(at).unwrap(),
            MemberKind::Symlink => std::fs::read_link(at).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mtime = (metadata.mtime(), metadata.mtime_nsec() as u32);
        let node = Node {
            kind,
            mode: metadata.mode() & 0o7777,
            mtime,
            content,
            inode: metadata.ino(),
        };
        self.nodes.insert(path.clone(), node);
        if kind == MemberKind::Directory {
            for entry in std::fs::read_dir(at).unwrap() {
                let name = entry.unwrap().file_name();
                self.add_disk(&at.join(&name), join(&path, name.as_bytes()));
            }
        }
    }

    /// Returns what two trees that are alike have in common: inodes are replaced by the first path of the file, and
    /// modes of links are dropped, since no system call sets them.
    pub(crate) fn facts(&self) -> BTreeMap<Vec<u8>, (Node, Vec<u8>)> {
        let mut first = BTreeMap::new();
        let mut facts = BTreeMap::new();
        for (path, node) in &self.nodes {
            let leader = first.entry(node.inode).or_insert_with(|| path.clone()).clone();
            let mode = if node.kind == MemberKind::Symlink {
                0
            } else {
                node.mode
            };
            facts.insert(
                path.clone(),
                (
                    Node {
                        mode,
                        inode: 0,
                        ..node.clone()
                    },
                    leader,
                ),
            );
        }
        facts
    }
}

/// Fails with the paths at which two trees differ.
pub(crate) fn assert_same(actual: &Tree, expected: &Tree, what: &str) {
    let (actual, expected) = (actual.facts(), expected.facts());
    let show = |fact: Option<&(Node, Vec<u8>)>| match fact {
        None => "nothing".to_owned(),
        Some((node, leader)) => {
            let nonzero = node.content.iter().filter(|&&byte| byte != 0).count();
            let start = String::from_utf8_lossy(&node.content[..node.content.len().min(20)]).into_owned();
            let (kind, mode, mtime, bytes) = (node.kind, node.mode, node.mtime, node.content.len());
            format!(
                "{kind:?} {mode:o} {mtime:?} {bytes} bytes ({nonzero} not zero) {start:?}, as {:?}",
                String::from_utf8_lossy(leader)
            )
        }
    };
    let mut differing: Vec<_> = actual
        .keys()
        .chain(expected.keys())
        .filter(|path| actual.get(*path) != expected.get(*path))
        .map(|path| {
            let name = String::from_utf8_lossy(path);
            format!(
                "{name:?}: {} but expected {}",
                show(actual.get(path)),
                show(expected.get(path))
            )
        })
        .collect();
    differing.dedup();
    assert!(differing.is_empty(), "{what}:\n{}", differing.join("\n"));
}

/// Fills the holes of a sparse file.
pub(crate) fn unfold(member: &Member, stored: &[u8]) -> Vec<u8> {
    let Some(pieces) = &member.sparse else {
        return stored.to_vec();
    };
    let mut content = vec![0; member.size as usize];
    let mut rest = stored;
    for &(offset, length) in pieces {
        let (piece, after) = rest.split_at(length as usize);
        content[offset as usize..][..length as usize].copy_from_slice(piece);
        rest = after;
    }
    content
}

/// Joins a path of the tree and a name.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, name].join(&b'/')
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) if directory.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with(b"/"),
        None => false,
    }
}

fn plain(path: &[u8]) -> Vec<u8> {
    path.strip_prefix(b"./").unwrap_or(path).to_vec()
}

/// Runs a program that must succeed and returns its output.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {errors}", output.status);
    output.stdout
}
