//! Bad plugins: corrupted, foreign, doubled, of another contract. Each is named and gets nothing it was not granted.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{Sandbox, backups, freezer_binary, write};
use rstest::rstest;

fn plugins() -> PathBuf {
    let beside = freezer_binary()
        .parent()
        .map(|p| p.join("lib/freezer/plugins"))
        .unwrap_or_default();
    assert!(
        beside.is_dir(),
        "no plugins beside the binary: {}",
        beside.display()
    );
    beside
}

/// A copy of the plugins in the sandbox.
fn plugin_copy(sandbox: &Sandbox, name: &str) -> PathBuf {
    let to = sandbox.path(name);
    fs::create_dir_all(&to).expect("mkdir");
    freezer_tests::copy_tree(&plugins(), &to);
    to
}

/// An installation of its own in the sandbox: the binary, and its plugins' directory to spoil.
fn installation(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let plugins = plugin_copy(sandbox, "bin/lib/freezer/plugins");
    let binary = sandbox.path("bin/freezer");
    fs::copy(freezer_binary(), &binary).expect("copy");
    (binary, plugins)
}

/// A backup by that installation.
fn backup_by(sandbox: &Sandbox, binary: &Path) -> freezer_tests::Finished {
    let words = ["backup", "source", "--name", "t", "--host", "h", "--to"];
    sandbox
        .scrubbed(binary)
        .args(words)
        .arg(sandbox.url())
        .run()
        .no_crash()
}

#[rstest]
#[case::truncated(|bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec())]
#[case::empty(|_| Vec::new())]
#[case::text(|_| b"#!/bin/sh\n".to_vec())]
#[case::flipped(|mut bytes: Vec<u8>| { let at = bytes.len() / 3; bytes[at] ^= 0xFF; bytes })]
fn a_corrupted_plugin_is_named(#[case] corrupt: fn(Vec<u8>) -> Vec<u8>) {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let (binary, directory) = installation(&sandbox);
    let path = directory.join("local.wasm");
    let bytes = fs::read(&path).expect("plugin");
    fs::write(&path, corrupt(bytes)).expect("write");
    let done = backup_by(&sandbox, &binary);
    assert_eq!(done.code, Some(1), "{done}");
    let done = done.says("local");
    assert!(backups(&sandbox.store(), "h_t").is_empty(), "{done}");
    let listed = sandbox
        .scrubbed(&binary)
        .args(["plugin", "list"])
        .run()
        .no_crash();
    assert!(
        format!("{}{}", listed.text(), listed.stderr).contains("local"),
        "{listed}"
    );
}

#[test]
fn a_plugin_of_an_unknown_contract_version_is_refused_by_both_versions() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let (binary, directory) = installation(&sandbox);
    let path = directory.join("local.wasm");
    let bytes = fs::read(&path).expect("plugin");
    let (old, new) = (br#"contract = "1.0.0""#, br#"contract = "9.0.0""#);
    let at = bytes
        .windows(old.len())
        .position(|w| w == old)
        .expect("the contract line in the component");
    let mut changed = bytes.clone();
    changed[at..at + new.len()].copy_from_slice(new);
    fs::write(&path, changed).expect("write");
    backup_by(&sandbox, &binary).expect(1).says("9.0.0").says("1.");
}

#[test]
fn a_changed_plugin_gets_no_grants_of_the_first_party() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let (binary, directory) = installation(&sandbox);
    let path = directory.join("local.wasm");
    let mut bytes = fs::read(&path).expect("plugin");
    // A custom section more: the same code under another digest.
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    fs::write(&path, bytes).expect("write");
    let done = backup_by(&sandbox, &binary);
    assert_eq!(
        done.code,
        Some(1),
        "a foreign plugin wrote without a grant\n{done}"
    );
    assert!(backups(&sandbox.store(), "h_t").is_empty());
}

#[test]
fn of_two_plugins_of_one_name_the_first_counts_and_it_is_said() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let (first, second) = (plugin_copy(&sandbox, "first"), plugin_copy(&sandbox, "second"));
    let words = [
        "--plugins-dir",
        first.to_str().expect("UTF-8"),
        "--plugins-dir",
        second.to_str().expect("UTF-8"),
    ];
    sandbox.backup_command(&words).run().no_crash().expect(0);
    let listed = sandbox.freezer(["plugin", "list"]).args(words).run().expect(0);
    let text = format!("{}{}", listed.text(), listed.stderr);
    assert!(
        text.contains("second"),
        "the shadowed plugin isn't shown\n{listed}"
    );
}

#[test]
fn what_plugins_used_stands_in_summary_document_and_inspection() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("source/f"), b"x");
    let summary = sandbox.backup(&[]).text();
    let lines: Vec<&str> = summary
        .lines()
        .filter(|line| line.starts_with("plugin   "))
        .collect();
    assert!(
        matches!(lines[..], [mode, storage]
            if mode.starts_with("plugin   fs: ") && storage.starts_with("plugin   local: ") && storage.contains(" ms CPU, ")),
        "{summary}"
    );
    let document = sandbox.backup(&["--full", "--json"]).json();
    let used = &document["result"]["plugins"][1];
    assert_eq!(used["plugin"], "local");
    let calls = used["calls"].as_u64().expect("calls");
    assert!(
        calls > 5 && used["memory_bytes"].as_u64() > Some(1 << 16),
        "{document}"
    );
    let shown = sandbox
        .freezer(["plugin", "inspect", "local", "--json"])
        .run()
        .expect(0)
        .json();
    assert_eq!(shown["result"]["last_run"]["usage"], *used);
    sandbox
        .freezer(["plugin", "inspect", "local"])
        .run()
        .expect(0)
        .tells(&format!("used in the last run\n  local: {calls} calls, "));
    let listed = sandbox
        .freezer(["list", "--json", "--from", &sandbox.url()])
        .run()
        .expect(0)
        .json();
    assert_eq!(listed["result"]["plugins"][0]["plugin"], "local");
}
