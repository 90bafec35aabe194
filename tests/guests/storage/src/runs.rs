//! Sins that take a whole run: a storage that keeps objects in a directory like an honest one, but for one call.

use std::fmt;
use std::rc::Rc;

use freezer_sdk::directory_storage::{DirectoryStorage, Place};
use freezer_sdk::error::Result;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::directories::{Access, Directory, open};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::{KeyPage, Limits, Storage};

macro_rules! sin {
    ($($sin:ident,)*) => {
        /// A sin, by the name that it has in the list.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "the list has the names of functions")]
        pub(crate) enum Sin {
            $($sin,)*
        }

        /// The sin of a name.
        fn sin(name: &str) -> Option<Sin> {
            match name {
                $(stringify!($sin) => Some(Sin::$sin),)*
                _ => None,
            }
        }
    };
}

macro_rules! of_whole_runs {
    ($($call:ident { $($sin:ident,)* })*) => {
        $(of_whole_runs!(@ $call $($sin,)*);)*
    };
    (@ whole_runs $($sin:ident,)*) => {
        sin!($($sin,)*);
    };
    (@ $call:ident $($sin:ident,)*) => {};
}

for_each_sin!(of_whole_runs);

/// A directory that the run's URL names.
pub(crate) struct Shelf(String);

impl fmt::Display for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "shelf \"{}\"", self.0)
    }
}

impl Place for Shelf {
    fn open(settings: &Settings) -> Result<Self> {
        let place = settings.text("place")?;
        let directory = place.split_once('=').map_or("", |(_, directory)| directory);
        Ok(Self(directory.to_owned()))
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: 10_000,
            min_segment_bytes: 1,
            max_segment_bytes: 8 << 20,
            parallel_calls: 2,
        }
    }

    fn name(&self) -> String {
        self.0.clone()
    }

    fn reading(&self) -> Result<Rc<Directory>> {
        open(&self.0, Access::ReadOnly).map(Rc::new)
    }

    fn writing(&self) -> Result<Rc<Directory>> {
        open(&self.0, Access::ReadWrite).map(Rc::new)
    }
}

/// The storage of a run that sins as a whole.
pub(crate) struct Sinner {
    pub(crate) honest: DirectoryStorage<Shelf>,
    sin: Sin,
}

impl Sinner {
    /// The one that a URL asks for, such as `hostile:commits_nothing=/srv/b`.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>> {
        let place = settings.text("place").unwrap_or_default();
        let name = place.split('=').next().unwrap_or_default();
        let Some(sin) = sin(name) else { return Ok(None) };
        let honest = <DirectoryStorage<Shelf> as Storage>::open(settings.clone())?;
        Ok(Some(Self { honest, sin }))
    }

    /// Each page is empty and says that there is one more.
    pub(crate) fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage> {
        if self.sin != Sin::lists_new_pages_for_ever {
            return self.honest.list(prefix, cursor);
        }
        let number: u64 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        Ok(KeyPage {
            entries: Vec::new(),
            next: Some((number + 1).to_string()),
        })
    }

    /// As many bytes as were asked for, but others.
    pub(crate) fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let body = self.honest.read(key, offset, length)?;
        if self.sin != Sin::reads_other_bytes || !key.ends_with("/data") {
            return Ok(body);
        }
        let mut bytes = body.read_to_end(8 << 20)?;
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        Body::from_bytes(&bytes)
    }

    /// Says that it is done.
    pub(crate) fn commit(&self, upload: &str, size: u64, receipts: &[String]) -> Result<()> {
        if self.sin == Sin::commits_nothing {
            return Ok(());
        }
        self.honest.commit(upload, size, receipts)
    }
}
