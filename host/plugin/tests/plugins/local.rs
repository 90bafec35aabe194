//! The local storage and the mode fs, as components, behind the host's own traits.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{host, limited_run, open_local, run};
use freezer_pipeline::store::{ErrorKind, Existing, Store};
use freezer_plugin::{
    BackupRequest, BandwidthLimits, ModeSource, Outcome, PluginError, PluginKind, RestoreRequest, Settings,
};

fn content(store: &dyn Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(key, 0, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn segment(number: u32) -> Arc<Vec<u8>> {
    Arc::new(vec![u8::try_from(number).unwrap(); 1000])
}

#[test]
fn small_objects_are_put_listed_read_and_removed() {
    let temp = tempfile::tempdir().unwrap();
    let (host, run) = (host(temp.path()), run(Vec::new()));
    let store = open_local(&host, &temp.path().join("container"), &run);
    assert_eq!(store.list("", None).unwrap_err().kind, ErrorKind::NotFound);
    store
        .put(
            "metadata/tar/a/1/0_1/metadata",
            Arc::new(b"{}".to_vec()),
            Existing::Refuse,
        )
        .unwrap();
    let error = store
        .put(
            "metadata/tar/a/1/0_1/metadata",
            Arc::new(b"x".to_vec()),
            Existing::Refuse,
        )
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
    store
        .put("metadata/tar/b", Arc::new(b"b".to_vec()), Existing::Replace)
        .unwrap();
    let page = store.list("metadata/tar/", None).unwrap();
    let listed: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.is_prefix, entry.size))
        .collect();
    assert_eq!(
        listed,
        [("metadata/tar/a/", true, 0), ("metadata/tar/b", false, 1)]
    );
    assert_eq!(content(&*store, "metadata/tar/a/1/0_1/metadata"), b"{}");
    assert_eq!(store.stat("metadata/tar/b").unwrap().unwrap().size, 1);
    assert_eq!(store.stat("metadata/tar/nothing").unwrap(), None);
    store
        .remove(&["metadata/tar/b".to_owned(), "absent".to_owned()])
        .unwrap();
    assert_eq!(store.stat("metadata/tar/b").unwrap(), None);
    assert!(
        store.usage().unwrap().iter().all(|usage| usage.objects == 1),
        "{:?}",
        store.usage()
    );
}

#[test]
fn segments_arrive_from_several_instances_in_any_order() {
    let temp = tempfile::tempdir().unwrap();
    let (host, run) = (host(temp.path()), run(Vec::new()));
    let store = open_local(&host, &temp.path().join("container"), &run);
    let upload = store.begin("data/x", Some(8000)).unwrap();
    let mut receipts = vec![String::new(); 8];
    std::thread::scope(|scope| {
        let (store, upload) = (&store, &upload);
        let put = |number: u32| {
            scope.spawn(move || store.put_segment(upload, number, u64::from(number) * 1000, segment(number)))
        };
        let threads: Vec<_> = (0..8).rev().map(|number| (number, put(number))).collect();
        for (number, thread) in threads {
            receipts[usize::try_from(number).unwrap()] = thread.join().unwrap().unwrap();
        }
    });
    assert_eq!(
        store.stat("data/x").unwrap(),
        None,
        "nothing shows before the commit"
    );
    assert_eq!(store.pending("", None).unwrap().uploads.len(), 1);
    store.commit(&upload, 8000, &receipts).unwrap();
    store.commit(&upload, 8000, &receipts).unwrap();
    let expected: Vec<u8> = (0..8).flat_map(|number| segment(number).to_vec()).collect();
    assert_eq!(content(&*store, "data/x"), expected);
    let mut range = Vec::new();
    store
        .read("data/x", 2998, Some(4))
        .unwrap()
        .read_to_end(&mut range)
        .unwrap();
    assert_eq!(range, [2, 2, 3, 3]);
    assert!(store.pending("", None).unwrap().uploads.is_empty());
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (host, run) = (host(temp.path()), run(Vec::new()));
    let store = open_local(&host, &temp.path().join("container"), &run);
    let upload = store.begin("data/x", None).unwrap();
    store.put_segment(&upload, 0, 0, segment(0)).unwrap();
    run.cancel.cancel();
    let error = store.put_segment(&upload, 1, 1000, segment(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    store.abort(&upload).unwrap();
    store.abort(&upload).unwrap();
    assert!(store.pending("", None).unwrap().uploads.is_empty());
    assert_eq!(store.stat("data/x").unwrap(), None);
}

#[test]
fn mode_fs_names_the_tree_that_the_user_named() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let (host, run) = (host(temp.path()), run(vec![source.clone()]));
    let fs = host.find(PluginKind::Mode, "fs").unwrap();
    let request = BackupRequest {
        path: Some(source.clone()),
        ..BackupRequest::default()
    };
    let mut backup = host.prepare_backup(&fs, request, &run.run).unwrap();
    match backup.next_source().unwrap() {
        Some(ModeSource::Tree {
            root,
            one_file_system,
            ..
        }) => assert_eq!((root, one_file_system), (source, true)),
        _ => panic!("a tree was expected"),
    }
    assert!(backup.next_source().unwrap().is_none());
    let note = backup.finish(&Outcome::Done).unwrap();
    let target = temp.path().join("target");
    let request = RestoreRequest {
        target: Some(target.clone()),
        note,
        settings: Settings::new(),
    };
    let mut restore = host.prepare_restore(&fs, request, &run.run).unwrap();
    assert_eq!(
        restore.destination("tree").unwrap(),
        freezer_plugin::Destination::Directory(target)
    );
    assert!(matches!(
        restore.destination("else"),
        Err(PluginError::Failed {
            kind: ErrorKind::NotFound,
            ..
        })
    ));
    restore.finish(&Outcome::Done).unwrap();
}

#[test]
fn a_tree_that_nobody_named_is_refused_with_the_line_that_allows_it() {
    let temp = tempfile::tempdir().unwrap();
    let (host, run) = (host(temp.path()), run(vec![temp.path().join("other")]));
    let fs = host.find(PluginKind::Mode, "fs").unwrap();
    let request = BackupRequest {
        path: Some("/etc".into()),
        ..BackupRequest::default()
    };
    let mut backup = host.prepare_backup(&fs, request, &run.run).unwrap();
    let Err(error) = backup.next_source() else {
        panic!("it was allowed")
    };
    let line = "files = [{ root = \"/etc\", access = \"read-only\" }]";
    assert!(
        matches!(&error, PluginError::Denied(refusal) if refusal.line == line),
        "{error}"
    );
    backup.finish(&Outcome::Cancelled).unwrap();
}

#[test]
fn bandwidth_limits_hold_for_all_directories_of_a_run_together() {
    let temp = tempfile::tempdir().unwrap();
    let bandwidth = BandwidthLimits {
        upload: Some(2 << 20),
        download: Some(4 << 20),
    };
    let (host, run) = (host(temp.path()), limited_run(Vec::new(), bandwidth));
    let object = Arc::new(vec![7; 2 << 20]);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let store = open_local(&host, &temp.path().join(name), &run);
            let object = Arc::clone(&object);
            scope.spawn(move || store.put("o", object, Existing::Replace).unwrap());
        }
    });
    let uploaded = started.elapsed();
    assert!(
        uploaded > Duration::from_millis(1800),
        "4 MiB at 2 MiB/s: {uploaded:?}"
    );
    let store = open_local(&host, &temp.path().join("a"), &run);
    let started = Instant::now();
    assert!(content(&*store, "o") == *object && content(&*store, "o") == *object);
    let downloaded = started.elapsed();
    assert!(
        downloaded > Duration::from_millis(800),
        "4 MiB at 4 MiB/s: {downloaded:?}"
    );
}
