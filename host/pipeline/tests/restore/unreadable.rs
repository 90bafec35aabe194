//! What couldn't be read when it was backed up: named, and restored as an earlier level has it if that is asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use freezer_format::compression::Compression;
use freezer_pipeline::restore::{RestoreError, dump, verify};

use crate::support::{Backups, Surroundings, list, ran_as_nobody, restore_into};

fn shut(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
}

/// Three levels. At the first `never`, `d/never` and `empty` can't be read; from the second on neither can `once` and
/// `d`; at the third nothing changes.
fn backups(root: &Path) -> Backups {
    for directory in ["d", "empty"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for file in ["never", "once", "d/never", "d/once", "empty/unseen", "fine"] {
        fs::write(root.join(file), file).unwrap();
    }
    for path in ["never", "d/never", "empty"] {
        shut(&root.join(path));
    }
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(root);
    fs::write(root.join("once"), b"newer").unwrap();
    for path in ["once", "d"] {
        shut(&root.join(path));
    }
    backups.back_up(root);
    backups.back_up(root);
    for path in ["d", "empty"] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    backups
}

fn lines(backups: &Backups, newest: u32, stale: bool) -> (Vec<String>, Vec<String>, [u64; 2]) {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let report = restore_into(backups.levels(newest), target.path(), &around, |job| {
        job.stale = stale;
    });
    let report = report.unwrap();
    assert!(report.partial);
    let mut lines = around.lines();
    lines.sort();
    for path in ["d", "empty"] {
        // Their modes are restored too.
        fs::set_permissions(target.path().join(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let names = list(target.path()).into_keys();
    let names = names.map(|path| String::from_utf8(path).unwrap());
    (names.collect(), lines, [report.unreadable, report.stale])
}

const DIRECTORY: &str = "a directory that couldn't be read when it was backed up: its content was not stored";

#[test]
fn a_directory_is_marked_and_named_at_the_first_level() {
    if ran_as_nobody("unreadable::a_directory_is_marked_and_named_at_the_first_level") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    let backups = backups(source.path());
    let level = backups.level(0);
    let index = level.index.as_ref().unwrap();
    assert!(index.find(b"empty").unwrap().unwrap().unreadable);
    assert!(!index.find(b"d").unwrap().unwrap().unreadable);
    let (names, lines, counts) = lines(&backups, 0, true);
    assert_eq!(names, ["d", "d/once", "empty", "fine", "once"]);
    let absent = "couldn't be read when it was backed up, and no earlier level has it";
    assert_eq!(
        lines,
        [
            format!("d/never: {absent}"),
            format!("empty: {DIRECTORY}"),
            format!("never: {absent}"),
        ]
    );
    assert_eq!(counts, [3, 0]);
}

#[test]
fn stale_content_is_told_from_none_at_all() {
    if ran_as_nobody("unreadable::stale_content_is_told_from_none_at_all") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    let backups = backups(source.path());
    for newest in [1, 2] {
        let (names, said, counts) = lines(&backups, newest, true);
        assert_eq!(names, ["d", "d/once", "empty", "fine", "once"]);
        let absent = "couldn't be read when it was backed up, and no earlier level has it";
        assert_eq!(
            said,
            [
                format!("d/never: {absent}"),
                "d/once: restored as it was in level 0".to_owned(),
                format!("d: {DIRECTORY}"),
                format!("empty: {DIRECTORY}"),
                format!("never: {absent}"),
                "once: restored as it was in level 0".to_owned(),
            ]
        );
        assert_eq!(counts, [4, 2]);
        let (names, _, counts) = lines(&backups, newest, false);
        assert_eq!(names, ["d", "empty", "fine"]);
        assert_eq!(counts, [6, 0]);
        let around = Surroundings::default();
        let report = around
            .with(|context| verify(&backups.level(newest), context))
            .unwrap();
        assert_eq!(report.damage, []);
        let dumped = around.with(|context| dump(&backups.levels(newest), b"once", &mut Vec::new(), context));
        assert!(matches!(dumped, Err(RestoreError::Unreadable { .. })));
    }
}
