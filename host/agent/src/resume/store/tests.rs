//! What a journal that breaks in the middle of a run means for the next one.

use std::path::Path;

use freezer_format::layout::Engine;
use freezer_format::name::{Level, LevelId, Timestamp};
use freezer_pipeline::testing::MemoryStore;

use super::*;

const KEY: &str = "data/tar/h_n/1/0_1/data";

fn journaled(directory: &Path, store: &MemoryStore) -> JournalStore {
    let journal = Journal::open(directory, "memory:", "h_n").unwrap().unwrap();
    JournalStore::new(Arc::new(store.clone()), journal, "boot").unwrap()
}

fn head() -> RunHead {
    RunHead {
        run: "0011223344556677".to_owned(),
        engine: Engine::Tar,
        name: "h_n".to_owned(),
        id: LevelId {
            zero: Timestamp(1),
            level: Level(0),
            time: Timestamp(1),
        },
        parent: None,
        key: None,
        salt: "0102030405060708".to_owned(),
        fingerprint: "ff".to_owned(),
    }
}

fn put(store: &JournalStore, upload: &str, content: &[u8]) -> Result<String, StoreError> {
    store.put_segment(upload, 0, 0, Arc::new(content.to_vec()))
}

/// A run that was killed when it had stored one segment.
fn interrupted(directory: &Path, store: &MemoryStore) -> String {
    let first = journaled(directory, store);
    first.begin_run(&head());
    let upload = first.begin(KEY, None).unwrap();
    put(&first, &upload, b"before").unwrap();
    upload
}

#[test]
fn what_was_stored_over_while_nothing_could_be_noted_is_not_believed() {
    let (temp, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
    let upload = interrupted(temp.path(), &store);
    let second = journaled(temp.path(), &store);
    second.lock().journal.break_it(false);
    assert!(second.continue_run(KEY).unwrap() > 0);
    assert_eq!(second.begin(KEY, None).unwrap(), upload);
    put(&second, &upload, b"change").unwrap();
    drop(second);
    let third = journaled(temp.path(), &store);
    // The source is again as it was: were the first line believed, "change" would become the object.
    assert_eq!(third.interrupted(), None);
    third.begin_run(&head());
    let upload = third.begin(KEY, None).unwrap();
    let receipt = put(&third, &upload, b"before").unwrap();
    third.commit(&upload, 6, &[receipt]).unwrap();
    assert_eq!(store.object(KEY).unwrap().as_slice(), b"before");
}

#[test]
fn a_journal_that_can_t_even_be_emptied_lets_nothing_be_stored_over() {
    let (temp, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
    let upload = interrupted(temp.path(), &store);
    let second = journaled(temp.path(), &store);
    second.lock().journal.break_it(true);
    second.continue_run(KEY).unwrap();
    put(&second, &upload, b"before").unwrap();
    let error = put(&second, &upload, b"change").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(second.is_stale(), "the run begins anew: {error}");
}
