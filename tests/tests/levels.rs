//! Levels: which one comes next, what an increment holds, and that any of them restores the state of its day.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use freezer_tests::{
    Mutator, Part, Random, Sandbox, assert_same, backups, copy_tree, differences, make_odd_tree, write,
};
use rstest::rstest;

fn levels(sandbox: &Sandbox) -> Vec<u32> {
    backups(&sandbox.store(), "h_t").iter().map(|b| b.level).collect()
}

fn chain_count(sandbox: &Sandbox) -> usize {
    let mut zeros: Vec<i64> = backups(&sandbox.store(), "h_t").iter().map(|b| b.zero).collect();
    zeros.dedup();
    zeros.len()
}

/// A backup after one more change.
#[track_caller]
fn step(sandbox: &Sandbox, options: &[&str]) {
    let number = backups(&sandbox.store(), "h_t").len();
    write(&sandbox.path(format!("source/step{number}")), b"x");
    sandbox.backup(options);
}

#[test]
fn a_chain_grows_by_itself() {
    let sandbox = Sandbox::new();
    for _ in 0..4 {
        step(&sandbox, &[]);
    }
    assert_eq!(levels(&sandbox), [0, 1, 2, 3]);
    assert_eq!(chain_count(&sandbox), 1);
}

#[rstest]
#[case::full("--full")]
#[case::no_incremental("--no-incremental")]
fn a_full_backup_begins_a_chain(#[case] option: &str) {
    let sandbox = Sandbox::new();
    step(&sandbox, &[]);
    step(&sandbox, &[]);
    step(&sandbox, &[option]);
    assert_eq!(levels(&sandbox), [0, 1, 0]);
    assert_eq!(chain_count(&sandbox), 2);
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

#[test]
fn max_level_restarts_after_it() {
    let sandbox = Sandbox::new();
    for _ in 0..5 {
        step(&sandbox, &["--max-level", "1"]);
    }
    assert_eq!(levels(&sandbox), [0, 1, 0, 1, 0]);
}

#[test]
fn always_level_stays_there_and_the_newest_counts() {
    let sandbox = Sandbox::new();
    for _ in 0..5 {
        step(&sandbox, &["--always-level", "2"]);
    }
    assert_eq!(levels(&sandbox), [0, 1, 2, 2, 2]);
    assert_eq!(chain_count(&sandbox), 1);
    fs::remove_file(sandbox.path("source/step0")).expect("rm");
    sandbox.backup(&["--always-level", "2"]);
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

#[test]
fn restart_always_level_counts_from_the_newest() {
    let sandbox = Sandbox::new();
    step(&sandbox, &["--restart-always-level", "1"]);
    step(&sandbox, &["--restart-always-level", "1"]);
    assert_eq!(levels(&sandbox), [0, 1]);
    let newest = backups(&sandbox.store(), "h_t")
        .last()
        .map(|b| b.time)
        .expect("two backups");
    wait_until_after(newest + 2);
    step(&sandbox, &["--restart-always-level", "0.00001"]);
    assert_eq!(levels(&sandbox), [0, 1, 0]);
}

/// Waits for the clock, the one thing that can't be asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "compares the real clock with a stored time"
)]
fn wait_until_after(second: i64) {
    let deadline = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(second).unwrap_or(0));
    while let Ok(left) = deadline.duration_since(std::time::SystemTime::now()) {
        std::thread::sleep(left.min(std::time::Duration::from_millis(50)));
    }
}

#[test]
fn a_chain_ends_after_so_many_levels() {
    let sandbox = Sandbox::new();
    for _ in 0..4 {
        step(&sandbox, &["--chain-levels", "3"]);
    }
    assert_eq!(chain_count(&sandbox), 2, "{:?}", levels(&sandbox));
    assert_eq!(levels(&sandbox).last(), Some(&0));
}

#[test]
fn a_chain_ends_after_so_many_days() {
    let sandbox = Sandbox::new();
    step(&sandbox, &[]);
    let zero = backups(&sandbox.store(), "h_t")[0].zero;
    wait_until_after(zero + 2);
    step(&sandbox, &["--chain-days", "0.00001"]);
    assert_eq!(levels(&sandbox), [0, 0]);
}

#[test]
fn a_differential_builds_on_level_0() {
    let sandbox = Sandbox::new();
    let big: Vec<u8> = Random::new(3).bytes(300_000);
    write(&sandbox.path("source/base"), b"base");
    sandbox.backup(&[]);
    write(&sandbox.path("source/big"), &big);
    sandbox.backup(&["--differential"]);
    write(&sandbox.path("source/later"), b"later");
    sandbox.backup(&["--differential"]);
    assert_eq!(levels(&sandbox), [0, 1, 1]);
    let sizes: Vec<u64> = backups(&sandbox.store(), "h_t")
        .iter()
        .map(|b| fs::metadata(b.object(Part::Data)).expect("data").len())
        .collect();
    assert!(
        sizes[2] >= sizes[1],
        "the second differential lacks what the first held: {sizes:?}"
    );
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

#[test]
fn an_unchanged_tree_makes_a_small_level() {
    let sandbox = Sandbox::new();
    for number in 0..200 {
        write(
            &sandbox.path(format!("source/{number}")),
            &Random::new(number).bytes(20_000),
        );
    }
    sandbox.backup(&[]);
    sandbox.backup(&[]);
    let sizes: Vec<u64> = backups(&sandbox.store(), "h_t")
        .iter()
        .map(|b| fs::metadata(b.object(Part::Data)).expect("data").len())
        .collect();
    assert!(
        sizes[1] * 50 < sizes[0],
        "an unchanged tree was stored again: {sizes:?}"
    );
}

/// Every change of kind, both ways, and what lies below.
#[rstest]
#[case::file_to_directory("rm x; mkdir x; echo in > x/y", "echo f > x")]
#[case::directory_to_file("rm -r x; echo f > x", "mkdir x; echo in > x/y")]
#[case::file_to_symlink("rm x; ln -s keep x", "echo f > x")]
#[case::symlink_to_file("rm x; echo f > x", "ln -s keep x")]
#[case::directory_to_symlink("rm -r x; ln -s keepdir x", "mkdir x; echo in > x/y")]
#[case::symlink_to_directory("rm x; mkdir x; echo in > x/y", "ln -s keepdir x")]
#[case::symlink_elsewhere("ln -sfn /nonexistent x", "ln -s keep x")]
#[case::fifo_to_file("rm x; echo f > x", "mkfifo x")]
#[case::deleted("rm -r x", "mkdir x; echo in > x/y")]
#[case::renamed_directory("mv x z", "mkdir x; echo in > x/y")]
#[case::renamed_into_a_deeper_one("mkdir a; mv x a/x; mv a/x/y a/y2", "mkdir x; echo in > x/y")]
#[case::nested_swap("mv x/c z; mv x z/x", "mkdir -p x/c; echo 1 > x/c/f; echo 2 > x/g")]
#[case::swapped("mv x t; mv keepdir x; mv t keepdir", "mkdir x; echo in > x/y")]
#[case::directory_renamed_over_file("rm keep; mv x keep; echo now > x", "mkdir x; echo in > x/y")]
#[case::link_added("ln keep keepdir/l", "echo f > x")]
#[case::link_removed("rm x", "ln keep x")]
#[case::link_broken("cp keep t; mv t x", "ln keep x")]
#[case::link_moved("rm x; ln keepdir/in x", "ln keep x")]
#[case::mode_only("chmod 4700 keep", "echo f > x")]
#[case::xattr_only("setfattr -n user.x -v 1 keep", "echo f > x")]
#[case::directory_mode_only("chmod 711 keepdir", "echo f > x")]
#[case::grown_hole("truncate -s 5M x", "echo f > x")]
fn a_change_between_levels_is_replayed(#[case] change: &str, #[case] before: &str) {
    let sandbox = Sandbox::new();
    let shell = |script: &str| {
        freezer_tests::program("sh")
            .args(["-ec", script])
            .cwd(&sandbox.source())
            .run()
            .expect(0);
    };
    shell("echo kept > keep; mkdir keepdir; echo i > keepdir/in");
    shell(before);
    copy_tree(&sandbox.source(), &sandbox.path("zero"));
    sandbox.backup(&[]);
    shell(change);
    sandbox.backup(&[]);
    assert_eq!(levels(&sandbox), [0, 1]);
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
    let zero = backups(&sandbox.store(), "h_t")[0].time.to_string();
    assert_same(
        &sandbox.path("zero"),
        &sandbox.restore("old", &["--at", &zero]),
        &[],
    );
    // Over a tree that holds an older state the newer one comes out right, but a directory that isn't empty is
    // never removed for a file: that is refused and named.
    let done = sandbox
        .restore_command("old", &["--overwrite"])
        .run()
        .no_crash()
        .expect_any(&[0, 3]);
    assert!(
        done.code == Some(0) || done.stderr.contains("not empty"),
        "{done}"
    );
    let found = differences(&sandbox.source(), &sandbox.path("old"), &[]).unwrap_or_default();
    let in_the_way = |line: &&str| done.code == Some(3) && line.contains(": x: ");
    let wrong: Vec<&str> = found
        .lines()
        .filter(|line| line.contains(": ") && !line.starts_with("extra: ") && !line.starts_with("mtime: "))
        .filter(|line| !in_the_way(line))
        .collect();
    assert!(
        wrong.is_empty(),
        "restoring over an older state went wrong:\n{found}\n{done}"
    );
}

#[test]
fn an_odd_tree_survives_levels() {
    let sandbox = Sandbox::new();
    make_odd_tree(&sandbox.source(), 200);
    sandbox.backup(&[]);
    let mut mutator = Mutator::new(11);
    for _ in 0..2 {
        // The odd tree holds directories that only root may enter; the mutator stays in its own.
        let own = sandbox.path("source/own");
        fs::create_dir_all(&own).expect("mkdir");
        mutator.change(&own, 15);
        sandbox.backup(&[]);
    }
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

/// Histories at random: every level's state must come back as the naive copy made on its day.
#[rstest]
fn a_random_history_restores_at_every_point(#[values(1, 2, 3, 4, 5, 6)] seed: u64) {
    let sandbox = Sandbox::new();
    let mut random = Random::new(seed);
    let mut mutator = Mutator::new(seed);
    mutator.change(&sandbox.source(), 40);
    let encrypted = seed.is_multiple_of(2);
    sandbox.pass_file();
    let options: &[&str] = if encrypted {
        &["--encrypt-pass-file", "pass"]
    } else {
        &[]
    };
    let mut states: Vec<(i64, PathBuf)> = Vec::new();
    for number in 0..6 {
        let mut words = options.to_vec();
        if random.chance(20) {
            words.push("--differential");
        } else if random.chance(10) {
            words.push("--full");
        }
        sandbox.backup(&words);
        let newest = backups(&sandbox.store(), "h_t")
            .iter()
            .map(|b| b.time)
            .max()
            .expect("a backup");
        let copy = sandbox.path(format!("copy{number}"));
        copy_tree(&sandbox.source(), &copy);
        states.push((newest, copy));
        mutator.change(&sandbox.source(), 12);
    }
    for (number, (time, copy)) in states.iter().enumerate() {
        let at = time.to_string();
        let mut words = vec!["--at", at.as_str()];
        words.extend(options);
        let target = sandbox.restore(&format!("out{number}"), &words);
        if let Some(found) = differences(copy, &target, &[]) {
            panic!(
                "seed {seed}, state {number} of {:?}:\n{found}\n{}",
                levels(&sandbox),
                mutator.log.join("\n")
            );
        }
    }
}

#[test]
fn a_missing_middle_level_is_refused_by_name() {
    let sandbox = Sandbox::new();
    for _ in 0..3 {
        step(&sandbox, &[]);
    }
    let middle = backups(&sandbox.store(), "h_t")[1].clone();
    for part in Part::ALL {
        remove_parent(&middle.object(part));
    }
    let name = format!("1_{}", middle.time);
    let refused = sandbox.restore_command("out", &[]).run().no_crash().expect(5);
    assert!(
        refused.stderr.contains(&name) || refused.stderr.contains("level 1"),
        "names no level\n{refused}"
    );
    assert!(
        !sandbox.path("out").exists() || is_empty(&sandbox.path("out")),
        "something was restored\n{refused}"
    );
}

fn remove_parent(path: &Path) {
    if let Some(parent) = path.parent().filter(|p| p.exists()) {
        fs::remove_dir_all(parent).expect("rm -r");
    }
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_date_before_the_first_backup_is_refused() {
    let sandbox = Sandbox::new();
    step(&sandbox, &[]);
    sandbox
        .restore_command("out", &["--at", "2001-01-01"])
        .run()
        .no_crash()
        .expect(4)
        .says("2001");
}

#[test]
fn two_backups_in_one_second_are_two_backups() {
    let sandbox = Sandbox::new();
    for _ in 0..3 {
        step(&sandbox, &["--full"]);
    }
    assert_eq!(levels(&sandbox), [0, 0, 0]);
}

#[test]
fn a_file_rewritten_with_the_same_size_and_time_is_noticed() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("source/f");
    write(&file, b"before");
    sandbox.backup(&[]);
    let before = fs::metadata(&file).and_then(|m| m.modified()).expect("mtime");
    write(&file, b"after!");
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|f| f.set_modified(before))
        .expect("utime");
    sandbox.backup(&[]);
    assert_eq!(
        fs::read(sandbox.restore("out", &[]).join("f")).expect("restored"),
        b"after!"
    );
}

#[test]
fn names_that_begin_alike_are_different_backups() {
    let sandbox = Sandbox::new();
    let url = sandbox.url();
    write(&sandbox.path("one/f"), b"1");
    write(&sandbox.path("two/f"), b"2");
    symlink("f", sandbox.path("two/l")).expect("symlink");
    for (source, name) in [("one", "db"), ("two", "db2")] {
        sandbox
            .freezer(["backup", source, "--name", name, "--host", "h", "--to", &url])
            .run()
            .expect(0);
    }
    for (source, name) in [("one", "db"), ("two", "db2")] {
        let target = format!("out-{name}");
        sandbox
            .freezer([
                "restore", "--name", name, "--host", "h", "--from", &url, "--target", &target,
            ])
            .run()
            .expect(0);
        assert_same(&sandbox.path(source), &sandbox.path(&target), &[]);
    }
}
