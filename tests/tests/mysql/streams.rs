//! Dumps and hot copies: stored as they come, given back to a server, and nothing of them kept if they broke off.

use std::fs;
use std::path::Path;

use freezer_tests::{Program, backups, program, shown_by_processes};
use rustix::process::Signal;

use crate::database::Database;

/// `freezer restore` of h_t to where streams go.
fn restore(database: &Database, more: &[&str]) -> Program {
    database
        .sandbox
        .verb("restore", more)
        .env("XDG_STATE_HOME", database.sandbox.path("state"))
}

mod needs_mariadb {
    use super::*;

    #[test]
    fn a_dump_is_given_back_to_an_empty_server_by_the_mode() {
        let database = Database::own(&[]);
        database.fill();
        let writer = database.writer();
        let done = database.backup("logical", &[]).run().expect(0);
        drop(writer);
        drop(done.tells("dump.sql"));
        let empty = Database::own(&[]);
        empty.sql("GRANT ALL ON *.* TO freezer@'127.0.0.1' WITH GRANT OPTION");
        let conf = format!("mysql-conf={}", empty.sandbox.path("login").display());
        restore(&database, &["--mode", "mysql", "--mode-option", &conf])
            .run()
            .expect(0);
        let inno = "SELECT COUNT(*) FROM shop.inno";
        let count: u64 = empty.sql(inno).trim().parse().expect("a number");
        assert!(count >= 2000, "{count} rows");
        // Of one moment: what InnoDB had then, and nothing later.
        let last = empty.sql("SELECT MAX(id) FROM shop.inno");
        database.sql(&format!("DELETE FROM shop.inno WHERE id > {}", last.trim()));
        let checksum = "CHECKSUM TABLE shop.inno EXTENDED";
        assert_eq!(empty.sql(checksum), database.sql(checksum));
    }

    #[test]
    fn a_hot_copy_makes_a_server_again() {
        let database = Database::own(&[]);
        database.fill();
        let writer = database.writer();
        database.backup("hot", &[]).run().expect(0);
        drop(writer);
        let data = database.sandbox.path("data");
        fs::create_dir(&data).expect("a directory");
        let unpack = format!("mbstream -x -C {}", data.display());
        restore(&database, &["--to-command", &unpack]).run().expect(0);
        prepare(&data);
        database.assert_holds(&database.server_on(&data));
    }

    fn prepare(data: &Path) {
        let target = format!("--target-dir={}", data.display());
        program("mariadb-backup")
            .args(["--prepare", &target])
            .run()
            .expect(0);
    }

    #[test]
    fn a_server_that_is_killed_in_the_middle_of_a_dump_makes_no_backup() {
        let database = Database::own(&[]);
        database.fill();
        database.sql(
            "USE shop; CREATE TABLE large (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(200)) ENGINE=InnoDB; \
             INSERT INTO large (word) SELECT REPEAT(MD5(seq), 6) FROM seq_1_to_100000",
        );
        let slow = [
            "--upload-limit",
            "300K",
            "--compression",
            "none",
            "--max-segment-size",
            "256K",
        ];
        let mut running = database.backup("logical", &slow).start();
        let store = database.sandbox.store();
        let is_storing = || {
            program("find")
                .arg(&store)
                .args(["-type", "f", "-size", "+100k"])
                .run()
                .text()
                .len()
                > 1
        };
        assert!(running.until(is_storing), "nothing was stored");
        database.server.kill("mariadbd");
        let ended = running.wait().expect(1);
        drop(ended.says("mariadb-dump\" failed: exit code"));
        assert!(backups(&store, "h_t").is_empty());
    }

    #[test]
    fn the_password_shows_nowhere_while_a_dump_runs() {
        let database = Database::own(&[]);
        database.sql("ALTER USER freezer@'127.0.0.1' IDENTIFIED BY 'canary-11'; FLUSH PRIVILEGES");
        let login = format!(
            "host = 127.0.0.1\nport = {}\nuser = freezer\npassword = 'canary-11'\n",
            database.server.value("PORT")
        );
        freezer_tests::write(&database.sandbox.path("canary"), login.as_bytes());
        database.fill();
        let slow = ["--upload-limit", "100K", "--compression", "none", "-vv"];
        let mut running = database.backup_as("canary", "logical", &slow).start();
        let mut seen = String::new();
        let store = database.sandbox.store();
        let is_dumping = || {
            // Other tests dump, too: this one does when its place in the storage is claimed, which comes after the tool's start.
            let has_begun = fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some());
            seen = shown_by_processes();
            has_begun && seen.contains("--single-transaction")
        };
        assert!(running.until(is_dumping), "no dump was seen");
        assert!(!seen.contains("canary-11"));
        running.signal(Signal::INT);
        drop(running.wait().expect(130).never_says("canary-11"));
        let kept = program("grep")
            .args(["-rl", "canary-11"])
            .arg(database.sandbox.path("state"))
            .run();
        assert_eq!(kept.text(), "");
    }
}
