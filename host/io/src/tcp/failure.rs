//! Why a connection failed, in the contract's kinds and in words for people.

use std::io;

use crate::error::{Error, ErrorKind};

/// It can't be used any more.
pub(super) fn unavailable(place: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{place}: {why}"))
}

/// The name leads nowhere.
pub(super) fn unresolved(place: &str, error: &io::Error) -> Error {
    let unknown = error.to_string().contains("Name or service not known");
    let kind = if unknown {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    };
    let why = if unknown {
        "there is no such host".to_owned()
    } else {
        words(error)
    };
    Error::new(kind, format!("{place}: {why}"))
}

/// Nobody answered.
pub(super) fn unconnected(place: &str, error: &io::Error) -> Error {
    unavailable(place, &format!("no connection: {}", words(error)))
}

/// The handshake failed. A certificate that doesn't count today won't count in a second: no retry.
pub(super) fn handshake(place: &str, error: &io::Error) -> Error {
    match tls(error) {
        Some(rustls::Error::InvalidCertificate(why)) => Error::new(
            ErrorKind::Denied,
            format!("{place}: its certificate isn't trusted: {why}"),
        ),
        Some(why) => unavailable(place, &format!("TLS failed: {why}")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unavailable(place, "TLS failed: the other side closed the connection")
        }
        None => unavailable(place, &format!("TLS failed: {}", words(error))),
    }
}

/// An open connection broke.
pub(super) fn broken(place: &str, error: &io::Error) -> Error {
    match tls(error) {
        Some(why) => unavailable(place, &format!("TLS failed: {why}")),
        // What may be cut off by anybody on the way isn't the end.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unavailable(place, "broken off: TLS ended without its farewell")
        }
        None => unavailable(place, &format!("broken off: {}", words(error))),
    }
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(text);
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect()
}
