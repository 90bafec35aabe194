//! Which origins an entry of the grant `http` stands for.
//!
//! An entry is an origin (`https://s3.example.org`, with a port if it isn't the usual one) or `site:` and a URL, mostly as
//! `site:{setting}`: a cloud names its services in a catalogue, and they lie beside the one that the user named. An address
//! that leads to the machine's own surroundings needs an entry that names it, however it was reached.

use std::net::IpAddr;

use freezer_io::error::{Error, ErrorKind};
use freezer_io::http::Permission;
use url::{Host, Origin, Url};

use super::{Ask, GrantKind, Grants, forbidden};
use crate::error::Refusal;

/// The prefix of an entry for a whole site.
const SITE: &str = "site:";

/// One entry, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OriginGrant {
    /// Exactly this scheme, host and port.
    Origin(Origin),
    /// The hosts beside this one, on any port.
    Site {
        host: Host<String>,
        /// Never without TLS, since the user's own URL has it.
        only_https: bool,
    },
}

impl OriginGrant {
    /// Reads an entry whose holes are filled; one that makes no sense grants nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (site, text) = match text.strip_prefix(SITE) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let url = Url::parse(text).ok()?;
        if !is_http(&url) {
            return None;
        }
        if !site {
            return Some(Self::Origin(url.origin()));
        }
        Some(Self::Site {
            host: url.host()?.to_owned(),
            only_https: url.scheme() == "https",
        })
    }

    fn allows(&self, url: &Url) -> bool {
        match self {
            Self::Origin(origin) => url.origin() == *origin,
            Self::Site { host, only_https } => {
                let secure = url.scheme() == "https" || !only_https;
                secure && url.host().is_some_and(|asked| is_beside(&asked.to_owned(), host))
            }
        }
    }

    /// The address by which the entry names its host, if it does.
    fn address(&self) -> Option<IpAddr> {
        let host = match self {
            Self::Origin(Origin::Tuple(_, host, _)) => host,
            Self::Origin(Origin::Opaque(_)) => return None,
            Self::Site { host, .. } => host,
        };
        match host {
            Host::Ipv4(address) => Some((*address).into()),
            Host::Ipv6(address) => Some((*address).into()),
            Host::Domain(_) => None,
        }
    }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Tells whether a host is the named one, or lies under the same parent domain.
fn is_beside(asked: &Host<String>, named: &Host<String>) -> bool {
    if asked == named {
        return true;
    }
    let (Host::Domain(asked), Host::Domain(named)) = (asked, named) else {
        return false;
    };
    let Some((_, parent)) = named.split_once('.') else {
        return false;
    };
    let below = asked.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    below && is_owned(parent)
}

/// Tells whether a parent domain belongs to somebody: `example.org` does, `org` and most likely `co.uk` don't.
fn is_owned(parent: &str) -> bool {
    let mut labels = parent.rsplit('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(country), Some(second), None) => country.len() > 2 || second.len() > 3,
        (Some(_), Some(_), Some(_)) => true,
        _ => false,
    }
}

impl Grants {
    /// May it send requests to the origin of this URL?
    pub(crate) fn origin(&self, url: &Url) -> Result<(), Refusal> {
        let granted = is_http(url) && self.origins.iter().any(|grant| grant.allows(url));
        let origin = url.origin().ascii_serialization();
        let (request, line) = (
            format!("to connect to {origin:?} by http"),
            format!("http = [{origin:?}]"),
        );
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
        let ask = Ask::new(GrantKind::Http, request, line).reaching(host);
        self.decide(ask, granted.then_some(()))
    }

    /// May its requests reach this address of the machine's surroundings?
    pub(crate) fn surroundings(&self, address: IpAddr) -> Result<(), Refusal> {
        let granted = self.origins.iter().any(|grant| grant.address() == Some(address));
        let request =
            format!("to reach {address}, which is link-local, a metadata service or nobody's address");
        self.decide(address_ask(address, request), granted.then_some(()))
    }

    /// May its requests reach this address, which a granted name stands for? Only a rule can say no.
    pub(crate) fn reached(&self, address: IpAddr) -> Result<(), Refusal> {
        let host = address.to_string();
        let ask = address_ask(address, format!("to reach {address}")).reaching(Some(&host));
        // The origin was decided and noted; what it resolves to is noted only where it matters.
        match forbidden::rule(&self.rules, &ask) {
            None => Ok(()),
            Some(_) => self.decide(ask, Some(())),
        }
    }
}

fn address_ask<'a>(address: IpAddr, request: String) -> Ask<'a> {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    Ask::new(GrantKind::Http, request, format!("http = [\"http://{host}\"]"))
}

impl Permission for Grants {
    fn origin(&self, url: &Url) -> Result<(), Error> {
        Self::origin(self, url).map_err(denied)
    }

    fn address(&self, address: IpAddr) -> Result<(), Error> {
        self.surroundings(address).map_err(denied)
    }

    fn reach(&self, address: IpAddr) -> Result<(), Error> {
        self.reached(address).map_err(denied)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is used as a function of map_err"
)]
fn denied(refusal: Refusal) -> Error {
    Error::new(ErrorKind::Denied, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SettingValue, Settings};

    fn allows(entry: &str, url: &str) -> bool {
        let mut settings = Settings::new();
        settings.set(
            "auth-url",
            SettingValue::Text("https://keystone.cloud.example.org:5000/v3".to_owned()),
        );
        settings.set(
            "plain-url",
            SettingValue::Text("http://10.0.0.5:5000/v3".to_owned()),
        );
        settings.set("odd-url", SettingValue::Text("ftp://example.org".to_owned()));
        let granted = toml::from_str(&format!("http = [{entry:?}]")).unwrap();
        let grants = Grants::new("p", "00", &granted, &settings);
        Grants::origin(&grants, &Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (entry, url, expected) in [
            ("https://s3.example.org", "https://s3.example.org/bucket?x", true),
            ("https://s3.example.org:443", "https://S3.example.org/", true),
            ("https://s3.example.org/", "https://s3.example.org:443/", true),
            ("https://s3.example.org", "https://s3.example.org:8443/", false),
            ("https://s3.example.org", "http://s3.example.org/", false),
            (
                "https://s3.example.org",
                "https://s3.example.org.evil.example/",
                false,
            ),
            ("http://host:8080", "http://host:8080/", true),
            ("http://[::1]:80", "http://[::1]/", true),
            ("{auth-url}", "https://keystone.cloud.example.org:5000/", true),
            ("{auth-url}", "https://keystone.cloud.example.org/", false),
            ("{unset}", "https://x/", false),
            ("{odd-url}", "http://example.org/", false),
            ("s3.example.org", "https://s3.example.org/", false),
            ("*", "https://s3.example.org/", false),
        ] {
            assert_eq!(allows(entry, url), expected, "{entry} {url}");
        }
    }

    #[test]
    fn a_site_is_what_lies_beside_the_named_host() {
        for (url, expected) in [
            ("https://keystone.cloud.example.org/", true),
            ("https://swift.cloud.example.org:8080/v1", true),
            ("https://a.b.cloud.example.org/", true),
            ("http://keystone.cloud.example.org:5000/", false),
            ("https://cloud.example.org/", false),
            ("https://evilcloud.example.org/", false),
            ("https://other.example.org/", false),
            ("https://10.0.0.5/", false),
        ] {
            assert_eq!(allows("site:{auth-url}", url), expected, "{url}");
        }
        assert!(allows("site:{plain-url}", "https://10.0.0.5:8080/"));
        assert!(allows("site:{plain-url}", "http://10.0.0.5/"));
        assert!(!allows("site:{plain-url}", "http://10.0.0.6/"));
        for (site, url) in [
            ("site:https://keystone.example", "https://evil.example/"),
            ("site:https://shop.co.uk", "https://evil.co.uk/"),
            ("site:https://controller", "https://evil/"),
            ("site:{unset}", "https://evil/"),
            ("site:", "https://evil/"),
        ] {
            assert!(!allows(site, url), "{site} {url}");
        }
        assert!(allows(
            "site:https://auth.example.org",
            "https://objects.example.org/"
        ));
        assert!(allows("site:https://controller:5000", "https://controller:8080/"));
    }

    #[test]
    fn surroundings_need_an_entry_that_names_the_address() {
        let grants = |text: &str| Grants::new("p", "00", &toml::from_str(text).unwrap(), &Settings::new());
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert!(
            grants("http = [\"http://169.254.169.254\"]")
                .surroundings(metadata)
                .is_ok()
        );
        assert!(
            grants("http = [\"http://fe80.example\"]")
                .surroundings(metadata)
                .is_err()
        );
        let refusal = grants("").surroundings("fe80::1".parse().unwrap()).unwrap_err();
        assert_eq!(refusal.line, "http = [\"http://[fe80::1]\"]");
    }

    #[test]
    fn a_refusal_names_the_line_without_the_usual_port() {
        let grants = Grants::new("p", "00", &toml::from_str("").unwrap(), &Settings::new());
        let refusal = Grants::origin(&grants, &Url::parse("http://host:80/x?y").unwrap()).unwrap_err();
        assert_eq!(refusal.line, "http = [\"http://host\"]");
    }
}
