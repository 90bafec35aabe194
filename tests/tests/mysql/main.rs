//! Mode mysql against real servers: three kinds of backup of tables that are written to meanwhile, their restores, and what a server
//! refuses. Nothing is committed that isn't whole, no lock outlives its run, and the password shows nowhere.

mod database;
mod oracle;
mod refusals;
mod streams;

use database::{Database, MARIADB, MYSQL, Make};
use freezer_tests::backups;
use rustix::process::Signal;

/// Statements that count the sessions of user freezer.
const SESSIONS: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'freezer'";

mod needs_mariadb {
    use super::*;

    #[test]
    fn files_read_under_a_lasting_lock_make_a_server_again() {
        let database = Database::own(&[]);
        database.fill();
        let writer = database.writer();
        let lasting = ["--mode-option", "mysql-lock-during-backup=true"];
        let told = database.backup("physical", &lasting).run().expect(0);
        drop(writer);
        drop(
            told.says("half-written")
                .tells("FLUSH TABLES WITH READ LOCK was held for"),
        );
        let data = database.sandbox.restore("data", &[]);
        database.assert_holds(&database.server_on(&data));
        database.await_answer(SESSIONS, "0");
    }

    #[test]
    fn a_lock_goes_with_an_interrupted_and_with_a_killed_run() {
        let database = Database::own(&[]);
        database.fill();
        for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
            let more = ["--mode-option", "lock-during-backup=true", "--upload-limit", "1K"];
            let mut running = database.backup("physical", &more).start();
            assert!(running.until(|| !database.is_writable()), "nothing was locked");
            running.signal(signal);
            assert_eq!(running.wait().code, code);
            database.await_answer(SESSIONS, "0");
            assert!(database.is_writable(), "still locked after {signal:?}");
        }
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
    }
}

mod needs_mounts {
    use super::*;

    mod needs_mariadb {
        use super::*;

        #[test]
        fn a_snapshot_under_a_short_lock_makes_a_server_again() {
            assert_point_in_time(&MARIADB, "BACKUP STAGE");
        }
    }

    mod needs_mysql {
        use super::*;

        #[test]
        fn a_snapshot_under_a_short_lock_makes_a_server_again() {
            assert_point_in_time(&MYSQL, "FLUSH TABLES WITH READ LOCK");
        }
    }

    /// A snapshot holds what the server had at one moment, which the noted place of the binary log is, too.
    #[track_caller]
    fn assert_point_in_time(make: &'static Make, lock: &str) {
        let (database, mounted) = Database::frozen(make);
        database.fill();
        let writer = database.writer();
        let document = database.backup("physical", &["--json"]).run().expect(0).json();
        drop(writer);
        let note = &document["result"]["mode_note"];
        let summary = note["summary"].as_str().expect("a summary");
        assert!(summary.starts_with(&format!("{lock} was held for ")), "{summary}");
        assert!(summary.contains(", of which the snapshot took "), "{summary}");
        let out = database.sandbox.restore("out", &[]);
        // The log in the snapshot ends where the note says that it stood.
        let file = note["binary_log"]["file"].as_str().expect("a file");
        let size = std::fs::metadata(out.join(file)).expect("the log").len();
        assert_eq!(note["binary_log"]["position"], size, "{note}");
        let restored = database.server_on(&out);
        database.assert_holds(&restored);
        let time = |name: &str| note[name].as_u64().expect("a time");
        let beyond = time("lock_milliseconds") - time("snapshot_milliseconds");
        assert!(beyond < 1000, "the lock outlived the snapshot by {beyond} ms");
        drop(restored);
        drop(database);
        drop(mounted);
    }
}
