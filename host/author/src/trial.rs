//! Tries a component out in the real host: with exactly the grants that its plugin.toml asks for, in a folder of its own that is
//! removed afterwards. The rules are those that freezer's own plugins are held to.
//!
//! What the plugin needs for it (a URL, settings, files) stands in `freezer-test.toml`.

mod settings;
mod place;
mod limits;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use freezer_conformance::mode::ModeSubject;
use freezer_conformance::storage::faults::Breaking;
use freezer_conformance::storage::{RULES, Subject};
use freezer_conformance::{Answer, Finding};
use freezer_plugin::{Fault, PluginHost, PluginKind, PluginUsage, Run, RunConfig};

use crate::error::AuthorError;
use crate::project::Project;
use place::Place;

pub use settings::FILE_NAME;

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The rules of the contract.
    Conformance,
    /// Every host call breaks once.
    Faults,
    /// What it used.
    Limits,
}

impl Part {
    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Conformance => "conformance",
            Self::Faults => "faults",
            Self::Limits => "limits",
        }
    }
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Rules that hold.
    pub passed: usize,
    /// Rules that don't.
    pub failed: usize,
    /// Rules that weren't tried.
    pub skipped: usize,
}

impl Count {
    fn add(&mut self, findings: &[Finding]) {
        for finding in findings {
            match finding.answer {
                Answer::Kept => self.passed += 1,
                Answer::Broken(_) => self.failed += 1,
                Answer::Skipped(_) => self.skipped += 1,
            }
        }
    }
}

/// Takes a part of the report as soon as it is complete.
pub type Tell<'a> = dyn FnMut(Part, &[Finding]) + 'a;

/// How components of strangers are compiled.
#[derive(Debug, Clone, Copy)]
pub struct Compiling<'a> {
    /// The program that does it, in a process of its own.
    pub compiler: &'a Path,
    /// Where the user's compiled components are kept, so that one that was tried is ready to be used; without it they stay with the
    /// project.
    pub cache: Option<&'a Path>,
}

/// Tries a packed component out, and tells of each part.
///
/// # Errors
/// [`AuthorError::Trial`] for a freezer-test.toml that can't be used; [`AuthorError::Plugin`] if the component can't be loaded or
/// opened at all. A rule that doesn't hold is a finding, not an error.
pub fn run(
    project: &Project,
    component: &Path,
    compiling: Compiling<'_>,
    tell: &mut Tell<'_>,
) -> Result<Count, AuthorError> {
    let place = Place::make(project, component, compiling)?;
    let mut count = Count::default();
    let mut told = |part, findings: Vec<Finding>| {
        count.add(&findings);
        tell(part, &findings);
    };
    match project.manifest().kind {
        PluginKind::Storage => storage(&place, &mut told)?,
        PluginKind::Mode => mode(&place, &mut told)?,
    }
    Ok(count)
}

type Told<'a> = dyn FnMut(Part, Vec<Finding>) + 'a;

fn storage(place: &Place, told: &mut Told<'_>) -> Result<(), AuthorError> {
    let (one, other) = (place.host()?, place.host()?);
    let url = place.settings().url(FILE_NAME)?;
    let (run, other_run) = (Run::trial(RunConfig::quiet()), Run::trial(RunConfig::quiet()));
    let runs = Mutex::new(vec![Arc::clone(&run), Arc::clone(&other_run)]);
    let subject = Subject {
        store: place.open(&one, url, &run)?,
        other_run: place.open(&other, url, &other_run)?,
        absent: match &place.settings().absent {
            Some(url) => Some(place.open(&one, url, &other_run)?),
            None => None,
        },
        capabilities: place.settings().capabilities(),
    };
    let found = Mutex::new(Vec::new());
    subject.test_all(|finding| found.lock().unwrap_or_else(PoisonError::into_inner).push(finding));
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|finding: &Finding| RULES.iter().position(|rule| rule.name == finding.rule));
    told(Part::Conformance, found);

    let breaking = |fault: &Arc<Fault>| {
        let run = Run::breaking(RunConfig::quiet(), Arc::clone(fault));
        runs.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&run));
        place.open_storage(&one, url, &run)
    };
    let breaking = Breaking {
        open: &breaking,
        whole: Arc::clone(&subject.other_run),
        capabilities: subject.capabilities,
    };
    let mut found = Vec::new();
    breaking.break_every_call(|finding| found.push(finding));
    told(Part::Faults, found);
    let instances = u64::from(subject.store.limits().parallel_calls);
    // What is held is let go of with the storage.
    drop((breaking, subject));
    let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    tell_limits(&runs, instances, &one, place, told);
    Ok(())
}

fn mode(place: &Place, told: &mut Told<'_>) -> Result<(), AuthorError> {
    let host = place.host()?;
    let subject = ModeSubject {
        plugin: place.plugin(&host)?,
        host,
        settings: place.plugin_settings()?,
        path: place.settings().path.clone(),
        target: place.target(),
        is_free: place.settings().is_free(),
    };
    let mut found = Vec::new();
    subject.test_all(|finding| found.push(finding));
    told(Part::Conformance, found);
    let mut found = Vec::new();
    subject.break_every_call(|finding| found.push(finding));
    told(Part::Faults, found);
    let run = subject.run();
    if subject.back_up_in(&run).is_ok() {
        tell_limits(&[run], 1, &subject.host, place, told);
    }
    Ok(())
}

/// Tells what the plugin used in these runs.
fn tell_limits(runs: &[Arc<Run>], instances: u64, host: &PluginHost, place: &Place, told: &mut Told<'_>) {
    let used: Vec<PluginUsage> = runs.iter().flat_map(|run| run.usage()).collect();
    let limits = host.limits(place.name());
    told(Part::Limits, limits::findings(&used, instances, &limits));
}
