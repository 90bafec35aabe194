//! The claim before the first byte, the documents after the last one, and the cleaning up in between.
//!
//! A claim names the run that writes a level; a taken second gives way to the next. The manifest is written when
//! all it speaks of is durable, `metadata` last, and never over something that is there. A failed run takes away
//! what it wrote, `metadata` first, so that at no moment something looks like a backup that isn't one.
//!
//! All of this holds the cancel token's mask: a claim or a commit cut short would leave its fate unknown, and a run
//! is often cleaned up because it was cancelled.

use std::sync::Arc;

use freezer_format::layout::{BackupKeys, Engine};
use freezer_format::manifest::Manifest;
use freezer_format::metadata::{MAX_METADATA_BYTES, Metadata};
use freezer_format::name::{HostBackupName, LevelId, Timestamp};
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::{ErrorKind, Existing, Store, StoreError};
use sha2::{Digest, Sha256};

use crate::catalogue::label;
use crate::error::AgentError;
use crate::objects::read_small;
use crate::plan::Plan;

/// So many seconds in a row can't all be taken by honest runs.
const CLAIM_TRIES: u32 = 60;

/// A claim holds 16 hex digits.
const MAX_CLAIM_BYTES: usize = 64;

/// Claims the level's place, moving the plan to a later second while places are taken.
pub(crate) fn claim(
    store: &dyn Store,
    name: &HostBackupName,
    plan: &mut Plan,
    (run, cancel): (&str, &Cancel),
) -> Result<BackupKeys, AgentError> {
    for _ in 0..CLAIM_TRIES {
        cancel.check()?;
        let _whole = cancel.mask();
        let keys = BackupKeys::new(Engine::Tar, name, plan.id);
        let key = keys.claim();
        match store.put(&key, Arc::new(run.as_bytes().to_vec()), Existing::Refuse) {
            // A storage that can't refuse leaves it to the commit to notice another run.
            Err(error) if error.kind == ErrorKind::Unsupported => return Ok(keys),
            // The answer may be lost though the claim is ours: what stands there decides.
            Err(error) if !matches!(error.kind, ErrorKind::AlreadyExists) && !error.kind.is_retryable() => {
                return Err(error.into());
            }
            put => match read_small(store, &key, MAX_CLAIM_BYTES)? {
                Some(holder) if holder == run.as_bytes() => return Ok(keys),
                Some(_) => plan.move_to(Timestamp(plan.id.time.0.saturating_add(1))),
                None => {
                    put?;
                    return Err(AgentError::Taken {
                        backup: label(name, plan.id),
                    });
                }
            },
        }
    }
    Err(AgentError::Taken {
        backup: label(name, plan.id),
    })
}

/// Writes manifest and `metadata`. On success the backup exists.
pub(crate) fn write_documents(
    store: &dyn Store,
    keys: &BackupKeys,
    (sealed, manifest): (Vec<u8>, &Manifest),
    cancel: &Cancel,
) -> Result<(), AgentError> {
    // The last moment at which the user can stop it.
    cancel.check()?;
    let _whole = cancel.mask();
    let line_end = sealed
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(sealed.len(), |place| place + 1);
    let metadata = Metadata {
        engine_name: manifest.engine.dir().to_owned(),
        compression: Some(manifest.compression.name().to_owned()),
        encryption: manifest.encryption.is_some(),
        rsync_block_size: None,
        manifest_sha256: Some(Sha256::digest(&sealed[..line_end]).into()),
        key: manifest.key.clone(),
    };
    let label = label(&manifest.name, manifest.id());
    put_once(store, &keys.manifest(), sealed, &label)?;
    put_once(store, &keys.metadata(), metadata.to_bytes(), &label)
}

/// Puts an object that isn't there yet, and reads it back: another run's object is never taken for ours, and a lost
/// answer is told from a lost object.
fn put_once(store: &dyn Store, key: &str, content: Vec<u8>, backup: &str) -> Result<(), AgentError> {
    let content = Arc::new(content);
    let result = match store.put(key, Arc::clone(&content), Existing::Refuse) {
        Err(error) if error.kind == ErrorKind::Unsupported => put_if_absent(store, key, &content),
        result => result,
    };
    let cap = content.len().max(MAX_METADATA_BYTES);
    match (result, read_small(store, key, cap)) {
        (_, Ok(Some(stored))) if stored == *content => Ok(()),
        (_, Ok(Some(_))) => Err(AgentError::Taken {
            backup: backup.to_owned(),
        }),
        (Err(error), Ok(None)) => Err(error.into()),
        (Ok(()), Ok(None)) => Err(AgentError::CommitUnknown {
            backup: backup.to_owned(),
            source: lost(store, key),
        }),
        (_, Err(source)) => Err(AgentError::CommitUnknown {
            backup: backup.to_owned(),
            source,
        }),
    }
}

/// For storages that can't refuse to replace: a look before the write, the reading back after it.
fn put_if_absent(store: &dyn Store, key: &str, content: &Arc<Vec<u8>>) -> Result<(), StoreError> {
    if store.stat(key)?.is_some() {
        return Ok(());
    }
    store.put(key, Arc::clone(content), Existing::Replace)
}

fn lost(store: &dyn Store, key: &str) -> StoreError {
    StoreError {
        kind: ErrorKind::Unavailable,
        storage: store.url().to_owned(),
        operation: "read back",
        key: key.to_owned(),
        message: "it was written and can't be seen".to_owned(),
    }
}

/// Takes away what a failed run wrote. Answers the objects that may remain, with the reason.
///
/// `metadata` goes first and must be gone before anything it would promise is touched.
pub(crate) fn clean_up(
    store: &dyn Store,
    keys: &BackupKeys,
    (run, cancel): (&str, &Cancel),
) -> Result<(), (Vec<String>, StoreError)> {
    let _whole = cancel.mask();
    let all = [
        keys.metadata(),
        keys.manifest(),
        keys.index(),
        keys.engine_metadata(),
        keys.data(),
        keys.claim(),
    ];
    // Another run may have taken the place after us on a storage without claims.
    match read_small(store, &keys.claim(), MAX_CLAIM_BYTES) {
        Ok(Some(holder)) if holder != run.as_bytes() => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err((all.to_vec(), error)),
    }
    // The place is ours, so are the uploads below it: also one whose name was lost with the answer.
    abort_uploads(store, keys);
    for (place, key) in all.iter().enumerate() {
        if let Err(error) = store.remove(std::slice::from_ref(key)) {
            return Err((all[place..].to_vec(), error));
        }
    }
    Ok(())
}

/// Aborts unfinished uploads below the level's folders, as far as the storage knows them; `check` names the others.
fn abort_uploads(store: &dyn Store, keys: &BackupKeys) {
    for directory in [keys.data_directory(), keys.metadata_directory()] {
        let Ok(page) = store.pending(&format!("{directory}/"), None) else {
            continue;
        };
        for upload in page.uploads {
            if let Err(error) = store.abort(&upload.upload) {
                tracing::debug!("can't abort an upload of {:?}: {error}", upload.key);
            }
        }
    }
}

/// The level's folder and name for the message about what may remain.
pub(crate) fn remains_message(
    name: &HostBackupName,
    id: LevelId,
    keys: &[String],
    error: &StoreError,
) -> String {
    format!(
        "could not take away what was written for {} ({error}); these objects may remain and are no backup: {}",
        label(name, id),
        keys.join(", ")
    )
}
