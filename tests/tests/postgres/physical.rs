//! The data directory in a snapshot: a server starts on what is restored.

mod needs_mounts {
    mod needs_postgres {
        use std::path::{Path, PathBuf};

        use freezer_tests::Server;

        use crate::database::{Database, Mounted, sandbox, server_on};

        /// Statements that count the sessions of user freezer.
        const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freezer'";

        /// A server whose data directory can be frozen.
        fn on_btrfs(more: &[(&str, &str)]) -> (Database, Mounted) {
            let sandbox = sandbox();
            let mounted = Mounted::btrfs(&sandbox);
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
    }
}
