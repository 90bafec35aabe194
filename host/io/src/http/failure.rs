//! Why a request failed, in the contract's kinds and in words for people.

use std::error::Error as StdError;
use std::io;

use crate::error::{Error, ErrorKind, code};

/// Why no answer came to a request.
pub(super) fn unanswered(asked: &str, error: &reqwest::Error) -> Error {
    if let Some(own) = own(error) {
        let message = format!("{asked}: {}", own.message);
        return Error {
            message,
            ..own.clone()
        };
    }
    if let Some(tls) = tls(error) {
        let failed = Error::new(tls_kind(tls), format!("{asked}: {}", tls_words(tls)));
        return match failed.kind {
            ErrorKind::Denied => failed.with_code(code::CERTIFICATE),
            _ => failed,
        };
    }
    let why = root(error);
    if error.is_builder() {
        return Error::new(ErrorKind::Invalid, format!("{asked}: {why}"));
    }
    let unavailable = |what: String| Error::new(ErrorKind::Unavailable, format!("{asked}: {what}"));
    if error.is_timeout() {
        unavailable("no connection within 10 s".to_owned()).with_code(code::NO_CONNECTION)
    } else if error.is_connect() {
        unavailable(format!("no connection: {why}")).with_code(code::NO_CONNECTION)
    } else {
        unavailable(format!("broken off before the answer: {why}"))
    }
}

/// Why an answer's content broke off.
pub(super) fn broken(asked: &str, error: &reqwest::Error) -> Error {
    let short = chain(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
    });
    if short {
        let message = format!("{asked}: the answer is shorter than announced");
        return Error::new(ErrorKind::Corrupt, message);
    }
    let message = format!("{asked}: the answer broke off: {}", root(error));
    Error::new(ErrorKind::Unavailable, message)
}

/// An error and its causes, also those that `io::Error` hides.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match hidden {
        Some(hidden) => Some(hidden as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

fn own(error: &reqwest::Error) -> Option<&Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// A certificate that doesn't count today won't count in a second: no retry.
fn tls_kind(error: &rustls::Error) -> ErrorKind {
    match error {
        rustls::Error::InvalidCertificate(_) => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => format!("its certificate isn't trusted: {why}"),
        error => format!("TLS failed: {error}"),
    }
}

/// The innermost cause in words, without the system's error number.
fn root(error: &reqwest::Error) -> String {
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let words = innermost.split(" (os error").next().unwrap_or_default();
    words
        .chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect()
}
