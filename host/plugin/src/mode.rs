//! Modes as the agent uses them: what is frozen, which sources there are, and the end of it.
//!
//! Whatever happens between `prepare` and the end, `finish` is called exactly once, or, where the instance is gone, the
//! leftovers that it announced are undone in a fresh one.

mod session;
mod source;

use std::io::Read;
use std::path::{Path, PathBuf};

use freezer_pipeline::store::ErrorKind;

use crate::bindings::v1::mode::exports::freezer::plugin::mode as wit;
use crate::calls::{GivenBody, mode as calls};
use crate::error::PluginError;
use crate::guest::LONG_CALL;
use crate::interfaces::resources::{Body, Origin};
use crate::settings::Settings;

pub(crate) use session::ModeOpener;
use session::{Session, wit_outcome};

/// The longest note that a mode may leave in the manifest, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 << 10;

/// What a backup asks of a mode.
#[derive(Debug, Clone, Default)]
pub struct BackupRequest {
    /// The path that the user named.
    pub path: Option<PathBuf>,
    /// The mode's settings.
    pub settings: Settings,
    /// The level that will be written.
    pub level: u32,
    /// The note that the parent level's mode left in its manifest.
    pub parent_note: Option<String>,
}

/// What a restore asks of a mode.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// The directory that the user named.
    pub target: Option<PathBuf>,
    /// The mode's settings.
    pub settings: Settings,
    /// The note that the mode left in the manifest of the level that is restored.
    pub note: String,
}

/// Something to back up.
pub enum ModeSource {
    /// A directory that the host walks; its root was checked against grants, snapshots and the named paths.
    Tree {
        /// Its name in the backup.
        name: String,
        /// The absolute path to walk, perhaps in a snapshot.
        root: PathBuf,
        /// Whether mount points below it stay closed.
        one_file_system: bool,
        /// What to leave out, with gitignore's meaning.
        exclude: Vec<String>,
    },
    /// A stream to be read to its end; it fails at its end if what feeds it failed.
    Stream {
        /// Its name in the backup.
        name: String,
        /// What it is: `sql`, `img`.
        suffix: String,
        /// The bytes.
        content: Box<dyn Read + Send>,
    },
    /// Data that the service keeps itself.
    External {
        /// Its name in the backup.
        name: String,
        /// The service's name for it.
        id: String,
        /// Bytes, if known.
        size: Option<u64>,
    },
}

/// How the host's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All is stored, or restored.
    Done,
    /// It failed.
    Failed {
        /// The kind of the first failure.
        kind: ErrorKind,
        /// The first failure on one line.
        message: String,
    },
    /// The user stopped it.
    Cancelled,
}

/// Where a source of a backup goes when it is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into this absolute directory.
    Directory(PathBuf),
    /// Into the mode, by [`ModeRestore::receive`].
    Receive,
    /// The service restores it itself.
    External,
    /// Nowhere.
    Skip,
}

/// A prepared backup: what must be frozen is frozen until `finish`.
pub struct ModeBackup {
    session: Session,
}

impl ModeBackup {
    pub(crate) fn prepare(opener: ModeOpener, request: BackupRequest) -> Result<Self, PluginError> {
        let request = wit::BackupRequest {
            path: request
                .path
                .as_deref()
                .map(|path| opener.utf8("path", path))
                .transpose()?,
            settings: opener.settings.clone(),
            level: request.level,
            parent_note: request.parent_note,
        };
        let prepare = calls::PrepareBackup { request: &request };
        let session = Session::prepare(opener, "prepare-backup", prepare)?;
        Ok(Self { session })
    }

    /// The next source, `None` after the last. Ask only once the one before is stored.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError> {
        const CALL: &str = "next";
        let source = self.session.call(CALL, calls::Next {})?;
        let Some(source) = source else { return Ok(None) };
        let (opener, guest) = self.session.parts(CALL)?;
        let source = source::accept(&opener.context, guest, source);
        source.map(Some).inspect_err(|error| self.session.lose(error))
    }

    /// What a path in a snapshot of this run is a view of; any other path is itself.
    #[must_use]
    pub fn live_path(&self, path: &Path) -> PathBuf {
        self.session.opener.context.run.live(path)
    }

    /// Whether what was read of snapshots is what they were made as. Call it when everything was read and before it
    /// counts; afterwards nothing may be read.
    ///
    /// # Errors
    /// [`PluginError::Spoiled`].
    pub fn verify(&self) -> Result<(), PluginError> {
        let verified = self.session.opener.context.run.verify();
        verified.map_err(|why| PluginError::Spoiled { why })
    }

    /// Thaws and cleans up; answers the note for the manifest. If the plugin's instance is gone already, its
    /// leftovers are undone in a fresh one instead.
    ///
    /// # Errors
    /// Why the application may still be frozen, or what is left behind.
    pub fn finish(mut self, outcome: &Outcome) -> Result<String, PluginError> {
        const CALL: &str = "finish";
        let finish = calls::FinishBackup {
            outcome: &wit_outcome(outcome),
        };
        let note = self.session.finish(outcome, finish)?;
        if note.len() > MAX_NOTE_BYTES {
            let why = format!(
                "its note has {} bytes, at most {MAX_NOTE_BYTES} are allowed",
                note.len()
            );
            return Err(self.session.opener.broken(CALL, why));
        }
        Ok(note)
    }
}

impl Drop for ModeBackup {
    fn drop(&mut self) {
        let ended = self.session.abandon(calls::FinishBackup {
            outcome: &wit::Outcome::Cancelled,
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "a backup that was given up didn't end well");
        }
    }
}

/// A prepared restore.
pub struct ModeRestore {
    session: Session,
    target: Option<PathBuf>,
}

impl ModeRestore {
    pub(crate) fn prepare(opener: ModeOpener, request: RestoreRequest) -> Result<Self, PluginError> {
        let asked = wit::RestoreRequest {
            target: request
                .target
                .as_deref()
                .map(|path| opener.utf8("target", path))
                .transpose()?,
            settings: opener.settings.clone(),
            note: request.note,
        };
        let prepare = calls::PrepareRestore { request: &asked };
        let session = Session::prepare(opener, "prepare-restore", prepare)?;
        Ok(Self {
            session,
            target: request.target,
        })
    }

    /// Where the source of this name goes.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn destination(&mut self, source: &str) -> Result<Destination, PluginError> {
        let destination = self.session.call("destination", calls::Destination { source })?;
        Ok(match destination {
            wit::Destination::Directory(path) => {
                let path = PathBuf::from(path);
                let grants = &self.session.opener.context.grants;
                grants
                    .target(&path, self.target.as_deref())
                    .map_err(PluginError::Denied)?;
                Destination::Directory(path)
            }
            wit::Destination::Receive => Destination::Receive,
            wit::Destination::External => Destination::External,
            wit::Destination::Skip => Destination::Skip,
        })
    }

    /// Gives the mode the bytes of a source whose destination is [`Destination::Receive`]; success = the service has
    /// them all.
    ///
    /// # Errors
    /// What the mode reported, or why it was stopped. Call `finish` all the same.
    pub fn receive(&mut self, source: &str, content: Box<dyn Read + Send>) -> Result<(), PluginError> {
        const CALL: &str = "receive";
        let (opener, guest) = self.session.parts(CALL)?;
        let pushed = guest
            .state()
            .table
            .push(Body::stream(content, None, Origin::Backup));
        let body =
            pushed.map_err(|error| opener.broken(CALL, format!("its handles are used up: {error}")))?;
        let content = GivenBody(body.rep());
        // It takes as long as all the bytes do; who waits for nothing else can press Ctrl-C.
        self.session
            .call_within(CALL, Some(LONG_CALL), calls::Receive { source, content })
    }

    /// Ends the restore.
    ///
    /// # Errors
    /// What is not in order afterwards.
    pub fn finish(mut self, outcome: &Outcome) -> Result<(), PluginError> {
        let finish = calls::FinishRestore {
            outcome: &wit_outcome(outcome),
        };
        self.session.finish(outcome, finish)
    }
}

impl Drop for ModeRestore {
    fn drop(&mut self) {
        let ended = self.session.abandon(calls::FinishRestore {
            outcome: &wit::Outcome::Cancelled,
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "a restore that was given up didn't end well");
        }
    }
}
