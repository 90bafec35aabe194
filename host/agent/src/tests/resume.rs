//! Going on with interrupted backups: at every call a run may be killed, and the next one uses what is there.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use freezer_pipeline::store::{
    ContainerUsage, ErrorKind, Existing, KeyEntry, Limits, Page, PendingPage, Store, StoreError,
};
use freezer_pipeline::testing::MemoryStore;

use super::support::*;
use crate::*;

/// A storage that stops answering for good at one call, as when the process is killed or the network is cut.
#[derive(Clone)]
struct Cut {
    inner: MemoryStore,
    calls: Arc<AtomicU64>,
    at: u64,
    is_cut: Arc<AtomicBool>,
}

impl Cut {
    fn new(inner: &MemoryStore, at: u64) -> Self {
        Self {
            inner: inner.clone(),
            calls: Arc::default(),
            at,
            is_cut: Arc::default(),
        }
    }

    fn answers(&self) -> Result<(), StoreError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.at {
            self.is_cut.store(true, Ordering::Relaxed);
            return Err(StoreError {
                kind: ErrorKind::Unavailable,
                storage: "memory:".to_owned(),
                operation: "reach",
                key: String::new(),
                message: "cut".to_owned(),
                cause: None,
            });
        }
        Ok(())
    }
}

impl Store for Cut {
    fn url(&self) -> &str {
        self.inner.url()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.answers().and_then(|()| self.inner.list(prefix, cursor))
    }
    fn stat(&self, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.answers().and_then(|()| self.inner.stat(key))
    }
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Box<dyn Read + Send>, StoreError> {
        self.answers().and_then(|()| self.inner.read(key, offset, length))
    }
    fn put(&self, key: &str, content: Arc<Vec<u8>>, existing: Existing) -> Result<(), StoreError> {
        self.answers()
            .and_then(|()| self.inner.put(key, content, existing))
    }
    fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        self.answers().and_then(|()| self.inner.remove(keys))
    }
    fn begin(&self, key: &str, size: Option<u64>) -> Result<String, StoreError> {
        self.answers().and_then(|()| self.inner.begin(key, size))
    }
    fn put_segment(
        &self,
        upload: &str,
        number: u32,
        offset: u64,
        content: Arc<Vec<u8>>,
    ) -> Result<String, StoreError> {
        self.answers()
            .and_then(|()| self.inner.put_segment(upload, number, offset, content))
    }
    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<(), StoreError> {
        self.answers()
            .and_then(|()| self.inner.commit(upload, size, receipts))
    }
    fn abort(&self, upload: &str) -> Result<(), StoreError> {
        self.answers().and_then(|()| self.inner.abort(upload))
    }
    fn pending(&self, prefix: &str, cursor: Option<&str>) -> Result<PendingPage, StoreError> {
        self.answers().and_then(|()| self.inner.pending(prefix, cursor))
    }
    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.answers().and_then(|()| self.inner.usage())
    }
}

/// What a storage says of its unfinished uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// They are there, by other names.
    Renamed,
    /// This user may not ask.
    Denied,
}

/// A storage with its own way to list unfinished uploads.
struct Lists {
    inner: MemoryStore,
    listing: Listing,
}

impl Store for Lists {
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
        if self.listing == Listing::Denied {
            return Err(StoreError {
                kind: ErrorKind::Denied,
                storage: self.url().to_owned(),
                operation: "list what is unfinished below",
                key: prefix.to_owned(),
                message: "not for you".to_owned(),
                cause: None,
            });
        }
        let mut page = self.inner.pending(prefix, cursor)?;
        page.uploads
            .iter_mut()
            .for_each(|upload| upload.upload.insert_str(0, "listed "));
        Ok(page)
    }
    fn usage(&self) -> Result<Vec<ContainerUsage>, StoreError> {
        self.inner.usage()
    }
}

/// Bytes that don't shrink, the same ones each time.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let digits = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    });
    digits.take(bytes).collect()
}

/// A bench with a journal and a source of several segments.
fn bench() -> Bench {
    let mut bench = Bench::encrypted();
    bench.options.segment_bytes = 64 << 10;
    bench.options.journal = Some(JournalOptions {
        directory: bench.directory.path().join("unfinished"),
        boot: "this boot".to_owned(),
    });
    for number in 0..4 {
        bench.write(&format!("file{number}"), &noise(100 << 10, number));
    }
    bench
}

fn run(bench: &Bench, store: Arc<dyn Store>, resume: bool) -> Result<BackupOutcome, AgentError> {
    let options = BackupOptions {
        resume,
        ..bench.options.clone()
    };
    let mode = Directory::new(bench.source());
    let storages = vec![Storage::opened(store)];
    bench.run(|context| backup(storages, &options, &bench.keyring(), &mode, context))
}

#[test]
fn a_run_cut_at_any_call_is_gone_on_with() {
    let mut most_reused = 0;
    for at in 0.. {
        let bench = bench();
        let cut = Cut::new(&bench.store, at);
        let first = run(&bench, Arc::new(cut.clone()), false);
        let case = format!("cut at {at}: {first:?}");
        if !cut.is_cut.load(Ordering::Relaxed) {
            assert!(first.is_ok() && at > 15, "{case}");
            break;
        }
        let second = run(&bench, bench.store(), true).unwrap();
        let case = format!("{case}, then {second:?}");
        assert_eq!(second.exit_class(), ExitClass::Ok, "{case}");
        assert_eq!(bench.restore(None).unwrap(), bench.expected(), "{case}");
        assert_eq!(bench.check(true).exit_class(), ExitClass::Ok, "{case}");
        assert_eq!(bench.store.open_uploads(), 0, "{case}");
        most_reused = most_reused.max(second.reused_bytes);
        assert_eq!(
            run(&bench, bench.store(), true).unwrap().id.level.0,
            second.id.level.0 + 1,
            "{case}"
        );
    }
    assert!(
        most_reused > 256 << 10,
        "{most_reused} bytes were used again at best"
    );
}

#[test]
fn a_source_that_changed_meanwhile_is_stored_as_it_is_now() {
    for change in ["grown", "shrunk", "other", "options"] {
        let mut bench = bench();
        // Behind the claim, the first upload and some segments.
        let cut = Cut::new(&bench.store, 10);
        run(&bench, Arc::new(cut), false).unwrap_err();
        match change {
            "grown" => bench.write("file9", &noise(200 << 10, 9)),
            "shrunk" => (1..4).for_each(|number| {
                std::fs::remove_file(bench.source().join(format!("file{number}"))).unwrap();
            }),
            "other" => bench.write("file2", &noise(90 << 10, 99)),
            _ => bench.options.compression = freezer_format::compression::Compression::Zstd,
        }
        let outcome = run(&bench, bench.store(), true).unwrap();
        assert_eq!(
            bench.restore(None).unwrap(),
            bench.expected(),
            "{change}: {outcome:?}"
        );
        assert_eq!(bench.check(true).exit_class(), ExitClass::Ok, "{change}");
        assert_eq!(bench.store.open_uploads(), 0, "{change}");
        if change == "options" {
            assert_eq!(outcome.reused_bytes, 0);
            let warnings = bench.warnings.lock().unwrap();
            let told = warnings
                .iter()
                .any(|warning| warning.message.contains("can't be continued"));
            assert!(told, "{warnings:?}");
        }
    }
}

#[test]
fn without_resume_what_a_cut_run_left_is_taken_away() {
    let bench = bench();
    run(&bench, Arc::new(Cut::new(&bench.store, 10)), false).unwrap_err();
    assert!(bench.store.open_uploads() > 0);
    let outcome = run(&bench, bench.store(), false).unwrap();
    assert_eq!((outcome.reused_bytes, bench.store.open_uploads()), (0, 0));
    assert!(bench.check(true).problems.is_empty());
}

#[test]
fn after_another_boot_what_is_used_again_is_read_back() {
    for harmed in [false, true] {
        let mut bench = bench();
        run(&bench, Arc::new(Cut::new(&bench.store, 10)), false).unwrap_err();
        if harmed {
            bench.store.harm_uploads();
        }
        bench.options.journal.as_mut().unwrap().boot = "another boot".to_owned();
        let outcome = run(&bench, bench.store(), true).unwrap();
        assert_eq!(outcome.reused_bytes == 0, harmed, "{outcome:?}");
        assert_eq!(bench.restore(None).unwrap(), bench.expected());
        assert_eq!(bench.check(true).exit_class(), ExitClass::Ok);
    }
}

#[test]
fn another_pass_phrase_begins_anew() {
    let mut bench = bench();
    run(&bench, Arc::new(Cut::new(&bench.store, 10)), false).unwrap_err();
    bench.passphrase = Some("another");
    let outcome = run(&bench, bench.store(), true).unwrap();
    assert_eq!(outcome.reused_bytes, 0);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn a_copy_cut_at_any_call_is_gone_on_with() {
    let bench = bench();
    bench.backup();
    bench.write("more", &noise(150 << 10, 7));
    bench.backup();
    let from = bench.store();
    let mut most_reused = 0;
    for at in 0.. {
        let target = MemoryStore::named("memory:target");
        let cut = Cut::new(&target, at);
        let mut options = copy_options(CopyWhich::All);
        options.journal.clone_from(&bench.options.journal);
        let to: Arc<dyn Store> = Arc::new(cut.clone());
        let first = bench.run(|context| copy((&from, &to), &options, context));
        let case = format!("cut at {at}: {first:?}");
        let to: Arc<dyn Store> = Arc::new(target.clone());
        let report = bench
            .run(|context| copy((&from, &to), &options, context))
            .unwrap();
        most_reused = most_reused.max(report.reused_bytes);
        assert_eq!(target.keys(), bench.store.keys(), "{case}");
        for key in target.keys() {
            assert_eq!(target.object(&key), bench.store.object(&key), "{case}: {key}");
        }
        assert_eq!(target.open_uploads(), 0, "{case}");
        if !cut.is_cut.load(Ordering::Relaxed) {
            assert!(first.is_ok() && at > 15, "{case}");
            assert!(
                report
                    .levels
                    .iter()
                    .all(|level| level.state == CopyState::Present),
                "{case}"
            );
            break;
        }
    }
    assert!(
        most_reused > 100 << 10,
        "{most_reused} bytes were used again at best"
    );
}

#[test]
fn a_copy_refuses_damage_and_other_backups() {
    let bench = bench();
    bench.backup();
    let from = bench.store();
    let target = MemoryStore::named("memory:target");
    let to: Arc<dyn Store> = Arc::new(target.clone());
    let options = copy_options(CopyWhich::All);
    let attempt = || bench.run(|context| copy((&from, &to), &options, context));
    let data = bench.keys_ending("/data").remove(0);
    let whole = bench.store.object(&data).unwrap();
    let mut harmed = whole.to_vec();
    harmed[1000] ^= 1;
    bench.store.set_object(&data, harmed);
    let error = attempt().unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged, "{error}");
    assert!(
        !target.keys().iter().any(|key| key.ends_with("metadata")),
        "{:?}",
        target.keys()
    );
    bench.store.set_object(&data, whole.to_vec());
    attempt().unwrap();
    target.remove_object(&data);
    assert_eq!(attempt().unwrap().levels[0].state, CopyState::Mended);
    assert_eq!(target.object(&data).unwrap(), whole);
    let metadata = bench.keys_ending("/metadata").remove(0);
    target.set_object(&metadata, b"{\"another\": 1}".to_vec());
    let error = attempt().unwrap_err();
    assert!(error.to_string().contains("another backup"), "{error}");
}

/// The storage calls an upload otherwise when it lists it, as those do whose names hold what a listing doesn't tell.
#[test]
fn an_upload_that_is_listed_under_another_name_is_gone_on_with() {
    for listing in [Listing::Renamed, Listing::Denied] {
        let bench = bench();
        run(&bench, Arc::new(Cut::new(&bench.store, 10)), false).unwrap_err();
        let store = Lists {
            inner: bench.store.clone(),
            listing,
        };
        let outcome = run(&bench, Arc::new(store), true).unwrap();
        assert!(outcome.reused_bytes > 64 << 10, "{listing:?}: {outcome:?}");
        assert_eq!(bench.restore(None).unwrap(), bench.expected());
        assert_eq!(bench.store.open_uploads(), 0);
    }
}

/// Of two storages one gave the place to another run meanwhile: what is continued can't go there, nor elsewhere.
#[test]
fn a_place_that_was_taken_meanwhile_leaves_no_claim_astray() {
    let bench = bench();
    let other = MemoryStore::named("memory:other");
    let both = |stores: [Arc<dyn Store>; 2]| {
        let options = BackupOptions {
            resume: true,
            ..bench.options.clone()
        };
        let mode = Directory::new(bench.source());
        let storages = stores.map(Storage::opened).into();
        bench.run(|context| backup(storages, &options, &bench.keyring(), &mode, context))
    };
    let cut = Cut::new(&bench.store, 20);
    let other_cut = Cut {
        inner: other.clone(),
        ..cut.clone()
    };
    both([Arc::new(cut), Arc::new(other_cut)]).unwrap_err();
    let claim = other
        .keys()
        .into_iter()
        .find(|key| key.ends_with("claim"))
        .unwrap();
    other.set_object(&claim, b"fedcba9876543210".to_vec());
    let outcome = both([bench.store(), Arc::new(other.clone())]).unwrap();
    assert_eq!(outcome.reused_bytes, 0, "{outcome:?}");
    let claims = |store: &MemoryStore| {
        let keys = store.keys().into_iter();
        keys.filter(|key| key.ends_with("claim")).count()
    };
    assert_eq!(
        (claims(&bench.store), claims(&other)),
        (1, 2),
        "the other run's stays, ours is one"
    );
    assert_eq!(bench.store.open_uploads(), 0);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}
