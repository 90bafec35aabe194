//! What is this storage's own: the login it asks for, its connection, and a fault at every call. How objects lie in a directory is
//! tested with storage local, which shares it.

use super::*;
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::ssh::Login;
use freezer_sdk::settings::{SettingValue, Settings};
use freezer_sdk::storage::{Existing, Storage};
use freezer_sdk::testing::FakeHost;

const ROOT: &str = "/srv/backups";
const KEY: &str = "data/tar/web01_etc/1700000000/0_1700000000/data";

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.add_remote_directory("vault", ROOT);
    host
}

fn settings(more: &[(&str, SettingValue)]) -> Settings {
    let text = |text: &str| SettingValue::Text(text.to_owned());
    let mut all = vec![
        ("host", text("vault")),
        ("user", text("backup")),
        ("path", text("srv/backups")),
        ("port", SettingValue::Integer(2222)),
    ];
    all.extend_from_slice(more);
    Settings::new(all)
}

fn open() -> Ssh {
    Ssh::open(settings(&[])).unwrap()
}

fn store(host: &FakeHost, storage: &Ssh, key: &str) -> Result<()> {
    let upload = storage.begin(key, None)?;
    let mut receipts = Vec::new();
    for number in 0..3_u32 {
        let content = host.segment(&[b'a' + number as u8; 4]);
        receipts.push(storage.put_segment(&upload, number, u64::from(number) * 4, &content)?);
    }
    storage.commit(&upload, 12, &receipts)
}

fn connections(host: &FakeHost) -> usize {
    host.calls()
        .iter()
        .filter(|call| call.name == "ssh.connect")
        .count()
}

fn login(more: &[(&str, SettingValue)]) -> Login {
    login::target(&settings(more)).unwrap().login
}

#[test]
fn the_login_follows_what_was_given() {
    let host = host();
    let key = ("ssh-key", SettingValue::Text("/home/me/.ssh/id".into()));
    let agent = ("ssh-agent", SettingValue::Flag(true));
    assert_eq!(login(&[]), Login::Agent);
    let Login::Key(plain) = login(std::slice::from_ref(&key)) else {
        panic!("no key")
    };
    assert_eq!((plain.file.as_str(), plain.passphrase), ("ssh-key", None));
    host.set_secret("ssh-password", "hunter2");
    host.set_secret("ssh-key-passphrase", "hunter3");
    assert_eq!(login(&[]), Login::Password("ssh-password".into()));
    assert_eq!(login(&[agent]), Login::Agent);
    let Login::Key(locked) = login(&[key]) else {
        panic!("no key")
    };
    assert_eq!(locked.passphrase.as_deref(), Some("ssh-key-passphrase"));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let _host = host();
    for port in [0, -1, 65_536] {
        let text = |text: &str| SettingValue::Text(text.to_owned());
        let alone = Settings::new([
            ("host", text("vault")),
            ("user", text("backup")),
            ("path", text("b")),
            ("port", SettingValue::Integer(port)),
        ]);
        assert_eq!(
            Ssh::open(alone).err().unwrap().kind,
            ErrorKind::Invalid,
            "port {port}"
        );
    }
}

#[test]
fn nothing_connects_before_it_is_needed_and_then_once() {
    let host = host();
    let storage = open();
    storage.limits();
    assert_eq!(connections(&host), 0);
    store(&host, &storage, KEY).unwrap();
    let body = storage.read(KEY, 2, Some(4)).unwrap();
    assert_eq!(host.drain(&body).unwrap(), b"aabb");
    assert_eq!(connections(&host), 1);
    assert_eq!(host.paths(&format!("vault:{ROOT}")), [KEY]);
}

#[test]
fn a_broken_connection_is_made_anew_by_the_next_call() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Cancelled] {
        let host = host();
        let storage = open();
        let upload = storage.begin(KEY, None).unwrap();
        host.fail_next("directory.write", Error::new(kind, "cut"));
        let content = host.segment(b"abcd");
        let failure = storage.put_segment(&upload, 0, 0, &content).unwrap_err();
        assert_eq!(failure.kind, kind);
        assert_eq!(connections(&host), 1);
        let receipt = storage.put_segment(&upload, 0, 0, &content).unwrap();
        assert_eq!(connections(&host), 2);
        storage.commit(&upload, 4, &[receipt]).unwrap();
    }
}

#[test]
fn an_error_of_the_directory_keeps_the_connection() {
    let host = host();
    let storage = open();
    store(&host, &storage, KEY).unwrap();
    storage.stat("data/none").unwrap_err();
    storage.begin(KEY, None).unwrap_err();
    storage.stat(KEY).unwrap();
    assert_eq!(connections(&host), 1);
}

#[test]
fn a_call_that_comes_once_finds_out_about_a_connection_that_broke_meanwhile() {
    let host = host();
    let storage = open();
    store(&host, &storage, KEY).unwrap();
    // The next call of `stat` is the look at the connection before `begin`.
    host.fail_next("directory.stat", Error::unavailable("cut while idle"));
    store(&host, &storage, "data/other").unwrap();
    assert_eq!(connections(&host), 2);
}

#[test]
fn whatever_call_fails_an_object_is_whole_or_absent_and_a_later_run_succeeds() {
    for position in 0.. {
        let host = host();
        let storage = open();
        host.fail_call(position, Error::unavailable("cut"));
        let result = store(&host, &storage, KEY);
        let struck = host.fault_struck();
        if storage.stat(KEY).is_ok() {
            assert_eq!(
                host.drain(&whole(&storage)).unwrap(),
                b"aaaabbbbcccc",
                "position {position}"
            );
        } else {
            result.unwrap_err();
            store(&host, &storage, KEY).unwrap();
        }
        if !struck {
            assert!(position > 8, "only {position} calls");
            break;
        }
    }
}

fn whole(storage: &Ssh) -> Body {
    storage.read(KEY, 0, None).unwrap()
}

#[test]
fn a_small_object_is_replaced_only_if_asked() {
    let host = host();
    let storage = open();
    storage
        .put("metadata/a", &host.segment(b"one"), Existing::Refuse)
        .unwrap();
    let again = storage.put("metadata/a", &host.segment(b"two"), Existing::Refuse);
    assert_eq!(again.unwrap_err().kind, ErrorKind::AlreadyExists);
    storage
        .put("metadata/a", &host.segment(b"two"), Existing::Replace)
        .unwrap();
    assert_eq!(
        host.drain(&storage.read("metadata/a", 0, None).unwrap()).unwrap(),
        b"two"
    );
}

#[test]
fn a_container_that_is_absent_is_told_with_its_machine() {
    let host = FakeHost::new();
    host.add_remote_directory("vault", "/elsewhere");
    let error = open().list("", None).unwrap_err();
    assert!(
        error
            .message
            .contains("container \"/srv/backups\" of backup@vault:2222"),
        "{error}"
    );
}

#[test]
fn a_key_or_machine_that_is_missing_is_no_empty_storage() {
    let host = host();
    host.fail_next("ssh.connect", Error::not_found("can't read the key /home/me/id"));
    let error = open().list("", None).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Invalid, "can't read the key /home/me/id")
    );
}
