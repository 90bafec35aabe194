//! The fake host keeps the rules of the contract, since plugins are judged by it.

use super::*;
use crate::error::ErrorKind;
use crate::host::bodies::DigestAlgorithm;
use crate::host::commands::{self, Command};
use crate::host::directories::{self, Access, Directory, EntryKind, Existing};
use crate::host::{http, leftovers, snapshots, sql, ssh, tcp};

const ROOT: &str = "/srv";

fn writable(host: &FakeHost) -> Directory {
    host.add_directory(ROOT);
    directories::open(ROOT, Access::ReadWrite).unwrap()
}

#[track_caller]
fn assert_kind<T>(result: Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it succeeded instead of failing with {kind:?}"),
        Err(error) => assert_eq!(error.kind, kind, "{error}"),
    }
}

fn command(program: &str) -> Command {
    Command::new(program, [""; 0])
}

#[test]
fn a_stream_flows_once_and_a_segment_again_and_again() {
    let host = FakeHost::new();
    let directory = writable(&host);
    let stream = host.stream(b"once");
    assert_eq!(directory.write("a", 0, &stream).unwrap(), 4);
    assert_kind(directory.write("b", 0, &stream), ErrorKind::Invalid);
    assert_eq!((stream.size(), stream.is_replayable()), (None, false));
    assert_kind(stream.digest(DigestAlgorithm::Md5), ErrorKind::Unsupported);

    let segment = host.segment(b"abc");
    directory.write("c", 0, &segment).unwrap();
    directory.write("c", 3, &segment).unwrap();
    assert_eq!(host.file(ROOT, "c").unwrap(), b"abcabc");
    assert_eq!((segment.size(), segment.is_replayable()), (Some(3), true));
    assert_eq!(
        segment.digest(DigestAlgorithm::Md5).unwrap(),
        "900150983cd24fb0d6963f7d28e17f72"
    );
    assert_eq!(
        segment.digest(DigestAlgorithm::Sha1).unwrap(),
        "a9993e364706816aba3e25717850c26c9cd0d89d"
    );
    assert_eq!(
        segment.digest(DigestAlgorithm::Sha256).unwrap(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_broken_stream_fails_after_its_bytes() {
    let host = FakeHost::new();
    let stream = host.broken_stream(b"half", Error::unavailable("connection lost"));
    assert_eq!(stream.read(100).unwrap(), b"half");
    assert_kind(stream.read(100), ErrorKind::Unavailable);
    let other = host.broken_stream(b"half", Error::corrupt("too short"));
    assert_kind(other.read_to_end(100), ErrorKind::Corrupt);
}

#[test]
fn reading_all_of_a_body_is_bounded() {
    let host = FakeHost::new();
    assert_eq!(host.segment(b"12345").read_to_end(5).unwrap(), b"12345");
    assert_kind(host.segment(b"12345").read_to_end(4), ErrorKind::Invalid);
}

#[test]
fn a_short_file_makes_the_stream_fail() {
    let host = FakeHost::new();
    let directory = writable(&host);
    host.put_file(ROOT, "a", b"12345");
    assert_eq!(
        host.drain(&directory.read("a", 1, Some(3)).unwrap()).unwrap(),
        b"234"
    );
    assert_kind(
        host.drain(&directory.read("a", 1, Some(9)).unwrap()),
        ErrorKind::Corrupt,
    );
    assert_kind(directory.read("a", 6, None), ErrorKind::Invalid);
    assert_kind(directory.read("b", 0, None), ErrorKind::NotFound);
}

#[test]
fn no_path_leaves_the_directory() {
    let host = FakeHost::new();
    let directory = writable(&host);
    host.put_symlink(ROOT, "link");
    let body = host.segment(b"x");
    for path in ["/etc", "../x", "a/../../x", "a//b", "a/", "./a", "a\0"] {
        assert_kind(directory.write(path, 0, &body), ErrorKind::Invalid);
        assert_kind(directory.stat(path), ErrorKind::Invalid);
    }
    assert_kind(directory.write("link/x", 0, &body), ErrorKind::Denied);
    assert_kind(directory.read("link/x", 0, None), ErrorKind::Denied);
    assert_eq!(directory.stat("link").unwrap().kind, EntryKind::Symlink);
}

#[test]
fn what_is_not_granted_is_denied() {
    let host = FakeHost::new();
    assert_kind(directories::open("/etc", Access::ReadOnly), ErrorKind::Denied);
    host.grant_directory("/etc");
    assert_kind(directories::open("/etc", Access::ReadOnly), ErrorKind::NotFound);
    directories::open("/etc", Access::ReadWrite).unwrap();
    let reading = directories::open("/etc", Access::ReadOnly).unwrap();
    assert_kind(reading.write("a", 0, &host.segment(b"x")), ErrorKind::Denied);
    assert_kind(http::send(&request(), None), ErrorKind::Denied);
    assert_kind(commands::spawn(&command("ls"), None), ErrorKind::Denied);
}

#[test]
fn only_what_was_published_survives_a_power_cut() {
    let host = FakeHost::new();
    let directory = writable(&host);
    directory.write("one", 0, &host.segment(b"1")).unwrap();
    directory.write("two", 0, &host.segment(b"2")).unwrap();
    directory
        .publish("one", "folder/published", Existing::Refuse)
        .unwrap();
    host.cut_power();
    assert_eq!(host.file(ROOT, "folder/published").unwrap(), b"1");
    assert_eq!(host.file(ROOT, "two").unwrap(), b"");
}

#[test]
fn publish_replaces_only_if_asked() {
    let host = FakeHost::new();
    let directory = writable(&host);
    host.put_file(ROOT, "old", b"old");
    directory.write("new", 0, &host.segment(b"new")).unwrap();
    assert_kind(
        directory.publish("new", "old", Existing::Refuse),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(host.file(ROOT, "old").unwrap(), b"old");
    directory.publish("new", "old", Existing::Replace).unwrap();
    assert_kind(
        directory.publish("new", "old", Existing::Replace),
        ErrorKind::NotFound,
    );
    directory.publish("old", "old", Existing::Replace).unwrap();
    assert_eq!(
        (host.file(ROOT, "old").unwrap(), host.paths(ROOT)),
        (b"new".to_vec(), vec!["old".into()])
    );
}

#[test]
fn a_full_disk_takes_what_fits_and_fails() {
    let host = FakeHost::new();
    let directory = writable(&host);
    host.set_capacity(ROOT, 3);
    assert_kind(directory.write("a", 0, &host.segment(b"12345")), ErrorKind::Other);
    assert_eq!(host.file(ROOT, "a").unwrap(), b"123");
    assert_eq!(directory.space().unwrap().available_bytes, 0);
    directory.write("a", 0, &host.segment(b"abc")).unwrap();
}

#[test]
fn remove_takes_files_and_empty_directories() {
    let host = FakeHost::new();
    let directory = writable(&host);
    directory.make_directory("a/b").unwrap();
    directory.make_directory("a/b").unwrap();
    assert_kind(directory.remove("a"), ErrorKind::Invalid);
    directory.remove("a/b").unwrap();
    directory.remove("a").unwrap();
    directory.remove("a").unwrap();
    assert!(directory.list("", None).unwrap().entries.is_empty());
}

#[test]
fn a_scripted_fault_strikes_once_where_it_was_put() {
    let host = FakeHost::new();
    let directory = writable(&host);
    let body = host.segment(b"x");
    host.fail_call(1, Error::busy("later"));
    directory.write("a", 0, &body).unwrap();
    assert_kind(directory.write("b", 0, &body), ErrorKind::Busy);
    assert!(host.fault_struck());
    directory.write("c", 0, &body).unwrap();

    host.lose_answer(0, Error::unavailable("gone"));
    assert_kind(directory.write("d", 0, &body), ErrorKind::Unavailable);
    host.fail_next("directory.stat", Error::denied("no"));
    directory.write("e", 0, &body).unwrap();
    assert_kind(directory.stat("e"), ErrorKind::Denied);
    host.fail_call(0, Error::busy("never reached"));
    assert!(!host.fault_struck());
    assert_eq!(host.paths(ROOT), ["a", "c", "d", "e"]);
}

#[test]
fn a_cancelled_run_fails_every_call_until_it_is_masked() {
    let host = FakeHost::new();
    let directory = writable(&host);
    host.cancel();
    assert_kind(directory.stat(""), ErrorKind::Cancelled);
    host.mask_cancel();
    directory.stat("").unwrap();
}

#[test]
fn a_failed_command_spoils_its_output() {
    let host = FakeHost::new();
    host.serve_commands(|command, input| {
        let code = if command.program == "dump" { 0 } else { 3 };
        Ok(FakeExit {
            code,
            stdout: input.to_vec(),
            stderr: "first\nlast".into(),
        })
    });
    let good = commands::spawn(&command("dump"), Some(&host.segment(b"fed"))).unwrap();
    assert_eq!(host.drain(&good.output().unwrap()).unwrap(), b"fed");
    assert_kind(good.output(), ErrorKind::Invalid);
    let bad = commands::spawn(&command("broken"), None).unwrap();
    assert_kind(host.drain(&bad.output().unwrap()), ErrorKind::Other);
    assert_eq!(bad.wait().unwrap().code, 3);
    commands::run(&command("dump")).unwrap();
    assert_eq!(
        commands::run(&command("broken")).unwrap_err().message,
        "\"broken\" ended with 3: last"
    );
    assert_eq!(host.open_handles(), 2);
    drop((good, bad));
    assert_eq!(host.open_handles(), 0);
}

fn request() -> http::Request {
    http::Request {
        method: "PUT".into(),
        url: "https://swift.example/v1/a".into(),
        headers: Vec::new(),
        follow_redirects: 0,
        trust: http::Trust::System,
        timeout_ms: None,
    }
}

#[test]
fn http_gives_any_status_with_its_content() {
    let host = FakeHost::new();
    host.serve_http(|request, content| {
        assert_eq!((request.method.as_str(), content), ("PUT", b"body".as_slice()));
        let headers = vec![("retry-after".to_owned(), "3".to_owned())];
        Ok(FakeResponse {
            status: 503,
            headers,
            content: b"busy".to_vec(),
        })
    });
    let response = http::send(&request(), Some(&host.segment(b"body"))).unwrap();
    assert_eq!(
        (response.status, response.header("Retry-After")),
        (503, Some("3"))
    );
    assert_eq!(response.content.read_to_end(100).unwrap(), b"busy");
    assert_eq!(host.calls()[0].subject, "PUT https://swift.example/v1/a");
}

#[test]
fn dropping_connections_and_snapshots_closes_them() {
    let host = FakeHost::new();
    host.allow_snapshot("/var/lib/mysql");
    host.serve_sql(|statement, _| {
        Ok(FakeAnswer {
            affected: statement.len() as u64,
            rows: vec![vec![sql::Value::Null]],
            ..FakeAnswer::default()
        })
    });
    let target = sql::Target {
        engine: sql::Engine::Mysql,
        host: "db".into(),
        port: 3306,
        user: "backup".into(),
        password: None,
        database: None,
        tls: sql::Tls::Off,
        timeout_ms: None,
    };
    let database = sql::connect(&target).unwrap();
    assert_eq!(database.execute("LOCK", &[]).unwrap(), 4);
    assert_eq!(database.query("SELECT", &[]).unwrap().rows.len(), 1);
    assert_kind(snapshots::create("/home", &[]), ErrorKind::Unsupported);
    let snapshot = snapshots::create("/var/lib/mysql", &[]).unwrap();
    assert_eq!(snapshot.path(), "/snapshot/var/lib/mysql");
    assert_eq!(host.open_handles(), 2);
    drop((database, snapshot));
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn a_remote_directory_is_one_of_its_host() {
    let host = FakeHost::new();
    host.add_remote_directory("store", "/backups");
    let target = ssh::Target {
        host: "store".into(),
        port: 22,
        user: "me".into(),
        login: ssh::Login::Agent,
        known_hosts: None,
        accept_new: None,
    };
    let connection = ssh::connect(&target).unwrap();
    let directory = connection.open("/backups", Access::ReadWrite).unwrap();
    drop(connection);
    directory.write("a", 0, &host.segment(b"x")).unwrap();
    assert_kind(directories::open("/backups", Access::ReadOnly), ErrorKind::Denied);
}

#[test]
fn a_tcp_connection_answers_what_was_written() {
    let host = FakeHost::new();
    host.serve_tcp(|bytes| Ok([b"re:", bytes].concat()));
    let target = tcp::Target {
        host: "host".to_owned(),
        port: 1,
        tls: None,
        timeout_ms: None,
    };
    let connection = tcp::connect(&target).unwrap();
    connection.write(b"a").unwrap();
    assert_eq!(connection.send(&host.segment(b"bc")).unwrap(), 2);
    assert_eq!(connection.read(2).unwrap(), b"re");
    assert_eq!(
        host.drain(&connection.receive(Some(4)).unwrap()).unwrap(),
        b":are"
    );
    assert_kind(
        host.drain(&connection.receive(Some(9)).unwrap()),
        ErrorKind::Corrupt,
    );
}

#[test]
fn leftovers_stay_until_they_are_settled() {
    let host = FakeHost::new();
    let leftover = leftovers::announce("a volume snapshot", "snap-1").unwrap();
    assert_eq!(host.leftovers(), [("a volume snapshot".into(), "snap-1".into())]);
    leftover.settle().unwrap();
    leftover.settle().unwrap();
    assert!(host.leftovers().is_empty());
}
