//! Every storage plugin keeps every rule of the contract, against the real thing that it stores to.
//!
//! A plugin folder without a line in [`STORAGES`] fails here: whoever adds a storage says how to start one.

use std::fs;
use std::path::Path;

use freezer_tests::conformance::{Capabilities, Subject};
use freezer_tests::{Sandbox, open_storage, plugin_host, workspace};

/// The storages that are tested below, by their plugin folders.
const STORAGES: &[&str] = &["local"];

#[test]
fn every_storage_plugin_is_tested() {
    let mut folders: Vec<String> = fs::read_dir(workspace().join("plugins/storages"))
        .expect("plugins/storages")
        .flatten()
        .filter(|entry| entry.path().join("plugin.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut tested: Vec<String> = STORAGES.iter().map(|name| (*name).to_owned()).collect();
    tested.sort();
    assert_eq!(
        folders, tested,
        "each folder needs its test here, and each test its folder"
    );
}

/// Opens two containers, one of which doesn't exist, and tests all rules.
#[track_caller]
fn assert_conforms(
    sandbox: &Sandbox,
    url: impl Fn(&str) -> String,
    settings: &[(String, String)],
    capabilities: Capabilities,
) {
    let (one, other) = (
        plugin_host(sandbox.path("state")),
        plugin_host(sandbox.path("other-state")),
    );
    let subject = Subject {
        store: open_storage(&one, &url("container"), settings),
        other_run: open_storage(&other, &url("container"), settings),
        absent: open_storage(&one, &url("absent"), settings),
        capabilities,
    };
    let violations = subject.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn local(directory: &Path) -> String {
    format!("local:{}", directory.display())
}

#[test]
fn local_conforms() {
    let sandbox = Sandbox::new();
    let url = |name: &str| local(&sandbox.path(name));
    assert_conforms(&sandbox, url, &[], Capabilities::default());
}
