//! Backups of frozen views: by LVM in a kernel of its own, by btrfs and by a freeze on file systems in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use freezer_tests::{Sandbox, backups, write};
use rustix::process::Signal;

mod needs_uml {
    use std::time::Duration;

    use freezer_tests::{freezer_binary, program, workspace};

    /// Runs cases of `tests/snapshots/lvm.sh`, all in one kernel: starting it costs more than some cases.
    #[track_caller]
    fn cases(names: &[&str]) {
        let folder = tempfile::Builder::new()
            .prefix("freezer-uml.")
            // That kernel has a /dev of its own, so this must not lie in memory.
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let finished = program(workspace().join("tests/servers/uml-run.sh"))
            .arg(folder.path())
            .args(["-d", "1500M", "-t", "500", "--"])
            .arg(workspace().join("tests/snapshots/lvm.sh"))
            .arg(freezer_binary())
            .args(names)
            .limit(Duration::from_secs(540))
            .run();
        let text = finished.text();
        for name in names {
            assert!(
                text.contains(&format!("ok {name} ")),
                "{name}:\n{text}\n{}",
                finished.stderr
            );
        }
    }

    #[test]
    fn a_logical_volume_is_stored_as_it_was_at_one_moment() {
        cases(&["thick_ext4", "thick_xfs", "thin", "levels", "bind", "original"]);
    }

    #[test]
    fn nothing_is_left_of_a_snapshot_however_its_run_ends_and_an_overflow_is_no_backup() {
        cases(&[
            "options",
            "refusals",
            "killed",
            "interrupted",
            "twice_interrupted",
            "overflow",
        ]);
    }
}

/// Runs a program of the system, which must succeed.
#[track_caller]
fn system(command: &mut Command) {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let status = command.env("PATH", path).status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

/// A file system in a file, mounted for one test.
struct Mounted {
    sandbox: Sandbox,
}

impl Mounted {
    #[track_caller]
    fn new(kind: &str, mebibytes: u64) -> Self {
        let sandbox = Sandbox::on_disk();
        let image = sandbox.path("image");
        let file = fs::File::create(&image).expect("an image");
        file.set_len(mebibytes << 20).expect("its size");
        system(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        system(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(sandbox.source()),
        );
        Self { sandbox }
    }

    fn state(&self) -> PathBuf {
        self.sandbox.path("state")
    }

    fn backup(&self, path: &Path, more: &[&str]) -> freezer_tests::Program {
        self.sandbox
            .freezer(["backup"])
            .arg(path)
            .args(["--name", "t", "--host", "h", "--to", &self.sandbox.url()])
            .args(more)
            .env("XDG_STATE_HOME", self.state())
    }

    /// Neither a record nor a mount nor a snapshot.
    #[track_caller]
    fn assert_gone(&self) {
        let kept: Vec<_> = fs::read_dir(self.state().join("freezer/snapshots"))
            .expect("the journal's directory")
            .collect();
        assert!(kept.is_empty(), "{kept:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
        assert!(!mounts.contains(&*self.state().to_string_lossy()), "{mounts}");
        assert!(!self.has_snapshot());
    }

    /// Whether the subvolume holds a snapshot.
    fn has_snapshot(&self) -> bool {
        let entries = fs::read_dir(self.sandbox.source()).expect("the source");
        let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with(".freezer-snapshot-"))
    }

    /// Starts a backup and stops the program once its snapshot is mounted.
    #[track_caller]
    fn start(&self, more: &[&str]) -> freezer_tests::Running {
        let mut running = self.backup(&self.sandbox.source(), more).start();
        let state = self.state();
        let is_mounted = || {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            mounts.contains(&*state.join("freezer/snapshots/mount_").to_string_lossy())
        };
        assert!(
            running.until(is_mounted),
            "no snapshot came: {}",
            running.wait().stderr
        );
        running.signal(Signal::STOP);
        running
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What a failed test left goes first.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let state = self.state();
        let left = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for left in left.filter(|point| point.starts_with(&*state.to_string_lossy())) {
            drop(Command::new("umount").arg(left).status());
        }
        drop(
            Command::new("umount")
                .arg("-l")
                .arg(self.sandbox.source())
                .status(),
        );
    }
}

mod needs_mounts {
    use super::*;

    fn subvolume(path: &Path) {
        system(
            Command::new("btrfs")
                .args(["-q", "subvolume", "create"])
                .arg(path),
        );
    }

    #[test]
    fn a_subvolume_is_stored_as_it_was_at_one_moment() {
        let mounted = Mounted::new("btrfs", 128);
        let source = mounted.sandbox.source();
        write(&source.join("a/file"), b"before");
        write(&source.join("gone"), b"gone");
        let running = mounted.start(&["--snapshot"]);
        assert!(mounted.has_snapshot());
        write(&source.join("a/file"), b"after");
        write(&source.join("new"), b"new");
        fs::remove_file(source.join("gone")).expect("removed");
        running.signal(Signal::CONT);
        running.wait().expect(0);
        mounted.assert_gone();
        let out = mounted.sandbox.restore("out", &[]);
        assert_eq!(fs::read(out.join("a/file")).expect("restored"), b"before");
        assert_eq!(fs::read(out.join("gone")).expect("restored"), b"gone");
        assert!(!out.join("new").exists());
        assert_eq!(fs::read_dir(&out).expect("restored").count(), 2);
    }

    #[test]
    fn a_level_without_changes_has_none_although_each_snapshot_is_another_file_system() {
        let mounted = Mounted::new("btrfs", 128);
        let source = mounted.sandbox.source();
        for number in 0..50 {
            write(&source.join(format!("d/{number}")), b"content");
        }
        let path = source.join("d");
        // A file that changed just before it is looked at counts as changed, to be safe.
        std::thread::sleep(std::time::Duration::from_millis(100));
        mounted.backup(&path, &["--snapshot=btrfs"]).run().expect(0);
        let finished = mounted.backup(&path, &["--snapshot", "--json"]).run().expect(0);
        let document = finished.json();
        let (level, counts) = (&document["result"]["level"], &document["result"]["counts"]);
        assert_eq!(level, 1);
        assert_eq!(
            (&counts["new"], &counts["changed"]),
            (&0.into(), &0.into()),
            "{counts}"
        );
        let manifest = mounted.sandbox.verb("info", &[]).run();
        assert!(!manifest.text().contains("mount_"), "{}", manifest.text());
        mounted.assert_gone();
    }

    #[test]
    fn nested_subvolumes_are_told_and_snapshots_of_others_left_out() {
        let mounted = Mounted::new("btrfs", 128);
        let source = mounted.sandbox.source();
        write(&source.join("file"), b"x");
        subvolume(&source.join("nested"));
        write(&source.join("nested/inside"), b"y");
        let foreign = source.join(format!(".freezer-snapshot-{}", "0".repeat(32)));
        let mut btrfs = Command::new("btrfs");
        system(
            btrfs
                .args(["-q", "subvolume", "snapshot"])
                .arg(&source)
                .arg(&foreign),
        );
        let told = mounted.backup(&source, &["--snapshot"]).run().expect(0);
        let told = told.says(&format!(
            "{} is a subvolume of its own",
            source.join("nested").display()
        ));
        drop(told.never_says("000000"));
        // The tree as it stands is backed up without them, too.
        mounted
            .backup(&source, &["--cross-file-systems", "--full"])
            .run()
            .expect(0);
        let out = mounted.sandbox.restore("out", &[]);
        assert!(
            out.join("nested/inside").exists() && !out.join(foreign.file_name().expect("a name")).exists()
        );
        system(
            Command::new("btrfs")
                .args(["-q", "subvolume", "delete"])
                .arg(&foreign),
        );
        mounted.assert_gone();
    }

    #[test]
    fn a_killed_run_s_subvolume_goes_with_the_next_run_and_an_interrupted_one_s_at_once() {
        let mounted = Mounted::new("btrfs", 128);
        write(&mounted.sandbox.source().join("file"), b"x");
        let running = mounted.start(&["--snapshot"]);
        running.signal(Signal::KILL);
        running.wait();
        assert!(mounted.has_snapshot());
        // Another backup, of a path on another file system.
        let told = mounted
            .sandbox
            .freezer([
                "backup",
                "--name",
                "other",
                "--host",
                "h",
                "--to",
                &mounted.sandbox.url(),
            ])
            .arg(mounted.sandbox.path("home"))
            .env("XDG_STATE_HOME", mounted.state())
            .run()
            .expect(0);
        drop(told.says("undone, left by a killed run: snapshot btrfs"));
        mounted.assert_gone();
        let running = mounted.start(&["--snapshot"]);
        running.signal(Signal::INT);
        running.signal(Signal::CONT);
        running.wait().expect(130);
        mounted.assert_gone();
        assert_eq!(backups(&mounted.sandbox.store(), "h_t").len(), 0);
    }

    #[test]
    fn a_frozen_file_system_is_thawed_in_time_and_a_backup_that_takes_longer_fails() {
        let mounted = Mounted::new("ext4", 32);
        let source = mounted.sandbox.source();
        write(&source.join("file"), b"x");
        let refused = mounted.backup(&source, &["--snapshot"]).run().expect(1);
        drop(refused.says("neither btrfs nor a logical volume").says("freeze"));
        mounted.backup(&source, &["--snapshot=freeze"]).run().expect(0);
        write(&source.join("file"), b"writable");
        mounted.assert_gone();
        // Far longer than it takes to freeze; the program doesn't read while it is stopped.
        let more = [
            "--snapshot=freeze",
            "--mode-option",
            "freeze-seconds=1",
            "--upload-limit",
            "32K",
        ];
        write(&source.join("noise"), &noise(160 << 10));
        let told = mounted.backup(&source, &more).run().expect(1);
        drop(told.says("was thawed after 1 seconds"));
        write(&source.join("file"), b"writable again");
        mounted.assert_gone();
    }

    #[test]
    fn a_killed_run_s_frozen_file_system_is_thawed_at_once() {
        let mounted = Mounted::new("ext4", 32);
        let source = mounted.sandbox.source();
        write(&source.join("noise"), &noise(256 << 10));
        let mut running = mounted
            .backup(&source, &["--snapshot=freeze", "--upload-limit", "1K"])
            .start();
        // Not before the record is whole: an empty one was never acted upon.
        let journal = mounted.state().join("freezer/snapshots");
        let whole = |path: &Path| fs::read(path).is_ok_and(|text| text.ends_with(b"\n"));
        assert!(running.until(|| {
            let entries = fs::read_dir(&journal).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| whole(&entry.path()))
        }));
        running.signal(Signal::KILL);
        running.wait();
        // Would wait for ever.
        write(&source.join("file"), b"writable");
        let told = mounted.backup(&source, &[]).run().expect(0);
        drop(told.says("undone, left by a killed run: snapshot freeze of"));
        mounted.assert_gone();
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut random = freezer_tests::Random::new(5);
        (0..bytes / 8).flat_map(|_| random.word().to_le_bytes()).collect()
    }
}

#[test]
fn a_snapshot_is_of_one_file_system_and_only_root_s() {
    let sandbox = Sandbox::new();
    let refused = sandbox
        .backup_command(&["--snapshot", "--cross-file-systems"])
        .run()
        .expect(2);
    drop(refused.says("cannot be used with"));
    let refused = sandbox.backup_command(&["--snapshot=zfs"]).run();
    assert_ne!(refused.code, Some(0));
    drop(refused.says("snapshot"));
}
