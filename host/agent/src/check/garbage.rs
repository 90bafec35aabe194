//! What killed runs leave: data folders without a backup, and uploads that were never finished.
//!
//! Only named, never removed: a run that is writing right now looks the same.

use freezer_format::layout::{
    BackupKeys, Engine, data_names_prefix, parse_level_directory, parse_zero_directory,
};
use freezer_format::name::{HostBackupName, LevelId};
use freezer_pipeline::store::ErrorKind;

use crate::catalogue::{StoredLevel, folders, list_all, pending_all};
use crate::check::{Checker, UNNEEDED, UNSEEN};
use crate::error::AgentError;
use crate::survey::is_refusal;

impl Checker<'_> {
    /// A folder of documents without the one that counts. Where the rest of the backup is there, that is said once, with the
    /// data: it mustn't be removed.
    pub(super) fn uncommitted(&mut self, stored: &StoredLevel) -> Result<(), AgentError> {
        match self.store.stat(&stored.keys().manifest()) {
            Ok(Some(_)) => return Ok(()),
            Err(error) if !is_refusal(&error) => return Err(error.into()),
            _ => {}
        }
        self.notice(
            stored.keys().metadata_directory(),
            "holds no backup: a run was killed, or the backup is being removed",
            UNNEEDED,
        );
        Ok(())
    }

    pub(super) fn check_garbage(&mut self) -> Result<(), AgentError> {
        for engine in Engine::OURS {
            for folder in folders(&**self.store, &data_names_prefix(engine))? {
                let Ok(name) = HostBackupName::from_stored(&folder) else {
                    continue;
                };
                if self.options.filter.matches(&name) && !self.hidden.contains(&name) {
                    match self.check_data_of(engine, &name) {
                        Err(AgentError::Store(error)) if is_refusal(&error) => {
                            let object = error.key.trim_end_matches('/').to_owned();
                            self.unreadable(object, &error, Vec::new());
                        }
                        checked => checked?,
                    }
                }
            }
        }
        self.check_uploads()
    }

    fn check_data_of(&mut self, engine: Engine, name: &HostBackupName) -> Result<(), AgentError> {
        let prefix = format!("{}{name}/", data_names_prefix(engine));
        for folder in folders(&**self.store, &prefix)? {
            let Some(zero) = parse_zero_directory(&folder) else {
                continue;
            };
            for folder in folders(&**self.store, &format!("{prefix}{folder}/"))? {
                self.context.cancel.check()?;
                let Some((level, time)) = parse_level_directory(&folder) else {
                    continue;
                };
                let id = LevelId { zero, level, time };
                let directory = BackupKeys::new(engine, name, id).data_directory();
                if !self.committed.contains(&directory) {
                    self.check_uncommitted(directory)?;
                }
            }
        }
        Ok(())
    }

    /// Says what a folder without a commit point holds; an empty one, as a cancelled run leaves it, is nothing.
    fn check_uncommitted(&mut self, directory: String) -> Result<(), AgentError> {
        let entries = list_all(&**self.store, &format!("{directory}/"))?;
        if entries.is_empty() {
            return Ok(());
        }
        if entries.iter().any(|entry| entry.key.ends_with("/manifest")) {
            let reason =
                "is complete but for its commit point: its `metadata` is lost, or a run is about to write it";
            let next = "copy its `metadata` back from another copy of the container; don't remove it before";
            self.notice(directory, reason, next);
            return Ok(());
        }
        let bytes: u64 = entries
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.size));
        let reason = format!("belongs to no backup ({bytes} bytes): a run was killed or is writing");
        self.notice(directory, &reason, UNNEEDED);
        Ok(())
    }

    fn check_uploads(&mut self) -> Result<(), AgentError> {
        let uploads = match pending_all(&**self.store, "data/") {
            // Keys that only read may not look; nothing of a backup depends on it.
            Err(error) if error.kind == ErrorKind::Denied => {
                let reason = format!(
                    "may hold unfinished uploads, which can't be looked for: {}",
                    error.message
                );
                self.notice("data".to_owned(), &reason, UNSEEN);
                return Ok(());
            }
            uploads => uploads?,
        };
        for upload in uploads {
            if self.is_asked_for(&upload.key) {
                let reason = "has an upload that was never finished: a run was killed or is writing";
                self.notice(upload.key, reason, UNNEEDED);
            }
        }
        Ok(())
    }

    /// True for a key below a name that the filter takes: `data/ENGINE/NAME/…`.
    fn is_asked_for(&self, key: &str) -> bool {
        let name = key.split('/').nth(2).map(HostBackupName::from_stored);
        match name {
            Some(Ok(name)) => self.options.filter.matches(&name),
            _ => self.options.filter.name.is_none() && self.options.filter.host.is_none(),
        }
    }
}
