//! The level decision: what the next backup is made against, when, and under which key.
//!
//! The rules about numbers and days are `freezer_format::level`'s. Here the chain is looked at: is it complete,
//! authentic, encoded as now asked? Whatever speaks against continuing makes a level 0 with the reason said;
//! only a failing storage, a missing password and the user end the run.

mod key;

use std::sync::Arc;

use freezer_format::chain::Chain;
use freezer_format::chain_key::{ChainKey, KeyInfo};
use freezer_format::index::LevelRow;
use freezer_format::layout::Engine;
use freezer_format::level::{FullReason, NextLevel, next_level};
use freezer_format::manifest::{MAX_MANIFEST_BYTES, Manifest, PreviousLink};
use freezer_format::name::{Level as LevelNumber, LevelId, Timestamp};
use freezer_pipeline::object::StoredIndex;
use freezer_pipeline::store::{Store, StoreError};
use freezer_pipeline::{Parent, RunContext};

use crate::backup::BackupOptions;
use crate::catalogue::{NamedChains, Place, chains_of};
use crate::continuity::{
    changed_option, clock_warning, forgotten_passphrase, has_outgrown, moved_source, require_objects,
    require_same_host, require_same_passphrase, wrong_passphrase,
};
use crate::date::date;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness, chain_text};
use crate::objects::read_small;
use crate::prune::{GOING, is_going};
use crate::seen;
use crate::select::{ancestry, forget, is_committed};
use crate::several::{Fan, Site, SiteNumber, Sites, is_storage_failure};

/// The manifest's option that holds the host name: the stored name doesn't tell where it ends.
pub(crate) const HOST_OPTION: &str = "hostname";

/// What will be written.
pub(crate) struct Plan {
    /// What kind of bytes, which decides the place.
    pub(crate) engine: Engine,
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
    /// The chain key and its wrapping, with a password.
    pub(crate) key: Option<(ChainKey, KeyInfo)>,
    /// The newest time of any storage's backups of the name.
    pub(crate) newest_time: Option<Timestamp>,
    /// What the user should know about the decision.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// A new chain.
    fn full(engine: Engine, time: Timestamp, newest_time: Option<Timestamp>) -> Self {
        Self {
            engine,
            id: LevelId {
                zero: time,
                level: LevelNumber(0),
                time,
            },
            ancestors: Vec::new(),
            parent_index: None,
            reason: None,
            previous: None,
            key: None,
            newest_time,
            warnings: Vec::new(),
        }
    }

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

/// What one storage holds of the name.
struct Holding<'a> {
    number: SiteNumber,
    site: &'a Site,
    found: NamedChains,
    /// The manifest of its newest backup.
    newest_manifest: Option<Vec<u8>>,
    /// The newest backup of the other kind, tree or stream, with its manifest.
    other: Option<Newest>,
}

/// A newest backup, with its manifest if it has one.
type Newest = (LevelId, Option<Vec<u8>>);

impl Holding<'_> {
    fn newest(&self) -> Option<LevelId> {
        newest(&self.found.chains)
    }
}

/// Decides, for all storages that take part alike; those that fail meanwhile drop out.
///
/// An increment is made only upon a chain that each of them holds whole: without its parents it would be worthless.
pub(crate) fn decide(
    sites: &Arc<Sites>,
    options: &BackupOptions,
    keyring: &Keyring,
    engine: Engine,
    context: &RunContext<'_>,
) -> Result<Plan, AgentError> {
    let decision = Decision {
        sites,
        engine,
        options,
        keyring,
    };
    loop {
        let mut holdings = Vec::new();
        for (number, site) in sites.live() {
            holdings.extend(sites.settle(number, decision.look(number, site))?);
        }
        match decision.make(&holdings, context) {
            Ok(plan) => {
                for holding in &holdings {
                    let own = holding
                        .newest()
                        .map(|id| (id, holding.newest_manifest.as_deref()));
                    let other = holding.other.as_ref();
                    let other = other.map(|(id, manifest)| (*id, manifest.as_deref()));
                    // Of a name one is remembered, whatever its kind.
                    let newest = own.into_iter().chain(other).max_by_key(|(id, _)| id.time);
                    seen::compare_newest(options, &holding.site.url, newest, context);
                }
                return Ok(plan);
            }
            // Without the one that failed, the decision may be another one.
            Err((Some(number), error)) => drop(sites.settle::<()>(number, Err(error))?),
            Err((None, error)) => return Err(error),
        }
    }
}

/// An error, and the storage that it comes from.
type Blamed = (Option<SiteNumber>, AgentError);

/// Blames a storage for what is its failure.
fn blame<T>(number: SiteNumber, result: Result<T, AgentError>) -> Result<T, Blamed> {
    result.map_err(|error| match is_storage_failure(&error) {
        true => (Some(number), error),
        false => (None, error),
    })
}

struct Decision<'a> {
    sites: &'a Arc<Sites>,
    engine: Engine,
    options: &'a BackupOptions,
    keyring: &'a Keyring,
}

impl Decision<'_> {
    fn look<'s>(&self, number: SiteNumber, site: &'s Site) -> Result<Holding<'s>, AgentError> {
        let store = &*site.store;
        let mut found = chains_of(store, &self.options.name, Place::New(self.engine))?;
        drop_uncommitted_tips(store, &mut found)?;
        let newest_manifest = match newest(&found.chains) {
            Some(id) => read_small(store, &found.level(id).keys().manifest(), MAX_MANIFEST_BYTES)?,
            None => None,
        };
        if let Some(bytes) = &newest_manifest {
            require_same_host(bytes, self.options)?;
        }
        Ok(Holding {
            number,
            site,
            found,
            newest_manifest,
            other: self.other(store)?,
        })
    }

    /// The newest backup of the name that is of another kind.
    fn other(&self, store: &dyn Store) -> Result<Option<Newest>, AgentError> {
        let mut other: Option<Newest> = None;
        for engine in Engine::OURS.into_iter().filter(|engine| *engine != self.engine) {
            let mut found = chains_of(store, &self.options.name, Place::New(engine))?;
            drop_uncommitted_tips(store, &mut found)?;
            if let Some(id) = newest(&found.chains)
                && other.as_ref().is_none_or(|(known, _)| known.time < id.time)
            {
                let manifest = read_small(store, &found.level(id).keys().manifest(), MAX_MANIFEST_BYTES)?;
                other = Some((id, manifest));
            }
        }
        Ok(other)
    }

    fn make(&self, holdings: &[Holding<'_>], context: &RunContext<'_>) -> Result<Plan, Blamed> {
        let (options, own) = (self.options, |error: AgentError| (None, error));
        let Some(reference) = holdings
            .iter()
            .rev()
            .max_by_key(|holding| holding.newest().map(|id| (id.time, id.level)))
        else {
            return Err(own(AgentError::Interrupted));
        };
        // An empty folder with a far date must not date the backups to come.
        let levels = holdings.iter().flat_map(|holding| &holding.found.chains);
        let newest_time = levels.flat_map(|chain| &chain.levels).map(|id| id.time).max();
        let now = Timestamp((context.now)().seconds);
        // A restore takes whichever kind is newer, so their dates must tell.
        let others = holdings.iter().filter_map(|holding| holding.other.as_ref());
        let of_any_kind = others.map(|(id, _)| id.time).chain(newest_time).max();
        let time = time_after(of_any_kind, now).map_err(own)?;
        let mut plan = Plan::full(self.engine, time, newest_time);
        plan.warnings.extend(clock_warning(newest_time, now));
        let newest = reference.newest().zip(reference.newest_manifest.as_ref());
        if let Some((id, bytes)) = newest {
            let level = reference.found.level(id);
            let warning = require_same_passphrase(bytes, &level, options, self.keyring).map_err(own)?;
            plan.warnings.extend(warning);
        }
        let next = match self.engine {
            Engine::Stream => NextLevel::Full(FullReason::Stream),
            _ => next_level(&options.policy, reference.found.chains.last(), now),
        };
        match next {
            NextLevel::Full(reason) => plan.reason = Some(reason),
            NextLevel::Increment { level, parent, zero } => {
                match self.open_parent(holdings, reference, parent)? {
                    Ok((ancestors, index)) => {
                        plan.id = LevelId { zero, level, time };
                        plan.ancestors = ancestors;
                        plan.parent_index = index;
                    }
                    Err(reason) => plan.reason = Some(reason),
                }
            }
        }
        let peeked = newest.and_then(|(_, bytes)| Manifest::peek(bytes).ok());
        plan.previous = reference.newest().map(|id| PreviousLink {
            zero: id.zero,
            level: id.level,
            time: id.time,
            // The parent's was read and proved; a storage that lags may just have denied the same manifest.
            manifest: match plan.parent().filter(|parent| parent.stored.id == id) {
                Some(parent) => parent.line_sha256(),
                None => peeked.as_ref().map(|peeked| peeked.line_sha256),
            },
        });
        if self.keyring.passphrase().is_some() {
            let info = peeked.and_then(|peeked| peeked.key);
            plan.key = Some(key::chain_key(info, &plan, options, self.keyring, context).map_err(own)?);
        }
        Ok(plan)
    }

    /// Opens the chain below the new level, or says why a new one must begin.
    fn open_parent(
        &self,
        holdings: &[Holding<'_>],
        reference: &Holding<'_>,
        parent: LevelId,
    ) -> Result<Result<Opened, FullReason>, Blamed> {
        let store = &reference.site.store;
        let looked = look_at_parent(&**store, &reference.found, parent, (self.options, self.keyring));
        let levels = match blame(reference.number, looked)? {
            Ok(levels) => levels,
            Err(reason) => return Ok(Err(reason)),
        };
        for other in holdings.iter().filter(|other| other.number != reference.number) {
            let lack = match is_going(&*other.site.store, &self.options.name, &levels) {
                Ok(true) => Ok(Some(GOING.to_owned())),
                Ok(false) => lacks(&*other.site.store, &other.found, &levels, self.keyring),
                Err(error) => Err(error.into()),
            };
            if let Some(why) = blame(other.number, lack)? {
                let storage = other.site.url.clone();
                return Ok(Err(FullReason::StorageLacksChain { storage, why }));
            }
        }
        // From here on all hold the same bytes, so whichever answers is read.
        let all: Arc<dyn Store> = match holdings {
            [_] => Arc::clone(store),
            _ => Fan::over(self.sites, reference.site.target.limits()),
        };
        blame(reference.number, open_state(&all, levels, self.keyring))
    }
}

/// Now, but behind the newest backup whatever the clock says.
pub(crate) fn time_after(newest: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, AgentError> {
    let Some(newest) = newest else { return Ok(now) };
    let next = newest.0.checked_add(1).ok_or_else(|| AgentError::Unsupported {
        reason: "the storage holds a backup of this name dated at the end of time".to_owned(),
        next:
            "look at it with `freezer list`, and remove its folder if it isn't yours; or take another --name"
                .to_owned(),
    })?;
    Ok(now.max(Timestamp(next)))
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

/// Reads the chain below the new level, or says why a new one must begin.
fn look_at_parent(
    store: &dyn Store,
    found: &NamedChains,
    parent: LevelId,
    (options, keyring): (&BackupOptions, &Keyring),
) -> Result<Result<Vec<Level>, FullReason>, AgentError> {
    let levels = match ancestry(store, found, parent, (keyring, Strictness::Enforce)) {
        Ok(levels) => levels,
        Err(AgentError::NoPassphrase { backup }) => return Err(forgotten_passphrase(&backup)),
        Err(error) => return unusable(error).map(Err),
    };
    let Some(parent) = levels.last() else {
        return Ok(Err(FullReason::FirstBackup));
    };
    if is_going(store, &options.name, &levels)? {
        return Ok(Err(FullReason::ParentUnusable(GOING.to_owned())));
    }
    if let Some(moved) = moved_source(parent, options) {
        return Ok(Err(FullReason::ParentUnusable(moved)));
    }
    if let Some(option) = changed_option(parent, options, keyring) {
        return Ok(Err(FullReason::OptionChanged(option)));
    }
    if has_outgrown(&levels, options) {
        return Ok(Err(FullReason::IncrementsOutgrewFull));
    }
    if let Err(error) = require_objects(store, &levels) {
        return unusable(error).map(Err);
    }
    Ok(Ok(levels))
}

/// What another storage lacks of a chain; `None` if it holds the very same one, whole.
fn lacks(
    store: &dyn Store,
    found: &NamedChains,
    levels: &[Level],
    keyring: &Keyring,
) -> Result<Option<String>, AgentError> {
    let listed: Vec<&LevelId> = found.chains.iter().flat_map(|chain| &chain.levels).collect();
    let absent = levels.iter().find(|level| !listed.contains(&&level.stored.id));
    if let Some(level) = absent {
        let id = level.stored.id;
        return Ok(Some(format!("it has no level {} of {}", id.level, date(id.time))));
    }
    for level in levels {
        let theirs = match Level::read(store, level.stored.clone(), keyring, Strictness::Enforce) {
            Ok(theirs) => theirs,
            Err(error) => return damage(error).map(Some),
        };
        if theirs.line_sha256() != level.line_sha256() || theirs.metadata != level.metadata {
            let id = level.stored.id;
            return Ok(Some(format!(
                "its level {} of {} is another backup",
                id.level,
                date(id.time)
            )));
        }
    }
    match require_objects(store, levels) {
        Ok(()) => Ok(None),
        Err(error) => damage(error).map(Some),
    }
}

/// Opens the state that the new level is compared with.
fn open_state(
    store: &Arc<dyn Store>,
    levels: Vec<Level>,
    keyring: &Keyring,
) -> Result<Result<Opened, FullReason>, AgentError> {
    let Some(parent) = levels.last() else {
        return Ok(Err(FullReason::FirstBackup));
    };
    if parent.manifest().is_none() {
        // Only trying tells whether the original's stream was encrypted under this password.
        match parent.data(store, keyring) {
            Err(AgentError::Object { source, .. }) if source.is_damage() => {
                return Err(wrong_passphrase(&parent.stored));
            }
            other => drop(other?),
        }
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
        Err(error) => unusable(error).map(Err),
    }
}

/// Tells damage, which a new chain cures, from failures that it doesn't.
fn unusable(error: AgentError) -> Result<FullReason, AgentError> {
    damage(error).map(FullReason::ParentUnusable)
}

/// Damage in words; anything else stays an error.
fn damage(error: AgentError) -> Result<String, AgentError> {
    match error {
        AgentError::Damaged { .. }
        | AgentError::Newer { .. }
        | AgentError::Unauthenticated { .. }
        | AgentError::Key { .. }
        | AgentError::Select { .. } => Ok(chain_text(&error)),
        other => Err(other),
    }
}
