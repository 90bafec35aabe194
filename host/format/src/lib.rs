//! What a backup is: names, levels, layouts, documents, tar, index. Pure data.
//!
//! No input or output beyond the standard library's traits, no clock, no randomness, no environment: whatever
//! varies is an argument. Everything read here may come from an attacker's storage.

pub mod chain;
pub mod chain_key;
pub mod compression;
pub mod layout;
pub mod legacy;
pub mod level;
pub mod manifest;
pub mod metadata;
pub mod name;
pub mod openssl;
mod optional_hex;
mod pbkdf2;
pub mod retention;
pub mod tags;
pub mod component;
pub mod index;
pub mod tar;
pub mod time;
