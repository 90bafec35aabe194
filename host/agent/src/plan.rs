//! The level decision: what the next backup is made against, when, and under which key.
//!
//! The rules about numbers and days are `freezer_format::level`'s. Here the chain is looked at: is it complete,
//! authentic, encoded as now asked? Whatever speaks against continuing makes a level 0 with the reason said;
//! only a failing storage, a missing pass phrase and the user end the run.

use std::sync::Arc;

use freezer_format::chain::Chain;
use freezer_format::chain_key::{ChainKey, KeyInfo, WRAP_ITERATIONS};
use freezer_format::index::LevelRow;
use freezer_format::layout::Engine;
use freezer_format::level::{FullReason, NextLevel, next_level};
use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest, PreviousLink, StreamKdf};
use freezer_format::name::{Level as LevelNumber, LevelId, Timestamp};
use freezer_pipeline::object::StoredIndex;
use freezer_pipeline::store::{Store, StoreError};
use freezer_pipeline::{Parent, RunContext};

use crate::backup::BackupOptions;
use crate::catalogue::{NamedChains, Place, chains_of};
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::objects::read_small;
use crate::select::{ancestry, forget, is_committed};

/// The manifest's option that holds the host name: the stored name doesn't tell where it ends.
pub(crate) const HOST_OPTION: &str = "hostname";

/// Below this sum a chain is never ended for its increments' size: with a small tree they outgrow level 0 by their
/// bookkeeping alone, and nothing is gained.
const OUTGROWN_FROM_BYTES: u64 = 64 << 20;

/// What will be written.
pub(crate) struct Plan {
    /// Its place in the chain.
    pub(crate) id: LevelId,
    /// Levels 0 to the parent; empty at level 0.
    pub(crate) ancestors: Vec<Level>,
    /// The parent's index, if it has one.
    pub(crate) parent_index: Option<StoredIndex>,
    /// Why a chain is begun.
    pub(crate) reason: Option<FullReason>,
    /// The newest backup of the name.
    pub(crate) previous: Option<PreviousLink>,
    /// The chain key and its wrapping, with a pass phrase.
    pub(crate) key: Option<(ChainKey, KeyInfo)>,
}

impl Plan {
    /// The parent level.
    pub(crate) fn parent(&self) -> Option<&Level> {
        self.ancestors.last()
    }

    /// The index's table of levels: the ancestors, then this level with zeros for its manifest.
    pub(crate) fn level_rows(&self, options: &BackupOptions) -> Vec<LevelRow> {
        let ancestor = |level: &Level| {
            let compression = level.compression().unwrap_or(options.compression);
            LevelRow {
                level: level.stored.id.level.0,
                time: level.stored.id.time,
                manifest_sha256: level.line_sha256().unwrap_or([0; 32]),
                frame_size: level
                    .manifest()
                    .map_or(compression.frame_bytes(), |manifest| manifest.frame),
                compression,
            }
        };
        let own = LevelRow {
            level: self.id.level.0,
            time: self.id.time,
            manifest_sha256: [0; 32],
            frame_size: options.compression.frame_bytes(),
            compression: options.compression,
        };
        self.ancestors.iter().map(ancestor).chain([own]).collect()
    }

    /// Takes out the state that the level is compared with.
    pub(crate) fn take_parent_state(&mut self, store: &dyn Store) -> Result<Parent, StoreError> {
        match (self.parent_index.take(), self.parent()) {
            (Some(index), _) => Ok(Parent::Index(Box::new(index))),
            (None, Some(parent)) => Ok(Parent::Snar(store.read(
                &parent.stored.keys().engine_metadata(),
                0,
                None,
            )?)),
            (None, None) => Ok(Parent::None),
        }
    }

    /// Moves the backup to a later second, because this one is taken.
    pub(crate) fn move_to(&mut self, time: Timestamp) {
        self.id.time = time;
        if self.id.level.0 == 0 {
            self.id.zero = time;
        }
    }
}

/// Decides.
pub(crate) fn decide(
    store: &Arc<dyn Store>,
    options: &BackupOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<Plan, AgentError> {
    let mut found = chains_of(&**store, &options.name, Place::New(Engine::Tar))?;
    let newest_time = found
        .chains
        .iter()
        .flat_map(|chain| &chain.levels)
        .map(|id| id.time)
        .max();
    drop_uncommitted_tips(&**store, &mut found)?;
    let now = Timestamp((context.now)().seconds);
    let time = newest_time.map_or(now, |newest| now.max(Timestamp(newest.0.saturating_add(1))));
    let full = LevelId {
        zero: time,
        level: LevelNumber(0),
        time,
    };
    let mut plan = Plan {
        id: full,
        ancestors: Vec::new(),
        parent_index: None,
        reason: None,
        previous: None,
        key: None,
    };
    match next_level(&options.policy, found.chains.last(), now) {
        NextLevel::Full(reason) => plan.reason = Some(reason),
        NextLevel::Increment { level, parent, zero } => {
            match open_parent(store, &found, parent, options, keyring)? {
                Ok((ancestors, index)) => {
                    plan.id = LevelId { zero, level, time };
                    plan.ancestors = ancestors;
                    plan.parent_index = index;
                }
                Err(reason) => plan.reason = Some(reason),
            }
        }
    }
    let newest = newest(&found.chains);
    plan.previous = newest.map(|id| previous_link(&**store, &found, id)).transpose()?;
    if keyring.passphrase().is_some() {
        plan.key = Some(chain_key(&**store, &found, &plan, options, keyring, context)?);
    }
    Ok(plan)
}

fn newest(chains: &[Chain]) -> Option<LevelId> {
    chains
        .iter()
        .filter_map(Chain::tip)
        .max_by_key(|id| (id.time, id.level))
}

/// A killed run may leave a level folder without its commit point; it isn't a backup to continue.
fn drop_uncommitted_tips(store: &dyn Store, found: &mut NamedChains) -> Result<(), AgentError> {
    while let Some(tip) = found.chains.last().and_then(Chain::tip) {
        if is_committed(store, &found.level(tip))? {
            break;
        }
        forget(&mut found.chains, tip);
    }
    Ok(())
}

type Opened = (Vec<Level>, Option<StoredIndex>);

/// Opens the chain below the new level, or says why a new one must begin.
fn open_parent(
    store: &Arc<dyn Store>,
    found: &NamedChains,
    parent: LevelId,
    options: &BackupOptions,
    keyring: &Keyring,
) -> Result<Result<Opened, FullReason>, AgentError> {
    let levels = match ancestry(&**store, found, parent, (keyring, Strictness::Enforce)) {
        Ok(levels) => levels,
        Err(AgentError::NoPassphrase { backup }) => return Err(forgotten_passphrase(&backup)),
        Err(error) => return unusable(error),
    };
    let Some(parent) = levels.last() else {
        return Ok(Err(FullReason::FirstBackup));
    };
    if let Some(option) = changed_option(parent, options, keyring) {
        return Ok(Err(FullReason::OptionChanged(option)));
    }
    if has_outgrown(&levels, options) {
        return Ok(Err(FullReason::IncrementsOutgrewFull));
    }
    if parent.manifest().is_none() {
        let key = parent.stored.keys().engine_metadata();
        if store.stat(&key)?.is_none() {
            return Ok(Err(FullReason::ParentUnusable(
                "its snapshot file is missing".to_owned(),
            )));
        }
        return Ok(Ok((levels, None)));
    }
    match parent.index(store) {
        Ok(index) => Ok(Ok((levels, index))),
        Err(error) => unusable(error),
    }
}

/// Tells damage, which a new chain cures, from failures that it doesn't.
fn unusable(error: AgentError) -> Result<Result<Opened, FullReason>, AgentError> {
    match error {
        AgentError::Damaged { .. }
        | AgentError::Unauthenticated { .. }
        | AgentError::Key { .. }
        | AgentError::Select { .. } => Ok(Err(FullReason::ParentUnusable(chain_text(&error)))),
        other => Err(other),
    }
}

/// Going on in clear text because an option was forgotten would be a silent loss of secrecy.
fn forgotten_passphrase(backup: &str) -> AgentError {
    AgentError::Unsupported {
        reason: format!("{backup} is encrypted, and no pass phrase is given to continue it"),
        next: "give --encrypt-pass-file FILE, or begin a chain that is not encrypted with --full".to_owned(),
    }
}

/// The option, in words, that a chain can't change and that was changed.
fn changed_option(parent: &Level, options: &BackupOptions, keyring: &Keyring) -> Option<String> {
    let encrypted = keyring.passphrase().is_some();
    let compression = parent.compression();
    let Some(manifest) = parent.manifest() else {
        let was_encrypted = parent
            .metadata
            .as_ref()
            .is_some_and(|metadata| metadata.encryption);
        return (was_encrypted != encrypted)
            .then(|| "encryption".to_owned())
            .or_else(|| (compression != Some(options.compression)).then(|| "the compression".to_owned()));
    };
    let kdf = manifest.encryption.as_ref().map(|encryption| encryption.kdf);
    let wanted = encrypted.then(|| options.stream_kdf());
    if kdf.is_some() != encrypted {
        Some("encryption".to_owned())
    } else if kdf != wanted {
        Some("the key derivation (--compat)".to_owned())
    } else if compression != Some(options.compression) || manifest.frame != options.compression.frame_bytes()
    {
        Some("the compression".to_owned())
    } else if manifest.mode != options.mode {
        Some("the mode".to_owned())
    } else {
        None
    }
}

/// True if the increments store more than level 0; never asked for chains that the user bounds alone.
fn has_outgrown(levels: &[Level], options: &BackupOptions) -> bool {
    if options.policy.chain_levels.is_none() && options.policy.chain_days.is_none() {
        return false;
    }
    let stored = |level: &Level| level.manifest().map_or(0, |manifest| manifest.data.bytes);
    let increments = levels.iter().skip(1).map(stored).fold(0, u64::saturating_add);
    let full = levels.first().map_or(0, stored);
    full > 0 && increments > full && increments >= OUTGROWN_FROM_BYTES
}

fn previous_link(store: &dyn Store, found: &NamedChains, id: LevelId) -> Result<PreviousLink, AgentError> {
    let key = found.level(id).keys().manifest();
    let bytes = read_small(store, &key, MAX_MANIFEST_BYTES)?;
    let manifest = bytes
        .and_then(|bytes| Manifest::peek(&bytes).ok())
        .map(|peeked| peeked.line_sha256);
    Ok(PreviousLink {
        zero: id.zero,
        level: id.level,
        time: id.time,
        manifest,
    })
}

/// The parent's key; for a new chain the newest chain's, if the pass phrase opens it; else a new one.
fn chain_key(
    store: &dyn Store,
    found: &NamedChains,
    plan: &Plan,
    options: &BackupOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<(ChainKey, KeyInfo), AgentError> {
    let of_parent = plan
        .parent()
        .and_then(|parent| Some((parent.key.clone()?, parent.manifest()?.key.clone()?)));
    if let Some(pair) = of_parent {
        return Ok(pair);
    }
    if let Some(id) = newest(&found.chains) {
        let bytes = read_small(store, &found.level(id).keys().manifest(), MAX_MANIFEST_BYTES)?;
        let info = bytes
            .and_then(|bytes| Manifest::peek(&bytes).ok())
            .and_then(|peeked| peeked.key);
        if let Some(info) = info
            && let Some(Ok(key)) = keyring.open(&info)
        {
            return Ok((key, info));
        }
    }
    let (mut random, mut salt) = ([0; 32], [0; 8]);
    (context.random)(&mut random);
    (context.random)(&mut salt);
    let key = ChainKey::new(random);
    let passphrase = keyring
        .passphrase()
        .ok_or_else(|| forgotten_passphrase(options.name.as_str()))?;
    let info = key.wrap(
        passphrase,
        salt,
        options.wrap_iterations.unwrap_or(WRAP_ITERATIONS),
    );
    Ok((key, info))
}

impl BackupOptions {
    /// Where the stream's key comes from.
    pub(crate) fn stream_kdf(&self) -> StreamKdf {
        if self.compat {
            StreamKdf::BytesToKeySha256
        } else {
            StreamKdf::Pbkdf2Sha256
        }
    }
}
