//! What becomes of a snapshot when the mode that asked for it crashes, or its run is given up.

mod needs_mounts {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use freezer_plugin::limits::LimitOverride;
    use freezer_plugin::{BackupRequest, Outcome, PluginKind};

    use crate::common::{hostile_host, run};

    /// A btrfs in a file.
    struct Btrfs {
        temp: tempfile::TempDir,
    }

    impl Btrfs {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let (image, point) = (temp.path().join("image"), temp.path().join("point"));
            std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
            std::fs::create_dir(&point).unwrap();
            system(Command::new("mkfs.btrfs").arg("-q").arg(&image));
            system(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point));
            Self { temp }
        }

        fn point(&self) -> PathBuf {
            self.temp.path().join("point")
        }

        fn entries(&self, name: &str) -> usize {
            let entries = std::fs::read_dir(self.temp.path().join(name));
            entries.map_or(0, Iterator::count)
        }
    }

    impl Drop for Btrfs {
        fn drop(&mut self) {
            drop(Command::new("/bin/umount").arg("-l").arg(self.point()).status());
        }
    }

    fn system(command: &mut Command) {
        let status = command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .status()
            .unwrap();
        assert!(status.success(), "{command:?}: {status}");
    }

    #[test]
    fn a_mode_that_crashes_leaves_its_snapshot_to_the_end_of_the_run() {
        let btrfs = Btrfs::new();
        let (temp, point) = (btrfs.temp.path(), btrfs.point());
        let plain = hostile_host(temp, LimitOverride::default());
        let sha256 = plain
            .find(PluginKind::Mode, "hostile-mode")
            .unwrap()
            .sha256()
            .to_owned();
        let grants = format!("[hostile-mode]\nsha256 = {sha256:?}\nsnapshots = [{point:?}]\n");
        std::fs::write(temp.join("grants.toml"), grants).unwrap();
        let host = hostile_host(temp, LimitOverride::default());
        let plugin = host.find(PluginKind::Mode, "hostile-mode").unwrap();
        let run = run(Vec::new());
        let request = BackupRequest {
            path: Some(Path::new(&format!("/hold{}", point.display())).to_owned()),
            ..BackupRequest::default()
        };
        let mut backup = host.prepare_backup(&plugin, request, &run.run).unwrap();
        assert_eq!((btrfs.entries("point"), btrfs.entries("state/snapshots")), (1, 2));
        let Err(crashed) = backup.next_source() else {
            panic!("it went well")
        };
        assert!(crashed.is_fatal(), "{crashed}");
        backup.finish(&Outcome::Done).unwrap_err();
        assert_eq!(btrfs.entries("point"), 1, "the host has it still");
        assert!(host.undo_leftovers(&run.run).is_empty(), "and its run lives");
        assert_eq!(run.run.release_all(), [""; 0]);
        assert_eq!((btrfs.entries("point"), btrfs.entries("state/snapshots")), (0, 0));
    }
}
