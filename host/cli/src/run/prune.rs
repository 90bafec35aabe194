//! `prune`: from the judged command to the recipe, for each storage by itself.

use freezer_agent::{AgentError, Keyring, PruneOptions, PruneReport};
use serde_json::json;

use super::session::{Session, passphrase};
use super::{Context, failure, filter};
use crate::command::Prune;
use crate::exit::{Exit, Failure};
use crate::render::{Style, retention};

/// Removes old backups, or says which would go.
///
/// # Errors
/// When a storage fails or nothing matches. A name that was held back is a result.
pub(super) fn run(prune: &Prune, context: &Context) -> Result<Exit, Failure> {
    let reading = &prune.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, Vec::new())?;
    let options = PruneOptions {
        filter: filter(&prune.filter),
        policy: prune.removal.policy.clone(),
        older_than_days: prune.removal.older_than_days,
        zone: context.config.zone.clone(),
        limit: prune.limit,
        even_newest: prune.even_newest,
        grace_seconds: prune.grace_seconds,
        dry_run: prune.dry_run,
        seen: session.seen(),
    };
    let mut reports = Vec::new();
    for spec in &reading.storages {
        let (_, store) = session.open(spec)?;
        let result = session.with_context(|recipe| freezer_agent::prune(&*store, &options, &keyring, recipe));
        drop(store);
        match result {
            Ok(report) => reports.push((spec.url.as_str(), report)),
            // The original's admin action finds nothing to remove there, and says so to nobody.
            Err(AgentError::UnknownName { .. } | AgentError::NoContainer { .. })
                if matches!(context.output.style, Style::Original(_)) => {}
            Err(error) => {
                drop(session.end());
                return Err(failure::of_agent(&error));
            }
        }
    }
    let worst = reports.iter().map(|(_, report)| report.exit_class()).max();
    let exit = session.end_with(worst.map_or(Exit::Ok, failure::exit));
    tell(&reports, exit, context)?;
    Ok(exit)
}

fn tell(reports: &[(&str, PruneReport)], exit: Exit, context: &Context) -> Result<(), Failure> {
    let output = &context.output;
    match output.style {
        Style::Json => {
            let storages: Vec<_> = reports
                .iter()
                .map(|(url, report)| retention::prune_document(url, report))
                .collect();
            context.finish(exit, json!({ "storages": storages }))
        }
        // The original prints nothing; what was held back must not pass silently.
        Style::Original(_) => {
            for held in reports.iter().flat_map(|(_, report)| retention::held(report)) {
                output.insist(&format!("warning: {held}"));
            }
            Ok(())
        }
        Style::Text => {
            for (url, report) in reports {
                if reports.len() > 1 {
                    output.print(&format!("{url}:"))?;
                }
                for warning in retention::warnings(report) {
                    output.warn(&warning);
                }
                if !output.quiet {
                    output.print(&retention::prune(report))?;
                }
                for held in retention::held(report) {
                    output.insist(&format!("warning: {held}"));
                }
            }
            Ok(())
        }
    }
}
