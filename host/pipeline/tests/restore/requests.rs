//! What reading costs the storage: one file must not need the whole backup.

use std::fs;

use freezer_format::compression::Compression;
use freezer_pipeline::restore::dump;
use rstest::rstest;

use crate::round_trip::{cipher, noise};
use crate::support::{Backups, Surroundings, restore_into};

/// Of eight requests two are the manifests of the newest level and of the one that has the content.
const REQUESTS_MAX: u64 = 6;

#[rstest]
fn one_small_file_costs_two_frames_and_few_requests(
    #[values(Compression::Gzip, Compression::Zstd)] compression: Compression,
    #[values(false, true)] encrypted: bool,
    #[values(0, 1)] newest: u32,
) {
    let source = tempfile::tempdir().unwrap();
    for directory in 0..40 {
        fs::create_dir(source.path().join(format!("{directory}"))).unwrap();
        for number in 0..100u64 {
            let content = noise(7000, directory * 1000 + number);
            fs::write(source.path().join(format!("{directory}/{number}")), content).unwrap();
        }
    }
    let mut backups = Backups::new(compression, encrypted.then(cipher));
    backups.back_up(source.path());
    fs::write(source.path().join("0/1"), b"changed").unwrap();
    backups.back_up(source.path());
    backups.store.reset_requests();
    let around = Surroundings::default();
    let mut out = Vec::new();
    around
        .with(|context| dump(&backups.levels(newest), b"23/77", &mut out, context))
        .unwrap();
    assert_eq!(out, noise(7000, 23_077));
    let requests = backups.store.requests();
    let frames = 2 * (compression.frame_bytes() + compression.frame_bytes() / 16);
    assert!(requests.total() <= REQUESTS_MAX, "{requests:?}");
    assert!(requests.bytes_read <= frames + 200_000, "{requests:?}");
}

#[test]
fn content_that_is_superseded_is_not_fetched() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("large"), noise(20_000_000, 1)).unwrap();
    fs::write(source.path().join("small"), b"small").unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    fs::write(source.path().join("large"), b"not any more").unwrap();
    backups.back_up(source.path());
    backups.store.reset_requests();
    let target = tempfile::tempdir().unwrap();
    restore_into(backups.levels(1), target.path(), &Surroundings::default(), |_| {}).unwrap();
    assert_eq!(fs::read(target.path().join("large")).unwrap(), b"not any more");
    assert_eq!(fs::read(target.path().join("small")).unwrap(), b"small");
    assert!(
        backups.store.requests().bytes_read < 3_000_000,
        "{:?}",
        backups.store.requests()
    );
}

/// A tree whose index no reader fetches at once, and two levels of it; the second one has another file.
fn large_index(wanted: &[u8]) -> Backups {
    let source = tempfile::tempdir().unwrap();
    for directory in 0..40u64 {
        let folder = source.path().join(format!("{directory}"));
        fs::create_dir(&folder).unwrap();
        for number in 0..250u64 {
            // Names that don't compress, so that the index grows with them.
            let name: String = noise(40, directory * 1000 + number)
                .iter()
                .map(|byte| char::from(b'a' + byte % 26))
                .collect();
            fs::write(folder.join(format!("{name}-{number}")), b"small").unwrap();
        }
    }
    fs::write(source.path().join("23/wanted"), wanted).unwrap();
    let mut backups = Backups::new(Compression::Zstd, Some(cipher()));
    backups.back_up(source.path());
    fs::write(source.path().join("0/new"), b"new").unwrap();
    backups.back_up(source.path());
    for report in &backups.reports {
        let bytes = report.index.bytes;
        assert!(bytes > 128 << 10, "the index has only {bytes} bytes");
    }
    backups.store.reset_requests();
    backups
}

#[rstest]
fn a_file_out_of_a_large_index_costs_few_requests(#[values(0, 1)] newest: u32) {
    let wanted = noise(7000, 1);
    let backups = large_index(&wanted);
    let mut out = Vec::new();
    Surroundings::default()
        .with(|context| dump(&backups.levels(newest), b"23/wanted", &mut out, context))
        .unwrap();
    assert_eq!(out, wanted);
    let requests = backups.store.requests();
    assert!(requests.total() <= REQUESTS_MAX, "{requests:?}");
}

/// Restoring it needs the rows and members of the directories above it, too.
#[rstest]
fn restoring_one_file_of_a_large_index_costs_few_requests(#[values(0, 1)] newest: u32) {
    let wanted = noise(7000, 1);
    let backups = large_index(&wanted);
    let target = tempfile::tempdir().unwrap();
    restore_into(
        backups.levels(newest),
        target.path(),
        &Surroundings::default(),
        |job| job.paths = vec![b"23/wanted".to_vec()],
    )
    .unwrap();
    assert_eq!(fs::read(target.path().join("23/wanted")).unwrap(), wanted);
    let requests = backups.store.requests();
    assert!(requests.total() <= REQUESTS_MAX, "{requests:?}");
    let frames = 2 * (Compression::Zstd.frame_bytes() + Compression::Zstd.frame_bytes() / 16);
    assert!(requests.bytes_read <= frames + 200_000, "{requests:?}");
}
