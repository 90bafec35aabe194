//! Commands that the user wants run around a backup: before it, after its success or failure, and at the end.
//!
//! A hook is a line for `sh -c`. It is told the facts as one JSON document on its standard input and as variables;
//! documents are made by the caller, who knows what they look like elsewhere. What a hook says is handed on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process_group::{self, GroupEnd, Stops};

/// Lines of a failed hook that are kept to be shown.
const LAST_LINES: usize = 5;

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Before anything is read or opened. If it fails the backup isn't made.
    Before,
    /// After a backup that is whole.
    OnSuccess,
    /// After a backup that failed, or isn't whole.
    OnFailure,
    /// At the end, whatever came of it.
    After,
}

impl HookKind {
    /// Its name in options and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::OnSuccess => "on-success",
            Self::OnFailure => "on-failure",
            Self::After => "after",
        }
    }
}

/// The hooks of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// See [`HookKind::Before`]; the first that fails is the last that runs.
    pub before: Vec<String>,
    /// See [`HookKind::OnSuccess`].
    pub on_success: Vec<String>,
    /// See [`HookKind::OnFailure`].
    pub on_failure: Vec<String>,
    /// See [`HookKind::After`].
    pub after: Vec<String>,
    /// How long each may take; `None` for as long as it likes.
    pub time_limit: Option<Duration>,
}

impl Hooks {
    /// The commands of one kind.
    #[must_use]
    pub fn of(&self, kind: HookKind) -> &[String] {
        match kind {
            HookKind::Before => &self.before,
            HookKind::OnSuccess => &self.on_success,
            HookKind::OnFailure => &self.on_failure,
            HookKind::After => &self.after,
        }
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [
            HookKind::Before,
            HookKind::OnSuccess,
            HookKind::OnFailure,
            HookKind::After,
        ]
        .into_iter()
        .all(|kind| self.of(kind).is_empty())
    }
}

/// What a hook is told.
#[derive(Debug, Clone, Default)]
pub struct HookFacts {
    /// Its standard input.
    pub document: String,
    /// Variables beside those that this process has.
    pub variables: Vec<(String, String)>,
    /// Variables that it must not see: they may hold secrets.
    pub hidden: Vec<String>,
}

/// How a hook, or a command, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// With this exit status; 0 is success.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Its time was up: it and all it started were killed.
    TimedOut(Duration),
    /// It was stopped by the user.
    Stopped,
    /// It never began.
    NotStarted(String),
}

impl CommandEnd {
    /// True for status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl std::fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it ended with exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
            Self::TimedOut(limit) => {
                write!(
                    f,
                    "it took longer than {limit:?} and was killed with all that it started"
                )
            }
            Self::Stopped => f.write_str("it was stopped"),
            Self::NotStarted(reason) => write!(f, "it can't be started: {reason}"),
        }
    }
}

impl CommandEnd {
    pub(crate) fn of(end: std::io::Result<GroupEnd>, limit: Option<Duration>) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match end {
            Ok(GroupEnd::Ended(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Self::Status(code),
                (None, signal) => Self::Signal(signal.unwrap_or(0)),
            },
            Ok(GroupEnd::TimedOut) => Self::TimedOut(limit.unwrap_or_default()),
            Ok(GroupEnd::Cancelled) => Self::Stopped,
            Err(error) => Self::NotStarted(error.to_string()),
        }
    }
}

/// What came of one hook.
#[derive(Debug, Clone)]
pub struct HookReport {
    /// When it was run.
    pub kind: HookKind,
    /// Its command.
    pub command: String,
    /// How it ended.
    pub end: CommandEnd,
    /// How long it took.
    pub took: Duration,
    /// The last lines it said.
    pub last_lines: Vec<String>,
}

/// Runs the hooks of one kind one after another and hands on what they say. Before a backup the first failure is the
/// end, later ones don't keep each other from running.
pub fn run_hooks(
    hooks: &Hooks,
    kind: HookKind,
    facts: &HookFacts,
    stops: Stops<'_>,
    said: &dyn Fn(&str),
) -> Vec<HookReport> {
    let mut reports = Vec::with_capacity(hooks.of(kind).len());
    for command in hooks.of(kind) {
        let report = run_hook(command, kind, facts, stops, said);
        let is_last = kind == HookKind::Before && !report.end.is_success();
        reports.push(report);
        if is_last {
            break;
        }
    }
    reports
}

fn run_hook(
    line: &str,
    kind: HookKind,
    facts: &HookFacts,
    stops: Stops<'_>,
    said: &dyn Fn(&str),
) -> HookReport {
    let begun = Instant::now();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in &facts.hidden {
        command.env_remove(name);
    }
    command.envs(facts.variables.iter().map(|(name, value)| (name, value)));
    command.env("FREEZER_HOOK", kind.name());
    let mut last_lines: Vec<String> = Vec::with_capacity(LAST_LINES);
    let mut hear = |text: &str| {
        said(text);
        if last_lines.len() == LAST_LINES {
            last_lines.remove(0);
        }
        last_lines.push(text.to_owned());
    };
    let end = process_group::run(vec![command], facts.document.as_bytes(), stops, &mut hear);
    HookReport {
        kind,
        command: line.to_owned(),
        end: CommandEnd::of(end, stops.time_limit),
        took: begun.elapsed(),
        last_lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_pipeline::cancel::Cancel;
    use rstest::rstest;

    fn run_all(hooks: &Hooks, kind: HookKind, facts: &HookFacts) -> Vec<HookReport> {
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        let stops = Stops {
            time_limit: hooks.time_limit,
            cancel: &cancel,
            at_once: &at_once,
        };
        run_hooks(hooks, kind, facts, stops, &|_| {})
    }

    #[test]
    fn the_first_failing_hook_before_is_the_last_and_later_ones_all_run() {
        let commands = vec!["exit 0".to_owned(), "exit 3".to_owned(), "exit 0".to_owned()];
        let hooks = Hooks {
            before: commands.clone(),
            after: commands,
            ..Hooks::default()
        };
        let ends = |kind| -> Vec<CommandEnd> {
            let reports = run_all(&hooks, kind, &HookFacts::default());
            reports.into_iter().map(|report| report.end).collect()
        };
        assert_eq!(
            ends(HookKind::Before),
            [CommandEnd::Status(0), CommandEnd::Status(3)]
        );
        assert_eq!(
            ends(HookKind::After),
            [
                CommandEnd::Status(0),
                CommandEnd::Status(3),
                CommandEnd::Status(0)
            ]
        );
    }

    #[test]
    fn a_hook_knows_the_facts_and_not_what_is_hidden() {
        let facts = HookFacts {
            document: "{\"a\":1}".to_owned(),
            variables: vec![("FREEZER_BACKUP_NAME".to_owned(), "n".to_owned())],
            hidden: vec!["PATH".to_owned()],
        };
        let hooks = Hooks {
            after: vec!["read line; echo \"$line $FREEZER_BACKUP_NAME $FREEZER_HOOK\"; test -z \"$(/usr/bin/env | /usr/bin/grep ^PATH=)\"".to_owned()],
            ..Hooks::default()
        };
        let reports = run_all(&hooks, HookKind::After, &facts);
        assert_eq!(reports[0].last_lines, ["{\"a\":1} n after"]);
        assert_eq!(reports[0].end, CommandEnd::Status(0), "what is hidden was seen");
    }

    #[rstest]
    #[case(CommandEnd::Status(0), true)]
    #[case(CommandEnd::Status(1), false)]
    #[case(CommandEnd::Signal(0), false)]
    #[case(CommandEnd::Stopped, false)]
    fn only_status_zero_is_success(#[case] end: CommandEnd, #[case] success: bool) {
        assert_eq!(end.is_success(), success);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let hooks = Hooks {
            before: vec!["for i in 1 2 3 4 5 6 7; do echo $i; done".to_owned()],
            ..Hooks::default()
        };
        let reports = run_all(&hooks, HookKind::Before, &HookFacts::default());
        assert_eq!(reports[0].last_lines, ["3", "4", "5", "6", "7"]);
    }
}
