//! What a trial says of a storage, and that it leaves nothing in it.

use freezer_pipeline::store::ErrorKind;
use freezer_pipeline::testing::{Fault, Operation};

use super::support::*;
use crate::*;

const OPTIONS: TrialOptions = TrialOptions { size_bytes: 1 << 20 };

fn try_out(bench: &Bench) -> TrialReport {
    bench
        .run(|context| trial(&bench.store(), OPTIONS, context))
        .unwrap()
}

#[test]
fn a_good_storage_has_only_good_rows_and_is_left_as_it_was() {
    let bench = Bench::new();
    let report = try_out(&bench);
    for row in &report.rows {
        assert_ne!(row.state, TrialState::Failed, "{}: {}", row.name, row.note);
    }
    assert_eq!(report.exit_class(), ExitClass::Ok);
    assert_eq!(bench.store.keys(), [""; 0]);
    assert_eq!(bench.store.open_uploads(), 0);
    let measured = report.rows.iter().filter(|row| row.bytes.is_some()).count();
    assert_eq!(measured, 4);
}

#[test]
fn every_call_that_fails_once_is_a_row_and_the_storage_is_left_as_it_was() {
    let calls = {
        let bench = Bench::new();
        try_out(&bench);
        bench.store.requests().total()
    };
    for call in 0..calls {
        let bench = Bench::new();
        bench.store.fail(Fault {
            operation: None,
            call,
            kind: ErrorKind::Other,
            applied: false,
        });
        let report = try_out(&bench);
        // A failed abort in the clean-up concerns an upload that is committed already.
        assert!(report.rows.iter().all(|row| !row.name.is_empty()));
        if report.left.is_empty() {
            assert_eq!(bench.store.keys(), [""; 0], "call {call}");
        } else {
            assert_ne!(report.exit_class(), ExitClass::Ok, "call {call}");
        }
    }
}

#[test]
fn what_can_t_be_removed_is_named_and_partial() {
    let bench = Bench::new();
    bench.store.fail(Fault {
        operation: Some(Operation::Remove),
        call: 0,
        kind: ErrorKind::Denied,
        applied: false,
    });
    let report = try_out(&bench);
    assert_eq!(report.exit_class(), ExitClass::Partial);
    assert!(
        report.left.iter().any(|key| key.ends_with("/small")),
        "{:?}",
        report.left
    );
    assert!(bench.store().list("metadata/", None).unwrap().entries.is_empty());
}

#[test]
fn a_storage_that_is_written_once_is_no_failure() {
    let bench = Bench::new();
    // The third write is the one that replaces.
    bench.store.fail(Fault {
        operation: Some(Operation::Put),
        call: 2,
        kind: ErrorKind::Denied,
        applied: false,
    });
    let report = try_out(&bench);
    let row = report.rows.iter().find(|row| row.name == "replace").unwrap();
    assert_eq!(row.state, TrialState::Unsupported);
    assert!(row.note.starts_with("written once"), "{}", row.note);
    assert_eq!(report.exit_class(), ExitClass::Ok);
}

#[test]
fn a_write_that_fails_is_told_in_the_storage_s_words() {
    let bench = Bench::new();
    bench.store.fail(Fault {
        operation: Some(Operation::Put),
        call: 0,
        kind: ErrorKind::Denied,
        applied: false,
    });
    let report = try_out(&bench);
    let row = report.rows.iter().find(|row| row.name == "write").unwrap();
    assert_eq!(row.state, TrialState::Failed);
    assert!(!row.note.is_empty());
    assert_eq!(report.exit_class(), ExitClass::Failed);
}

#[rstest::rstest]
#[case(3600, "3600 s ahead of ours")]
#[case(-60, "60 s behind ours")]
fn another_clock_is_a_warning_and_no_failure(#[case] skew: i64, #[case] told: &str) {
    let bench = Bench::new();
    let now = bench.clock.load(std::sync::atomic::Ordering::Relaxed);
    bench.store.set_clock(now + skew);
    let report = try_out(&bench);
    let row = report.rows.iter().find(|row| row.name == "clock").unwrap();
    assert_eq!(row.state, TrialState::Warning);
    assert!(row.note.starts_with(told), "{}", row.note);
    assert_eq!(report.exit_class(), ExitClass::Ok);
}
