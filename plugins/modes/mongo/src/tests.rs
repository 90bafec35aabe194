//! The mode against a fake host with a scripted server: the order of its calls, and that nothing stays locked.

mod server;

use freezer_sdk::error::ErrorKind;
use freezer_sdk::settings::SettingValue;
use freezer_sdk::testing::{FakeExit, FakeHost};

use super::*;
use server::{Sin, serve};

const DATA: &str = "/var/lib/mongodb";

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.to_owned())
}

fn settings(more: &[(&'static str, SettingValue)]) -> Settings {
    let mut all = vec![
        ("kind", text("physical")),
        ("host", text("db")),
        ("port", SettingValue::Integer(27017)),
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

fn refusal(more: &[(&'static str, SettingValue)]) -> Error {
    match Mongo::prepare_backup(request(more)) {
        Ok(_) => panic!("went on"),
        Err(error) => error,
    }
}

#[test]
fn the_lock_lasts_for_the_snapshot_only() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    let state = serve(&host);
    let locked = std::rc::Rc::clone(&state);
    host.before_next("snapshots.create", move |host| {
        assert_eq!(locked.borrow().locks, 1);
        assert_eq!(host.leftovers()[0].0, "the lock of all writers of db:27017");
    });
    let mut backup = Mongo::prepare_backup(request(&[])).unwrap();
    assert_eq!(
        state.borrow().commands,
        ["hello", "buildInfo", "getCmdLineOpts", "fsync", "fsyncUnlock"]
    );
    assert!(state.borrow().locks == 0 && host.leftovers().is_empty());
    let Some(Source::Tree(tree)) = backup.next().unwrap() else {
        panic!("no tree")
    };
    assert_eq!(tree.root, "/snapshot/var/lib/mongodb");
    assert!(backup.next().unwrap().is_none());
    let note = Note::parse(&backup.finish(Outcome::Done).unwrap()).unwrap();
    let summary = note.summary.unwrap();
    assert!(
        summary.starts_with("db:27017 (primary of rs0) was locked by fsyncLock for "),
        "{summary}"
    );
    assert_eq!(
        (note.server.as_str(), note.data_directory.as_deref()),
        ("7.0.14", Some(DATA))
    );
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn without_a_snapshot_it_says_what_else_there_is_and_locks_nothing() {
    let host = FakeHost::new();
    let state = serve(&host);
    let error = refusal(&[]);
    assert!(error.message.contains("lock-during-backup"), "{error}");
    assert!(state.borrow().locks == 0 && host.leftovers().is_empty() && host.open_handles() == 0);
}

#[test]
fn a_lasting_lock_is_held_until_the_end() {
    let host = FakeHost::new();
    let state = serve(&host);
    let lasting = [("lock-during-backup", SettingValue::Flag(true))];
    let mut backup = Mongo::prepare_backup(request(&lasting)).unwrap();
    let Some(Source::Tree(tree)) = backup.next().unwrap() else {
        panic!("no tree")
    };
    assert_eq!(tree.root, DATA);
    assert_eq!((state.borrow().locks, host.leftovers().len()), (1, 1));
    backup.finish(Outcome::Done).unwrap();
    assert!(state.borrow().locks == 0 && host.leftovers().is_empty() && host.open_handles() == 0);
}

#[test]
fn a_lasting_lock_that_was_lost_makes_the_backup_fail() {
    let host = FakeHost::new();
    let state = serve(&host);
    let lasting = [("lock-during-backup", SettingValue::Flag(true))];
    let backup = Mongo::prepare_backup(request(&lasting)).unwrap();
    state.borrow_mut().locks = 0;
    let error = backup.finish(Outcome::Done).unwrap_err();
    assert!(error.message.contains("somebody may have written"), "{error}");
    // The same if the connection broke and nothing is locked any more.
    let backup = Mongo::prepare_backup(request(&lasting)).unwrap();
    state.borrow_mut().locks = 0;
    host.fail_next("tcp.write", Error::unavailable("broken off"));
    let error = backup.finish(Outcome::Done).unwrap_err();
    assert!(error.message.contains("somebody may have written"), "{error}");
    assert!(host.leftovers().is_empty());
}

#[test]
fn a_broken_connection_is_no_broken_lock() {
    let host = FakeHost::new();
    let state = serve(&host);
    let lasting = [("lock-during-backup", SettingValue::Flag(true))];
    let backup = Mongo::prepare_backup(request(&lasting)).unwrap();
    host.fail_next("tcp.write", Error::unavailable("broken off"));
    backup.finish(Outcome::Done).unwrap();
    assert!(state.borrow().locks == 0 && host.leftovers().is_empty());
    assert!(
        host.logs()
            .iter()
            .any(|(_, line)| line.contains("by another connection"))
    );
}

#[test]
fn after_every_failing_call_nothing_stays_locked() {
    for lost in [false, true] {
        for position in 0.. {
            let host = FakeHost::new();
            host.allow_snapshot(DATA);
            let state = serve(&host);
            let gone = Error::unavailable("gone");
            match lost {
                false => host.fail_call(position, gone),
                true => host.lose_answer(position, gone),
            }
            let done = Mongo::prepare_backup(request(&[]));
            if !host.fault_struck() {
                assert!(position > 15 && done.is_ok(), "only {position} calls");
                break;
            }
            drop(done);
            // What the host does once it failed.
            for (_, undo) in host.leftovers() {
                Mongo::undo(settings(&[]), undo).unwrap();
            }
            assert_eq!(
                (state.borrow().locks, host.open_handles()),
                (0, 0),
                "call {position}"
            );
        }
    }
}

#[test]
fn a_lock_that_was_not_had_is_no_leftover_and_says_what_to_do() {
    for (code, words, kind, says) in [
        (
            50,
            "operation exceeded time limit",
            ErrorKind::Busy,
            "lock-timeout",
        ),
        (
            13,
            "not authorized on admin to execute command",
            ErrorKind::Denied,
            "hostManager",
        ),
        (9, "can't lock", ErrorKind::Other, "kind=logical needs no lock"),
    ] {
        let host = FakeHost::new();
        let state = serve(&host);
        state.borrow_mut().refused.push(("fsync", code, words));
        let error = refusal(&[]);
        assert!(
            error.kind == kind && error.message.contains(says) && error.message.contains(words),
            "{error}"
        );
        assert!(host.leftovers().is_empty(), "{says}");
    }
    let host = FakeHost::new();
    let state = serve(&host);
    state
        .borrow_mut()
        .refused
        .push(("getCmdLineOpts", 13, "not authorized"));
    assert!(refusal(&[]).message.contains("clusterMonitor"));
}

#[test]
fn undoing_unlocks_what_is_locked_once_and_waits_for_what_comes() {
    let host = FakeHost::new();
    let state = serve(&host);
    let undo = r#"{"version":1,"place":"db:27017"}"#;
    Mongo::undo(settings(&[]), undo.to_owned()).unwrap();
    assert!(!state.borrow().commands.contains(&"fsyncUnlock".to_owned()));
    state.borrow_mut().locks = 2;
    Mongo::undo(settings(&[]), undo.to_owned()).unwrap();
    assert_eq!(state.borrow().locks, 1, "the other one is somebody else's");
    state.borrow_mut().locks = 0;
    state.borrow_mut().waiting = 3;
    Mongo::undo(settings(&[]), undo.to_owned()).unwrap();
    assert_eq!((state.borrow().locks, state.borrow().waiting), (0, 0));
    state.borrow_mut().waiting = 1000;
    let error = Mongo::undo(settings(&[]), undo.to_owned()).unwrap_err();
    assert!(error.message.contains("db.fsyncUnlock()"), "{error}");
    for other in [
        r#"{"version":1,"place":"other:27017"}"#,
        r#"{"version":2,"place":"db:27017"}"#,
        "",
        "{}",
    ] {
        let error = Mongo::undo(settings(&[]), other.to_owned()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{other}");
    }
}

#[test]
fn a_lock_of_somebody_else_is_told() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    let state = serve(&host);
    state.borrow_mut().locks = 1;
    drop(Mongo::prepare_backup(request(&[])).unwrap());
    assert!(
        host.logs()
            .iter()
            .any(|(_, line)| line.contains("1 locks are somebody else's"))
    );
    assert_eq!(state.borrow().locks, 1);
}

#[test]
fn another_directory_than_the_servers_is_refused() {
    let host = FakeHost::new();
    serve(&host);
    let other = BackupRequest {
        path: Some("/srv".to_owned()),
        ..request(&[])
    };
    let Err(error) = Mongo::prepare_backup(other) else {
        panic!("went on")
    };
    assert!(error.message.contains(DATA), "{error}");
}

#[test]
fn passwords_are_proven_by_both_mechanisms() {
    for (sha1, password) in [
        (false, "pe,n=cil"),
        (true, "pe,n=cil"),
        (false, "\u{2168}\u{ad}x"),
    ] {
        let host = FakeHost::new();
        host.set_secret("password", password);
        let state = serve(&host);
        // What RFC 4013 makes of it is what the server knows.
        state.borrow_mut().password = Some(if password.ends_with('x') { "IXx" } else { password });
        state.borrow_mut().sha1 = sha1;
        let logical = [("kind", text("logical")), ("user", text("freezer"))];
        let error = refusal(&logical);
        assert!(error.message.contains("processes"), "{error}");
        assert_eq!(
            state.borrow().commands,
            ["hello", "saslStart", "saslContinue", "buildInfo"]
        );
    }
}

#[test]
fn a_login_that_is_refused_or_not_mutual_ends_there() {
    let user = [("user", text("freezer"))];
    let attempt = |password: &str, sin: Sin, rounds: u32| {
        let host = FakeHost::new();
        host.set_secret("password", password);
        let state = serve(&host);
        state.borrow_mut().password = Some("secret");
        state.borrow_mut().sin = sin;
        state.borrow_mut().rounds = rounds;
        let error = refusal(&user);
        assert!(
            !state.borrow().commands.contains(&"buildInfo".to_owned()),
            "{error}"
        );
        assert!(!error.message.contains(password), "{error}");
        assert_eq!(host.open_handles(), 0);
        error
    };
    for (password, sin, rounds, says) in [
        ("wrong-canary", Sin::None, 15_000, "Authentication failed"),
        (
            "secret",
            Sin::WrongProof,
            15_000,
            "doesn't prove that it knows the password",
        ),
        (
            "secret",
            Sin::NoProof,
            15_000,
            "doesn't prove that it knows the password",
        ),
        ("secret", Sin::NoNonce, 15_000, "answers another login"),
        (
            "secret",
            Sin::Endless,
            15_000,
            "doesn't prove that it knows the password",
        ),
        ("secret", Sin::None, 1, "asks for 1 rounds"),
        ("secret", Sin::None, u32::MAX, "asks for 4294967295 rounds"),
    ] {
        let error = attempt(password, sin, rounds);
        assert!(error.message.contains(says), "{says}: {error}");
    }
    let host = FakeHost::new();
    serve(&host);
    assert!(refusal(&user).message.contains("FREEZER_MONGO_PASSWORD"));
}

#[test]
fn a_server_that_knows_only_the_old_greeting_is_greeted_so() {
    let host = FakeHost::new();
    let state = serve(&host);
    state
        .borrow_mut()
        .refused
        .push(("hello", 59, "no such command: 'hello'"));
    refusal(&[]);
    assert_eq!(state.borrow().commands[..3], ["hello", "isMaster", "buildInfo"]);
}

#[test]
fn the_wrong_member_is_not_locked() {
    let host = FakeHost::new();
    host.allow_snapshot(DATA);
    let state = serve(&host);
    state.borrow_mut().hello =
        bson::rawdoc! { "secondary": true, "setName": "rs0", "me": "db:27017", "primary": "other:27017" };
    let error = refusal(&[]);
    assert!(error.message.contains("ask other:27017"), "{error}");
    assert!(
        refusal(&[("kind", text("logical"))])
            .message
            .contains("ask other:27017")
    );
    assert!(!state.borrow().commands.contains(&"fsync".to_owned()));
    drop(Mongo::prepare_backup(request(&[("member", text("secondary"))])).unwrap());
}

#[test]
fn a_dump_hands_the_password_over_in_memory_and_comes_back() {
    let host = FakeHost::new();
    host.set_secret("password", "canary");
    let state = serve(&host);
    state.borrow_mut().password = Some("canary");
    host.serve_commands(|command, input| {
        assert!(command.environment.is_empty());
        assert!(!command.arguments.concat().contains("canary"));
        assert!(command.inputs[0].value.contains("freezer:canary@db:27017"));
        match command.program.as_str() {
            "/usr/bin/mongodump" => assert_eq!(command.arguments[1..], ["--archive", "--oplog"]),
            _ => {
                assert_eq!(command.arguments[1..], ["--archive", "--oplogReplay", "--drop"]);
                assert_eq!(input, b"archive");
            }
        }
        Ok(FakeExit {
            stdout: b"archive".to_vec(),
            ..FakeExit::default()
        })
    });
    let user = ("user", text("freezer"));
    let logical = [("kind", text("logical")), user.clone()];
    let mut backup = Mongo::prepare_backup(request(&logical)).unwrap();
    let Some(Source::Stream(stream)) = backup.next().unwrap() else {
        panic!("no stream")
    };
    assert_eq!(
        (stream.name.as_str(), stream.suffix.as_str()),
        ("dump", "archive")
    );
    assert_eq!(host.drain(&stream.content).unwrap(), b"archive");
    let note = backup.finish(Outcome::Done).unwrap();
    assert!(!note.contains("canary") && note.contains("mongodump of db:27017 (primary of rs0)"));
    let mut restore = Mongo::prepare_restore(RestoreRequest {
        target: None,
        settings: settings(&[user, ("drop", SettingValue::Flag(true))]),
        note,
    })
    .unwrap();
    assert!(matches!(
        restore.destination("dump").unwrap(),
        Destination::Receive
    ));
    restore.receive("dump", host.stream(b"archive")).unwrap();
    assert_eq!(restore.destination("data").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_dump_that_broke_off_is_none() {
    let host = FakeHost::new();
    let state = serve(&host);
    state.borrow_mut().hello = bson::rawdoc! { "isWritablePrimary": true };
    host.serve_commands(|command, _| {
        assert_eq!(command.arguments[1..], ["--archive"]);
        Ok(FakeExit {
            code: 1,
            stdout: b"half".to_vec(),
            stderr: "connection lost".to_owned(),
        })
    });
    let mut backup = Mongo::prepare_backup(request(&[("kind", text("logical"))])).unwrap();
    let Some(Source::Stream(stream)) = backup.next().unwrap() else {
        panic!("no stream")
    };
    assert!(host.drain(&stream.content).is_err());
    assert!(
        host.logs()
            .iter()
            .any(|(_, line)| line.contains("keeps no oplog"))
    );
    let note = backup.finish(Outcome::Done).unwrap();
    let restore = |hello| {
        state.borrow_mut().hello = hello;
        let mut restore = Mongo::prepare_restore(RestoreRequest {
            target: None,
            settings: settings(&[]),
            note: note.clone(),
        })
        .unwrap();
        restore.receive("dump", host.stream(b"x")).unwrap_err().message
    };
    assert!(
        restore(bson::rawdoc! { "isWritablePrimary": true })
            .contains("mongorestore ended with 1: connection lost")
    );
    let secondary = bson::rawdoc! { "secondary": true, "setName": "rs0", "primary": "p:1" };
    assert!(restore(secondary).contains("ask p:1"));
}
