//! What a plugin asks for, held to the rules of the contract before anything is sent.

use std::fmt;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::Trust;
use crate::error::{Error, ErrorKind};

/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 8 << 10;
/// The most headers of a request.
pub const MAX_HEADERS: usize = 128;
/// The most bytes of names and values together.
pub const MAX_HEADER_BYTES: usize = 64 << 10;
/// The most redirects that are followed.
pub const MAX_REDIRECTS: u8 = 10;
/// The longest method.
const MAX_METHOD_BYTES: usize = 32;
/// The longest path in a message.
const MAX_SHOWN: usize = 200;

/// Headers that the host sets itself, or that concern one connection and not the request.
const OWN_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
];
/// Headers that another origin must not see.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "x-auth-token", "x-amz-security-token"];

/// One header of a request.
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, secrets filled in.
    pub value: Zeroizing<String>,
    /// Whether a secret was filled in.
    pub secret: bool,
}

/// What to ask.
pub struct Request {
    /// The method in capitals.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Headers in the order to be sent.
    pub headers: Vec<Header>,
    /// How many redirects to follow.
    pub follow_redirects: u8,
    /// Milliseconds to wait for the answer's headers, once the content is sent.
    pub timeout_ms: Option<u32>,
    /// Whose certificates count.
    pub trust: Trust,
}

/// A request that keeps to the rules.
#[derive(Clone)]
pub(super) struct Checked {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) trust: Trust,
    /// The names of headers that stay with this origin.
    private: Vec<HeaderName>,
}

impl Checked {
    pub(super) fn new(request: &Request) -> Result<Self, Error> {
        let method = check_method(&request.method)?;
        let url = check_url(&request.url)?;
        let (headers, private) = check_headers(&request.headers)?;
        Ok(Self {
            method,
            url,
            headers,
            trust: request.trust.clone(),
            private,
        })
    }

    /// Takes out what another origin must not see.
    pub(super) fn strip_credentials(&mut self) {
        for name in CREDENTIALS {
            self.headers.remove(name);
        }
        for name in &self.private {
            self.headers.remove(name);
        }
    }

    /// The request without its content.
    pub(super) fn strip_content(&mut self) {
        let concerned: Vec<HeaderName> = self
            .headers
            .keys()
            .filter(|name| name.as_str().starts_with("content-"))
            .cloned()
            .collect();
        for name in concerned {
            self.headers.remove(name);
        }
    }
}

impl fmt::Display for Checked {
    /// For messages: no query, which may hold a signature.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, shown(&self.url))
    }
}

/// Origin and path of a URL.
pub(super) fn shown(url: &Url) -> String {
    let path = url.path();
    let origin = url.origin().ascii_serialization();
    match path.get(..MAX_SHOWN) {
        Some(start) if path.len() > MAX_SHOWN => format!("{origin}{start}…"),
        _ => format!("{origin}{path}"),
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

fn check_method(text: &str) -> Result<Method, Error> {
    let plain = !text.is_empty()
        && text.len() <= MAX_METHOD_BYTES
        && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if !plain || text == "CONNECT" || text == "TRACE" {
        return Err(invalid(
            "the method of a request must be a word in capitals, and neither CONNECT nor TRACE",
        ));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| invalid("no such method"))
}

/// Reads a URL that will be sent exactly as it stands.
pub(super) fn check_url(text: &str) -> Result<Url, Error> {
    if text.len() > MAX_URL_BYTES {
        return Err(invalid(format!(
            "a URL has at most {MAX_URL_BYTES} bytes, not {}",
            text.len()
        )));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(
            "a URL consists of printable ASCII without spaces: encode the rest as %XX",
        ));
    }
    let url = Url::parse(text).map_err(|error| invalid(format!("the URL can't be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(invalid(
            "the URL must begin with http:// or https:// and name a host",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the URL must not hold a user or password"));
    }
    if url.fragment().is_some() {
        return Err(invalid("the URL must not have a fragment"));
    }
    // A signature covers the path and query as they were written: what would be changed on the way is refused.
    let written = text.split_once("://").map_or("", |(_, rest)| rest);
    let written = written.find(['/', '?']).map_or("/", |start| &written[start..]);
    let read = &url[url::Position::BeforePath..];
    if written != read
        && written
            .strip_prefix('?')
            .map(|query| format!("/?{query}"))
            .as_deref()
            != Some(read)
    {
        return Err(invalid(format!(
            "the URL isn't in normal form (no . and .. in paths, quotes encoded): it would be sent as {read:?}"
        )));
    }
    Ok(url)
}

/// Whether a URL names its host by an address, and which.
pub(super) fn literal_address(url: &Url) -> Option<std::net::IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

fn check_headers(headers: &[Header]) -> Result<(HeaderMap, Vec<HeaderName>), Error> {
    let bytes: usize = headers
        .iter()
        .map(|header| header.name.len() + header.value.len())
        .sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "a request has at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together, not {} of {bytes}",
            headers.len()
        )));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    let mut private = Vec::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| invalid(format!("{:?} can't be the name of a header", header.name)))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(invalid(format!("the header {name} is the host's own")));
        }
        let mut value = HeaderValue::from_bytes(header.value.as_bytes()).map_err(|_| {
            invalid(format!(
                "the value of the header {name} has line breaks or other control characters"
            ))
        })?;
        if header.secret || CREDENTIALS.contains(&name.as_str()) {
            value.set_sensitive(true);
        }
        if header.secret {
            private.push(name.clone());
        }
        map.append(name, value);
    }
    Ok((map, private))
}
