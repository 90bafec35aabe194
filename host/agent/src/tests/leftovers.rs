//! What is taken away, when, and what never.

use freezer_pipeline::store::{ErrorKind, Store};
use freezer_pipeline::testing::{Fault, Operation};

use super::support::Bench;
use crate::*;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const FOLDER: &str = "data/tar/web01_etc/1900000000/1_1900000100";

fn look(bench: &Bench, remove: bool) -> LeftoverReport {
    let options = LeftoverOptions {
        grace_seconds: 7 * DAY,
        remove,
    };
    bench
        .run(|context| leftovers(&bench.store, &options, context))
        .unwrap()
}

fn fates(report: &LeftoverReport) -> Vec<(&str, Fate)> {
    let leftovers = report.leftovers.iter();
    leftovers
        .map(|leftover| (leftover.object.as_str(), leftover.fate))
        .collect()
}

/// A storage with one backup, what a killed run left beside it, and an upload.
fn littered(clock: i64) -> Bench {
    let bench = Bench::new();
    bench.store.set_clock(clock);
    bench.backup();
    for (name, content) in [("claim", "0123456789abcdef"), ("data", "half")] {
        let content = std::sync::Arc::new(content.as_bytes().to_vec());
        let existing = freezer_pipeline::store::Existing::Refuse;
        bench
            .store
            .put(&format!("{FOLDER}/{name}"), content, existing)
            .unwrap();
    }
    bench.store.begin(&format!("{FOLDER}/index"), None).unwrap();
    bench
}

#[test]
fn only_what_two_looks_saw_unchanged_and_old_is_removed() {
    let bench = littered(DAY);
    let index = format!("{FOLDER}/index");
    let kept = bench.restore(None).unwrap();
    // A run may be at work.
    assert_eq!(
        fates(&look(&bench, true)),
        [(FOLDER, Fate::Young), (index.as_str(), Fate::Young)]
    );
    bench.store.set_clock(8 * DAY);
    // Old, and seen before.
    bench.store.set_object("freezer/leftovers", Vec::new());
    let noted = look(&bench, true);
    assert_eq!(noted.count(Fate::Noted), 2, "{noted:?}");
    bench.store.set_clock(8 * DAY + HOUR - 1);
    assert_eq!(look(&bench, true).count(Fate::Noted), 2);
    bench.store.set_clock(8 * DAY + HOUR);
    assert_eq!(look(&bench, false).count(Fate::Confirmed), 2);
    assert_eq!(look(&bench, true).count(Fate::Removed), 2);
    assert!(!bench.store.keys().iter().any(|key| key.starts_with(FOLDER)));
    assert_eq!(bench.store.open_uploads(), 0);
    assert_eq!(look(&bench, true).leftovers, []);
    assert!(!bench.store.keys().contains(&"freezer/leftovers".to_owned()));
    assert_eq!(bench.restore(None).unwrap(), kept);
}

#[test]
fn what_changes_between_the_looks_is_seen_anew() {
    let bench = littered(0);
    bench.store.set_clock(8 * DAY);
    assert_eq!(look(&bench, false).count(Fate::Noted), 2);
    bench.store.set_object(&format!("{FOLDER}/more"), vec![0; 9]);
    bench.store.set_clock(9 * DAY);
    let report = look(&bench, true);
    // What has no time of its own is never old.
    assert_eq!(report.count(Fate::Young), 1, "{report:?}");
    assert_eq!(report.count(Fate::Removed), 1, "the upload");
}

#[test]
fn a_backup_that_lost_its_commit_point_is_spared() {
    let bench = Bench::new();
    bench.store.set_clock(0);
    bench.backup();
    let metadata = bench.keys_ending("/metadata");
    bench.store.remove_object(&metadata[0]);
    for days in [8, 9, 10] {
        bench.store.set_clock(days * DAY);
        let report = look(&bench, true);
        assert_eq!(report.count(Fate::Spared), 1, "{report:?}");
        assert_eq!(report.leftovers.len(), 1);
    }
}

#[test]
fn without_times_nothing_is_removed() {
    let bench = Bench::new();
    bench.backup();
    bench.store.set_object(&format!("{FOLDER}/data"), vec![0; 9]);
    for _ in 0..3 {
        let options = LeftoverOptions {
            grace_seconds: 0,
            remove: true,
        };
        let report = bench
            .run(|context| leftovers(&bench.store, &options, context))
            .unwrap();
        assert_eq!(report.count(Fate::Young), 1);
    }
}

#[test]
fn a_key_that_may_not_look_for_uploads_still_checks() {
    let bench = Bench::encrypted();
    bench.write("a", "x");
    bench.backup();
    bench.store.fail(Fault {
        operation: Some(Operation::Pending),
        call: 0,
        kind: ErrorKind::Denied,
        applied: false,
    });
    let report = bench.check(true);
    assert_eq!((report.problem_count, report.notice_count), (0, 1), "{report:?}");
    assert!(
        report.problems[0].reason.contains("can't be looked for"),
        "{report:?}"
    );
}
