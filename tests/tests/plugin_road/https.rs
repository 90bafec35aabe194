//! Installing from a URL by https: who certified the server, where redirects lead, and what comes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use freezer_tests::{Finished, write};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::road::Road;

/// More than a component may have.
const TOO_LARGE: u64 = (64 << 20) + 1;

type Connection = StreamOwned<ServerConnection, TcpStream>;

/// A maker's server. Its certificate names `localhost`, signed by an authority whose certificate is `ca.pem` in the sandbox.
struct Maker {
    road: Road,
    port: u16,
}

impl Maker {
    /// Serves the sandbox's folder `builds`, and what [`answer`] does by the first part of a path.
    fn new() -> Self {
        let road = Road::new();
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
            .expect("an authority");
        write(&road.sandbox.path("ca.pem"), authority.pem().as_bytes());
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let own = own.signed_by(&key, &authority).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a certificate and its key");
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let builds = road.sandbox.path("builds");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, builds) = (Arc::clone(&config), builds.clone());
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).expect("a connection");
                    // Whoever doesn't trust the certificate breaks off.
                    drop(answer(StreamOwned::new(connection, stream), builds));
                });
            }
        });
        Self { road, port }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// Installs from a path of the server, whose authority is trusted for it.
    fn install(&self, path: &str, more: &[&str]) -> Finished {
        self.install_trusting("ca.pem", path, more)
    }

    fn install_trusting(&self, authority: &str, path: &str, more: &[&str]) -> Finished {
        let words = ["install", &self.url(path), "--yes", "--cacert", authority];
        self.road.plugin(&[&words, more].concat())
    }
}

/// Answers one request: `moved/PATH` leads to PATH, `plain/PATH` to the same by http, `round` to itself, `large` has too much,
/// `cut/PATH` ends in the middle; any other path is a file.
fn answer(mut connection: Connection, builds: PathBuf) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut connection).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    drop(lines);
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let (how, rest) = path.split_once('/').unwrap_or((path, ""));
    let file = |path: &str| fs::read(builds.join(path));
    match how {
        "moved" => redirect(&mut connection, &format!("/{rest}"))?,
        "plain" => redirect(&mut connection, &format!("http://127.0.0.1:1/{rest}"))?,
        "round" => redirect(&mut connection, "/round")?,
        "large" => {
            head(&mut connection, "200 OK", TOO_LARGE)?;
            let piece = vec![0; 1 << 20];
            for _ in 0..=TOO_LARGE >> 20 {
                connection.write_all(&piece)?;
            }
        }
        "cut" => {
            let content = file(rest)?;
            head(&mut connection, "200 OK", content.len() as u64)?;
            connection.write_all(&content[..content.len() / 2])?;
        }
        _ => match file(path) {
            Ok(content) => {
                head(&mut connection, "200 OK", content.len() as u64)?;
                connection.write_all(&content)?;
            }
            Err(_) => head(&mut connection, "404 Not Found", 0)?,
        },
    }
    connection.conn.send_close_notify();
    connection.flush()
}

fn head(connection: &mut Connection, status: &str, length: u64) -> std::io::Result<()> {
    write!(
        connection,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

fn redirect(connection: &mut Connection, place: &str) -> std::io::Result<()> {
    write!(
        connection,
        "HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

#[test]
fn a_signed_plugin_comes_by_https_from_a_server_whose_authority_is_named() {
    let maker = Maker::new();
    let road = &maker.road;
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    maker
        .install("acmes-0.1.0.wasm", &["--grant", "asked"])
        .expect(0)
        .says("installed acmes 0.1.0 with 1 grant");
    assert_eq!(road.inspected()["source"], maker.url("acmes-0.1.0.wasm"));
    road.backup().expect(0);
    road.signed("0.2.0", "acme");
    let newer = maker.url("moved/moved/acmes-0.2.0.wasm");
    road.plugin(&[
        "update",
        "acmes",
        &newer,
        "--cacert",
        "ca.pem",
        "--yes",
        "--keep-grants",
    ])
    .expect(0)
    .says("updated acmes 0.2.0 with 1 grant");
    road.backup().expect(0);
    // Whoever can't be asked gets the whole command.
    road.plugin(&["install", &newer, "--cacert", "ca.pem"])
        .expect(2)
        .says("--cacert ca.pem --yes --grant");
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_asked() {
    let maker = Maker::new();
    let road = &maker.road;
    road.unsigned("0.1.0");
    let url = maker.url("acmes-0.1.0.wasm");
    road.plugin(&["install", &url, "--yes", "--allow-unsigned"])
        .expect(1)
        .says("can't fetch https://localhost:")
        .says("its certificate isn't trusted");
    let other = Maker::new();
    fs::copy(other.road.sandbox.path("ca.pem"), road.sandbox.path("other.pem")).expect("a copy");
    maker
        .install_trusting("other.pem", "acmes-0.1.0.wasm", &["--allow-unsigned"])
        .expect(1)
        .says("its certificate isn't trusted");
    // It names localhost and no address.
    let url = url.replace("localhost", "127.0.0.1");
    road.plugin(&["install", &url, "--yes", "--allow-unsigned", "--cacert", "ca.pem"])
        .expect(1)
        .says("its certificate isn't trusted");
    for (file, says) in [
        ("absent.pem", "can't read the certificates in"),
        ("source/f", "must hold certificates in PEM form"),
    ] {
        maker
            .install_trusting(file, "acmes-0.1.0.wasm", &["--allow-unsigned"])
            .expect(1)
            .says(says);
    }
    assert!(!road.plugin_dir().exists());
    maker.install("acmes-0.1.0.wasm", &["--allow-unsigned"]).expect(0);
}

#[test]
fn redirects_lead_neither_to_plain_http_nor_in_circles() {
    let maker = Maker::new();
    maker.road.unsigned("0.1.0");
    let refused = |path: &str, says: &str| {
        drop(
            maker
                .install(path, &["--allow-unsigned"])
                .expect(1)
                .says("can't fetch")
                .says(says),
        );
    };
    refused(
        "plain/acmes-0.1.0.wasm",
        "a redirect leads from https to a URL without TLS",
    );
    refused(
        "moved/plain/acmes-0.1.0.wasm",
        "a redirect leads from https to a URL without TLS",
    );
    refused("round", "it leads to nothing after 5 redirects");
    assert!(!maker.road.plugin_dir().exists());
}

#[test]
fn what_is_too_large_cut_or_another_thing_is_not_installed() {
    let maker = Maker::new();
    let road = &maker.road;
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    maker
        .install("large", &["--allow-unsigned"])
        .expect(1)
        .says("it has more than 67108864 bytes");
    maker
        .install("cut/acmes-0.1.0.wasm", &["--allow-unsigned"])
        .expect(1)
        .says("can't fetch");
    maker
        .install("acmes-0.3.0.wasm", &["--allow-unsigned"])
        .expect(1)
        .says("there is none (status 404)");
    let other = "0".repeat(64);
    maker
        .install("acmes-0.1.0.wasm", &["--sha256", &other])
        .expect(1)
        .says(&format!("not {other}"));
    let signature = |version: &str| road.sandbox.path(format!("builds/acmes-{version}.wasm.minisig"));
    road.unsigned("0.2.0");
    fs::copy(signature("0.1.0"), signature("0.2.0")).expect("another component's signature");
    maker
        .install("acmes-0.2.0.wasm", &["--allow-unsigned"])
        .expect(1)
        .says("doesn't fit: the component or the signature was changed");
    assert!(!road.plugin_dir().exists());
}
