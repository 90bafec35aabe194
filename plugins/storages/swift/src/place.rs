//! Where in an account the storage lies, and how names travel in a URL.
//!
//! ```text
//! setting `container`   freezer/web/01        container "freezer", prefix "web/01/"
//! key                   data/tar/h_n/…/data
//! object                web/01/data/tar/h_n/…/data
//! ```

use freezer_sdk::error::{Error, Result};
use freezer_sdk::storage::check_key;

/// Longest name of a container, everywhere.
const CONTAINER_BYTES: usize = 256;
/// Longest name of an object, everywhere.
pub(crate) const OBJECT_BYTES: usize = 1024;

/// A container, and the beginning that all names in it have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The container's name.
    pub(crate) container: String,
    /// "" or a text that ends with a slash.
    pub(crate) prefix: String,
}

impl Place {
    /// Understands `NAME`, `NAME/PREFIX` and both behind `//`.
    ///
    /// # Errors
    /// `invalid` if there is no such container.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('/').trim_end_matches('/');
        let (container, prefix) = text.split_once('/').unwrap_or((text, ""));
        if container.is_empty()
            || container.len() > CONTAINER_BYTES
            || matches!(container, "." | "..")
            || container.chars().any(char::is_control)
        {
            return Err(Error::invalid(format!(
                "{container:?} is no name of a container; write swift://CONTAINER or swift://CONTAINER/PREFIX"
            )));
        }
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            check_key(prefix)?;
            format!("{prefix}/")
        };
        Ok(Place {
            container: container.to_owned(),
            prefix,
        })
    }

    /// The object's name of a key.
    pub(crate) fn object(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of an object, if it lies here.
    pub(crate) fn key<'a>(&self, object: &'a str) -> Option<&'a str> {
        object.strip_prefix(self.prefix.as_str())
    }
}

/// The path of an object behind the account's address.
pub(crate) fn object_path(container: &str, object: &str) -> String {
    format!("/{}/{}", encode(container), encode(object))
}

/// Percent-encodes whatever isn't plain in a path or a query; slashes stay.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Undoes [`encode`]; `None` if that isn't UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let decoded = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match decoded.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_have_a_prefix() {
        for (text, container, prefix) in [
            ("freezer", "freezer", ""),
            ("//freezer", "freezer", ""),
            ("//freezer/", "freezer", ""),
            ("//freezer/web/01/", "freezer", "web/01/"),
            ("Ключ ё/%41", "Ключ ё", "%41/"),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!(
                (place.container.as_str(), place.prefix.as_str()),
                (container, prefix)
            );
            assert_eq!(place.key(&place.object("a/b")), Some("a/b"));
        }
        for text in ["", "//", "..", "a/../b", "a//b", "a\nb", &"c".repeat(257)] {
            Place::parse(text).unwrap_err();
        }
    }

    #[test]
    fn any_name_survives_the_way_through_a_url() {
        for name in [
            "plain-name_1.~",
            "with blank",
            "a?b#c&d=e%41+f",
            "ключ/ё",
            "\u{1F9CA}",
            "\"'<>\\^`{|}",
        ] {
            let encoded = encode(name);
            assert!(encoded.is_ascii() && !encoded.contains(['?', '#', '&', ' ', '+']));
            assert_eq!(decode(&encoded).as_deref(), Some(name));
        }
        assert_eq!(encode("ё"), "%D1%91");
        for (text, decoded) in [
            ("100%", Some("100%")),
            ("%zz", Some("%zz")),
            ("%ff", None),
            ("%", Some("%")),
        ] {
            assert_eq!(decode(text).as_deref(), decoded);
        }
    }
}
