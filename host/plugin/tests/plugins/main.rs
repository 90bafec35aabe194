//! The plugin host with real components: the built plugins, and guests that sin in every way they can.

#![expect(clippy::unwrap_used, reason = "a test may panic where something is missing")]

mod common;
mod discovery;
mod hostile;
mod http;
mod local;
mod messages;
mod snapshots;
mod tcp;
mod usage;
