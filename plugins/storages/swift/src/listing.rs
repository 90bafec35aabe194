//! Listings of a container, page by page. They may lag behind what was written or removed.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::http::Response;
use serde::Deserialize;

use crate::place::encode;
use crate::session::{Call, Session};
use crate::status;

/// Most bytes of one page that are read: 10 000 names of 1024 escaped bytes would not pass, and are no backup's.
const PAGE_BYTES: usize = 16 << 20;

/// One entry: an object, or a common beginning.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Listed {
    Object(ListedObject),
    Prefix { subdir: String },
}

/// An object as a listing knows it.
#[derive(Debug, Deserialize)]
pub(crate) struct ListedObject {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) bytes: u64,
    pub(crate) last_modified: Option<String>,
}

impl Listed {
    /// The name, which is also the marker of what follows it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Listed::Object(object) => &object.name,
            Listed::Prefix { subdir } => subdir,
        }
    }
}

/// What to list.
pub(crate) struct Question<'a> {
    pub(crate) container: &'a str,
    /// Only names that begin so.
    pub(crate) prefix: &'a str,
    /// Only names behind this one.
    pub(crate) marker: Option<&'a str>,
    /// Entries at most; the cluster's own limit without it. A larger one would be refused.
    pub(crate) limit: Option<usize>,
    /// True to see one level: what lies deeper shows as a prefix.
    pub(crate) one_level: bool,
}

/// One page; an empty one is the end.
///
/// # Errors
/// `not-found` if there is no such container.
pub(crate) fn page(session: &Session, question: &Question<'_>) -> Result<Vec<Listed>> {
    let mut query = format!("format=json&prefix={}", encode(question.prefix));
    if let Some(limit) = question.limit {
        query.push_str(&format!("&limit={limit}"));
    }
    if question.one_level {
        query.push_str("&delimiter=/");
    }
    if let Some(marker) = question.marker {
        query.push_str("&marker=");
        query.push_str(&encode(marker));
    }
    let path = format!("/{}", encode(question.container));
    let response = session.send(&Call::new("GET", path).query(query))?;
    match response.status {
        204 => Ok(Vec::new()),
        status if status::is_success(status) => parse(&response),
        404 => {
            Err(Error::not_found(format!("there is no container {:?}", question.container)).with_code("404"))
        }
        _ => Err(status::error(&response)),
    }
}

fn parse(response: &Response) -> Result<Vec<Listed>> {
    let content = status::document(response, PAGE_BYTES)?;
    serde_json::from_slice(&content).map_err(|error| Error::other(format!("the listing is no JSON: {error}")))
}

/// All pages below a prefix, handed on one by one.
///
/// # Errors
/// As [`page`], and what `each` says.
pub(crate) fn all(
    session: &Session,
    (container, prefix): (&str, &str),
    mut each: impl FnMut(ListedObject) -> Result<()>,
) -> Result<()> {
    let mut marker: Option<String> = None;
    loop {
        let question = Question {
            container,
            prefix,
            marker: marker.as_deref(),
            limit: None,
            one_level: false,
        };
        let entries = page(session, &question)?;
        let Some(last) = entries.last().map(|entry| entry.name().to_owned()) else {
            return Ok(());
        };
        if marker.as_ref().is_some_and(|marker| *marker >= last) {
            return Err(Error::corrupt("the listing has no end"));
        }
        for entry in entries {
            if let Listed::Object(object) = entry {
                each(object)?;
            }
        }
        marker = Some(last);
    }
}

/// Seconds since 1970 of `2026-11-25T01:56:58.013980`, which is UTC.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 0000-03-01 in a calendar whose year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00.000000", Some(0)),
            ("2026-11-25T01:56:58.013980", Some(1_795_571_818)),
            ("2024-02-29T23:59:59", Some(1_709_251_199)),
            ("2000-03-01T00:00:00", Some(951_868_800)),
            ("2026-13-01T00:00:00", None),
            ("2026-11-25", None),
            ("nonsense, and more of it", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
