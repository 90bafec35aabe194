//! Storage {{name}}: objects as files below a directory of this machine.
//!
//! `DirectoryStorage` knows how objects lie in a directory and become visible in one step; here stands only which directory it is.
//! A storage of another sort implements `freezer_sdk::storage::Storage` instead.

use std::fmt;
use std::rc::Rc;

use freezer_sdk::directory_storage::{DirectoryStorage, Place};
use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_storage;
use freezer_sdk::host::directories::{self, Access, Directory};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::Limits;

type Plugin = DirectoryStorage<Shelf>;

export_storage!(Plugin);

/// The directory that holds the objects. Its `Display` form names it in messages.
struct Shelf {
    path: String,
}

impl Place for Shelf {
    fn open(settings: &Settings) -> Result<Self> {
        let path = settings.text("path")?;
        if !path.starts_with('/') {
            return Err(Error::invalid("the setting path must be an absolute path"));
        }
        Ok(Shelf { path: path.to_owned() })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: 100_000,
            min_segment_bytes: 1,
            // The host holds whole segments in memory.
            max_segment_bytes: 8 << 20,
            parallel_calls: 2,
        }
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn reading(&self) -> Result<Rc<Directory>> {
        self.opened(Access::ReadOnly)
    }

    fn writing(&self) -> Result<Rc<Directory>> {
        self.opened(Access::ReadWrite)
    }
}

impl Shelf {
    fn opened(&self, access: Access) -> Result<Rc<Directory>> {
        let opened = directories::open(&self.path, access);
        opened
            .map(Rc::new)
            .map_err(|error| error.context(format!("can't open {self}")))
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "directory \"{}\"", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;
    use freezer_sdk::settings::SettingValue;
    use freezer_sdk::storage::{Existing, Storage};
    use freezer_sdk::testing::FakeHost;

    const ROOT: &str = "/srv/shelf";

    fn plugin(path: &str) -> Result<Plugin> {
        Plugin::open(Settings::new([("path", SettingValue::Text(path.into()))]))
    }

    /// Stores an object of two segments.
    fn upload(host: &FakeHost) -> Result<()> {
        let plugin = plugin(ROOT)?;
        let upload = plugin.begin("large", None)?;
        let first = plugin.put_segment(&upload, 0, 0, &host.segment(b"one "))?;
        let second = plugin.put_segment(&upload, 1, 4, &host.segment(b"two"))?;
        plugin.commit(&upload, 7, &[first, second])
    }

    #[test]
    fn what_is_put_is_read_back() {
        let host = FakeHost::new();
        host.add_directory(ROOT);
        let plugin = plugin(ROOT).unwrap();
        plugin.put("a/b", &host.segment(b"content"), Existing::Refuse).unwrap();
        let body = plugin.read("a/b", 3, Some(2)).unwrap();
        assert_eq!(host.drain(&body).unwrap(), b"te");
        let again = plugin.put("a/b", &host.segment(b"other"), Existing::Refuse);
        assert_eq!(again.unwrap_err().kind, ErrorKind::AlreadyExists);
    }

    #[test]
    fn an_upload_is_whole_or_not_there_whichever_call_breaks() {
        for position in 0.. {
            let host = FakeHost::new();
            host.add_directory(ROOT);
            host.fail_call(position, Error::unavailable("broken off"));
            let result = upload(&host);
            let struck = host.fault_struck();
            assert_eq!(result.is_err() && struck, struck, "a failure is never hidden");
            let stored = host.file(ROOT, "large");
            assert!(stored.is_none() || stored.unwrap() == b"one two");
            if !struck {
                result.unwrap();
                break;
            }
            // A second attempt succeeds.
            if host.file(ROOT, "large").is_none() {
                upload(&host).unwrap();
            }
        }
    }

    #[test]
    fn a_mistyped_path_is_told_and_a_relative_one_refused() {
        let host = FakeHost::new();
        host.grant_directory(ROOT);
        let missing = plugin(ROOT).unwrap().list("", None);
        assert_eq!(missing.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(plugin("shelf").err().unwrap().kind, ErrorKind::Invalid);
    }
}
