//! What becomes of answers that aren't so, and of handles that aren't there.

use std::io::Read;
use std::sync::Arc;

use freezer_pipeline::store::{ErrorKind, Existing, StoreError};

use crate::scene::Scene;

/// An answer that was found out: the plugin and the call are named, and of what it said only so much as fits a line.
#[track_caller]
fn found_out(error: &StoreError, call: &str) {
    let start = format!("plugin hostile broke the plugin contract in {call}: ");
    assert!(
        error.message.starts_with(&start) && error.message.len() < 600,
        "{error}"
    );
    assert_eq!(error.kind, ErrorKind::Corrupt);
}

pub(super) fn speaks_of_another_key() -> Scene {
    let scene = Scene::new();
    found_out(&scene.fails("speaks_of_another_key"), "stat");
    scene
}

#[track_caller]
fn listing(sin: &str) -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    found_out(&store.list(&format!("{sin}/"), None).expect_err(sin), "list");
    assert!(store.list("fine/", None).is_ok());
    scene
}

pub(super) fn lists_too_many() -> Scene {
    listing("lists_too_many")
}

pub(super) fn lists_dots() -> Scene {
    listing("lists_dots")
}

pub(super) fn lists_control_characters() -> Scene {
    listing("lists_control_characters")
}

pub(super) fn lists_what_lies_deeper() -> Scene {
    listing("lists_what_lies_deeper")
}

pub(super) fn lists_what_lies_elsewhere() -> Scene {
    listing("lists_what_lies_elsewhere")
}

pub(super) fn lists_long_keys() -> Scene {
    listing("lists_long_keys")
}

pub(super) fn lists_keys_of_ten_megabytes() -> Scene {
    listing("lists_keys_of_ten_megabytes")
}

pub(super) fn lists_one_page_for_ever() -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    let sin = "lists_one_page_for_ever/";
    assert_eq!(store.list(sin, None).unwrap().next.as_deref(), Some("again"));
    found_out(&store.list(sin, Some("again")).unwrap_err(), "list");
    scene
}

/// A read of five bytes fails, and one of what there is doesn't.
#[track_caller]
fn reading(sin: &str) -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    match store.read(sin, 0, Some(5)) {
        Ok(_) => panic!("{sin} passed for 5 bytes"),
        Err(error) => found_out(&error, "read"),
    }
    let mut whole = Vec::new();
    let fine = store.read("fine", 0, Some(10));
    fine.unwrap().read_to_end(&mut whole).unwrap();
    assert_eq!(whole, b"0123456789");
    scene
}

pub(super) fn reads_too_little() -> Scene {
    reading("reads_too_little")
}

pub(super) fn reads_too_much() -> Scene {
    reading("reads_too_much")
}

pub(super) fn names_an_upload_too_long() -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    found_out(
        &store.begin("names_an_upload_too_long", None).unwrap_err(),
        "begin",
    );
    assert_eq!(store.begin("fine", None).unwrap(), "fine");
    scene
}

/// Nothing of that length is made room for: the guest's memory ends before.
pub(super) fn claims_four_gigabytes() -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    let error = store.begin("claims_four_gigabytes", None).unwrap_err();
    assert!(
        error.message.starts_with("plugin hostile crashed in begin: "),
        "{error}"
    );
    assert_eq!(store.begin("fine", None).unwrap(), "fine");
    scene
}

pub(super) fn gives_a_long_receipt() -> Scene {
    let scene = Scene::new();
    let store = scene.store();
    let content = Arc::new(vec![1]);
    let given = store.put_segment("gives_a_long_receipt", 0, 0, Arc::clone(&content));
    found_out(&given.unwrap_err(), "put-segment");
    assert_eq!(store.put_segment("fine", 0, 0, content).unwrap(), "");
    scene
}

/// A handle that is no handle: the instance ends, and only it.
#[track_caller]
fn unknown_handle(scene: &Scene, sin: &str) {
    let message = scene.fails(sin).message;
    let crashed = message.starts_with("plugin hostile crashed in stat: ");
    assert!(crashed && message.contains("handle"), "{sin}: {message}");
}

pub(super) fn uses_a_dropped_handle() -> Scene {
    let scene = Scene::new();
    unknown_handle(&scene, "uses_a_dropped_handle");
    scene
}

/// Another instance holds bytes of the backup meanwhile, and its numbers open nothing here.
pub(super) fn forges_a_handle() -> Scene {
    let scene = Scene::new();
    let other = scene.store();
    let holder = std::thread::spawn(move || {
        let bytes = Arc::new(b"the backup's own".to_vec());
        other.put("waits", bytes, Existing::Replace)
    });
    for number in [0, 1, 2, 3, 4, 5, 100, 1024, 1 << 28, u32::MAX] {
        unknown_handle(&scene, &format!("forges_a_handle {number}"));
    }
    drop(holder.join().unwrap());
    scene
}
