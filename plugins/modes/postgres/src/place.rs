//! Where things lie: the data directory below the path that the user named, in a snapshot of it, and where it was restored.

use freezer_sdk::error::{Error, ErrorKind, Result};
use freezer_sdk::host::directories::{self, Access, Directory, EntryKind};

use crate::note::{BackupMode, Tablespace};

/// What PostgreSQL's manual leaves out of a copy: all of it is made anew when a server starts. Of directories, what they hold;
/// the slash within binds these patterns to the root, and one at the beginning would have it told that they matched nothing.
const EXCLUDED: [&str; 9] = [
    "postmaster.pid",
    "postmaster.opts",
    "pg_replslot/*",
    "pg_dynshmem/*",
    "pg_notify/*",
    "pg_serial/*",
    "pg_snapshots/*",
    "pg_stat_tmp/*",
    "pg_subtrans/*",
];
/// The same wherever it lies, in tablespaces too.
const EXCLUDED_ANYWHERE: [&str; 2] = ["pgsql_tmp*", "pg_internal.init*"];
/// The file whose first eight bytes tell copies of one server from others.
const CONTROL: &str = "global/pg_control";
/// How many bytes that number has.
const IDENTIFIER_BYTES: usize = 8;

/// A data directory at or below the path that is backed up.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path that the user named.
    pub(crate) path: String,
    /// The data directory.
    pub(crate) data: String,
}

impl Place {
    /// Makes sure that everything lies at or below `path`.
    ///
    /// # Errors
    /// `invalid` names what lies elsewhere.
    pub(crate) fn new(path: &str, data: &str, tablespaces: &[Tablespace]) -> Result<Self> {
        let place = Self {
            path: trimmed(path).to_owned(),
            data: trimmed(data).to_owned(),
        };
        if below(&place.data, &place.path).is_none() {
            return Err(Error::invalid(format!(
                "the server keeps its data in {data:?}, but {path:?} is to be backed up: name {data:?}"
            )));
        }
        for space in tablespaces {
            if below(&space.location, &place.path).is_none() {
                return Err(Error::invalid(format!(
                    "the tablespace {:?} lies in {:?}, outside of {path:?}: a snapshot of one moment needs all in one place; name a \
                     directory that holds both, or use kind=logical",
                    space.name, space.location
                )));
            }
        }
        Ok(place)
    }

    /// Makes sure that the data directory on this machine is that of the server, and holds its log.
    ///
    /// # Errors
    /// `invalid` for another server's, or if the log lies elsewhere; `denied` if it can't be read.
    pub(crate) fn check_live(&self, identifier: &str, server: &str) -> Result<()> {
        let elsewhere = "run freezer on the server's machine, or use kind=base or kind=logical";
        let data = &self.data;
        let failed = |error: Error| match error.kind {
            ErrorKind::NotFound => Error::invalid(format!(
                "the server at {server} keeps its data in {data:?}, which isn't on this machine: {elsewhere}"
            )),
            ErrorKind::Denied => Error::denied(format!(
                "{data:?} can't be read: run freezer as root, or as the user of the server ({})",
                error.message
            )),
            _ => error,
        };
        let directory = directories::open(data, Access::ReadOnly).map_err(failed)?;
        if !is_of(&directory, identifier).map_err(failed)? {
            return Err(Error::invalid(format!(
                "{data:?} on this machine belongs to another server than the one at {server}: {elsewhere}"
            )));
        }
        let log = directory.stat("pg_wal").map_err(failed)?;
        if log.kind == EntryKind::Symlink {
            return Err(Error::unsupported(format!(
                "{data}/pg_wal is a link, and a snapshot without the log can't be recovered: use kind=base, which copies the log, too"
            )));
        }
        Ok(())
    }

    /// Makes sure that a view of the path holds all that a server needs to start: nothing of it may be mounted there.
    ///
    /// # Errors
    /// `unsupported` names what is missing.
    pub(crate) fn check_view(&self, view: &str, mode: &BackupMode, spaces: &[Tablespace]) -> Result<()> {
        let missing = |what: &str| {
            Error::unsupported(format!(
                "the snapshot doesn't hold {what}: is it on a file system of its own? Use kind=base or kind=logical"
            ))
        };
        let data = join(view, below(&self.data, &self.path).unwrap_or_default());
        let directory = directories::open(&data, Access::ReadOnly)?;
        for file in [CONTROL, &format!("pg_wal/{}", mode.first_wal_file)] {
            if directory.find(file)?.is_none() {
                return Err(missing(&join(&self.data, file)));
            }
        }
        for space in spaces {
            let location = join(view, below(&space.location, &self.path).unwrap_or_default());
            let found = directories::absent_is_none(directories::open(&location, Access::ReadOnly))?;
            let is_empty =
                |directory: Directory| Ok::<_, Error>(directory.list("", None)?.entries.is_empty());
            if found.map_or(Ok(true), is_empty)? {
                return Err(missing(&space.location));
            }
        }
        Ok(())
    }

    /// What is left out, as a gitignore file has it.
    pub(crate) fn exclude(&self) -> Vec<String> {
        let data = below(&self.data, &self.path).unwrap_or_default();
        let prefix = match data {
            "" => String::new(),
            data => format!("{}/", escaped(data)),
        };
        let at_top = EXCLUDED.iter().map(|pattern| match pattern.contains('/') {
            true => format!("{prefix}{pattern}"),
            false => format!("/{prefix}{pattern}"),
        });
        let anywhere = EXCLUDED_ANYWHERE.iter().map(|pattern| (*pattern).to_owned());
        at_top.chain(anywhere).collect()
    }

    /// Where something of this place lies once all of it is restored into `target`.
    pub(crate) fn restored(&self, original: &str, target: &str) -> String {
        join(trimmed(target), below(original, &self.path).unwrap_or_default())
    }
}

/// Tells whether the directory is that server's, whichever end its numbers begin with.
fn is_of(directory: &Directory, identifier: &str) -> Result<bool> {
    let body = directory.read(CONTROL, 0, Some(IDENTIFIER_BYTES as u64))?;
    let bytes: [u8; IDENTIFIER_BYTES] = body
        .read_to_end(IDENTIFIER_BYTES)?
        .try_into()
        .map_err(|_| Error::corrupt("pg_control is too short"))?;
    let numbers = [u64::from_le_bytes(bytes), u64::from_be_bytes(bytes)];
    Ok(numbers.iter().any(|number| number.to_string() == identifier))
}

/// What of `path` lies below `directory`; empty for the directory itself, none if it lies elsewhere.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest.trim_end_matches('/')),
        None => rest.is_empty().then_some(rest),
    }
}

fn join(directory: &str, below: &str) -> String {
    match below {
        "" => directory.to_owned(),
        below => format!("{}/{below}", directory.trim_end_matches('/')),
    }
}

/// A path without slashes at its end; the root stays itself.
fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

/// A path in which nothing means anything to a pattern.
fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for letter in path.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '!' | '#' | ' ') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_directory_is_told_by_whole_names() {
        assert_eq!(below("/srv/pg", "/srv/pg"), Some(""));
        assert_eq!(below("/srv/pg/data/", "/srv/pg/"), Some("data"));
        assert_eq!(below("/a", "/"), Some("a"));
        assert_eq!(below("/", "/"), Some(""));
        assert_eq!(below("/srv/pg2", "/srv/pg"), None);
        assert_eq!(below("/srv", "/srv/pg"), None);
        assert_eq!(trimmed("//"), "/");
    }

    #[test]
    fn patterns_follow_the_data_directory() {
        let at = |path: &str| Place::new(path, "/srv/p g/data", &[]).unwrap().exclude();
        assert_eq!(at("/srv/p g/data")[0], "/postmaster.pid");
        assert_eq!(at("/srv")[2], "p\\ g/data/pg_replslot/*");
        assert_eq!(at("/")[0], "/srv/p\\ g/data/postmaster.pid");
        assert_eq!(at("/srv").last().unwrap(), "pg_internal.init*");
    }

    #[test]
    fn what_is_restored_lies_below_the_target() {
        let place = Place::new("/srv/", "/srv/data", &[]).unwrap();
        assert_eq!(place.restored("/srv/data", "/new/"), "/new/data");
        assert_eq!(place.restored("/srv", "/new"), "/new");
        assert_eq!(place.restored("/srv/data", "/"), "/data");
    }
}
