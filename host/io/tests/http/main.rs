//! The HTTP client against scripted servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test may panic where something is missing")]

mod server;
mod exchange;
mod failures;
mod redirects;
mod tls;
mod bandwidth;
