//! Temporary names of killed runs go with the next restore into the same target; those of a live run stay.

use std::fs;
use std::path::Path;

use freezer_format::compression::Compression;
use rstest::rstest;
use rustix::fs::FlockOperation;

use crate::support::{Backups, Surroundings, list, restore_into};

const OLD: &str = ".freezer-0123456789abcdef";

/// A backup of `d/f`, restored to a target where a killed run and the user left names.
fn restored(target: &Path, sequential: bool) -> Vec<String> {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir_all(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/f"), b"1").unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    fs::create_dir_all(target.join("d")).unwrap();
    fs::create_dir_all(target.join("foreign")).unwrap();
    fs::create_dir_all(target.join(format!("{OLD}-stage/d/e"))).unwrap();
    fs::write(target.join(format!("{OLD}-stage/d/e/f")), b"half").unwrap();
    for name in ["0", "shared-1"] {
        fs::write(target.join(format!("{OLD}-{name}")), b"half").unwrap();
        fs::write(target.join(format!("d/{OLD}-{name}")), b"half").unwrap();
    }
    fs::write(
        target.join(format!("foreign/{OLD}-0")),
        b"not where the backup has something",
    )
    .unwrap();
    fs::write(target.join("d/.freezer-notes"), b"mine").unwrap();
    let around = Surroundings::default();
    let report = restore_into(backups.levels(0), target, &around, |job| {
        (job.overwrite, job.sequential) = (true, sequential);
    });
    assert_eq!((report.unwrap().partial, around.lines()), (false, Vec::new()));
    assert_eq!(fs::read(target.join("d/f")).unwrap(), b"1");
    let found = list(target);
    let names = found.keys().map(|path| String::from_utf8(path.clone()).unwrap());
    names.filter(|path| path.contains(".freezer-")).collect()
}

#[rstest]
fn those_of_a_killed_run_are_removed(#[values(false, true)] sequential: bool) {
    let target = tempfile::tempdir().unwrap();
    let expected = [
        format!("{OLD}-shared-1"),
        format!("d/{OLD}-shared-1"),
        "d/.freezer-notes".to_owned(),
        format!("foreign/{OLD}-0"),
    ];
    let mut left = restored(target.path(), sequential);
    left.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(left, expected);
}

#[rstest]
fn those_of_a_live_run_stay(#[values(false, true)] sequential: bool) {
    let target = tempfile::tempdir().unwrap();
    let other = fs::File::open(target.path()).unwrap();
    rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    let left = restored(target.path(), sequential);
    for name in [
        format!("{OLD}-0"),
        format!("{OLD}-stage/d/e/f"),
        format!("d/{OLD}-0"),
    ] {
        assert!(left.contains(&name), "{name} of {left:?}");
    }
}
