//! `info`, `storage test` and `storage list`: what is known about storages.

use freezer_agent::TrialOptions;
use freezer_pipeline::store::StoreError;
use serde_json::json;

use super::session::{Session, plugin_host};
use super::{Context, failure};
use crate::command::{Info, StorageTest};
use crate::exit::{Exit, Failure};
use crate::render::{Style, storages};

/// Tells what storages hold.
///
/// # Errors
/// When none can be asked.
pub(super) fn info(info: &Info, context: &Context) -> Result<Exit, Failure> {
    let session = Session::start(context, Vec::new())?;
    let mut stores = Vec::with_capacity(info.storages.len());
    for spec in &info.storages {
        stores.push(session.open(spec)?.1);
    }
    let rows = session.with_context(|recipe| freezer_agent::info(&stores, recipe));
    drop(stores);
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            drop(session.end());
            return Err(failure::of_agent(&error));
        }
    };
    let exit = session.end_with(failure::exit(freezer_agent::info_exit(&rows)));
    let errors: Vec<&StoreError> = rows
        .iter()
        .filter_map(|row| row.containers.as_ref().err())
        .collect();
    if let (Some(error), true) = (errors.first(), errors.len() == rows.len()) {
        return Err(
            Failure::new(exit, format!("can't tell what {} holds", error.storage))
                .because(error.message.clone())
                .advise("freezer storage test URL shows what works"),
        );
    }
    let output = &context.output;
    for error in errors {
        output.insist(&format!("warning: {}: {}", error.storage, error.message));
    }
    match (output.style, &info.document) {
        (Style::Json, _) => context.finish(exit, storages::info_document(&rows))?,
        (Style::Text, _) => output.print(&storages::info(&rows))?,
        (Style::Original(_), None) if output.quiet => {}
        (Style::Original(_), None) => output.print(&storages::original_table(&rows))?,
        (Style::Original(_), Some(path)) => {
            let document = storages::original_document(&rows);
            match path.as_os_str() == "-" {
                true => output.print_raw(document.as_bytes())?,
                false => std::fs::write(path, document).map_err(|error| {
                    Failure::new(Exit::Failed, format!("can't write {path:?}"))
                        .because(error.to_string())
                        .advise("name another file with --metadata-out")
                })?,
            }
        }
    }
    Ok(exit)
}

/// Tries a storage out.
///
/// # Errors
/// When it can't be opened, or the user stopped it.
pub(super) fn test(test: &StorageTest, context: &Context) -> Result<Exit, Failure> {
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open(&test.storage)?;
    let options = TrialOptions {
        size_bytes: test.size_bytes,
    };
    let report = session.with_context(|recipe| freezer_agent::trial(&store, options, recipe));
    drop(store);
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            drop(session.end());
            return Err(failure::of_agent(&error));
        }
    };
    let exit = session.end_with(failure::exit(report.exit_class()));
    let output = &context.output;
    match output.style {
        Style::Json => context.finish(exit, storages::trial_document(&report))?,
        _ => output.print(&storages::trial(&report))?,
    }
    for key in &report.left {
        output.insist(&format!(
            "warning: left behind: {}",
            crate::render::text::lines(key)
        ));
    }
    Ok(exit)
}

/// Lists the storages of the configuration file and the schemes that plugins serve.
///
/// # Errors
/// When a grants file is invalid.
pub(super) fn list(context: &Context) -> Result<Exit, Failure> {
    let found = plugin_host(context)?.discover();
    let named = &context.config.file.storage;
    let output = &context.output;
    match output.style {
        Style::Json => {
            let named: Vec<_> = named
                .iter()
                .map(|(name, storage)| json!({ "name": name, "url": storage.url }))
                .collect();
            let schemes = storages::schemes(&found);
            let schemes: Vec<_> = schemes
                .iter()
                .map(|(scheme, plugin)| json!({ "scheme": scheme, "plugin": plugin }))
                .collect();
            output.finish(Exit::Ok, json!({ "storages": named, "schemes": schemes }))?;
        }
        _ => output.print(&storages::list(named, &found))?,
    }
    Ok(Exit::Ok)
}
