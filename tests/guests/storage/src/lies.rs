//! Sins of answering what isn't so.

use freezer_sdk::error::Result;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::storage::KeyPage;

use crate::object;

/// What the answer speaks of is chosen where it is made.
pub(crate) fn speaks_of_another_key(_: &str) -> Result<u64> {
    Ok(1)
}

fn page(prefix: &str, names: impl IntoIterator<Item = String>) -> Result<KeyPage> {
    let entries = names.into_iter();
    Ok(KeyPage {
        entries: entries
            .map(|name| object(&format!("{prefix}{name}"), 1))
            .collect(),
        next: None,
    })
}

pub(crate) fn lists_too_many(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, (0..1001).map(|number| number.to_string()))
}

pub(crate) fn lists_dots(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, ["../x".to_owned()])
}

pub(crate) fn lists_control_characters(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, ["a\0b".to_owned()])
}

pub(crate) fn lists_what_lies_deeper(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, ["a/b".to_owned()])
}

pub(crate) fn lists_what_lies_elsewhere(_: &str, _: Option<&str>) -> Result<KeyPage> {
    page("", ["x".to_owned()])
}

pub(crate) fn lists_long_keys(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, ["x".repeat(5000)])
}

pub(crate) fn lists_keys_of_ten_megabytes(prefix: &str, _: Option<&str>) -> Result<KeyPage> {
    page(prefix, ["x".repeat(10 << 20)])
}

pub(crate) fn lists_one_page_for_ever(_: &str, _: Option<&str>) -> Result<KeyPage> {
    Ok(KeyPage {
        entries: Vec::new(),
        next: Some("again".to_owned()),
    })
}

pub(crate) fn reads_too_little(_: &str) -> Result<Body> {
    Body::from_bytes(b"")
}

pub(crate) fn reads_too_much(_: &str) -> Result<Body> {
    Body::from_bytes(b"0123456789")
}

pub(crate) fn names_an_upload_too_long(_: &str) -> Result<String> {
    Ok("x".repeat(2049))
}

pub(crate) fn gives_a_long_receipt(_: &Body) -> Result<String> {
    Ok("x".repeat(300))
}
