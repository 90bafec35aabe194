//! The way back, by its public functions: the original's backups, our own, hostile and damaged ones.
#![expect(clippy::unwrap_used, reason = "a test ends at what it can't do")]

mod damage;
mod dry_run;
mod golden;
mod hostile;
mod leftovers;
mod limits;
mod listing;
mod mixed;
mod requests;
mod round_trip;
mod streams;
mod support;
mod unreadable;
