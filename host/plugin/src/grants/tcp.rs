//! Which addresses of the machine's own surroundings a byte connection may lead to, however its name resolved.

use std::net::{IpAddr, SocketAddr};

use super::{Ask, GrantKind, Grants};
use crate::error::Refusal;

impl Grants {
    /// May a connection lead to this address, which is link-local, a metadata service or nobody's? Only an entry that names the
    /// address and the port says so: a name may change its mind.
    pub(crate) fn tcp_surroundings(&self, address: IpAddr, port: u16) -> Result<(), Refusal> {
        let bare = format!("{address}:{port}");
        let bracketed = SocketAddr::new(address, port).to_string();
        let granted = self
            .granted
            .tcp
            .iter()
            .any(|granted| *granted == bare || *granted == bracketed);
        let (request, line) = (
            format!("to reach {address} by tcp, which is link-local, a metadata service or nobody's address"),
            format!("tcp = [{bare:?}]"),
        );
        let host = address.to_string();
        let ask = Ask::new(GrantKind::Tcp, request, line).reaching(Some(&host));
        self.decide(ask, granted.then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn surroundings_need_an_entry_that_names_the_address_and_the_port() {
        let grants = |text: &str| Grants::new("p", "00", &toml::from_str(text).unwrap(), &Settings::new());
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert!(
            grants("tcp = [\"169.254.169.254:80\"]")
                .tcp_surroundings(metadata, 80)
                .is_ok()
        );
        for text in [
            "tcp = [\"169.254.169.254:80\"]",
            "tcp = [\"rebound.example:27017\"]",
            "http = [\"http://169.254.169.254\"]",
            "",
        ] {
            let refusal = grants(text).tcp_surroundings(metadata, 27017).unwrap_err();
            assert_eq!(refusal.line, "tcp = [\"169.254.169.254:27017\"]", "{text}");
        }
        let local: IpAddr = "fe80::1".parse().unwrap();
        assert!(grants("tcp = [\"fe80::1:1\"]").tcp_surroundings(local, 1).is_ok());
        assert!(
            grants("tcp = [\"[fe80::1]:1\"]")
                .tcp_surroundings(local, 1)
                .is_ok()
        );
    }
}
