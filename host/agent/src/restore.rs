//! Restoring: choose, authenticate, look at everything, and only then write.
//!
//! Before the first write the password is checked, all manifests of the chain are authenticated and linked, and all
//! objects are there with the right sizes. How trees come into being is the pipeline's matter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_format::layout::Engine;
use freezer_format::name::{HostBackupName, Level as LevelNumber, Timestamp};
use freezer_pipeline::RunContext;
use freezer_pipeline::restore::{LevelData, RestoreJob, RestoreReport};
use freezer_pipeline::store::Store;
use freezer_plugin::{Destination, Outcome};

use crate::backup::{SOURCE_OPTION, STREAM_OPTION};
use crate::catalogue::{Place, StoredLevel};
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::level::{Level, Strictness, damaged};
use crate::mode::RestoreMode;
use crate::own_storage;
use crate::seen::SeenBackups;
use crate::select::{Wanted, ancestry, target};

/// What is to be restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The directory that receives the tree; made if absent.
    pub target: PathBuf,
    /// Directories of this machine in which the storage keeps its objects: nothing is restored there.
    pub storage_directories: Vec<PathBuf>,
    /// Paths below the backup's root, each with everything below it; empty means all. One that begins with a slash may
    /// also be written as it was at the source.
    pub paths: Vec<Vec<u8>>,
    /// Whether the target may hold something already.
    pub overwrite: bool,
    /// Whether files that couldn't be read at the newest level are restored as an earlier level has them.
    pub stale: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Most threads that create files.
    pub workers: usize,
    /// Bytes of buffers that may be held.
    pub memory_bytes: u64,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct RestoreOutcome {
    /// Host and backup name.
    pub name: HostBackupName,
    /// Level of the restored state.
    pub level: LevelNumber,
    /// Its date.
    pub time: Timestamp,
    /// Where it went.
    pub target: PathBuf,
    /// True if all of it was authenticated by the password.
    pub authentic: bool,
    /// Nothing was written.
    pub dry_run: bool,
    /// What the road reports.
    pub report: RestoreReport,
}

impl RestoreOutcome {
    /// What the exit code is to say.
    pub fn exit_class(&self) -> ExitClass {
        if self.report.partial {
            ExitClass::Partial
        } else {
            ExitClass::Ok
        }
    }
}

/// A chain that is read, authenticated and complete.
pub(crate) struct OpenedChain {
    pub(crate) levels: Vec<Level>,
    pub(crate) data: Vec<LevelData>,
}

impl OpenedChain {
    /// Opens the chain below the wanted state; every object is looked at.
    pub(crate) fn open(
        store: &Arc<dyn Store>,
        wanted: &Wanted,
        keyring: &Keyring,
    ) -> Result<Self, AgentError> {
        let (found, chosen) = target(&**store, wanted)?;
        let levels = ancestry(&**store, &found, chosen.id, (keyring, Strictness::Enforce))?;
        let mut data = Vec::with_capacity(levels.len());
        for level in &levels {
            let mut opened = level.data(store, keyring)?;
            if let Some(manifest) = level.manifest() {
                level.require_object(&**store, &level.stored.keys().index(), Some(manifest.index.bytes))?;
            }
            opened.index = level.index(store)?;
            data.push(opened);
        }
        Ok(Self { levels, data })
    }

    /// The level whose state is wanted.
    pub(crate) fn newest(&self) -> &Level {
        self.levels
            .last()
            .expect("a chain has at least the level that was chosen")
    }
}

/// A backup that is read, authenticated and complete: what it takes to restore it is known, nothing is written.
pub struct OpenBackup {
    chain: OpenedChain,
}

impl OpenBackup {
    /// Opens the wanted state.
    ///
    /// # Errors
    /// Nothing matches, the chain is incomplete, damaged or not authentic.
    pub fn open(store: &Arc<dyn Store>, wanted: &Wanted, keyring: &Keyring) -> Result<Self, AgentError> {
        let chain = OpenedChain::open(store, wanted, keyring)?;
        let opened = Self { chain };
        opened.require_one_name()?;
        Ok(opened)
    }

    /// The mode that made it, if it left a note for its restore.
    #[must_use]
    pub fn mode(&self) -> Option<&str> {
        let manifest = self.chain.newest().manifest()?;
        manifest.note.as_ref().map(|_| manifest.mode.as_str())
    }

    /// The name of its file, if it is a stream.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        let level = self.chain.newest();
        let is_stream = level.stored.place == Place::New(Engine::Stream);
        let name = level
            .manifest()
            .and_then(|manifest| manifest.options.get(STREAM_OPTION)?.as_str());
        is_stream.then_some(name.unwrap_or("stream"))
    }

    /// Holds it, the newest state that the storage shows, against what was seen there before.
    pub fn compare_seen(&self, seen: &SeenBackups, context: &RunContext<'_>) {
        let level = self.newest();
        if let Some(data) = self.newest_data() {
            let is_own = |name: &HostBackupName| *name == level.stored.name;
            seen.compare(data.store.url(), &[level.sighting()], is_own, context);
        }
    }

    /// Manifest and index must call a stream's file the same: one is shown, the other is written.
    fn require_one_name(&self) -> Result<(), AgentError> {
        let (Some(name), Some(data)) = (self.stream(), self.newest_data()) else {
            return Ok(());
        };
        let level = self.newest();
        let file = freezer_pipeline::restore::stream_file(data).map_err(|source| AgentError::Restore {
            operation: "reading",
            backup: level.stored.label(),
            source,
        })?;
        match file == name.as_bytes() {
            true => Ok(()),
            false => Err(damaged(
                &level.stored,
                &level.stored.keys().manifest(),
                "names another file than its index",
            )),
        }
    }

    pub(crate) fn newest(&self) -> &Level {
        self.chain.newest()
    }

    /// The data of the newest level, which is all there is of a stream.
    pub(crate) fn newest_data(&self) -> Option<&LevelData> {
        self.chain.data.last()
    }

    pub(crate) fn is_authentic(&self) -> bool {
        self.chain.levels.iter().all(Level::is_authentic)
    }

    /// The name that the mode gave to its source, and its note.
    pub(crate) fn note(&self) -> Option<(String, String)> {
        let manifest = self.newest().manifest()?;
        let source = manifest
            .options
            .get(SOURCE_OPTION)
            .and_then(|source| source.as_str());
        Some((source.unwrap_or_default().to_owned(), manifest.note.clone()?))
    }
}

/// Restores a tree, or the file of a stream, into a directory.
///
/// # Errors
/// The target isn't usable (then nothing was written), or reading or writing failed.
pub fn restore(
    backup: OpenBackup,
    options: &RestoreOptions,
    mode: Option<&dyn RestoreMode>,
    context: &RunContext<'_>,
) -> Result<RestoreOutcome, AgentError> {
    own_storage::refuse_target(&options.target, &options.storage_directories)?;
    if !options.dry_run && !options.overwrite {
        require_empty(&options.target)?;
    }
    context.cancel.check()?;
    let newest = backup.newest();
    let (stored, authentic) = (newest.stored.clone(), backup.is_authentic());
    let note = backup.note().filter(|_| backup.stream().is_none());
    let root = newest.manifest().and_then(|manifest| manifest.path.as_deref());
    let running = Running {
        options,
        paths: options
            .paths
            .iter()
            .map(|path| below_source(path, root))
            .collect(),
        context,
        stored: &stored,
    };
    let data = backup.chain.data;
    let report = match (mode, note) {
        // Backups without a note are plain trees, the original's among them: no mode has to put them in place.
        (Some(mode), Some(note)) if !options.dry_run => restore_by_mode(mode, note, data, &running),
        _ => running.run(data, options.target.clone()),
    }?;
    Ok(RestoreOutcome {
        name: stored.name,
        level: stored.id.level,
        time: stored.id.time,
        target: options.target.clone(),
        authentic,
        dry_run: options.dry_run,
        report,
    })
}

fn restore_by_mode(
    mode: &dyn RestoreMode,
    (source, note): (String, String),
    data: Vec<LevelData>,
    running: &Running<'_>,
) -> Result<RestoreReport, AgentError> {
    let mut prepared = mode.prepare(Some(running.options.target.clone()), note)?;
    let result = match prepared.destination(&source) {
        Ok(Destination::Directory(directory)) => running.run(data, directory),
        Ok(Destination::Skip) => Ok(RestoreReport::default()),
        Ok(Destination::Receive | Destination::External) => Err(AgentError::Unsupported {
            reason: format!(
                "the mode of {} takes back something else than a tree of files",
                running.stored.label()
            ),
            next: "use a version that knows this kind of backup".to_owned(),
        }),
        Err(error) => Err(error.into()),
    };
    let outcome = outcome_of(&result);
    let finished = prepared.finish(&outcome);
    let report = result?;
    finished?;
    Ok(report)
}

/// How a mode is told about a result.
pub(crate) fn outcome_of<T>(result: &Result<T, AgentError>) -> Outcome {
    result.as_ref().err().map_or(Outcome::Done, told)
}

/// How a mode is told about a failure.
pub(crate) fn told(error: &AgentError) -> Outcome {
    match error.exit_class() {
        ExitClass::Interrupted => Outcome::Cancelled,
        _ => Outcome::Failed {
            kind: error.kind(),
            message: crate::level::chain_text(error),
        },
    }
}

/// A restore whose chain is open.
struct Running<'a> {
    options: &'a RestoreOptions,
    paths: Vec<Vec<u8>>,
    context: &'a RunContext<'a>,
    stored: &'a StoredLevel,
}

impl Running<'_> {
    fn run(&self, levels: Vec<LevelData>, target: PathBuf) -> Result<RestoreReport, AgentError> {
        let sequential = levels.last().is_none_or(|level| level.index.is_none());
        let job = RestoreJob {
            levels,
            target,
            paths: self.paths.clone(),
            overwrite: self.options.overwrite,
            stale: self.options.stale,
            dry_run: self.options.dry_run,
            workers: self.options.workers,
            memory_bytes: self.options.memory_bytes,
            sequential,
            context: self.context,
        };
        freezer_pipeline::restore::restore(job).map_err(|source| AgentError::Restore {
            operation: "restoring",
            backup: self.stored.label(),
            source,
        })
    }
}

/// A path as it lies below the backup's root: an absolute one may be written as it was at the source.
fn below_source(path: &[u8], source: Option<&str>) -> Vec<u8> {
    let Some(absolute) = path.strip_prefix(b"/") else {
        return path.to_owned();
    };
    let source = source.map_or("", |source| source.trim_end_matches('/'));
    match path.strip_prefix(source.as_bytes()) {
        Some([]) => Vec::new(),
        Some([b'/', below @ ..]) => below.to_owned(),
        _ => absolute.to_owned(),
    }
}

/// The target must be absent or an empty directory.
fn require_empty(target: &Path) -> Result<(), AgentError> {
    let failed = |source| AgentError::Target {
        path: target.to_owned(),
        source,
    };
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(AgentError::TargetNotEmpty {
                path: target.to_owned(),
            }),
            Some(Err(error)) => Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/srv/data/a/b", "a/b")]
    #[case("/srv/data", "")]
    #[case("/srv/database", "srv/database")]
    #[case("/a/b", "a/b")]
    #[case("srv/data/a", "srv/data/a")]
    fn an_absolute_path_of_the_source_is_found(#[case] path: &str, #[case] below: &str) {
        assert_eq!(
            below_source(path.as_bytes(), Some("/srv/data/")),
            below.as_bytes()
        );
    }
}
