//! Hooks around a backup: what they are told, when they run, and what their failure means.
//!
//! A failing hook before the backup is a failed run. The backup itself is not undone by what fails afterwards: then the
//! result is partial. Hooks are told the same document that `--json` prints, in an envelope of its own (`freezer-hook/1`).

use std::path::Path;
use std::time::{Duration, Instant};

use freezer_agent::{BackupOutcome, CommandEnd, HookFacts, HookKind, HookReport, Stops, run_hooks};
use freezer_pipeline::cancel::Cancel;
use serde_json::{Value, json};

use super::Context;
use super::session::{now, plugin_host};
use crate::command::Backup;
use crate::exit::{Exit, Failure};
use crate::render::{self, Output, summary, text, units};
use crate::signals::Signals;

/// The version of what hooks are told. Keys are only ever added within it.
const SCHEMA: &str = "freezer-hook/1";

/// A backup that was made, and what came of its hooks.
pub(super) struct Hooked {
    pub(super) outcome: BackupOutcome,
    pub(super) exit: Exit,
    reports: Vec<HookReport>,
}

/// Runs the hooks around `make`. In a dry run only says what would be run.
///
/// # Errors
/// What `make` failed with, or that a hook before it failed.
pub(super) fn around(
    backup: &Backup,
    context: &Context,
    make: impl FnOnce() -> Result<(BackupOutcome, Exit), Failure>,
) -> Result<Hooked, Failure> {
    let without = |(outcome, exit)| Hooked {
        outcome,
        exit,
        reports: Vec::new(),
    };
    if backup.hooks.is_empty() {
        return make().map(without);
    }
    if backup.dry_run {
        for (kind, command) in all(backup) {
            let command = text::lines(command);
            context
                .output
                .note(&format!("would run {}: {command}", kind.name()));
        }
        return make().map(without);
    }
    let mut run = HookRun {
        backup,
        output: &context.output,
        hidden: secret_variables(context)?,
        begun: Instant::now(),
        started: units::date(freezer_format::name::Timestamp(now().seconds)),
        reports: Vec::new(),
    };
    let made = run.before().and_then(|()| make());
    run.end(made)
}

/// All hooks in the order in which they would run.
fn all(backup: &Backup) -> impl Iterator<Item = (HookKind, &String)> {
    [
        HookKind::Before,
        HookKind::OnSuccess,
        HookKind::OnFailure,
        HookKind::After,
    ]
    .into_iter()
    .flat_map(|kind| backup.hooks.of(kind).iter().map(move |command| (kind, command)))
}

/// The variables from which plugins take secrets: no command that is started sees them.
///
/// # Errors
/// When a grants file is there but invalid.
pub(super) fn secret_variables(context: &Context) -> Result<Vec<String>, Failure> {
    let host = plugin_host(context)?;
    let manifests = host
        .found()
        .iter()
        .filter_map(|plugin| plugin.result.as_ref().ok());
    let settings = manifests.flat_map(|manifest| &manifest.settings);
    let secrets = settings.filter(|setting| setting.secret);
    Ok(secrets
        .flat_map(|setting| setting.environment.iter().cloned())
        .collect())
}

impl Hooked {
    /// The hooks of a run as documents have them.
    pub(super) fn document(&self, backup: &Backup) -> Value {
        if backup.dry_run {
            return all(backup)
                .map(
                    |(kind, command)| json!({ "hook": kind.name(), "command": command, "result": "not-run" }),
                )
                .collect();
        }
        self.reports.iter().map(report_document).collect()
    }
}

fn report_document(report: &HookReport) -> Value {
    let (result, status) = match &report.end {
        CommandEnd::Status(0) => ("ok", Some(0)),
        CommandEnd::Status(status) => ("failed", Some(*status)),
        CommandEnd::Signal(_) => ("killed", None),
        CommandEnd::TimedOut(_) => ("timed-out", None),
        CommandEnd::Stopped => ("stopped", None),
        CommandEnd::NotStarted(_) => ("not-started", None),
    };
    json!({
        "hook": report.kind.name(),
        "command": report.command,
        "result": result,
        "exit_status": status,
        "seconds": report.took.as_secs_f64(),
        "last_lines": if report.end.is_success() { &[][..] } else { &report.last_lines[..] },
    })
}

/// The hooks of one run.
struct HookRun<'a> {
    backup: &'a Backup,
    output: &'a Output,
    hidden: Vec<String>,
    begun: Instant,
    started: String,
    reports: Vec<HookReport>,
}

impl HookRun<'_> {
    /// # Errors
    /// When one of them failed.
    fn before(&mut self) -> Result<(), Failure> {
        let reports = self.run(HookKind::Before, &Told::default())?;
        match reports.iter().find(|report| !report.end.is_success()) {
            None => Ok(()),
            Some(report) if report.end == CommandEnd::Stopped => Err(Failure::new(
                Exit::Interrupted,
                "interrupted in the hook before the backup",
            )),
            Some(report) => Err(failed(report)),
        }
    }

    /// The hooks after the backup, or after its failure.
    fn end(mut self, made: Result<(BackupOutcome, Exit), Failure>) -> Result<Hooked, Failure> {
        let told = Told::of(&made, self.begun.elapsed());
        let kind = match told.exit {
            Some(Exit::Ok) => HookKind::OnSuccess,
            _ => HookKind::OnFailure,
        };
        let mut failures = Vec::new();
        for kind in [kind, HookKind::After] {
            match self.run(kind, &told) {
                Ok(reports) => failures.extend(reports.iter().filter_map(unsuccessful)),
                Err(failure) => failures.push(failure.message),
            }
        }
        match made {
            Ok((outcome, exit)) => {
                for failure in &failures {
                    self.output.insist(&format!("warning: {}", text::lines(failure)));
                }
                Ok(Hooked {
                    outcome,
                    exit: match (failures.is_empty(), exit) {
                        (false, Exit::Ok) => Exit::Partial,
                        _ => exit,
                    },
                    reports: self.reports,
                })
            }
            Err(failure) => Err(failures.into_iter().fold(failure, Failure::because)),
        }
    }

    /// Runs the hooks of one kind. Ctrl-C stops the one that runs, a second time at once.
    fn run(&mut self, kind: HookKind, told: &Told<'_>) -> Result<Vec<HookReport>, Failure> {
        if self.backup.hooks.of(kind).is_empty() {
            return Ok(Vec::new());
        }
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        let _signals = Signals::watch_command(cancel.clone(), at_once.clone())?;
        let stops = Stops {
            time_limit: self.backup.hooks.time_limit,
            cancel: &cancel,
            at_once: &at_once,
        };
        let facts = HookFacts {
            document: told.document(self, kind).to_string(),
            variables: told.variables(self),
            hidden: self.hidden.clone(),
        };
        let said = |line: &str| tracing::info!("hook {}: {line}", kind.name());
        let reports = run_hooks(&self.backup.hooks, kind, &facts, stops, &said);
        for report in &reports {
            let took = units::duration(report.took);
            tracing::info!(
                "hook {}: {} after {took}: {}",
                kind.name(),
                report.end,
                report.command
            );
        }
        self.reports.extend(reports.iter().cloned());
        Ok(reports)
    }
}

/// What is known when hooks run: nothing yet, or how the backup ended.
#[derive(Default)]
struct Told<'a> {
    exit: Option<Exit>,
    failure: Option<&'a Failure>,
    outcome: Option<&'a BackupOutcome>,
    took: Duration,
}

impl<'a> Told<'a> {
    fn of(made: &'a Result<(BackupOutcome, Exit), Failure>, took: Duration) -> Told<'a> {
        let (exit, failure, outcome) = match made {
            Ok((outcome, exit)) => (*exit, None, Some(outcome)),
            Err(failure) => (failure.exit, Some(failure), None),
        };
        Told {
            exit: Some(exit),
            failure,
            outcome,
            took,
        }
    }

    fn document(&self, run: &HookRun<'_>, kind: HookKind) -> Value {
        let backup = run.backup;
        json!({
            "schema": SCHEMA,
            "hook": kind.name(),
            "backup": {
                "name": backup.name,
                "host": backup.host,
                "path": backup.path.as_deref().map(Path::to_string_lossy),
                "mode": backup.mode.name,
                "storages": urls(backup),
            },
            "started": run.started,
            "seconds": self.took.as_secs_f64(),
            "status": self.exit.map(Exit::word),
            "exit_code": self.exit.map(Exit::code),
            "error": self.failure.map(|failure| json!({
                "message": failure.message,
                "causes": failure.causes,
                "next": failure.next,
            })),
            "result": self.outcome.map(|outcome| summary::backup_document(outcome, self.took)),
        })
    }

    /// The facts that a line of shell needs most often.
    fn variables(&self, run: &HookRun<'_>) -> Vec<(String, String)> {
        let backup = run.backup;
        let mut all = vec![
            ("FREEZER_BACKUP_NAME", backup.name.clone()),
            ("FREEZER_BACKUP_HOST", backup.host.clone()),
            (
                "FREEZER_BACKUP_PATH",
                backup
                    .path
                    .as_deref()
                    .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            ),
            ("FREEZER_BACKUP_MODE", backup.mode.name.clone()),
            ("FREEZER_BACKUP_STORAGES", urls(backup).join("\n")),
        ];
        if let Some(exit) = self.exit {
            all.push(("FREEZER_STATUS", exit.word().to_owned()));
            all.push(("FREEZER_EXIT_CODE", exit.code().to_string()));
            all.push(("FREEZER_SECONDS", self.took.as_secs().to_string()));
        }
        if let Some(outcome) = self.outcome {
            all.push(("FREEZER_BACKUP_LEVEL", outcome.id.level.0.to_string()));
            all.push(("FREEZER_STORED_BYTES", outcome.report.data.bytes.to_string()));
        }
        if let Some(failure) = self.failure {
            all.push(("FREEZER_ERROR", render::failure_text(failure)));
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn urls(backup: &Backup) -> Vec<String> {
    backup.storages.iter().map(|spec| spec.url.clone()).collect()
}

/// A failed hook before the backup.
fn failed(report: &HookReport) -> Failure {
    let message = format!("the hook before the backup failed: {}", report.end);
    let failure = Failure::new(Exit::Failed, message).because(format!("its command is {}", report.command));
    let lines = report.last_lines.iter();
    let failure = lines.fold(failure, |failure, line| {
        failure.because(format!("it said: {line}"))
    });
    let limit = matches!(report.end, CommandEnd::TimedOut(_));
    failure.advise(match limit {
        true => "nothing was read or stored: mend the command, or allow it more with --hook-timeout",
        false => "nothing was read or stored: mend the command, then run it again",
    })
}

/// What is said of a later hook that failed.
fn unsuccessful(report: &HookReport) -> Option<String> {
    if report.end.is_success() {
        return None;
    }
    let said = match report.last_lines.last() {
        Some(line) => format!("; it said: {line}"),
        None => String::new(),
    };
    Some(format!(
        "the hook {} failed: {} ({}){said}",
        report.kind.name(),
        report.end,
        report.command
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: HookKind, end: CommandEnd) -> HookReport {
        HookReport {
            kind,
            command: "notify".to_owned(),
            end,
            took: Duration::from_millis(1500),
            last_lines: vec!["no route".to_owned()],
        }
    }

    #[test]
    fn a_failed_hook_before_says_that_nothing_was_done_and_what_it_said() {
        let failure = failed(&report(
            HookKind::Before,
            CommandEnd::TimedOut(Duration::from_secs(90)),
        ));
        assert!(failure.message.contains("longer than 90s"), "{failure:?}");
        assert_eq!(failure.causes, ["its command is notify", "it said: no route"]);
        assert!(failure.next[0].contains("--hook-timeout"), "{failure:?}");
    }

    #[test]
    fn a_later_failure_is_one_line() {
        let line = unsuccessful(&report(HookKind::After, CommandEnd::Status(4)));
        let expected = "the hook after failed: it ended with exit status 4 (notify); it said: no route";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(
            unsuccessful(&report(HookKind::After, CommandEnd::Status(0))),
            None
        );
    }

    #[test]
    fn documents_tell_how_a_hook_ended() {
        let document = report_document(&report(HookKind::OnSuccess, CommandEnd::Signal(9)));
        assert_eq!(document["result"], "killed");
        assert_eq!(document["hook"], "on-success");
        assert_eq!(document["seconds"], 1.5);
    }
}
