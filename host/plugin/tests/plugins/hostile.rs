//! Every sin of the hostile guests has its consequence: an error that names the plugin, and a host that goes on.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freezer_pipeline::store::{ErrorKind, Existing, Store, StoreError};
use freezer_plugin::limits::LimitOverride;
use freezer_plugin::{
    BackupRequest, ModeBackup, Outcome, PluginError, PluginHost, PluginKind, RestoreRequest, SettingValue,
};

use crate::common::{TestRun, hostile_host, run};

fn open(temp: &Path, limits: LimitOverride) -> (PluginHost, TestRun, Arc<dyn Store>) {
    let (host, run) = (hostile_host(temp, limits), run(Vec::new()));
    let plugin = host.find(PluginKind::Storage, "hostile").unwrap();
    let mut settings = plugin.manifest().settings_from_url("hostile:x").unwrap();
    settings.set("password", SettingValue::Text("correct horse".to_owned()));
    let store = host.open_storage(&plugin, settings, &run.run).unwrap();
    (host, run, store)
}

/// The error of one sin; afterwards a fresh instance still answers.
fn sin(store: &dyn Store, key: &str) -> StoreError {
    let error = store.stat(key).expect_err(key);
    assert_eq!(store.stat("fine").unwrap().unwrap().size, 1, "after {key}");
    error
}

#[test]
fn greed_ends_at_a_limit_that_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let (_host, _run, store) = open(
        temp.path(),
        LimitOverride {
            cpu_seconds: Some(1),
            ..LimitOverride::default()
        },
    );
    let started = Instant::now();
    let cases = [
        (
            "loop",
            "plugin hostile was stopped in stat: it computed for more than 1 s in one call",
        ),
        (
            "memory",
            "plugin hostile was stopped in stat: it needs more than 64 MiB of memory",
        ),
        (
            "handles",
            "plugin hostile was stopped in stat: it holds more than 1024 handles",
        ),
        (
            "bodies",
            "plugin hostile was stopped in stat: it holds more than 64 MiB in bodies",
        ),
        (
            "transfer",
            "plugin hostile was stopped in stat: it passed more than 18 MiB in one call",
        ),
        ("panic", "plugin hostile crashed in stat: it panicked"),
    ];
    for (key, message) in cases {
        assert_eq!(sin(&*store, key).message, message);
    }
    assert!(
        sin(&*store, "recursion")
            .message
            .starts_with("plugin hostile crashed in stat: ")
    );
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_guest_that_waits_too_long_is_stopped() {
    let temp = tempfile::tempdir().unwrap();
    let limits = LimitOverride {
        call_seconds: Some(1),
        ..LimitOverride::default()
    };
    let (_host, _run, store) = open(temp.path(), limits);
    let message = "plugin hostile was stopped in stat: the call took more than 1 s";
    assert_eq!(sin(&*store, "wait").message, message);
}

#[test]
fn what_was_not_granted_is_denied_with_the_line_that_grants_it() {
    let temp = tempfile::tempdir().unwrap();
    let (host, _run, store) = open(temp.path(), LimitOverride::default());
    let digest = host
        .find(PluginKind::Storage, "hostile")
        .unwrap()
        .sha256()
        .to_owned();
    let denied = |error: StoreError, line: &str| {
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        let advice = format!("below [hostile] with sha256 = \"{digest}\": {line}");
        assert!(error.message.ends_with(&advice), "{error}");
    };
    denied(
        sin(&*store, "directory"),
        "files = [{ root = \"/etc\", access = \"read-only\" }]",
    );
    denied(sin(&*store, "secret"), "secrets = [\"password\"]");
    denied(
        sin(&*store, "tcp 169.254.169.254:80"),
        "tcp = [\"169.254.169.254:80\"]",
    );
    denied(sin(&*store, "http"), "http = [\"http://169.254.169.254\"]");
    denied(
        sin(&*store, "relative"),
        "files = [{ root = \"etc/../..\", access = \"read-write\" }]",
    );
    let bytes = Arc::new(b"the backup's own".to_vec());
    denied(
        store
            .put("read", Arc::clone(&bytes), Existing::Replace)
            .unwrap_err(),
        "bodies = true",
    );
    // A storage sends the bytes away anyway: their digest tells it nothing new.
    store.put("digest", bytes, Existing::Replace).unwrap();
    assert_eq!(sin(&*store, "undeclared").kind, ErrorKind::Invalid);
}

#[test]
fn a_grant_opens_what_it_names_and_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let digest = hostile_host(temp.path(), LimitOverride::default());
    let digest = digest
        .find(PluginKind::Storage, "hostile")
        .unwrap()
        .sha256()
        .to_owned();
    let grants = format!("[hostile]\nsha256 = \"{digest}\"\nsecrets = [\"password\"]\nbodies = true\n");
    std::fs::write(temp.path().join("grants.toml"), grants).unwrap();
    let (_host, _run, store) = open(temp.path(), LimitOverride::default());
    assert_eq!(
        store.stat("secret").unwrap().unwrap().size,
        "correct horse".len() as u64
    );
    assert_eq!(sin(&*store, "directory").kind, ErrorKind::Denied);
    store
        .put("read", Arc::new(b"x".to_vec()), Existing::Replace)
        .unwrap();
}

#[test]
fn a_guest_sees_no_environment_and_shows_no_escapes() {
    let temp = tempfile::tempdir().unwrap();
    let (_host, run, store) = open(temp.path(), LimitOverride::default());
    assert_eq!(store.stat("environment").unwrap().unwrap().size, 0);
    store.stat("output").unwrap();
    store.stat("flood").unwrap();
    let warnings = run.warnings.lock().unwrap();
    assert!(
        (1..=1000).contains(&warnings.len()),
        "{} warnings",
        warnings.len()
    );
    let expected = "plugin hostile: \\u{1b}[31mred 0\\u{1b}[0m\\u{a}second line";
    assert_eq!(warnings[0], expected);
    assert_eq!(
        sin(&*store, "escapes").message,
        "\\u{1b}]0;owned\\u{7}\\u{a}next line"
    );
}

#[test]
fn lies_are_found() {
    let temp = tempfile::tempdir().unwrap();
    let (_host, _run, store) = open(temp.path(), LimitOverride::default());
    let broken = |error: StoreError, call: &str| {
        let start = format!("plugin hostile broke the plugin contract in {call}: ");
        assert!(
            error.message.starts_with(&start) && error.message.len() < 600,
            "{error}"
        );
        assert_eq!(error.kind, ErrorKind::Corrupt);
    };
    broken(sin(&*store, "other"), "stat");
    for prefix in ["many/", "dots/", "nul/", "deep/", "elsewhere/", "long/", "huge/"] {
        broken(store.list(prefix, None).expect_err(prefix), "list");
    }
    broken(store.list("forever/", Some("again")).unwrap_err(), "list");
    broken(store.begin("long", None).unwrap_err(), "begin");
    broken(
        store.put_segment("receipt", 0, 0, Arc::new(vec![1])).unwrap_err(),
        "put-segment",
    );
    let Err(error) = store.read("short", 0, Some(5)) else {
        panic!("nothing passed for 5 bytes")
    };
    broken(error, "read");
    let Err(error) = store.read("long", 0, Some(5)) else {
        panic!("10 bytes passed for 5")
    };
    broken(error, "read");
    let mut whole = Vec::new();
    store
        .read("any", 0, Some(10))
        .unwrap()
        .read_to_end(&mut whole)
        .unwrap();
    assert_eq!(whole, b"0123456789");
}

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

#[test]
fn a_mode_that_crashes_has_its_leftovers_undone_in_a_fresh_instance() {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    for path in ["/panic", "/name"] {
        let run = run(Vec::new());
        let mut backup = prepare(&host, path, &run).unwrap();
        let Err(error) = backup.next_source() else {
            panic!("{path} went well")
        };
        assert!(error.is_fatal(), "{error}");
        let error = backup.finish(&Outcome::Done).unwrap_err().to_string();
        assert!(
            error.contains("its instance is gone since an earlier failure"),
            "{error}"
        );
        assert_eq!(*run.warnings.lock().unwrap(), UNDONE, "{path}");
    }
    for path in ["/finish", "/prepare"] {
        let run = run(Vec::new());
        let ended = prepare(&host, path, &run).and_then(|backup| backup.finish(&Outcome::Done));
        assert!(ended.is_err(), "{path} went well");
        assert_eq!(*run.warnings.lock().unwrap(), UNDONE, "{path}");
    }
    let run = run(Vec::new());
    drop(prepare(&host, "/dropped", &run).unwrap());
    assert_eq!(*run.warnings.lock().unwrap(), UNDONE);
    assert_eq!(
        std::fs::read_dir(temp.path().join("state/leftovers"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn nothing_is_frozen_that_is_not_granted() {
    let temp = tempfile::tempdir().unwrap();
    let host = hostile_host(temp.path(), LimitOverride::default());
    // Named by the user, which allows it to be read but not to be frozen.
    let run = run(vec!["/etc".into()]);
    for asked in ["/etc", "/", "/etc/../etc", "etc", ""] {
        let Err(error) = prepare(&host, &format!("/freeze{asked}"), &run) else {
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
fn finish_works_after_cancelling_and_its_note_is_bounded() {
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
    let run = run(Vec::new());
    let error = prepare(&host, "/note", &run)
        .unwrap()
        .finish(&Outcome::Done)
        .unwrap_err();
    assert!(matches!(error, PluginError::Broken { .. }), "{error}");
}

#[test]
fn a_mode_can_restore_into_the_named_target_only() {
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
