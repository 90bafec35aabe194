//! Archives that mean harm: nothing outside the target changes, nothing crashes, and harm is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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

#[track_caller]
fn assert_content(done: &Finished, path: &Path, content: &[u8]) {
    let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}\n{done}", path.display()));
    assert_eq!(found, content, "{}\n{done}", path.display());
}

/// The harm is left out and named, the rest is restored, and the exit code says that it wasn't everything.
#[rstest]
#[case::absolute("absolute", "its path is absolute")]
#[case::dotdot("dotdot", "leads out of the target")]
#[case::dotdot_inside("dotdot_inside", "leads out of the target")]
#[case::hard_link_out("hard_link_out", "its path is absolute")]
#[case::hard_link_dotdot("hard_link_dotdot", "leads out of the target")]
#[case::dumpdir_deletes_outside("dumpdir_deletes_outside", "leads out of the target")]
#[case::rename_out("rename_out", "its path is absolute")]
#[case::rename_in("rename_in", "its path is absolute")]
#[case::symlink_then_file("symlink_then_file", "through a symbolic link")]
#[case::symlink_then_directory("symlink_then_directory", "through a symbolic link")]
#[case::symlink_then_hard_link("symlink_then_hard_link", "through a symbolic link")]
#[case::root_is_a_file("root_is_a_file", "replace the target itself")]
#[case::root_is_a_symlink("root_is_a_symlink", "can't make the symbolic link")]
#[case::empty_name("empty_name", "replace the target itself")]
#[case::nul_in_name("nul_in_name", "zero byte")]
#[case::component_too_long("component_too_long", "nnn")]
#[case::xattr_name_bad("xattr_name_bad", "can't set an extended attribute")]
#[case::acl_text_bad("acl_text_bad", "can't set an access control list")]
fn harm_is_left_out_and_named(#[case] case: &str, #[case] words: &str) {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, case).expect(3).says(words);
    for name in ["good", "also-good"] {
        assert_content(&done, &sandbox.path("jail/out").join(name), b"good");
    }
}

#[rstest]
#[case::dotdot("dotdot")]
#[case::absolute("absolute")]
fn a_listing_names_what_a_restore_leaves_out_and_is_partial(#[case] case: &str) {
    let sandbox = Sandbox::new();
    attempt(&sandbox, case).expect(3);
    let url = sandbox.url();
    let ls = |more: &[&str]| {
        let words = ["ls", "-R", "--name", "gold", "--host", "h", "--from", &url];
        sandbox.freezer(words).args(more).run().no_crash()
    };
    let listed = ls(&[]).expect(3).says("a restore leaves it out: ");
    assert!(listed.text().contains("good"), "{listed}");
    let last = ls(&["--json"]).expect(3);
    let last = last.text().lines().last().expect("the document").to_owned();
    assert!(last.contains(r#""status":"partial","exit_code":3"#), "{last}");
}

/// What can't be a whole archive is damage: said, with what came before it restored.
#[rstest]
#[case::dumpdir_without_end("dumpdir_without_end", "has no end")]
#[case::very_deep("very_deep", "too large")]
#[case::pax_says_4_gib("pax_says_4_gib", "too large")]
#[case::pax_length_lies("pax_length_lies", "pax record can't be read")]
#[case::pax_zero_length("pax_zero_length", "length is wrong")]
#[case::long_name_says_4_gib("long_name_says_4_gib", "too large")]
#[case::size_lies("size_lies", "cut off")]
#[case::size_negative("size_negative", "size of a member can't be read")]
#[case::size_huge("size_huge", "size of a member can't be read")]
#[case::pax_size_negative("pax_size_negative", "number in a pax record can't be read")]
#[case::sparse_overlaps("sparse_overlaps", "sparse file's map")]
#[case::sparse_map_endless("sparse_map_endless", "too many pieces")]
#[case::sparse_beyond_end("sparse_beyond_end", "sparse file's map")]
#[case::checksum_wrong("checksum_wrong", "checksum is wrong")]
#[case::unknown_type("unknown_type", "type 'Z'")]
#[case::cut("cut", "cut off")]
#[case::time_bad("time_bad", "a time in a pax record can't be read")]
#[case::owner_bad("owner_bad", "number in a pax record can't be read")]
fn a_malformed_stream_is_damage(#[case] case: &str, #[case] words: &str) {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, case).expect(5).says(words);
    assert_content(&done, &sandbox.path("jail/out/good"), b"good");
}

#[rstest]
#[case::garbage("garbage", "checksum is wrong")]
#[case::empty("empty", "has no end")]
fn what_is_no_archive_at_all_is_damage(#[case] case: &str, #[case] words: &str) {
    let sandbox = Sandbox::new();
    attempt(&sandbox, case).expect(5).says(words);
    let made = fs::read_dir(sandbox.path("jail/out")).map_or(0, Iterator::count);
    assert_eq!(made, 0, "something was restored out of nothing");
}

/// A later member replaces a symbolic link and isn't led by it.
#[test]
fn a_file_takes_the_place_of_a_symbolic_link() {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, "symlink_replaced_by_file").expect(0);
    let link = sandbox.path("jail/out/link");
    assert!(
        fs::symlink_metadata(&link).is_ok_and(|facts| facts.is_file()),
        "{done}"
    );
    assert_content(&done, &link, b"evil");
}

/// A directory that a later level has in the place of a symbolic link is made there, and empties nothing behind it.
#[test]
fn a_dumpdir_takes_the_place_of_a_symbolic_link() {
    let sandbox = Sandbox::new();
    let done = attempt(&sandbox, "dumpdir_through_symlink").expect(0);
    let link = sandbox.path("jail/out/link");
    assert!(
        fs::symlink_metadata(&link).is_ok_and(|facts| facts.is_dir()),
        "{done}"
    );
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
        .scrubbed(Path::new("python3"))
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
