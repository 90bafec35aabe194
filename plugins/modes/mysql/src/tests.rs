//! The mode against a fake host: the order of its calls, and that nothing stays held.

use freezer_sdk::error::ErrorKind;
use freezer_sdk::host::sql::Value;
use freezer_sdk::settings::{SettingValue, Settings};
use freezer_sdk::testing::{FakeAnswer, FakeExit, FakeHost};

use super::*;

const DATA: &str = "/var/lib/mysql";

fn settings(more: &[(&'static str, SettingValue)]) -> Settings {
    let text = |text: &str| SettingValue::Text(text.to_owned());
    let mut all = vec![
        ("kind", text("physical")),
        ("host", text("127.0.0.1")),
        ("user", text("freezer")),
        ("port", SettingValue::Integer(3306)),
        ("snapshot", text("auto")),
    ];
    for (name, value) in more {
        all.retain(|(known, _)| known != name);
        all.push((*name, value.clone()));
    }
    Settings::new(all)
}

fn request(more: &[(&'static str, SettingValue)]) -> BackupRequest {
    BackupRequest {
        path: Some(DATA.to_owned()),
        settings: settings(more),
        level: 0,
        parent_note: None,
    }
}

/// A MariaDB that grants everything.
fn serve(host: &FakeHost, version: &'static str) {
    host.serve_sql(move |statement, _| {
        let text = |text: &str| vec![vec![Value::Text(text.to_owned())]];
        let rows = match statement {
            "SELECT VERSION()" => text(version),
            "SELECT @@datadir" => text("/var/lib/mysql/"),
            "SHOW GRANTS" => text("GRANT ALL PRIVILEGES ON *.* TO `freezer`@`%`"),
            "SHOW MASTER STATUS" => vec![vec![Value::Text("binlog.000007".into()), Value::Integer(328)]],
            "SELECT @@global.gtid_binlog_pos" => text("0-1-42"),
            _ => Vec::new(),
        };
        Ok(FakeAnswer {
            rows,
            ..FakeAnswer::default()
        })
    });
}

fn statements(host: &FakeHost) -> Vec<String> {
    let calls = host.calls().into_iter();
    let calls = calls.filter(|call| matches!(call.name, "sql.execute" | "snapshots.create"));
    calls.map(|call| call.subject).collect()
}

#[test]
fn the_lock_lasts_for_the_snapshot_only() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    serve(&host, "10.11.6-MariaDB");
    let mut backup = MySql::prepare_backup(request(&[])).unwrap();
    let expected = [
        "SET SESSION lock_wait_timeout = 30",
        "BACKUP STAGE START",
        "BACKUP STAGE FLUSH",
        "BACKUP STAGE BLOCK_DDL",
        "BACKUP STAGE BLOCK_COMMIT",
        DATA,
        "BACKUP STAGE END",
    ];
    assert_eq!(statements(&host), expected);
    let Some(Source::Tree(tree)) = backup.next().unwrap() else {
        panic!("no tree")
    };
    assert_eq!(tree.root, "/snapshot/var/lib/mysql");
    assert!(backup.next().unwrap().is_none());
    let note = Note::parse(&backup.finish(Outcome::Done).unwrap()).unwrap();
    let position = note.binary_log.unwrap();
    assert_eq!(
        (position.file.as_str(), position.position),
        ("binlog.000007", 328)
    );
    assert_eq!(position.gtid.as_deref(), Some("0-1-42"));
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn a_server_without_stages_gets_the_old_lock() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    serve(&host, "8.0.36");
    drop(MySql::prepare_backup(request(&[])).unwrap());
    assert!(statements(&host).contains(&"FLUSH TABLES WITH READ LOCK".to_owned()));
}

#[test]
fn without_a_snapshot_it_says_what_else_there_is_and_holds_nothing() {
    let host = FakeHost::new();
    serve(&host, "10.11.6-MariaDB");
    let Err(error) = MySql::prepare_backup(request(&[])) else {
        panic!("went on")
    };
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("lock-during-backup"), "{error}");
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn a_lasting_lock_is_held_until_the_end_and_its_gap_told() {
    let host = FakeHost::new();
    serve(&host, "10.11.6-MariaDB");
    let lasting = [("lock-during-backup", SettingValue::Flag(true))];
    let mut backup = MySql::prepare_backup(request(&lasting)).unwrap();
    let Some(Source::Tree(tree)) = backup.next().unwrap() else {
        panic!("no tree")
    };
    assert_eq!(tree.root, DATA);
    assert!(!statements(&host).contains(&"UNLOCK TABLES".to_owned()));
    assert_eq!(host.open_handles(), 1);
    backup.finish(Outcome::Done).unwrap();
    assert!(statements(&host).contains(&"UNLOCK TABLES".to_owned()));
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn every_failing_call_leaves_nothing_held() {
    for position in 0.. {
        let host = FakeHost::new();
        host.allow_snapshot(DATA);
        serve(&host, "10.11.6-MariaDB");
        host.fail_call(position, Error::unavailable("gone"));
        let done = MySql::prepare_backup(request(&[])).is_ok();
        if done {
            assert!(position > 10, "only {position} calls");
            break;
        }
        assert_eq!(host.open_handles(), 0, "after the failure of call {position}");
    }
}

#[test]
fn another_directory_than_the_servers_is_refused() {
    let host = FakeHost::new();
    serve(&host, "10.11.6-MariaDB");
    let other = BackupRequest {
        path: Some("/srv".to_owned()),
        ..request(&[])
    };
    let Err(error) = MySql::prepare_backup(other) else {
        panic!("went on")
    };
    assert!(error.message.contains("/var/lib/mysql"), "{error}");
}

#[test]
fn a_dump_of_mysql_is_refused_where_only_the_other_maker_has_a_program() {
    let own = "mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))";
    let other = "mysqldump  Ver 10.19 Distrib 10.11.14-MariaDB, for debian-linux-gnu (x86_64)";
    for (version, goes) in [(own, true), (other, false)] {
        let host = FakeHost::new();
        serve(&host, "9.7.4-2");
        host.serve_commands(|command, _| {
            assert_eq!(command.program, "/usr/bin/mysqldump");
            let stdout = match command.arguments.as_slice() {
                [only] if only == "--version" => version.into(),
                _ => b"CREATE".to_vec(),
            };
            Ok(FakeExit {
                stdout,
                ..FakeExit::default()
            })
        });
        let logical = [("kind", SettingValue::Text("logical".into()))];
        let started = MySql::prepare_backup(request(&logical));
        assert_eq!(started.is_ok(), goes, "{version}");
        if let Err(error) = started {
            assert!(error.message.contains("client programs"), "{error}");
        }
        assert_eq!(host.open_handles(), 0, "{version}");
    }
}

#[test]
fn a_dump_hands_the_password_over_in_memory() {
    let host = FakeHost::new();
    host.set_secret("password", "canary");
    serve(&host, "10.11.6-MariaDB");
    host.serve_commands(|command, _| {
        assert_eq!(command.program, "/usr/bin/mariadb-dump");
        assert!(command.environment.is_empty());
        assert!(!command.arguments.concat().contains("canary"));
        assert!(command.inputs[0].value.contains("password=\"canary\""));
        Ok(FakeExit {
            stdout: b"CREATE".to_vec(),
            ..FakeExit::default()
        })
    });
    let logical = [("kind", SettingValue::Text("logical".into()))];
    let mut backup = MySql::prepare_backup(request(&logical)).unwrap();
    let Some(Source::Stream(stream)) = backup.next().unwrap() else {
        panic!("no stream")
    };
    assert_eq!((stream.name.as_str(), stream.suffix.as_str()), ("dump", "sql"));
    let note = backup.finish(Outcome::Done).unwrap();
    assert!(!note.contains("canary"));
    let mut restore = MySql::prepare_restore(RestoreRequest {
        target: None,
        settings: settings(&[]),
        note,
    })
    .unwrap();
    assert!(matches!(
        restore.destination("dump").unwrap(),
        Destination::Receive
    ));
    assert_eq!(restore.destination("data").unwrap_err().kind, ErrorKind::NotFound);
}
