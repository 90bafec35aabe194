//! The three trusts, against a server with a certificate of our own authority.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use freezer_io::error::ErrorKind;
use freezer_io::http::{Request, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::{Server, Tester, Then, bytes, read_all, read_content, request};

/// A server whose certificate names `localhost`, and the PEM file of who signed it.
struct Secure {
    server: Server,
    authority: PathBuf,
    _temp: tempfile::TempDir,
}

impl Secure {
    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/o", self.server.address.port())
    }
}

/// Serves with this certificate; `pem` is what users are given to trust.
fn secure(certificate: CertificateDer<'static>, key: &KeyPair, pem: &str) -> Secure {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)) as Box<_>)
    };
    let server = Server::wrapped(
        Box::new(wrap),
        Box::new(|received, stream| {
            read_content(received, stream)?;
            io::Write::write_all(
                stream.get_mut(),
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            )?;
            io::Write::flush(stream.get_mut())?;
            Ok(Then::KeepAlive)
        }),
    );
    let temp = tempfile::tempdir().unwrap();
    let authority = temp.path().join("ca.pem");
    std::fs::write(&authority, pem).unwrap();
    Secure {
        server,
        authority,
        _temp: temp,
    }
}

fn signed() -> Secure {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    secure(own.der().clone(), &key, &authority.pem())
}

/// As `openssl req -x509` makes it: its own authority.
fn self_signed() -> Secure {
    let mut own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = own.self_signed(&key).unwrap();
    secure(own.der().clone(), &key, &own.pem())
}

fn trusting(trust: Trust, url: &str) -> Request {
    Request {
        trust,
        ..request("PUT", url)
    }
}

#[test]
fn only_the_right_authority_is_trusted() {
    for secure in [signed(), self_signed()] {
        let tester = Tester::new();
        let authority = Trust::Certificates(secure.authority.clone());
        let put = |trust, host| tester.send(trusting(trust, &secure.url(host)), bytes(&[7; 200_000]));
        let refused = |trust, host| {
            let error = put(trust, host).err().unwrap();
            let message = format!("PUT {}: its certificate isn't trusted: ", secure.url(host));
            assert!(
                error.kind == ErrorKind::Denied && error.message.starts_with(&message),
                "{error:?}"
            );
        };
        let mut answer = put(authority.clone(), "localhost").unwrap();
        assert_eq!(read_all(&mut answer).unwrap(), b"hello");
        assert_eq!(secure.server.received()[0].content, [7; 200_000]);
        refused(Trust::System, "localhost");
        // The certificate names another host.
        refused(authority, "127.0.0.1");
        let other = signed();
        refused(Trust::Certificates(other.authority.clone()), "localhost");
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(put(Trust::Anything, host).unwrap().status, 200);
        }
        refused(Trust::System, "localhost");
    }
}

#[test]
fn a_server_without_tls_is_unavailable() {
    let plain = Server::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let url = format!("https://localhost:{}/o", plain.address.port());
    let error = Tester::new().fail(request("GET", &url), None);
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[test]
fn a_bad_file_of_certificates_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = temp.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let large = file("large", &vec![b'x'; (1 << 20) + 1]);
    let empty = file("empty", b"");
    let broken = file(
        "broken",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let directory = temp.path().to_owned();
    let absent = temp.path().join("absent");
    for (path, why) in [
        (large, "it is larger than 1 MiB"),
        (empty, "there is no certificate in it"),
        (broken, "must hold certificates in PEM form"),
        (directory, "can't read the certificates in"),
        (absent, "can't read the certificates in"),
    ] {
        let trust = Trust::Certificates(path.clone());
        let error = Tester::new().fail(trusting(trust, "https://localhost:1/"), None);
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(
            error.message.contains(why) && error.message.contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
