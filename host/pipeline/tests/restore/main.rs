//! The way back, by its public functions: the original's backups, our own, hostile and damaged ones.

mod damage;
mod golden;
mod hostile;
mod requests;
mod round_trip;
mod support;
