//! Every sin of the hostile mode has its consequence, and what it announced is undone whatever becomes of it.

use std::time::{Duration, Instant};

use freezer_pipeline::store::ErrorKind;
use freezer_plugin::limits::LimitOverride;
use freezer_plugin::{
    BackupRequest, ModeBackup, Outcome, PluginError, PluginHost, PluginKind, RestoreRequest, Run, RunConfig,
};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::{TestRun, hostile_host, run};

/// Makes a test of each sin, which calls the function of its name.
macro_rules! tests {
    ($($sin:ident,)*) => {
        mod sin {
            $(#[test] fn $sin() { super::$sin(stringify!($sin)) })*
        }
    };
}

for_each_mode_sin!(tests);

fn prepare(host: &PluginHost, path: &str, run: &TestRun) -> Result<ModeBackup, PluginError> {
    let plugin = host.find(PluginKind::Mode, "hostile-mode")?;
    let request = BackupRequest {
        path: Some(path.into()),
        ..BackupRequest::default()
    };
    host.prepare_backup(&plugin, request, &run.run)
}

const UNDONE: [&str; 2] = [
    "plugin hostile-mode: undone: undo three",
    "plugin hostile-mode: undone: undo one",
];

/// A mode that ends badly on this path: what it left is undone in a fresh instance, and nothing is left in the journal.
#[track_caller]
fn undone_after(sin: &str, ends: impl FnOnce(&PluginHost, &str, &TestRun) -> PluginError) -> PluginError {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let run = run(Vec::new());
    let error = ends(&host, &format!("/{sin}"), &run);
    assert_eq!(*run.warnings.lock().unwrap(), UNDONE, "{sin}");
    let journals = std::fs::read_dir(temp.path().join("state/leftovers"));
    assert_eq!(journals.unwrap().count(), 0);
    assert!(error.to_string().contains("hostile-mode"), "{error}");
    error
}

/// The instance dies in `next`.
fn dies_in_next(host: &PluginHost, path: &str, run: &TestRun) -> PluginError {
    let mut backup = prepare(host, path, run).unwrap();
    let Err(died) = backup.next_source() else {
        panic!("{path} went well")
    };
    assert!(died.is_fatal(), "{died}");
    let error = backup.finish(&Outcome::Done).unwrap_err().to_string();
    assert!(
        error.contains("its instance is gone since an earlier failure"),
        "{error}"
    );
    died
}

/// Preparing or finishing fails.
fn ends_badly(host: &PluginHost, path: &str, run: &TestRun) -> PluginError {
    let ended = prepare(host, path, run).and_then(|backup| backup.finish(&Outcome::Done));
    ended.expect_err(path)
}

fn fails_to_prepare(sin: &str) {
    undone_after(sin, ends_badly);
}

fn panics_in_next(sin: &str) {
    let error = undone_after(sin, dies_in_next).to_string();
    assert_eq!(error, "plugin hostile-mode crashed in next: it panicked");
}

fn names_a_source_with_dots(sin: &str) {
    let error = undone_after(sin, dies_in_next);
    assert!(matches!(error, PluginError::Broken { .. }), "{error}");
}

fn hands_out_no_body(sin: &str) {
    let error = undone_after(sin, dies_in_next);
    assert!(error.to_string().ends_with("\"../x\" is no suffix"), "{error}");
}

/// Whatever a mode announces, settles and freezes in whatever order: it ends, nothing is held, and the journal is empty.
fn runs_a_program(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let mut runner = TestRunner::new(Config {
        cases: Config::default().cases / 8,
        failure_persistence: None,
        ..Config::default()
    });
    let programs = prop::collection::vec(any::<u8>(), 0..150);
    runner
        .run(&programs, |bytes| {
            let program: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let run = run(vec!["/srv".into()]);
            let mut backup = prepare(&host, &format!("/{sin}/{program}"), &run).unwrap();
            drop(backup.next_source());
            backup.finish(&Outcome::Done).unwrap();
            assert_eq!(run.run.release_all(), [""; 0], "{program}");
            let journals = std::fs::read_dir(temp.path().join("state/leftovers"));
            assert_eq!(journals.map_or(0, Iterator::count), 0, "{program}");
            Ok(())
        })
        .unwrap();
}

/// They go with the instance; in a trial they are counted.
fn forgets_handles(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let plugin = host.find(PluginKind::Mode, "hostile-mode").unwrap();
    let request = BackupRequest {
        path: Some(format!("/{sin}").into()),
        ..BackupRequest::default()
    };
    let trial = Run::trial(RunConfig::quiet());
    let backup = host.prepare_backup(&plugin, request, &trial).unwrap();
    backup.finish(&Outcome::Done).unwrap();
    assert_eq!(trial.usage()[0].left_open, 2, "{:?}", trial.usage());
}

fn panics_in_finish(sin: &str) {
    let error = undone_after(sin, ends_badly).to_string();
    assert_eq!(error, "plugin hostile-mode crashed in finish: it panicked");
}

fn backs_up_what_nobody_named(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    // Another path is named, which is no reason to read this one.
    let run = run(vec![temp.path().to_owned()]);
    let mut backup = prepare(&host, &format!("/{sin}"), &run).unwrap();
    let Err(error) = backup.next_source() else {
        panic!("/etc would be backed up")
    };
    let PluginError::Denied(refusal) = &error else {
        panic!("{error}")
    };
    assert_eq!(refusal.plugin, "hostile-mode");
    assert_eq!(refusal.request, "to back up \"/etc\", which you didn't name");
    assert_eq!(
        refusal.line,
        "files = [{ root = \"/etc\", access = \"read-only\" }]"
    );
    drop(backup.finish(&Outcome::Cancelled));
}

/// The journal is bounded, and what is in it is undone.
fn announces_without_end(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let run = run(Vec::new());
    let Err(error) = prepare(&host, &format!("/{sin}"), &run) else {
        panic!("it went well")
    };
    assert!(error.to_string().contains("hostile-mode"), "{error}");
    let journals = std::fs::read_dir(temp.path().join("state/leftovers"));
    assert_eq!(journals.unwrap().count(), 0);
}

/// It is stopped when its time is up, and undone.
fn ignores_that_it_was_cancelled(sin: &str) {
    let limits = LimitOverride {
        call_seconds: Some(3),
        ..LimitOverride::default()
    };
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), limits);
    let run = run(Vec::new());
    let mut backup = prepare(&host, &format!("/{sin}"), &run).unwrap();
    run.cancel.cancel();
    let Err(error) = backup.next_source() else {
        panic!("it went well")
    };
    assert!(matches!(error, PluginError::Limit { .. }), "{error}");
    drop(backup.finish(&Outcome::Cancelled));
    assert_eq!(*run.warnings.lock().unwrap(), UNDONE);
}

fn freezes_what_was_not_granted(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    // Named by the user, which allows it to be read but not to be frozen.
    let run = run(vec!["/etc".into()]);
    for asked in ["/etc", "/", "/etc/../etc", "etc", ""] {
        let Err(error) = prepare(&host, &format!("/{sin}/={asked}"), &run) else {
            panic!("{asked} was frozen")
        };
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(
            error.to_string().ends_with(&format!("snapshots = [{asked:?}]")),
            "{error}"
        );
    }
    assert!(!temp.path().join("state/snapshots").exists());
    assert_eq!(run.run.release_all(), [""; 0]);
}

fn leaves_a_long_note(sin: &str) {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let run = run(Vec::new());
    let backup = prepare(&host, &format!("/{sin}"), &run).unwrap();
    let error = backup.finish(&Outcome::Done).unwrap_err();
    assert!(matches!(error, PluginError::Broken { .. }), "{error}");
}

fn restores_where_nobody_said(_: &str) {
    let temp = tempfile::tempdir().unwrap();
    let (host, run) = (
        hostile_host(temp.path(), LimitOverride::default()),
        run(Vec::new()),
    );
    let plugin = host.find(PluginKind::Mode, "hostile-mode").unwrap();
    let request = RestoreRequest {
        target: Some("/srv/target".into()),
        ..RestoreRequest::default()
    };
    let mut restore = host.prepare_restore(&plugin, request, &run.run).unwrap();
    let error = restore.destination("tree").unwrap_err();
    assert!(matches!(error, PluginError::Denied(_)), "{error}");
    restore.finish(&Outcome::Cancelled).unwrap();
}

#[test]
fn a_mode_that_is_given_up_has_its_leftovers_undone() {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let run = run(Vec::new());
    drop(prepare(&host, "/dropped", &run).unwrap());
    assert_eq!(*run.warnings.lock().unwrap(), UNDONE);
}

#[test]
fn leftovers_of_a_killed_run_are_undone_by_the_next() {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let dir = temp.path().join("state/leftovers");
    std::fs::create_dir_all(&dir).unwrap();
    let plugin = host.find(PluginKind::Mode, "hostile-mode").unwrap();
    let line = |number: u32, undo: &str, sha256: &str| {
        format!(
            "{{\"announce\":{{\"number\":{number},\"plugin\":\"hostile-mode\",\"sha256\":\"{sha256}\",\"settings\":{{\"url\":null,\"values\":[]}},\"description\":\"thing {number}\",\"undo\":\"{undo}\"}}}}\n"
        )
    };
    let journal = [
        &line(0, "undo a", plugin.sha256()),
        &line(1, "undo b", plugin.sha256()),
        "{\"settle\":0}\n",
        &line(2, "undo never", plugin.sha256()),
        &line(3, "undo c", "00"),
        "{\"annou",
    ]
    .concat();
    std::fs::write(dir.join("1-0.journal"), journal).unwrap();
    let run = run(Vec::new());
    let reports = host.undo_leftovers(&run.run);
    let told: Vec<_> = reports
        .iter()
        .map(|report| (report.description.as_str(), report.result.is_ok()))
        .collect();
    assert_eq!(told, [("thing 3", false), ("thing 2", false), ("thing 1", true)]);
    assert!(
        matches!(reports[0].result, Err(PluginError::OtherComponent { .. })),
        "another component was asked to undo it"
    );
    let again = host.undo_leftovers(&run.run);
    assert_eq!(again.len(), 2, "what stayed is tried again, what is gone is not");
}

#[test]
fn finish_works_after_cancelling() {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    let cancelled = run(Vec::new());
    let mut backup = prepare(&host, "/cancelled", &cancelled).unwrap();
    let cancel = cancelled.cancel.clone();
    let started = Instant::now();
    let waiter = std::thread::spawn(move || {
        let error = backup.next_source().err();
        (error, backup)
    });
    cancel.cancel();
    let (error, backup) = waiter.join().unwrap();
    assert!(
        matches!(
            error,
            Some(PluginError::Failed {
                kind: ErrorKind::Cancelled,
                ..
            })
        ),
        "{error:?}"
    );
    assert_eq!(backup.finish(&Outcome::Cancelled).unwrap(), "Cancelled");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}
