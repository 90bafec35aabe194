//! What a backup costs: memory that doesn't grow, requests that are counted.

use std::fs;

use freezer_format::compression::Compression;
use freezer_pipeline::testing::{MemoryStore, Operation};

use super::support::{Chain, MIB, shell};

#[test]
fn requests_are_few() {
    let source = tempfile::tempdir().unwrap();
    shell(source.path(), "seq 1 1000 >numbers");
    let mut chain = Chain::new(Compression::Gzip);
    chain.backup(source.path());
    let requests = chain.store.requests();
    assert_eq!(
        requests.total(),
        6,
        "begin, one segment and commit for data and index each: {requests:?}"
    );
}

#[test]
fn segments_in_flight_stay_within_the_budget() {
    let source = tempfile::tempdir().unwrap();
    shell(source.path(), "head -c 30000000 /dev/urandom >random");
    let mut chain = Chain::new(Compression::Gzip);
    chain.segment_bytes = 2 * MIB;
    chain.memory_bytes = 16 * MIB;
    chain.store = MemoryStore::discarding();
    let report = chain.backup(source.path());
    assert_eq!(report.data.segments, 15);
    let requests = chain.store.requests();
    assert_eq!(requests.count(Operation::PutSegment), 16);
    assert!(
        requests.most_bytes_in_flight <= 8 * MIB,
        "{}",
        requests.most_bytes_in_flight
    );
}

/// The peak of this process's memory in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_does_not_grow_with_the_size_of_a_file() {
    let source = tempfile::tempdir().unwrap();
    let target = source.path().join("file");
    let mut peaks = Vec::new();
    for mebibytes in [40, 160] {
        shell(
            source.path(),
            &format!("yes 'some text that compresses' | head -c {mebibytes}M >file"),
        );
        fs::write(source.path().join("small"), b"x").unwrap();
        let mut chain = Chain::new(Compression::None);
        chain.store = MemoryStore::discarding();
        chain.segment_bytes = 4 * MIB;
        chain.memory_bytes = 32 * MIB;
        chain.backup(source.path());
        peaks.push(peak());
        fs::remove_file(&target).unwrap();
    }
    assert!(peaks[1] - peaks[0] < 8 * MIB, "{peaks:?}");
}
