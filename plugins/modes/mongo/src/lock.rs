//! fsyncLock: nobody writes until it is given back. It belongs to the server and not to the connection, so it outlives whoever
//! took it: it is announced before it is taken, and a killed run's is given back by the next one.

use std::time::{Duration, Instant};

use bson::{RawArray, rawdoc};
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::leftovers::{self, Leftover};
use serde::{Deserialize, Serialize};

use crate::login::Login;
use crate::server::{Server, number};

/// How many seconds a request for the lock is waited for that nobody wants any more.
const PATIENCE: u32 = 10;

/// What `undo` must know: nothing but where, since the rest are settings.
#[derive(Serialize, Deserialize)]
struct Undo {
    version: u32,
    place: String,
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Lock {
    leftover: Leftover,
    since: Instant,
}

impl Lock {
    /// Stops all writers.
    ///
    /// # Errors
    /// `busy` if somebody wrote for too long; `denied` names the role; `unsupported`. Then nothing is locked by us, or it is
    /// announced and will be undone.
    pub(crate) fn take(server: &Server, login: &Login) -> Result<Self> {
        let place = server.place.clone();
        let undo = serde_json::to_string(&Undo { version: 1, place })
            .map_err(|error| Error::other(error.to_string()))?;
        let leftover = leftovers::announce(&format!("the lock of all writers of {}", server.place), &undo)?;
        let milliseconds = i64::try_from(login.lock_seconds * 1000).unwrap_or(i64::MAX);
        let taken = server.command(&rawdoc! { "fsync": 1, "lock": true, "maxTimeMS": milliseconds });
        let since = Instant::now();
        let answer = match taken {
            Ok(answer) => answer,
            // It said itself that it didn't lock.
            Err(error) if error.code.is_some() => {
                leftover.settle()?;
                return Err(advised(error, login));
            }
            // Nobody knows whether it locked: it stays announced, so the host has it undone.
            Err(error) => return Err(error),
        };
        if let Some(count @ 2..) = number(&answer, "lockCount") {
            control::warning(format!(
                "{} was locked before: {} locks are somebody else's and stay, so writers go on waiting",
                server.place,
                count - 1
            ));
        }
        Ok(Self { leftover, since })
    }

    /// Lets everybody write again; answers how long they waited, in milliseconds.
    ///
    /// # Errors
    /// `other` if the lock was gone already, which means that somebody may have written; what else failed: then it stays announced.
    pub(crate) fn give_back(self, server: &Server, login: &Login) -> Result<u64> {
        let given = server.command(&rawdoc! { "fsyncUnlock": 1 });
        let waited = self.since.elapsed().as_millis();
        let lost = |why: &str| {
            let message =
                format!("the lock was lost before it was given back, so somebody may have written: {why}");
            Err(Error::other(message))
        };
        match given {
            Ok(_) => self.leftover.settle()?,
            Err(error) if error.code.is_some() => {
                self.leftover.settle()?;
                return lost(&error.message);
            }
            // The connection broke; the lock doesn't go with it.
            Err(error) => {
                let was_locked = release(login)?;
                self.leftover.settle()?;
                if !was_locked {
                    return lost(&error.message);
                }
                control::warning(format!("{error}: unlocked by another connection"));
            }
        }
        Ok(u64::try_from(waited).unwrap_or(u64::MAX))
    }
}

/// Gives back a lock that an earlier run may have left.
///
/// # Errors
/// Why it may still be there.
pub(crate) fn undo(login: &Login, leftover: &str) -> Result<()> {
    let undo: Undo = serde_json::from_str(leftover)
        .map_err(|error| Error::invalid(format!("the leftover can't be read: {error}")))?;
    if undo.version != 1 || undo.place != login.place() {
        return Err(Error::invalid(format!(
            "the lock of {} can't be given back by settings for {}",
            undo.place,
            login.place()
        )));
    }
    let released = release(login).map(drop);
    released.map_err(|error| {
        error.context(format!(
            "{} may still be locked; in its shell, db.fsyncUnlock() as an administrator gives it back",
            undo.place
        ))
    })
}

/// Unlocks once by a connection of its own, if anything is locked; answers whether it was.
///
/// A request for the lock that still waits in the server may come through later, so it is waited for.
fn release(login: &Login) -> Result<bool> {
    let server = Server::connect(login)?;
    let asked = rawdoc! { "currentOp": 1, "command.fsync": { "$exists": true } };
    for _ in 0..PATIENCE {
        let state = server.command(&asked)?;
        if state.get_bool("fsyncLock").unwrap_or(false) {
            return server.command(&rawdoc! { "fsyncUnlock": 1 }).map(|_| true);
        }
        let waiting = state.get_array("inprog").is_ok_and(asks_for_lock);
        if !waiting {
            return Ok(false);
        }
        control::wait(Duration::from_secs(1))?;
    }
    Err(Error::busy(format!(
        "{} still works on a request to lock it",
        server.place
    )))
}

/// Whether one of these operations is a request for the lock; not every server heeds the filter.
fn asks_for_lock(operations: &RawArray) -> bool {
    let mut operations = operations.into_iter().filter_map(std::result::Result::ok);
    operations.any(|operation| {
        let command = operation
            .as_document()
            .and_then(|operation| operation.get_document("command").ok());
        command.is_some_and(|command| matches!(command.get("fsync"), Ok(Some(_))))
    })
}

/// Says what to do about a lock that wasn't had.
fn advised(error: Error, login: &Login) -> Error {
    let advice = match error.kind {
        ErrorKind::Busy => format!(
            "somebody has been writing for {} s: let it end, or wait longer with lock-timeout",
            login.lock_seconds
        ),
        ErrorKind::Denied => "the role hostManager is needed".to_owned(),
        _ => "this server can't be locked; kind=logical needs no lock".to_owned(),
    };
    error.context(advice)
}
