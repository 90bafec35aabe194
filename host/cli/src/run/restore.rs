//! `restore`: from the judged command to the recipe, and its outcome to the user.

use std::sync::Arc;
use std::time::Instant;

use freezer_agent::{AgentError, Keyring, PluginMode, RestoreOptions};

use super::session::{Session, absolute, passphrase};
use super::{Context, failure, wanted};
use crate::command::Restore;
use crate::compat::messages;
use crate::exit::{Exit, Failure};
use crate::render::{Style, summary};

/// The mode that puts trees in place.
const MODE: &str = "fs";

/// Restores.
///
/// # Errors
/// Whatever kept the restore from being done.
pub(super) fn run(restore: &Restore, context: &Context) -> Result<Exit, Failure> {
    let started = Instant::now();
    let target = absolute(&restore.target)?;
    let reading = &restore.selection.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, vec![target.clone()])?;
    let wanted = wanted(&restore.selection)?;
    let (store, storage_directories) = session.open_for(reading, &wanted, &keyring)?;
    let (mode, settings) = session.mode(MODE, &restore.mode_settings)?;
    session.undo_leftovers();
    let options = RestoreOptions {
        wanted,
        target,
        storage_directories,
        paths: restore.paths.clone(),
        overwrite: restore.overwrite,
        stale: restore.stale,
        dry_run: restore.dry_run,
        workers: restore.resources.workers,
        memory_bytes: restore.resources.memory_bytes,
    };
    let mode = PluginMode {
        host: &session.host,
        plugin: mode,
        settings,
        path: None,
        run: Arc::clone(&session.run),
    };
    let result = session
        .with_context(|recipe| freezer_agent::restore(&store, &options, &keyring, Some(&mode), recipe));
    drop((store, mode.plugin));
    match result {
        Ok(outcome) => {
            let exit = session.end_with(failure::exit(outcome.exit_class()));
            let output = &context.output;
            match output.style {
                Style::Text if !output.quiet => {
                    output.print(&summary::restore(
                        &outcome,
                        started.elapsed(),
                        &context.config.zone,
                    ))?;
                }
                Style::Json => output.finish(exit, summary::restore_document(&outcome, started.elapsed()))?,
                Style::Text | Style::Original(_) => {}
            }
            Ok(exit)
        }
        Err(error) => {
            drop(session.end());
            let mut failure = failure::of_agent(&error);
            if let (AgentError::TargetNotEmpty { path }, Style::Original(_)) = (&error, context.output.style)
            {
                failure.message = messages::target_not_empty(path);
            }
            Err(failure)
        }
    }
}
