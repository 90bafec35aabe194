//! The directory that holds the objects, opened when it is first needed.
//!
//! Reading never makes it: a mistyped path must be told, not answered with an empty storage. Writing does.

use std::cell::OnceCell;
use std::fmt;

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::directories::{self, Access, Directory, PATH_BYTES};

/// The container. Its `Display` form names it in messages.
pub(crate) struct Container {
    path: String,
    reading: OnceCell<Directory>,
    writing: OnceCell<Directory>,
}

impl Container {
    /// Checks the path and opens nothing.
    ///
    /// # Errors
    /// `invalid` if the path isn't absolute, too long, or holds a NUL.
    pub(crate) fn new(path: &str) -> Result<Self> {
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

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The directory, to read from it.
    ///
    /// # Errors
    /// `not-found` if it isn't there.
    pub(crate) fn reading(&self) -> Result<&Directory> {
        match self.writing.get() {
            Some(directory) => Ok(directory),
            None => self.open(&self.reading, Access::ReadOnly),
        }
    }

    /// The directory, to write into it; made if it isn't there.
    ///
    /// # Errors
    /// `denied` if it can't be made.
    pub(crate) fn writing(&self) -> Result<&Directory> {
        self.open(&self.writing, Access::ReadWrite)
    }

    /// The directory, to remove from it; none if it isn't there.
    ///
    /// # Errors
    /// All but `not-found`.
    pub(crate) fn existing(&self) -> Result<Option<&Directory>> {
        match self.reading() {
            Ok(_) => self.writing().map(Some),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open<'a>(&self, cell: &'a OnceCell<Directory>, access: Access) -> Result<&'a Directory> {
        if let Some(directory) = cell.get() {
            return Ok(directory);
        }
        let opened = directories::open(&self.path, access).map_err(|error| match error.kind {
            ErrorKind::NotFound => Error::not_found(format!("{self} does not exist")),
            ErrorKind::Invalid => Error::invalid(format!("{self} is no directory")),
            _ => error.context(format!("can't open {self}")),
        })?;
        Ok(cell.get_or_init(|| opened))
    }
}

impl fmt::Display for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "container \"{}\"", self.path)
    }
}
