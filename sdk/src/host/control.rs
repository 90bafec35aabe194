//! The run that the present call belongs to: its log, cancelling, waiting, secrets, and names that nobody else has.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::error::Result;
use crate::host::backend::control as backend;
use crate::host::bodies::Body;

pub use crate::bindings::imports::freezer::plugin::control::LogLevel;

/// Longest wait of one call.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Writes a line for those who look for a fault in the plugin.
pub fn debug(message: impl AsRef<str>) {
    backend::log(LogLevel::Debug, message.as_ref());
}

/// Writes a line that an operator may like to know.
pub fn info(message: impl AsRef<str>) {
    backend::log(LogLevel::Info, message.as_ref());
}

/// Writes a line that an operator must know: it is repeated in the summary and kept in the manifest.
pub fn warning(message: impl AsRef<str>) {
    backend::log(LogLevel::Warning, message.as_ref());
}

/// Says what the plugin is doing now, with 0 to 100 percent if known.
pub fn progress(activity: &str, percent: Option<u8>) {
    backend::progress(activity, percent);
}

/// True once the user has cancelled: return soon.
pub fn is_cancelled() -> bool {
    backend::is_cancelled()
}

/// Waits. Longer waits than the contract's 60 s are made of several calls.
///
/// # Errors
/// `cancelled`, at once when the run is cancelled.
pub fn wait(duration: Duration) -> Result<()> {
    let mut left = duration;
    while !left.is_zero() {
        let step = left.min(LONGEST_WAIT);
        let milliseconds = u32::try_from(step.as_millis()).unwrap_or(u32::MAX);
        backend::wait(milliseconds)?;
        left -= step;
    }
    Ok(())
}

/// The value of a setting that plugin.toml marks `secret`.
///
/// # Errors
/// `not-found` if nobody gave it; `denied` if it isn't granted.
pub fn secret(name: &str) -> Result<Secret> {
    Ok(Secret(backend::secret(name)?))
}

/// The content of the file that a setting of type `file` names.
///
/// # Errors
/// `invalid` if nobody set it or it is larger than 1 MiB; `not-found`; `denied`.
pub fn file(setting: &str) -> Result<Body> {
    Ok(Body(backend::file(setting)?))
}

/// A secret value; its `Debug` form doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself: keep it out of logs, errors and arguments.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// 16 hex digits that no other instance or run will choose, for the names of temporary things. Not fit for secrets.
pub fn unique_name() -> String {
    // Each instance is seeded by the host's random numbers, and each call of `new` differs.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::testing::FakeHost;

    #[test]
    fn a_long_wait_is_cut_into_calls_the_contract_allows() {
        let host = FakeHost::new();
        wait(Duration::from_secs(150)).unwrap();
        assert_eq!(host.waited(), Duration::from_secs(150));
        assert_eq!(
            host.calls()
                .iter()
                .filter(|call| call.name == "control.wait")
                .count(),
            3
        );
    }

    #[test]
    fn a_cancelled_run_does_not_wait() {
        let host = FakeHost::new();
        host.cancel();
        assert_eq!(
            wait(Duration::from_secs(1)).unwrap_err().kind,
            ErrorKind::Cancelled
        );
        assert!(is_cancelled());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let host = FakeHost::new();
        host.set_secret("password", "hunter2");
        let secret = secret("password").unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn unique_names_differ() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| unique_name()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| name.len() == 16));
    }
}
