//! The plugin host with real components: the built plugins, and guests that sin in every way they can.

#![expect(clippy::unwrap_used, reason = "a test may panic where something is missing")]

#[macro_use]
#[path = "../../../../tests/guests/storage/src/sins.rs"]
mod storage_sins;
#[macro_use]
#[path = "../../../../tests/guests/mode/src/sins.rs"]
mod mode_sins;
mod apart;
mod canary;
mod common;
mod components;
mod discovery;
mod enforcement;
mod hostile;
mod http;
mod local;
mod messages;
mod modes;
mod scene;
mod snapshots;
mod tcp;
mod usage;
