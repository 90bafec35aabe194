//! URLs of storages: `scheme:place` and `scheme://user@host:port/path`, taken apart for the settings they fill.
//!
//! Nothing is decoded and nothing resolved: which pieces mean what is the plugin's business. A password in a URL is
//! refused, since command lines are public on the machine.

use serde::Deserialize;

/// The piece of a storage's URL that fills a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UrlPart {
    /// All after `scheme:`.
    Rest,
    /// The host's name.
    Host,
    /// The port.
    Port,
    /// The user before `@`.
    User,
    /// The path after the host, without its first `/`.
    Path,
}

/// The pieces of `scheme:rest` or `scheme://user@host:port/path`.
pub(crate) struct UrlParts<'a> {
    rest: &'a str,
    user: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<&'a str>,
    path: Option<&'a str>,
    /// The URL for messages.
    pub(crate) shown: String,
}

impl<'a> UrlParts<'a> {
    /// Takes a URL apart; the error follows the word "url".
    pub(crate) fn parse(url: &'a str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once(':').ok_or("must look like scheme:place")?;
        let mut parts = UrlParts {
            rest,
            user: None,
            host: None,
            port: None,
            path: None,
            shown: url.to_owned(),
        };
        let Some(after) = rest.strip_prefix("//") else {
            return Ok(parts);
        };
        let (authority, path) = match after.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (after, None),
        };
        // `local:///srv` has an empty authority: all that follows it is the place.
        if authority.is_empty() {
            parts.rest = &after[authority.len()..];
        }
        parts.path = path.filter(|path| !path.is_empty());
        let place = match authority.rsplit_once('@') {
            Some((login, place)) => {
                if login.contains(':') {
                    return Err("must not hold a password: everyone who lists processes would see it");
                }
                parts.user = Some(login).filter(|user| !user.is_empty());
                place
            }
            None => authority,
        };
        let (host, port) = split_port(place)?;
        parts.host = Some(host).filter(|host| !host.is_empty());
        parts.port = port;
        parts.shown = format!("{scheme}:{rest}");
        Ok(parts)
    }

    /// One piece, if the URL has it.
    pub(crate) fn get(&self, part: UrlPart) -> Option<&'a str> {
        match part {
            UrlPart::Rest => Some(self.rest).filter(|rest| !rest.is_empty()),
            UrlPart::Host => self.host,
            UrlPart::Port => self.port,
            UrlPart::User => self.user,
            UrlPart::Path => self.path,
        }
    }
}

/// Splits `host:port`, `host`, `[v6]:port` or `[v6]`.
fn split_port(place: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(inner) = place.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("has a [ without ]")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("has something odd after ]"),
        };
    }
    Ok(match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(url: &str, part: UrlPart) -> Option<String> {
        UrlParts::parse(url).unwrap().get(part).map(str::to_owned)
    }

    #[test]
    fn urls_come_apart() {
        let url = "ssh://user@host:2222/srv/b";
        let cases = [
            (url, UrlPart::User, Some("user")),
            (url, UrlPart::Host, Some("host")),
            (url, UrlPart::Port, Some("2222")),
            (url, UrlPart::Path, Some("srv/b")),
            ("local:/srv/b", UrlPart::Rest, Some("/srv/b")),
            ("local:///srv/b", UrlPart::Rest, Some("/srv/b")),
            ("local:b:c", UrlPart::Rest, Some("b:c")),
            ("local:", UrlPart::Rest, None),
            ("swift://container", UrlPart::Host, Some("container")),
            ("swift://container", UrlPart::Path, None),
            ("x://[::1]:80/p", UrlPart::Host, Some("::1")),
            ("x://[::1]:80/p", UrlPart::Port, Some("80")),
            ("x://[::1]", UrlPart::Port, None),
        ];
        for (url, wanted, found) in cases {
            assert_eq!(part(url, wanted).as_deref(), found, "{url} {wanted:?}");
        }
    }

    #[test]
    fn bad_urls_are_refused() {
        for url in ["nothing", "x://u:secret@host/", "x://[::1", "x://[::1]y"] {
            assert!(UrlParts::parse(url).is_err(), "{url}");
        }
    }
}
