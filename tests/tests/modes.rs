//! Every mode plugin keeps every rule of the contract, in each of its kinds, against the real thing that it reads.
//!
//! A plugin folder without a line in [`MODES`] fails here: whoever adds a mode says how to try it.

use std::fs;
use std::path::PathBuf;

use freezer_tests::{ModeSubject, Sandbox, Server, program, workspace, write};
use rstest::rstest;

/// The modes that are tested below, by their plugin folders.
const MODES: &[&str] = &["fs", "mongo", "mysql", "postgres"];

#[test]
fn every_mode_plugin_is_tested() {
    let mut folders: Vec<String> = fs::read_dir(workspace().join("plugins/modes"))
        .expect("plugins/modes")
        .flatten()
        .filter(|entry| entry.path().join("plugin.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(
        folders, MODES,
        "each folder needs its test here, and each test its folder"
    );
}

#[track_caller]
fn assert_conforms(subject: &ModeSubject) {
    let violations = subject.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn fs_conforms() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"a");
    assert_conforms(&ModeSubject::new("fs", &[], Some(sandbox.source()), || Ok(())));
}

/// Asks a query of a server until it answers `wanted`: a server notices the end of a connection a moment later.
fn answers(ask: impl Fn() -> String, wanted: &str) -> Result<(), String> {
    let mut answer = String::new();
    for _ in 0..200 {
        answer = ask().trim().to_owned();
        if answer == wanted {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("the server still answers {answer:?}"))
}

mod needs_mariadb {
    use super::*;

    #[rstest]
    #[case::logical(&[("kind", "logical")])]
    #[case::hot(&[("kind", "hot")])]
    #[case::physical(&[("kind", "physical"), ("lock-during-backup", "true")])]
    fn mysql_conforms(#[case] kind: &[(&str, &str)]) {
        let server = Server::start("mariadb", &[]);
        let (port, data) = (
            server.value("PORT").to_owned(),
            server.value("DATADIR").to_owned(),
        );
        let socket = server.value("SOCKET").to_owned();
        let login = [
            ("host", "127.0.0.1"),
            ("port", &*port),
            ("user", "freezer"),
            ("password", "secret"),
        ];
        let is_free = move || {
            let query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'freezer'";
            let ask = || {
                let client = program("mariadb").args(["--no-defaults", "-uroot", "-N", "-B", "-S", &socket]);
                client.args(["-e", query]).run().expect(0).text()
            };
            answers(ask, "0")
        };
        let settings = [&login, kind].concat();
        assert_conforms(&ModeSubject::new(
            "mysql",
            &settings,
            Some(PathBuf::from(data)),
            is_free,
        ));
    }
}

mod needs_postgres {
    use super::*;

    #[rstest]
    #[case::logical("logical")]
    #[case::base("base")]
    fn postgres_conforms(#[case] kind: &str) {
        let server = Server::start("postgres", &[]);
        let (port, sockets) = (
            server.value("PORT").to_owned(),
            server.value("SOCKETS").to_owned(),
        );
        let login = [
            ("host", "127.0.0.1"),
            ("port", &*port),
            ("user", "freezer"),
            ("password", "secret"),
        ];
        let asked = port.clone();
        let is_free = move || {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freezer'";
            let ask = || {
                let client = program("psql").args(["-qXAt", "-U", "postgres", "-h", &sockets, "-p", &asked]);
                client
                    .args(["-c", query])
                    .env("PGPASSWORD", "secret")
                    .run()
                    .expect(0)
                    .text()
            };
            answers(ask, "0")
        };
        let settings = [&login[..], &[("kind", kind), ("database", "shop")]].concat();
        assert_conforms(&ModeSubject::new("postgres", &settings, None, is_free));
    }
}

mod needs_mongo {
    use super::*;

    #[test]
    fn mongo_conforms() {
        let peer = Server::start("mongo", &[("PEER", "yes"), ("AUTH", "yes")]);
        let (port, data) = (
            peer.value("PORT").to_owned(),
            PathBuf::from(peer.value("DATADIR")),
        );
        write(&data.join("collection-1.wt"), &[1; 5000]);
        let locks = PathBuf::from(peer.value("LOCKS"));
        let settings = [
            ("host", "127.0.0.1"),
            ("port", &*port),
            ("user", "freezer"),
            ("password", "secret"),
            ("lock-during-backup", "true"),
        ];
        let is_free = move || {
            answers(
                || fs::read_to_string(&locks).unwrap_or_else(|_| "0".to_owned()),
                "0",
            )
        };
        assert_conforms(&ModeSubject::new("mongo", &settings, Some(data), is_free));
    }
}
