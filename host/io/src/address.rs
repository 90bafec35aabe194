//! Addresses behind names: which are the machine's own surroundings, and which of those found may be connected to.
//!
//! A name may mean something else every time it is asked, so whoever connects by `tcp`, `ssh` or `sql` looks it up once, asks for each
//! address, and connects to what was permitted and to nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::Error;

/// Decides whether a connection may lead to an address, whatever name stands for it; answers `Denied` in words that say what
/// would allow it.
pub type AddressPermission<'a> = dyn Fn(IpAddr) -> Result<(), Error> + Send + Sync + 'a;

/// Those of the found addresses that may be connected to.
///
/// # Errors
/// The last refusal, if there are addresses and none may be.
pub(crate) fn permitted(
    found: impl IntoIterator<Item = SocketAddr>,
    permission: &AddressPermission<'_>,
) -> Result<Vec<SocketAddr>, Error> {
    let (mut permitted, mut refusal) = (Vec::new(), None);
    for address in found {
        match permission(address.ip()) {
            Ok(()) => permitted.push(address),
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(refusal) if permitted.is_empty() => Err(refusal),
        _ => Ok(permitted),
    }
}

/// Addresses by which clouds tell a machine its secrets, apart from those that are link-local anyway.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Tells whether an address is link-local, a cloud's metadata service or nobody's: only a grant that names it should open the way.
#[must_use]
pub fn needs_own_grant(address: IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn only_what_is_permitted_is_left_and_a_refusal_is_told_if_nothing_is() {
        let permission = |address: IpAddr| match needs_own_grant(address) {
            true => Err(Error::new(ErrorKind::Denied, address.to_string())),
            false => Ok(()),
        };
        let ask = |found: &[&str]| permitted(found.iter().map(|place| place.parse().unwrap()), &permission);
        let good: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(ask(&["169.254.0.1:1", "127.0.0.1:1"]).unwrap(), [good]);
        assert_eq!(ask(&["169.254.0.1:1"]).unwrap_err().message, "169.254.0.1");
        assert!(ask(&[]).unwrap().is_empty());
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
