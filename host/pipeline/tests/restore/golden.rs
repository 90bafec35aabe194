//! Backups that the original wrote: every level must come back as its list says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_format::chain_key::Cipher;
use freezer_format::compression::Compression;
use freezer_format::openssl::{Kdf, Passphrase};
use freezer_pipeline::object::detect_cipher;
use freezer_pipeline::restore::{LevelData, dump, verify};
use freezer_pipeline::testing::MemoryStore;
use rstest::rstest;

use crate::support::{Listing, Surroundings, differences, list, plain_level, restore_into};

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/original")
}

/// The streams of a variant, by level and time.
pub(crate) fn streams(variant: &str) -> Vec<Vec<u8>> {
    let container = golden().join(variant);
    let mut found: Vec<(u32, u64, PathBuf)> = Vec::new();
    for path in files_below(&container) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if name == "data" {
            let (level, time) = folder.split_once('_').unwrap();
            found.push((level.parse().unwrap(), time.parse().unwrap(), path));
        } else if let Some((_, rest)) = name.split_once("node1_gold_")
            && !name.starts_with("tar_metadata")
        {
            let (time, level) = rest.split_once('_').unwrap();
            found.push((level.parse().unwrap(), time.parse().unwrap(), path));
        }
    }
    found.sort();
    // Of equal levels the latest counts.
    found.reverse();
    found.dedup_by_key(|(level, ..)| *level);
    found.reverse();
    found.iter().map(|(.., path)| read_stream(path)).collect()
}

/// The object, or its segments where a Swift container has it in pieces.
fn read_stream(path: &Path) -> Vec<u8> {
    let segments = path.parent().unwrap().join("segments");
    if !segments.is_dir() {
        return fs::read(path).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(segments)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names.retain(|name| !name.to_str().unwrap().ends_with(".json"));
    names.iter().flat_map(|name| fs::read(name).unwrap()).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

pub(crate) fn expected(list: &str) -> Listing {
    let text = fs::read_to_string(golden().join(list)).unwrap();
    let entry = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| entry[key].as_str().unwrap();
        let rest = match text("type") {
            "file" => {
                let time = text("mtime").split_once('.').unwrap().0;
                let shared = entry
                    .get("hardlink_to")
                    .map(|first| format!(" = {}", first.as_str().unwrap()));
                format!(
                    " {} {time} {}{}",
                    entry["size"],
                    text("sha256"),
                    shared.unwrap_or_default()
                )
            }
            "link" => format!(" {}", text("target")),
            _ => String::new(),
        };
        (
            unquote(text("path")),
            format!("{} {}{rest}", text("type"), text("mode")),
        )
    };
    text.lines().map(entry).collect()
}

fn unquote(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            bytes.push(u8::from_str_radix(&path[path.len() - after.len()..][..2], 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    bytes
}

fn passphrase() -> Passphrase {
    Passphrase::from_file_bytes(&fs::read(golden().join("pass")).unwrap())
        .unwrap()
        .0
}

pub(crate) fn levels(variant: &str, count: usize) -> Vec<LevelData> {
    let cipher = variant.contains("-enc").then(|| {
        let kdf = if variant.ends_with("md5") {
            Kdf::BytesToKeyMd5
        } else {
            Kdf::BytesToKeySha256
        };
        Cipher::Password {
            passphrase: passphrase(),
            kdf,
        }
    });
    let streams = streams(variant).into_iter().take(count).enumerate();
    streams
        .map(|(number, stream)| plain_level(number as u32, stream, cipher.clone()))
        .collect()
}

#[rstest]
fn every_level_comes_back_as_it_was(
    #[values(
        "tar-gzip",
        "tar-bzip2",
        "tar-gzip-enc",
        "tar-gzip-enc-md5",
        "swift-tar-gzip",
        "legacy-tar-liberty"
    )]
    variant: &str,
    #[values(0, 1, 2)] level: usize,
    #[values(false, true)] staged: bool,
) {
    let expected_list = format!("{variant}.level{level}.jsonl");
    if !golden().join(&expected_list).exists() {
        assert_eq!((variant, level), ("swift-tar-gzip", 2));
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let mut expected = expected(&expected_list);
    if staged {
        // A foreign name makes it take the way through a hidden directory, and stays.
        fs::create_dir(target.path().join("foreign")).unwrap();
        fs::create_dir(target.path().join("new")).unwrap();
        fs::write(target.path().join("new/foreign"), b"x").unwrap();
        fs::write(target.path().join("a"), b"to be replaced").unwrap();
    }
    let levels = levels(variant, level + 1);
    let report = restore_into(levels, target.path(), &around, |job| job.overwrite = staged).unwrap();
    assert_eq!((report.partial, around.lines()), (false, Vec::new()));
    if staged {
        assert_eq!(fs::read(target.path().join("new/foreign")).unwrap(), b"x");
        fs::remove_file(target.path().join("new/foreign")).unwrap();
        fs::remove_dir(target.path().join("foreign")).unwrap();
        if !expected.contains_key(&b"new"[..]) {
            fs::remove_dir(target.path().join("new")).unwrap();
        }
    }
    let found = list(target.path());
    if variant.starts_with("legacy") {
        // Its lists don't tell which names share a file in another order than ours.
        expected.retain(|path, _| found.contains_key(path) || !path.is_empty());
    }
    assert_eq!(differences(&expected, &found), Vec::<String>::new());
}

#[rstest]
#[case(0)]
#[case(4)]
fn of_equal_levels_the_latest_counts(#[case] run: usize) {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let count = if run == 0 { 1 } else { 3 };
    restore_into(levels("tar-gzip-always2", count), target.path(), &around, |_| {}).unwrap();
    let expected = expected(&format!("tar-gzip-always2.run{run}.jsonl"));
    assert_eq!(differences(&expected, &list(target.path())), Vec::<String>::new());
}

#[test]
fn selected_paths_come_back_through_a_rename() {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let wanted = vec![b"renamed/seq".to_vec(), b"new".to_vec()];
    let report = restore_into(levels("tar-gzip", 3), target.path(), &around, |job| {
        job.paths = wanted
    })
    .unwrap();
    assert!(!report.partial);
    let found = list(target.path());
    let names: Vec<_> = found
        .keys()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    assert_eq!(names, ["new", "new/f", "renamed", "renamed/seq"]);
    let mut expected = expected("tar-gzip.level2.jsonl");
    expected.retain(|path, _| found.contains_key(path));
    assert_eq!(differences(&expected, &found), Vec::<String>::new());
}

#[test]
fn paths_that_are_not_there_are_an_error() {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let wanted = vec![b"deep/seq".to_vec()];
    let error = restore_into(levels("tar-gzip", 3), target.path(), &around, |job| {
        job.paths = wanted
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the backup holds none of the paths asked for: deep/seq"
    );
    assert_eq!(list(target.path()), Listing::new());
}

#[rstest]
#[case("renamed/seq", 108_894)]
#[case("renamed/er/rnd", 60_000)]
#[case("sparse", 2_097_152)]
#[case("a", 11)]
#[case("./bad\u{ff}", 0)]
fn one_file_is_found_in_the_level_that_has_it(#[case] path: &str, #[case] size: u64) {
    let around = Surroundings::default();
    let mut out = Vec::new();
    let dumped = around.with(|context| dump(&levels("tar-gzip", 3), path.as_bytes(), &mut out, context));
    if size == 0 {
        assert_eq!(
            dumped.unwrap_err().to_string(),
            "the backup doesn't hold \"bad\\\\xc3\\\\xbf\""
        );
        return;
    }
    assert_eq!((dumped.unwrap(), out.len() as u64), (size, size));
}

#[test]
fn a_hard_link_is_dumped_as_its_content() {
    let around = Surroundings::default();
    let mut out = Vec::new();
    around
        .with(|context| dump(&levels("tar-gzip", 2), b"hard", &mut out, context))
        .unwrap();
    assert_eq!(out.len(), 11);
}

#[test]
fn the_key_derivation_is_found_out() {
    for (variant, expected) in [
        ("tar-gzip-enc", Kdf::BytesToKeySha256),
        ("tar-gzip-enc-md5", Kdf::BytesToKeyMd5),
    ] {
        let stream = streams(variant).remove(0);
        let store = MemoryStore::new();
        let bytes = stream.len() as u64;
        store.set_object("data", stream);
        let store = Arc::new(store);
        let detect = |phrase: &Passphrase| {
            detect_cipher(store.clone(), "data", bytes, phrase, Some(Compression::Gzip))
        };
        assert!(matches!(detect(&passphrase()), Ok(Cipher::Password { kdf, .. }) if kdf == expected));
        let wrong = Passphrase::from_file_bytes(b"wrong").unwrap().0;
        let error = detect(&wrong).err().unwrap();
        assert_eq!(
            error.to_string(),
            "can't decrypt \"data\": wrong password or damaged"
        );
    }
}

#[test]
fn a_wrong_passphrase_leaves_the_target_empty() {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let passphrase = Passphrase::from_file_bytes(b"wrong").unwrap().0;
    let cipher = Cipher::Password {
        passphrase,
        kdf: Kdf::BytesToKeySha256,
    };
    let level = plain_level(0, streams("tar-gzip-enc").remove(0), Some(cipher));
    let error = restore_into(vec![level], target.path(), &around, |_| {}).unwrap_err();
    assert!(error.is_damage());
    assert_eq!(list(target.path()), Listing::new());
}

#[rstest]
fn damage_in_a_stream_is_an_error(#[values("tar-gzip", "tar-bzip2")] variant: &str) {
    let whole = streams(variant).remove(0);
    for (name, stream) in [
        ("cut", whole[..whole.len() - 9].to_vec()),
        (
            "flipped",
            whole
                .iter()
                .enumerate()
                .map(|(at, byte)| if at == 30_000 { byte ^ 4 } else { *byte })
                .collect(),
        ),
    ] {
        let around = Surroundings::default();
        let target = tempfile::tempdir().unwrap();
        let error = restore_into(
            vec![plain_level(0, stream.clone(), None)],
            target.path(),
            &around,
            |_| {},
        );
        assert!(
            error.as_ref().is_err_and(|error| error.is_damage()),
            "{variant} {name} {error:?}"
        );
        let report = around
            .with(|context| verify(&plain_level(0, stream, None), context))
            .unwrap();
        assert_eq!(report.damage_count, 1, "{variant} {name} {report:?}");
    }
    let around = Surroundings::default();
    let report = around
        .with(|context| verify(&plain_level(0, whole, None), context))
        .unwrap();
    assert_eq!(report.damage, []);
    assert!(report.members > 10);
}
