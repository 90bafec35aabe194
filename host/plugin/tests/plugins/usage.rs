//! What plugins use is counted over all their instances, and ends at their limits.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use freezer_pipeline::store::{Existing, Store};
use freezer_plugin::limits::LimitOverride;
use freezer_plugin::{PluginKind, PluginUsage, SettingValue};

use crate::common::{TestRun, hostile_host, run};

/// The hostile storage, which may read the backup's bytes, under these limits.
fn open(temp: &std::path::Path, limits: &LimitOverride) -> (TestRun, Arc<dyn Store>) {
    let digest = hostile_host(temp, LimitOverride::default());
    let digest = digest
        .find(PluginKind::Storage, "hostile")
        .unwrap()
        .sha256()
        .to_owned();
    let grants = format!("[hostile]\nsha256 = \"{digest}\"\nbodies = true\n");
    std::fs::write(temp.join("grants.toml"), grants).unwrap();
    let (host, run) = (hostile_host(temp, limits.clone()), run(Vec::new()));
    let plugin = host.find(PluginKind::Storage, "hostile").unwrap();
    let mut settings = plugin.manifest().settings_from_url("hostile:x").unwrap();
    settings.set("password", SettingValue::Text("correct horse".to_owned()));
    let store = host.open_storage(&plugin, settings, &run.run).unwrap();
    (run, store)
}

fn used(run: &TestRun) -> PluginUsage {
    let mut usage = run.run.usage();
    assert_eq!(usage.len(), 1, "{usage:?}");
    usage.remove(0)
}

#[test]
fn calls_computing_memory_and_reading_are_counted_also_of_instances_that_died() {
    let temp = tempfile::tempdir().unwrap();
    let limits = LimitOverride {
        cpu_seconds: Some(1),
        ..LimitOverride::default()
    };
    let (run, store) = open(temp.path(), &limits);
    let opened = used(&run);
    assert_eq!(
        (opened.plugin.as_str(), opened.requests, opened.read_bytes),
        ("hostile", 0, 0)
    );
    assert!(
        opened.calls >= 3,
        "started, opened and asked for its limits: {opened:?}"
    );
    assert!(
        opened.memory_bytes > 0 && opened.cpu < Duration::from_secs(1),
        "{opened:?}"
    );

    store
        .put("peeks_at_the_backup", Arc::new(vec![7; 1000]), Existing::Replace)
        .unwrap();
    store
        .stat("asks_for_an_origin http://127.0.0.1:1")
        .expect_err("it isn't granted");
    store.stat("fine").unwrap();
    let later = used(&run);
    assert_eq!((later.calls, later.requests), (opened.calls + 3, 1));
    // It reads ten bytes of what it is to put.
    assert_eq!(later.read_bytes, 10);

    store.stat("loops_for_ever").expect_err("it computes for ever");
    store
        .stat("allocates_without_end")
        .expect_err("it takes all memory");
    let last = used(&run);
    assert!(last.cpu >= Duration::from_secs(1), "{last:?}");
    // One instance had nearly all that it may have.
    assert!(last.memory_bytes > 32 << 20, "{last:?}");
}

#[test]
fn what_is_read_of_bodies_in_one_call_has_a_limit() {
    let temp = tempfile::tempdir().unwrap();
    let of = |most: u64| LimitOverride {
        read_bytes: Some(most),
        ..LimitOverride::default()
    };
    let put =
        |store: &dyn Store| store.put("peeks_at_the_backup", Arc::new(vec![7; 1000]), Existing::Replace);
    let (_run, store) = open(temp.path(), &of(10));
    for _ in 0..3 {
        put(&*store).unwrap();
    }
    let (_run, store) = open(temp.path(), &of(9));
    let error = put(&*store).unwrap_err();
    assert_eq!(
        error.message,
        "plugin hostile was stopped in put: it read more than 9 bytes from bodies in one call"
    );
    assert_eq!(store.stat("fine").unwrap().unwrap().size, 1);
}

#[test]
fn requests_that_come_too_fast_wait_for_their_turn() {
    let temp = tempfile::tempdir().unwrap();
    let limits = LimitOverride {
        requests: Some(2),
        ..LimitOverride::default()
    };
    let (run, store) = open(temp.path(), &limits);
    let begun = Instant::now();
    for _ in 0..5 {
        store
            .stat("asks_for_an_origin http://127.0.0.1:1")
            .expect_err("it isn't granted");
    }
    // Two at once, the others half a second apart.
    assert!(
        begun.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(used(&run).requests, 5);
}

#[test]
fn a_wait_for_a_turn_ends_when_the_run_is_cancelled_and_cleaning_up_may_still_look() {
    let temp = tempfile::tempdir().unwrap();
    let limits = LimitOverride {
        requests: Some(1),
        ..LimitOverride::default()
    };
    let (run, store) = open(temp.path(), &limits);
    // Twenty requests one after another: the last one's turn would come after 19 s.
    let requests = format!("runs_a_program / 127.0.0.1:1 {}", "130001".repeat(20));
    thread::scope(|scope| {
        let asking = scope.spawn(|| store.stat(&requests));
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        run.run.cancel().cancel();
        asking.join().unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    });
    assert_eq!(used(&run).requests, 20);
    assert_eq!(store.stat("fine").unwrap().unwrap().size, 1);
}
