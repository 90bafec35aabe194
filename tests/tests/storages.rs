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

/// Where the plugin under test runs.
type Host = fn(PathBuf) -> PluginHost;

/// In freezer's process, and in one of its own.
const PLACES: [Host; 2] = [plugin_host, isolating_host];

/// Opens two containers, one of which doesn't exist, and tests all rules.
#[track_caller]
fn assert_conforms(
    host: Host,
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
    for (host, folder) in PLACES.into_iter().zip(["here", "apart"]) {
        let url = |name: &str| local(&sandbox.path(folder).join(name));
        assert_conforms(host, &sandbox, url, &[], Capabilities::default());
    }
}

#[track_caller]
fn assert_server_conforms(server: &StorageServer, more: &[(&str, &str)], capabilities: Capabilities) {
    assert_server_conforms_to(plugin_host, server, more, capabilities);
}

/// The same in a process of its own, with less to list.
#[track_caller]
fn assert_server_conforms_apart(server: &StorageServer, capabilities: Capabilities) {
    let fewer = Capabilities {
        listed_objects: 25,
        pending_uploads: 5,
        ..capabilities
    };
    assert_server_conforms_to(isolating_host, server, &[], fewer);
}

#[track_caller]
fn assert_server_conforms_to(
    host: Host,
    server: &StorageServer,
    more: &[(&str, &str)],
    capabilities: Capabilities,
) {
    let mut settings = server.settings();
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let url = |name: &str| server.url(name);
    assert_conforms(host, &Sandbox::new(), url, &settings, capabilities);
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
    fn swift_conforms_apart() {
        assert_server_conforms_apart(&StorageServer::swift(), SWIFT);
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

    #[test]
    fn ssh_conforms_apart() {
        assert_server_conforms_apart(&StorageServer::ssh(), Capabilities::default());
    }
}

mod needs_s3 {
    use super::*;

    fn s3() -> Capabilities {
        Capabilities {
            refusal: Refusal::Sequential,
            pending_uploads: 105,
            // This server answers 500.
            knows_gone_uploads: false,
            ..Capabilities::default()
        }
    }

    #[test]
    fn s3_conforms() {
        assert_server_conforms(&StorageServer::s3(), &[], s3());
    }

    #[test]
    fn s3_conforms_apart() {
        assert_server_conforms_apart(&StorageServer::s3(), s3());
    }
}
