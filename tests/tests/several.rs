//! Several storages in one run, copies between storages, and interrupted runs that are gone on with.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{Finished, Program, Random, Sandbox, assert_same, backups, freezer_binary, tool, write};
use rstest::rstest;
use rustix::process::Signal;

/// A tree of noise, so that what is stored is as large as what is read.
fn noisy_tree(sandbox: &Sandbox, mib: u64) {
    let mut random = Random::new(21);
    for number in 0..mib {
        let noise: Vec<u8> = (0..(1 << 20) / 8)
            .flat_map(|_| random.word().to_le_bytes())
            .collect();
        write(&sandbox.path(format!("source/{}/{number}", number % 3)), &noise);
    }
}

/// `freezer backup` to these directories of the sandbox.
fn backup(sandbox: &Sandbox, places: &[&str], more: &[&str]) -> Program {
    let mut program = sandbox
        .freezer(["backup"])
        .arg(sandbox.source())
        .args(["--name", "t", "--host", "h"]);
    for place in places {
        program = program.args(["--to", &format!("local:{}", sandbox.path(place).display())]);
    }
    program.args(more)
}

/// What a storage holds must restore to what the source is.
#[track_caller]
fn assert_restores(sandbox: &Sandbox, place: &str, more: &[&str]) {
    let target = sandbox.path(format!("out-{place}"));
    sandbox
        .freezer(["restore", "--name", "t", "--host", "h", "--from"])
        .arg(format!("local:{}", sandbox.path(place).display()))
        .arg("--target")
        .arg(&target)
        .args(more)
        .run()
        .expect(0);
    assert_same(&sandbox.source(), &target, &[]);
    fs::remove_dir_all(target).expect("rm -r");
}

/// All files of a storage with their contents, without temporary ones.
fn content(place: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let below = path.strip_prefix(place).expect("below").to_owned();
                    found.push((below, fs::read(&path).expect("a file")));
                }
            }
        }
    }
    found.sort();
    found
}

fn copy(sandbox: &Sandbox, more: &[&str]) -> Program {
    let url = |place: &str| format!("local:{}", sandbox.path(place).display());
    sandbox
        .freezer(["copy", "--from", &url("store"), "--to", &url("other")])
        .args(more)
}

#[test]
fn three_storages_hold_the_same_and_each_restores() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 3);
    let places = ["store", "b", "c"];
    backup(&sandbox, &places, &[]).run().expect(0);
    write(&sandbox.path("source/new"), b"new");
    let done = backup(&sandbox, &places, &["--json"]).run().expect(0);
    let document = &done.json()["result"];
    assert_eq!(document["level"], 1, "{done}");
    assert_eq!(document["storages"].as_array().map(Vec::len), Some(3), "{done}");
    let first = content(&sandbox.store());
    for place in places {
        assert!(
            content(&sandbox.path(place)) == first,
            "{place} holds something else"
        );
        assert_restores(&sandbox, place, &[]);
    }
}

#[test]
fn a_storage_that_vanishes_is_named_and_gets_its_backup_by_copy() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 2);
    backup(&sandbox, &["store", "other"], &[]).run().expect(0);
    // Something else lies where the storage was.
    fs::rename(sandbox.path("other"), sandbox.path("away")).expect("mv");
    write(&sandbox.path("other"), b"no directory");
    write(&sandbox.path("source/new"), b"new");
    let done = backup(&sandbox, &["store", "other"], &[]).run().expect(3);
    let said = format!("{}{}", done.text(), done.stderr);
    assert!(
        said.contains("lacking") && said.contains("freezer copy --from"),
        "{done}"
    );
    let aborted = backup(&sandbox, &["store", "other"], &["--on-storage-failure", "abort"]).run();
    aborted.expect(1);
    assert_eq!(backups(&sandbox.store(), "h_t").len(), 2);
    fs::remove_file(sandbox.path("other")).expect("rm");
    fs::rename(sandbox.path("away"), sandbox.path("other")).expect("mv");
    // Restoring from both takes the one that has the newest state, and says so.
    let both = |place: &str| format!("local:{}", sandbox.path(place).display());
    let (other, store) = (both("other"), both("store"));
    let arguments = [
        "restore", "--name", "t", "--host", "h", "--from", &other, "--from", &store,
    ];
    let done = sandbox
        .freezer(arguments)
        .arg("--target")
        .arg(sandbox.path("out"))
        .run()
        .expect(0)
        .says("passed over");
    assert!(done.stderr.contains(&store), "{done}");
    assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
    copy(&sandbox, &[]).run().expect(0);
    let next = backup(&sandbox, &["store", "other"], &["--json"])
        .run()
        .expect(0)
        .json();
    assert_eq!(next["result"]["level"], 2, "the chain goes on in both: {next}");
    assert_restores(&sandbox, "other", &[]);
}

#[test]
fn a_storage_without_the_chain_begins_a_new_one_for_all() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 1);
    backup(&sandbox, &["store"], &[]).run().expect(0);
    let done = backup(&sandbox, &["store", "b"], &["--json"]).run().expect(0);
    let document = &done.json()["result"];
    assert_eq!(document["level"], 0, "{done}");
    let reason = document["full_reason"].as_str().unwrap_or_default().to_owned();
    assert!(
        reason.contains("isn't whole in") && reason.contains("/b"),
        "{reason}"
    );
}

#[test]
fn one_directory_under_two_urls_is_refused_and_unharmed() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 1);
    backup(&sandbox, &["store"], &[]).run().expect(0);
    let before = content(&sandbox.store());
    std::os::unix::fs::symlink(sandbox.store(), sandbox.path("alias")).expect("ln -s");
    backup(&sandbox, &["store", "alias"], &[])
        .run()
        .no_crash()
        .expect_any(&[1, 2]);
    assert!(content(&sandbox.store()) == before, "the storage was changed");
}

#[test]
fn three_storages_need_no_more_memory_than_the_budget() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 150);
    let mut arguments = vec!["backup".to_owned(), "source".to_owned()];
    for place in ["store", "b", "c"] {
        arguments.extend([
            "--to".to_owned(),
            format!("local:{}", sandbox.path(place).display()),
        ]);
    }
    sandbox
        .scrubbed(Path::new("python3"))
        .arg(tool("peak.py"))
        .arg("report.json")
        .arg(freezer_binary())
        .args(arguments)
        .args(["--name", "t", "--host", "h"])
        .run()
        .expect(0);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path("report.json")).expect("report")).expect("JSON");
    let mib = report["peak_kib"].as_u64().expect("a peak").div_ceil(1024);
    assert!(mib <= 128, "{mib} MiB with three storages");
}

/// Starts a backup and kills it when some segments are stored.
fn killed(sandbox: &Sandbox, signal: Signal, segments: u64, more: &[&str]) -> Finished {
    let slow = [
        "--compression",
        "xz:9",
        "--workers",
        "1",
        "--max-segment-size",
        "256K",
    ];
    let stored = || {
        let files = content(&sandbox.store()).into_iter();
        files
            .filter(|(path, _)| path.to_string_lossy().ends_with(".partial"))
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>()
    };
    let mut running = backup(sandbox, &["store"], &slow).args(more).start();
    assert!(
        running.until(|| stored() >= segments * (256 << 10)),
        "nothing was stored in time"
    );
    running.signal(signal);
    running.wait().no_crash()
}

#[rstest]
#[case::soon(2)]
#[case::later(9)]
fn a_killed_run_is_gone_on_with(#[case] segments: u64) {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 8);
    let pass = sandbox.pass_file();
    let pass = ["--encrypt-pass-file", pass.to_str().expect("text")];
    let first = killed(&sandbox, Signal::KILL, segments, &pass);
    assert_eq!(first.signal, Some(9), "{first}");
    let slow = [
        "--compression",
        "xz:9",
        "--workers",
        "1",
        "--max-segment-size",
        "256K",
    ];
    let done = backup(&sandbox, &["store"], &slow)
        .args(pass)
        .args(["--resume", "--json"])
        .run()
        .expect(0);
    let reused = done.json()["result"]["reused_bytes"].as_u64().unwrap_or_default();
    assert!(
        reused >= (segments - 1) * (256 << 10),
        "{reused} bytes were used again\n{done}"
    );
    assert_restores(&sandbox, "store", &pass);
    let left = content(&sandbox.store());
    assert!(
        !left
            .iter()
            .any(|(path, _)| path.to_string_lossy().ends_with(".partial")),
        "{done}"
    );
}

#[test]
fn an_interrupt_with_resume_keeps_what_is_stored() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 8);
    let first = killed(&sandbox, Signal::INT, 4, &["--resume"]);
    let first = first.expect(130).says("--resume goes on with it");
    assert!(backups(&sandbox.store(), "h_t").is_empty(), "{first}");
    // The last file: what lies before it is stored as it was.
    let last = sandbox.path("source/2/5");
    let grown = [
        fs::read(&last).expect("the last file"),
        b"new at the end".to_vec(),
    ]
    .concat();
    write(&last, &grown);
    let slow = [
        "--compression",
        "xz:9",
        "--workers",
        "1",
        "--max-segment-size",
        "256K",
    ];
    let done = backup(&sandbox, &["store"], &slow)
        .args(["--resume"])
        .run()
        .expect(0);
    assert!(done.text().contains("were there and not sent again"), "{done}");
    assert_restores(&sandbox, "store", &[]);
}

#[test]
fn a_copy_is_the_same_and_is_not_made_twice() {
    let sandbox = Sandbox::new();
    noisy_tree(&sandbox, 2);
    backup(&sandbox, &["store"], &["--max-segment-size", "256K"])
        .run()
        .expect(0);
    write(&sandbox.path("source/new"), b"new");
    backup(&sandbox, &["store"], &["--max-segment-size", "256K"])
        .run()
        .expect(0);
    let dry = copy(&sandbox, &["--dry-run"]).run().expect(0);
    assert!(
        dry.text().contains("would be copied") && !sandbox.path("other").exists(),
        "{dry}"
    );
    copy(&sandbox, &[]).run().expect(0);
    assert!(
        content(&sandbox.store()) == content(&sandbox.path("other")),
        "the copy differs"
    );
    assert_restores(&sandbox, "other", &[]);
    let again = copy(&sandbox, &["--json"]).run().expect(0).json();
    assert_eq!(again["result"]["bytes"], 0, "{again}");
    // A damaged original isn't copied.
    let data = backups(&sandbox.store(), "h_t")
        .pop()
        .expect("a backup")
        .object(freezer_tests::Part::Data);
    let mut bytes = fs::read(&data).expect("data");
    bytes[100] ^= 1;
    fs::write(&data, bytes).expect("data");
    fs::remove_dir_all(sandbox.path("other")).expect("rm -r");
    copy(&sandbox, &[]).run().expect(5).says("digest");
}

/// They mount file systems in a name space of their own. `tests/run.sh` leaves them out where that is impossible.
mod needs_mounts {
    use super::*;

    /// Of three storages one is full and one can't be written: the third gets its backup, nobody half of one.
    #[test]
    fn a_full_and_a_read_only_storage_don_t_keep_the_third_from_its_backup() {
        let sandbox = Sandbox::new();
        noisy_tree(&sandbox, 4);
        for place in ["small", "locked"] {
            fs::create_dir(sandbox.path(place)).expect("mkdir");
        }
        let script = r#"
            mount -t tmpfs -o size=1500k none small
            mount --bind locked locked; mount -o remount,ro,bind locked
            code=0; FREEZER backup source --name t --host h --to local:$PWD/store --to local:$PWD/small \
                --to local:$PWD/locked --max-segment-size 256K || code=$?
            test $code = 3 || { echo "code $code"; exit 90; }
            test ! -e small/metadata || test -z "$(find small/metadata -type f)" || { echo "looks like a backup"; exit 91; }
            test -z "$(find small -type f)" || { find small -type f; echo "left behind"; exit 92; }
            "#
        .replace("FREEZER", &freezer_binary().display().to_string());
        let done = sandbox
            .scrubbed(Path::new("unshare"))
            .args(["-m", "bash", "-ec", &script])
            .run()
            .no_crash()
            .expect(0);
        let said = format!("{}{}", done.text(), done.stderr).to_lowercase();
        assert!(said.contains("space") || said.contains("full"), "{done}");
        assert!(said.contains("read-only"), "{done}");
        assert_restores(&sandbox, "store", &[]);
    }
}
