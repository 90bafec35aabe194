//! The journal of leftovers: what would outlive a killed run is on disk before it is made.
//!
//! One file per run in `leftovers/` of the state directory, locked as long as the run lives: a file whose lock is free
//! belongs to a run that was killed. Each line is a JSON document: `{"announce": {…}}` or `{"settle": number}`.
//! Lines are synced before the plugin goes on; a torn line was never acted upon and is skipped. Each begins with a line
//! feed as well, so that it can't be swallowed by a torn one before it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::PluginError;
use crate::settings::Settings;
use crate::trusted;

/// The longest `undo` text, in bytes, as the contract says.
pub(crate) const MAX_UNDO_BYTES: usize = 4096;
/// The most leftovers of one run that are open at once.
const MAX_OPEN: usize = 1000;
/// The most bytes that one run announces.
const MAX_ANNOUNCED_BYTES: u64 = 4 << 20;
/// The longest line that is read back: two texts and the settings.
const MAX_LINE_BYTES: u64 = 256 << 10;

/// Something that would outlive a killed run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leftover {
    /// Its number within the run.
    pub(crate) number: u64,
    /// The mode that made it.
    pub(crate) plugin: String,
    /// The digest of its component, in hex: no other is asked to undo it.
    pub(crate) sha256: String,
    /// The settings that the mode had, without the secret ones.
    pub(crate) settings: Settings,
    /// What it is, for people.
    pub(crate) description: String,
    /// What `mode.undo` will be given.
    pub(crate) undo: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Announce(Leftover),
    Settle(u64),
}

/// The journal of one plugin in one run.
#[derive(Clone)]
pub(crate) struct RunJournal {
    plugin: String,
    sha256: String,
    settings: Settings,
    dir: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Made with the first leftover: most runs have none.
    file: Option<(PathBuf, File)>,
    next: u64,
    announced_bytes: u64,
    open: BTreeMap<u64, Leftover>,
}

impl RunJournal {
    /// A journal below `state_dir`; nothing is written before the first leftover. `settings` hold no secrets.
    pub(crate) fn new(state_dir: &Path, plugin: &str, sha256: &str, settings: Settings) -> Self {
        let dir = state_dir.join("leftovers");
        Self {
            plugin: plugin.to_owned(),
            sha256: sha256.to_owned(),
            settings,
            dir,
            state: Arc::default(),
        }
    }

    /// Writes a leftover down; durable on return. A run may have only so many: nobody could undo more.
    pub(crate) fn announce(&self, description: String, undo: String) -> Result<u64, PluginError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open.len() >= MAX_OPEN || state.announced_bytes >= MAX_ANNOUNCED_BYTES {
            return Err(PluginError::Leftovers {
                plugin: self.plugin.clone(),
            });
        }
        let number = state.next;
        let leftover = Leftover {
            number,
            plugin: self.plugin.clone(),
            sha256: self.sha256.clone(),
            settings: self.settings.clone(),
            description,
            undo,
        };
        let written = self.write(&mut state, &Line::Announce(leftover.clone()))?;
        state.announced_bytes = state.announced_bytes.saturating_add(written);
        state.next += 1;
        state.open.insert(number, leftover);
        Ok(number)
    }

    /// Says that a leftover is gone or kept on purpose; false if it was never announced.
    pub(crate) fn settle(&self, number: u64) -> Result<bool, PluginError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if number >= state.next {
            return Ok(false);
        }
        if state.open.contains_key(&number) {
            self.write(&mut state, &Line::Settle(number))?;
            state.open.remove(&number);
        }
        Ok(true)
    }

    /// What is still open, the last made first.
    pub(crate) fn open(&self) -> Vec<Leftover> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.values().rev().cloned().collect()
    }

    /// Answers how many bytes it wrote.
    fn write(&self, state: &mut State, line: &Line) -> Result<u64, PluginError> {
        let failed = |path: &Path, source| PluginError::Journal {
            path: path.to_owned(),
            source,
        };
        if state.file.is_none() {
            state.file = Some(create(&self.dir).map_err(|source| failed(&self.dir, source))?);
        }
        let Some((path, file)) = &mut state.file else {
            return Ok(0);
        };
        append(file, line).map_err(|source| failed(path, source))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // With something still open the file stays for the next run.
        if let Some((path, _)) = self.file.take_if(|_| self.open.is_empty())
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "can't remove an empty journal");
        }
    }
}

/// A journal of a run that was killed, locked by us.
pub(crate) struct DeadJournal {
    path: PathBuf,
    file: File,
    open: BTreeMap<u64, Leftover>,
}

impl DeadJournal {
    /// The journals of all runs that are no more.
    pub(crate) fn all(state_dir: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(state_dir.join("leftovers")) else {
            return Vec::new();
        };
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let journals = paths.filter(|path| path.extension().is_some_and(|extension| extension == "journal"));
        let opened = journals.filter_map(|path| match Self::open(&path) {
            Ok(journal) => journal,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "can't read a journal of leftovers");
                None
            }
        });
        opened.collect()
    }

    /// `None` while its run lives.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = trusted::open(path, OpenOptions::new().read(true).append(true))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let mut open = BTreeMap::new();
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
            if count == 0 {
                break;
            }
            if line == b"\n" {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(Line::Announce(leftover)) => {
                    open.insert(leftover.number, leftover);
                }
                Ok(Line::Settle(number)) => {
                    open.remove(&number);
                }
                Err(error) => tracing::debug!(path = %path.display(), %error, "skipped a torn line"),
            }
        }
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            open,
        }))
    }

    /// What it left behind, the last made first.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        self.open.values().rev().cloned().collect()
    }

    /// Notes that one is gone; after the last one the file goes too.
    pub(crate) fn settle(&mut self, number: u64) -> Result<(), PluginError> {
        let failed = |path: &Path, source| PluginError::Journal {
            path: path.to_owned(),
            source,
        };
        append(&mut self.file, &Line::Settle(number)).map_err(|source| failed(&self.path, source))?;
        self.open.remove(&number);
        Ok(())
    }

    /// Removes the file if nothing is open any more.
    pub(crate) fn close(self) {
        if self.open.is_empty()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "can't remove an empty journal");
        }
    }
}

/// Makes and locks a journal that no other run has.
fn create(dir: &Path) -> io::Result<(PathBuf, File)> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let mut number = 0_u32;
    let (path, file) = loop {
        let path = dir.join(format!("{}-{number}.journal", std::process::id()));
        number += 1;
        let file = match OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // A run that looks for dead journals may have locked or removed the empty file meanwhile.
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if locked && rustix::fs::fstat(&file)?.st_nlink > 0 {
            break (path, file);
        }
    };
    File::open(dir)?.sync_all()?;
    Ok((path, file))
}

/// Answers how many bytes it wrote.
fn append(file: &mut File, line: &Line) -> io::Result<u64> {
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_data()?;
    Ok(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(temp: &Path) -> RunJournal {
        RunJournal::new(temp, "p", "00", Settings::new())
    }

    #[test]
    fn a_run_has_only_so_many_leftovers() {
        let temp = tempfile::tempdir().unwrap();
        let many = journal(temp.path());
        for _ in 0..MAX_OPEN {
            many.announce(String::new(), String::new()).unwrap();
        }
        let refused = many.announce(String::new(), String::new());
        assert!(
            matches!(refused, Err(PluginError::Leftovers { .. })),
            "{refused:?}"
        );
        assert!(many.settle(0).unwrap() && many.announce(String::new(), String::new()).is_ok());
        let large = journal(temp.path());
        let announce = || large.announce(String::new(), "x".repeat(MAX_UNDO_BYTES));
        let held = (0..MAX_OPEN * 2)
            .map_while(|_| announce().ok())
            .inspect(|number| assert!(large.settle(*number).unwrap()));
        assert!(held.count() <= 1024, "settled ones count as well");
    }

    #[test]
    fn a_journal_that_others_could_plant_is_not_believed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("leftovers");
        std::fs::create_dir(&dir).unwrap();
        let (path, elsewhere) = (dir.join("1-0.journal"), temp.path().join("planted"));
        std::fs::write(&elsewhere, "").unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(DeadJournal::all(temp.path()).is_empty(), "a link");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(DeadJournal::all(temp.path()).len(), 1);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            DeadJournal::all(temp.path()).is_empty(),
            "a directory of everybody"
        );
    }
}
