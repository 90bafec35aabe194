//! The directory on the other machine, and the connection to it while it holds.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use freezer_sdk::directory_storage::Place;
use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::directories::{Access, Directory};
use freezer_sdk::host::ssh::{self, Connection, Target};
use freezer_sdk::settings::Settings;
use freezer_sdk::storage::Limits;

use crate::login;

/// Every segment costs some round trips besides its bytes, and one that broke off is sent anew as a whole.
const SEGMENT_BYTES: u64 = 16 << 20;
/// 8 TiB in one object; the receipts of as many segments still pass to `commit` in one call.
const SEGMENTS: u32 = 500_000;
/// Each is a connection of its own. Servers let ten wait for their login at once and no more.
const PARALLEL_CALLS: u32 = 4;
/// Longest path of the container.
const PATH_BYTES: usize = 4096;

/// The container on the other machine. Its `Display` form names it in messages.
pub(crate) struct Remote {
    target: Target,
    /// Absolute, or relative to the user's home.
    path: String,
    link: RefCell<Link>,
}

/// What is open now.
#[derive(Default)]
struct Link {
    connection: Option<Connection>,
    reading: Option<Rc<Directory>>,
    writing: Option<Rc<Directory>>,
}

impl Place for Remote {
    fn open(settings: &Settings) -> Result<Self> {
        Ok(Remote {
            target: login::target(settings)?,
            path: path(settings.text("path")?)?,
            link: RefCell::default(),
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
        let mut link = self.link.borrow_mut();
        if let Some(directory) = link.writing.as_ref().or(link.reading.as_ref()) {
            return Ok(Rc::clone(directory));
        }
        let opened = self.directory(&mut link, Access::ReadOnly)?;
        Ok(Rc::clone(link.reading.insert(opened)))
    }

    fn writing(&self) -> Result<Rc<Directory>> {
        let mut link = self.link.borrow_mut();
        if let Some(directory) = &link.writing {
            return Ok(Rc::clone(directory));
        }
        let opened = self.directory(&mut link, Access::ReadWrite)?;
        Ok(Rc::clone(link.writing.insert(opened)))
    }

    /// A connection that broke since the last call must not cost a call that comes once only.
    fn prepare(&self) -> Result<()> {
        let opened = match &self.link.borrow().writing {
            Some(directory) => Rc::clone(directory),
            None => return Ok(()),
        };
        match opened.find("") {
            Err(error) if error.kind == ErrorKind::Unavailable => {
                self.failed(&error);
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// What broke, or was left in the middle of a call, is let go; the next call connects anew.
    fn failed(&self, error: &Error) {
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Cancelled) {
            self.link.take();
        }
    }
}

impl Remote {
    /// To the host, `not-found` from a storage means an empty one: a missing key or machine must not look like that.
    fn connect(&self) -> Result<Connection> {
        ssh::connect(&self.target).map_err(|error| match error.kind {
            ErrorKind::NotFound => Error {
                kind: ErrorKind::Invalid,
                ..error
            },
            _ => error,
        })
    }

    fn directory(&self, link: &mut Link, access: Access) -> Result<Rc<Directory>> {
        let connection = match &mut link.connection {
            Some(connection) => connection,
            none => none.insert(self.connect()?),
        };
        let opened = connection
            .open(&self.path, access)
            .map_err(|error| match error.kind {
                ErrorKind::NotFound => Error::not_found(format!("{self} does not exist")),
                ErrorKind::Invalid => Error::invalid(format!("{self} is no directory")),
                _ => error.context(format!("can't open {self}")),
            })?;
        Ok(Rc::new(opened))
    }
}

/// `~/dir` in a URL is `dir` below the user's home, all else is absolute.
fn path(given: &str) -> Result<String> {
    let path = match given.trim_start_matches('/').strip_prefix('~') {
        Some("") => ".".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/').to_owned(),
        Some(_) => {
            return Err(Error::invalid(format!(
                "the container {:?} is in another user's home; name it by its absolute path",
                shown(given)
            )));
        }
        None => format!("/{}", given.trim_start_matches('/')),
    };
    let plain = path.split('/').all(|part| part != "..");
    if path.is_empty() || !plain || path.len() > PATH_BYTES || path.contains('\0') {
        return Err(Error::invalid(format!(
            "the container {:?} is no path without \"..\"",
            shown(given)
        )));
    }
    Ok(path)
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { user, host, port, .. } = &self.target;
        write!(formatter, "container \"{}\" of {user}@{host}:{port}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_urls() {
        for (given, expected) in [
            ("srv/backups", "/srv/backups"),
            ("/srv/backups", "/srv/backups"),
            ("~/backups/a", "backups/a"),
            ("~", "."),
            ("/~/b", "b"),
        ] {
            assert_eq!(path(given).unwrap(), expected, "{given}");
        }
        for given in ["~other/b", "srv/../etc", "~/../b", "a\0b", "~/"] {
            path(given).unwrap_err();
        }
    }
}
