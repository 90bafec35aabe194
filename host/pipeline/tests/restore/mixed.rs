//! Levels of ours on a chain that the original began, and what only its own archives do: swapped directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use freezer_format::compression::Compression;
use freezer_pipeline::restore::{LevelData, RestoreError, dump};
use rstest::rstest;

use crate::golden::{expected, golden, streams};
use crate::support::{Backups, Surroundings, differences, list, plain_level, restore_into};

/// Puts the time in a snapshot file so late that every name in it counts as unchanged.
fn in_the_future(snar: &[u8]) -> Vec<u8> {
    let head = snar.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let seconds = snar[head..].iter().position(|byte| *byte == 0).unwrap();
    [&snar[..head], b"4000000000", &snar[head + seconds..]].concat()
}

/// The golden backup's three levels, then one of ours of the same tree with a file changed, added and removed.
pub(crate) fn ours_on_golden() -> Backups {
    let snar = "tar-gzip/data/tar/node1_gold/1795552886/2_1795552894/engine_metadata";
    let source = tempfile::tempdir().unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.originals = streams("tar-gzip");
    backups.snar = in_the_future(&fs::read(golden().join(snar)).unwrap());
    let levels = backups.levels(2);
    restore_into(levels, source.path(), &Surroundings::default(), |_| {}).unwrap();
    fs::write(source.path().join("added"), b"added").unwrap();
    symlink("renamed/seq", source.path().join("leads")).unwrap();
    fs::remove_file(source.path().join("new/f")).unwrap();
    backups.back_up(source.path());
    backups
}

fn dumped(levels: &[LevelData], path: &str) -> Result<Vec<u8>, RestoreError> {
    let mut out = Vec::new();
    Surroundings::default().with(|context| dump(levels, path.as_bytes(), &mut out, context))?;
    Ok(out)
}

#[rstest]
fn a_level_of_ours_takes_what_stayed_from_the_original_s(#[values(false, true)] sequential: bool) {
    let backups = ours_on_golden();
    let levels = backups.levels(3);
    let index = levels[3].index.as_ref().unwrap();
    let rows: Vec<_> = index.entries().unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().filter(|row| row.unindexed).count() > 8);
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let report = restore_into(levels, target.path(), &around, |job| job.sequential = sequential);
    assert_eq!((report.unwrap().partial, around.lines()), (false, Vec::new()));
    let mut expected = expected("tar-gzip.level2.jsonl");
    expected.remove(&b"new/f"[..]).unwrap();
    let mut found = list(target.path());
    assert!(found.remove(&b"added"[..]).is_some() && found.remove(&b"leads"[..]).is_some());
    assert_eq!(differences(&expected, &found), Vec::<String>::new());
}

#[test]
fn selected_paths_come_from_both() {
    let backups = ours_on_golden();
    let target = tempfile::tempdir().unwrap();
    let report = restore_into(
        backups.levels(3),
        target.path(),
        &Surroundings::default(),
        |job| {
            job.paths = vec![b"added".to_vec(), b"renamed/er".to_vec()];
        },
    );
    assert!(!report.unwrap().partial);
    let names: Vec<_> = list(target.path()).into_keys().collect();
    let expected = ["added", "renamed", "renamed/er", "renamed/er/rnd"];
    assert_eq!(names, expected.map(|name| name.as_bytes().to_vec()));
}

#[test]
fn one_file_is_dumped_from_either() {
    let backups = ours_on_golden();
    let levels = backups.levels(3);
    assert_eq!(dumped(&levels, "added").unwrap(), b"added");
    // Unchanged since level 0, where its directory had another name.
    assert_eq!(dumped(&levels, "renamed/seq").unwrap().len(), 108_894);
    assert!(matches!(
        dumped(&levels, "new/f"),
        Err(RestoreError::NotFound { .. })
    ));
}

#[test]
fn a_symbolic_link_is_not_dumped_but_its_goal_is_said() {
    let source = tempfile::tempdir().unwrap();
    symlink("d/other\n", source.path().join("l")).unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    let mut levels = backups.levels(0);
    for _ in 0..2 {
        assert_eq!(
            dumped(&levels, "l").unwrap_err().to_string(),
            r#""l" is a symbolic link to "d/other\\n", only files can be dumped"#
        );
        levels[0].index = None;
    }
}

pub(crate) fn archived(source: &Path, snar: &Path) -> Vec<u8> {
    let mut command = Command::new("tar");
    command
        .arg("-C")
        .arg(source)
        .args(["-czf", "-", "--format=posix", "--no-check-device"]);
    let output = command
        .arg(format!("--listed-incremental={}", snar.display()))
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn swapped_directories_are_followed() {
    let (source, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, snar) = (source.path(), scratch.path().join("snar"));
    for name in ["a", "b"] {
        fs::create_dir_all(root.join(name).join("below")).unwrap();
        fs::write(root.join(name).join("below/f"), name).unwrap();
    }
    let zero = archived(root, &snar);
    fs::rename(root.join("a"), root.join("t")).unwrap();
    fs::rename(root.join("b"), root.join("a")).unwrap();
    fs::rename(root.join("t"), root.join("b")).unwrap();
    let one = archived(root, &snar);
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&one[..]), &mut plain).unwrap();
    let records = [&b"\0X"[..], b"=X"];
    let has_swap = records
        .iter()
        .any(|record| plain.windows(record.len()).any(|bytes| bytes == *record));
    assert!(has_swap, "GNU tar wrote no swap");
    let levels = || {
        vec![
            plain_level(0, zero.clone(), None),
            plain_level(1, one.clone(), None),
        ]
    };
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let report = restore_into(levels(), target.path(), &around, |_| {}).unwrap();
    assert_eq!((report.partial, around.lines()), (false, Vec::new()));
    assert_eq!(
        differences(&list(root), &list(target.path())),
        Vec::<String>::new()
    );
    assert_eq!(dumped(&levels(), "a/below/f").unwrap(), b"b");
    assert_eq!(dumped(&levels(), "b/below/f").unwrap(), b"a");
}
