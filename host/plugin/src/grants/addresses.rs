//! Which addresses a connection by `tcp`, `ssh` or `sql` may lead to, however its name resolved.

use std::net::{IpAddr, SocketAddr};

use freezer_io::address::needs_own_grant;

use super::{Ask, Grants, Network, forbidden};
use crate::error::Refusal;

impl Grants {
    /// May a connection to a granted place lead to this address? A rule may say no. To one that is link-local, a metadata
    /// service or nobody's, only an entry that names the address and the port says yes: a name may change its mind.
    pub(crate) fn address(&self, network: Network, address: IpAddr, port: u16) -> Result<(), Refusal> {
        let (key, host) = (network.kind().key(), address.to_string());
        let bare = format!("{address}:{port}");
        let own = needs_own_grant(address);
        let mut request = format!("to reach {address} by {key}");
        if own {
            request.push_str(", which is link-local, a metadata service or nobody's address");
        }
        let line = format!("{key} = [{bare:?}]");
        let ask = Ask::new(network.kind(), request, line).reaching(Some(&host));
        if !own && forbidden::rule(&self.rules, &ask).is_none() {
            // The place was decided and noted; what it resolves to is noted only where it matters.
            return Ok(());
        }
        let bracketed = SocketAddr::new(address, port).to_string();
        let mut entries = self.places(network).iter();
        let named = entries.any(|granted| *granted == bare || *granted == bracketed);
        self.decide(ask, (named || !own).then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::policy;
    use crate::settings::Settings;

    const NETWORKS: [Network; 3] = [Network::Tcp, Network::Ssh, Network::Sql];

    fn grants(text: &str) -> Grants {
        Grants::new("p", "00", &toml::from_str(text).unwrap(), &Settings::new())
    }

    #[test]
    fn surroundings_need_an_entry_that_names_the_address_and_the_port() {
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        let local: IpAddr = "fe80::1".parse().unwrap();
        for network in NETWORKS {
            let key = network.kind().key();
            let with = |entry: &str| grants(&format!("{key} = [{entry:?}]"));
            assert!(with("169.254.169.254:80").address(network, metadata, 80).is_ok());
            for granted in [
                with("169.254.169.254:80"),
                with("rebound.example:27017"),
                grants("http = [\"http://169.254.169.254\"]"),
                grants(""),
            ] {
                let refusal = granted.address(network, metadata, 27017).unwrap_err();
                assert_eq!(refusal.line, format!("{key} = [\"169.254.169.254:27017\"]"));
            }
            assert!(with("fe80::1:1").address(network, local, 1).is_ok());
            assert!(with("[fe80::1]:1").address(network, local, 1).is_ok());
        }
    }

    #[test]
    fn what_a_policy_forbids_is_out_of_reach_under_any_name() {
        let policy = policy("[every-plugin]\nforbid-hosts = [\"10.0.0.0/8\"]").unwrap();
        for network in NETWORKS {
            let key = network.kind().key();
            let granted = grants(&format!("{key} = [\"db.example:1\"]"));
            let granted = granted.under(forbidden::rules(&policy, false));
            assert!(granted.network(network, "db.example:1").is_ok());
            assert!(granted.address(network, "192.0.2.1".parse().unwrap(), 1).is_ok());
            let refusal = granted
                .address(network, "10.0.0.7".parse().unwrap(), 1)
                .unwrap_err();
            assert_eq!(refusal.request, format!("to reach 10.0.0.7 by {key}"));
            assert!(refusal.rule.is_some());
        }
    }
}
