//! `restore`: from the judged command to the recipe, and its outcome to the user.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freezer_agent::{AgentError, Keyring, OpenBackup, PluginMode, RestoreOptions};
use freezer_pipeline::store::Store;
use freezer_plugin::PluginKind;

use super::session::{Session, absolute, passphrase};
use super::{Context, failure, restore_stream, wanted};
use crate::command::{Restore, RestoreGoal};
use crate::compat::messages;
use crate::exit::{Exit, Failure};
use crate::render::{Style, summary, text, units};

/// The mode that puts trees in place where the one that made them isn't there.
const MODE: &str = "fs";

/// Restores.
///
/// # Errors
/// Whatever kept the restore from being done.
pub(super) fn run(restore: &Restore, context: &Context) -> Result<Exit, Failure> {
    let target = match &restore.goal {
        RestoreGoal::Directory(target) => Some(absolute(target)?),
        _ => None,
    };
    let reading = &restore.selection.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, target.iter().cloned().collect())?;
    let wanted = wanted(&restore.selection)?;
    let (store, storage_directories) = session.open_for(reading, &wanted, &keyring)?;
    // A mode that isn't there is said before anything is read.
    if let Some(mode) = &restore.mode {
        session.mode(mode, &restore.mode_settings)?;
    }
    session.undo_leftovers();
    let backup = OpenBackup::open(&store, &wanted, &keyring).map_err(|error| failure::of_agent(&error))?;
    if let (Some(seen), None) = (session.seen(), wanted.at) {
        session.with_context(|recipe| backup.compare_seen(&seen, recipe));
    }
    match target {
        Some(target) => tree(restore, (backup, store), (target, storage_directories), session),
        None => restore_stream::run(restore, (backup, store), session, context),
    }
}

/// Restores into a directory.
fn tree(
    restore: &Restore,
    (backup, store): (OpenBackup, Arc<dyn Store>),
    (target, storage_directories): (PathBuf, Vec<PathBuf>),
    session: Session<'_>,
) -> Result<Exit, Failure> {
    let (started, context) = (Instant::now(), session.context);
    if let (Some(mode), Some(_)) = (&restore.mode, backup.stream()) {
        let message = format!("in a directory a stream is just a file: mode {mode} has no part in it");
        return Err(Failure::usage(message)
            .advise("leave out --mode to get the file, or --target to give the stream to the mode"));
    }
    let mode = match backup.stream() {
        Some(_) => None,
        None => Some(mode_of(restore, backup.mode(), &session)?),
    };
    let options = RestoreOptions {
        target,
        storage_directories,
        paths: restore.paths.clone(),
        overwrite: restore.overwrite,
        stale: restore.stale,
        dry_run: restore.dry_run,
        workers: restore.resources.workers,
        memory_bytes: restore.resources.memory_bytes,
    };
    let result = session.with_context(|recipe| {
        let mode = mode.as_ref().map(|mode| mode as &dyn freezer_agent::RestoreMode);
        freezer_agent::restore(backup, &options, mode, recipe)
    });
    drop((store, mode));
    match result {
        Ok(outcome) => {
            let exit = session.end_with(failure::exit(outcome.exit_class()));
            let output = &context.output;
            match output.style {
                Style::Text if !output.quiet => {
                    output.print(&summary::restore(&outcome, (started.elapsed(), &context.usage())))?;
                }
                Style::Json => {
                    context.finish(exit, summary::restore_document(&outcome, started.elapsed()))?
                }
                Style::Text | Style::Original(_) => {}
            }
            Ok(exit)
        }
        Err(error) => {
            let written = session.files_done();
            drop(session.end());
            let mut failure = failed(&error, context);
            if written > 0 && !restore.dry_run {
                failure = failure.advise(left_behind(written, &options.target));
            }
            Err(failure)
        }
    }
}

fn failed(error: &AgentError, context: &Context) -> Failure {
    let mut failure = failure::of_agent(error);
    if let (AgentError::TargetNotEmpty { path }, Style::Original(_)) = (error, context.output.style) {
        failure.message = messages::target_not_empty(path);
    }
    failure
}

/// The mode that was asked for, else the one that made the backup, if it is there, else [`MODE`].
pub(super) fn mode_of<'s>(
    restore: &Restore,
    maker: Option<&str>,
    session: &'s Session<'_>,
) -> Result<PluginMode<'s>, Failure> {
    let maker = maker.filter(|maker| session.host.find(PluginKind::Mode, maker).is_ok());
    let name = restore.mode.as_deref().or(maker).unwrap_or(MODE);
    let (plugin, settings) = session.mode(name, &restore.mode_settings)?;
    Ok(PluginMode {
        host: &session.host,
        plugin,
        settings,
        path: None,
        run: Arc::clone(&session.run),
    })
}

/// A path for messages.
pub(super) fn shown(path: &Path) -> String {
    crate::render::text::escape(path.as_os_str().as_encoded_bytes())
}

/// What a restore that broke off leaves, and what to do with it.
fn left_behind(files: u64, target: &Path) -> String {
    format!(
        "{} holds what was restored by then ({}, each whole): restore with --overwrite goes over it, or remove it",
        text::escape(target.as_os_str().as_encoded_bytes()),
        units::counted(files, "entry", "entries")
    )
}
