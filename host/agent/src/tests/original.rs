//! Backups that the original wrote: restored in both layouts, refused without `compat`, continued by ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use freezer_format::level::FullReason;
use freezer_format::name::{HostBackupName, Timestamp};
use rstest::rstest;
use sha2::{Digest, Sha256};

use super::support::*;
use crate::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/original")
        .join(name)
}

/// A bench whose storage is one of the original's containers.
fn bench(variant: &str) -> Bench {
    let mut bench = Bench::new();
    let root = golden(variant);
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(&root).unwrap().to_str().unwrap();
                bench.store.set_object(key, fs::read(&path).unwrap());
            }
        }
    }
    // A little later than the youngest of them.
    bench.clock = 1_795_560_000.into();
    bench.options.name = HostBackupName::new("node1", "gold").unwrap();
    "node1".clone_into(&mut bench.options.host);
    bench
}

fn with_pass(variant: &str, pass: &'static str, compat: bool) -> Bench {
    let mut bench = Bench {
        passphrase: Some(pass),
        ..bench(variant)
    };
    bench.options.compat = compat;
    bench
}

const PASS: &str = "correct horse battery";

/// Digests of the regular files that a state must hold; names that the list escapes are left out.
fn expected(list: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(golden(list)).unwrap();
    let files = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    files
        .filter(|file| file["type"] == "file" && !file["path"].as_str().unwrap().contains('%'))
        .map(|file| {
            (
                file["path"].as_str().unwrap().to_owned(),
                file["sha256"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn restored(bench: &Bench, at: Option<Timestamp>) -> BTreeMap<String, String> {
    let target = bench.target();
    let (wanted, options) = (bench.wanted(at), restore_options(target.clone()));
    bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap();
    let mut found = BTreeMap::new();
    for name in tree(&target).into_keys() {
        let path = target.join(&name);
        // The list escapes every other name.
        let plain = name.is_ascii() && !name.contains(['\n', '%']);
        if plain && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            found.insert(name, hex::encode(Sha256::digest(fs::read(&path).unwrap())));
        }
    }
    found
}

#[rstest]
#[case(bench("tar-gzip"), "tar-gzip")]
#[case(bench("tar-bzip2"), "tar-bzip2")]
#[case(with_pass("tar-gzip-enc", PASS, true), "tar-gzip-enc")]
#[case(with_pass("tar-gzip-enc-md5", PASS, true), "tar-gzip-enc-md5")]
#[case(bench("legacy-tar-liberty"), "legacy-tar-liberty")]
fn each_level_of_the_original_comes_back(#[case] bench: Bench, #[case] variant: &str) {
    let rows = bench.rows();
    assert_eq!(
        rows.iter().map(|row| row.id.level.0).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    for row in rows {
        let list = format!("{variant}.level{}.jsonl", row.id.level);
        assert_eq!(restored(&bench, Some(row.id.time)), expected(&list), "{list}");
        assert_eq!(
            (row.state, row.old_layout),
            (State::Original, variant.starts_with("legacy"))
        );
    }
}

/// Digests of what `dump` writes for each of the files.
fn dumped(
    bench: &Bench,
    at: Option<Timestamp>,
    files: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let digest = |path: &String| {
        let mut content = Vec::new();
        let wanted = bench.wanted(at);
        bench
            .run(|context| {
                let file = (&wanted, path.as_bytes());
                dump(&bench.store(), file, &bench.keyring(), &mut content, context)
            })
            .unwrap();
        (path.clone(), hex::encode(Sha256::digest(&content)))
    };
    files.keys().map(digest).collect()
}

#[rstest]
#[case(bench("tar-gzip"), "tar-gzip")]
#[case(with_pass("tar-gzip-enc", PASS, true), "tar-gzip-enc")]
#[case(bench("legacy-tar-liberty"), "legacy-tar-liberty")]
fn single_files_of_the_original_are_written(#[case] bench: Bench, #[case] variant: &str) {
    for row in bench.rows() {
        let list = format!("{variant}.level{}.jsonl", row.id.level);
        let files = expected(&list);
        assert_eq!(dumped(&bench, Some(row.id.time), &files), files, "{list}");
    }
}

#[test]
fn single_files_of_the_original_are_written_from_our_next_level() {
    let bench = bench("tar-gzip");
    let files = restored(&bench, None);
    let kept: BTreeMap<_, _> = files.into_iter().take(5).collect();
    let target = bench.target();
    let options = restore_options(target.clone());
    let (wanted, options) = (bench.wanted(None), options);
    bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap();
    let ours = bench.backup_by(&Directory::new(target)).unwrap();
    assert_eq!(ours.id.level.0, 3);
    assert_eq!(dumped(&bench, None, &kept), kept);
}

#[test]
fn the_original_s_levels_are_not_authentic() {
    let bench = with_pass("tar-gzip-enc", PASS, false);
    let error = bench.restore(None).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged);
    assert!(error.next()[0].contains("--compat"));
}

#[test]
fn the_original_s_levels_need_their_pass_phrase() {
    let error = with_pass("tar-gzip-enc", "wrong", true)
        .restore(None)
        .unwrap_err();
    let text = crate::level::chain_text(&error);
    assert!(text.contains("wrong password or damaged"), "{text}");
    let error = bench("tar-gzip-enc").restore(None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Cannot restore encrypted backup without key"),
        "{error}"
    );
}

#[test]
fn of_a_repeated_level_the_newest_counts() {
    let bench = bench("tar-gzip-always2");
    let mut rows = bench.rows();
    rows.sort_by_key(|row| row.id.time);
    for (run, row) in rows.iter().enumerate() {
        let list = format!("tar-gzip-always2.run{run}.jsonl");
        assert_eq!(restored(&bench, Some(row.id.time)), expected(&list), "{list}");
    }
}

#[test]
fn a_chain_of_the_original_is_continued() {
    let bench = bench("tar-gzip");
    let target = bench.target();
    let (wanted, options) = (bench.wanted(None), restore_options(target.clone()));
    bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap();
    fs::remove_dir_all(bench.source()).unwrap();
    fs::rename(&target, bench.source()).unwrap();
    bench.write("added", "by us");
    let outcome = bench.backup();
    assert_eq!(outcome.id.level.0, 3);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
    bench.write("added", "by us, again");
    assert_eq!(bench.backup().id.level.0, 4);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn an_encrypted_chain_of_the_original_is_continued_with_compat_only() {
    let bench = with_pass("tar-gzip-enc", PASS, false);
    bench.write("a", "1");
    let outcome = bench.backup();
    assert!(
        matches!(outcome.full_reason, Some(FullReason::ParentUnusable(_))),
        "{:?}",
        outcome.full_reason
    );
    let compat = with_pass("tar-gzip-enc", PASS, true);
    compat.write("a", "1");
    assert_eq!(compat.backup().id.level.0, 3);
    assert_eq!(compat.restore(None).unwrap(), compat.expected());
}

#[test]
fn rsync_backups_are_listed_and_their_restore_is_refused_by_name() {
    let bench = bench("rsync1-5.0.0-gzip");
    assert_eq!(bench.rows().len(), 3);
    let error = bench.restore(None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node1_gold was written by the rsync engine, which this version can't read"
    );
}

#[test]
fn a_healthy_container_of_the_original_has_no_damage() {
    for variant in ["tar-gzip", "tar-bzip2", "legacy-tar-liberty", "rsync1-5.0.0-gzip"] {
        assert_eq!(bench(variant).check(true).problems, [], "{variant}");
    }
}
