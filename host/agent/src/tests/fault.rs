//! Whatever fails, and whenever: earlier backups stay, this one is whole or absent, the next one succeeds.

use std::fs;
use std::sync::Arc;

use freezer_pipeline::store::ErrorKind;
use freezer_pipeline::testing::Fault;
use freezer_plugin::Outcome;
use rstest::rstest;

use super::support::*;
use crate::*;

#[rstest]
#[case::refused(false)]
#[case::answer_lost(true)]
fn every_storage_call_may_fail_once(#[case] applied: bool) {
    for call in 0.. {
        let bench = Bench::encrypted();
        bench.write("a", "first");
        let first = (bench.backup(), bench.expected());
        bench.write("b", "second");
        bench.store.fail(Fault {
            operation: None,
            call,
            kind: ErrorKind::Unavailable,
            applied,
        });
        bench.store.reset_requests();
        let result = bench.try_backup();
        let happened = bench.store.requests().total() > call;
        let case = format!("call {call} applied {applied}: {result:?}");
        if !happened {
            assert!(call > 10 && result.is_ok(), "{case}");
            return;
        }
        assert_eq!(bench.store.open_uploads(), 0, "{case}");
        assert_eq!(bench.restore(Some(first.0.id.time)).unwrap(), first.1, "{case}");
        let listed = bench.rows().len();
        match &result {
            Ok(_) => {
                assert_eq!(listed, 2, "{case}");
                assert_eq!(bench.restore(None).unwrap(), bench.expected(), "{case}");
            }
            // Only an unanswered commit may leave a backup behind a failure, and then it is a whole one.
            Err(_) if listed == 2 => {
                assert!(matches!(result, Err(AgentError::CommitUnknown { .. })), "{case}");
                assert_eq!(bench.restore(None).unwrap(), bench.expected(), "{case}");
            }
            Err(_) => assert_eq!(bench.restore(None).unwrap(), first.1, "{case}"),
        }
        bench.backup();
        assert_eq!(bench.restore(None).unwrap(), bench.expected(), "{case}");
    }
}

#[test]
fn a_failed_backup_leaves_nothing() {
    let bench = Bench::new();
    bench.write("a", "first");
    bench.backup();
    let before = bench.store.keys();
    fs::remove_dir_all(bench.source()).unwrap();
    let mode = Directory::new(bench.source());
    let error = bench.backup_by(&mode).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Failed);
    assert_eq!(bench.store.keys(), before);
    let outcome = mode.outcome.lock().unwrap().clone();
    assert!(matches!(outcome, Some(Outcome::Failed { .. })), "{outcome:?}");
}

#[test]
fn a_cancelled_backup_leaves_nothing_and_thaws() {
    let bench = Bench::new();
    bench.write("a", "first");
    let cancel = bench.cancel.clone();
    let mut mode = Directory::new(bench.source());
    mode.before = Some(Box::new(move || cancel.cancel()));
    let error = bench.backup_by(&mode).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Interrupted, "{error}");
    assert_eq!(bench.store.keys(), Vec::<String>::new());
    assert_eq!(bench.store.open_uploads(), 0);
    assert_eq!(*mode.outcome.lock().unwrap(), Some(Outcome::Cancelled));
}

#[test]
fn a_mode_that_cant_thaw_makes_no_backup() {
    let bench = Bench::new();
    bench.write("a", "first");
    let mode = Directory {
        breaks: true,
        ..Directory::new(bench.source())
    };
    let error = bench.backup_by(&mode).unwrap_err();
    assert!(error.to_string().contains("still frozen"), "{error}");
    assert_eq!(*mode.outcome.lock().unwrap(), Some(Outcome::Done));
    assert_eq!(bench.store.keys(), Vec::<String>::new());
}

#[test]
fn what_a_killed_run_leaves_is_named_and_in_nobody_s_way() {
    let bench = Bench::new();
    let first = bench.backup();
    let directory = format!("data/tar/web01_etc/{}/1_{}", first.id.zero, first.id.time.0 + 60);
    bench
        .store
        .set_object(&format!("{directory}/claim"), b"0123456789abcdef".to_vec());
    bench.store.set_object(&format!("{directory}/data"), vec![0; 100]);
    let upload =
        freezer_pipeline::store::Store::begin(&bench.store, &format!("{directory}/index"), None).unwrap();
    let report = bench.check(false);
    let named: Vec<&str> = report
        .problems
        .iter()
        .map(|problem| problem.object.as_str())
        .collect();
    assert_eq!(named, [directory.as_str(), &format!("{directory}/index")]);
    assert_eq!(report.exit_class(), ExitClass::Ok);
    assert!(report.problems[0].reason.contains("116 bytes"));
    freezer_pipeline::store::Store::abort(&bench.store, &upload).unwrap();
    assert_eq!(bench.backup().id.level.0, 1);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn a_backup_without_its_commit_point_is_not_called_garbage() {
    let bench = Bench::new();
    bench.backup();
    let keys = bench.store.keys();
    let metadata = keys
        .iter()
        .find(|key| key.ends_with("/metadata"))
        .unwrap()
        .clone();
    freezer_pipeline::store::Store::remove(&bench.store, &[metadata]).unwrap();
    let report = bench.check(false);
    let data = report
        .problems
        .iter()
        .find(|problem| problem.object.starts_with("data/"))
        .unwrap();
    assert!(
        data.reason.contains("complete but for its commit point"),
        "{}",
        data.reason
    );
    assert!(data.next.contains("don't remove"), "{}", data.next);
}

#[test]
fn two_runs_at_once_make_two_backups() {
    let bench = Arc::new(Bench::encrypted());
    bench.write("a", "1");
    bench.backup();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| bench.backup());
        }
    });
    let rows = bench.rows();
    assert_eq!(rows.len(), 3);
    assert_ne!(rows[1].id, rows[2].id);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
    assert_eq!(bench.check(true).exit_class(), ExitClass::Ok);
}
