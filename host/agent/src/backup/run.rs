//! One attempt at a backup: the level decision, the claims, the writing, and the tidying up after each end.

use std::sync::Arc;

use freezer_format::layout::{BackupKeys, Engine};
use freezer_format::level::FullReason;
use freezer_pipeline::counters::Warning;
use freezer_pipeline::store::Limits;
use freezer_pipeline::{BackupError, BackupReport, RunContext};

use super::noted::{Noted, source_warning};
use super::offer::Offer;
use super::writing::Writing;
use super::{BackupOptions, BackupOutcome};
use crate::catalogue::label;
use crate::commit;
use crate::error::{AgentError, ExitClass};
use crate::keys::Keyring;
use crate::mode::BackupMode;
use crate::plan::{Plan, decide};
use crate::resume::{self, Chosen, RunIdentity};
use crate::several::{Fan, Site, SiteNumber, Sites};

/// A backup that is being made.
pub(super) struct Running<'a> {
    pub(super) sites: Arc<Sites>,
    pub(super) options: &'a BackupOptions,
    pub(super) keyring: &'a Keyring,
    pub(super) mode: &'a dyn BackupMode,
    pub(super) context: &'a RunContext<'a>,
}

impl Running<'_> {
    /// Makes it, from the level decision to the last document. `continues` takes over an interrupted run.
    pub(super) fn attempt(&self, continues: bool) -> Result<BackupOutcome, AgentError> {
        let (sites, options, context) = (&self.sites, self.options, self.context);
        let mut plan = decide(sites, options, self.keyring, Engine::Tar, context)?;
        check_source(options, &plan)?;
        let limits = sites.limits()?;
        let kind = (options, &limits);
        let mut chosen = resume::choose(sites, &mut plan, kind, (self.keyring, continues), context.random);
        context.cancel.check()?;
        let offer = Offer::ask(self.mode, &plan)?;
        if offer.engine() != plan.engine {
            // Only now it is known that this is no tree: nothing was claimed for one.
            match self.replan(offer.engine(), continues) {
                Ok(other) => (plan, chosen) = other,
                Err(error) => return Err(offer.give_up(error)),
            }
        }
        // A storage that failed before this was never written to: nothing there is this run's.
        let claimed: Vec<SiteNumber> = sites.live().into_iter().map(|(number, _)| number).collect();
        let run = &chosen.identity.run;
        let keys = match commit::claim(sites, &options.name, &mut plan, (run, context.cancel)) {
            Ok(keys) => keys,
            Err(error) => return Err(offer.give_up(error)),
        };
        let place = Place {
            backup: label(&options.name, plan.id),
            keys: &keys,
            run,
            claimed,
        };
        // Warnings from all sides go into the manifest; the road reports only its own.
        let noted = Noted::new(context);
        match self.fill(&mut plan, offer, (&chosen, &limits, &keys), &noted) {
            Ok((stream, report)) => Ok(BackupOutcome {
                stream,
                ..self.outcome(&plan, &place, report, &noted)
            }),
            Err(error) => {
                self.give_up(&plan, &place, &error, &noted);
                Err(error)
            }
        }
    }

    /// The decision for another kind of place than was thought.
    fn replan(&self, engine: Engine, continues: bool) -> Result<(Plan, Chosen), AgentError> {
        if self.options.compat {
            return Err(AgentError::Unsupported {
                reason: "the original can't read streams".to_owned(),
                next: "leave out --compat".to_owned(),
            });
        }
        let plan = decide(&self.sites, self.options, self.keyring, engine, self.context)?;
        let mut chosen = Chosen {
            identity: RunIdentity::new(self.context.random),
            notes: Vec::new(),
        };
        if continues {
            chosen
                .notes
                .push("a stream doesn't come twice, so --resume has no part in it".to_owned());
        }
        Ok((plan, chosen))
    }

    /// Fills the claimed place. Answers the name of a stream's file, and what the road reports.
    fn fill(
        &self,
        plan: &mut Plan,
        offer: Offer,
        (chosen, limits, keys): (&Chosen, &Limits, &BackupKeys),
        noted: &Noted<'_>,
    ) -> Result<(Option<String>, BackupReport), AgentError> {
        let (sites, options, context) = (&self.sites, self.options, self.context);
        plan_warnings(plan, options, self.keyring)
            .into_iter()
            .for_each(|warning| noted.add(warning));
        let tell = |text: &String| noted.tell(&source_warning(text.clone()));
        chosen.notes.iter().for_each(tell);
        let begun = resume::begin(sites, plan, &chosen.identity, (options, limits), context.cancel);
        match begun {
            Ok(notes) => notes.iter().for_each(tell),
            Err(error) => return Err(offer.give_up(error)),
        }
        let target = Fan::over(sites, *limits);
        let writing = Writing {
            sites,
            target: &target,
            options,
            keyring: self.keyring,
            context,
            keys,
            identity: &chosen.identity,
            noted,
        };
        writing.write(plan, offer)
    }

    /// Tidies up after a success and says what it was.
    fn outcome(
        &self,
        plan: &Plan,
        place: &Place<'_>,
        report: BackupReport,
        noted: &Noted<'_>,
    ) -> BackupOutcome {
        let (sites, options) = (&self.sites, self.options);
        let reused_bytes = resume::reused(sites);
        for (number, site) in sites.all() {
            let is_to_clean = sites.has_failed(number) && place.is_ours(sites, number);
            match is_to_clean {
                true => self.clean_up(site, place, noted),
                false => site.journal.iter().for_each(|journal| journal.close()),
            }
        }
        BackupOutcome {
            stream: None,
            mode_note: noted.mode(),
            name: options.name.clone(),
            id: plan.id,
            parent: plan.parent().map(|parent| parent.stored.id),
            full_reason: plan.reason.clone(),
            storages: sites
                .live()
                .into_iter()
                .map(|(_, site)| site.url.clone())
                .collect(),
            failed: sites.failed(),
            reused_bytes,
            encrypted: plan.key.is_some(),
            compression: options.compression,
            dry_run: options.dry_run,
            report,
        }
    }

    /// Takes away what a failed run wrote, or keeps it for the next one.
    fn give_up(&self, plan: &Plan, place: &Place<'_>, error: &AgentError, noted: &Noted<'_>) {
        let is_tree = plan.engine == Engine::Tar;
        let is_passing = error.exit_class() == ExitClass::Interrupted || error.kind().is_retryable();
        let has_journal = self.sites.all().any(|(_, site)| site.journal.is_some());
        if self.options.resume && is_tree && is_passing && has_journal && !self.sites.is_beyond_resuming() {
            noted.tell(&source_warning(format!(
                "what is stored so far of {} is kept: freezer backup --resume goes on with it",
                place.backup
            )));
            return;
        }
        for (number, site) in self.sites.all() {
            if place.is_ours(&self.sites, number) {
                self.clean_up(site, place, noted);
            }
        }
    }

    fn clean_up(&self, site: &Site, place: &Place<'_>, noted: &Noted<'_>) {
        if let Some(journal) = &site.journal {
            journal.keep(false);
            journal.abort_all();
        }
        match commit::clean_up(&*site.target, place.keys, (place.run, self.context.cancel)) {
            Ok(()) => site.journal.iter().for_each(|journal| journal.close()),
            Err((remaining, cause)) => {
                let text = commit::remains_message(&place.backup, &remaining, &cause);
                noted.tell(&source_warning(text));
            }
        }
    }
}

/// Where a run writes, and in whose name.
struct Place<'a> {
    backup: String,
    keys: &'a BackupKeys,
    run: &'a str,
    /// The storages in which the place was claimed.
    claimed: Vec<SiteNumber>,
}

impl Place<'_> {
    /// True if what is there may be taken away. Where the last write's fate is unknown, or the place is another run's,
    /// hands off.
    fn is_ours(&self, sites: &Sites, number: SiteNumber) -> bool {
        self.claimed.contains(&number) && !sites.hands_off(number)
    }
}

/// A mistyped source must leave nothing in the storage.
fn check_source(options: &BackupOptions, plan: &Plan) -> Result<(), AgentError> {
    let Some(path) = &options.path else {
        return Ok(());
    };
    std::fs::symlink_metadata(path)
        .map(drop)
        .map_err(|source| AgentError::Backup {
            backup: label(&options.name, plan.id),
            source: BackupError::Source {
                operation: "open",
                path: path.clone(),
                source,
            },
        })
}

fn plan_warnings(plan: &Plan, options: &BackupOptions, keyring: &Keyring) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = plan.warnings.iter().cloned().map(source_warning).collect();
    if let Some(
        reason @ (FullReason::ParentUnusable(_)
        | FullReason::MissingLevel(_)
        | FullReason::OptionChanged(_)
        | FullReason::StorageLacksChain { .. }),
    ) = &plan.reason
    {
        warnings.push(source_warning(format!("a new chain is begun: {reason}")));
    }
    if options.compat && keyring.passphrase().is_some() {
        let text = "--compat: the password can be guessed at the speed of a hash, and the snapshot file shows \
                    all file names";
        warnings.push(source_warning(text.to_owned()));
    }
    warnings
}
