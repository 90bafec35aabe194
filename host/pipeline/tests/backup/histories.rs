//! Random histories: a tree changes, a level is made, GNU tar extracts it over the levels before; the trees are equal
//! each time, and so is what the index says. The rules under test are those of the stored format: dumpdirs list only
//! kept entries and directories, no renames, all names of a changed inode together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use freezer_format::compression::Compression;
use freezer_format::index::EntryKind;
use proptest::prelude::*;

use super::support::{Chain, differences};

/// One change, its numbers taken modulo what is there.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, u8),
    Replace(usize, u8),
    Create(usize, u8),
    Directory(usize, u8),
    Link(usize, usize, u8),
    Symlink(usize, u8),
    Remove(usize),
    Move(usize, usize, u8),
    Mode(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    let byte = 0_u8..12;
    prop_oneof![
        1 => (at(), any::<u8>()).prop_map(|(a, b)| Change::Write(a, b)),
        1 => (at(), any::<u8>()).prop_map(|(a, b)| Change::Replace(a, b)),
        3 => (at(), byte.clone()).prop_map(|(a, b)| Change::Create(a, b)),
        2 => (at(), byte.clone()).prop_map(|(a, b)| Change::Directory(a, b)),
        2 => (at(), at(), byte.clone()).prop_map(|(a, b, c)| Change::Link(a, b, c)),
        1 => (at(), byte.clone()).prop_map(|(a, b)| Change::Symlink(a, b)),
        2 => at().prop_map(Change::Remove),
        2 => (at(), at(), byte.clone()).prop_map(|(a, b, c)| Change::Move(a, b, c)),
        1 => (at(), 0_u8..3).prop_map(|(a, b)| Change::Mode(a, b)),
    ]
}

/// All paths below a root, sorted, by kind.
#[derive(Default)]
struct Tree {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

fn list(root: &Path) -> Tree {
    let mut tree = Tree {
        directories: vec![root.to_path_buf()],
        ..Tree::default()
    };
    let mut next = 0;
    while next < tree.directories.len() {
        let mut found: Vec<PathBuf> = fs::read_dir(&tree.directories[next])
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        found.sort();
        for path in found {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                tree.directories.push(path.clone());
            } else if kind.is_file() {
                tree.files.push(path.clone());
            }
            tree.all.push(path);
        }
        next += 1;
    }
    tree
}

fn pick(paths: &[PathBuf], number: usize) -> Option<&PathBuf> {
    if paths.is_empty() {
        None
    } else {
        Some(&paths[number % paths.len()])
    }
}

/// Applies a change; those that make no sense now do nothing.
fn apply(root: &Path, change: &Change) {
    let tree = list(root);
    let place = |at: &usize, name: &u8| {
        let directory = pick(&tree.directories, *at).unwrap();
        // A name that sorts before `/` and one that is another's prefix are among them.
        directory
            .join(["a", "b", "c", "a-", "a!", "ab", "d", "e", "f", "g", "h", "i"][usize::from(*name) % 12])
    };
    let done = match change {
        Change::Write(at, byte) => pick(&tree.files, *at).map(|path| fs::write(path, [*byte; 700])),
        Change::Replace(at, byte) => pick(&tree.files, *at).map(|path| {
            let temporary = root.join("temporary");
            fs::write(&temporary, [*byte; 30]).and_then(|()| fs::rename(&temporary, path))
        }),
        Change::Create(at, name) => {
            let path = place(at, name);
            (!path.exists()).then(|| fs::write(&path, path.as_os_str().as_bytes()))
        }
        Change::Directory(at, name) => Some(fs::create_dir(place(at, name))),
        Change::Link(at, to, name) => pick(&tree.files, *at).map(|path| fs::hard_link(path, place(to, name))),
        Change::Symlink(at, name) => Some(symlink("somewhere", place(at, name))),
        Change::Remove(at) => {
            pick(&tree.all, *at).map(|path| match path.symlink_metadata().unwrap().is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            })
        }
        Change::Move(at, to, name) => pick(&tree.all, *at).map(|path| fs::rename(path, place(to, name))),
        Change::Mode(at, mode) => pick(&tree.all, *at)
            .filter(|path| !path.is_symlink())
            .map(|path| {
                fs::set_permissions(
                    path,
                    std::os::unix::fs::PermissionsExt::from_mode(0o700 + u32::from(*mode)),
                )
            }),
    };
    // Names that are taken, directories moved into themselves: not every change is possible.
    drop(done);
}

/// The index must name every path of the tree, and each hard link must point to a file of the same index.
fn check_index(chain: &Chain, level: usize, root: &Path) {
    let entries = chain.entries(level);
    let listed: BTreeSet<Vec<u8>> = list(root)
        .all
        .iter()
        .map(|path| path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec())
        .collect();
    let indexed: BTreeSet<Vec<u8>> = entries.iter().skip(1).map(|entry| entry.path.clone()).collect();
    assert_eq!(listed, indexed);
    for entry in &entries {
        assert!(entry.level as usize <= level);
        if entry.kind == EntryKind::HardLink {
            let content = entries.iter().find(|other| other.path == entry.link);
            let content = content.unwrap_or_else(|| panic!("{:?} points nowhere", entry.path.escape_ascii()));
            assert_eq!(content.kind, EntryKind::File);
            let at = |path: &[u8]| {
                root.join(std::ffi::OsStr::from_bytes(path))
                    .metadata()
                    .unwrap()
                    .ino()
            };
            assert_eq!(at(&entry.path), at(&entry.link));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn gnu_tar_replays_any_history(
        steps in proptest::collection::vec(proptest::collection::vec(change(), 1..16), 2..5),
        grow in proptest::collection::vec(change(), 30),
    ) {
        let source = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        let mut chain = Chain::new(Compression::None);
        for change in &grow {
            apply(source.path(), change);
        }
        for (level, changes) in std::iter::once(&Vec::new()).chain(&steps).enumerate() {
            for change in changes {
                apply(source.path(), change);
            }
            let report = chain.backup(source.path());
            prop_assert!(!report.partial, "{:?}", report.warnings);
            chain.extract(level, target.path(), None);
            prop_assert_eq!(differences(source.path(), target.path()), "", "level {}", level);
            check_index(&chain, level, source.path());
        }
        // Nothing changed since: nothing but directories is archived.
        let files = list(source.path()).all.len() - list(source.path()).directories.len() + 1;
        let report = chain.backup(source.path());
        prop_assert_eq!((report.counts.new, report.counts.removed), (0, 0));
        prop_assert!(report.counts.changed as usize <= files);
    }
}
