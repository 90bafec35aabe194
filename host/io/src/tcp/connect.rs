//! How a connection comes about: resolve, check, connect, shake hands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Reader, Target, Tls, Writer, failure};
use crate::address::{self, AddressPermission};
use crate::error::{Error, ErrorKind};
use crate::http::tls_config;

/// Opens both directions.
pub(super) async fn open(
    target: &Target,
    permission: &AddressPermission<'_>,
) -> Result<(Reader, Writer), Error> {
    let place = target.place();
    if target.host.is_empty() || target.port == 0 {
        let message = format!("{place}: a host and a port from 1 to 65535 are needed");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    // Certificates are read before anything is sent.
    let tls = target.tls.as_ref().map(|tls| prepare(&place, tls)).transpose()?;
    let stream = connect(&place, resolve(target, permission).await?).await?;
    stream
        .set_nodelay(true)
        .map_err(|error| failure::broken(&place, &error))?;
    let Some((connector, name)) = tls else {
        let (reader, writer) = stream.into_split();
        return Ok((Box::new(reader), Box::new(writer)));
    };
    let secured = connector.connect(name, stream).await;
    let (reader, writer) = tokio::io::split(secured.map_err(|error| failure::handshake(&place, &error))?);
    Ok((Box::new(reader), Box::new(writer)))
}

fn prepare(place: &str, tls: &Tls) -> Result<(TlsConnector, ServerName<'static>), Error> {
    let name = ServerName::try_from(tls.server_name.clone()).map_err(|_| {
        let message = format!(
            "{place}: {:?} is no name that a certificate could bear",
            tls.server_name
        );
        Error::new(ErrorKind::Invalid, message)
    })?;
    let config = tls_config(&tls.trust)?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// The addresses behind the name that may be connected to.
async fn resolve(target: &Target, permission: &AddressPermission<'_>) -> Result<Vec<SocketAddr>, Error> {
    let place = target.place();
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let found = found.map_err(|error| failure::unresolved(&place, &error))?;
    let permitted = address::permitted(found, permission)?;
    if permitted.is_empty() {
        let message = format!("{place}: the name has no address");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(permitted)
}

/// The first address that answers; the last one's reason if none does.
async fn connect(place: &str, addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failure::unconnected(place, &last))
}
