//! `check`: verifies what is stored.

use std::time::Instant;

use freezer_agent::{AgentError, CheckOptions, CheckReport, Keyring};
use serde_json::json;

use super::browse::those_that_answered;
use super::session::{Session, passphrase};
use super::{Context, failure, filter};
use crate::command::Check;
use crate::exit::{Exit, Failure};
use crate::render::{Style, listing, text};

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
    let opened = session.open_all(&reading.storages)?;
    let options = CheckOptions {
        filter: filter(&check.filter),
        read_data: check.read_data,
        seen: session.seen(),
    };
    let mut reports = Vec::with_capacity(opened.storages.len());
    for storage in opened.storages {
        let url = storage.url().to_owned();
        let report = storage.into_store().and_then(|store| {
            session.with_context(|recipe| freezer_agent::check(&store, &options, &keyring, recipe))
        });
        reports.push((url, report));
    }
    if let [(_, report)] = &mut reports[..] {
        let report = std::mem::replace(report, Err(AgentError::Interrupted));
        return show_one(check, report, (session, context), started);
    }
    let exit = session.end_with(Exit::Ok);
    let (reports, exit) = those_that_answered(reports, exit, context)?;
    let worst = reports.iter().map(|(_, report)| report.exit_class()).max();
    let exit = match worst.map(failure::exit) {
        None | Some(Exit::Ok) => exit,
        Some(worst) => worst,
    };
    let output = &context.output;
    if output.style == Style::Json {
        let one = |(url, report): &(String, CheckReport)| json!({ "storage": url, "report": listing::check_document(report, started.elapsed()) });
        let storages: Vec<_> = reports.iter().map(one).collect();
        context.finish(exit, json!({ "storages": storages }))?;
        return Ok(exit);
    }
    for (url, report) in &reports {
        output.print(&format!("{}:", text::lines(url)))?;
        output.print(&listing::check(report, check.read_data, started.elapsed()))?;
    }
    Ok(exit)
}

/// Shows what came of checking the only storage.
fn show_one(
    check: &Check,
    report: Result<CheckReport, AgentError>,
    (session, context): (Session<'_>, &Context),
    started: Instant,
) -> Result<Exit, Failure> {
    let report = match report {
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
        Style::Json => context.finish(exit, listing::check_document(&report, started.elapsed()))?,
        _ => output.print(&listing::check(&report, check.read_data, started.elapsed()))?,
    }
    Ok(exit)
}
