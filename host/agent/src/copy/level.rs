//! Copying one level: claim, data, index, snapshot file, manifest, `metadata`, in this order.
//!
//! The claim holds the name of the run that made the backup. So a copy that was interrupted finds its own claim again,
//! and objects under it are its own: each became visible whole and compared, or not at all.

use std::sync::Arc;

use freezer_format::layout::Engine;
use freezer_format::legacy::LegacyKeys;
use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest};
use freezer_format::metadata::MAX_METADATA_BYTES;
use freezer_pipeline::store::{ErrorKind, Existing, Store};
use freezer_pipeline::{Announced, BackupError, RunContext, TransferError, TransferJob, transfer};

use super::{CopiedLevel, CopyOptions, CopyState};
use crate::catalogue::{Place, StoredLevel};
use crate::commit::{MAX_CLAIM_BYTES, abort_uploads, put_once};
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, damaged};
use crate::objects::{read_error, read_small};
use crate::resume::{JournalStore, RunHead, journaled};

/// Segments of the small objects.
const SIDE_SEGMENT_BYTES: u64 = 4 << 20;

/// One object of a level.
struct Object {
    key: String,
    bytes: u64,
    announced: Announced,
    segment_bytes: u64,
}

/// Where levels are copied from and to.
pub(super) struct LevelCopy<'a> {
    pub(super) from: &'a Arc<dyn Store>,
    pub(super) to: &'a Arc<dyn Store>,
    pub(super) options: &'a CopyOptions,
    pub(super) context: &'a RunContext<'a>,
}

impl LevelCopy<'_> {
    /// Copies one level; answers what became of it and how many bytes an earlier copy had sent.
    pub(super) fn run(&self, stored: StoredLevel) -> Result<(CopiedLevel, u64), AgentError> {
        let keyring = Keyring::new(None, true);
        let level = Level::read(&**self.from, stored, &keyring, Strictness::Look)?;
        let objects = self.objects(&level)?;
        let is_present = self.is_present(&level)?;
        let mut missing = Vec::new();
        for object in objects {
            if !self.has(&level, &object, is_present)? {
                missing.push(object);
            }
        }
        let state = match (is_present, missing.is_empty()) {
            (true, true) => CopyState::Present,
            (true, false) => CopyState::Mended,
            (false, _) => CopyState::Copied,
        };
        let bytes = missing
            .iter()
            .fold(0_u64, |sum, object| sum.saturating_add(object.bytes));
        let mut reused = 0;
        if state != CopyState::Present && !self.options.dry_run {
            reused = self.write(&level, &missing, is_present)?;
        }
        let copied = CopiedLevel {
            name: level.stored.name.clone(),
            level: level.stored.id.level.0,
            time: level.stored.id.time,
            bytes,
            state,
            compared: level.manifest().is_some(),
        };
        Ok((copied, reused))
    }

    /// The objects of a level that aren't documents, in the order in which they are written.
    fn objects(&self, level: &Level) -> Result<Vec<Object>, AgentError> {
        let Some(manifest) = level.manifest() else {
            return self.objects_of_the_original(level);
        };
        let keys = level.stored.keys();
        let whole = |key: String, bytes: u64, sha256: [u8; 32]| Object {
            key,
            bytes,
            announced: Announced::Whole(sha256),
            segment_bytes: SIDE_SEGMENT_BYTES.min(manifest.data.segment),
        };
        let mut objects = vec![
            Object {
                key: keys.data(),
                bytes: manifest.data.bytes,
                announced: Announced::Segments {
                    segment_bytes: manifest.data.segment,
                    sha256: manifest.data.sha256,
                },
                segment_bytes: manifest.data.segment,
            },
            whole(keys.index(), manifest.index.bytes, manifest.index.sha256),
        ];
        if let Some(facts) = &manifest.engine_metadata {
            objects.push(whole(keys.engine_metadata(), facts.bytes, facts.sha256));
        }
        // Tags that were given later have a seal of their own; those of the target are its own matter.
        if let Some(entry) = self.from.stat(&keys.tags())?
            && self.to.stat(&keys.tags())?.is_none()
        {
            objects.push(Object {
                key: keys.tags(),
                bytes: entry.size,
                announced: Announced::Nothing,
                segment_bytes: self.options.segment_bytes,
            });
        }
        Ok(objects)
    }

    /// The original announces nothing: what is there is taken with the size that it has.
    fn objects_of_the_original(&self, level: &Level) -> Result<Vec<Object>, AgentError> {
        let stored = &level.stored;
        let (first, data) = match stored.place {
            Place::New(_) => (stored.keys().engine_metadata(), stored.data_key()),
            Place::Old => (LegacyKeys::new(&stored.name, stored.id).snar(), stored.data_key()),
        };
        let mut objects = Vec::new();
        // In the old layout the stream is what shows a backup, so it comes last.
        for (key, is_needed) in [(first, false), (data, true)] {
            match self.from.stat(&key)? {
                Some(entry) => objects.push(Object {
                    key,
                    bytes: entry.size,
                    announced: Announced::Nothing,
                    segment_bytes: self.options.segment_bytes,
                }),
                None if is_needed => return Err(damaged(stored, &key, "is missing")),
                None => {}
            }
        }
        Ok(objects)
    }

    /// True if the target shows this very backup. Another one in its place ends the copy.
    fn is_present(&self, level: &Level) -> Result<bool, AgentError> {
        let stored = &level.stored;
        if stored.place == Place::Old {
            return Ok(self.to.stat(&stored.data_key())?.is_some());
        }
        let keys = stored.keys();
        let theirs = read_small(&**self.to, &keys.metadata(), MAX_METADATA_BYTES)?;
        let Some(theirs) = theirs else { return Ok(false) };
        let ours = read_small(&**self.from, &keys.metadata(), MAX_METADATA_BYTES)?;
        let manifest = read_small(&**self.to, &keys.manifest(), MAX_MANIFEST_BYTES)?;
        let digest = manifest
            .and_then(|bytes| Manifest::peek(&bytes).ok())
            .map(|peeked| peeked.line_sha256);
        // A manifest that got lost there is written again.
        if Some(theirs) == ours && (digest.is_none() || digest == level.line_sha256()) {
            return Ok(true);
        }
        Err(self.another(level))
    }

    fn another(&self, level: &Level) -> AgentError {
        AgentError::Unsupported {
            reason: format!(
                "{} holds another backup in the place of {}",
                self.to.url(),
                level.stored.label()
            ),
            next: "copy to another container; or freezer check on both, and remove the one that isn't wanted"
                .to_owned(),
        }
    }

    /// True if the target has the object. One of another size under a backup is damage, without one a remnant.
    fn has(&self, level: &Level, object: &Object, is_present: bool) -> Result<bool, AgentError> {
        match self.to.stat(&object.key)? {
            None => Ok(false),
            // In the old layout nothing tells whose it is.
            Some(entry) if entry.size == object.bytes => {
                Ok(is_present || level.stored.place == Place::Old || self.is_ours(level)?)
            }
            Some(_) if level.stored.place == Place::Old => Err(self.another(level)),
            Some(entry) if is_present => Err(damaged(
                &level.stored,
                &object.key,
                &format!(
                    "has {} bytes instead of {} in {}",
                    entry.size,
                    object.bytes,
                    self.to.url()
                ),
            )),
            Some(_) => Ok(false),
        }
    }

    /// True if the place is claimed for this backup, so that what lies there is of an earlier copy.
    fn is_ours(&self, level: &Level) -> Result<bool, AgentError> {
        let Some(manifest) = level.manifest() else {
            return Ok(false);
        };
        let holder = read_small(&**self.to, &level.stored.keys().claim(), MAX_CLAIM_BYTES)?;
        Ok(holder.as_deref() == Some(manifest.run.as_bytes()))
    }

    /// Writes what is missing, the documents last. Answers the bytes that needn't be sent again.
    fn write(&self, level: &Level, missing: &[Object], is_present: bool) -> Result<u64, AgentError> {
        let journal = self.journal(level)?;
        let target: Arc<dyn Store> = match &journal {
            Some(journal) => Arc::clone(journal) as Arc<dyn Store>,
            None => Arc::clone(self.to),
        };
        if let Some(manifest) = level.manifest().filter(|_| !is_present) {
            self.claim(level, &manifest.run)?;
        }
        if journal.is_none() {
            abort_uploads(&**self.to, &level.stored.keys());
        }
        let mut written = self.objects_to(&target, level, missing);
        if let (Err(_), Some(journal)) = (&written, &journal)
            && journal.is_stale()
        {
            // What an earlier copy sent is of no use: once more without it.
            journal.keep(false);
            journal.abort_all();
            journal.renew();
            journal.begin_run(&head_of(level));
            written = self.objects_to(&target, level, missing);
        }
        written?;
        self.documents(level)?;
        journal.iter().for_each(|journal| journal.close());
        Ok(journal.map_or(0, |journal| journal.reused_bytes()))
    }

    /// The journal of this copy; one that speaks of it is gone on with.
    fn journal(&self, level: &Level) -> Result<Option<Arc<JournalStore>>, AgentError> {
        let Some(options) = self
            .options
            .journal
            .as_ref()
            .filter(|_| level.manifest().is_some())
        else {
            return Ok(None);
        };
        let Some(journal) = journaled(self.to, options, &format!("copy of {}", level.stored.name)) else {
            return Ok(None);
        };
        let head = head_of(level);
        if journal.interrupted().as_ref() == Some(&head) {
            journal.continue_run(&level.stored.keys().data())?;
        } else {
            journal.abort_all();
            abort_uploads(&**self.to, &level.stored.keys());
            journal.begin_run(&head);
        }
        journal.keep(true);
        Ok(Some(journal))
    }

    fn claim(&self, level: &Level, run: &str) -> Result<(), AgentError> {
        let key = level.stored.keys().claim();
        match self
            .to
            .put(&key, Arc::new(run.as_bytes().to_vec()), Existing::Refuse)
        {
            Err(error) if error.kind == ErrorKind::Unsupported => Ok(()),
            Err(error) if error.kind != ErrorKind::AlreadyExists && !error.kind.is_retryable() => {
                Err(error.into())
            }
            put => match read_small(&**self.to, &key, MAX_CLAIM_BYTES)? {
                Some(holder) if holder == run.as_bytes() => Ok(()),
                Some(_) => Err(AgentError::Taken {
                    backup: level.stored.label(),
                }),
                None => Ok(put?),
            },
        }
    }

    fn objects_to(
        &self,
        target: &Arc<dyn Store>,
        level: &Level,
        missing: &[Object],
    ) -> Result<(), AgentError> {
        for object in missing {
            // A remnant of another size; nothing shows it.
            if self.to.stat(&object.key)?.is_some() && level.stored.place != Place::Old {
                self.to.remove(std::slice::from_ref(&object.key))?;
            }
            let reader = self.from.read(&object.key, 0, Some(object.bytes))?;
            let job = TransferJob {
                store: &**target,
                key: &object.key,
                bytes: object.bytes,
                announced: object.announced,
                segment_bytes: object.segment_bytes,
                memory_bytes: self.options.memory_bytes,
                context: self.context,
            };
            transfer(reader, &job).map_err(|error| self.failed(level, &object.key, error))?;
        }
        Ok(())
    }

    fn failed(&self, level: &Level, key: &str, error: TransferError) -> AgentError {
        match error {
            TransferError::Read(error) => read_error(&**self.from, key, &error).into(),
            TransferError::Differs(reason) => damaged(&level.stored, key, &reason),
            TransferError::Write(BackupError::Store(error)) => error.into(),
            TransferError::Write(source) => AgentError::Backup {
                backup: level.stored.label(),
                source,
            },
        }
    }

    /// The documents as they are, `metadata` last.
    fn documents(&self, level: &Level) -> Result<(), AgentError> {
        if level.stored.place == Place::Old {
            return Ok(());
        }
        self.context.cancel.check()?;
        let _whole = self.context.cancel.mask();
        let (keys, label) = (level.stored.keys(), level.stored.label());
        let manifest = level.manifest().map(|_| (keys.manifest(), MAX_MANIFEST_BYTES));
        let metadata = (keys.metadata(), MAX_METADATA_BYTES);
        for (key, cap) in manifest.into_iter().chain([metadata]) {
            let bytes = read_small(&**self.from, &key, cap)?;
            let bytes = bytes.ok_or_else(|| damaged(&level.stored, &key, "is missing"))?;
            put_once(&**self.to, &key, bytes, &label)?;
        }
        Ok(())
    }
}

/// A copy as its journal knows it: the run that made the backup, and its manifest.
fn head_of(level: &Level) -> RunHead {
    RunHead {
        run: level
            .manifest()
            .map_or_else(String::new, |manifest| manifest.run.clone()),
        engine: level.manifest().map_or(Engine::Tar, |manifest| manifest.engine),
        name: level.stored.name.to_string(),
        id: level.stored.id,
        parent: None,
        key: None,
        salt: String::new(),
        fingerprint: level.line_sha256().map_or_else(String::new, hex::encode),
    }
}
