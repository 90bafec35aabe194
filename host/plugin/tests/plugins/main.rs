//! The plugin host with real components: the built plugins, and guests that sin in every way they can.

mod common;
mod local;
mod discovery;
mod hostile;
