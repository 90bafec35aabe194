//! Failing storages, cancelled runs, sources that aren't there: a clear first cause, and nothing left behind.

use std::fs;
use std::path::Path;

use freezer_format::compression::Compression;
use freezer_pipeline::BackupError;
use freezer_pipeline::store::{ErrorKind, Limits};
use freezer_pipeline::testing::{Fault, MemoryStore, Operation};

use super::support::{Chain, MIB, shell};

fn source() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    shell(
        source.path(),
        "mkdir d; seq 1 300000 >d/numbers; head -c 900000 /dev/urandom >random; echo x >x",
    );
    source
}

/// A chain of many small segments, so that there are many calls that can fail.
fn chain() -> Chain {
    let mut chain = Chain::new(Compression::Gzip);
    chain.segment_bytes = 100_000;
    chain.writes_snar = true;
    chain
}

fn kind_of(error: &BackupError) -> Option<ErrorKind> {
    match error {
        BackupError::Store(error) => Some(error.kind),
        _ => None,
    }
}

#[test]
fn whichever_call_fails_nothing_is_left() {
    let source = source();
    let mut whole = chain();
    whole.backup(source.path());
    let calls = whole.store.requests().total();
    assert!(calls > 15, "{calls} calls");
    for applied in [false, true] {
        for call in 0..calls {
            let mut chain = chain();
            chain.store.fail(Fault {
                operation: None,
                call,
                kind: ErrorKind::Unavailable,
                applied,
            });
            let error = chain.try_backup(source.path()).unwrap_err();
            assert_eq!(
                kind_of(&error),
                Some(ErrorKind::Unavailable),
                "call {call}: {error:?}"
            );
            let left = chain.store.keys();
            // A commit whose answer is lost can't be told from one that failed: its upload is aborted, which says
            // nothing of the object. It stays as garbage without metadata; all others are gone.
            assert!(left.len() <= usize::from(applied), "call {call} left {left:?}");
            if !applied || left.is_empty() {
                assert!(chain.store.open_uploads() <= usize::from(applied), "call {call}");
            }
        }
    }
}

#[test]
fn the_next_run_after_a_failure_works() {
    let source = source();
    let mut chain = chain();
    chain.store.fail(Fault {
        operation: Some(Operation::PutSegment),
        call: 3,
        kind: ErrorKind::Denied,
        applied: false,
    });
    assert_eq!(
        kind_of(&chain.try_backup(source.path()).unwrap_err()),
        Some(ErrorKind::Denied)
    );
    let report = chain.backup(source.path());
    assert_eq!(report.counts.files, 3);
}

#[test]
fn a_cancelled_run_leaves_nothing() {
    let source = source();
    shell(
        source.path(),
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('d/s')\"",
    );
    let mut before = chain();
    before.cancel.cancel();
    assert!(matches!(
        before.try_backup(source.path()),
        Err(BackupError::Cancelled(_))
    ));
    assert_eq!(before.store.requests().count(Operation::Commit), 0);
    // In the middle: as soon as the walk says something.
    let mut during = chain();
    let cancel = during.cancel.clone();
    during.on_warning = Box::new(move |_| cancel.cancel());
    assert!(matches!(
        during.try_backup(source.path()),
        Err(BackupError::Cancelled(_))
    ));
    assert!(during.store.keys().is_empty());
    assert_eq!(during.store.open_uploads(), 0);
}

#[test]
fn a_storage_that_was_cancelled_cancels_the_run() {
    let source = source();
    let mut chain = chain();
    chain.store.fail(Fault {
        operation: Some(Operation::Begin),
        call: 0,
        kind: ErrorKind::Cancelled,
        applied: false,
    });
    assert!(matches!(
        chain.try_backup(source.path()),
        Err(BackupError::Cancelled(_))
    ));
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let mut chain = chain();
    let error = chain.try_backup(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "can't open the source \"/nowhere/at/all\"");
    assert!(chain.store.keys().is_empty() && chain.store.open_uploads() == 0);
}

#[test]
fn a_source_that_is_removed_meanwhile_is_an_error() {
    let source = source();
    let root = source.path().join("root");
    shell(source.path(), "mkdir -p root/d; echo 1 >root/d/1; echo 2 >root/2");
    shell(
        &root,
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"",
    );
    let mut chain = chain();
    let removed = root.clone();
    chain.on_warning = Box::new(move |warning| {
        if warning.path == b"s" {
            fs::remove_dir_all(&removed).unwrap();
        }
    });
    let error = chain.try_backup(&root).unwrap_err();
    assert!(
        error.to_string().starts_with("can't finish reading the source"),
        "{error}"
    );
    assert!(chain.store.keys().is_empty() && chain.store.open_uploads() == 0);
}

#[test]
fn too_many_segments_are_refused() {
    let source = source();
    let mut chain = chain();
    chain.store = MemoryStore::with_limits(Limits {
        max_segments: 3,
        min_segment_bytes: 1,
        max_segment_bytes: 100_000,
        parallel_calls: 2,
    });
    chain.segment_bytes = MIB;
    let error = chain.try_backup(source.path()).unwrap_err();
    assert!(matches!(
        error,
        BackupError::TooManySegments {
            max_segments: 3,
            segment_bytes: 100_000,
            ..
        }
    ));
    assert!(chain.store.keys().is_empty() && chain.store.open_uploads() == 0);
}

#[test]
fn a_damaged_parent_index_is_an_error_not_a_full_backup() {
    let source = source();
    let mut chain = chain();
    chain.backup(source.path());
    let mut index = chain.store.object("0/index").unwrap().to_vec();
    index[40] ^= 1;
    let parent = chain.index(0);
    chain.store.set_object("0/index", index);
    // Opened before it was damaged, as when the storage's medium rots meanwhile; small indexes are read at once.
    drop(parent);
    let facts = chain.reports[0].index.clone();
    let store = std::sync::Arc::new(chain.store.clone());
    let damaged = freezer_pipeline::object::open_index(store, "0/index", &facts, None).unwrap();
    let error = chain
        .backup_with(source.path(), freezer_pipeline::Parent::Index(Box::new(damaged)))
        .unwrap_err();
    assert!(matches!(error, BackupError::ParentIndex(_)), "{error:?}");
    assert_eq!(chain.store.open_uploads(), 0);
    assert!(fs::metadata(source.path()).is_ok());
}
