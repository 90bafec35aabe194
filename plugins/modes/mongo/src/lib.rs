//! Mode mongo: MongoDB, as files in a snapshot under fsyncLock, or as a dump.
//!
//! `login` reads the settings; `message`, `scram` and `server` speak the wire protocol; `member` judges whom we talk to; `lock` is
//! what must never outlive a run; `physical` and `dump` are the two kinds of source; `note` is what a restore must know. Files
//! go back by the host; a dump is received and fed to mongorestore.

mod dump;
mod lock;
mod login;
mod member;
mod message;
mod note;
mod physical;
mod scram;
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

struct Mongo;

export_mode!(Mongo);

impl Mode for Mongo {
    type Backup = MongoBackup;
    type Restore = MongoRestore;

    fn prepare_backup(request: BackupRequest) -> Result<MongoBackup> {
        let login = Login::new(&request.settings)?;
        if Kind::parse(request.settings.text("kind")?)? == Kind::Logical {
            return Dump::start(&login).map(MongoBackup::Dump);
        }
        let path = request.path.filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| Error::invalid("kind=physical needs the server's data directory as PATH"))?;
        Physical::prepare(&path, &login, &request.settings).map(MongoBackup::Physical)
    }

    fn prepare_restore(request: RestoreRequest) -> Result<MongoRestore> {
        let note = Note::parse(&request.note)?;
        // A server is needed only by a dump.
        let load = match note.kind {
            Kind::Logical => {
                let login = Login::new(&request.settings)?;
                Some((login, request.settings.flag("drop")?))
            }
            Kind::Physical => None,
        };
        Ok(MongoRestore {
            note,
            target: request.target,
            load,
        })
    }

    fn undo(settings: Settings, leftover: String) -> Result<()> {
        lock::undo(&Login::new(&settings)?, &leftover)
    }
}

/// A prepared backup.
enum MongoBackup {
    Physical(Physical),
    Dump(Dump),
}

impl Backup for MongoBackup {
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
struct MongoRestore {
    note: Note,
    target: Option<String>,
    /// How to log in, and whether collections are dropped.
    load: Option<(Login, bool)>,
}

impl Restore for MongoRestore {
    fn destination(&mut self, source: &str) -> Result<Destination> {
        match (self.note.kind, source, &self.target) {
            (Kind::Physical, physical::SOURCE, Some(target)) => Ok(Destination::Directory(target.clone())),
            (Kind::Physical, physical::SOURCE, None) => {
                Err(Error::invalid("name the empty data directory to restore into"))
            }
            (Kind::Logical, dump::SOURCE, _) => Ok(Destination::Receive),
            _ => Err(Error::not_found(format!("mode mongo knows no source {source:?}"))),
        }
    }

    fn receive(&mut self, source: &str, content: Body) -> Result<()> {
        match &self.load {
            Some((login, drop)) => dump::load(login, &self.note, *drop, &content),
            None => Err(Error::unsupported(format!(
                "{source:?} isn't received by a server"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
