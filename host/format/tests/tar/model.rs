//! The rules by which levels are written, held against GNU tar over random histories of a tree.
//!
//! A file system is simulated, each level's archive is written by the rules below from the rows of the level before,
//! and what GNU tar makes of all levels must be the simulated tree: names, types, modes, times to the nanosecond,
//! contents and which names are links of each other.
//!
//! 1. Dumpdirs hold no renames. 2. They list what is kept and directories; what is dumped isn't listed, so that it is
//!    removed first and never written through an old link. 4. Members are in the order of `compare_paths`.
//! 5. Of a file with several names the first in that order that is dumped carries the content. Once a name was dumped,
//!    all later names are dumped as links to it; if the first name is kept and a later one is new (its directory was
//!    renamed), the later one is a link to the kept name, which is on disk from an earlier level.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use freezer_format::index::compare_paths;
use freezer_format::tar::dumpdir::DumpdirWriter;
use freezer_format::tar::{END, Member, MemberKind, content_bytes, encode, padding};
use freezer_format::time::Time;

use crate::tree::{Node, Tree, assert_same, join, run};

const SEEDS: u64 = 80;
const LEVELS: usize = 4;

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// What the change test compares.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    node: Node,
    ctime: u64,
    nlink: usize,
}

/// A file system in memory. Content isn't compared by the change test, all else is.
#[derive(Default)]
struct Disk {
    tree: BTreeMap<Vec<u8>, u64>,
    inodes: BTreeMap<u64, (Node, u64)>,
    clock: u64,
}

impl Disk {
    fn new() -> Disk {
        let mut disk = Disk::default();
        disk.make(Vec::new(), MemberKind::Directory, Vec::new());
        disk
    }

    fn now(&mut self) -> (i64, u32) {
        self.clock += 1;
        (
            1_700_000_000 + self.clock as i64,
            (self.clock * 7_654_321 % 1_000_000_000) as u32,
        )
    }

    fn make(&mut self, path: Vec<u8>, kind: MemberKind, content: Vec<u8>) {
        let mtime = self.now();
        // The lowest free number: inodes are used again at once.
        let inode = (1..).find(|inode| !self.inodes.contains_key(inode)).unwrap();
        let mode = match kind {
            MemberKind::Directory => 0o755,
            MemberKind::Symlink => 0o777,
            _ => 0o644,
        };
        self.inodes.insert(
            inode,
            (
                Node {
                    kind,
                    mode,
                    mtime,
                    content,
                    inode,
                },
                self.clock,
            ),
        );
        self.tree.insert(path.clone(), inode);
        self.touch_parent(&path);
    }

    fn touch_parent(&mut self, path: &[u8]) {
        let mtime = self.now();
        let parent = path
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(&path[..0], |slash| &path[..slash]);
        let clock = self.clock;
        if let Some((node, ctime)) = self.tree.get(parent).and_then(|inode| self.inodes.get_mut(inode)) {
            (node.mtime, *ctime) = (mtime, clock);
        }
    }

    fn change(&mut self, path: &[u8], change: impl FnOnce(&mut Node, (i64, u32))) {
        let now = self.now();
        let clock = self.clock;
        if let Some((node, ctime)) = self.inodes.get_mut(&self.tree[path]) {
            change(node, now);
            *ctime = clock;
        }
    }

    /// Removes a path with all below it; other names of a removed file change their ctime.
    fn remove(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        let gone: Vec<_> = self
            .tree
            .keys()
            .filter(|p| *p == path || p.starts_with(&below))
            .cloned()
            .collect();
        for path in gone {
            if let Some(inode) = self.tree.remove(&path) {
                match self
                    .tree
                    .iter()
                    .find(|(_, other)| **other == inode)
                    .map(|(other, _)| other.clone())
                {
                    Some(other) => self.change(&other, |_, _| {}),
                    None => drop(self.inodes.remove(&inode)),
                }
            }
        }
        self.touch_parent(path);
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.tree
            .get(path)
            .is_some_and(|inode| self.inodes[inode].0.kind == MemberKind::Directory)
    }

    fn pick(&self, random: &mut Random, filter: impl Fn(&Disk, &[u8]) -> bool) -> Option<Vec<u8>> {
        let paths: Vec<_> = self
            .tree
            .keys()
            .filter(|path| !path.is_empty() && filter(self, path))
            .collect();
        if paths.is_empty() {
            None
        } else {
            Some(paths[random.below(paths.len())].clone())
        }
    }

    /// Returns a place for a name in any directory: mostly a free one, so that trees grow.
    fn place(&self, random: &mut Random) -> Vec<u8> {
        let places = [
            self.any_place(random),
            self.any_place(random),
            self.any_place(random),
        ];
        let free = places.iter().find(|place| !self.tree.contains_key(*place));
        free.unwrap_or(&places[0]).clone()
    }

    fn any_place(&self, random: &mut Random) -> Vec<u8> {
        let directories: Vec<_> = self.tree.keys().filter(|path| self.is_directory(path)).collect();
        let directory = directories[random.below(directories.len())];
        join(
            directory,
            [&b"a"[..], b"b", b"c-", b"c", b"d\xff", b"e\n", b"zz"][random.below(7)],
        )
    }

    fn step(&mut self, random: &mut Random) {
        let (file, directory) = (
            |disk: &Disk, path: &[u8]| disk.kind(path) == MemberKind::File,
            Disk::is_directory,
        );
        let content = vec![random.below(256) as u8; random.below(2000)];
        let place = self.place(random);
        match random.below(20) {
            0..=3 => self.replace(place, MemberKind::File, content),
            4 | 5 => self.replace(place, MemberKind::Directory, Vec::new()),
            6 => self.replace(place, MemberKind::Symlink, b"../a".to_vec()),
            7 => self.replace(place, MemberKind::Fifo, Vec::new()),
            8..=10 => {
                if let Some(path) = self.pick(random, file) {
                    self.link(&path, place);
                }
            }
            11 | 12 => {
                if let Some(path) = self.pick(random, file) {
                    self.change(&path, |node, now| (node.content, node.mtime) = (content, now));
                }
            }
            13 => {
                if let Some(path) = self.pick(random, file) {
                    // The same size and time: only ctime tells.
                    self.change(&path, |node, _| {
                        node.content.iter_mut().for_each(|byte| *byte ^= 0x55)
                    });
                }
            }
            14 => {
                if let Some(path) = self.pick(random, |disk, path| disk.kind(path) != MemberKind::Symlink) {
                    self.change(&path, |node, _| node.mode ^= 0o044);
                }
            }
            15 => {
                if let Some(path) = self.pick(random, |_, _| true) {
                    self.remove(&path);
                }
            }
            16 => {
                if let Some(path) = self.pick(random, |disk, path| !disk.is_directory(path)) {
                    self.rename(&path, place);
                }
            }
            _ => {
                if let Some(path) = self.pick(random, directory) {
                    self.rename(&path, place);
                }
            }
        }
    }

    fn kind(&self, path: &[u8]) -> MemberKind {
        self.inodes[&self.tree[path]].0.kind
    }

    fn replace(&mut self, path: Vec<u8>, kind: MemberKind, content: Vec<u8>) {
        self.remove(&path);
        self.make(path, kind, content);
    }

    fn link(&mut self, path: &[u8], place: Vec<u8>) {
        let inode = self.tree[path];
        if self.tree.get(&place) == Some(&inode) || path.starts_with(&[&place[..], b"/"].concat()) {
            return;
        }
        self.remove(&place);
        self.tree.insert(place.clone(), inode);
        self.change(&place, |_, _| {});
        self.touch_parent(&place);
    }

    /// Moves a path with all below it; only the moved inode's own ctime changes.
    fn rename(&mut self, path: &[u8], place: Vec<u8>) {
        let below = [path, b"/"].concat();
        let is_inside =
            place == path || place.starts_with(&below) || path.starts_with(&[&place[..], b"/"].concat());
        if is_inside || self.tree.get(&place) == self.tree.get(path) {
            return;
        }
        self.remove(&place);
        let moved: Vec<_> = self
            .tree
            .keys()
            .filter(|p| *p == path || p.starts_with(&below))
            .cloned()
            .collect();
        for old in moved {
            if let Some(inode) = self.tree.remove(&old) {
                self.tree.insert([&place[..], &old[path.len()..]].concat(), inode);
            }
        }
        self.change(&place, |_, _| {});
        self.touch_parent(path);
        self.touch_parent(&place);
    }

    fn rows(&self) -> BTreeMap<Vec<u8>, Row> {
        let row = |inode: &u64| {
            let (node, ctime) = &self.inodes[inode];
            let nlink = self.tree.values().filter(|other| *other == inode).count();
            // The content shows only by its size.
            let content = vec![0; node.content.len()];
            Row {
                node: Node {
                    content,
                    ..node.clone()
                },
                ctime: *ctime,
                nlink,
            }
        };
        self.tree
            .iter()
            .map(|(path, inode)| (path.clone(), row(inode)))
            .collect()
    }

    fn to_tree(&self) -> Tree {
        let mut tree = Tree::default();
        tree.nodes = self
            .tree
            .iter()
            .map(|(path, inode)| (path.clone(), self.inodes[inode].0.clone()))
            .collect();
        tree
    }
}

/// Writes the archive of a level: what differs from the rows of the level before.
fn archive(disk: &Disk, before: &BTreeMap<Vec<u8>, Row>, owner: (u64, u64)) -> Vec<u8> {
    let rows = disk.rows();
    let is_kept = |path: &[u8]| before.get(path).is_some_and(|row| *row == rows[path]);
    let mut paths: Vec<_> = rows.keys().collect();
    paths.sort_by(|a, b| compare_paths(a, b));
    // By inode: the first name that the walk met, and whether it was dumped.
    let mut first: BTreeMap<u64, (&[u8], bool)> = BTreeMap::new();
    let mut out = Vec::new();
    for path in paths {
        let row = &rows[path];
        let node = &disk.inodes[&row.node.inode].0;
        let mtime = Time {
            seconds: node.mtime.0,
            nanoseconds: node.mtime.1,
        };
        let mut member = Member {
            mode: node.mode,
            mtime,
            uid: owner.0,
            gid: owner.1,
            ..Member::new(path.clone(), node.kind)
        };
        match node.kind {
            MemberKind::Directory => member.dumpdir = Some(dumpdir(disk, path, is_kept)),
            MemberKind::File if row.nlink > 1 => match first.get(&node.inode) {
                Some((_, false)) if is_kept(path) => continue,
                Some((leader, _)) => {
                    member.kind = MemberKind::HardLink;
                    member.link = leader.to_vec();
                }
                None => {
                    first.insert(node.inode, (path, !is_kept(path)));
                }
            },
            _ => {}
        }
        if member.kind != MemberKind::Directory && member.kind != MemberKind::HardLink && is_kept(path) {
            continue;
        }
        match member.kind {
            MemberKind::File => member.size = node.content.len() as u64,
            MemberKind::Symlink => member.link = node.content.clone(),
            _ => {}
        }
        encode(&member, &mut out).unwrap();
        if member.kind == MemberKind::File {
            out.extend_from_slice(&node.content);
            out.resize(out.len() + padding(content_bytes(&member)), 0);
        }
    }
    out.extend_from_slice(&END);
    out
}

fn dumpdir(disk: &Disk, directory: &[u8], is_kept: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut writer = DumpdirWriter::new();
    for path in disk.tree.keys() {
        let Some(rest) = path.strip_prefix(directory) else {
            continue;
        };
        let name = if directory.is_empty() {
            rest
        } else {
            rest.strip_prefix(b"/").unwrap_or(&[])
        };
        if name.is_empty() || name.contains(&b'/') {
            continue;
        }
        if disk.is_directory(path) {
            writer.directory(name);
        } else if is_kept(path) {
            writer.kept(name);
        }
    }
    writer.finish()
}

/// The two ways an archive is extracted: that of our instructions and that of the original.
const WAYS: [&[&str]; 2] = [
    &["--incremental"],
    &["--incremental", "--ignore-zeros", "--overwrite"],
];

fn check_history(seed: u64, directory: &Path) {
    let owner = std::fs::metadata(directory).unwrap();
    let owner = (u64::from(owner.uid()), u64::from(owner.gid()));
    let file = directory.join("level.tar");
    let outs = [directory.join("0"), directory.join("1")];
    outs.iter().for_each(|out| std::fs::create_dir(out).unwrap());
    let mut random = Random(seed);
    let (mut disk, mut before, mut replayed) = (Disk::new(), BTreeMap::new(), Tree::default());
    for level in 0..LEVELS {
        for _ in 0..if level == 0 { 40 } else { 12 } {
            disk.step(&mut random);
        }
        let archive = archive(&disk, &before, owner);
        std::fs::write(&file, &archive).unwrap();
        for (way, out) in WAYS.iter().zip(&outs) {
            run(Command::new("tar")
                .args(["-x", "-p"])
                .args(*way)
                .arg("-C")
                .arg(out)
                .arg("-f")
                .arg(&file));
            assert_same(
                &Tree::of_disk(out),
                &disk.to_tree(),
                &format!("seed {seed}, level {level}, tar {way:?}"),
            );
        }
        replayed.apply(archive.as_slice());
        assert_same(
            &replayed,
            &disk.to_tree(),
            &format!("seed {seed}, level {level}, replayed"),
        );
        before = disk.rows();
    }
    outs.iter().for_each(|out| std::fs::remove_dir_all(out).unwrap());
}

#[test]
fn gnu_tar_restores_every_level_of_random_histories() {
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..SEEDS {
        check_history(seed, directory.path());
    }
}

/// Applies two levels of a history to a fresh directory in both ways and compares.
fn check_two_levels(before: impl Fn(&mut Disk), change: impl Fn(&mut Disk)) {
    let directory = tempfile::tempdir().unwrap();
    let owner = std::fs::metadata(directory.path()).unwrap();
    let owner = (u64::from(owner.uid()), u64::from(owner.gid()));
    let mut disk = Disk::new();
    before(&mut disk);
    let zero = archive(&disk, &BTreeMap::new(), owner);
    let rows = disk.rows();
    change(&mut disk);
    let one = archive(&disk, &rows, owner);
    let (file, out) = (directory.path().join("level.tar"), directory.path().join("out"));
    for way in WAYS {
        std::fs::create_dir(&out).unwrap();
        for level in [&zero, &one] {
            std::fs::write(&file, level).unwrap();
            run(Command::new("tar")
                .args(["-x", "-p"])
                .args(way)
                .arg("-C")
                .arg(&out)
                .arg("-f")
                .arg(&file));
        }
        assert_same(&Tree::of_disk(&out), &disk.to_tree(), &format!("{way:?}"));
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// A file replaced by a new one while its other name stays: `--overwrite` would write the new content through the old
/// link, were the name listed.
#[test]
fn a_replaced_name_of_a_linked_file_does_not_write_through_the_other() {
    check_two_levels(
        |disk| {
            disk.make(b"f".to_vec(), MemberKind::File, b"old".to_vec());
            disk.link(b"f", b"g".to_vec());
        },
        |disk| disk.replace(b"f".to_vec(), MemberKind::File, b"new".to_vec()),
    );
}

/// Renaming a directory changes no ctime of the files in it, so one name is new and the other unchanged.
#[test]
fn a_link_into_a_renamed_directory_stays_a_link() {
    for kept in ["a", "z"] {
        check_two_levels(
            |disk| {
                disk.make(b"m".to_vec(), MemberKind::Directory, Vec::new());
                disk.make(b"m/f".to_vec(), MemberKind::File, b"content".to_vec());
                disk.link(b"m/f", kept.into());
            },
            |disk| disk.rename(b"m", b"n".to_vec()),
        );
    }
}
