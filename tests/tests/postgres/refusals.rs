//! What servers and places refuse: nothing is committed, and the message says what to do.

use freezer_tests::{backups, write};

use crate::database::Database;

/// Statements that count the sessions of user freezer.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freezer'";
/// All kinds of backup.
const KINDS: [&str; 3] = ["physical", "logical", "base"];

fn login(database: &Database, user: &str, password: &str, more: &str) {
    let port = database.server.value("PORT");
    let text =
        format!("[client]\nhost = 127.0.0.1\nport = {port}\nuser = {user}\npassword = {password}\n{more}\n");
    write(&database.sandbox.path(user), text.as_bytes());
}

#[track_caller]
fn assert_nothing_stored(database: &Database) {
    assert!(backups(&database.sandbox.store(), "h_t").is_empty());
}

mod needs_postgres {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::database::{sandbox, server_on};

    #[test]
    fn a_wrong_password_and_no_server() {
        let database = Database::shared();
        login(&database, "freezer", "wrong-canary", "");
        for kind in KINDS {
            let told = database.backup_as("freezer", kind, &[]).run().expect(1);
            let told = told.says("password authentication failed for user \"freezer\"");
            drop(told.says("28P01").never_says("wrong-canary"));
        }
        for (option, words) in [
            ("port=1", "connection refused"),
            ("socket=/nonexistent/.s.PGSQL.5432", "/nonexistent/.s.PGSQL.5432"),
            ("database=nowhere", "\"nowhere\" does not exist"),
        ] {
            let told = database
                .backup("logical", &["--mode-option", option])
                .run()
                .expect(1);
            drop(told.says(words));
        }
        assert_nothing_stored(&database);
    }

    #[test]
    fn a_missing_privilege_is_named_with_the_statement_that_gives_it() {
        let database = Database::own(&[]);
        database.fill();
        login(&database, "weak", "secret", "database = shop");
        for (kind, words) in [
            ("physical", "GRANT pg_read_all_settings TO weak"),
            (
                "logical",
                "the right to read public.plain, and perhaps others: as a superuser, GRANT pg_read_all_data TO weak",
            ),
            ("base", "ALTER ROLE weak REPLICATION"),
        ] {
            drop(database.backup_as("weak", kind, &[]).run().expect(1).says(words));
        }
        database.sql("GRANT pg_read_all_settings TO weak");
        let told = database.backup_as("weak", "physical", &[]).run().expect(1);
        let advice =
            "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO weak";
        drop(told.says(advice).says("in the database \"shop\""));
        assert_nothing_stored(&database);
    }

    #[test]
    fn a_role_that_must_use_tls_needs_a_trusted_certificate() {
        let database = Database::shared();
        // The place of the refusal shows that the login went well: the files lie where nothing can be frozen.
        let physical = |more: &[&str]| database.backup_as("tlsonly", "physical", more).run().expect(1);
        let authority = format!("sslrootcert = {}", database.server.value("AUTHORITY"));
        login(&database, "tlsonly", "secret", "");
        drop(physical(&[]).says("no encryption"));
        drop(physical(&["--mode-option", "tls=true"]).says("certificate isn't trusted"));
        let told = physical(&["--mode-option", "tls-insecure=true"]);
        drop(told.says("no way to make a snapshot").says("isn't checked"));
        login(&database, "tlsonly", "secret", &authority);
        drop(physical(&[]).says("no way to make a snapshot"));
        assert_nothing_stored(&database);
    }

    #[test]
    fn without_a_snapshot_backup_mode_ends_and_other_kinds_are_named() {
        let database = Database::own(&[]);
        let told = database.backup("physical", &[]).run().expect(1);
        drop(
            told.says("no way to make a snapshot")
                .says("kind=base or kind=logical"),
        );
        database.await_answer(SESSIONS, "0");
        // Nobody else's backup is in the way of the next.
        drop(
            database
                .backup("physical", &[])
                .run()
                .expect(1)
                .says("no way to make a snapshot"),
        );
        assert_nothing_stored(&database);
    }

    #[test]
    fn another_directory_than_the_servers_is_refused() {
        let database = Database::shared();
        let path = database.sandbox.source();
        let told = database.backup_of(path.to_str().expect("UTF-8"), "login", "physical");
        drop(
            told.run()
                .expect(1)
                .says(&format!("name \"{}\"", database.server.value("DATADIR"))),
        );
    }

    #[test]
    fn a_log_or_a_tablespace_elsewhere_is_refused() {
        let sandbox = sandbox();
        let log = sandbox.path("log");
        let database = Database::on(
            freezer_tests::Server::start("postgres", &[("WAL", log.to_str().expect("UTF-8"))]),
            sandbox,
        );
        let told = database.backup("physical", &[]).run().expect(1);
        drop(told.says("pg_wal is a link").says("kind=base"));
        let space = log.join("space");
        std::fs::create_dir(&space).expect("a directory");
        freezer_tests::program("chown")
            .arg("--reference")
            .args([&log, &space])
            .run()
            .expect(0);
        database.sql(&format!("CREATE TABLESPACE fast LOCATION '{}'", space.display()));
        let told = database.backup("physical", &[]).run().expect(1);
        drop(told.says("tablespace \"fast\" lies in").says("outside of"));
        drop(
            database
                .backup("base", &[])
                .run()
                .expect(1)
                .says("tablespace \"fast\""),
        );
        assert_nothing_stored(&database);
    }

    #[test]
    fn a_standby_is_refused() {
        let database = Database::own(&[]);
        let data = database.sandbox.path("standby");
        freezer_tests::program("pg_basebackup")
            .args([
                "-U",
                "postgres",
                "-h",
                database.server.value("SOCKETS"),
                "-p",
                database.server.value("PORT"),
            ])
            .args(["-R", "-c", "fast", "-D"])
            .arg(&data)
            .env("PGPASSWORD", "secret")
            .run()
            .expect(0);
        freezer_tests::program("chown")
            .args(["-R", "--reference", database.server.value("DATADIR")])
            .arg(&data)
            .run()
            .expect(0);
        let standby = server_on(&data, &[]);
        drop(
            standby
                .backup("physical", &[])
                .run()
                .expect(1)
                .says("is a standby")
                .says("primary"),
        );
        assert_nothing_stored(&standby);
    }

    #[test]
    fn a_checkpoint_that_takes_too_long_is_given_up() {
        let database = Database::own(&[]);
        let pid = database.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
        let pid = pid
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process");
        kill_process(pid, Signal::STOP).expect("it is there");
        let told = database
            .backup("physical", &["--mode-option", "checkpoint-timeout=2"])
            .run();
        database.await_answer(SESSIONS, "0");
        kill_process(pid, Signal::CONT).expect("it is there");
        drop(told.expect(1).says("wait longer with checkpoint-timeout"));
        assert_nothing_stored(&database);
    }

    mod needs_root {
        use std::path::Path;

        use super::*;

        #[test]
        fn files_that_only_others_may_read_are_refused() {
            let database = Database::shared();
            let sandbox = &database.sandbox;
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            freezer_tests::program("chown")
                .arg("65534")
                .args([sandbox.path("login"), sandbox.path("home"), sandbox.store()])
                .run()
                .expect(0);
            let conf = format!("postgres-conf={}", sandbox.path("login").display());
            let told = sandbox
                .scrubbed(Path::new("setpriv"))
                .args(nobody)
                .arg(freezer_tests::freezer_binary())
                .args([
                    "backup",
                    database.server.value("DATADIR"),
                    "--name",
                    "t",
                    "--host",
                    "h",
                ])
                .args([
                    "--to",
                    &sandbox.url(),
                    "--mode",
                    "postgres",
                    "--mode-option",
                    &conf,
                ])
                .run();
            drop(told.expect(1).says("can't be read: run freezer as root"));
            assert_nothing_stored(&database);
        }
    }
}
