//! Storage swift against a real Swift, with tempauth and on a Keystone.
//!
//! Each test has a container of its own. Those that break the server start one of their own.

mod account;
mod broken;
mod golden;
mod keystone;
mod tempauth;
