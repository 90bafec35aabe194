//! Archives that mean harm: nothing outside the target changes, nothing crashes, and harm is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use freezer_tests::{Finished, Sandbox, assert_same, copy_tree, program, tool, write};
use rstest::rstest;

/// Restores one hostile archive beside a canary directory.
fn attempt(sandbox: &Sandbox, case: &str) -> Finished {
    let canary = sandbox.path("canary");
    write(&canary.join("precious"), b"precious");
    write(&canary.join("dir/inside"), b"inside");
    copy_tree(&canary, &sandbox.path("canary-before"));
    program("python3")
        .arg(tool("hostile.py"))
        .arg(case)
        .args([&sandbox.store(), &canary])
        .run()
        .expect(0);
    let url = sandbox.url();
    let done = sandbox
        .freezer([
            "restore", "--name", "gold", "--host", "h", "--from", &url, "--target", "jail/out",
        ])
        .limit(Duration::from_secs(60))
        .run()
        .no_crash();
    assert_same(&sandbox.path("canary-before"), &canary, &[]);
    let strays: Vec<_> = fs::read_dir(sandbox.path("jail"))
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.file_name())
                .filter(|name| name != "out")
                .collect()
        })
        .unwrap_or_default();
    assert!(strays.is_empty(), "files outside the target: {strays:?}\n{done}");
    assert_eq!(
        fs::metadata(canary.join("precious")).expect("canary").nlink(),
        1,
        "a hard link to the outside\n{done}"
    );
    done
}

/// The harm is left out and named; the rest is restored; the exit code says that it wasn't everything.
#[rstest]
fn harm_is_left_out_and_named(
    #[values(
        "absolute",
        "dotdot",
        "dotdot_inside",
        "hard_link_out",
        "hard_link_dotdot",
        "dumpdir_deletes_outside",
        "rename_out",
        "rename_in"
    )]
    case: &str,
) {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, case).expect_any(&[3, 5]);
    let out = sandbox.path("jail/out");
    assert!(!done.stderr.is_empty(), "silent about {case}\n{done}");
    if done.code == Some(3) {
        for name in ["good", "also-good"] {
            assert_eq!(
                fs::read(out.join(name)).unwrap_or_default(),
                b"good",
                "{name} is missing\n{done}"
            );
        }
    }
}

/// Whatever else a stream may hold, the outcome is an answer: never a crash, a hang, or a change outside.
#[rstest]
fn malformed_streams_get_an_answer(
    #[values(
        "symlink_then_file",
        "symlink_then_directory",
        "symlink_then_hard_link",
        "symlink_replaced_by_file",
        "dumpdir_through_symlink",
        "dumpdir_without_end",
        "root_is_a_file",
        "root_is_a_symlink",
        "empty_name",
        "nul_in_name",
        "very_deep",
        "component_too_long",
        "pax_says_4_gib",
        "pax_length_lies",
        "pax_zero_length",
        "long_name_says_4_gib",
        "size_lies",
        "size_negative",
        "size_huge",
        "pax_size_negative",
        "sparse_overlaps",
        "sparse_map_endless",
        "sparse_beyond_end",
        "checksum_wrong",
        "unknown_type",
        "cut",
        "garbage",
        "empty",
        "xattr_name_bad",
        "acl_text_bad",
        "time_bad",
        "owner_bad"
    )]
    case: &str,
) {
    let sandbox = Sandbox::new();
    attempt(&sandbox, case).expect_any(&[0, 1, 3, 5]);
}

/// What can't be a whole archive is never called a success.
#[rstest]
fn a_broken_stream_is_no_success(
    #[values(
        "pax_says_4_gib",
        "long_name_says_4_gib",
        "size_lies",
        "checksum_wrong",
        "cut",
        "garbage",
        "empty"
    )]
    case: &str,
) {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, case);
    assert!(matches!(done.code, Some(3 | 5)), "{done}");
}

/// A stream that claims gigabytes takes no gigabytes: the run stays within 200 MiB of address space used.
#[rstest]
fn claims_cost_no_memory(
    #[values(
        "pax_says_4_gib",
        "long_name_says_4_gib",
        "very_deep",
        "sparse_map_endless",
        "size_huge"
    )]
    case: &str,
) {
    let sandbox = Sandbox::new();
    let canary = sandbox.path("canary");
    write(&canary.join("precious"), b"precious");
    program("python3")
        .arg(tool("hostile.py"))
        .arg(case)
        .args([&sandbox.store(), &canary])
        .run()
        .expect(0);
    let peak = sandbox
        .scrubbed(std::path::Path::new("python3"))
        .arg(tool("peak.py"))
        .arg("report.json")
        .arg(freezer_tests::freezer_binary())
        .args([
            "restore",
            "--name",
            "gold",
            "--host",
            "h",
            "--from",
            &sandbox.url(),
            "--target",
            "out",
        ])
        .run();
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("report.json")).expect("report")).expect("JSON");
    let mib = report["peak_kib"].as_u64().expect("peak") / 1024;
    assert!(mib <= 200, "{mib} MiB\n{peak}");
}
