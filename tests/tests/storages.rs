//! Every storage plugin keeps every rule of the contract, against the real thing that it stores to.
//!
//! A plugin folder without a line in [`STORAGES`] fails here: whoever adds a storage says how to start one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use freezer_conformance::storage::{Capabilities, Refusal, Subject};
use freezer_plugin::PluginHost;
use freezer_tests::{Sandbox, StorageServer, isolating_host, open_storage, plugin_host, workspace};

/// The storages that are tested below, by their plugin folders.
const STORAGES: &[&str] = &["local", "s3", "ssh", "swift"];

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

/// Tests all rules, in freezer's process and with the plugin in one of its own.
#[track_caller]
fn assert_conforms(
    sandbox: &Sandbox,
    url: impl Fn(&str) -> String,
    settings: &[(String, String)],
    capabilities: Capabilities,
) {
    assert_conforms_on(plugin_host, sandbox, &url, settings, capabilities);
    let fewer = Capabilities {
        listed_objects: 25,
        pending_uploads: 5,
        ..capabilities
    };
    let url = |name: &str| url(&format!("apart-{name}"));
    assert_conforms_on(isolating_host, sandbox, url, settings, fewer);
}

/// Opens two containers, one of which doesn't exist, and tests all rules.
#[track_caller]
fn assert_conforms_on(
    host: fn(PathBuf) -> PluginHost,
    sandbox: &Sandbox,
    url: impl Fn(&str) -> String,
    settings: &[(String, String)],
    capabilities: Capabilities,
) {
    let (one, other) = (host(sandbox.path("state")), host(sandbox.path("other-state")));
    let subject = Subject {
        store: open_storage(&one, &url("container"), settings),
        other_run: open_storage(&other, &url("container"), settings),
        absent: Some(open_storage(&one, &url("absent"), settings)),
        capabilities,
    };
    let violations = subject.violations();
    assert!(
        violations.is_empty(),
        "{}: {}",
        url("container"),
        violations.join("\n")
    );
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

#[track_caller]
fn assert_server_conforms(server: &StorageServer, more: &[(&str, &str)], capabilities: Capabilities) {
    let mut settings = server.settings();
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    assert_conforms(&Sandbox::new(), |name| server.url(name), &settings, capabilities);
}

/// Its test for "nothing is there yet" asks the replicas that it reaches.
const SWIFT: Capabilities = Capabilities {
    refusal: Refusal::Sequential,
    pending: true,
    usage: true,
    listing_lag: Duration::from_secs(5),
    listed_objects: 1005,
    pending_uploads: 105,
    knows_gone_uploads: true,
};

mod needs_swift {
    use super::*;

    #[test]
    fn swift_conforms() {
        assert_server_conforms(&StorageServer::swift(), &[], SWIFT);
    }

    #[test]
    fn s3_on_swift_conforms() {
        let capabilities = Capabilities {
            refusal: Refusal::Unsupported,
            listed_objects: 105,
            pending_uploads: 25,
            ..SWIFT
        };
        assert_server_conforms(&StorageServer::swift_by_s3(), &[], capabilities);
    }

    #[test]
    fn swift_with_static_large_objects_conforms() {
        let capabilities = Capabilities {
            listed_objects: 105,
            pending_uploads: 15,
            ..SWIFT
        };
        assert_server_conforms(&StorageServer::swift(), &[("swift-slo", "true")], capabilities);
    }
}

mod needs_keystone {
    use super::*;

    #[test]
    fn swift_on_keystone_conforms() {
        let capabilities = Capabilities {
            listed_objects: 105,
            pending_uploads: 15,
            ..SWIFT
        };
        assert_server_conforms(&StorageServer::keystone(), &[], capabilities);
    }
}

mod needs_sshd {
    use super::*;

    #[test]
    fn ssh_conforms() {
        assert_server_conforms(&StorageServer::ssh(), &[], Capabilities::default());
    }
}

mod needs_s3 {
    use super::*;

    #[test]
    fn s3_conforms() {
        let capabilities = Capabilities {
            refusal: Refusal::Sequential,
            pending_uploads: 105,
            // This server answers 500.
            knows_gone_uploads: false,
            ..Capabilities::default()
        };
        assert_server_conforms(&StorageServer::s3(), &[], capabilities);
    }
}
