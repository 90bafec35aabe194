//! Kills, signals, failing calls and full disks: what was stored before stays good, what was under way is absent or
//! whole, and the next run works.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use freezer_tests::{
    Part, Random, Sandbox, assert_same, backups, copy_tree, differences, freezer_binary, program, write,
};
use rstest::rstest;
use rustix::process::Signal;

/// A tree that takes many seconds to compress, and one earlier backup whose state is kept as `state`.
fn slow_tree(sandbox: &Sandbox) {
    write(&sandbox.path("source/f"), b"before");
    sandbox.backup(&[]);
    copy_tree(&sandbox.source(), &sandbox.path("state"));
    let mut random = Random::new(8);
    for number in 0..400 {
        let noise: Vec<u8> = (0..20_000).flat_map(|_| random.word().to_le_bytes()).collect();
        write(&sandbox.path(format!("source/{number}")), &noise);
    }
}

const SLOW: &[&str] = &[
    "--compression",
    "xz:9",
    "--workers",
    "1",
    "--max-segment-size",
    "64K",
];

/// The files of the storage with their sizes, claims included.
fn stored_files(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let listed = program("find")
        .arg(sandbox.store())
        .args(["-type", "f", "-printf", "%s %P\n"])
        .run();
    listed
        .text()
        .lines()
        .filter_map(|line| {
            let (size, path) = line.split_once(' ')?;
            Some((path.to_owned(), size.parse().ok()?))
        })
        .collect()
}

/// Bytes of content in the storage: a run claims its level before it stores anything, and that is no content.
fn stored_bytes(sandbox: &Sandbox) -> u64 {
    let files = stored_files(sandbox);
    files
        .iter()
        .filter(|(path, _)| !path.ends_with("/claim"))
        .map(|(_, size)| size)
        .sum()
}

/// The earlier backup is whole, nothing else looks like one, and the next run works.
#[track_caller]
fn assert_recovered(sandbox: &Sandbox, why: &str) {
    let stored = backups(&sandbox.store(), "h_t");
    let restored = sandbox.restore_command("after", &[]).run();
    assert!(
        restored.code == Some(0),
        "{why}: the earlier backup is not restorable\n{restored}"
    );
    if stored.len() == 1 {
        assert_same(&sandbox.path("state"), &sandbox.path("after"), &[]);
    }
    let url = sandbox.url();
    let checked = sandbox
        .freezer(["check", "--from", &url, "--read-data"])
        .run()
        .no_crash();
    assert!(
        matches!(checked.code, Some(0 | 3)),
        "{why}: check calls it damaged\n{checked}"
    );
    sandbox.backup(&[]);
    let restored = sandbox.restore("next", &[]);
    assert_same(&sandbox.source(), &restored, &[]);
    for name in ["after", "next"] {
        fs::remove_dir_all(sandbox.path(name)).expect("rm -r");
    }
}

/// Starts the slow backup and waits until it has stored more than one segment.
fn begin(sandbox: &Sandbox) -> freezer_tests::Running {
    let before = stored_bytes(sandbox);
    let mut running = sandbox.backup_command(SLOW).start();
    assert!(
        running.until(|| stored_bytes(sandbox) > before + (64 << 10)),
        "no segment was stored in time"
    );
    running
}

#[rstest]
#[case::interrupt(Signal::INT)]
#[case::terminate(Signal::TERM)]
#[case::hang_up(Signal::HUP)]
fn a_signal_ends_the_run_cleanly(#[case] signal: Signal) {
    let sandbox = Sandbox::new();
    slow_tree(&sandbox);
    let before = stored_files(&sandbox);
    let running = begin(&sandbox);
    running.signal(signal);
    let done = running.wait().no_crash();
    assert!(matches!(done.code, Some(130 | 143)), "{done}");
    assert_eq!(backups(&sandbox.store(), "h_t").len(), 1, "{done}");
    assert_eq!(
        stored_files(&sandbox),
        before,
        "the storage is not as it was before\n{done}"
    );
    assert_recovered(&sandbox, "signal");
}

/// A backup whose content takes some seconds to read at [`SLOWLY`].
fn slow_to_read() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut random = Random::new(9);
    for number in 0..120 {
        let noise: Vec<u8> = (0..25_000).flat_map(|_| random.word().to_le_bytes()).collect();
        write(&sandbox.path(format!("source/{number}")), &noise);
    }
    let large: Vec<u8> = (0..500_000).flat_map(|_| random.word().to_le_bytes()).collect();
    write(&sandbox.path("source/large"), &large);
    sandbox.backup(&["--compression", "none"]);
    sandbox
}

const SLOWLY: &[&str] = &["--download-limit", "2M"];

/// Interrupts a run that reads, once `is_under_way` says so: it ends with 130 and has changed nothing in the storage.
#[track_caller]
fn interrupt(sandbox: &Sandbox, command: freezer_tests::Program, is_under_way: impl Fn() -> bool) {
    let before = stored_files(sandbox);
    let mut running = command.args(SLOWLY).start();
    let reads = |running: &freezer_tests::Running| running.has_open(&sandbox.store(), "data");
    let begun = std::time::Instant::now();
    while !(reads(&running) && is_under_way()) {
        assert!(
            !running.ended() && begun.elapsed() < Duration::from_secs(20),
            "it doesn't read"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::INT);
    let done = running.wait().no_crash().expect(130).says("interrupted");
    assert!(done.elapsed < Duration::from_secs(30), "{done}");
    assert_eq!(stored_files(sandbox), before, "{done}");
}

#[test]
fn an_interrupted_restore_leaves_whole_files_alone() {
    let sandbox = slow_to_read();
    let target = sandbox.path("cut");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&target).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let is_begun = || names().iter().any(|name| !name.starts_with(".freezer-"));
    interrupt(&sandbox, sandbox.restore_command("cut", &[]), is_begun);
    let left = names();
    assert!(left.len() < 121, "it was done before it was interrupted");
    for name in left {
        let (made, source) = (target.join(&name), sandbox.source().join(&name));
        assert!(
            fs::read(made).ok() == fs::read(source).ok(),
            "{name} isn't what was backed up"
        );
    }
    let whole = sandbox.restore("whole", &[]);
    assert_same(&sandbox.source(), &whole, &[]);
}

#[test]
fn an_interrupted_check_and_an_interrupted_dump_end_at_once() {
    let sandbox = slow_to_read();
    let url = sandbox.url();
    let check = sandbox.freezer(["check", "--read-data", "--from", &url]);
    interrupt(&sandbox, check, || true);
    interrupt(&sandbox, sandbox.verb("dump", &["large"]), || true);
    sandbox
        .freezer(["check", "--read-data", "--from", &url])
        .run()
        .expect(0);
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let sandbox = Sandbox::new();
    slow_tree(&sandbox);
    let mut running = begin(&sandbox);
    // Two that come together are one to the kernel.
    while !running.ended() {
        running.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = running.wait();
    assert!(matches!(done.code, Some(130)) || done.signal == Some(2), "{done}");
    assert!(done.elapsed < Duration::from_secs(15), "{done}");
    assert_recovered(&sandbox, "two interrupts");
}

#[test]
fn after_a_kill_check_says_what_was_left_and_the_next_run_works() {
    let sandbox = Sandbox::new();
    slow_tree(&sandbox);
    let running = begin(&sandbox);
    running.signal(Signal::KILL);
    let done = running.wait();
    assert_eq!(done.signal, Some(9), "{done}");
    assert_eq!(backups(&sandbox.store(), "h_t").len(), 1);
    let url = sandbox.url();
    let checked = sandbox.freezer(["check", "--from", &url]).run().no_crash();
    let said = format!("{}{}", checked.text(), checked.stderr);
    assert!(
        said.contains("belongs to no backup") && said.contains("killed"),
        "{checked}"
    );
    assert_recovered(&sandbox, "kill -9");
}

#[test]
fn a_killed_restore_is_repeated_with_overwrite() {
    let sandbox = Sandbox::new();
    let mut random = Random::new(8);
    for number in 0..300 {
        write(&sandbox.path(format!("source/{number}")), &random.bytes(300_000));
    }
    sandbox.backup(&["--compression", "bzip2"]);
    let mut running = sandbox.restore_command("out", &["--workers", "1"]).start();
    let out = sandbox.path("out");
    assert!(
        running.until(|| fs::read_dir(&out).is_ok_and(|d| d.count() > 3)),
        "no file appeared"
    );
    running.signal(Signal::KILL);
    running.wait();
    sandbox.restore("out", &["--overwrite"]);
    let found = differences(&sandbox.source(), &out, &[]).unwrap_or_default();
    // The file that was being written when the run was killed keeps its temporary name.
    let wrong: Vec<&str> = found
        .lines()
        .filter(|line| line.contains(": ") && !line.starts_with("extra: .freezer-"))
        .collect();
    assert!(wrong.is_empty(), "{found}");
}

/// The calls by which a storage is changed.
const CALLS: &str =
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,ftruncate";

/// Two runs of one backup at once: both are whole, or one is refused; never a mix.
#[test]
fn two_runs_at_once_don_t_mix() {
    let sandbox = Sandbox::new();
    let mut random = Random::new(2);
    for number in 0..100 {
        write(&sandbox.path(format!("source/{number}")), &random.bytes(50_000));
    }
    sandbox.backup(&[]);
    write(&sandbox.path("source/new"), b"new");
    let runs: Vec<_> = (0..3).map(|_| sandbox.backup_command(&[]).start()).collect();
    let mut good = 0;
    for run in runs {
        let done = run.wait().no_crash();
        good += usize::from(done.code == Some(0));
        assert!(matches!(done.code, Some(0 | 1)), "{done}");
    }
    assert!(good >= 1, "none of three runs succeeded");
    let target = sandbox.restore("out", &[]);
    assert_same(&sandbox.source(), &target, &[]);
    let url = sandbox.url();
    sandbox
        .freezer(["check", "--from", &url, "--read-data"])
        .run()
        .expect(0);
}

/// They trace or break system calls. `tests/run.sh` leaves them out where that is impossible.
mod needs_strace {
    use super::*;

    /// For k = 1, 2, … the k-th durable call fails (or the process is killed there), until a run has no k-th call.
    #[rstest]
    #[case::input_output_error("error=EIO", CALLS)]
    #[case::killed("signal=SIGKILL", CALLS)]
    #[case::no_space(
        "error=ENOSPC",
        "mkdirat,openat2,pwrite64,writev,pwritev,pwritev2,fallocate,renameat,renameat2,linkat"
    )]
    fn every_storage_call_may_fail_once(#[case] fault: &str, #[case] calls: &str) {
        let sandbox = Sandbox::on_disk();
        write(&sandbox.path("source/f"), b"before");
        sandbox.backup(&[]);
        copy_tree(&sandbox.source(), &sandbox.path("state"));
        write(&sandbox.path("source/big"), &Random::new(1).bytes(300_000));
        copy_tree(&sandbox.store(), &sandbox.path("good"));
        let mut survived = 0;
        for k in 1..200 {
            fs::remove_dir_all(sandbox.store()).expect("rm -r");
            copy_tree(&sandbox.path("good"), &sandbox.store());
            let done = sandbox
                .scrubbed(Path::new("strace"))
                .args(["-f", "-qq", "-o", "trace", "-e", &format!("trace={calls}")])
                .args(["-e", &format!("inject={calls}:{fault}:when={k}")])
                .arg(freezer_binary())
                .args([
                    "backup",
                    "source",
                    "--name",
                    "t",
                    "--host",
                    "h",
                    "--max-segment-size",
                    "64K",
                    "--to",
                    &sandbox.url(),
                ])
                .args(["--compression", "none", "--quiet"])
                .run();
            let trace = fs::read_to_string(sandbox.path("trace")).unwrap_or_default();
            let hit =
                trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL") || done.signal == Some(9);
            if !hit {
                survived = k;
                break;
            }
            let done = if fault.starts_with("signal") {
                done
            } else {
                done.no_crash()
            };
            let stored = backups(&sandbox.store(), "h_t");
            if done.code == Some(0) {
                assert_eq!(stored.len(), 2, "call {k}: success without a backup\n{done}");
            }
            for backup in &stored {
                assert!(
                    fs::metadata(backup.object(Part::Metadata)).is_ok_and(|m| m.len() > 2),
                    "call {k}: an empty commit"
                );
            }
            if stored.len() == 2 {
                let restored = sandbox.restore("whole", &[]);
                assert_same(&sandbox.source(), &restored, &[]);
                fs::remove_dir_all(sandbox.path("whole")).expect("rm -r");
            } else {
                assert_recovered(&sandbox, &format!("call {k}"));
            }
        }
        assert!(
            survived > 5,
            "the sweep ended after {survived} calls: it injected nothing"
        );
    }
}

/// They mount file systems in a name space of their own. `tests/run.sh` leaves them out where that is impossible.
mod needs_mounts {
    use super::*;

    /// A small disk, filled at several stages: what is there stays good, and the message says what is the matter.
    #[rstest]
    fn a_full_disk_is_said_and_leaves_nothing(#[values(64, 128, 256, 512, 1024, 1200)] spare_kib: u64) {
        let sandbox = Sandbox::new();
        write(&sandbox.path("small/f"), b"small");
        write(&sandbox.path("big/f"), &Random::new(3).bytes(1));
        let noise: Vec<u8> = {
            let mut random = Random::new(5);
            (0..150_000).flat_map(|_| random.word().to_le_bytes()).collect()
        };
        write(&sandbox.path("big/noise"), &noise);
        let size = spare_kib + 100;
        let script = format!(
            r#"
            mount -t tmpfs -o size={size}k none store
            FREEZER backup small --name t --host h --to local:store
            find store -type f | sort > before
            code=0; FREEZER backup big --name t --host h --to local:store --max-segment-size 64K 2> errors || code=$?
            echo "code $code"; cat errors >&2
            if [ $code != 0 ]; then
                grep -qiE 'space|full' errors || {{ echo "the error doesn't say that the disk is full"; exit 90; }}
                test "$(ls store/metadata/tar/h_t/*/ | wc -l)" = 1 || {{ echo "something looks like a backup"; exit 91; }}
                find store -type f | sort | diff before - || {{ echo "left behind"; exit 92; }}
            fi
            FREEZER restore --name t --host h --from local:store --target out
            FREEZER check --from local:store --read-data
            "#
        )
        .replace("FREEZER", &freezer_binary().display().to_string());
        let done = sandbox
            .scrubbed(Path::new("unshare"))
            .args(["-m", "bash", "-ec", &script])
            .run()
            .no_crash()
            .expect(0);
        let state = if done.text().contains("code 0") {
            "big"
        } else {
            "small"
        };
        assert_same(&sandbox.path(state), &sandbox.path("out"), &[]);
        assert!(
            spare_kib >= 1200 || state == "small",
            "{spare_kib} KiB should not have been enough\n{done}"
        );
    }

    #[test]
    fn a_full_target_disk_is_said() {
        let sandbox = Sandbox::new();
        let noise: Vec<u8> = {
            let mut random = Random::new(5);
            (0..200_000).flat_map(|_| random.word().to_le_bytes()).collect()
        };
        write(&sandbox.path("source/noise"), &noise);
        sandbox.backup(&[]);
        fs::create_dir(sandbox.path("mnt")).expect("mkdir");
        let script = format!(
            "mount -t tmpfs -o size=500k none mnt; code=0; {} restore --name t --host h --from {} --target mnt/out || code=$?; \
             ls -A mnt/out >&2; exit $code",
            freezer_binary().display(),
            sandbox.url()
        );
        let done = sandbox
            .scrubbed(Path::new("unshare"))
            .args(["-m", "bash", "-c", &script])
            .run()
            .no_crash();
        assert!(matches!(done.code, Some(1 | 3)), "{done}");
        let words = done.stderr.to_lowercase();
        assert!(words.contains("space") || words.contains("full"), "{done}");
    }

    #[rstest]
    #[case::storage("store", "backup source --name t --host h --to local:store")]
    #[case::target(
        "out",
        "restore --name t --host h --from local:store --target out --overwrite"
    )]
    fn a_read_only_directory_is_said(#[case] place: &str, #[case] words: &str) {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        sandbox.backup(&[]);
        fs::create_dir(sandbox.path("out")).expect("mkdir");
        let script = format!(
            "mount --bind {place} {place}; mount -o remount,ro,bind {place}; exec {} {words}",
            freezer_binary().display()
        );
        let done = sandbox
            .scrubbed(Path::new("unshare"))
            .args(["-m", "bash", "-c", &script])
            .run()
            .no_crash();
        assert!(matches!(done.code, Some(1 | 3)), "{done}");
        let done = done.says("read-only");
        assert_eq!(backups(&sandbox.store(), "h_t").len(), 1, "{done}");
    }
}

/// They become another user, or make what only root can make. `tests/run.sh` leaves them out where that is impossible.
mod needs_root {
    use super::*;

    /// A storage that can't be written to by this user.
    #[test]
    fn a_storage_without_permission_is_said() {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        program("chmod")
            .args(["a+rX"])
            .args([sandbox.path("."), sandbox.source()])
            .run()
            .expect(0);
        let done = sandbox
            .scrubbed(Path::new("setpriv"))
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(freezer_binary())
            .args([
                "backup",
                "source",
                "--name",
                "t",
                "--host",
                "h",
                "--to",
                &sandbox.url(),
            ])
            .run()
            .no_crash()
            .expect(1)
            .says("permission denied");
        assert_eq!(fs::read_dir(sandbox.store()).expect("store").count(), 0, "{done}");
    }
}
