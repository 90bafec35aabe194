//! Dumps and copies: stored as they come, given back to a server, and nothing of them kept if they broke off.

use std::fs;

use freezer_tests::{Program, backups, program, shown_by_processes, write};
use rustix::process::Signal;

use crate::database::{Database, client, server_on};

/// The options of a dump.
const SHOP: [&str; 2] = ["--mode-option", "database=shop"];

/// `freezer restore` of h_t to where streams go.
fn restore(database: &Database, more: &[&str]) -> Program {
    database
        .sandbox
        .verb("restore", more)
        .env("XDG_STATE_HOME", database.sandbox.path("state"))
}

/// More than pipes and sockets hold, and what can't be compressed away.
fn add_noise(database: &Database) {
    database.sql(
        "CREATE TABLE noise AS SELECT i, (SELECT string_agg(md5((i * j)::text || random()), '') \
         FROM generate_series(1, 300) j) FROM generate_series(1, 4000) i",
    );
}

mod needs_postgres {
    use super::*;

    #[test]
    fn a_dump_of_a_database_that_is_written_to_comes_back_whole_or_not_at_all() {
        let database = Database::own(&[]);
        database.fill();
        let writer = database.writer();
        let done = database.backup("logical", &SHOP).run().expect(0);
        drop(writer);
        drop(done.tells("dump.dump"));
        let empty = Database::own(&[]);
        let port = empty.server.value("PORT");
        let login = format!("host = 127.0.0.1\nport = {port}\nuser = postgres\npassword = secret\n");
        write(&empty.sandbox.path("login"), login.as_bytes());
        let conf = format!("postgres-conf={}", empty.sandbox.path("login").display());
        let give_back = || restore(&database, &["--mode", "postgres", "--mode-option", &conf]).run();
        drop(give_back().expect(0));
        database.assert_holds(&empty);
        drop(
            give_back()
                .expect(1)
                .says("nothing was changed")
                .says("already exists"),
        );
        database.assert_holds(&empty);
    }

    #[test]
    fn a_copy_of_a_server_that_is_written_to_makes_a_server_again() {
        let database = Database::own(&[]);
        database.fill();
        let writer = database.writer();
        database.backup("base", &[]).run().expect(0);
        drop(writer);
        let data = database.sandbox.path("data");
        program("install")
            .args(["-d", "-m", "700"])
            .arg(&data)
            .run()
            .expect(0);
        program("chown")
            .args(["--reference", database.server.value("DATADIR")])
            .arg(&data)
            .run()
            .expect(0);
        let unpack = format!("tar -x -C {}", data.display());
        restore(&database, &["--to-command", &unpack]).run().expect(0);
        database.assert_holds(&server_on(&data, &[]));
    }

    #[test]
    fn a_server_that_is_killed_in_the_middle_makes_no_backup() {
        for kind in ["logical", "base"] {
            let database = Database::own(&[]);
            add_noise(&database);
            let slow = ["--upload-limit", "300K", "--compression", "none"];
            let more = [&SHOP[..], &slow, &["--max-segment-size", "256K"]].concat();
            let mut running = database.backup(kind, &more).start();
            let store = database.sandbox.store();
            let is_storing = || {
                let find = program("find").arg(&store).args(["-type", "f", "-size", "+100k"]);
                find.run().text().len() > 1
            };
            assert!(running.until(is_storing), "nothing was stored");
            database.server.kill("postgres");
            drop(running.wait().expect(1).says("failed: exit code 1"));
            assert!(backups(&store, "h_t").is_empty());
        }
    }

    #[test]
    fn a_table_that_somebody_holds_is_waited_for_only_so_long() {
        let database = Database::own(&[]);
        database.fill();
        let holder = client(&database.server)
            .args(["-c", "BEGIN; LOCK TABLE plain; SELECT pg_sleep(100)"])
            .start();
        database.await_answer(
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted",
            "1",
        );
        let more = [&SHOP[..], &["--mode-option", "lock-timeout=1"]].concat();
        let told = database.backup("logical", &more).run().expect(1);
        drop(
            told.says("LOCK TABLE public.plain")
                .says("wait longer with lock-timeout"),
        );
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
        holder.signal(Signal::KILL);
        holder.wait();
    }

    #[test]
    fn a_dump_without_the_name_of_a_database_is_refused_with_their_names() {
        let database = Database::shared();
        let told = database.backup("logical", &[]).run().expect(1);
        drop(told.says("database=NAME").says("postgres, shop"));
    }

    #[test]
    fn the_password_shows_nowhere_while_a_dump_runs() {
        let database = Database::own(&[]);
        database.sql("ALTER ROLE freezer PASSWORD 'canary-:\\11'");
        let login = format!(
            "host = 127.0.0.1\nport = {}\nuser = freezer\npassword = 'canary-:\\11'\n",
            database.server.value("PORT")
        );
        write(&database.sandbox.path("canary"), login.as_bytes());
        add_noise(&database);
        let slow = ["--upload-limit", "100K", "--compression", "none", "-vv"];
        let more = [&SHOP[..], &slow].concat();
        let mut running = database.backup_as("canary", "logical", &more).start();
        let mut seen = String::new();
        let store = database.sandbox.store();
        let is_dumping = || {
            // Other tests dump, too: this one does when its place in the storage is claimed, which comes after the tool's start.
            let has_begun = fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some());
            seen = shown_by_processes();
            has_begun && seen.contains("--lock-wait-timeout")
        };
        assert!(running.until(is_dumping), "no dump was seen");
        assert!(!seen.contains("canary-"));
        running.signal(Signal::INT);
        drop(running.wait().expect(130).never_says("canary-"));
        let kept = program("grep")
            .args(["-rl", "canary-"])
            .arg(database.sandbox.path("state"))
            .run();
        assert_eq!(kept.text(), "");
    }
}
