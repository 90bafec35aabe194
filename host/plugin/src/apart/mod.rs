//! Guests that run in a process of their own, so that no mistake of the engine or its compiler leads into freezer.
//!
//! This program is started once more for each instance. That process (`worker`) has the compiled code of one plugin, an
//! engine and one instance. Before the first instruction of the plugin runs it gives up every right but to compute and to
//! use one socket. All that the plugin asks of its host goes over that socket to `process`, which stands in freezer and
//! answers out of the same `GuestState` by the same functions as for a guest in this process.
//! Handles, grants, secrets, connections and the bytes of a backup never leave freezer; what the plugin may read is copied.
//!
//! What the process says is as little believed as a plugin: its messages have a ceiling, what they say is decoded within
//! the same budget as a guest's answers, handles are looked up in the instance's own table, and its processor time and the
//! time of a call are measured here.

mod wire;
mod values;
mod imports;
mod link;
mod process;
mod spawner;
mod worker;
#[cfg(test)]
mod tests;

pub(crate) use imports::Unanswered;
pub(crate) use process::{Apart, Code, Program};
pub(crate) use spawner::Spawner;
pub(crate) use wire::{Nonsense, Put, Reader, Take};
pub use worker::{WORD, serve};
