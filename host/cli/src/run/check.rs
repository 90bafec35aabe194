//! `check`: verifies what is stored.

use std::time::Instant;

use freezer_agent::{AgentError, CheckOptions, Keyring};

use super::session::{Session, passphrase};
use super::{Context, failure, filter};
use crate::command::Check;
use crate::exit::{Exit, Failure};
use crate::render::{Style, listing};

/// Verifies backups; what is damaged is in the report, not an error.
///
/// # Errors
/// When the storage can't be read or nothing matches.
pub(super) fn run(check: &Check, context: &Context) -> Result<Exit, Failure> {
    let started = Instant::now();
    let reading = &check.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open_first(reading)?;
    let options = CheckOptions {
        filter: filter(&check.filter),
        read_data: check.read_data,
    };
    let result = session.with_context(|recipe| freezer_agent::check(&store, &options, &keyring, recipe));
    drop(store);
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            drop(session.end());
            return Err(match error {
                AgentError::UnknownName {
                    empty: true, storage, ..
                } => Failure::new(Exit::NothingFound, format!("no backups in {storage}"))
                    .advise("check the storage's URL"),
                error => failure::of_agent(&error),
            });
        }
    };
    let exit = session.end_with(failure::exit(report.exit_class()));
    let output = &context.output;
    match output.style {
        Style::Json => output.finish(exit, listing::check_document(&report, started.elapsed()))?,
        _ => output.print(&listing::check(&report, check.read_data, started.elapsed()))?,
    }
    Ok(exit)
}
