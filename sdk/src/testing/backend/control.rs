//! Fake `control` and `leftovers`.

use std::time::Duration;

use super::bodies::Body;
use crate::bindings::imports::freezer::plugin::{control::LogLevel, types::Error};
use crate::error::ErrorKind;
use crate::testing::machine::{call, current, fault};

/// `control.log`.
pub fn log(level: LogLevel, message: &str) {
    current().state().logs.push((level, message.to_owned()));
}

/// `control.progress`.
pub fn progress(activity: &str, percent: Option<u8>) {
    current().state().progress = Some((activity.to_owned(), percent));
}

/// `control.is-cancelled`.
pub fn is_cancelled() -> bool {
    current().state().cancelled
}

/// `control.wait`; no time passes.
pub fn wait(milliseconds: u32) -> Result<(), Error> {
    call("control.wait", milliseconds.to_string(), |machine| {
        machine.state().waited += Duration::from_millis(milliseconds.min(60_000).into());
        Ok(())
    })
}

/// `control.secret`.
pub fn secret(name: &str) -> Result<String, Error> {
    call("control.secret", name, |machine| {
        let secret = machine.state().secrets.get(name).cloned();
        secret.ok_or_else(|| fault(ErrorKind::NotFound, format!("no secret \"{name}\"")))
    })
}

/// `control.file`.
pub fn file(setting: &str) -> Result<Body, Error> {
    call("control.file", setting, |machine| {
        let content = machine.state().files.get(setting).cloned();
        let unset = || {
            fault(
                ErrorKind::Invalid,
                format!("\"{setting}\" is no file that is set"),
            )
        };
        Ok(Body::new(&content.ok_or_else(unset)?))
    })
}

/// Fake `leftovers`.
pub mod leftovers {
    use super::{Error, ErrorKind, call, fault};

    /// `leftovers.announce`.
    pub fn announce(description: &str, undo: &str) -> Result<u64, Error> {
        call("leftovers.announce", description, |machine| {
            let mut state = machine.state();
            state.announced += 1;
            let number = state.announced;
            state
                .leftovers
                .insert(number, (description.to_owned(), undo.to_owned()));
            Ok(number)
        })
    }

    /// `leftovers.settle`.
    pub fn settle(leftover: u64) -> Result<(), Error> {
        call("leftovers.settle", leftover.to_string(), |machine| {
            let mut state = machine.state();
            if leftover == 0 || leftover > state.announced {
                return Err(fault(ErrorKind::NotFound, "never announced"));
            }
            state.leftovers.remove(&leftover);
            Ok(())
        })
    }
}
