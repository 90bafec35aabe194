//! Each record, enumeration and variant of the contract, for `wire`. A field or case that the contract gains and that is
//! missing here doesn't compile.

use super::wire::{Nonsense, Put, Reader, Take, choices, records};
use crate::bindings::v1::imports::freezer::plugin::{
    bodies, commands, control, directories, http, sql, ssh, tcp, types,
};
use crate::bindings::v1::mode::exports::freezer::plugin::mode;
use crate::bindings::v1::storage::exports::freezer::plugin::storage;
use crate::death::Death;

records! {
    types::Error { kind, message, code, retry_after_ms }
    types::Setting { name, value }
    types::Field { name, value }
    types::Timestamp { seconds, nanoseconds }
    directories::Entry { name, kind, size, modified }
    directories::EntryPage { entries, next }
    commands::Command { program, arguments, environment, directory, inputs }
    http::Request { method, url, headers, follow_redirects, timeout_ms, trust }
    http::Response { status, headers, content }
    ssh::PrivateKey { file, passphrase }
    ssh::Target { host, port, user, login, known_hosts, accept_new }
    sql::Target { engine, host, port, user, password, database, tls, timeout_ms }
    sql::Rows { columns, rows }
    tcp::Tls { server_name, trust }
    tcp::Target { host, port, tls, timeout_ms }
    storage::KeyEntry { key, kind, size, modified }
    storage::KeyPage { entries, next }
    storage::Limits { max_segments, min_segment_bytes, max_segment_bytes, parallel_calls }
    storage::PendingUpload { upload, key, started }
    storage::PendingPage { uploads, next }
    storage::ContainerUsage { name, objects, bytes, available }
    mode::BackupRequest { path, settings, level, parent_note }
    mode::RestoreRequest { target, settings, note }
    mode::TreeSource { name, root, one_file_system, exclude }
    mode::StreamSource { name, suffix, content }
    mode::ExternalSource { name, id, size }
}

choices! {
    types::ErrorKind {
        0 NotFound, 1 AlreadyExists, 2 Denied, 3 Invalid, 4 Busy, 5 Unavailable, 6 Corrupt, 7 Unsupported, 8 Cancelled,
        9 Other,
    }
    types::SettingValue { 0 Text(text), 1 Integer(number), 2 Flag(flag), 3 Bytes(count), 4 Many(texts) }
    bodies::DigestAlgorithm { 0 Md5, 1 Sha1, 2 Sha256 }
    control::LogLevel { 0 Debug, 1 Info, 2 Warning }
    directories::EntryKind { 0 File, 1 Directory, 2 Symlink, 3 Other }
    directories::Access { 0 ReadOnly, 1 ReadWrite }
    directories::Existing { 0 Replace, 1 Refuse }
    http::Trust { 0 System, 1 Certificates(setting), 2 Anything(setting) }
    ssh::Login { 0 Password(setting), 1 Key(key), 2 Agent }
    sql::Engine { 0 Mysql, 1 Postgres }
    sql::Tls { 0 Off, 1 System, 2 Certificates(setting), 3 Anything(setting) }
    sql::Password { 0 Secret(setting), 1 Known(password) }
    sql::Value { 0 Null, 1 Text(text), 2 Integer(number), 3 Real(number), 4 Bytes(bytes) }
    tcp::Trust { 0 System, 1 Certificates(setting), 2 Anything(setting) }
    storage::Existing { 0 Replace, 1 Refuse }
    storage::KeyKind { 0 Object, 1 Prefix }
    mode::Source { 0 Tree(tree), 1 Stream(stream), 2 External(external) }
    mode::Outcome { 0 Done, 1 Failed(error), 2 Cancelled }
    mode::Destination { 0 Directory(path), 1 Receive, 2 External, 3 Skip }
}

choices! {
    Death { 0 Cpu, 1 Handles, 2 Read, 3 Bodies, 4 Transfer, 5 Memory, 6 Table, 7 Trap(why), 8 NoMemory(why) }
}
