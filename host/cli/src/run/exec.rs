//! `exec`: runs a command of the user; its failure is ours, as the original has it.

use std::ffi::OsString;
use std::time::Instant;

use freezer_agent::{CommandEnd, ExecOutput, Stops, exec};
use freezer_pipeline::cancel::Cancel;
use serde_json::json;

use super::{Context, hooks};
use crate::command::Exec;
use crate::exit::{Exit, Failure};
use crate::render::{Style, complain, text};
use crate::signals::Signals;

/// Runs it.
///
/// # Errors
/// When it can't be started or doesn't end with status 0.
pub(super) fn run(command: &Exec, context: &Context) -> Result<Exit, Failure> {
    let started = Instant::now();
    let hidden = hooks::secret_variables(context)?;
    let (cancel, at_once) = (Cancel::new(), Cancel::new());
    let _signals = Signals::watch_command(cancel.clone(), at_once.clone())?;
    let stops = Stops {
        time_limit: command.time_limit,
        cancel: &cancel,
        at_once: &at_once,
    };
    // A document stands alone on standard output.
    let output = match context.output.style {
        Style::Json => ExecOutput::Heard,
        Style::Text | Style::Original(_) => ExecOutput::Inherited,
    };
    let end = exec(&command.commands, output, &hidden, stops, &mut complain);
    let shown = shown(&command.commands);
    match &end {
        CommandEnd::Status(0) => {
            let result = json!({
                "command": shown,
                "exit_status": 0,
                "seconds": started.elapsed().as_secs_f64(),
            });
            context.output.finish(Exit::Ok, result)?;
            Ok(Exit::Ok)
        }
        CommandEnd::Stopped => Err(Failure::new(Exit::Interrupted, "interrupted")),
        end => {
            let failure = Failure::new(Exit::Failed, format!("the command failed: {end}"))
                .because(format!("its command is {}", text::lines(&shown)));
            Err(match end {
                CommandEnd::NotStarted(_) => failure.advise(
                    "name a program that is in PATH, or by its whole path; there is no shell around it",
                ),
                CommandEnd::TimedOut(_) => failure.advise("allow it more with --timeout"),
                _ => failure.advise("what it printed says why; mend it, then run it again"),
            })
        }
    }
}

/// A pipeline for messages.
fn shown(commands: &[Vec<OsString>]) -> String {
    let words = |words: &Vec<OsString>| {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    };
    commands.iter().map(words).collect::<Vec<_>>().join(" | ")
}
