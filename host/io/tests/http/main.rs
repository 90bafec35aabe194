//! The HTTP client against scripted servers on loopback.

mod server;
mod exchange;
