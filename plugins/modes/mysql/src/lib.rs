//! Mode mysql: MySQL and MariaDB, as files in a snapshot, as a dump, or as a copy of the running server.
//!
//! `login` reads the settings; `server` is a session with its lock; `physical` and `dump` are the two kinds of source; `note` is
//! what a restore must know. Files go back by the host; a dump is received and fed to the server's client.

mod dump;
mod login;
mod note;
mod physical;
mod server;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::bodies::Body;
use freezer_sdk::mode::{Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source};

use dump::Dump;
use login::Login;
use note::{Kind, Note};
use physical::Physical;

struct MySql;

export_mode!(MySql);

impl Mode for MySql {
    type Backup = MySqlBackup;
    type Restore = MySqlRestore;

    fn prepare_backup(request: BackupRequest) -> Result<MySqlBackup> {
        let login = Login::new(&request.settings)?;
        let kind = Kind::parse(request.settings.text("kind")?)?;
        if kind != Kind::Physical {
            return Dump::start(kind, &login).map(MySqlBackup::Dump);
        }
        let path = request.path.filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| Error::invalid("kind=physical needs the server's data directory as PATH"))?;
        Physical::prepare(&path, &login, &request.settings).map(MySqlBackup::Physical)
    }

    fn prepare_restore(request: RestoreRequest) -> Result<MySqlRestore> {
        let note = Note::parse(&request.note)?;
        // A server is needed only by a dump.
        let login = match note.kind {
            Kind::Logical => Some(Login::new(&request.settings)?),
            Kind::Physical | Kind::Hot => None,
        };
        Ok(MySqlRestore {
            kind: note.kind,
            target: request.target,
            login,
        })
    }
}

/// A prepared backup.
enum MySqlBackup {
    Physical(Physical),
    Dump(Dump),
}

impl Backup for MySqlBackup {
    fn next(&mut self) -> Result<Option<Source>> {
        Ok(match self {
            Self::Physical(physical) => physical.next().map(Source::Tree),
            Self::Dump(dump) => dump.next().map(Source::Stream),
        })
    }

    fn finish(self, _outcome: Outcome) -> Result<String> {
        match self {
            Self::Physical(physical) => physical.finish()?.to_text(),
            Self::Dump(dump) => dump.finish().to_text(),
        }
    }
}

/// A prepared restore.
struct MySqlRestore {
    kind: Kind,
    target: Option<String>,
    login: Option<Login>,
}

impl Restore for MySqlRestore {
    fn destination(&mut self, source: &str) -> Result<Destination> {
        match (self.kind, source, &self.target) {
            (Kind::Physical, physical::SOURCE, Some(target)) => Ok(Destination::Directory(target.clone())),
            (Kind::Physical, physical::SOURCE, None) => {
                Err(Error::invalid("name the empty data directory to restore into"))
            }
            (Kind::Logical, "dump", _) => Ok(Destination::Receive),
            (Kind::Hot, "copy", _) => Err(Error::unsupported(
                "a copy by mariadb-backup is unpacked by mbstream, not by the server: restore it into a file, or with --to-command",
            )),
            _ => Err(Error::not_found(format!("mode mysql knows no source {source:?}"))),
        }
    }

    fn receive(&mut self, source: &str, content: Body) -> Result<()> {
        match &self.login {
            Some(login) => dump::load(login, content),
            None => Err(Error::unsupported(format!(
                "{source:?} isn't received by a server"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
