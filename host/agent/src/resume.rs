//! Going on with an interrupted backup: what the storages hold of it is used where the source still gives the same bytes.
//!
//! The same tree gives the same stream if level, parent, key, salt and options are the same: a journal holds them, and
//! a run that finds them unchanged takes them over. Whatever differs makes a new backup; what the old run left is
//! taken away then.

mod journal;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use freezer_format::chain_key::{ChainKey, KeyInfo};
use freezer_format::layout::{BackupKeys, Engine};
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::{Limits, Store, StoreError};
use sha2::{Digest, Sha256};

use crate::backup::BackupOptions;
use crate::catalogue::label;
use crate::commit;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::objects::read_small;
use crate::plan::Plan;
use crate::several::Sites;

pub(crate) use journal::{Journal, RunHead};
pub(crate) use store::JournalStore;

/// Where unfinished backups are written down.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// A directory of this user alone; made if absent.
    pub directory: PathBuf,
    /// What tells this boot of the machine from others; empty if unknown.
    pub boot: String,
}

/// Puts a journal before a storage, if it can be had.
pub(crate) fn journaled(
    store: &Arc<dyn Store>,
    options: &JournalOptions,
    name: &str,
) -> Option<Arc<JournalStore>> {
    let opened = Journal::open(&options.directory, store.url(), name);
    let made = opened.and_then(|journal| {
        let make = |journal| JournalStore::new(Arc::clone(store), journal, &options.boot);
        journal.map(make).transpose()
    });
    match made {
        Ok(Some(journal)) => Some(Arc::new(journal)),
        Ok(None) => {
            tracing::debug!("another run of this backup has the journal");
            None
        }
        Err(error) => {
            tracing::warn!(
                "can't use the journal in {}, so this run can't be resumed: {error}",
                options.directory.display()
            );
            None
        }
    }
}

/// What makes the bytes of a run what they are.
pub(crate) struct RunIdentity {
    /// 16 hex digits.
    pub(crate) run: String,
    /// The data object's salt.
    pub(crate) salt: [u8; 8],
}

impl RunIdentity {
    /// One that never was.
    pub(crate) fn new(random: &(dyn Fn(&mut [u8]) + Sync)) -> Self {
        let (mut run, mut salt) = ([0; 8], [0; 8]);
        random(&mut run);
        random(&mut salt);
        Self {
            run: hex::encode(run),
            salt,
        }
    }

    fn head(&self, plan: &Plan, (options, limits): (&BackupOptions, &Limits)) -> RunHead {
        RunHead {
            run: self.run.clone(),
            engine: plan.engine,
            name: options.name.to_string(),
            id: plan.id,
            parent: parent_digest(plan),
            key: plan.key.as_ref().map(|(_, info)| info.clone()),
            salt: hex::encode(self.salt),
            fingerprint: fingerprint(options, limits),
        }
    }
}

fn parent_digest(plan: &Plan) -> Option<String> {
    plan.parent()
        .and_then(|parent| parent.line_sha256())
        .map(hex::encode)
}

/// A digest of all options that shape the stream, and of the program that makes it.
fn fingerprint(options: &BackupOptions, limits: &Limits) -> String {
    let shape = serde_json::json!({
        "tool": options.tool,
        "mode": options.mode,
        "path": options.path,
        "gitignore": options.excludes.gitignore,
        "tar": options.excludes.tar,
        "caches": options.excludes.caches,
        "one-file-system": options.one_file_system,
        "dereference": format!("{:?}", options.dereference),
        "compression": options.compression.name(),
        "compression-level": options.compression_level,
        "compat": options.compat,
        "segment": options.segment_bytes.min(limits.max_segment_bytes).max(limits.min_segment_bytes),
    });
    hex::encode(Sha256::digest(shape.to_string()))
}

/// The interrupted run that the storages' journals tell of: of several the newest.
fn interrupted(sites: &Sites) -> Option<RunHead> {
    let heads = sites
        .live()
        .into_iter()
        .filter_map(|(_, site)| site.journal.as_ref()?.interrupted());
    heads.max_by_key(|head| (head.id.time, head.id.level))
}

/// True if an interrupted run had begun to write its documents somewhere.
fn may_be_complete(sites: &Sites) -> bool {
    let live = sites.live().into_iter();
    let mut journals = live.filter_map(|(_, site)| site.journal.as_ref());
    journals.any(|journal| journal.may_be_complete())
}

/// Why a run can't be continued; `None` if it can.
fn obstacle(
    head: &RunHead,
    plan: &Plan,
    (options, limits): (&BackupOptions, &Limits),
) -> Option<&'static str> {
    if head.name != options.name.as_str() {
        Some("it is another one's")
    } else if head.engine != Engine::Tar || plan.engine != Engine::Tar {
        Some("a stream doesn't come twice")
    } else if head.id.level != plan.id.level || head.parent != parent_digest(plan) {
        Some("it was made against another backup than this one must be")
    } else if head.id.level.0 > 0 && head.id.zero != plan.id.zero {
        Some("it belongs to another chain")
    } else if plan.newest_time.is_some_and(|newest| head.id.time <= newest) {
        Some("a newer backup was made since")
    } else if head.fingerprint != fingerprint(options, limits) {
        Some("options or version are others now")
    } else if head.key.is_some() != plan.key.is_some() {
        Some("encryption changed since")
    } else {
        None
    }
}

/// The chain key of an interrupted run.
fn key_of(head: &RunHead, keyring: &Keyring) -> Result<Option<(ChainKey, KeyInfo)>, &'static str> {
    let Some(info) = &head.key else { return Ok(None) };
    match keyring.open(info) {
        Some(Ok(key)) => Ok(Some((key, info.clone()))),
        _ => Err("the password is another one now"),
    }
}

/// Which run this is, and what the user should know about that.
pub(crate) struct Chosen {
    pub(crate) identity: RunIdentity,
    pub(crate) notes: Vec<String>,
}

/// Chooses the interrupted run if that is wanted and possible, changing the plan to it; else a new one.
pub(crate) fn choose(
    sites: &Sites,
    plan: &mut Plan,
    kind: (&BackupOptions, &Limits),
    (keyring, continues): (&Keyring, bool),
    random: &(dyn Fn(&mut [u8]) + Sync),
) -> Chosen {
    let options = kind.0;
    let mut notes = Vec::new();
    let mut identity = None;
    match interrupted(sites) {
        Some(head) if continues && may_be_complete(sites) => notes.push(format!(
            "the interrupted backup {} may be complete, freezer list shows it then; a new one is begun",
            label(&options.name, head.id)
        )),
        Some(head) if continues => match take_over(&head, plan, kind, keyring) {
            Ok(taken) => identity = Some(taken),
            Err(why) => notes.push(format!(
                "the interrupted backup {} can't be continued: {why}; a new one is begun",
                label(&options.name, head.id)
            )),
        },
        None if continues => {
            notes.push("no interrupted backup is left to continue: a new one is begun".to_owned())
        }
        _ => {}
    }
    Chosen {
        identity: identity.unwrap_or_else(|| RunIdentity::new(random)),
        notes,
    }
}

/// Begins the journals of a run whose place is claimed, or goes on with them. What other runs left is taken away.
///
/// # Errors
/// Every storage fails, or one that ends the run.
pub(crate) fn begin(
    sites: &Sites,
    plan: &Plan,
    identity: &RunIdentity,
    (options, limits): (&BackupOptions, &Limits),
    cancel: &Cancel,
) -> Result<Vec<String>, AgentError> {
    let own = identity.head(plan, (options, limits));
    let mut notes = Vec::new();
    for (number, site) in sites.live() {
        let Some(journal) = &site.journal else { continue };
        let begun = match journal.interrupted() {
            Some(head) if head.run == own.run && head.id == own.id => {
                continue_at(journal, plan, options, &mut notes)
            }
            Some(head) => {
                discard(&*site.store, journal, &head, options, cancel);
                journal.begin_run(&own);
                Ok(())
            }
            None => {
                journal.begin_run(&own);
                Ok(())
            }
        };
        sites.settle(number, begun.map_err(AgentError::from))?;
        journal.keep(options.resume && plan.engine == Engine::Tar);
    }
    Ok(notes)
}

fn continue_at(
    journal: &JournalStore,
    plan: &Plan,
    options: &BackupOptions,
    notes: &mut Vec<String>,
) -> Result<(), StoreError> {
    let keys = BackupKeys::new(plan.engine, &options.name, plan.id);
    // What became visible beside the data is written anew: the place is this run's by its claim.
    journal.remove(&[keys.index(), keys.engine_metadata()])?;
    if journal.continue_run(&keys.data())? == 0 {
        notes.push(format!(
            "{} holds nothing any more of the interrupted backup: all of it is sent again",
            journal.url()
        ));
    }
    Ok(())
}

/// Makes the plan that of the interrupted run, or says why it can't be.
fn take_over(
    head: &RunHead,
    plan: &mut Plan,
    kind: (&BackupOptions, &Limits),
    keyring: &Keyring,
) -> Result<RunIdentity, &'static str> {
    if let Some(why) = obstacle(head, plan, kind) {
        return Err(why);
    }
    let key = key_of(head, keyring)?;
    let mut salt = [0; 8];
    hex::decode_to_slice(&head.salt, &mut salt).map_err(|_| "its journal is damaged")?;
    plan.id = head.id;
    plan.key = key;
    Ok(RunIdentity {
        run: head.run.clone(),
        salt,
    })
}

/// Takes away what an interrupted run left that isn't continued, if it can't be a backup and is that run's for sure.
/// What must stay is named by `check`.
fn discard(
    store: &dyn Store,
    journal: &JournalStore,
    head: &RunHead,
    options: &BackupOptions,
    cancel: &Cancel,
) {
    let keys = BackupKeys::new(head.engine, &options.name, head.id);
    let is_ours = head.name == options.name.as_str()
        && matches!(read_small(store, &keys.claim(), commit::MAX_CLAIM_BYTES), Ok(Some(holder)) if holder == head.run.as_bytes())
        && matches!(store.stat(&keys.metadata()), Ok(None));
    if !is_ours || journal.may_be_complete() {
        return;
    }
    journal.abort_all();
    if let Err((remaining, error)) = commit::clean_up(store, &keys, (&head.run, cancel)) {
        tracing::debug!(%error, ?remaining, "can't take away what an interrupted run left");
    }
}

/// Bytes that didn't have to be sent again, of all storages together.
pub(crate) fn reused(sites: &Sites) -> u64 {
    let live = sites.live().into_iter();
    live.filter_map(|(_, site)| site.journal.as_ref())
        .fold(0, |sum, journal| sum.saturating_add(journal.reused_bytes()))
}
