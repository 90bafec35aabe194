//! `copy`: from the judged command to the recipe, and its outcome to the user.

use std::time::Instant;

use freezer_agent::{AgentError, CopyOptions, CopyReport};

use super::session::Session;
use super::{Context, failure, filter};
use crate::command::Copy;
use crate::exit::{Exit, Failure};
use crate::render::{Style, copies, text};

/// Copies backups.
///
/// # Errors
/// Whatever kept a backup from being copied.
pub(super) fn run(copy: &Copy, context: &Context) -> Result<Exit, Failure> {
    let started = Instant::now();
    let session = Session::start(context, Vec::new())?;
    let (_, from) = session.open(&copy.from)?;
    let (_, to) = session.open(&copy.to)?;
    let options = CopyOptions {
        filter: filter(&copy.filter),
        which: copy.which,
        segment_bytes: copy.segment_bytes,
        memory_bytes: copy.memory_bytes,
        dry_run: copy.dry_run,
        journal: session.journal().filter(|_| !copy.dry_run),
    };
    let result = session.with_context(|recipe| freezer_agent::copy((&from, &to), &options, recipe));
    drop((from, to));
    let report: CopyReport = match result {
        Ok(report) => report,
        Err(error) => {
            drop(session.end());
            let began = !matches!(
                error,
                AgentError::UnknownName { .. } | AgentError::NoContainer { .. } | AgentError::Select { .. }
            );
            let failure = failure::of_agent(&error);
            return Err(match began && !copy.dry_run {
                true => failure.advise(format!(
                    "what {} has by now stays there and is no backup before it is whole; the same command goes on",
                    text::lines(&copy.to.url)
                )),
                false => failure,
            });
        }
    };
    let exit = session.end_with(failure::exit(report.exit_class()));
    let output = &context.output;
    for failed in copies::failed(&report) {
        output.insist(&format!("warning: {failed}"));
    }
    match output.style {
        Style::Json => context.finish(exit, copies::document(&report, copy, started.elapsed()))?,
        _ if output.quiet => {}
        _ => output.print(&copies::summary(&report, copy, started.elapsed()))?,
    }
    Ok(exit)
}
