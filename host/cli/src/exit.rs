//! How the program ends: the exit codes and the one shape of a failure.
//!
//! Everything that goes wrong becomes a [`Failure`] here and is printed once by
//! `render::failure`. Nothing else in the program chooses a number, and only
//! [`leave`] ends the process early.

use std::error::Error;
use std::process::ExitCode;

/// What the exit code of the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Ok,
    /// The action failed; nothing of it counts.
    Failed,
    /// The command line or the configuration is wrong; nothing was done.
    Usage,
    /// Done, but something was skipped or could not be read; the summary names it.
    Partial,
    /// No backup, path or plugin matches what was asked for.
    NothingFound,
    /// Stored data is damaged or not authentic.
    Damaged,
    /// Stopped by Ctrl-C or SIGTERM.
    Interrupted,
}

impl Exit {
    /// All codes in the order of their numbers.
    pub(crate) const ALL: [Exit; 7] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::NothingFound,
        Exit::Damaged,
        Exit::Interrupted,
    ];

    /// The number handed to the parent process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partial => 3,
            Exit::NothingFound => 4,
            Exit::Damaged => 5,
            Exit::Interrupted => 130,
        }
    }

    /// The word for it in JSON documents.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Partial => "partial",
            Exit::NothingFound => "nothing-found",
            Exit::Damaged => "damaged",
            Exit::Interrupted => "interrupted",
        }
    }

    /// One line for `--help` and the manual.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "everything asked for was done",
            Exit::Failed => "failed",
            Exit::Usage => "the command line or the configuration is wrong",
            Exit::Partial => "done, but something was skipped or unreadable; it is named",
            Exit::NothingFound => "no such backup, path or plugin",
            Exit::Damaged => "stored data is damaged or not authentic",
            Exit::Interrupted => "interrupted",
        }
    }

    /// The table of codes shown below `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:");
        for exit in Exit::ALL {
            text.push_str(&format!("\n  {:>3}  {}", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a run did not succeed, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code to leave with.
    pub(crate) exit: Exit,
    /// What failed on which thing.
    pub(crate) message: String,
    /// Why, the nearest cause first; no text appears twice.
    pub(crate) causes: Vec<String>,
    /// What to do about it, one step an entry.
    pub(crate) next: Vec<String>,
}

impl Failure {
    /// A failure without cause or advice.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
            causes: Vec::new(),
            next: Vec::new(),
        }
    }

    /// A mistake in the command line or the configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// Adds a cause below those already there.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Failure {
        let cause = cause.into();
        if cause != self.message && !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
        self
    }

    /// Adds a next step.
    #[must_use]
    pub(crate) fn advise(mut self, step: impl Into<String>) -> Failure {
        self.next.push(step.into());
        self
    }

    /// A failure from a typed error and the chain below it, each text once.
    pub(crate) fn from_error(exit: Exit, error: &dyn Error) -> Failure {
        let mut failure = Failure::new(exit, error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            failure = failure.because(error.to_string());
            source = error.source();
        }
        failure
    }
}

/// Ends the process at once, without running destructors.
///
/// Only for a second interrupt: everything else returns its [`Exit`] through `main`.
#[expect(clippy::disallowed_methods, reason = "the one home of std::process::exit")]
pub(crate) fn leave(exit: Exit) -> ! {
    std::process::exit(i32::from(exit.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] std::io::Error);

    #[test]
    fn the_chain_is_listed_once_from_the_outside_in() {
        let error = Outer(Inner(std::io::Error::other("inner")));
        let failure = Failure::from_error(Exit::Failed, &error);
        assert_eq!(failure.message, "outer");
        assert_eq!(failure.causes, ["inner"]);
    }

    #[test]
    fn codes_are_those_promised() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 130]);
        assert!(Exit::help().contains("  130  interrupted"));
    }
}
