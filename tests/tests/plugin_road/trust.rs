//! Whose components are taken: signatures, keys, revocations, and what was changed or comes by a wire.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::thread;

use freezer_tests::write;

use crate::road::{Road, component};

#[test]
fn without_a_trusted_signature_it_needs_a_word() {
    let road = Road::new();
    let unsigned = road.unsigned("0.1.0");
    road.install(&unsigned, &[])
        .expect(1)
        .says("it is not signed")
        .says("--allow-unsigned");
    let other = road.key("other");
    road.sign(&unsigned, "other");
    road.install(&unsigned, &[])
        .expect(1)
        .says("which nobody here trusts")
        .says("freezer plugin trust");
    assert!(!road.plugin_dir().join("acmes.wasm").exists());
    road.install(&unsigned, &["--allow-unsigned"]).expect(0);
    road.trust(&other);
    road.plugin(&["verify"])
        .expect(0)
        .tells("signed by Acme releases");
}

#[test]
fn what_was_changed_after_it_was_signed_is_refused() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    write(&path, &bytes);
    for words in [&[][..], &["--allow-unsigned"]] {
        road.install(&path, words)
            .expect(1)
            .says("doesn't fit: the component or the signature was changed");
    }
    write(&path.with_extension("wasm.minisig"), b"nonsense\n");
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("it isn't in the format of minisign");
    assert!(!road.plugin_dir().exists());
}

#[test]
fn no_plugin_at_all_and_another_contract_are_refused_first() {
    let road = Road::new();
    let path = road.sandbox.path("builds/x.wasm");
    for (bytes, says) in [
        (b"#!/bin/sh\n".to_vec(), "it isn't WebAssembly"),
        (component("0.1.0")[..5000].to_vec(), "is no plugin"),
    ] {
        write(&path, &bytes);
        road.install(&path, &["--allow-unsigned"]).expect(1).says(says);
    }
    let text = component("0.1.0");
    let from = b"contract = \"1.0.0\"";
    let place = text
        .windows(from.len())
        .rposition(|window| window == from)
        .expect("the contract");
    let mut newer = text;
    newer[place + 12] = b'9';
    write(&path, &newer);
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("needs plugin contract 9.0.0, this freezer speaks 1.0.0");
    assert!(!road.plugin_dir().exists());
}

#[test]
fn a_revoked_key_or_component_is_used_no_more() {
    let (road, key) = Road::installed();
    road.plugin(&["distrust", &key, "--why", "stolen"])
        .expect(0)
        .says("plugin acmes isn't used any more");
    road.backup().expect(1).says("which is revoked (stolen)");
    road.plugin(&["verify", "acmes"])
        .expect(5)
        .tells("which is revoked (stolen)");
    road.install(&road.sandbox.path("builds"), &["--allow-unsigned"])
        .expect(1)
        .says("revoked");
    road.trust(&key);
    road.backup().expect(0);
    let digest = road.inspected()["sha256"].as_str().expect("text").to_owned();
    road.plugin(&["distrust", &format!("sha256:{digest}")]).expect(0);
    road.backup().expect(1).says("its component is revoked");
    let refused = road
        .audit()
        .into_iter()
        .filter(|line| line["event"] == "load" && line["outcome"] == "refused");
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_component_that_was_changed_where_it_lies_is_not_used() {
    let (road, _) = Road::installed();
    let path = road.plugin_dir().join("acmes.wasm");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    write(&path, &bytes);
    road.backup().expect(1).says("isn't what was installed");
    road.plugin(&["verify"])
        .expect(5)
        .tells("isn't what was installed");
    road.install(&road.sandbox.path("builds"), &["--grant", "asked"])
        .expect(0);
    road.backup().expect(0);
}

/// Serves the files of a folder by plain HTTP, whoever asks, until the process ends.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text
                .split(' ')
                .nth(1)
                .unwrap_or("/")
                .trim_start_matches('/')
                .to_owned();
            let (status, content) = match fs::read(folder.join(path)) {
                Ok(content) => ("200 OK", content),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                content.len()
            );
            drop(
                connection
                    .write_all(head.as_bytes())
                    .and_then(|()| connection.write_all(&content)),
            );
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn by_plain_http_a_signature_or_a_digest_must_speak_for_it() {
    let road = Road::new();
    let url = format!("{}/acmes-0.1.0.wasm", serve(road.sandbox.path("builds")));
    let install = |more: &[&str]| road.plugin(&[&["install", &url, "--yes"], more].concat());
    install(&["--allow-unsigned"])
        .expect(1)
        .says("can't fetch")
        .says("there is none (status 404)");
    road.unsigned("0.1.0");
    install(&["--allow-unsigned"])
        .expect(1)
        .says("it came by plain http and is not signed");
    install(&["--sha256", &"0".repeat(64)]).expect(1).says("not 0000");
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    install(&["--grant", "asked"]).expect(0);
    assert_eq!(road.inspected()["source"], url);
    road.backup().expect(0);
    let digest = road.inspected()["sha256"].as_str().expect("text").to_owned();
    road.plugin(&["remove", "acmes"]).expect(0);
    fs::remove_file(road.sandbox.path("builds/acmes-0.1.0.wasm.minisig")).expect("remove");
    install(&["--sha256", &digest]).expect(0);
}

#[test]
fn nothing_is_written_through_links_or_where_others_can_write() {
    let (road, key) = Road::installed();
    let victim = road.sandbox.path("victim");
    write(&victim, b"precious");
    let newer = road.signed("0.2.0", "acme");
    let plugin = road.plugin_dir().join("acmes.wasm");
    fs::remove_file(&plugin).expect("remove");
    symlink(&victim, &plugin).expect("link");
    road.install(&newer, &[]).expect(1).says("it is a link");
    fs::remove_file(&plugin).expect("remove");
    for name in ["trust.toml", "grants.toml"] {
        let file = road.config(name);
        fs::remove_file(&file).expect("remove");
        symlink(&victim, &file).expect("link");
        road.plugin(&["trust", &key]).expect(2).says("it is a link");
        fs::remove_file(&file).expect("remove");
    }
    let config = road.config(".");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o777)).expect("chmod");
    road.plugin(&["trust", &key])
        .expect_any(&[1, 2])
        .says("others can write the directory");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o755)).expect("chmod");
    road.trust(&key);
    fs::set_permissions(road.plugin_dir(), fs::Permissions::from_mode(0o777)).expect("chmod");
    road.install(&newer, &[])
        .expect(1)
        .says("others can write the directory");
    assert_eq!(fs::read(&victim).expect("read"), b"precious");
    assert!(!plugin.exists());
}
