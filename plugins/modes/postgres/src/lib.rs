//! Mode postgres: PostgreSQL, as files in a snapshot, as a dump of a database, or as a copy of the running server.
//!
//! `login` reads the settings; `server` is a session with its backup mode; `place` knows where files lie; `physical` and `dump` are the
//! two kinds of source; `note` is what a restore must know; `restore` makes a restored directory ready for a server.

mod dump;
mod login;
mod note;
mod physical;
mod place;
mod restore;
mod server;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::mode::{Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source};
use freezer_sdk::settings::Settings;

use dump::Dump;
use login::Login;
use note::{Kind, Note};
use physical::Physical;
use restore::{Recovery, Restored};

struct Postgres;

export_mode!(Postgres);

impl Mode for Postgres {
    type Backup = PostgresBackup;
    type Restore = PostgresRestore;

    fn prepare_backup(request: BackupRequest) -> Result<PostgresBackup> {
        let login = Login::new(&request.settings)?;
        let kind = Kind::parse(request.settings.text("kind")?)?;
        if kind != Kind::Physical {
            return Dump::start(kind, &login, &request.settings).map(PostgresBackup::Dump);
        }
        let path = request.path.filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| Error::invalid("kind=physical needs the server's data directory as PATH"))?;
        Physical::prepare(&path, &login, &request.settings).map(PostgresBackup::Physical)
    }

    fn prepare_restore(request: RestoreRequest) -> Result<PostgresRestore> {
        let note = Note::parse(&request.note)?;
        match note.kind {
            Kind::Physical => {
                let recovery = Recovery::new(&request.settings)?;
                Restored::new(note, request.target.as_deref(), recovery).map(PostgresRestore::Files)
            }
            Kind::Logical => {
                let mut login = Login::new(&request.settings)?;
                login.database = login.database.or(note.database);
                Ok(PostgresRestore::Dump(login, request.settings))
            }
            Kind::Base => Ok(PostgresRestore::Copy),
        }
    }
}

/// A prepared backup.
enum PostgresBackup {
    Physical(Physical),
    Dump(Dump),
}

impl Backup for PostgresBackup {
    fn next(&mut self) -> Result<Option<Source>> {
        Ok(match self {
            Self::Physical(physical) => physical.next().map(Source::Tree),
            Self::Dump(dump) => dump.next().map(Source::Stream),
        })
    }

    fn finish(self, outcome: Outcome) -> Result<String> {
        match self {
            Self::Physical(physical) => physical.finish().to_text(),
            Self::Dump(dump) => dump.finish(&outcome).to_text(),
        }
    }
}

/// A prepared restore.
enum PostgresRestore {
    /// Files, into a directory.
    Files(Restored),
    /// A dump, into a database.
    Dump(Login, Settings),
    /// What pg_basebackup wrote.
    Copy,
}

impl Restore for PostgresRestore {
    fn destination(&mut self, source: &str) -> Result<Destination> {
        match (self, source) {
            (Self::Files(restored), physical::SOURCE) => {
                Ok(Destination::Directory(restored.target().to_owned()))
            }
            (Self::Dump(..), dump::DUMP) => Ok(Destination::Receive),
            (Self::Copy, dump::BASE) => Err(Error::unsupported(
                "a copy by pg_basebackup is unpacked by tar, not by the server: restore it into a file, or with --to-command",
            )),
            _ => Err(Error::not_found(format!(
                "mode postgres knows no source {source:?}"
            ))),
        }
    }

    fn receive(&mut self, source: &str, content: Body) -> Result<()> {
        match self {
            Self::Dump(login, settings) => dump::load(login, settings, content),
            Self::Files(_) | Self::Copy => Err(Error::unsupported(format!(
                "{source:?} isn't received by a server"
            ))),
        }
    }

    fn finish(self, outcome: Outcome) -> Result<()> {
        match (self, outcome) {
            (Self::Files(restored), Outcome::Done) => restored.settle(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
