//! Backups that the original wrote long ago: every state must still come back.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{Sandbox, backups, differences_from_list, workspace};
use rstest::rstest;

fn golden(name: &str) -> PathBuf {
    workspace().join("tests/golden/original").join(name)
}

/// A restore of the original's backup `gold` of host `node1`.
fn restore(sandbox: &Sandbox, container: &Path, target: &str, more: &[&str]) -> PathBuf {
    let url = format!("local:{}", container.display());
    sandbox
        .freezer([
            "restore", "--name", "gold", "--host", "node1", "--from", &url, "--target", target,
        ])
        .args(more)
        .run()
        .expect(0);
    sandbox.path(target)
}

#[track_caller]
fn assert_golden(list: &str, target: &Path) {
    if let Some(found) =
        differences_from_list(&golden(list), target, &["--whole-seconds", "--ignore", "holes"])
    {
        panic!("{list}:\n{found}");
    }
}

/// Times of the levels, read from either layout.
fn times(container: &Path) -> Vec<i64> {
    let mut times: Vec<i64> = backups(container, "node1_gold").iter().map(|b| b.time).collect();
    if times.is_empty() {
        for chain in fs::read_dir(container.join("node1_gold"))
            .expect("old layout")
            .flatten()
        {
            for object in fs::read_dir(chain.path()).expect("chain").flatten() {
                let name = object.file_name().to_string_lossy().into_owned();
                if !name.starts_with("tar_metadata") {
                    times.extend(name.rsplit('_').nth(1).and_then(|time| time.parse::<i64>().ok()));
                }
            }
        }
    }
    times.sort_unstable();
    times
}

#[rstest]
#[case::gzip("tar-gzip", &[])]
#[case::bzip2("tar-bzip2", &[])]
#[case::encrypted_sha256("tar-gzip-enc", &["--encrypt-pass-file", "PASS", "--compat"])]
#[case::encrypted_md5("tar-gzip-enc-md5", &["--encrypt-pass-file", "PASS", "--compat"])]
#[case::old_layout("legacy-tar-liberty", &[])]
fn each_level_of_the_original_comes_back(#[case] variant: &str, #[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    let pass = golden("pass").display().to_string();
    let options: Vec<&str> = options
        .iter()
        .map(|word| if *word == "PASS" { pass.as_str() } else { word })
        .collect();
    let container = golden(variant);
    let times = times(&container);
    assert_eq!(times.len(), 3, "{variant} has three levels");
    for (level, time) in times.iter().enumerate() {
        let at = time.to_string();
        let mut words = options.clone();
        words.extend(["--at", &at]);
        let target = restore(&sandbox, &container, &format!("out{level}"), &words);
        assert_golden(&format!("{variant}.level{level}.jsonl"), &target);
    }
}

#[test]
fn of_several_backups_of_one_level_the_one_of_the_date_counts() {
    let sandbox = Sandbox::new();
    let container = golden("tar-gzip-always2");
    for (run, time) in times(&container).iter().enumerate() {
        let at = time.to_string();
        let target = restore(&sandbox, &container, &format!("out{run}"), &["--at", &at]);
        assert_golden(&format!("tar-gzip-always2.run{run}.jsonl"), &target);
    }
}

#[test]
fn an_encrypted_backup_of_the_original_needs_compat() {
    let sandbox = Sandbox::new();
    let pass = golden("pass").display().to_string();
    let url = format!("local:{}", golden("tar-gzip-enc").display());
    sandbox
        .freezer([
            "restore", "--name", "gold", "--host", "node1", "--from", &url, "--target", "out",
        ])
        .args(["--encrypt-pass-file", &pass])
        .run()
        .no_crash()
        .expect(5)
        .says("--compat");
}

#[test]
fn an_encrypted_backup_of_the_original_needs_its_password() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("wrong"), "no such password\n").expect("pass file");
    let url = format!("local:{}", golden("tar-gzip-enc").display());
    let refused = sandbox
        .freezer([
            "restore", "--name", "gold", "--host", "node1", "--from", &url, "--target", "out", "--compat",
        ])
        .args(["--encrypt-pass-file", "wrong"])
        .run()
        .no_crash()
        .says("wrong password");
    assert_ne!(refused.code, Some(0), "{refused}");
    let made = fs::read_dir(sandbox.path("out"))
        .map(Iterator::count)
        .unwrap_or(0);
    assert_eq!(made, 0, "files were written with a wrong password");
}

#[test]
fn the_originals_backups_are_listed_and_checked() {
    let sandbox = Sandbox::new();
    let url = format!("local:{}", golden("tar-gzip").display());
    let listed = sandbox.freezer(["list", "--from", &url]).run().expect(0).text();
    assert!(listed.contains("gold") && listed.contains("node1"), "{listed}");
    sandbox
        .freezer(["check", "--from", &url, "--read-data"])
        .run()
        .no_crash()
        .expect(0);
}

/// The paths of a golden list, as listings show them.
fn golden_paths(list: &str) -> Vec<String> {
    let text = fs::read_to_string(golden(list)).expect("golden list");
    let path = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        entry["path"].as_str().expect("path").to_owned()
    };
    // Paths that listings write otherwise are left to the tests of the readers.
    let mut paths: Vec<String> = text
        .lines()
        .map(path)
        .filter(|path| !path.contains('%'))
        .collect();
    paths.retain(|path| !path.is_empty());
    paths.sort();
    paths
}

#[rstest]
#[case::gzip("tar-gzip", &[])]
#[case::encrypted("tar-gzip-enc", &["--encrypt-pass-file", "PASS", "--compat"])]
#[case::old_layout("legacy-tar-liberty", &[])]
fn files_of_the_originals_backups_are_listed_by_reading_the_streams(
    #[case] variant: &str,
    #[case] options: &[&str],
) {
    let sandbox = Sandbox::new();
    let pass = golden("pass").display().to_string();
    let container = golden(variant);
    let url = format!("local:{}", container.display());
    for (level, time) in times(&container).iter().enumerate() {
        let at = time.to_string();
        let listed = sandbox
            .freezer([
                "ls", "-R", "--json", "--name", "gold", "--host", "node1", "--from", &url,
            ])
            .args(["--at", &at])
            .args(
                options
                    .iter()
                    .map(|word| if *word == "PASS" { pass.as_str() } else { word }),
            )
            .run()
            .expect(0);
        let mut paths: Vec<String> = listed
            .text()
            .lines()
            .filter_map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
                Some(entry["path"].as_str()?.to_owned())
            })
            .collect();
        let expected = golden_paths(&format!("{variant}.level{level}.jsonl"));
        paths.retain(|path| expected.contains(path));
        paths.sort();
        assert_eq!(paths, expected, "{variant} level {level}");
    }
}

#[test]
fn a_listing_that_reads_the_streams_says_so() {
    let sandbox = Sandbox::new();
    let url = format!("local:{}", golden("tar-gzip").display());
    let words = ["ls", "--name", "gold", "--host", "node1", "--from", &url];
    let listed = sandbox
        .freezer(words)
        .arg("renamed")
        .run()
        .expect(0)
        .says("has no index: the streams of its levels are read to their end");
    assert!(
        listed.text().contains("renamed/seq") && !listed.text().contains("deep"),
        "{listed}"
    );
    sandbox
        .freezer(words)
        .arg("deep/seq")
        .run()
        .no_crash()
        .expect(4)
        .says("deep/seq");
}

/// The chain of the original goes on with our level, in a copy.
#[test]
fn a_chain_of_the_original_is_continued() {
    let sandbox = Sandbox::new();
    freezer_tests::copy_tree(&golden("tar-gzip"), &sandbox.path("container"));
    let container = sandbox.path("container");
    let source = restore(&sandbox, &container, "tree", &[]);
    fs::write(source.join("added"), "by us").expect("write");
    fs::remove_file(source.join("a")).expect("rm");
    let url = format!("local:{}", container.display());
    sandbox
        .freezer([
            "backup", "tree", "--name", "gold", "--host", "node1", "--to", &url, "--compat",
        ])
        .run()
        .expect(0);
    let levels: Vec<u32> = backups(&container, "node1_gold")
        .iter()
        .map(|b| b.level)
        .collect();
    assert_eq!(levels, [0, 1, 2, 3]);
    let target = restore(&sandbox, &container, "out", &[]);
    freezer_tests::assert_same(&source, &target, &["--whole-seconds"]);
}
