//! Which addresses a request may reach: names are resolved here, and what was checked is what gets connected, so that a
//! name that changes its mind in between gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Permission;
use crate::error::{Error, ErrorKind, code};

/// Addresses by which clouds tell a machine its secrets, apart from those that are link-local anyway.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Tells whether only a grant that names this very address opens the way to it.
pub(crate) fn needs_own_grant(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => {
            let inner = embedded_v4(v6).is_some_and(is_special_v4);
            inner || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local()
        }
    };
    special || METADATA.contains(&address) || embedded(address).is_some_and(|inner| METADATA.contains(&inner))
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0
}

fn embedded(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(v6) => embedded_v4(v6).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    }
}

/// The IPv4 address that some IPv6 address stands for: mapped, compatible, or behind a translator.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let low = Ipv4Addr::from((u32::from(parts[6]) << 16) | u32::from(parts[7]));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(low),
        // `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0, high, rest] if high != 0 || rest > 1 => Some(low),
        [0x2002, high, rest, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(rest))),
        _ => None,
    }
}

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

    #[test]
    fn surroundings_of_the_machine_need_a_grant_of_their_own() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:100.100.100.200",
        ] {
            assert!(needs_own_grant(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "fd00::1",
            "8.8.8.8",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!needs_own_grant(address.parse().unwrap()), "{address}");
        }
    }
}
