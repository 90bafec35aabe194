//! The original's own archives, read member by member and replayed level by level.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::{Tree, assert_same, run};
use freezer_format::tar::MemberKind;
use freezer_format::tar::snar::SnarReader;
use sha2::{Digest, Sha256};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/original")
}

/// Returns the one file below `root` whose directories and name match `suffix`.
fn find(root: &Path, suffix: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(suffix)) {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{suffix} below {}", root.display());
    found.remove(0)
}

/// Returns a level's archive as plain tar.
fn archive(path: &Path, digest: Option<&str>) -> Vec<u8> {
    let quoted = path.to_str().unwrap();
    let decrypt = match digest {
        Some(digest) => {
            let pass = golden().join("pass");
            format!(
                "openssl enc -d -aes-256-cfb -md {digest} -pass file:{} -in {quoted} 2>/dev/null",
                pass.display()
            )
        }
        None => format!("cat {quoted}"),
    };
    let unpack = if quoted.contains("bzip2") { "bzip2" } else { "gzip" };
    run(Command::new("bash").args(["-c", &format!("set -o pipefail; {decrypt} | {unpack} -dc")]))
}

type Facts = BTreeMap<String, (String, u32, String, i64, String)>;

/// What the golden lists record of a path: type, mode, content or target, seconds, the path it is linked to.
fn expected(list: &Path) -> Facts {
    let text = std::fs::read_to_string(list).unwrap();
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let is_link = row["type"] == "link";
        let content = if is_link { text("target") } else { text("sha256") };
        let mode = if is_link {
            0
        } else {
            u32::from_str_radix(&text("mode"), 8).unwrap()
        };
        let seconds = text("mtime")
            .split('.')
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0);
        (
            text("path"),
            (text("type"), mode, content, seconds, text("hardlink_to")),
        )
    })
    .collect()
}

/// The same facts of a replayed tree.
fn actual(tree: &Tree) -> Facts {
    let mut facts = Facts::new();
    for (path, (node, leader)) in tree.facts() {
        if path.is_empty() {
            continue;
        }
        let kind = match node.kind {
            MemberKind::Directory => "dir",
            MemberKind::Symlink => "link",
            MemberKind::Fifo => "fifo",
            _ => "file",
        };
        let content = match node.kind {
            MemberKind::File => hex::encode(Sha256::digest(&node.content)),
            MemberKind::Symlink => escape(&node.content),
            _ => String::new(),
        };
        let seconds = if node.kind == MemberKind::File {
            node.mtime.0
        } else {
            0
        };
        let leader = if leader == path {
            String::new()
        } else {
            escape(&leader)
        };
        facts.insert(
            escape(&path),
            (kind.to_owned(), node.mode, content, seconds, leader),
        );
    }
    facts
}

/// All but letters, digits and some signs stand as `%XX` in the lists.
fn escape(path: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-~".contains(&byte);
    path.iter()
        .map(|&byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn replay(case: &str, data: &[(&str, &str)], digest: Option<&str>) {
    let mut tree = Tree::default();
    for (suffix, list) in data {
        let path = find(&golden().join(case), suffix);
        tree.apply(archive(&path, digest).as_slice());
        let (actual, expected) = (actual(&tree), expected(&golden().join(list)));
        assert_eq!(actual, expected, "{case} after {suffix}");
    }
}

#[test]
fn gzip_chains_of_three_levels() {
    let data = [
        ("/0_1795552886/data", "tar-gzip.level0.jsonl"),
        ("/1_1795552890/data", "tar-gzip.level1.jsonl"),
        ("/2_1795552894/data", "tar-gzip.level2.jsonl"),
    ];
    replay("tar-gzip/data", &data, None);
}

#[test]
fn bzip2_chains() {
    let data = [
        ("/0_1795552897/data", "tar-bzip2.level0.jsonl"),
        ("/1_1795552900/data", "tar-bzip2.level1.jsonl"),
        ("/2_1795552904/data", "tar-bzip2.level2.jsonl"),
    ];
    replay("tar-bzip2/data", &data, None);
}

#[test]
fn encrypted_chains_of_both_digests() {
    let data = [
        ("/0_1795552915/data", "tar-gzip-enc.level0.jsonl"),
        ("/1_1795552920/data", "tar-gzip-enc.level1.jsonl"),
        ("/2_1795552922/data", "tar-gzip-enc.level2.jsonl"),
    ];
    replay("tar-gzip-enc/data", &data, Some("sha256"));
    let data = [
        ("/0_1795552935/data", "tar-gzip-enc-md5.level0.jsonl"),
        ("/1_1795552938/data", "tar-gzip-enc-md5.level1.jsonl"),
        ("/2_1795552941/data", "tar-gzip-enc-md5.level2.jsonl"),
    ];
    replay("tar-gzip-enc-md5/data", &data, Some("md5"));
}

#[test]
fn the_old_layout() {
    let data = [
        ("/node1_gold_1795553005_0", "legacy-tar-liberty.level0.jsonl"),
        ("/node1_gold_1795553006_1", "legacy-tar-liberty.level1.jsonl"),
        ("/node1_gold_1795553007_2", "legacy-tar-liberty.level2.jsonl"),
    ];
    replay("legacy-tar-liberty", &data, None);
}

#[test]
fn snapshot_files_list_the_directories_of_their_level() {
    for (state, list) in [
        ("/0_1795552886/engine_metadata", "tar-gzip.level0.jsonl"),
        ("/1_1795552890/engine_metadata", "tar-gzip.level1.jsonl"),
        ("/2_1795552894/engine_metadata", "tar-gzip.level2.jsonl"),
    ] {
        let bytes = std::fs::read(find(&golden().join("tar-gzip/data"), state)).unwrap();
        let mut reader = SnarReader::open(bytes.as_slice()).unwrap();
        assert!(reader.started().seconds > 1_795_552_000);
        let mut paths = Vec::new();
        while let Some(directory) = reader.next_directory().unwrap() {
            paths.push(escape(&directory.path));
            while let Some((_, name)) = reader.next_name().unwrap() {
                assert!(!name.is_empty());
            }
        }
        paths.sort();
        let mut wanted: Vec<_> = expected(&golden().join(list))
            .into_iter()
            .filter(|(_, fact)| fact.0 == "dir")
            .map(|(path, _)| path)
            .collect();
        wanted.push(String::new());
        wanted.sort();
        assert_eq!(paths, wanted, "{state}");
    }
}

#[test]
fn a_replay_into_memory_and_gnu_tar_agree() {
    let out = tempfile::tempdir().unwrap();
    let mut tree = Tree::default();
    for suffix in ["/0_1795552886/data", "/1_1795552890/data"] {
        let bytes = archive(&find(&golden().join("tar-gzip/data"), suffix), None);
        let file = out.path().with_extension("tar");
        std::fs::write(&file, &bytes).unwrap();
        let target = out.path().to_str().unwrap();
        let name = file.to_str().unwrap();
        run(Command::new("tar").args([
            "-x",
            "-p",
            "--no-same-owner",
            "--incremental",
            "-C",
            target,
            "-f",
            name,
        ]));
        std::fs::remove_file(&file).unwrap();
        tree.apply(bytes.as_slice());
    }
    assert_same(&Tree::of_disk(out.path()), &tree, "level 1");
}
