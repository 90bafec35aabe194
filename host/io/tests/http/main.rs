//! The HTTP client against scripted servers on loopback.

mod server;
mod exchange;
mod failures;
mod redirects;
mod tls;
mod bandwidth;
