//! Oracle's MySQL: who gets in, and dumps by its own programs, whose names those of MariaDB bear as well.

use freezer_tests::{Program, backups, workspace, write};

use crate::database::{Database, MYSQL};

/// Runs it where other programs are in the place of those.
fn by(programs: &[(&str, &str)], program: Program) -> Program {
    let own = workspace().join(".mysql/bin");
    let mount = |(own_name, name): &(&str, &str)| {
        format!(
            "mount --bind '{}' /usr/bin/{name}\n",
            own.join(own_name).display()
        )
    };
    program.in_mounts(&programs.iter().map(mount).collect::<String>())
}

/// A dump of tables that are written to, by programs of MySQL in the place of others, makes an empty server the same.
#[track_caller]
fn assert_dump(programs: &[(&str, &str)]) {
    let database = Database::of(&MYSQL, &[]);
    database.fill();
    let writer = database.writer();
    let done = by(programs, database.backup("logical", &[])).run().expect(0);
    drop(writer);
    drop(done.tells("dump.sql"));
    let empty = Database::of(&MYSQL, &[]);
    empty.sql("GRANT ALL ON *.* TO freezer@'127.0.0.1' WITH GRANT OPTION");
    let conf = format!("mysql-conf={}", empty.sandbox.path("login").display());
    let restore = database
        .sandbox
        .verb("restore", &["--mode", "mysql", "--mode-option", &conf])
        .env("XDG_STATE_HOME", database.sandbox.path("state"));
    by(programs, restore).run().expect(0);
    let last = empty.sql("SELECT MAX(id) FROM shop.inno");
    database.sql(&format!("DELETE FROM shop.inno WHERE id > {}", last.trim()));
    let count = "SELECT COUNT(*) >= 2000 FROM shop.inno";
    assert_eq!(empty.sql(count).trim(), "1");
    let checksum = "CHECKSUM TABLE shop.inno EXTENDED";
    assert_eq!(empty.sql(checksum), database.sql(checksum));
}

mod needs_mysql {
    use super::*;

    #[test]
    fn a_login_by_tcp_needs_tls_and_one_by_a_socket_does_not() {
        let database = Database::of(&MYSQL, &[]);
        let login = |name: &str, user: &str, more: &str| {
            let text = format!("user = {user}\npassword = secret\n{more}\n");
            write(&database.sandbox.path(name), text.as_bytes());
            database.backup_as(name, "physical", &[]).run().expect(1)
        };
        let port = format!("port = {}", database.server.value("PORT"));
        let socket = format!("socket = {}", database.server.value("SOCKET"));
        let authority = format!("{port}\nssl-ca = {}", database.server.value("AUTHORITY"));
        drop(login("plain", "freezer", &port).says("isn't sent without TLS"));
        // The place of the refusal shows that the login went well: there is no way to make a snapshot.
        for (name, more) in [("tls", &authority), ("socket", &socket)] {
            drop(login(name, "freezer", more).says("no way to make a snapshot"));
        }
        drop(login("weak", "weak", &authority).says("RELOAD").says("privilege"));
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
    }

    /// Debian's client programs of MariaDB bear MySQL's names, too; what they write of it can't be given back.
    #[test]
    fn a_dump_by_the_programs_of_mariadb_is_refused() {
        let database = Database::of(&MYSQL, &[]);
        let told = database.backup("logical", &[]).run().expect(1);
        drop(told.says("MariaDB's program").says("MySQL's client programs"));
        assert!(backups(&database.sandbox.store(), "h_t").is_empty());
    }

    mod needs_mounts {
        #[test]
        fn a_dump_by_its_own_programs_is_given_back_to_an_empty_server() {
            super::super::assert_dump(&[("mysql", "mariadb"), ("mysqldump", "mariadb-dump")]);
        }

        /// What restores a dump may be either maker's.
        #[test]
        fn a_dump_by_its_own_program_is_given_back_by_the_client_of_mariadb() {
            super::super::assert_dump(&[("mysqldump", "mariadb-dump")]);
        }
    }
}
