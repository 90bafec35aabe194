//! `admin --gc`: what killed runs left, in each storage by itself.

use freezer_agent::{LeftoverOptions, LeftoverReport};
use serde_json::json;

use super::session::Session;
use super::{Context, failure};
use crate::command::Admin;
use crate::exit::{Exit, Failure};
use crate::render::{Style, retention};

/// Lists leftovers, and on request removes those that were confirmed.
///
/// # Errors
/// When a storage fails.
pub(super) fn run(admin: &Admin, context: &Context) -> Result<Exit, Failure> {
    let options = LeftoverOptions {
        grace_seconds: admin.grace_seconds,
        remove: admin.remove,
    };
    let session = Session::start(context, Vec::new())?;
    let mut reports = Vec::new();
    for spec in &admin.reading.storages {
        let (_, store) = session.open(spec)?;
        let result = session.with_context(|recipe| freezer_agent::leftovers(&*store, &options, recipe));
        drop(store);
        match result {
            Ok(report) => reports.push((spec.url.as_str(), report)),
            Err(error) => {
                drop(session.end());
                return Err(failure::of_agent(&error));
            }
        }
    }
    let exit = session.end_with(Exit::Ok);
    tell(&reports, exit, context)?;
    Ok(exit)
}

fn tell(reports: &[(&str, LeftoverReport)], exit: Exit, context: &Context) -> Result<(), Failure> {
    let output = &context.output;
    if output.style == Style::Json {
        let storages: Vec<_> = reports
            .iter()
            .map(|(url, report)| retention::leftover_document(url, report))
            .collect();
        return context.finish(exit, json!({ "storages": storages }));
    }
    for (url, report) in reports {
        if reports.len() > 1 {
            output.print(&format!("{url}:"))?;
        }
        output.print(&retention::leftovers(report))?;
        if !report.noted {
            output.warn(&format!(
                "{url} can't be written to: this look isn't noted, so no later run can confirm it"
            ));
        }
    }
    Ok(())
}
