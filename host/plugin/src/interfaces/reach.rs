//! Asks the grants about each address that the name of a place stands for.

use std::net::IpAddr;

use freezer_io::error::{Error, ErrorKind};

use crate::grants::{Grants, Network};

/// The question as `freezer-io` asks it.
pub(super) fn permission(
    grants: &Grants,
    network: Network,
    port: u16,
) -> impl Fn(IpAddr) -> Result<(), Error> + Send + Sync {
    move |address| {
        let granted = grants.address(network, address, port);
        granted.map_err(|refusal| Error::new(ErrorKind::Denied, refusal.to_string()))
    }
}
