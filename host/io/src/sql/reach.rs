//! Where a session goes: the name is looked up here, and what was permitted is what gets connected.
//!
//! Under TLS that checks names the library must be given the name, and looks it up again; a server that it then meets elsewhere would
//! have to show a certificate for that name.

use std::net::SocketAddr;

use super::Target;
use crate::address::{self, AddressPermission};
use crate::error::{Error, ErrorKind};
use crate::http::Trust;

/// The addresses of the target's name; none of a socket.
pub(super) async fn look_up(target: &Target) -> Result<Vec<SocketAddr>, sqlx::Error> {
    if target.host.starts_with('/') {
        return Ok(Vec::new());
    }
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    found.map(Iterator::collect).map_err(sqlx::Error::Io)
}

/// What to connect to, one after the other.
///
/// # Errors
/// `Denied` if none of the addresses is permitted.
pub(super) fn hosts(
    target: &Target,
    found: Vec<SocketAddr>,
    permission: &AddressPermission<'_>,
) -> Result<Vec<String>, Error> {
    if target.host.starts_with('/') {
        return Ok(vec![target.host.clone()]);
    }
    let permitted = address::permitted(found, permission)?;
    if permitted.is_empty() {
        let message = format!("{}: the name has no address", target.place());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(match &target.tls {
        Some(Trust::System | Trust::Certificates(_)) => vec![target.host.clone()],
        None | Some(Trust::Anything) => permitted.iter().map(|address| address.ip().to_string()).collect(),
    })
}
