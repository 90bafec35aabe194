//! Which addresses a request may reach: names are resolved here, and what was checked is what gets connected, so that a
//! name that changes its mind in between gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Permission;
use crate::address::needs_own_grant;
use crate::error::{Error, ErrorKind, code};

/// A name server may be away for a moment, so it is worth another try.
fn no_such_host(name: &Name, why: &dyn std::fmt::Display) -> Error {
    let message = format!("no connection: can't find host {:?}: {why}", name.as_str());
    Error::new(ErrorKind::Unavailable, message).with_code(code::NO_SUCH_HOST)
}

/// Resolves names by the machine's own means and leaves out what isn't permitted.
pub(super) struct CheckedResolver(pub(super) Arc<dyn Permission>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permission = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found.map_err(|error| no_such_host(&name, &error))?.collect();
            let mut refusal = None;
            let mut permitted = Vec::new();
            for address in found {
                match check(&*permission, address.ip()) {
                    Ok(()) => permitted.push(address),
                    Err(error) => refusal = Some(error),
                }
            }
            match (permitted.is_empty(), refusal) {
                (true, Some(refusal)) => Err(refusal.into()),
                (true, None) => Err(no_such_host(&name, &"the name has no address").into()),
                (false, _) => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

/// Asks whether the address is forbidden, and for a grant that names it, if it is one of those that need it.
pub(super) fn check(permission: &dyn Permission, address: IpAddr) -> Result<(), crate::error::Error> {
    permission.reach(address)?;
    if needs_own_grant(address) {
        permission.address(address)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use url::Url;

    /// Grants the addresses that it lists.
    struct Named(Vec<IpAddr>);

    impl Permission for Named {
        fn origin(&self, _url: &Url) -> Result<(), Error> {
            Ok(())
        }

        fn address(&self, address: IpAddr) -> Result<(), Error> {
            if self.0.contains(&address) {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Denied, "not granted"))
        }
    }

    fn resolve(name: &str, named: &[&str]) -> Result<Vec<IpAddr>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let named = named.iter().map(|address| address.parse().unwrap()).collect();
        let resolver = CheckedResolver(Arc::new(Named(named)));
        let found = runtime.unwrap().block_on(resolver.resolve(name.parse().unwrap()));
        found
            .map(|found| found.map(|address| address.ip()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_leads_only_to_permitted_addresses() {
        assert!(resolve("localhost", &[]).unwrap().iter().all(IpAddr::is_loopback));
        // A name server may answer anything; the system resolves these names to what they say.
        for name in ["169.254.169.254", "0.0.0.0", "fe80::1"] {
            assert_eq!(resolve(name, &[]).unwrap_err(), "not granted", "{name}");
            assert_eq!(resolve(name, &[name]).unwrap(), [name.parse::<IpAddr>().unwrap()]);
        }
    }
}
