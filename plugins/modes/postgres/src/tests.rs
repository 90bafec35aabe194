//! The mode against a fake host: the order of its calls, what it refuses, and that nothing stays held.

use freezer_sdk::error::ErrorKind;
use freezer_sdk::host::control::LogLevel;
use freezer_sdk::host::sql::Value;
use freezer_sdk::settings::SettingValue;
use freezer_sdk::testing::{FakeAnswer, FakeExit, FakeHost};

use super::*;

const DATA: &str = "/var/lib/postgresql/15/main";
const VIEW: &str = "/snapshot/var/lib/postgresql/15/main";
const WAL_FILE: &str = "pg_wal/000000010000000000000002";
const IDENTIFIER: u64 = 7_713_883_612_777_718_595;
const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTART TIMELINE: 1\n";

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.to_owned())
}

fn settings(more: &[(&'static str, SettingValue)]) -> Settings {
    let mut all = vec![
        ("kind", text("physical")),
        ("host", text("127.0.0.1")),
        ("user", text("freezer")),
        ("port", SettingValue::Integer(5432)),
        ("bin-directory", text("/usr/bin")),
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

/// A server that lets everything be done, but for the statements that begin with one of these.
fn serve(host: &FakeHost, but: &'static [(&'static str, &'static str)]) {
    host.serve_sql(move |statement, _| {
        let row = |columns: &[&str]| {
            vec![
                columns
                    .iter()
                    .map(|text| Value::Text((*text).to_owned()))
                    .collect(),
            ]
        };
        let other = but.iter().find(|(known, _)| statement.starts_with(known));
        let rows = match (other, statement) {
            (Some((_, "")), _) => Vec::new(),
            (Some((_, answer)), _) => row(&answer.split('|').collect::<Vec<_>>()),
            (None, "SHOW server_version") => row(&["15.8"]),
            (None, "SHOW server_version_num") => row(&["150008"]),
            (None, "SHOW data_directory") => row(&[DATA]),
            (None, "SELECT pg_is_in_recovery()") => row(&["f"]),
            (None, "SELECT current_database()::text") => row(&["postgres"]),
            (None, "SELECT pg_backup_start('freezer', true)::text")
            | (None, "SELECT pg_start_backup('freezer', true, false)::text") => row(&["0/2000028"]),
            (None, statement) if statement.contains("system_identifier") => row(&[&IDENTIFIER.to_string()]),
            (None, statement) if statement.contains("FROM pg_tablespace") => Vec::new(),
            (None, statement) if statement.contains("format(") => Vec::new(),
            (None, statement) if statement.contains("spcmapfile") => row(&["0/2006848", LABEL, ""]),
            (None, statement) if statement.contains("pg_walfile_name") => row(&["000000010000000000000002"]),
            (None, statement) if statement.contains("FROM pg_database") => {
                [row(&["postgres"]), row(&["shop"])].concat()
            }
            // Rights.
            (None, _) => row(&["t"]),
        };
        Ok(FakeAnswer {
            rows,
            ..FakeAnswer::default()
        })
    });
}

/// A machine on which the server's files lie, and can be frozen.
fn machine() -> FakeHost {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    for root in [DATA, VIEW] {
        host.add_directory(root);
        host.put_file(
            root,
            "global/pg_control",
            &[&IDENTIFIER.to_le_bytes()[..], b"more"].concat(),
        );
        host.put_file(root, WAL_FILE, b"log");
    }
    host
}

/// The calls that matter, in order.
fn steps(host: &FakeHost) -> Vec<String> {
    let calls = host.calls().into_iter();
    let calls = calls.filter(|call| call.name == "snapshots.create" || call.subject.contains("backup"));
    calls.map(|call| call.subject).collect()
}

fn refused(host: &FakeHost, more: &[(&'static str, SettingValue)]) -> Error {
    let Err(error) = Postgres::prepare_backup(request(more)) else {
        panic!("went on")
    };
    assert_eq!(host.open_handles(), 0, "{error}");
    error
}

#[test]
fn backup_mode_lasts_for_the_snapshot_only() {
    let host = machine();
    serve(&host, &[]);
    let mut backup = Postgres::prepare_backup(request(&[])).unwrap();
    let steps = steps(&host);
    let last: Vec<_> = steps.iter().skip(steps.len() - 3).map(String::as_str).collect();
    let expected = [
        "SELECT pg_backup_start('freezer', true)::text",
        DATA,
        "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)",
    ];
    assert_eq!(last, expected);
    // The session is closed; only the snapshot is held.
    assert_eq!(host.open_handles(), 1);
    let Some(Source::Tree(tree)) = backup.next().unwrap() else {
        panic!("no tree")
    };
    assert_eq!(tree.root, VIEW);
    assert!(tree.exclude.contains(&"/postmaster.pid".to_owned()));
    assert!(!tree.exclude.iter().any(|pattern| pattern.contains("pg_wal")));
    assert!(backup.next().unwrap().is_none());
    let note = Note::parse(&backup.finish(Outcome::Done).unwrap()).unwrap();
    let mode = note.backup_mode.unwrap();
    assert_eq!(
        (mode.start_lsn.as_str(), mode.stop_lsn.as_str()),
        ("0/2000028", "0/2006848")
    );
    assert_eq!((mode.timeline, mode.backup_label.as_str()), (1, LABEL));
    assert_eq!(note.data_directory.as_deref(), Some(DATA));
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn an_older_server_is_asked_by_the_older_names() {
    let host = machine();
    serve(&host, &[("SHOW server_version_num", "140011")]);
    drop(Postgres::prepare_backup(request(&[])).unwrap());
    let steps = steps(&host);
    assert!(steps.contains(&"SELECT pg_start_backup('freezer', true, false)::text".to_owned()));
    assert!(
        steps
            .iter()
            .any(|step| step.ends_with("FROM pg_stop_backup(false, false)"))
    );
    drop(host);
    let host = machine();
    serve(&host, &[("SHOW server_version_num", "90624")]);
    assert_eq!(refused(&host, &[]).kind, ErrorKind::Unsupported);
}

#[test]
fn every_failing_call_leaves_nothing_held() {
    for position in 0.. {
        let host = machine();
        serve(&host, &[]);
        host.fail_call(position, Error::unavailable("gone"));
        let done = Postgres::prepare_backup(request(&[])).is_ok();
        if done {
            assert!(position > 20, "only {position} calls");
            break;
        }
        assert_eq!(host.open_handles(), 0, "after the failure of call {position}");
    }
}

#[test]
fn what_a_role_lacks_is_named() {
    type But = &'static [(&'static str, &'static str)];
    let cases: [(&str, But, &str); 4] = [
        (
            "physical",
            &[("SELECT pg_has_role", "f")],
            "GRANT pg_read_all_settings TO freezer",
        ),
        (
            "physical",
            &[("SELECT has_function_privilege('pg_backup_stop", "f")],
            "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO freezer",
        ),
        (
            "base",
            &[("SELECT rolsuper OR rolreplication", "f")],
            "ALTER ROLE freezer REPLICATION",
        ),
        (
            "logical",
            &[("SELECT format(", "public.secret")],
            "the right to read public.secret, and perhaps others: as a superuser, GRANT pg_read_all_data TO freezer",
        ),
    ];
    for (kind, but, advice) in cases {
        let host = machine();
        serve(&host, but);
        let error = refused(&host, &[("kind", text(kind)), ("database", text("shop"))]);
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains(advice), "{error}");
    }
}

#[test]
fn what_a_snapshot_cannot_hold_is_refused_with_what_else_there_is() {
    let refusal = |arrange: fn(&FakeHost), but: &'static [(&'static str, &'static str)]| {
        let host = machine();
        serve(&host, but);
        arrange(&host);
        refused(&host, &[]).message
    };
    let said = refusal(|_| {}, &[("SELECT pg_is_in_recovery", "t")]);
    assert!(said.contains("standby") && said.contains("kind=base"), "{said}");
    let said = refusal(|_| {}, &[("SHOW data_directory", "/srv/other")]);
    assert!(said.contains("name \"/srv/other\""), "{said}");
    let said = refusal(|_| {}, &[("SELECT oid::text", "16384|fast|/srv/fast")]);
    assert!(said.contains("\"fast\" lies in \"/srv/fast\""), "{said}");
    let said = refusal(|host| host.put_file(DATA, "global/pg_control", &[0; 8]), &[]);
    assert!(said.contains("another server"), "{said}");
    let said = refusal(|_| {}, &[("SELECT lsn", "0/2|no label|")]);
    assert!(said.contains("names no log file"), "{said}");
    let said = refusal(
        |_| {},
        &[(
            "SELECT lsn",
            "0/2|START WAL LOCATION: 0/2 (file 000000010000000000000009)|",
        )],
    );
    assert!(
        said.contains("doesn't hold /var/lib/postgresql/15/main/pg_wal/000000010000000000000009"),
        "{said}"
    );
}

#[test]
fn a_log_that_is_elsewhere_is_refused() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    serve(&host, &[]);
    assert!(refused(&host, &[]).message.contains("run freezer as root"));
    host.grant_directory(DATA);
    assert!(refused(&host, &[]).message.contains("isn't on this machine"));
    host.add_directory(DATA);
    assert!(refused(&host, &[]).message.contains("isn't on this machine"));
    host.put_file(DATA, "global/pg_control", &IDENTIFIER.to_le_bytes());
    host.put_symlink(DATA, "pg_wal");
    let said = refused(&host, &[]).message;
    assert!(
        said.contains("pg_wal is a link") && said.contains("kind=base"),
        "{said}"
    );
}

#[test]
fn without_a_snapshot_it_says_what_else_there_is() {
    let host = FakeHost::new();
    host.add_directory(DATA);
    host.put_file(DATA, "global/pg_control", &IDENTIFIER.to_le_bytes());
    host.put_file(DATA, WAL_FILE, b"log");
    serve(&host, &[]);
    let error = refused(&host, &[]);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("kind=base or kind=logical"), "{error}");
}

#[test]
fn a_dump_hands_the_password_over_in_memory() {
    for (kind, tool, stream) in [
        ("logical", "pg_dump", ("dump", "dump")),
        ("base", "pg_basebackup", ("base", "tar")),
    ] {
        let host = FakeHost::new();
        host.set_secret("password", "canary");
        serve(&host, &[]);
        host.serve_commands(move |command, _| {
            assert_eq!(command.program, format!("/usr/bin/{tool}"));
            assert!(!command.arguments.concat().contains("canary"));
            let values: Vec<_> = command
                .environment
                .iter()
                .map(|field| field.value.as_str())
                .collect();
            assert_eq!(values, ["{input:service}", "{input:passwords}"]);
            assert!(!command.inputs[0].value.contains("canary"));
            assert_eq!(command.inputs[1].value, "*:*:*:*:canary\n");
            Ok(FakeExit {
                stdout: b"PGDMP".to_vec(),
                ..FakeExit::default()
            })
        });
        let more = [("kind", text(kind)), ("database", text("shop"))];
        let mut backup = Postgres::prepare_backup(request(&more)).unwrap();
        let Some(Source::Stream(source)) = backup.next().unwrap() else {
            panic!("no stream")
        };
        assert_eq!((source.name.as_str(), source.suffix.as_str()), stream);
        assert_eq!(host.drain(&source.content).unwrap(), b"PGDMP");
        drop(source);
        let note = backup.finish(Outcome::Done).unwrap();
        assert!(!note.contains("canary"));
        assert_eq!(host.open_handles(), 0);
        let restore = Postgres::prepare_restore(RestoreRequest {
            target: None,
            settings: settings(&[]),
            note,
        });
        let destination = restore.unwrap().destination(stream.0);
        assert_eq!(matches!(destination, Ok(Destination::Receive)), kind == "logical");
    }
}

#[test]
fn a_dump_needs_a_database_and_a_copy_one_tablespace() {
    let host = FakeHost::new();
    serve(&host, &[]);
    let said = refused(&host, &[("kind", text("logical"))]).message;
    assert!(
        said.contains("database=NAME") && said.contains("postgres, shop"),
        "{said}"
    );
    serve(&host, &[("SELECT oid::text", "16384|fast|/srv/fast")]);
    let said = refused(&host, &[("kind", text("base"))]).message;
    assert!(said.contains("tablespace \"fast\""), "{said}");
    serve(&host, &[]);
    host.serve_commands(|_, _| Err(Error::not_found("no such program")));
    let said = refused(&host, &[("kind", text("base"))]).message;
    assert!(
        said.contains("/usr/bin/pg_basebackup") && said.contains("bin-directory"),
        "{said}"
    );
}

#[test]
fn a_dump_that_could_not_be_loaded_says_the_first_error() {
    let host = FakeHost::new();
    serve(&host, &[]);
    host.serve_commands(|command, input| {
        assert_eq!(
            (command.program.as_str(), input),
            ("/usr/bin/pg_restore", &b"PGDMP"[..])
        );
        assert!(command.inputs[0].value.contains("dbname=shop\n"));
        Ok(FakeExit {
            code: 1,
            stderr: "pg_restore: error: relation \"t\" already exists\nCommand was: CREATE TABLE t\n".into(),
            ..FakeExit::default()
        })
    });
    let mut note = Note::new(Kind::Logical, "15.8", "1");
    note.database = Some("shop".into());
    let request = RestoreRequest {
        target: None,
        settings: settings(&[]),
        note: note.to_text().unwrap(),
    };
    let mut restore = Postgres::prepare_restore(request).unwrap();
    let error = restore.receive("dump", host.stream(b"PGDMP")).unwrap_err();
    assert!(
        error
            .message
            .contains("nothing was changed: pg_restore: error: relation \"t\""),
        "{error}"
    );
}

/// The note of a backup of /srv/pg, with the data directory and a tablespace below it.
fn note_with_tablespace() -> String {
    let mut note = Note::new(Kind::Physical, "15.8", "1");
    note.path = Some("/srv/pg".into());
    note.data_directory = Some("/srv/pg/data".into());
    note.tablespaces = vec![note::Tablespace {
        oid: "16384".into(),
        name: "fast".into(),
        location: "/srv/pg/fa st".into(),
    }];
    note.backup_mode = Some(note::BackupMode {
        label: "freezer".into(),
        start_lsn: "0/2000028".into(),
        stop_lsn: "0/2006848".into(),
        timeline: 1,
        first_wal_file: "000000010000000000000002".into(),
        last_wal_file: "000000010000000000000003".into(),
        backup_label: LABEL.into(),
        tablespace_map: "16384 /srv/pg/fa st\n".into(),
        milliseconds: 1,
    });
    note.to_text().unwrap()
}

fn restore_into(target: &str, recovery: &str) -> PostgresRestore {
    let request = RestoreRequest {
        target: Some(target.to_owned()),
        settings: settings(&[("recovery", text(recovery))]),
        note: note_with_tablespace(),
    };
    let mut restore = Postgres::prepare_restore(request).unwrap();
    let Ok(Destination::Directory(directory)) = restore.destination("tree") else {
        panic!("no directory")
    };
    assert_eq!(directory, target);
    restore
}

#[test]
fn links_to_the_originals_tablespaces_are_taken_away_elsewhere_only() {
    let host = FakeHost::new();
    for target in ["/srv/pg", "/new"] {
        let data = format!("{target}/data");
        host.add_directory(&data);
        host.put_symlink(&data, "pg_tblspc/16384");
        restore_into(target, "crash").finish(Outcome::Done).unwrap();
        assert_eq!(
            host.paths(&data).len(),
            usize::from(target == "/srv/pg"),
            "{target}"
        );
    }
    let logs = host.logs();
    assert_eq!(logs.len(), 1);
    assert!(matches!(logs[0].0, LogLevel::Warning));
    assert!(
        logs[0]
            .1
            .ends_with("ln -s '/new/fa st' /new/data/pg_tblspc/16384"),
        "{}",
        logs[0].1
    );
}

#[test]
fn a_label_is_put_in_place_only_to_replay_archived_log() {
    let host = FakeHost::new();
    host.add_directory("/new/data");
    host.put_symlink("/new/data", "pg_tblspc/16384");
    restore_into("/new", "archive").finish(Outcome::Done).unwrap();
    let file = |name: &str| {
        host.file("/new/data", name)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    };
    assert_eq!(file("backup_label").as_deref(), Some(LABEL));
    assert_eq!(file("tablespace_map").as_deref(), Some("16384 /new/fa st\n"));
    assert_eq!(file("recovery.signal").as_deref(), Some(""));
    assert_eq!(host.paths("/new/data").len(), 3);
    assert!(host.logs()[0].1.contains("restore_command"));
    // A failed restore is left as it is.
    restore_into("/srv/pg", "archive")
        .finish(Outcome::Failed(Error::other("full")))
        .unwrap();
    let request = RestoreRequest {
        target: Some("/new".into()),
        settings: settings(&[("recovery", text("pitr"))]),
        note: note_with_tablespace(),
    };
    assert!(Postgres::prepare_restore(request).is_err());
}
