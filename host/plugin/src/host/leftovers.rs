//! What killed runs left behind, undone at the start of the next one: snapshots by the host itself, all else by the
//! component that announced it.

use std::sync::Arc;

use freezer_io::snapshots::{Released, Snapshots};

use super::{Plugin, PluginHost};
use crate::discover::Discovered;
use crate::error::PluginError;
use crate::journal::{DeadJournal, Leftover};
use crate::manifest::PluginKind;
use crate::run::Run;

/// What happened to a leftover of a killed run.
#[derive(Debug)]
pub struct LeftoverReport {
    /// The mode that announced it; none for what the host itself made.
    pub plugin: Option<String>,
    /// What it is, in the mode's words.
    pub description: String,
    /// Whether it is gone; a failure is tried again by the next run.
    pub result: Result<(), PluginError>,
}

impl PluginHost {
    /// Undoes what runs that were killed left behind. Call it at the start of every run that may write.
    #[must_use]
    pub fn undo_leftovers(&self, run: &Arc<Run>) -> Vec<LeftoverReport> {
        let mut reports = self.release_snapshots();
        let Some(state_dir) = &self.config.state_dir else {
            return reports;
        };
        for mut journal in DeadJournal::all(state_dir) {
            for leftover in journal.leftovers() {
                let undone = self
                    .undo(&leftover, run)
                    .and_then(|()| journal.settle(leftover.number));
                let Leftover {
                    plugin, description, ..
                } = leftover;
                reports.push(LeftoverReport {
                    plugin: Some(plugin),
                    description,
                    result: undone,
                });
            }
            journal.close();
        }
        reports
    }

    /// Releases the snapshots of runs that were killed, whatever plugin asked for them.
    fn release_snapshots(&self) -> Vec<LeftoverReport> {
        let home = self.config.snapshot_dir.clone().map(Snapshots::new);
        let released = home.map(|home| home.release_dead()).unwrap_or_default();
        let report = |released: Released| LeftoverReport {
            plugin: None,
            description: format!("snapshot {}", released.description),
            result: released
                .result
                .map_err(|error| PluginError::Snapshot { why: error.message }),
        };
        released.into_iter().map(report).collect()
    }

    fn undo(&self, leftover: &Leftover, run: &Arc<Run>) -> Result<(), PluginError> {
        // Not the one that bears the name now: what is to be undone is written in the words of the one that made it.
        let made_it = |found: &&Discovered| found.sha256 == leftover.sha256;
        let found = self.found().iter().find(made_it);
        let plugin = found.and_then(Plugin::of);
        let fits = |plugin: &Plugin| {
            plugin.manifest.kind == PluginKind::Mode && plugin.manifest.name == leftover.plugin
        };
        let plugin = plugin.filter(fits).ok_or_else(|| PluginError::OtherComponent {
            plugin: leftover.plugin.clone(),
            sha256: leftover.sha256.clone(),
        })?;
        // The journal holds no secrets; a file that the user named for them still does.
        let settings = plugin.manifest.complete(leftover.settings.clone())?;
        self.mode_opener(&plugin, &settings, run)?.undo(leftover)
    }
}
