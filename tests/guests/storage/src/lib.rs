//! A storage that sins: the key or prefix that it is asked for says how, and behind a space with what. The tests of the plugin host
//! hold each sin to its consequence.

#[macro_use]
mod sins;
mod conversation;
mod forgery;
mod greed;
mod lies;
mod program;
mod runs;
mod trespass;

use std::time::Duration;

use freezer_sdk::error::Result;
use freezer_sdk::export_storage;
use freezer_sdk::host::bodies::{Body, DigestAlgorithm};
use freezer_sdk::host::{control, http};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{Existing, KeyEntry, KeyKind, KeyPage, Storage};

use conversation::{fetch, named_trust, talk};
use runs::Sinner;

struct Hostile {
    /// The storage of a run that sins as a whole.
    sinner: Option<Sinner>,
}

export_storage!(Hostile);

/// Makes one function for each call, which commits the sin of a name, if there is one.
macro_rules! committing {
    (
        stat { $($stat:ident,)* }
        stat_needs_mounts { $($mounts:ident,)* }
        stat_needs_mariadb { $($mariadb:ident,)* }
        list { $($list:ident,)* }
        read { $($read:ident,)* }
        put { $($put:ident,)* }
        begin { $($begin:ident,)* }
        put_segment { $($put_segment:ident,)* }
        whole_runs { $($runs:ident,)* }
    ) => {
        fn sin_in_stat(name: &str, argument: &str) -> Option<Result<u64>> {
            match name {
                $(stringify!($stat) => Some(all::$stat(argument)),)*
                $(stringify!($mounts) => Some(all::$mounts(argument)),)*
                $(stringify!($mariadb) => Some(all::$mariadb(argument)),)*
                _ => None,
            }
        }

        fn sin_in_list(name: &str, prefix: &str, cursor: Option<&str>) -> Option<Result<KeyPage>> {
            match name {
                $(stringify!($list) => Some(all::$list(prefix, cursor)),)*
                _ => None,
            }
        }

        fn sin_in_read(name: &str) -> Option<Result<Body>> {
            match name {
                $(stringify!($read) => Some(all::$read(name)),)*
                _ => None,
            }
        }

        fn sin_in_put(name: &str, content: &Body) -> Option<Result<()>> {
            match name {
                $(stringify!($put) => Some(all::$put(content)),)*
                _ => None,
            }
        }

        fn sin_in_begin(name: &str) -> Option<Result<String>> {
            match name {
                $(stringify!($begin) => Some(all::$begin(name)),)*
                _ => None,
            }
        }

        fn sin_in_put_segment(name: &str, content: &Body) -> Option<Result<String>> {
            match name {
                $(stringify!($put_segment) => Some(all::$put_segment(content)),)*
                _ => None,
            }
        }
    };
}

for_each_sin!(committing);

/// Where the sins are.
mod all {
    pub(crate) use crate::forgery::*;
    pub(crate) use crate::greed::*;
    pub(crate) use crate::lies::*;
    pub(crate) use crate::program::runs_a_program;
    pub(crate) use crate::trespass::*;
}

/// An object of this key.
fn object(key: &str, size: u64) -> KeyEntry {
    KeyEntry {
        key: key.to_owned(),
        kind: KeyKind::Object,
        size,
        modified: None,
    }
}

/// Host and port.
fn place(text: &str) -> (String, u16) {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "0"));
    (host.to_owned(), port.parse().unwrap_or(0))
}

/// The name of a sin and what it is to be committed with.
fn words(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

impl Storage for Hostile {
    fn open(settings: Settings) -> Result<Self> {
        Ok(Self {
            sinner: Sinner::of(&settings)?,
        })
    }

    fn stat(&self, key: &str) -> Result<KeyEntry> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.stat(key);
        }
        let (first, rest) = words(key);
        let size = match sin_in_stat(first, rest) {
            Some(size) => size?,
            None if first.starts_with("tcp") => talk(first, rest)?,
            None if !rest.is_empty() => fetch(named_trust(first), rest)?,
            None => 1,
        };
        let told = match first {
            "speaks_of_another_key" => "somebody/else",
            _ => key,
        };
        Ok(object(told, size))
    }

    fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        if let Some(sinner) = &self.sinner {
            return sinner.list(prefix, cursor);
        }
        sin_in_list(prefix.trim_end_matches('/'), prefix, cursor).unwrap_or_else(|| {
            Ok(KeyPage {
                entries: Vec::new(),
                next: None,
            })
        })
    }

    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        if let Some(sinner) = &self.sinner {
            return sinner.read(key, offset, length);
        }
        if key.starts_with("http:") {
            let request = conversation::request("GET", http::Trust::System, key);
            return Ok(http::send(&request, None)?.content);
        }
        sin_in_read(key).unwrap_or_else(|| Body::from_bytes(b"0123456789"))
    }

    fn put(&self, key: &str, content: &Body, existing: Existing) -> Result<()> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.put(key, content, existing);
        }
        if let Some(sin) = sin_in_put(key, content) {
            return sin;
        }
        match key {
            // Holds the bytes meanwhile.
            "waits" => control::wait(Duration::from_secs(3)),
            "digest" => content.digest(DigestAlgorithm::Md5).map(drop),
            key if key.starts_with("http:") => {
                let request = conversation::request("PUT", http::Trust::System, key);
                http::send(&request, Some(content)).map(drop)
            }
            key => match key.split_once(' ') {
                Some((what, place)) => talk(what, place).map(drop),
                None => Ok(()),
            },
        }
    }

    fn remove(&self, keys: &[String]) -> Result<()> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.remove(keys);
        }
        Ok(())
    }

    fn begin(&self, key: &str, size: Option<u64>) -> Result<String> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.begin(key, size);
        }
        sin_in_begin(key).unwrap_or_else(|| Ok(key.to_owned()))
    }

    fn put_segment(&self, upload: &str, number: u32, offset: u64, content: &Body) -> Result<String> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.put_segment(upload, number, offset, content);
        }
        sin_in_put_segment(upload, content).unwrap_or_else(|| Ok(String::new()))
    }

    fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        if let Some(sinner) = &self.sinner {
            return sinner.commit(upload, size, receipts);
        }
        Ok(())
    }

    fn abort(&self, upload: &str) -> Result<()> {
        if let Some(sinner) = &self.sinner {
            return sinner.honest.abort(upload);
        }
        Ok(())
    }
}
