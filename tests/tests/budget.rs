//! Memory doesn't grow with what is backed up: the peak is asserted at three sizes. Seconds are `make bench`'s work.

use std::fs;
use std::path::Path;

use freezer_tests::{Random, Sandbox, freezer_binary, make_odd_tree, tool, write};
use rstest::rstest;

/// Peak resident memory of one run, in MiB.
#[track_caller]
fn peak(sandbox: &Sandbox, arguments: &[&str]) -> u64 {
    sandbox
        .scrubbed(Path::new("python3"))
        .arg(tool("peak.py"))
        .arg("report.json")
        .arg(freezer_binary())
        .args(arguments)
        .run()
        .expect(0);
    let bytes = fs::read(sandbox.path("report.json")).expect("report");
    let report: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    report["peak_kib"].as_u64().expect("a peak").div_ceil(1024)
}

const LIMIT_MIB: u64 = 128;

#[rstest]
#[case::gzip("gzip")]
#[case::zstd("zstd")]
#[case::xz("xz:3")]
#[case::bzip2("bzip2")]
fn peak_memory_stays_within_the_budget_at_three_sizes(#[case] compression: &str) {
    let sandbox = Sandbox::new();
    sandbox.pass_file();
    let mut random = Random::new(12);
    let mut written = 0;
    let mut peaks = Vec::new();
    // xz and bzip2 are slow; their windows are full after a few frames anyway.
    let sizes: [usize; 3] = if compression.starts_with('x') || compression.starts_with('b') {
        [2, 20, 60]
    } else {
        [4, 40, 400]
    };
    for mib in sizes {
        while written < mib {
            write(
                &sandbox.path(format!("source/{}/{written}", written % 7)),
                &random.bytes(1 << 20),
            );
            written += 1;
        }
        let url = sandbox.url();
        let backup = peak(
            &sandbox,
            &[
                "backup",
                "source",
                "--name",
                "t",
                "--host",
                "h",
                "--to",
                &url,
                "--full",
                "--compression",
                compression,
                "--encrypt-pass-file",
                "pass",
            ],
        );
        let target = format!("out{mib}");
        let restore = peak(
            &sandbox,
            &[
                "restore",
                "--name",
                "t",
                "--host",
                "h",
                "--from",
                &url,
                "--target",
                &target,
                "--encrypt-pass-file",
                "pass",
            ],
        );
        fs::remove_dir_all(sandbox.path(target)).expect("rm -r");
        peaks.push((mib, backup, restore));
    }
    eprintln!("{compression}: (size MiB, backup MiB, restore MiB) {peaks:?}");
    for (mib, backup, restore) in &peaks {
        assert!(
            *backup <= LIMIT_MIB && *restore <= LIMIT_MIB,
            "over {LIMIT_MIB} MiB at {mib} MiB: {peaks:?}"
        );
    }
}

#[test]
fn peak_memory_stays_within_the_budget_for_many_files() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 100_000);
    let url = sandbox.url();
    let words = ["backup", "source", "--name", "t", "--host", "h", "--to", &url];
    let mut peaks = vec![peak(&sandbox, &words), peak(&sandbox, &words)];
    peaks.push(peak(
        &sandbox,
        &[
            "restore", "--name", "t", "--host", "h", "--from", &url, "--target", "out",
        ],
    ));
    peaks.push(peak(&sandbox, &["check", "--from", &url, "--read-data"]));
    eprintln!("100 000 files: level 0, level 1, restore, check: {peaks:?} MiB");
    assert!(peaks.iter().all(|mib| *mib <= LIMIT_MIB), "{peaks:?} MiB");
}
