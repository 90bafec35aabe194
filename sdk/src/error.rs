//! The error of all fallible calls, with the kinds of the contract.
//!
//! Plugins return it, host calls fail with it. The host decides by the kind alone; the message is for people.

use std::fmt;
use std::time::Duration;

use crate::bindings::imports::freezer::plugin::types;

pub use crate::bindings::imports::freezer::plugin::types::ErrorKind;

/// The result of all fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The host's own words in [`Error::code`]: it gives advice by the first word of a code. A service's own word may follow.
pub mod code {
    /// User name, password, key or token isn't accepted.
    pub const LOGIN: &str = "login";
    /// A machine that isn't known answered.
    pub const UNKNOWN_MACHINE: &str = "unknown-machine";
    /// A machine answered with another key than it is known by.
    pub const CHANGED_MACHINE: &str = "changed-machine";
    /// No machine has that name.
    pub const NO_SUCH_HOST: &str = "no-such-host";
    /// Nothing accepts connections there.
    pub const NO_CONNECTION: &str = "no-connection";
    /// The certificate doesn't count.
    pub const CERTIFICATE: &str = "certificate";
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is. Only [`ErrorKind::Busy`] and [`ErrorKind::Unavailable`] are tried again, by the host.
    pub kind: ErrorKind,
    /// One line: what failed on which thing, and why. Never a secret, no final period.
    pub message: String,
    /// The service's own word for it, for logs; behind one of [`code`] where that fits.
    pub code: Option<String>,
    /// How long the service asked to wait.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Makes an error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            code: None,
            retry_after: None,
        }
    }

    /// The thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, message)
    }

    /// The thing exists and must not be replaced.
    pub fn already_exists(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::AlreadyExists, message)
    }

    /// Not permitted.
    pub fn denied(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Denied, message)
    }

    /// The call is wrong and will fail again.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// The service is there but asks to come later; the host tries again.
    pub fn busy(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Busy, message)
    }

    /// The service can't be reached; the host tries again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, message)
    }

    /// What was read is not what was written.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// This plugin can't do that at all.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unsupported, message)
    }

    /// Anything else.
    pub fn other(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Other, message)
    }

    /// Adds the service's own word for the failure.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds how long the service asked to wait.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Puts in front what was being done, and keeps all else: `can't store "a": no space left`.
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// True if the host will try again.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Busy | ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Error {
            kind: error.kind,
            message: error.message,
            code: error.code,
            retry_after: error
                .retry_after_ms
                .map(|wait| Duration::from_millis(wait.into())),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        types::Error {
            kind: error.kind,
            message: error.message,
            code: error.code,
            // A wait that doesn't fit is longer than any host honours.
            retry_after_ms: error
                .retry_after
                .map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts `doing()` in front of the message of an error.
    ///
    /// # Errors
    /// The same as before, with a longer message.
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_to_the_host_and_back() {
        let error = Error::busy("slow down")
            .with_code("503")
            .with_retry_after(Duration::from_millis(1500));
        assert_eq!(Error::from(types::Error::from(error.clone())), error);
    }

    #[test]
    fn a_wait_beyond_the_contract_becomes_the_longest_one() {
        let error = Error::busy("later").with_retry_after(Duration::from_secs(u64::MAX));
        assert_eq!(types::Error::from(error).retry_after_ms, Some(u32::MAX));
    }

    #[test]
    fn context_keeps_kind_and_code() {
        let failed: Result<()> = Err(Error::not_found("no such file").with_code("ENOENT"));
        let error = failed.context(|| "can't read \"a\"").unwrap_err();
        assert_eq!(error.to_string(), "can't read \"a\": no such file");
        assert_eq!(
            (error.kind, error.code.as_deref()),
            (ErrorKind::NotFound, Some("ENOENT"))
        );
    }

    #[test]
    fn only_busy_and_unavailable_are_tried_again() {
        assert!(Error::busy("").is_retryable() && Error::unavailable("").is_retryable());
        assert!(!Error::other("").is_retryable() && !Error::corrupt("").is_retryable());
    }
}
