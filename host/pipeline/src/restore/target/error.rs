//! Why one entry couldn't be made: refused, or the system's answer.
//!
//! Such an entry is named and left out, unless the cause would hit every entry that follows.

use std::fmt;

use rustix::io::Errno;

/// A failure at one entry.
#[derive(Debug)]
pub(crate) struct EntryError {
    /// What was tried, in words that fit after "can't".
    pub(crate) operation: &'static str,
    /// Why it failed.
    pub(crate) cause: Cause,
}

/// Why something failed.
#[derive(Debug)]
pub(crate) enum Cause {
    /// It is against our rules.
    Refused(&'static str),
    /// The system's answer.
    System(Errno),
}

impl EntryError {
    /// Makes an error for an answer of the system; for use with `map_err`.
    pub(crate) fn system(operation: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            operation,
            cause: Cause::System(errno),
        }
    }

    /// Makes an error for an entry that isn't wanted.
    pub(crate) fn refused(operation: &'static str, reason: &'static str) -> Self {
        Self {
            operation,
            cause: Cause::Refused(reason),
        }
    }

    /// The system's answer if it makes going on pointless: the disk is full, read-only or broken, or this
    /// process is out of something.
    pub(crate) fn fatal(&self) -> Option<Errno> {
        match self.cause {
            Cause::System(
                errno @ (Errno::NOSPC
                | Errno::DQUOT
                | Errno::ROFS
                | Errno::IO
                | Errno::NOMEM
                | Errno::MFILE
                | Errno::NFILE
                | Errno::STALE),
            ) => Some(errno),
            _ => None,
        }
    }

    /// Whether it was refused by our rules.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.cause,
            Cause::Refused(_) | Cause::System(Errno::LOOP | Errno::XDEV)
        )
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Refused(reason) => write!(f, "can't {}: {reason}", self.operation),
            // What resolving below the root without links answers for a link on the way.
            Cause::System(Errno::LOOP | Errno::XDEV) => {
                write!(
                    f,
                    "can't {}: its path leads through a symbolic link",
                    self.operation
                )
            }
            Cause::System(errno) => write!(f, "can't {}: {}", self.operation, std::io::Error::from(errno)),
        }
    }
}
