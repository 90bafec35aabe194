//! A dry run reads and counts as the restore itself would, and writes nothing.

use std::fs;

use freezer_format::compression::Compression;
use freezer_pipeline::restore::RestoreReport;
use rstest::rstest;

use crate::mixed::ours_on_golden;
use crate::round_trip::make_tree;
use crate::support::{Backups, Surroundings, list, restore_into};

fn counts(report: &RestoreReport) -> [u64; 6] {
    [
        report.files,
        report.directories,
        report.symlinks,
        report.hard_links,
        report.others,
        report.bytes,
    ]
}

/// Runs dry and in earnest; answers what both counted.
fn compare(backups: &Backups, newest: u32, sequential: bool) -> [u64; 6] {
    let place = tempfile::tempdir().unwrap();
    let [dry, real] = [true, false].map(|dry_run| {
        let target = place.path().join("target");
        let around = Surroundings::default();
        let report = restore_into(backups.levels(newest), &target, &around, |job| {
            job.dry_run = dry_run;
            job.sequential = sequential;
        });
        assert_eq!(target.exists(), !dry_run);
        assert_eq!(around.lines(), Vec::<String>::new());
        counts(&report.unwrap())
    });
    assert_eq!(dry, real, "sequential: {sequential}");
    dry
}

#[rstest]
fn every_kind_of_entry_is_counted(#[values(false, true)] sequential: bool) {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    let [files, directories, symlinks, hard_links, others, bytes] = compare(&backups, 0, sequential);
    assert!(files > 200 && bytes > 9_000_000);
    assert_eq!((directories, symlinks, hard_links), (4, 2, 2));
    assert!(others >= 1);
}

#[test]
fn what_only_the_original_s_levels_hold_is_counted_once() {
    let backups = ours_on_golden();
    let [files, .., others, _] = compare(&backups, 3, false);
    let target = tempfile::tempdir().unwrap();
    restore_into(backups.levels(3), target.path(), &Surroundings::default(), |_| {}).unwrap();
    let listed = list(target.path());
    let of = |kind: &str| listed.values().filter(|text| text.starts_with(kind)).count() as u64;
    assert_eq!((files, others), (of("file"), of("fifo")));
}

#[rstest]
fn a_target_that_would_be_refused_is_said(
    #[values(false, true)] sequential: bool,
    #[values(false, true)] overwrite: bool,
) {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("f"), b"1").unwrap();
    fs::write(target.path().join("mine"), b"2").unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    let around = Surroundings::default();
    let report = restore_into(backups.levels(0), target.path(), &around, |job| {
        (job.dry_run, job.overwrite, job.sequential) = (true, overwrite, sequential);
    })
    .unwrap();
    let expected = "the target isn't empty: without overwriting, the restore itself will be refused";
    let expected = if overwrite {
        vec![]
    } else {
        vec![expected.to_owned()]
    };
    assert_eq!(
        (report.files, report.partial, around.lines()),
        (1, false, expected)
    );
    assert_eq!(list(target.path()).len(), 1);
}
