//! Processes of plugins that say and do what no engine of ours would: as if somebody had broken out of one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use freezer_plugin::limits::{LimitOverride, LimitOverrides};
use freezer_plugin::{HostConfig, Isolation, PluginError, PluginHost, PluginKind};

use crate::common::{TestRun, config, guests, run};

/// What a host says that starts this script instead of its worker; its input is the socket.
fn start(script: &str) -> String {
    start_within(3, script)
}

/// The same where a call has so many seconds by the clock.
fn start_within(seconds: u64, script: &str) -> String {
    let begun = Instant::now();
    let said = start_in_a_run(seconds, script, &run(Vec::new())).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    said.to_string()
}

fn start_in_a_run(seconds: u64, script: &str, run: &TestRun) -> Result<(), PluginError> {
    let temp = tempfile::tempdir().unwrap();
    let program = temp.path().join("worker");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let few = LimitOverride {
        cpu_seconds: Some(1),
        call_seconds: Some(seconds),
        ..LimitOverride::default()
    };
    let host = PluginHost::new(HostConfig {
        compiler: Some(program),
        isolation: Isolation::All,
        limits: LimitOverrides([("local".to_owned(), few)].into()),
        ..config(temp.path())
    });
    let host = host.unwrap();
    let plugin = host.find(PluginKind::Storage, "local").unwrap();
    host.load(&plugin, &run.run)
}

/// The bytes of a message, as printf writes them: length, kind and content.
fn says(message: &str) -> String {
    format!("printf '{message}' >&0; exec sleep 20")
}

#[test]
fn one_that_says_what_is_no_message_is_named_and_ended() {
    let broken = "plugin local broke the plugin contract in start: its process said what is no message";
    for nonsense in [
        // A kind that there isn't.
        r"\0\0\0\0\377",
        // A call, which only freezer makes.
        r"\0\0\0\0\0",
        // An answer without its figure, one with something behind it.
        r"\0\0\0\0\1",
        r"\11\0\0\0\1\0\0\0\0\0\0\0\0x",
        // A question of no function, and one that ends too early.
        r"\2\0\0\0\2\377\377",
        r"\6\0\0\0\2\16\0\5\0\0\0",
        // A text that is no text: control.secret.
        r"\7\0\0\0\2\16\0\1\0\0\0\377",
        // A death of no kind.
        r"\11\0\0\0\3\0\0\0\0\0\0\0\0\77",
        // Words without the stream that they were written to, and to one that there isn't.
        r"\0\0\0\0\5",
        r"\2\0\0\0\5\2x",
    ] {
        assert_eq!(start(&says(nonsense)), broken, "{nonsense}");
    }
}

#[test]
fn one_that_says_too_much_meets_the_limit_of_a_guest() {
    let too_much = "plugin local was stopped in start: it passed more than 18 MiB in one call";
    for message in [
        // A message of 2 GiB.
        r"\0\0\0\200\2",
        // bodies.body with 4 GiB of content, and sql.query with as many parameters.
        r"\6\0\0\0\2\1\0\377\377\377\377",
        r"\16\0\0\0\2\134\0\1\0\0\0\0\0\0\0\377\377\377\377",
    ] {
        assert_eq!(start(&says(message)), too_much, "{message}");
    }
    // 5000 bytes for the log at once.
    let words = format!("printf '{}%5000s' >&0; exec sleep 20", r"\211\23\0\0\5\0");
    assert_eq!(start(&words), too_much);
}

#[test]
fn what_is_written_makes_lines_and_the_last_one_needs_no_end() {
    let run = run(Vec::new());
    let written = r"\12\0\0\0\5\1one\ntwo a\10\0\0\0\5\0another\6\0\0\0\5\1nd it";
    let started = r"\10\0\0\0\1\0\0\0\0\0\0\0\0";
    start_in_a_run(60, &says(&format!("{written}{started}")), &run).unwrap();
    let lines: Vec<u64> = run.run.usage().iter().map(|usage| usage.log_lines).collect();
    assert_eq!(lines, [3]);
}

#[test]
fn one_that_writes_without_end_is_stopped() {
    assert_eq!(
        start_within(60, r"while :; do printf '\1\0\0\0\5\0' >&0; done"),
        "plugin local was stopped in start: it computed for more than 1 s in one call"
    );
}

#[test]
fn one_that_asks_for_what_it_has_not_crashes() {
    // directories.directory.stat of handle 7.
    let said = start(&says(r"\12\0\0\0\2\37\0\7\0\0\0\0\0\0\0"));
    assert_eq!(said, "plugin local doesn't load: resource not present");
    // files.open of /etc is answered, not obeyed: what follows is a second word out of turn.
    let said = start(&says(r"\13\0\0\0\2\50\0\4\0\0\0/etc\0"));
    assert_eq!(
        said,
        "plugin local was stopped in start: the call took more than 3 s"
    );
}

#[test]
fn one_that_ends_waits_or_computes_is_named() {
    assert_eq!(
        start("exit 7"),
        "plugin local doesn't load: its process ended (exit status: 7)"
    );
    assert_eq!(
        start("kill -9 $$"),
        "plugin local doesn't load: its process ended (signal: 9 (SIGKILL))"
    );
    assert_eq!(
        start("exec sleep 20"),
        "plugin local was stopped in start: the call took more than 3 s"
    );
    assert_eq!(
        start_within(60, "while :; do :; done"),
        "plugin local was stopped in start: it computed for more than 1 s in one call"
    );
}

#[test]
fn a_host_without_a_program_for_it_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let host = PluginHost::new(HostConfig {
        isolation: Isolation::All,
        ..config(temp.path())
    });
    let host = host.unwrap();
    let plugin = host.find(PluginKind::Storage, "local").unwrap();
    let said = host.load(&plugin, &run(Vec::new()).run).unwrap_err().to_string();
    assert_eq!(
        said,
        "can't start the plugin engine: plugin local can't have a process of its own: this program has none for that"
    );
}

#[test]
fn who_runs_apart_is_chosen_by_where_it_came_from() {
    let temp = tempfile::tempdir().unwrap();
    let apart = |isolation| {
        let mut config = config(temp.path());
        config.plugin_dirs.push(guests(temp.path()));
        let host = PluginHost::new(HostConfig { isolation, ..config }).unwrap();
        ["local", "hostile"].map(|name| host.is_apart(&host.find(PluginKind::Storage, name).unwrap()))
    };
    assert_eq!(apart(Isolation::None), [false, false]);
    assert_eq!(apart(Isolation::Foreign), [false, true]);
    assert_eq!(apart(Isolation::All), [true, true]);
}
