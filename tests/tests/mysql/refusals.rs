//! What servers refuse: nothing is committed, and the message says what to do.

mod needs_mariadb {
    use freezer_tests::{backups, write};

    use crate::database::Database;

    fn login(database: &Database, user: &str, password: &str, more: &str) {
        let port = database.server.value("PORT");
        let text = format!(
            "[client]\nhost = 127.0.0.1\nport = {port}\nuser = {user}\npassword = {password}\n{more}\n"
        );
        write(&database.sandbox.path(user), text.as_bytes());
    }

    #[track_caller]
    fn assert_nothing_stored(database: &Database) {
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
    }

    #[test]
    fn a_wrong_password_and_no_server() {
        let database = Database::shared();
        login(&database, "freezer", "wrong-canary", "");
        for kind in ["physical", "logical", "hot"] {
            let told = database.backup_as("freezer", kind, &[]).run().expect(1);
            drop(
                told.says("Access denied for user 'freezer'")
                    .says("1045")
                    .never_says("wrong-canary"),
            );
        }
        let more = ["--mode-option", "port=1"];
        drop(
            database
                .backup("logical", &more)
                .run()
                .expect(1)
                .says("connection refused"),
        );
        let more = ["--mode-option", "socket=/nonexistent/mysqld.sock"];
        drop(
            database
                .backup("logical", &more)
                .run()
                .expect(1)
                .says("/nonexistent/mysqld.sock"),
        );
        assert_nothing_stored(&database);
    }

    #[test]
    fn a_missing_privilege_is_named() {
        let database = Database::shared();
        login(&database, "weak", "secret", "");
        for (kind, privilege) in [
            ("physical", "RELOAD"),
            ("logical", "SHOW VIEW"),
            ("hot", "PROCESS"),
        ] {
            let told = database.backup_as("weak", kind, &[]).run().expect(1);
            drop(told.says(privilege).says("privilege"));
        }
        assert_nothing_stored(&database);
    }

    #[test]
    fn a_user_who_must_use_tls_needs_a_trusted_certificate() {
        let database = Database::shared();
        // The place of the refusal shows that the login went well: the server keeps its tables elsewhere.
        let elsewhere = |more: &[&str]| database.backup_as("tlsonly", "physical", more).run().expect(1);
        login(&database, "tlsonly", "secret", "");
        drop(elsewhere(&[]).says("Access denied"));
        drop(elsewhere(&["--mode-option", "tls=true"]).says("certificate isn't trusted"));
        let authority = format!("ssl-ca = {}", database.server.value("AUTHORITY"));
        login(&database, "tlsonly", "secret", &authority);
        drop(elsewhere(&[]).says("no way to make a snapshot"));
        login(&database, "tlsonly", "secret", "");
        let told = elsewhere(&["--mode-option", "tls-insecure=true"]);
        drop(told.says("no way to make a snapshot").says("isn't checked"));
    }

    #[test]
    fn somebody_who_holds_a_table_is_waited_for_only_so_long() {
        let database = Database::own(&[]);
        database.fill();
        let holder = database.holder();
        let more = [
            "--mode-option",
            "lock-during-backup=true",
            "--mode-option",
            "lock-timeout=1",
        ];
        let told = database.backup("physical", &more).run().expect(1);
        drop(told.says("holds a table").says("lock-timeout"));
        assert_nothing_stored(&database);
        drop(holder);
        database.await_answer(super::super::SESSIONS, "0");
        assert!(database.is_writable());
    }

    #[test]
    fn a_server_without_a_free_session_refuses() {
        let database = Database::own(&[]);
        database.sql("ALTER USER freezer@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1");
        let port = database.server.value("PORT");
        let sleeper = freezer_tests::program("mariadb")
            .args([
                "--no-defaults",
                "-ufreezer",
                "-psecret",
                "-h127.0.0.1",
                "-P",
                port,
            ])
            .args(["-e", "SELECT SLEEP(100)"])
            .start();
        database.await_answer(super::super::SESSIONS, "1");
        let told = database.backup("logical", &[]).run().expect(1);
        drop(told.says("max_user_connections"));
        sleeper.signal(rustix::process::Signal::KILL);
        sleeper.wait();
    }
}
