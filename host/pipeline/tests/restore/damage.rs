//! Stored data that isn't what was written: a clear error that names the object, or a right restore, never a wrong one.

use std::fs;
use std::path::Path;

use freezer_format::compression::Compression;
use freezer_pipeline::object::open_index;
use freezer_pipeline::restore::{dump, verify};
use rstest::rstest;

use crate::round_trip::{cipher, noise};
use crate::support::{Backups, Listing, Surroundings, list, restore_into};

fn make_backups(root: &Path, compression: Compression, encrypted: bool) -> Backups {
    for number in 0..60 {
        let mut content = noise(40_000, number);
        content.resize(90_000, b'.');
        fs::write(root.join(format!("{number:02}")), content).unwrap();
    }
    let mut backups = Backups::new(compression, encrypted.then(cipher));
    backups.segment_bytes = 300_000;
    backups.back_up(root);
    fs::write(root.join("07"), b"changed").unwrap();
    fs::write(root.join("99"), noise(2_000_000, 99)).unwrap();
    backups.back_up(root);
    backups
}

/// What is done to an object.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Delete,
    Truncate,
    Flip,
    Swap,
    Duplicate,
    Other,
}

fn harm(bytes: &[u8], at: usize, how: Harm) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let half = bytes.len() / 2;
    match how {
        Harm::Delete => return None,
        Harm::Truncate => bytes.truncate(at),
        Harm::Flip => bytes[at] ^= 1,
        Harm::Swap => {
            let length = 5000.min(half);
            let (one, other) = bytes.split_at_mut(half);
            one[..length].swap_with_slice(&mut other[..length]);
        }
        Harm::Duplicate => {
            let length = bytes.len();
            bytes.extend_from_within(half..);
            bytes.truncate(length);
            bytes.copy_within(0..half, half);
        }
        Harm::Other => bytes = noise(bytes.len(), 5),
    }
    Some(bytes)
}

/// Every file that is there must be one of the source's, whole.
fn assert_nothing_wrong(expected: &Listing, target: &Path) {
    for (path, text) in list(target) {
        let name = path.escape_ascii();
        assert!(
            path.starts_with(b".freezer-") || expected.get(&path) == Some(&text),
            "{name} is wrong"
        );
    }
}

#[rstest]
fn harmed_data_is_named_and_never_restored(
    #[values(Compression::Gzip, Compression::Zstd, Compression::None)] compression: Compression,
    #[values(false, true)] encrypted: bool,
    #[values(
        Harm::Delete,
        Harm::Truncate,
        Harm::Flip,
        Harm::Swap,
        Harm::Duplicate,
        Harm::Other
    )]
    how: Harm,
    #[values("0/data", "1/data")] key: &str,
) {
    let source = tempfile::tempdir().unwrap();
    let backups = make_backups(source.path(), compression, encrypted);
    let expected = list(source.path());
    let whole = backups.store.object(key).unwrap();
    for at in [17, whole.len() / 3, whole.len() - 40] {
        match harm(&whole, at, how) {
            Some(harmed) => backups.store.set_object(key, harmed),
            None => backups.store.remove_object(key),
        }
        let level = key[..1].parse().unwrap();
        let around = Surroundings::default();
        let report = around
            .with(|context| verify(&backups.level(level), context))
            .unwrap();
        assert!(
            report.damage_count > 0 && report.damage[0].object == key,
            "{how:?} at {at}: {report:?}"
        );
        let target = tempfile::tempdir().unwrap();
        let restored = restore_into(backups.levels(1), target.path(), &around, |_| {});
        assert_nothing_wrong(&expected, target.path());
        // Only what no wanted frame holds may be harmed without notice.
        match restored {
            Ok(_) => assert_eq!(list(target.path()), expected),
            Err(error) => {
                let text = format!("{error} {:?}", std::error::Error::source(&error));
                assert!(error.is_damage() && text.contains(key), "{how:?} at {at}: {text}");
            }
        }
        let mut out = Vec::new();
        let dumped = around.with(|context| dump(&backups.levels(1), b"99", &mut out, context));
        assert!(dumped.is_err() || out == noise(2_000_000, 99));
    }
}

#[rstest]
fn a_harmed_index_is_refused(
    #[values(false, true)] encrypted: bool,
    #[values(Harm::Delete, Harm::Truncate, Harm::Flip, Harm::Swap, Harm::Other)] how: Harm,
) {
    let source = tempfile::tempdir().unwrap();
    let backups = make_backups(source.path(), Compression::Gzip, encrypted);
    let expected = list(source.path());
    let whole = backups.store.object("1/index").unwrap();
    for at in [40, whole.len() / 2, whole.len() - 70] {
        match harm(&whole, at, how) {
            Some(harmed) => backups.store.set_object("1/index", harmed),
            None => backups.store.remove_object("1/index"),
        }
        let facts = &backups.reports[1].index;
        let store = std::sync::Arc::new(backups.store.clone());
        let Ok(index) = open_index(store, "1/index", facts, backups.cipher.as_ref()) else {
            continue;
        };
        backups.store.set_object("1/index", whole.to_vec());
        let mut levels = backups.levels(1);
        levels[1].index = Some(index);
        let target = tempfile::tempdir().unwrap();
        let around = Surroundings::default();
        let restored = restore_into(levels, target.path(), &around, |_| {});
        assert_nothing_wrong(&expected, target.path());
        // A block that is only read when files are there already ends the run; those files are whole.
        match restored {
            Ok(_) => assert_eq!(list(target.path()), expected),
            Err(error) => assert!(error.is_damage(), "{error}"),
        }
    }
}

#[test]
fn another_key_is_told_from_the_first_frame_on() {
    let source = tempfile::tempdir().unwrap();
    let backups = make_backups(source.path(), Compression::Zstd, true);
    let mut levels = backups.levels(1);
    let other = freezer_format::chain_key::ChainKey::new([8; 32]);
    for level in &mut levels {
        level.cipher = Some(freezer_format::chain_key::Cipher::Chain(other.clone()));
    }
    let target = tempfile::tempdir().unwrap();
    let error = restore_into(levels, target.path(), &Surroundings::default(), |_| {}).unwrap_err();
    assert!(error.is_damage());
    assert!(list(target.path()).is_empty());
}
