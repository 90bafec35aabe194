//! Whose certificates count for an https origin.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, WantsVerifier,
};

use crate::error::{Error, ErrorKind};

/// The largest file of certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Whose certificates an https origin may show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Those of the authorities that this machine trusts.
    System,
    /// Those, and the authorities in this PEM file.
    Certificates(PathBuf),
    /// Any certificate at all.
    Anything,
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Other, format!("can't set up TLS: {error}")))
}

/// What a TLS handshake needs to know.
pub(crate) fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let builder = builder()?;
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    match trust {
        Trust::Anything => {
            let verifier = Arc::new(TrustAnything(Arc::clone(builder.crypto_provider())));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth());
        }
        Trust::System => {}
        Trust::Certificates(path) => {
            named = read(path)?;
            for certificate in &named {
                roots
                    .add(certificate.clone())
                    .map_err(|error| bad_file(path, &error.to_string()))?;
            }
        }
    }
    // Files of the system that can't be read leave out an authority, which shows as soon as it is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if named.is_empty() {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let provider = Arc::clone(builder.crypto_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let chains =
        chains.map_err(|error| Error::new(ErrorKind::Other, format!("can't set up TLS: {error}")))?;
    let verifier = Arc::new(TrustNamed { chains, named });
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// For connections without TLS, whose client asks for a configuration all the same: it trusts nobody.
pub(super) fn without_certificates() -> Result<ClientConfig, Error> {
    let roots = RootCertStore::empty();
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of a PEM file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(bad_file(path, "it is larger than 1 MiB"));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| bad_file(path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad_file(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// Never `NotFound`, which would be read as the absence of what was asked for.
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    let message = format!("can't read the certificates in {}: {why}", path.display());
    Error::new(ErrorKind::Invalid, message)
}

fn bad_file(path: &Path, why: &str) -> Error {
    let message = format!("{} must hold certificates in PEM form: {why}", path.display());
    Error::new(ErrorKind::Invalid, message)
}

/// Believes authorities, and a server that shows one of the named certificates itself: `openssl req -x509` makes
/// certificates that are their own authority, which a chain must not end with.
#[derive(Debug)]
struct TrustNamed {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustNamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged =
            self.chains
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(error) = judged else { return judged };
        if !is_own_authority(&error) || !self.named.iter().any(|named| named == end_entity) {
            return Err(error);
        }
        // Its time was checked before that error; its name wasn't.
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Tells whether the only objection is that a server shows an authority's certificate.
fn is_own_authority(error: &rustls::Error) -> bool {
    // The type of this case belongs to a library below rustls.
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))
        if why.to_string() == "CaUsedAsEndEntity")
}

/// Believes any certificate, because the user asked for that; the handshake itself must still be in order.
#[derive(Debug)]
struct TrustAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
