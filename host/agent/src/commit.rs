//! The claim before the first byte, the documents after the last one, and the cleaning up in between.
//!
//! A claim names the run that writes a level; a taken second gives way to the next. The manifest is written when
//! all it speaks of is durable, `metadata` last, and never over something that is there. A failed run takes away
//! what it wrote, `metadata` first, so that at no moment something looks like a backup that isn't one.
//!
//! All of this holds the cancel token's mask: a claim or a commit cut short would leave its fate unknown, and a run
//! is often cleaned up because it was cancelled.

use std::sync::Arc;

use freezer_format::layout::BackupKeys;
use freezer_format::manifest::Manifest;
use freezer_format::metadata::{MAX_METADATA_BYTES, Metadata};
use freezer_format::name::{HostBackupName, Timestamp};
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::{ErrorKind, Existing, Store, StoreError};
use sha2::{Digest, Sha256};

use crate::catalogue::{label, pending_all};
use crate::error::AgentError;
use crate::objects::read_small;
use crate::plan::Plan;
use crate::several::{self, Site, Sites};

/// So many seconds in a row can't all be taken by honest runs.
const CLAIM_TRIES: u32 = 60;

/// A claim holds 16 hex digits.
pub(crate) const MAX_CLAIM_BYTES: usize = 64;

/// What came of a claim in one storage.
enum Claimed {
    Ours,
    Taken,
}

/// Claims the level's place in every storage, moving the plan to a later second while one has it taken.
pub(crate) fn claim(
    sites: &Sites,
    name: &HostBackupName,
    plan: &mut Plan,
    (run, cancel): (&str, &Cancel),
) -> Result<BackupKeys, AgentError> {
    for _ in 0..CLAIM_TRIES {
        cancel.check()?;
        let _whole = cancel.mask();
        let keys = BackupKeys::new(plan.engine, name, plan.id);
        match claim_everywhere(sites, &keys, run, &label(name, plan.id)) {
            Ok(Claimed::Ours) => return Ok(keys),
            Ok(Claimed::Taken) if is_continued_anywhere(sites, run) => {
                give_back(sites, &keys, run);
                return Err(outrun(sites, label(name, plan.id)));
            }
            Ok(Claimed::Taken) => give_back(sites, &keys, run),
            Err(error) => {
                give_back(sites, &keys, run);
                return Err(error);
            }
        }
        plan.move_to(Timestamp(plan.id.time.0.saturating_add(1)));
    }
    Err(AgentError::Taken {
        backup: label(name, plan.id),
    })
}

fn claim_everywhere(
    sites: &Sites,
    keys: &BackupKeys,
    run: &str,
    backup: &str,
) -> Result<Claimed, AgentError> {
    for (number, site) in sites.live() {
        if let Some(Claimed::Taken) = sites.settle(number, claim_one(site, keys, run, backup))? {
            return Ok(Claimed::Taken);
        }
    }
    Ok(Claimed::Ours)
}

fn claim_one(site: &Site, keys: &BackupKeys, run: &str, backup: &str) -> Result<Claimed, AgentError> {
    let (store, key) = (&*site.target, keys.claim());
    let is_continued = is_continued(site, run);
    match store.put(&key, Arc::new(run.as_bytes().to_vec()), Existing::Refuse) {
        // A storage that can't refuse leaves it to the commit to notice another run.
        Err(error) if error.kind == ErrorKind::Unsupported => Ok(Claimed::Ours),
        // The answer may be lost though the claim is ours: what stands there decides.
        Err(error) if !matches!(error.kind, ErrorKind::AlreadyExists) && !error.kind.is_retryable() => {
            Err(error.into())
        }
        put => match read_small(store, &key, MAX_CLAIM_BYTES)? {
            Some(holder) if holder == run.as_bytes() => match put {
                // Nobody but this run has its name: the place is another storage's of this run under another URL.
                Err(error) if error.kind == ErrorKind::AlreadyExists && !is_continued => {
                    Err(several::twice(&site.url))
                }
                _ => Ok(Claimed::Ours),
            },
            Some(_) => Ok(Claimed::Taken),
            None => {
                put?;
                Err(AgentError::Taken {
                    backup: backup.to_owned(),
                })
            }
        },
    }
}

/// True if the storage's journal tells of an interrupted run that this one goes on with.
fn is_continued(site: &Site, run: &str) -> bool {
    let interrupted = site.journal.as_ref().and_then(|journal| journal.interrupted());
    interrupted.is_some_and(|head| head.run == run)
}

fn is_continued_anywhere(sites: &Sites, run: &str) -> bool {
    sites.all().any(|(_, site)| is_continued(site, run))
}

/// The place of what is continued belongs to another run in one of the storages: its bytes fit no other place.
fn outrun(sites: &Sites, backup: String) -> AgentError {
    let journals = sites.all().filter_map(|(_, site)| site.journal.as_ref());
    journals.for_each(|journal| journal.is_outrun());
    AgentError::Taken { backup }
}

/// Gives back the claims that were made for a place which isn't taken after all. Where an interrupted run made one, it
/// stays: it shows whose the data beside it is.
fn give_back(sites: &Sites, keys: &BackupKeys, run: &str) {
    let key = keys.claim();
    for (_, site) in sites.all().filter(|(_, site)| !is_continued(site, run)) {
        let given = match read_small(&*site.target, &key, MAX_CLAIM_BYTES) {
            Ok(Some(holder)) if holder == run.as_bytes() => site.target.remove(std::slice::from_ref(&key)),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = given {
            tracing::debug!(%error, key, "can't give back a claim");
        }
    }
}

/// Writes manifest and `metadata` to every storage that takes part. On success the backup exists in those that are
/// still live: one that fails here lacks it.
pub(crate) fn write_documents(
    sites: &Sites,
    keys: &BackupKeys,
    (sealed, manifest): (Vec<u8>, &Manifest),
    cancel: &Cancel,
) -> Result<(), AgentError> {
    // The last moment at which the user can stop it.
    cancel.check()?;
    let _whole = cancel.mask();
    let metadata = metadata_of(&sealed, manifest).to_bytes();
    let label = label(&manifest.name, manifest.id());
    // All manifests before the first commit point: whatever the first round finds wrong leaves nothing visible.
    for (number, site) in sites.live() {
        let put = put_once(&*site.target, &keys.manifest(), sealed.clone(), &label);
        sites.settle(number, put.map_err(uncommitted))?;
    }
    for (number, site) in sites.live() {
        let put = put_once(&*site.target, &keys.metadata(), metadata.clone(), &label);
        sites.settle(number, put)?;
    }
    Ok(())
}

/// Before the commit point is written, an unknown fate is a failure like any other: there is no backup yet.
fn uncommitted(error: AgentError) -> AgentError {
    match error {
        AgentError::CommitUnknown { source, .. } => source.into(),
        other => other,
    }
}

fn metadata_of(sealed: &[u8], manifest: &Manifest) -> Metadata {
    let line_end = sealed
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(sealed.len(), |place| place + 1);
    Metadata {
        engine_name: manifest.engine.dir().to_owned(),
        compression: Some(manifest.compression.name().to_owned()),
        encryption: manifest.encryption.is_some(),
        rsync_block_size: None,
        manifest_sha256: Some(Sha256::digest(&sealed[..line_end]).into()),
        key: manifest.key.clone(),
    }
}

/// Puts an object that isn't there yet, and reads it back: another run's object is never taken for ours, and a lost
/// answer is told from a lost object.
pub(crate) fn put_once(
    store: &dyn Store,
    key: &str,
    content: Vec<u8>,
    backup: &str,
) -> Result<(), AgentError> {
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
        // It may still be under way: what it speaks of must not be taken away.
        (Err(source), Ok(None)) if source.kind == ErrorKind::Unavailable => Err(AgentError::CommitUnknown {
            backup: backup.to_owned(),
            source,
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
        cause: None,
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
pub(crate) fn abort_uploads(store: &dyn Store, keys: &BackupKeys) {
    for directory in [keys.data_directory(), keys.metadata_directory()] {
        let Ok(uploads) = pending_all(store, &format!("{directory}/")) else {
            continue;
        };
        for upload in uploads {
            if let Err(error) = store.abort(&upload.upload) {
                tracing::debug!("can't abort an upload of {:?}: {error}", upload.key);
            }
        }
    }
}

/// The level's name and the storage for the message about what may remain.
pub(crate) fn remains_message(backup: &str, keys: &[String], error: &StoreError) -> String {
    format!(
        "could not take away what was written for {backup} ({error}); these objects may remain and are no backup: {}",
        keys.join(", ")
    )
}
