//! Storage swift against a strict cluster in memory.

mod cluster;
mod objects;
mod listings;
mod removals;

use freezer_sdk::error::ErrorKind;
use freezer_sdk::storage::{KeyKind, PendingUpload};
use freezer_sdk::testing::FakeHost;

use super::*;
use cluster::{Cluster, md5};

const KEY: &str = "data/tar/h_n/1/0_1/data";

fn list(store: &Swift, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(prefix, cursor.as_deref()).unwrap();
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return keys,
        }
    }
}

fn pending(store: &Swift, prefix: &str) -> Vec<PendingUpload> {
    let mut uploads = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.pending(prefix, cursor.as_deref()).unwrap();
        uploads.extend(page.uploads);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return uploads,
        }
    }
}

/// Uploads these segments, the last first, and completes the object.
fn upload(host: &FakeHost, store: &Swift, key: &str, segments: &[&[u8]]) -> (String, Vec<String>) {
    let upload = store.begin(key, None).unwrap();
    let mut receipts = Vec::new();
    for (place, segment) in segments.iter().enumerate().rev() {
        let number = u32::try_from(place).unwrap();
        let receipt = store
            .put_segment(&upload, number, 0, &host.segment(segment))
            .unwrap();
        receipts.insert(0, receipt);
    }
    let size = segments.iter().map(|segment| segment.len() as u64).sum();
    store.commit(&upload, size, &receipts).unwrap();
    (upload, receipts)
}

/// Reads as the host does: on from where a piece ended.
fn read(host: &FakeHost, store: &Swift, key: &str, offset: u64, length: u64) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    while (all.len() as u64) < length {
        let done = all.len() as u64;
        let piece = store.read(key, offset + done, Some(length - done)).unwrap();
        let piece = host.drain(&piece).unwrap();
        assert!(!piece.is_empty());
        all.extend(piece);
    }
    all
}
