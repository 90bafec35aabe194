//! Storage local: a directory of this machine.
//!
//! How objects lie in it and become visible is `freezer_sdk::directory_storage`; here is where the directory is, opened when it
//! is first needed. Reading never makes it: a mistyped path must be told, not answered with an empty storage. Writing does.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use freezer_sdk::directory_storage::{DirectoryStorage, Place};
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::export_storage;
use freezer_sdk::host::directories::{self, Access, Directory, PATH_BYTES};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::Limits;

/// Segments are written at their place, so they may be small: the host holds whole ones in memory.
const SEGMENT_BYTES: u64 = 8 << 20;
/// 8 TiB in one object; the receipts of as many segments still pass to `commit` in one call.
const SEGMENTS: u32 = 1_000_000;
/// One disk: more writers only wait for each other.
const PARALLEL_CALLS: u32 = 2;

/// A directory of this machine that holds objects.
type Local = DirectoryStorage<Container>;

export_storage!(Local);

/// The container. Its `Display` form names it in messages.
struct Container {
    path: String,
    reading: OnceCell<Rc<Directory>>,
    writing: OnceCell<Rc<Directory>>,
}

impl Place for Container {
    fn open(settings: &Settings) -> Result<Self> {
        let path = settings.text("path")?;
        if !path.starts_with('/') || path.len() > PATH_BYTES || path.contains('\0') {
            let shown: String = path.chars().take(60).collect();
            return Err(Error::invalid(format!(
                "the container {shown:?} is no absolute path"
            )));
        }
        Ok(Container {
            path: path.to_owned(),
            reading: OnceCell::new(),
            writing: OnceCell::new(),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_segments: SEGMENTS,
            min_segment_bytes: 1,
            max_segment_bytes: SEGMENT_BYTES,
            parallel_calls: PARALLEL_CALLS,
        }
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn reading(&self) -> Result<Rc<Directory>> {
        match self.writing.get() {
            Some(directory) => Ok(Rc::clone(directory)),
            None => self.opened(&self.reading, Access::ReadOnly),
        }
    }

    fn writing(&self) -> Result<Rc<Directory>> {
        self.opened(&self.writing, Access::ReadWrite)
    }
}

impl Container {
    fn opened(&self, cell: &OnceCell<Rc<Directory>>, access: Access) -> Result<Rc<Directory>> {
        if let Some(directory) = cell.get() {
            return Ok(Rc::clone(directory));
        }
        let opened = directories::open(&self.path, access).map_err(|error| match error.kind {
            ErrorKind::NotFound => Error::not_found(format!("{self} does not exist")),
            ErrorKind::Invalid => Error::invalid(format!("{self} is no directory")),
            _ => error.context(format!("can't open {self}")),
        })?;
        Ok(Rc::clone(cell.get_or_init(|| Rc::new(opened))))
    }
}

impl fmt::Display for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "container \"{}\"", self.path)
    }
}

#[cfg(test)]
mod tests;
