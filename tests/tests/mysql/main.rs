//! Mode mysql against real servers: three kinds of backup of tables that are written to meanwhile, their restores, and what a server
//! refuses. Nothing is committed that isn't whole, no lock outlives its run, and the password shows nowhere.

mod database;
mod refusals;
mod streams;

use database::{Database, server_on};
use freezer_tests::{Mounted, Sandbox, Server, backups};
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
        database.assert_holds(&server_on(&data));
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
            let sandbox = Sandbox::on_disk();
            let mounted = Mounted::btrfs(&sandbox, 400);
            let data = sandbox.source().join("mysql");
            let options = [("DATADIR", data.to_str().expect("UTF-8"))];
            let database = Database::on(Server::start("mariadb", &options), sandbox);
            database.fill();
            let writer = database.writer();
            let document = database.backup("physical", &["--json"]).run().expect(0).json();
            drop(writer);
            let note = &document["result"]["mode_note"];
            let summary = note["summary"].as_str().expect("a summary");
            assert!(summary.starts_with("BACKUP STAGE was held for "), "{summary}");
            let out = database.sandbox.restore("out", &[]);
            // The noted place of the binary log is that of the moment: the log in the snapshot ends there.
            let file = note["binary_log"]["file"].as_str().expect("a file");
            let size = std::fs::metadata(out.join(file)).expect("the log").len();
            assert_eq!(note["binary_log"]["position"], size, "{note}");
            let restored = server_on(&out);
            database.assert_holds(&restored);
            let time = note["lock_milliseconds"].as_u64().expect("a time");
            assert!(time < 60_000, "{time} ms");
            drop(restored);
            drop(database);
            drop(mounted);
        }
    }
}
