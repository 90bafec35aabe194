//! A mode that sins: the path that it is asked for says how. The tests of the plugin host hold each sin to its consequence.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::{control, leftovers, snapshots};
use freezer_sdk::mode::{
    Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source, TreeSource,
};
use freezer_sdk::settings::Settings;

struct Hostile;

export_mode!(Hostile);

impl Mode for Hostile {
    type Backup = HostileBackup;
    type Restore = HostileRestore;

    fn prepare_backup(request: BackupRequest) -> Result<HostileBackup> {
        let sin = request.path.unwrap_or_default();
        let _first = leftovers::announce("volume snapshot one", "undo one")?;
        let second = leftovers::announce("volume snapshot two", "undo two")?;
        let _third = leftovers::announce("volume snapshot three", "undo three")?;
        second.settle()?;
        // What isn't granted, and what is named but not granted to be frozen.
        if let Some(path) = sin.strip_prefix("/freeze") {
            drop(snapshots::create(path, &[])?);
        }
        if sin == "/prepare" {
            return Err(Error::invalid("can't prepare"));
        }
        let frozen = match sin.strip_prefix("/hold") {
            Some(path) => Some(snapshots::create(path, &[])?),
            None => None,
        };
        Ok(HostileBackup { sin, frozen })
    }

    fn prepare_restore(_request: RestoreRequest) -> Result<HostileRestore> {
        Ok(HostileRestore)
    }

    fn undo(_settings: Settings, leftover: String) -> Result<()> {
        control::warning(format!("undone: {leftover}"));
        if leftover == "undo never" {
            Err(Error::invalid("it stays"))
        } else {
            Ok(())
        }
    }
}

struct HostileBackup {
    sin: String,
    frozen: Option<snapshots::Snapshot>,
}

impl Backup for HostileBackup {
    fn next(&mut self) -> Result<Option<Source>> {
        if let Some(frozen) = &self.frozen {
            panic!("on purpose, with {} in hand", frozen.description());
        }
        match self.sin.as_str() {
            "/panic" => panic!("on purpose"),
            "/name" => Ok(Some(Source::Tree(TreeSource {
                name: "../name".to_owned(),
                root: "/".to_owned(),
                one_file_system: true,
                exclude: Vec::new(),
            }))),
            "/cancelled" => {
                control::wait(std::time::Duration::from_secs(60))?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn finish(self, outcome: Outcome) -> Result<String> {
        match self.sin.as_str() {
            "/finish" => panic!("on purpose"),
            "/note" => Ok("x".repeat(100_000)),
            _ => {
                // Host calls work during `finish`, cancelled or not.
                control::wait(std::time::Duration::from_millis(1))?;
                Ok(format!("{outcome:?}"))
            }
        }
    }
}

struct HostileRestore;

impl Restore for HostileRestore {
    fn destination(&mut self, _source: &str) -> Result<Destination> {
        Ok(Destination::Directory("/etc".to_owned()))
    }
}
