//! Dumps and hot copies: streams that count only if their tool ended well.

mod needs_mariadb {
    use std::fs;
    use std::path::Path;

    use freezer_tests::{backups, program, write};

    use crate::database::{Database, client, server_on};

    /// A session of mariadb-dump that waits for a table.
    const WAITING: &str =
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'";

    #[test]
    fn a_dump_makes_an_empty_server_the_same() {
        let database = Database::own(&[]);
        database.fill();
        database.sql(
            "CREATE PROCEDURE shop.answer() SELECT 42; CREATE VIEW shop.view AS SELECT * FROM shop.inno",
        );
        let writer = database.writer();
        database.backup("logical", &[]).run().expect(0);
        drop(writer);
        let empty = Database::own(&[]);
        let port = format!("port={}", empty.server.value("PORT"));
        write(&database.sandbox.path("admin"), b"user = root\n");
        let socket = format!("socket={}", empty.server.value("SOCKET"));
        let conf = format!("mysql-conf={}", database.sandbox.path("admin").display());
        let restore = [
            "--mode",
            "mysql",
            "--mode-option",
            &conf,
            "--mode-option",
            &socket,
            "--mode-option",
            &port,
        ];
        let url = database.sandbox.url();
        let command = database
            .sandbox
            .freezer(["restore", "--name", "t", "--host", "h", "--from", &url]);
        command.args(restore).run().expect(0);
        database.assert_holds(&empty);
        assert_eq!(empty.sql("CALL shop.answer()").trim(), "42");
    }

    #[test]
    fn a_dump_can_be_read_without_freezer() {
        let database = Database::own(&[]);
        database.fill();
        let socket = format!("socket={}", database.server.value("SOCKET"));
        database
            .backup("logical", &["--mode-option", &socket])
            .run()
            .expect(0);
        let out = database.sandbox.restore("out", &[]);
        let text = fs::read_to_string(out.join("dump.sql")).expect("the dump");
        assert!(
            text.contains("CREATE DATABASE")
                && text.trim_end().ends_with('-') == text.contains("-- Dump completed")
        );
        let empty = Database::own(&[]);
        client(&empty.server).stdin(text).run().expect(0);
        database.assert_holds(&empty);
    }

    #[test]
    fn a_hot_copy_makes_a_server_again() {
        let database = Database::own(&[]);
        database.fill();
        database.sql("GRANT ALL ON *.* TO freezer@'127.0.0.1'");
        let writer = database.writer();
        database.backup("hot", &[]).run().expect(0);
        drop(writer);
        let out = database.sandbox.restore("out", &[]);
        let data = database.sandbox.path("data");
        fs::create_dir(&data).expect("a directory");
        let stream = fs::read(out.join("copy.xbstream")).expect("the copy");
        program("mbstream")
            .args(["-x", "-C"])
            .arg(&data)
            .stdin(stream)
            .run()
            .expect(0);
        let target = format!("--target-dir={}", data.display());
        program("mariadb-backup")
            .args(["--prepare", &target])
            .run()
            .expect(0);
        database.assert_holds(&server_on(&data));
    }

    #[test]
    fn a_server_that_dies_in_the_middle_leaves_no_backup() {
        let database = Database::own(&[]);
        database.fill();
        let holder = database.holder();
        let mut running = database.backup("logical", &[]).start();
        database.await_answer(WAITING, "1");
        assert!(!running.ended());
        database.server.kill("mariadbd");
        let told = running.wait().expect(1);
        drop(told.says("mariadb-dump"));
        drop(holder);
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
    }

    #[test]
    fn the_password_shows_nowhere() {
        const CANARY: &str = "c4n4ry#\\\"quoted";
        let database = Database::own(&[]);
        database.fill();
        database.sql("ALTER USER freezer@'127.0.0.1' IDENTIFIED BY 'c4n4ry#\\\\\"quoted'");
        let port = database.server.value("PORT");
        let login = format!("[default]\nport = {port}\nuser = freezer\npassword = {CANARY}\n");
        write(&database.sandbox.path("login"), login.as_bytes());
        let holder = database.holder();
        let running = database.backup("logical", &["--log-level", "debug"]).start();
        database.await_answer(WAITING, "1");
        let mut tools = 0;
        for entry in fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
            for name in ["cmdline", "environ"] {
                let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains("c4n4ry"), "{} of {text}", name);
                tools += usize::from(name == "cmdline" && text.contains("mariadb-dump"));
            }
        }
        assert!(tools > 0, "no tool was running");
        drop(holder);
        drop(running.wait().expect(0).never_says("c4n4ry"));
        assert_not_in(&database.sandbox.store());
        assert_not_in(&database.sandbox.path("state"));
        assert_not_in(&database.sandbox.path("home"));
    }

    /// No file below holds the canary.
    #[track_caller]
    fn assert_not_in(directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.filter_map(Result::ok) {
            if entry.path().is_dir() {
                assert_not_in(&entry.path());
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap_or_default();
            let found = bytes.windows(6).any(|window| window == b"c4n4ry");
            assert!(!found, "{}", entry.path().display());
        }
    }
}
