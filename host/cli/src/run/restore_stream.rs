//! `restore` of a stream to where streams go: a file, standard output, a command, or the mode that made it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freezer_agent::{AgentError, OpenBackup, SinkCommand, StreamGoal, StreamOutcome, restore_stream};
use freezer_pipeline::RunContext;
use freezer_pipeline::store::Store;

use super::restore::{mode_of, shown};
use super::session::{Session, absolute};
use super::stream_file::{NewFile, PatientFile};
use super::{Context, failure, hooks};
use crate::command::{Restore, RestoreGoal};
use crate::exit::{Exit, Failure};
use crate::render::summary::{self, StreamPlace};
use crate::render::{Style, complain, text};

/// Restores a stream.
///
/// # Errors
/// Whatever kept the restore from being done.
pub(super) fn run(
    restore: &Restore,
    (backup, store): (OpenBackup, Arc<dyn Store>),
    session: Session<'_>,
    context: &Context,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (place, result) = match &restore.goal {
        RestoreGoal::Mode => {
            let mode = mode_of(restore, None, &session)?;
            let place = mode.plugin.manifest().name.clone();
            require_maker(&backup, &place)?;
            let result = by(&session, |recipe| {
                let goal = really(restore, StreamGoal::Mode(&mode));
                restore_stream(&backup, goal, recipe)
            });
            (format!("mode {}", text::lines(&place)), result)
        }
        RestoreGoal::Command(line) => {
            let hidden = hooks::secret_variables(context)?;
            let command = SinkCommand {
                line,
                hidden: &hidden,
                is_told_apart: context.output.style == Style::Json,
            };
            let result = by(&session, |recipe| {
                let goal = really(restore, StreamGoal::Command(command));
                restore_stream(&backup, goal, recipe)
            });
            (text::escape(line.as_encoded_bytes()), result)
        }
        RestoreGoal::File(file) | RestoreGoal::Directory(file) if file == Path::new("-") => {
            let result = by(&session, |recipe| {
                let out: Box<dyn Write> = match PatientFile::standard_output(recipe.cancel) {
                    Some(pipe) => Box::new(pipe),
                    None => Box::new(std::io::stdout().lock()),
                };
                let mut out = BufWriter::with_capacity(256 << 10, out);
                let goal = really(restore, StreamGoal::Output(&mut out));
                restore_stream(&backup, goal, recipe)
            });
            ("standard output".to_owned(), result)
        }
        RestoreGoal::File(file) | RestoreGoal::Directory(file) => {
            let file = absolute(file)?;
            let result = to_file(restore, &backup, &file, &session);
            (shown(&file), result)
        }
    };
    drop(store);
    let place = StreamPlace {
        place,
        dry_run: restore.dry_run,
    };
    match result {
        Ok(outcome) => {
            let exit = session.end_with(Exit::Ok);
            tell(&outcome, (&place, started), exit, context)?;
            Ok(exit)
        }
        Err(failure) => {
            drop(session.end());
            Err(failure)
        }
    }
}

/// A stream goes back only to the mode that made it: another one would take it for something of its own.
fn require_maker(backup: &OpenBackup, mode: &str) -> Result<(), Failure> {
    match backup.mode() {
        Some(maker) if maker != mode && backup.stream().is_some() => Err(Failure::new(
            Exit::Failed,
            format!(
                "this stream was made by {}, not by mode {mode}",
                text::lines(maker)
            ),
        )
        .advise("write it to a file with -o FILE, or give it to a command with --to-command CMD")),
        _ => Ok(()),
    }
}

fn by<T>(
    session: &Session<'_>,
    work: impl FnOnce(&RunContext<'_>) -> Result<T, AgentError>,
) -> Result<T, Failure> {
    session
        .with_context(work)
        .map_err(|error| failure::of_agent(&error))
}

/// In a dry run the stream goes nowhere.
fn really<'g>(restore: &Restore, goal: StreamGoal<'g>) -> StreamGoal<'g> {
    match restore.dry_run {
        true => StreamGoal::Nowhere,
        false => goal,
    }
}

/// Writes a file under a temporary name beside it, and gives it its own when it is whole.
fn to_file(
    restore: &Restore,
    backup: &OpenBackup,
    file: &Path,
    session: &Session<'_>,
) -> Result<StreamOutcome, Failure> {
    // What a link leads to is meant, not the link: /dev/stdout is one.
    let file = &std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let seen = std::fs::symlink_metadata(file);
    let is_there = seen.is_ok();
    if seen.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
        return Err(
            Failure::new(Exit::Failed, format!("{} is a directory", shown(file)))
                .advise("restore into it with --target, or name a file with -o"),
        );
    }
    if restore.dry_run {
        return by(session, |recipe| {
            restore_stream(backup, StreamGoal::Nowhere, recipe)
        });
    }
    if seen.is_ok_and(|seen| !seen.is_file() && !seen.is_symlink()) {
        return to_device(backup, file, session);
    }
    if is_there && !restore.overwrite {
        return Err(
            Failure::new(Exit::Failed, format!("{} is there already", shown(file)))
                .advise("give --overwrite to replace it, or name another file with -o"),
        );
    }
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("can't write {}", shown(file)))
            .because(error.to_string())
            .advise("name a file in a directory that this user may write, with room for it")
    };
    let folder = file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    // Said here, since what makes the file would name its temporary name.
    std::fs::metadata(&folder).map_err(failed)?;
    let new = NewFile::create(&folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(256 << 10, new);
    let outcome = by(session, |recipe| {
        restore_stream(backup, StreamGoal::Output(&mut out), recipe)
    })?;
    let new = out.into_inner().map_err(|error| failed(error.into_error()))?;
    new.finish(file, restore.overwrite).map_err(failed)?;
    Ok(outcome)
}

/// Devices and FIFOs are written as they are.
fn to_device(backup: &OpenBackup, file: &Path, session: &Session<'_>) -> Result<StreamOutcome, Failure> {
    let restored = session.with_context(|recipe| {
        let mut out = match PatientFile::open(file, recipe.cancel) {
            Ok(out) => out,
            Err(error) => {
                return recipe
                    .cancel
                    .check()
                    .map_err(AgentError::from)
                    .map(|()| Err(error));
            }
        };
        restore_stream(backup, StreamGoal::Output(&mut out), recipe).map(Ok)
    });
    restored
        .map_err(|error| failure::of_agent(&error))?
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("can't write {}", shown(file))).because(error.to_string())
        })
}

/// Says what came of it: beside the stream, if that is on standard output.
fn tell(
    outcome: &StreamOutcome,
    (place, started): (&StreamPlace, Instant),
    exit: Exit,
    context: &Context,
) -> Result<(), Failure> {
    let (output, took) = (&context.output, started.elapsed());
    match output.style {
        Style::Text if output.quiet => Ok(()),
        Style::Text => {
            let summary = summary::stream(outcome, place, (took, &context.usage()));
            match output.stdout_is_content {
                true => complain(&summary),
                false => output.print(&summary)?,
            }
            Ok(())
        }
        Style::Json => context.finish(exit, summary::stream_document(outcome, place, took)),
        Style::Original(_) => Ok(()),
    }
}
