//! Fetches a packed plugin and its signature from a URL, for the operator who named it.
//!
//! By https, or by plain http where a signature or a digest speaks for the component; that is decided in
//! `grants::admission`. A redirect never leads from https to http, and nothing leads to link-local addresses or a
//! metadata service unless the operator's own URL names that address. What comes is bounded in size.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use freezer_io::error::{Error, ErrorKind};
use freezer_io::http::{Client, Permission, Request, Trust};
use freezer_io::limiter::Bandwidth;
use freezer_io::stop::Stop;
use freezer_pipeline::cancel::Cancel;
use url::{Host, Url};

use crate::discover::MAX_COMPONENT_BYTES;
use crate::error::PluginError;
use crate::pack::{PackError, PackedPlugin, SIGNATURE_SUFFIX};
use crate::signature::MAX_TEXT_BYTES;

/// How many redirects are followed.
const REDIRECTS: u8 = 5;

/// A packed plugin from afar.
#[derive(Debug)]
pub struct Fetched {
    /// What came.
    pub packed: PackedPlugin,
    /// Whether it came without TLS.
    pub plain_http: bool,
}

/// Tells whether an operator's words are a URL to fetch.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.starts_with("https://") || text.starts_with("http://")
}

/// Fetches the component of a URL and its signature, if one lies beside it. Servers may be certified by the authorities that this
/// machine trusts, and by those in the PEM file `authorities`.
///
/// # Errors
/// [`PluginError::Fetch`] if it doesn't come; those of looking at it.
pub fn fetch(url: &str, authorities: Option<&Path>, cancel: &Cancel) -> Result<Fetched, PackError> {
    let cancel = cancel.clone();
    let stop = Stop::when(move || cancel.is_cancelled());
    let failed = |why: String| PluginError::Fetch {
        url: crate::escape::line(url, 300),
        why: crate::escape::line(&why, 600),
    };
    let parsed = Url::parse(url).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .enable_io()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let permission = OperatorsUrl(parsed.clone());
    let client = Client::new(Arc::new(permission), Bandwidth::default());
    let trust = authorities.map_or(Trust::System, |file| Trust::Certificates(file.to_owned()));
    let get = |url: &Url, most: u64| {
        let bytes = runtime.block_on(get(&client, (url, &trust), &stop))?;
        bytes.map(|content| read(content, most)).transpose()
    };
    let component = get(&parsed, MAX_COMPONENT_BYTES).map_err(failed)?;
    let component = component.ok_or_else(|| failed("there is none (status 404)".to_owned()))?;
    let mut beside = parsed.clone();
    beside.set_path(&format!("{}{SIGNATURE_SUFFIX}", parsed.path()));
    let signature = get(&beside, MAX_TEXT_BYTES as u64).map_err(failed)?;
    let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Fetched {
        packed: PackedPlugin::new(Path::new(url), component, signature.as_deref())?,
        plain_http: parsed.scheme() != "https",
    })
}

/// The content of an answer; `None` where there is none.
async fn get(
    client: &Client,
    (url, trust): (&Url, &Trust),
    stop: &Stop,
) -> Result<Option<Box<dyn Read + Send>>, String> {
    let request = Request {
        method: "GET".to_owned(),
        url: url.to_string(),
        headers: Vec::new(),
        follow_redirects: REDIRECTS,
        timeout_ms: None,
        trust: trust.clone(),
    };
    let answer = client
        .send(request, None, stop)
        .await
        .map_err(|error| error.message)?;
    match answer.status {
        200 => Ok(Some(answer.content)),
        404 | 410 => Ok(None),
        301..=303 | 307 | 308 => Err(format!("it leads to nothing after {REDIRECTS} redirects")),
        status => Err(format!("the server answered with status {status}")),
    }
}

fn read(content: Box<dyn Read + Send>, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    content
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match bytes.len() as u64 > most {
        true => Err(format!("it has more than {most} bytes")),
        false => Ok(bytes),
    }
}

/// What the operator allowed by naming a URL.
struct OperatorsUrl(Url);

impl Permission for OperatorsUrl {
    fn origin(&self, url: &Url) -> Result<(), Error> {
        match (self.0.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => Ok(()),
            _ => Err(denied("a redirect leads from https to a URL without TLS")),
        }
    }

    fn address(&self, address: IpAddr) -> Result<(), Error> {
        let named = match self.0.host() {
            Some(Host::Ipv4(named)) => address == IpAddr::V4(named),
            Some(Host::Ipv6(named)) => address == IpAddr::V6(named),
            _ => false,
        };
        match named {
            true => Ok(()),
            false => Err(denied("it leads to a link-local address or a metadata service")),
        }
    }
}

fn denied(why: &str) -> Error {
    Error::new(ErrorKind::Denied, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_never_becomes_http_and_surroundings_must_be_named() {
        let allows = |named: &str, asked: &str| {
            OperatorsUrl(Url::parse(named).unwrap()).origin(&Url::parse(asked).unwrap())
        };
        assert!(allows("https://a/x", "https://b/y").is_ok() && allows("http://a/x", "https://b/y").is_ok());
        assert!(allows("https://a/x", "http://a/x").is_err());
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        let reaches = |named: &str| OperatorsUrl(Url::parse(named).unwrap()).address(metadata);
        assert!(reaches("http://169.254.169.254/x").is_ok() && reaches("http://a/x").is_err());
    }

    #[test]
    fn only_http_and_https_are_urls_to_fetch() {
        assert!(is_url("https://a/b.wasm") && is_url("HTTP://a"));
        assert!(!is_url("a.wasm") && !is_url("ftp://a") && !is_url("./https"));
    }
}
