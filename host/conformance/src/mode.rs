//! What every mode must do, rule by rule, as `wit/mode.wit` says it: one function for each rule.
//!
//! A rule needs the mode with its settings, and somebody who can tell from outside whether anything is still locked or
//! frozen. So the same suite serves a mode of this workspace and one of an author elsewhere. A rule answers the first thing that
//! is wrong, in words; [`ModeSubject::test_all`] runs them all.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freezer_pipeline::store::ErrorKind;
use freezer_plugin::{
    BackupRequest, Destination, ModeBackup, ModeRestore, ModeSource, Outcome, Plugin, PluginError,
    PluginHost, RestoreRequest, Run, RunConfig, Settings,
};

use crate::{Answer, Finding};

/// How long a mode may take to end when the user has pressed Ctrl-C, with some slack for a busy machine.
const CANCELLED_WITHIN: Duration = Duration::from_secs(30);
/// The longest note that the host stores.
const MAX_NOTE_BYTES: usize = 64 << 10;

/// Tells from outside whether nothing is held any more.
pub type IsFree = Box<dyn Fn() -> Result<(), String>>;

/// A mode under test.
pub struct ModeSubject {
    /// What runs it.
    pub host: PluginHost,
    /// The mode.
    pub plugin: Plugin,
    /// Its settings.
    pub settings: Settings,
    /// What is backed up, if it wants a path.
    pub path: Option<PathBuf>,
    /// Where it may be asked to restore to; nothing is written there.
    pub target: PathBuf,
    /// Looks from outside.
    pub is_free: IsFree,
}

/// What a rule answers.
type Verdict = Result<(), String>;
/// A rule: a fact about every mode, and its check.
type Rule = (&'static str, fn(&ModeSubject) -> Verdict);

/// All rules.
const RULES: &[Rule] = &[
    (
        "a_source_is_offered_and_then_no_other",
        a_source_is_offered_and_then_no_other,
    ),
    ("nothing_is_held_after_a_success", nothing_is_held_after_a_success),
    ("nothing_is_held_after_a_failure", nothing_is_held_after_a_failure),
    (
        "nothing_is_held_if_no_source_was_asked_for",
        nothing_is_held_if_no_source_was_asked_for,
    ),
    (
        "a_cancelled_run_ends_soon_and_holds_nothing",
        a_cancelled_run_ends_soon_and_holds_nothing,
    ),
    (
        "nothing_is_held_if_it_is_dropped",
        nothing_is_held_if_it_is_dropped,
    ),
    (
        "two_backups_can_follow_each_other",
        two_backups_can_follow_each_other,
    ),
    ("its_note_is_a_document", its_note_is_a_document),
    (
        "its_note_leads_a_restore_to_the_source",
        its_note_leads_a_restore_to_the_source,
    ),
    ("a_restore_knows_no_other_source", a_restore_knows_no_other_source),
    (
        "a_note_that_it_did_not_write_is_no_crash",
        a_note_that_it_did_not_write_is_no_crash,
    ),
    (
        "a_parent_s_note_that_it_did_not_write_is_no_crash",
        a_parent_s_note_that_it_did_not_write_is_no_crash,
    ),
    (
        "without_a_path_it_says_what_is_missing_or_goes_on",
        without_a_path_it_says_what_is_missing_or_goes_on,
    ),
];

impl ModeSubject {
    /// Tests all rules and tells of each as it ends.
    pub fn test_all(&self, mut tell: impl FnMut(Finding)) {
        for (rule, check) in RULES {
            let answer = check(self).map_or_else(Answer::Broken, |()| Answer::Kept);
            tell(Finding::new(rule, answer));
        }
    }

    /// Breaks each host call of a backup once: nothing is held afterwards, and the next backup works.
    pub fn break_every_call(&self, mut tell: impl FnMut(Finding)) {
        tell(crate::break_each_call(
            "a_broken_backup_holds_nothing_and_the_next_one_works",
            |fault| {
                let run = Run::breaking(self.config(), Arc::clone(fault));
                let tried = self.back_up_in(&run);
                if !fault.struck() {
                    return tried.map(drop);
                }
                self.require_free(&run)?;
                let again = self.back_up();
                again
                    .map(drop)
                    .map_err(|why| format!("the next backup fails: {why}"))
            },
        ));
    }

    /// Runs all rules; answers what is violated, a line each.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.test_all(|finding| {
            if finding.is_broken() {
                found.push(finding.to_string());
            }
        });
        found
    }

    /// A run as the rules make it.
    #[must_use]
    pub fn run(&self) -> Arc<Run> {
        Run::trial(self.config())
    }

    pub(crate) fn config(&self) -> RunConfig {
        RunConfig {
            named_paths: self.path.iter().cloned().collect(),
            ..RunConfig::quiet()
        }
    }

    fn prepare_with(
        &self,
        run: &Arc<Run>,
        change: impl FnOnce(&mut BackupRequest),
    ) -> Result<ModeBackup, PluginError> {
        let mut request = BackupRequest {
            path: self.path.clone(),
            settings: self.settings.clone(),
            level: 0,
            parent_note: None,
        };
        change(&mut request);
        self.host.prepare_backup(&self.plugin, request, run)
    }

    fn prepare(&self, run: &Arc<Run>) -> Result<ModeBackup, String> {
        self.prepare_with(run, |_| {})
            .map_err(|error| format!("it can't be prepared: {error}"))
    }

    /// Prepares a restore that a note leads.
    fn restore(&self, note: &str) -> Result<ModeRestore, PluginError> {
        let request = RestoreRequest {
            target: Some(self.target.clone()),
            settings: self.settings.clone(),
            note: note.to_owned(),
        };
        self.host.prepare_restore(&self.plugin, request, &self.run())
    }

    /// Makes one backup as the host does; answers its source's name and its note.
    fn back_up(&self) -> Result<(String, String), String> {
        self.back_up_in(&self.run())
    }

    /// Makes one backup in a run of the caller's; answers its source's name and its note.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn back_up_in(&self, run: &Arc<Run>) -> Result<(String, String), String> {
        let mut prepared = self.prepare(run)?;
        let source = prepared.next_source().map_err(said)?;
        let name = read(source.ok_or("it offers nothing")?)?;
        if prepared.next_source().map_err(said)?.is_some() {
            return Err("it offers a second source".to_owned());
        }
        let note = prepared.finish(&Outcome::Done).map_err(said)?;
        self.require_free(run)?;
        Ok((name, note))
    }

    fn require_free(&self, run: &Run) -> Verdict {
        let held = run.release_all();
        if !held.is_empty() {
            return Err(format!("still held: {}", held.join(", ")));
        }
        let open: u64 = run.usage().iter().map(|usage| usage.left_open).sum();
        if open > 0 {
            return Err(format!("handles that are still open after `finish`: {open}"));
        }
        (self.is_free)()
    }
}

/// Reads what can be read of a source; answers its name.
fn read(source: ModeSource) -> Result<String, String> {
    match source {
        ModeSource::Tree { name, root, .. } => match root.is_absolute() && root.exists() {
            true => Ok(name),
            false => Err(format!("its tree {} isn't there", root.display())),
        },
        ModeSource::Stream {
            name, mut content, ..
        } => {
            let bytes = std::io::copy(&mut content, &mut std::io::sink());
            match bytes.map_err(|error| format!("its stream breaks off: {error}"))? {
                0 => Err("its stream is empty".to_owned()),
                _ => Ok(name),
            }
        }
        ModeSource::External { name, .. } => Ok(name),
    }
}

fn said(error: PluginError) -> String {
    error.to_string()
}

/// A refusal in the mode's own words is fine; a crash, an overrun or a broken contract isn't.
fn no_crash<T>(result: Result<T, PluginError>) -> Result<Option<T>, String> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_fatal() => Err(error.to_string()),
        Err(_) => Ok(None),
    }
}

fn failed() -> Outcome {
    Outcome::Failed {
        kind: ErrorKind::Unavailable,
        message: "the storage went away".to_owned(),
    }
}

fn a_source_is_offered_and_then_no_other(subject: &ModeSubject) -> Verdict {
    subject.back_up().map(drop)
}

fn nothing_is_held_after_a_success(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    let mut prepared = subject.prepare(&run)?;
    let source = prepared.next_source().map_err(said)?;
    read(source.ok_or("it offers nothing")?)?;
    prepared.finish(&Outcome::Done).map_err(said)?;
    subject.require_free(&run)
}

fn nothing_is_held_after_a_failure(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    let mut prepared = subject.prepare(&run)?;
    // The host gives a source up where it is when the storage fails.
    let source = prepared.next_source().map_err(said)?;
    if let Some(ModeSource::Stream { mut content, .. }) = source {
        content.read(&mut [0; 100]).map_err(|error| error.to_string())?;
    }
    no_crash(prepared.finish(&failed()))?;
    subject.require_free(&run)
}

fn nothing_is_held_if_no_source_was_asked_for(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    let prepared = subject.prepare(&run)?;
    no_crash(prepared.finish(&failed()))?;
    subject.require_free(&run)
}

fn a_cancelled_run_ends_soon_and_holds_nothing(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    let mut prepared = subject.prepare(&run)?;
    drop(prepared.next_source().map_err(said)?);
    run.cancel().cancel();
    let begun = Instant::now();
    no_crash(prepared.finish(&Outcome::Cancelled))?;
    if begun.elapsed() > CANCELLED_WITHIN {
        return Err(format!("it took {:?} to end", begun.elapsed()));
    }
    subject.require_free(&run)
}

fn nothing_is_held_if_it_is_dropped(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    drop(subject.prepare(&run)?);
    subject.require_free(&run)
}

fn two_backups_can_follow_each_other(subject: &ModeSubject) -> Verdict {
    let (one, other) = (subject.back_up()?.0, subject.back_up()?.0);
    match one == other {
        true => Ok(()),
        false => Err(format!("its source is called {one} and then {other}")),
    }
}

fn its_note_is_a_document(subject: &ModeSubject) -> Verdict {
    let (_, note) = subject.back_up()?;
    if note.len() > MAX_NOTE_BYTES {
        return Err(format!("its note has {} bytes", note.len()));
    }
    let read: Result<serde_json::Value, _> = serde_json::from_str(&note);
    match read {
        Ok(_) => Ok(()),
        Err(_) if note.is_empty() => Ok(()),
        Err(error) => Err(format!("its note is no JSON: {error}")),
    }
}

fn its_note_leads_a_restore_to_the_source(subject: &ModeSubject) -> Verdict {
    let (name, note) = subject.back_up()?;
    let mut prepared = subject.restore(&note).map_err(said)?;
    let destination = match prepared.destination(&name) {
        Ok(destination) => destination,
        // What only its own tools unpack is refused in words, and goes to a file.
        Err(error) if !error.is_fatal() => return prepared.finish(&failed()).map_err(said),
        Err(error) => return Err(error.to_string()),
    };
    if let Destination::Directory(directory) = &destination
        && !directory.starts_with(&subject.target)
    {
        return Err(format!("it leads to {}", directory.display()));
    }
    no_crash(prepared.finish(&failed())).map(drop)
}

fn a_restore_knows_no_other_source(subject: &ModeSubject) -> Verdict {
    let (name, note) = subject.back_up()?;
    let mut prepared = subject.restore(&note).map_err(said)?;
    let wrong = format!("{name}-other");
    match no_crash(prepared.destination(&wrong))? {
        None => no_crash(prepared.finish(&failed())).map(drop),
        Some(_) => Err(format!("it takes {wrong:?} for a source of its own")),
    }
}

fn a_note_that_it_did_not_write_is_no_crash(subject: &ModeSubject) -> Verdict {
    let long = "x".repeat(MAX_NOTE_BYTES);
    let deep = "[".repeat(30_000);
    for note in [
        "",
        "{}",
        "{",
        "[]",
        "null",
        "\"\"",
        "{\"kind\": 7}",
        "\u{0}\u{202e}",
        &long,
        &deep,
    ] {
        let start: String = note.chars().take(20).collect();
        let prepared = no_crash(subject.restore(note)).map_err(|why| format!("{start:?}: {why}"))?;
        if let Some(prepared) = prepared {
            no_crash(prepared.finish(&failed())).map_err(|why| format!("{start:?}: {why}"))?;
        }
    }
    Ok(())
}

fn a_parent_s_note_that_it_did_not_write_is_no_crash(subject: &ModeSubject) -> Verdict {
    for note in ["", "{", "{\"kind\": [[]]}"] {
        let run = subject.run();
        let prepared = subject.prepare_with(&run, |request| {
            request.level = 1;
            request.parent_note = Some(note.to_owned());
        });
        if let Some(prepared) = no_crash(prepared)? {
            no_crash(prepared.finish(&failed()))?;
        }
        subject.require_free(&run)?;
    }
    Ok(())
}

fn without_a_path_it_says_what_is_missing_or_goes_on(subject: &ModeSubject) -> Verdict {
    let run = subject.run();
    let prepared = subject.prepare_with(&run, |request| request.path = None);
    if let Some(prepared) = no_crash(prepared)? {
        no_crash(prepared.finish(&failed()))?;
    }
    subject.require_free(&run)
}
