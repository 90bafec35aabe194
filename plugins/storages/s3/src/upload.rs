//! The texts in which an upload keeps its state: its name and the receipts of its segments.
//!
//! ```text
//! upload-id  RUN:LENGTH:SERVICE-IDKEY   RUN is written into the object's metadata; "-" where it isn't known
//! receipt    BYTES:ETAG
//! cursor     LENGTH:SERVICE-IDKEY       of a listing of uploads: behind this one
//! ```
//! The service's own ids may hold any character, so that their length stands before them.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::control;
use freezer_sdk::storage::check_key;

/// The contract's longest upload-id.
const ID_BYTES: usize = 2048;
/// Longest ETag: with the length of a segment, a receipt of at most 256 bytes.
const ETAG_BYTES: usize = 200;

/// An object that isn't whole yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// What tells our object from another one under its key; none for uploads that were found.
    pub(crate) run: Option<String>,
    /// The service's name for it.
    pub(crate) service_id: String,
    /// The key that it will get.
    pub(crate) key: String,
}

impl Upload {
    /// A name for a new run, before the service gives it an id.
    pub(crate) fn new_run() -> String {
        control::unique_name()
    }

    /// The text that names it.
    ///
    /// # Errors
    /// `unsupported` if it would be longer than the contract allows.
    pub(crate) fn id(&self) -> Result<String> {
        let id = format!(
            "{}:{}",
            self.run.as_deref().unwrap_or("-"),
            join(&self.service_id, &self.key)
        );
        if id.len() > ID_BYTES {
            let shown: String = self.key.chars().take(60).collect();
            return Err(Error::unsupported(format!(
                "the key {shown:?} and the service's id of its upload have more than {ID_BYTES} bytes together"
            )));
        }
        Ok(id)
    }

    /// Understands the text that names an upload.
    ///
    /// # Errors
    /// `invalid` if it isn't one of this storage's.
    pub(crate) fn parse(id: &str) -> Result<Self> {
        let parsed = id
            .split_once(':')
            .and_then(|(run, rest)| Some((run, split(rest)?)));
        let Some((run, (service_id, key))) =
            parsed.filter(|(run, (_, key))| is_run(run) && check_key(key).is_ok())
        else {
            let shown: String = id.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "{shown:?} names no upload of this storage"
            )));
        };
        Ok(Upload {
            run: (run != "-").then(|| run.to_owned()),
            service_id: service_id.to_owned(),
            key: key.to_owned(),
        })
    }
}

fn is_run(run: &str) -> bool {
    run == "-" || (run.len() == 16 && run.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Two texts as one.
pub(crate) fn join(service_id: &str, key: &str) -> String {
    format!("{}:{service_id}{key}", service_id.len())
}

/// The two texts of [`join`].
pub(crate) fn split(joined: &str) -> Option<(&str, &str)> {
    let (length, rest) = joined.split_once(':')?;
    let (service_id, key) = rest.split_at_checked(length.parse().ok()?)?;
    (!service_id.is_empty()).then_some((service_id, key))
}

/// What `commit` must know of a segment.
///
/// # Errors
/// `corrupt` for an ETag that no service makes.
pub(crate) fn receipt(bytes: u64, etag: &str) -> Result<String> {
    if etag.is_empty() || etag.len() > ETAG_BYTES {
        return Err(Error::corrupt("the service's answer has no usable ETag"));
    }
    Ok(format!("{bytes}:{etag}"))
}

/// The bytes of all segments, and their ETags in order.
///
/// # Errors
/// `invalid` if one is no receipt of this storage.
pub(crate) fn read_receipts(receipts: &[String]) -> Result<(u64, Vec<&str>)> {
    let mut sum = 0_u64;
    let mut etags = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let parsed = receipt.split_once(':').and_then(|(bytes, etag)| {
            sum = sum.checked_add(bytes.parse().ok()?)?;
            Some(etag).filter(|etag| !etag.is_empty())
        });
        let Some(etag) = parsed else {
            let shown: String = receipt.chars().take(60).collect();
            return Err(Error::invalid(format!("{shown:?} is no receipt of this storage")));
        };
        etags.push(etag);
    }
    Ok((sum, etags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;

    #[test]
    fn an_upload_survives_its_text_whatever_the_service_calls_it() {
        for service_id in ["1", "a:b", "VXBsb2FkIElE_.-~", "7:7"] {
            for run in [None, Some("0123456789abcdef".to_owned())] {
                let upload = Upload {
                    run,
                    service_id: service_id.into(),
                    key: "data/a:1/b".into(),
                };
                assert_eq!(Upload::parse(&upload.id().unwrap()).unwrap(), upload);
            }
        }
    }

    #[test]
    fn foreign_texts_are_refused() {
        for id in [
            "",
            "x",
            "-:",
            "-:0:key",
            "-:9:idkey",
            "-:x:idkey",
            "-:2:id",
            "-:2:id/etc",
            "-:2:id../a",
            "run:2:idk",
        ] {
            assert_eq!(Upload::parse(id).unwrap_err().kind, ErrorKind::Invalid, "{id}");
        }
        // The length must not cut a character in two.
        assert_eq!(Upload::parse("-:1:éa").unwrap_err().kind, ErrorKind::Invalid);
        for receipt in ["", "5", "x:e", "5:", "99999999999999999999:e"] {
            assert_eq!(
                read_receipts(&[receipt.into()]).unwrap_err().kind,
                ErrorKind::Invalid,
                "{receipt}"
            );
        }
        let huge = [format!("{}:e", u64::MAX), "1:e".into()];
        assert_eq!(read_receipts(&huge).unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_text_beyond_the_contract_is_refused() {
        let upload = Upload {
            run: None,
            service_id: "i".repeat(1500),
            key: "k".repeat(600),
        };
        assert_eq!(upload.id().unwrap_err().kind, ErrorKind::Unsupported);
    }

    #[test]
    fn receipts_tell_bytes_and_etags() {
        let receipts = [receipt(5, "\"aa\"").unwrap(), receipt(7, "b:b").unwrap()];
        assert_eq!(read_receipts(&receipts).unwrap(), (12, vec!["\"aa\"", "b:b"]));
        assert_eq!(receipt(1, "").unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(receipt(1, &"e".repeat(300)).unwrap_err().kind, ErrorKind::Corrupt);
    }
}
