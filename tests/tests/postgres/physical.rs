//! The data directory in a snapshot: a server starts on what is restored.

mod needs_mounts {
    mod needs_postgres {
        use std::path::{Path, PathBuf};

        use freezer_tests::{Finished, Mounted, Server, program};

        use crate::database::{Database, sandbox, server_on};

        /// Statements that count the sessions of user freezer.
        const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freezer'";

        /// A server whose data directory can be frozen.
        fn on_btrfs(more: &[(&str, &str)]) -> (Database, Mounted) {
            let sandbox = sandbox();
            let mounted = Mounted::btrfs(&sandbox, 600);
            let data = sandbox.source().join("data");
            let options = [&[("DATADIR", data.to_str().expect("UTF-8"))], more].concat();
            let database = Database::on(Server::start("postgres", &options), sandbox);
            database.fill();
            (database, mounted)
        }

        fn names(directory: PathBuf) -> Vec<String> {
            let entries = std::fs::read_dir(&directory).expect("a directory");
            entries
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect()
        }

        #[track_caller]
        fn assert_left_out(data: &Path) {
            for file in [
                "postmaster.pid",
                "postmaster.opts",
                "backup_label",
                "recovery.signal",
            ] {
                assert!(!data.join(file).exists(), "{file}");
            }
            for directory in ["pg_replslot", "pg_stat_tmp", "pg_subtrans", "pg_notify"] {
                assert!(names(data.join(directory)).is_empty(), "{directory}");
            }
        }

        #[test]
        fn a_snapshot_in_backup_mode_makes_a_server_again_at_every_level() {
            let (database, _mounted) = on_btrfs(&[]);
            database.sql("SELECT pg_create_physical_replication_slot('held', true)");
            let writer = database.writer();
            let mut before = 0;
            for level in 0..2 {
                let told = database.backup("physical", &["--json"]).run().expect(0);
                let document = told.never_says("secret").json();
                assert_eq!(document["result"]["warning_count"], 0, "{document}");
                let note = &document["result"]["mode_note"];
                let summary = note["summary"].as_str().expect("a summary");
                assert!(summary.starts_with("backup mode was on for "), "{summary}");
                let mode = &note["backup_mode"];
                assert_eq!(mode["timeline"], 1, "{note}");
                let label = mode["backup_label"].as_str().expect("a label");
                let start = format!(
                    "START WAL LOCATION: {} (file ",
                    mode["start_lsn"].as_str().expect("a place")
                );
                assert!(
                    label.starts_with(&start) && label.contains("\nLABEL: freezer\n"),
                    "{label}"
                );
                let target = format!("out{level}");
                let out = database.sandbox.restore(&target, &[]);
                assert_left_out(&out);
                let first = mode["first_wal_file"].as_str().expect("a file");
                assert!(out.join("pg_wal").join(first).is_file(), "{first}");
                let restored = server_on(&out, &[]);
                let rows = database.assert_holds(&restored);
                assert!(
                    rows > before,
                    "level {level} has {rows} rows, as many as the one before"
                );
                before = rows;
                assert_eq!(
                    restored.sql("SELECT count(*) FROM pg_replication_slots").trim(),
                    "0"
                );
                database.await_answer(SESSIONS, "0");
            }
            drop(writer);
        }

        /// Backs up a path and restores it; answers what the restore says, and where it is.
        fn restored(database: &Database, path: &str, more: &[&str]) -> (Finished, PathBuf) {
            database.backup_of(path, "login", "physical").run().expect(0);
            let restore = database.sandbox.restore_command("out", more);
            (restore.run().expect(0), database.sandbox.path("out"))
        }

        fn give_to_server(database: &Database, files: &[PathBuf]) {
            let chown = program("chown").args(["--reference", database.server.value("DATADIR")]);
            chown.args(files).run().expect(0);
        }

        #[test]
        fn a_restored_snapshot_goes_on_with_archived_log() {
            let elsewhere = sandbox();
            let archive = elsewhere.path("archive");
            let archive = archive.to_str().expect("UTF-8");
            let (database, _mounted) = on_btrfs(&[("ARCHIVE", archive)]);
            let writer = database.writer();
            let data = database.server.value("DATADIR");
            let (told, out) = restored(&database, data, &["--mode-option", "recovery=archive"]);
            drop(told.says("set restore_command"));
            drop(writer);
            // What is later than the snapshot is in the archive alone.
            database.sql("INSERT INTO plain (word) SELECT 'later' FROM generate_series(1, 50)");
            database.sql("INSERT INTO wide (word) SELECT 'later' FROM generate_series(1, 50)");
            let file = database.sql("SELECT pg_walfile_name(pg_switch_wal())");
            let archived = Path::new(archive).join(file.trim());
            let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while !archived.is_file() {
                assert!(
                    std::time::Instant::now() < end,
                    "{} isn't archived",
                    archived.display()
                );
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            let auto = out.join("postgresql.auto.conf");
            let command = format!("restore_command = 'cp {archive}/%f %p'\n");
            std::fs::write(&auto, command).expect("a file of ours");
            give_to_server(
                &database,
                &["backup_label", "recovery.signal"].map(|name| out.join(name)),
            );
            let restored = server_on(&out, &[]);
            restored.await_answer("SELECT pg_is_in_recovery()", "f");
            database.assert_holds(&restored);
            assert_eq!(
                restored
                    .sql("SELECT count(*) FROM plain WHERE word = 'later'")
                    .trim(),
                "50"
            );
            assert_eq!(
                restored
                    .sql("SELECT timeline_id FROM pg_control_checkpoint()")
                    .trim(),
                "2"
            );
        }

        #[test]
        fn a_tablespace_below_the_path_comes_back_by_the_link_that_is_told() {
            let (database, mounted) = on_btrfs(&[]);
            let path = database.sandbox.source();
            let space = path.join("space");
            std::fs::create_dir(&space).expect("a directory of ours");
            give_to_server(&database, std::slice::from_ref(&space));
            database.sql(&format!("CREATE TABLESPACE fast LOCATION '{}'", space.display()));
            database.sql("CREATE TABLE moved TABLESPACE fast AS SELECT i FROM generate_series(1, 1000) i");
            let (told, out) = restored(&database, path.to_str().expect("UTF-8"), &[]);
            let links = names(out.join("data/pg_tblspc"));
            assert!(
                links.is_empty(),
                "a server would write to the original's files: {links:?}"
            );
            let command = told
                .stderr
                .lines()
                .find_map(|line| line.split_once("is started: "));
            let (_, command) = command.expect("a command");
            program("sh").args(["-c", command]).run().expect(0);
            // Nothing of the original is there any more.
            let data = out.join("data");
            let Database {
                server,
                sandbox: _kept,
            } = database;
            drop(server);
            drop(mounted);
            assert!(!space.exists());
            let restored = server_on(&data, &[]);
            assert_eq!(
                restored.sql("SELECT count(*), sum(i) FROM moved").trim(),
                "1000|500500"
            );
        }
    }
}
