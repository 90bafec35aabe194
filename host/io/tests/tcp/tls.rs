//! Connections under TLS: who is trusted, and what counts as an end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use freezer_io::error::ErrorKind;
use freezer_io::http::Trust;
use freezer_io::stop::Stop;
use freezer_io::tcp::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::peer::*;

/// A peer with a certificate for `localhost`; the file that vouches for it.
fn secure(
    act: fn(&mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<()>,
) -> (SocketAddr, PathBuf, tempfile::TempDir) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let address = peer(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        act(&mut StreamOwned::new(connection, stream))
    });
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (address, file, temp)
}

fn tls(name: &str, trust: Trust) -> Option<Tls> {
    Some(Tls {
        server_name: name.to_owned(),
        trust,
    })
}

#[test]
fn only_the_right_authority_and_name_are_trusted() {
    let (address, authority, _temp) = secure(|stream| {
        let mut word = [0; 5];
        stream.read_exact(&mut word)?;
        stream.write_all(&word)?;
        stream.conn.send_close_notify();
        stream.flush()
    });
    let (_, other, _other_temp) = secure(|_| Ok(()));
    runtime().block_on(async {
        let never = Stop::never();
        let talk = async |name: &str, trust: Trust| {
            let connection = try_open(&target(address, tls(name, trust)), &never).await?;
            connection.write(b"hello".to_vec(), &never).await?;
            drain(connection.receive(None, &never)?)
        };
        let named = Trust::Certificates(authority.clone());
        assert_eq!(talk("localhost", named.clone()).await.unwrap(), b"hello");
        assert_eq!(talk("other.example", Trust::Anything).await.unwrap(), b"hello");
        let refused = format!("{address}: its certificate isn't trusted: ");
        assert_fails(
            talk("localhost", Trust::System).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("localhost", Trust::Certificates(other)).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("other.example", named.clone()).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("127.0.0.1", named.clone()).await,
            ErrorKind::Denied,
            &refused,
        );
        assert_fails(
            talk("not a name", named).await,
            ErrorKind::Invalid,
            "is no name that a certificate could bear",
        );
        let missing = Trust::Certificates("/nowhere/ca.pem".into());
        assert_fails(
            talk("localhost", missing).await,
            ErrorKind::Invalid,
            "/nowhere/ca.pem",
        );
    });
}

#[test]
fn tls_that_ends_without_a_farewell_is_no_end() {
    let (address, authority, _temp) = secure(|stream| {
        stream.write_all(b"half")?;
        stream.flush()
    });
    let plain = peer(|mut stream| stream.write_all(b"220 this speaks no TLS\r\n"));
    let closing = peer(|_| Ok(()));
    runtime().block_on(async {
        let never = Stop::never();
        let named = || tls("localhost", Trust::Certificates(authority.clone()));
        let connection = try_open(&target(address, named()), &never).await.unwrap();
        let stream = connection.receive(None, &never).unwrap();
        assert_fails(drain(stream), ErrorKind::Unavailable, "without its farewell");
        for no_tls in [plain, closing] {
            let opened = try_open(&target(no_tls, named()), &never).await;
            assert_fails(opened, ErrorKind::Unavailable, "TLS failed");
        }
    });
}
