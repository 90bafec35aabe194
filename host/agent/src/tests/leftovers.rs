//! What is taken away, when, and what never.

use std::io::Read;
use std::sync::{Arc, Mutex};

use freezer_format::layout::{BackupKeys, Engine};
use freezer_format::name::{Level, LevelId, Timestamp};
use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use freezer_pipeline::testing::{Fault, MemoryStore, Operation};
use rstest::rstest;

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

type Action = Box<dyn FnOnce(&MemoryStore) + Send>;

/// A storage in which somebody does something right after everything was listed: before the second look.
struct Meanwhile {
    inner: MemoryStore,
    action: Mutex<Option<Action>>,
}

impl Store for Meanwhile {
    fn url(&self) -> &str {
        self.inner.url()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.inner.list(prefix, cursor)
    }
    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.inner.stat(key)
    }
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.inner.read(key, offset, length)
    }
    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.inner.put(key, content, existing)
    }
    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        self.inner.remove(keys)
    }
    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        self.inner.begin(key, size)
    }
    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        self.inner.put_segment(upload, number, offset, content)
    }
    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        self.inner.commit(upload, size, receipts)
    }
    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        self.inner.abort(upload)
    }
    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        let page = self.inner.pending(prefix, cursor)?;
        if let Some(action) = self.action.lock().unwrap().take() {
            action(&self.inner);
        }
        Ok(page)
    }
    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.inner.usage()
    }
}

/// What somebody writes between the list of leftovers and their removal.
#[rstest]
#[case::the_commit_point(&format!("{}/metadata", FOLDER.replace("data/", "metadata/")))]
#[case::a_manifest(&format!("{FOLDER}/manifest"))]
#[case::one_of_its_objects(&format!("{FOLDER}/data"))]
fn the_second_look_spares_what_came_to_life(#[case] written: &str) {
    let bench = littered(0);
    bench.store.set_clock(8 * DAY);
    assert_eq!(look(&bench, false).count(Fate::Noted), 2);
    bench.store.set_clock(9 * DAY);
    let before = bench.store.keys();
    let key = written.to_owned();
    let store = Meanwhile {
        inner: bench.store.clone(),
        action: Mutex::new(Some(Box::new(move |store| {
            store
                .put(&key, Arc::new(b"meanwhile".to_vec()), Existing::Replace)
                .unwrap();
        }))),
    };
    let options = LeftoverOptions {
        grace_seconds: 7 * DAY,
        remove: true,
    };
    let report = bench.run(|context| leftovers(&store, &options, context)).unwrap();
    let folder = report
        .leftovers
        .iter()
        .find(|leftover| leftover.object == FOLDER)
        .unwrap();
    assert_eq!(folder.fate, Fate::Confirmed, "it was to go: {report:?}");
    let after = bench.store.keys();
    let gone: Vec<&String> = before
        .iter()
        .filter(|key| key.starts_with(FOLDER) && !after.contains(key))
        .collect();
    assert_eq!(gone, Vec::<&String>::new());
}

#[test]
fn all_pages_of_unfinished_uploads_of_a_level_are_given_up_and_no_others() {
    let bench = Bench::new();
    let id = LevelId {
        zero: Timestamp(1_900_000_000),
        level: Level(1),
        time: Timestamp(1_900_000_100),
    };
    let keys = BackupKeys::new(Engine::Tar, &bench.options.name, id);
    for number in 0..2500 {
        let folder = match number % 2 {
            0 => keys.data_directory(),
            _ => keys.metadata_directory(),
        };
        bench
            .store
            .begin(&format!("{folder}/object{number}"), None)
            .unwrap();
    }
    bench
        .store
        .begin(&format!("{}0/data", keys.data_directory()), None)
        .unwrap();
    crate::commit::abort_uploads(&bench.store, &keys);
    assert_eq!(bench.store.open_uploads(), 1);
}
