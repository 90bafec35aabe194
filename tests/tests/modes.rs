//! Every mode plugin keeps every rule of the contract, in each of its kinds, against the real thing that it reads.
//!
//! A plugin folder without a line in [`MODES`] fails here: whoever adds a mode says how to try it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use freezer_plugin::{HostConfig, PluginHost, PluginKind};
use freezer_tests::{
    Mounted, Sandbox, Server, isolating_host, mode_subject, mode_subject_of, plugin_host, program,
    shared_cache, workspace, write,
};
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

/// Tries a mode in freezer's process and apart.
#[track_caller]
fn assert_conforms(
    mode: &str,
    settings: &[(&str, &str)],
    path: Option<PathBuf>,
    is_free: impl Fn() -> Result<(), String> + 'static,
) {
    let is_free = Rc::new(is_free);
    for (runs, host) in [
        ("in freezer's process", plugin_host as fn(PathBuf) -> PluginHost),
        ("in a process of its own", isolating_host),
    ] {
        let sandbox = Sandbox::on_disk();
        let host = host(sandbox.path("state"));
        let is_free = Rc::clone(&is_free);
        let (subject, _sandbox) =
            mode_subject_of(sandbox, host, (mode, settings), path.clone(), move || is_free());
        let violations = subject.violations();
        assert!(violations.is_empty(), "{runs}: {}", violations.join("\n"));
    }
}

#[test]
fn fs_conforms() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/a"), b"a");
    assert_conforms("fs", &[], Some(sandbox.source()), || Ok(()));
}

#[test]
fn a_mode_that_forgets_handles_breaks_the_rules() {
    let (mut subject, sandbox) = mode_subject("fs", &[], Some("/forgets_handles".into()), || Ok(()));
    subject.host = PluginHost::new(HostConfig {
        plugin_dirs: vec![workspace().join("target/guests")],
        cache_dir: Some(shared_cache().join("freezer")),
        state_dir: Some(sandbox.path("state")),
        ..HostConfig::default()
    })
    .expect("a host");
    subject.plugin = subject
        .host
        .find(PluginKind::Mode, "hostile-mode")
        .expect("plugins/build.sh guests");
    let broken = "nothing_is_held_if_no_source_was_asked_for: handles that are still open after `finish`: 2";
    let violations = subject.violations();
    assert!(
        violations.iter().any(|violation| violation == broken),
        "{violations:?}"
    );
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

/// A subvolume in a file, and whether it holds a snapshot.
fn on_btrfs(mebibytes: u64) -> (Sandbox, Mounted) {
    let sandbox = Sandbox::on_disk();
    let mounted = Mounted::btrfs(&sandbox, mebibytes);
    (sandbox, mounted)
}

fn no_snapshot(source: &Path) -> Result<(), String> {
    let entries = fs::read_dir(source).map_err(|error| error.to_string())?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names
        .into_iter()
        .find(|name| name.starts_with(".freezer-snapshot-"))
    {
        Some(name) => Err(format!("{name} is left")),
        None => Ok(()),
    }
}

mod needs_mounts {
    use super::*;

    #[test]
    fn fs_conforms_with_a_snapshot() {
        let (sandbox, _mounted) = on_btrfs(200);
        let source = sandbox.source();
        write(&source.join("a"), b"a");
        let seen = source.clone();
        let settings = [("snapshot", "btrfs")];
        assert_conforms("fs", &settings, Some(source), move || no_snapshot(&seen));
    }

    mod needs_mariadb {
        use super::*;

        #[test]
        fn mysql_conforms_with_a_snapshot() {
            let (sandbox, _mounted) = on_btrfs(400);
            let data = sandbox.source().join("mysql");
            let server = Server::start("mariadb", &[("DATADIR", data.to_str().expect("UTF-8"))]);
            mysql_conforms_on(&server, &[("kind", "physical")], Some(sandbox.source()));
        }
    }

    mod needs_postgres {
        use super::*;

        #[test]
        fn postgres_conforms_with_a_snapshot() {
            let (sandbox, _mounted) = on_btrfs(600);
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(sandbox.path(""), open).expect("others may pass");
            let data = sandbox.source().join("data");
            let server = Server::start("postgres", &[("DATADIR", data.to_str().expect("UTF-8"))]);
            postgres_conforms_on(&server, "physical", Some(sandbox.source()));
        }
    }

    mod needs_mongo {
        use super::*;

        #[test]
        fn mongo_conforms_with_a_snapshot() {
            let (sandbox, _mounted) = on_btrfs(200);
            let data = sandbox.source().join("db");
            let options = [
                ("PEER", "yes"),
                ("AUTH", "yes"),
                ("DATADIR", data.to_str().expect("UTF-8")),
            ];
            mongo_conforms_on(&Server::start("mongo", &options), &[], Some(sandbox.source()));
        }
    }
}

/// Tries a kind of backup of this server. `frozen` is where its snapshots are made.
#[track_caller]
fn mysql_conforms_on(server: &Server, kind: &[(&str, &str)], frozen: Option<PathBuf>) {
    let socket = server.value("SOCKET").to_owned();
    let login = [
        ("host", "127.0.0.1"),
        ("port", server.value("PORT")),
        ("user", "freezer"),
        ("password", "secret"),
    ];
    let is_free = move || {
        let query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'freezer'";
        let ask = || {
            let client = program("mariadb").args(["--no-defaults", "-uroot", "-N", "-B", "-S", &socket]);
            client.args(["-e", query]).run().expect(0).text()
        };
        frozen.as_deref().map_or(Ok(()), no_snapshot)?;
        answers(ask, "0")
    };
    let data = PathBuf::from(server.value("DATADIR"));
    let settings = [&login, kind].concat();
    assert_conforms("mysql", &settings, Some(data), is_free);
}

mod needs_mariadb {
    use super::*;

    #[rstest]
    #[case::logical(&[("kind", "logical")])]
    #[case::hot(&[("kind", "hot")])]
    #[case::physical(&[("kind", "physical"), ("lock-during-backup", "true")])]
    fn mysql_conforms(#[case] kind: &[(&str, &str)]) {
        mysql_conforms_on(&Server::start("mariadb", &[]), kind, None);
    }
}

/// Tries a kind of backup of this server. `frozen` is where its snapshots are made.
#[track_caller]
fn postgres_conforms_on(server: &Server, kind: &str, frozen: Option<PathBuf>) {
    let (port, sockets) = (
        server.value("PORT").to_owned(),
        server.value("SOCKETS").to_owned(),
    );
    let settings = [
        ("host", "127.0.0.1"),
        ("port", server.value("PORT")),
        ("user", "freezer"),
        ("password", "secret"),
        ("kind", kind),
        ("database", if kind == "logical" { "shop" } else { "postgres" }),
    ];
    let data = frozen.is_some().then(|| PathBuf::from(server.value("DATADIR")));
    let is_free = move || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freezer'";
        let ask = || {
            let client = program("psql").args(["-qXAt", "-U", "postgres", "-h", &sockets, "-p", &port]);
            let client = client.args(["-c", query]).env("PGPASSWORD", "secret");
            client.run().expect(0).text()
        };
        frozen.as_deref().map_or(Ok(()), no_snapshot)?;
        answers(ask, "0")
    };
    assert_conforms("postgres", &settings, data, is_free);
}

mod needs_postgres {
    use super::*;

    #[rstest]
    #[case::logical("logical")]
    #[case::base("base")]
    fn postgres_conforms(#[case] kind: &str) {
        postgres_conforms_on(&Server::start("postgres", &[]), kind, None);
    }
}

/// Tries physical backups under the lock of this peer. `frozen` is where its snapshots are made.
#[track_caller]
fn mongo_conforms_on(peer: &Server, more: &[(&str, &str)], frozen: Option<PathBuf>) {
    let data = PathBuf::from(peer.value("DATADIR"));
    write(&data.join("collection-1.wt"), &[1; 5000]);
    let locks = PathBuf::from(peer.value("LOCKS"));
    let login = [
        ("host", "127.0.0.1"),
        ("port", peer.value("PORT")),
        ("user", "freezer"),
        ("password", "secret"),
    ];
    let is_free = move || {
        frozen.as_deref().map_or(Ok(()), no_snapshot)?;
        let held = || fs::read_to_string(&locks).unwrap_or_else(|_| "0".to_owned());
        answers(held, "0")
    };
    let settings = [&login, more].concat();
    assert_conforms("mongo", &settings, Some(data), is_free);
}

mod needs_mongo {
    use super::*;

    #[test]
    fn mongo_conforms() {
        let peer = Server::start("mongo", &[("PEER", "yes"), ("AUTH", "yes")]);
        mongo_conforms_on(&peer, &[("lock-during-backup", "true")], None);
    }
}
