//! Where the objects lie: a bucket of a service, and what all keys in it begin with.
//!
//! Turns keys into URLs and back. A URL is made of encoded pieces only, so that nothing in a key can change its host or query.

use std::fmt;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{KEY_BYTES, check_key};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a query's value may hold unencoded, as the signature demands.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a path.
const PATH: &AsciiSet = &VALUE.remove(b'/');
/// Longest name of a bucket; Amazon's have 63 bytes at most, older ones and other services' 255.
const BUCKET_BYTES: usize = 255;

/// How the URL names the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressing {
    /// `https://service/bucket/key`
    Path,
    /// `https://bucket.service/key`
    Host,
}

/// A bucket of a service.
#[derive(Debug)]
pub(crate) struct Place {
    /// `https`
    scheme: String,
    /// `service:port`
    authority: String,
    addressing: Addressing,
    pub(crate) bucket: String,
    /// "" or with a `/` at its end.
    prefix: String,
}

impl Place {
    /// Understands the settings.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let bucket = settings.text("bucket")?;
        check_bucket(bucket)?;
        let prefix = settings
            .optional_text("prefix")?
            .unwrap_or_default()
            .trim_matches('/');
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        if !prefix.is_empty() {
            freezer_sdk::storage::check_prefix(&prefix)?;
        }
        let (scheme, authority) = match settings.optional_text("endpoint")? {
            Some(endpoint) if !endpoint.is_empty() => parse_endpoint(endpoint)?,
            _ => (
                "https".to_owned(),
                format!("s3.{}.amazonaws.com", region(settings)?),
            ),
        };
        let addressing = if settings.flag("path-style")? {
            Addressing::Path
        } else {
            Addressing::Host
        };
        Ok(Place {
            scheme,
            authority,
            addressing,
            bucket: bucket.to_owned(),
            prefix,
        })
    }

    /// The key in the bucket.
    ///
    /// # Errors
    /// `invalid` if it is no key, or too long together with the prefix.
    pub(crate) fn full_key(&self, key: &str) -> Result<String> {
        check_key(key)?;
        let most = KEY_BYTES - self.prefix.len();
        if key.len() > most {
            let shown: String = key.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "the key {shown:?} has more than {most} bytes"
            )));
        }
        Ok(format!("{}{key}", self.prefix))
    }

    /// What keys in the bucket begin with that begin with `prefix` here.
    pub(crate) fn full_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.prefix)
    }

    /// The key here of one in the bucket; none if it is none of ours, or no key at all.
    pub(crate) fn own_key<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.prefix)
            .filter(|key| check_key(key).is_ok())
    }

    /// The URL of an object, or of the bucket without a key (as in the bucket).
    pub(crate) fn url(&self, key: Option<&str>, query: &[(&str, &str)]) -> String {
        let mut url = match self.addressing {
            Addressing::Path => {
                format!(
                    "{}://{}/{}",
                    self.scheme,
                    self.authority,
                    utf8_percent_encode(&self.bucket, PATH)
                )
            }
            Addressing::Host => format!("{}://{}.{}", self.scheme, self.bucket, self.authority),
        };
        match key {
            Some(key) => url.extend(["/", &utf8_percent_encode(key, PATH).to_string()]),
            None if self.addressing == Addressing::Host => url.push('/'),
            None => {}
        }
        for (position, (name, value)) in query.iter().enumerate() {
            url.push(if position == 0 { '?' } else { '&' });
            url.extend([*name, "=", &utf8_percent_encode(value, VALUE).to_string()]);
        }
        url
    }

    /// The bucket with the prefix, as people name it.
    pub(crate) fn container(&self) -> String {
        format!("{}/{}", self.bucket, self.prefix)
            .trim_end_matches('/')
            .to_owned()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "bucket \"{}\" at {}://{}",
            self.bucket, self.scheme, self.authority
        )
    }
}

/// The region that requests are signed for.
///
/// # Errors
/// `invalid` for what is no region's name: it becomes a part of the service's.
pub(crate) fn region(settings: &Settings) -> Result<&str> {
    let region = settings.text("region")?;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if region.is_empty() || region.len() > 64 || !region.bytes().all(letters) {
        let shown: String = region.chars().take(60).collect();
        return Err(Error::invalid(format!("region: {shown:?} is no region's name")));
    }
    Ok(region)
}

/// Refuses what no service takes for a bucket's name, and what would change the meaning of a URL.
fn check_bucket(bucket: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let dots = bucket.starts_with('.') || bucket.ends_with('.') || bucket.contains("..");
    if bucket.len() < 3 || bucket.len() > BUCKET_BYTES || dots || !bucket.bytes().all(letters) {
        let shown: String = bucket.chars().take(60).collect();
        return Err(Error::invalid(format!(
            "bucket: {shown:?} is no bucket's name; write s3://BUCKET/PREFIX, the service's address goes into endpoint"
        )));
    }
    Ok(())
}

/// Takes `https://service:port` apart.
fn parse_endpoint(endpoint: &str) -> Result<(String, String)> {
    // What stands before an "@" may be a password.
    let shown: String = match endpoint.split_once('@') {
        Some(_) => "…".to_owned(),
        None => endpoint.chars().take(60).collect(),
    };
    let refuse = |why: &str| Err(Error::invalid(format!("endpoint: {shown:?} {why}")));
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return refuse("must begin with https:// or http://");
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return refuse("must begin with https:// or http://");
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return refuse("must not hold a user or password");
    }
    let letters =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(letters) {
        return refuse("must be a scheme, a host and perhaps a port, without a path");
    }
    Ok((scheme, authority.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;
    use freezer_sdk::settings::SettingValue;

    fn place(settings: &[(&str, &str)], path_style: bool) -> Result<Place> {
        let texts = settings
            .iter()
            .map(|(name, value)| (*name, SettingValue::Text((*value).into())));
        let flag = ("path-style", SettingValue::Flag(path_style));
        Place::new(&Settings::new(texts.chain([flag])))
    }

    #[test]
    fn a_bucket_is_named_in_the_path_or_in_the_host() {
        let amazon = [("bucket", "web"), ("region", "eu-west-1")];
        let place = |settings: &[_], path_style| place(settings, path_style).unwrap();
        let url = |place: Place| place.url(Some("a b/c+d"), &[("partNumber", "1"), ("uploadId", "x/=")]);
        assert_eq!(
            url(place(&amazon, true)),
            "https://s3.eu-west-1.amazonaws.com/web/a%20b/c%2Bd?partNumber=1&uploadId=x%2F%3D"
        );
        assert_eq!(
            url(place(&amazon, false)),
            "https://web.s3.eu-west-1.amazonaws.com/a%20b/c%2Bd?partNumber=1&uploadId=x%2F%3D"
        );
        let own = [
            ("bucket", "web"),
            ("region", "r"),
            ("endpoint", "HTTP://Store:9000/"),
        ];
        assert_eq!(
            place(&own, true).url(None, &[("uploads", "")]),
            "http://store:9000/web?uploads="
        );
        assert_eq!(place(&own, false).url(None, &[]), "http://web.store:9000/");
        assert_eq!(
            place(&own, true).to_string(),
            "bucket \"web\" at http://store:9000"
        );
    }

    #[test]
    fn keys_bear_the_prefix_in_the_bucket_only() {
        let settings = [("bucket", "web"), ("region", "r"), ("prefix", "/deep/er/")];
        let place = place(&settings, true).unwrap();
        assert_eq!(place.full_key("a/b").unwrap(), "deep/er/a/b");
        assert_eq!(place.own_key("deep/er/a/b"), Some("a/b"));
        for foreign in ["deep/er/", "deep/er/a//b", "deep/err/a", "a/b"] {
            assert_eq!(place.own_key(foreign), None, "{foreign}");
        }
        let longest = "k".repeat(KEY_BYTES - "deep/er/".len());
        place.full_key(&longest).unwrap();
        assert_eq!(
            place.full_key(&format!("{longest}k")).unwrap_err().kind,
            ErrorKind::Invalid
        );
    }

    #[test]
    fn settings_without_sense_are_refused_by_name() {
        let cases = [
            ("bucket", "a"),
            ("bucket", "a/../b"),
            ("bucket", "evil.example/"),
            ("bucket", "a..b"),
            ("region", "evil.example#"),
            ("region", ""),
            ("endpoint", "store:9000"),
            ("endpoint", "ftp://store"),
            ("endpoint", "https://user:secret@store"),
            ("endpoint", "https://store/path"),
            ("endpoint", "https://"),
        ];
        for (name, value) in cases {
            let mut settings = vec![("bucket", "web"), ("region", "r")];
            settings.retain(|(known, _)| *known != name);
            settings.push((name, value));
            let error = place(&settings, true).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.starts_with(name), "{name} {value}: {error}");
            assert!(!error.message.contains("secret@"), "{error}");
        }
        assert_eq!(
            place(&[("bucket", "web"), ("region", "r"), ("prefix", "a/../b")], true)
                .unwrap_err()
                .kind,
            ErrorKind::Invalid
        );
    }
}
