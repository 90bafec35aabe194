//! Why a database refused, in the contract's kinds; the server's own words and code are kept.

use std::error::Error as StdError;
use std::io;

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, ErrorKind};

/// What MySQL's usual accounts can't do: their password may only be sent where nobody can read along.
const UNENCRYPTED_LOGIN: &str = "the server asks for this user's password, which isn't sent without TLS: turn TLS on for it, with the \
                                 server's authority if the machine doesn't know it, or log in by the server's socket";

/// A failure with the server's own code for it, if the server spoke: "1045", "28P01".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What failed, and why.
    pub error: Error,
    /// The number of MySQL, the SQLSTATE of PostgreSQL.
    pub code: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: None }
    }
}

/// Tells whether the server answered, so that the session goes on.
pub(super) fn is_refusal(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else {
        return false;
    };
    match said.try_downcast_ref::<MySqlDatabaseError>() {
        Some(said) => mysql_kind(said.number(), said.code()) != ErrorKind::Unavailable,
        None => postgres_kind(said.code().as_deref().unwrap_or_default()) != ErrorKind::Unavailable,
    }
}

/// The failure behind an error of the library.
pub(super) fn of(place: &str, error: &sqlx::Error) -> Failure {
    if let sqlx::Error::Database(said) = error {
        let (kind, code) = match said.try_downcast_ref::<MySqlDatabaseError>() {
            Some(said) => (mysql_kind(said.number(), said.code()), said.number().to_string()),
            None => {
                let code = said.code().unwrap_or_default();
                (postgres_kind(&code), code.into_owned())
            }
        };
        let message = format!("{place}: the server says: {} ({code})", said.message());
        return Failure {
            error: Error::new(kind, message),
            code: Some(code),
        };
    }
    let (kind, why) = match (tls(error), error) {
        (Some(rustls::Error::InvalidCertificate(why)), _) => {
            (ErrorKind::Denied, format!("its certificate isn't trusted: {why}"))
        }
        (Some(why), _) => (ErrorKind::Unavailable, format!("TLS failed: {why}")),
        (None, sqlx::Error::Tls(why)) => (ErrorKind::Denied, format!("TLS is asked for: {why}")),
        // The library speaks of how it was built.
        (None, sqlx::Error::Configuration(why)) if why.to_string().contains("mysql-rsa") => {
            (ErrorKind::Denied, UNENCRYPTED_LOGIN.to_owned())
        }
        (None, sqlx::Error::Configuration(why)) => (ErrorKind::Invalid, why.to_string()),
        (None, sqlx::Error::Io(why)) => (io_kind(why), words(why)),
        (None, sqlx::Error::Protocol(why)) => {
            (ErrorKind::Unavailable, format!("it answered nonsense: {why}"))
        }
        (None, error) => (ErrorKind::Other, error.to_string()),
    };
    Error::new(kind, format!("{place}: {why}")).into()
}

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        // Of a socket's path.
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ if error.to_string().contains("Name or service not known") => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    }
}

/// What broke a handshake, wherever the library hid it.
fn tls(error: &sqlx::Error) -> Option<&rustls::Error> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error| cause(*error)).find_map(|cause| cause.downcast_ref())
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match hidden {
        Some(hidden) => Some(hidden as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

/// MySQL's and MariaDB's numbers; the state tells the class of those that have no line here.
fn mysql_kind(number: u16, state: Option<&str>) -> ErrorKind {
    match number {
        // Refused logins (also locked and expired accounts, hosts that may not connect) and missing privileges.
        1044 | 1045 | 1129 | 1130 | 1142 | 1143 | 1227 | 1370 | 1419 | 1524 | 1698 | 1820 | 1862 | 3118
        | 4151 => ErrorKind::Denied,
        // Too many connections, lock wait timeout, deadlock.
        1040 | 1203 | 1205 | 1213 | 1226 => ErrorKind::Busy,
        // No such database, table.
        1049 | 1146 => ErrorKind::NotFound,
        // Shutting down, killed, lost.
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 => ErrorKind::Unavailable,
        _ => match state.map(|state| state.get(..2).unwrap_or_default()) {
            Some("42" | "22" | "21") => ErrorKind::Invalid,
            Some("08") => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        },
    }
}

/// PostgreSQL's states, most of them by their class.
fn postgres_kind(state: &str) -> ErrorKind {
    match (state, state.get(..2).unwrap_or_default()) {
        ("42501", _) | (_, "28") => ErrorKind::Denied,
        ("53300" | "55P03", _) | (_, "40") => ErrorKind::Busy,
        ("42P01" | "42704", _) | (_, "3D") => ErrorKind::NotFound,
        ("57P01" | "57P02" | "57P03" | "57P05", _) | (_, "08") => ErrorKind::Unavailable,
        (_, "42" | "22" | "21") => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_states_have_a_kind() {
        for (number, state, kind) in [
            (1045, "28000", ErrorKind::Denied),
            (1227, "42000", ErrorKind::Denied),
            (1205, "HY000", ErrorKind::Busy),
            (1040, "08004", ErrorKind::Busy),
            (1064, "42000", ErrorKind::Invalid),
            (1053, "08S01", ErrorKind::Unavailable),
            (9999, "HY000", ErrorKind::Other),
        ] {
            assert_eq!(mysql_kind(number, Some(state)), kind, "{number}");
        }
        for (state, kind) in [
            ("28P01", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("53300", ErrorKind::Busy),
            ("3D000", ErrorKind::NotFound),
            ("42601", ErrorKind::Invalid),
            ("57P01", ErrorKind::Unavailable),
            ("", ErrorKind::Other),
        ] {
            assert_eq!(postgres_kind(state), kind, "{state}");
        }
    }
}
