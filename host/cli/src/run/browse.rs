//! `list`, `ls`, `dump`: what is in a storage, and in a backup.

use std::io::{BufWriter, Write};

use freezer_agent::{Keyring, ListOptions, LsEntry, LsOptions};
use serde_json::json;

use super::session::{Session, passphrase};
use super::{Context, failure, filter, wanted};
use crate::command::{Dump, List, Ls, Selection};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style, listing};

/// Lists backups, or prints the commands that restore one without this program.
///
/// # Errors
/// When the storage can't be listed, or nothing matches.
pub(super) fn list(list: &List, context: &Context) -> Result<Exit, Failure> {
    if let Some(selection) = &list.recovery {
        return recovery(selection, context);
    }
    let keyring = Keyring::new(
        passphrase(list.reading.pass_file.as_deref(), &context.output)?,
        list.reading.compat,
    );
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open_first(&list.reading)?;
    let options = ListOptions {
        filter: filter(&list.filter),
        verify: list.verify,
    };
    let rows = session.with_context(|recipe| freezer_agent::list(&store, &options, &keyring, recipe));
    drop(store);
    let exit = session.end_with(Exit::Ok);
    let rows = rows.map_err(|error| failure::of_agent(&error))?;
    let output = &context.output;
    let asked = list.filter.name.is_some() || list.filter.host.is_some();
    if rows.is_empty() && asked {
        return Err(Failure::new(
            Exit::NothingFound,
            format!("no such backup in {}", list.reading.places()),
        )
        .advise("leave out --name and --host to see all"));
    }
    match output.style {
        Style::Json => output.finish(exit, json!({ "backups": listing::backup_documents(&rows) }))?,
        _ if rows.is_empty() => output.note(&format!("no backups in {}", list.reading.places())),
        _ => output.print(&listing::backups(&rows, &context.config.zone))?,
    }
    Ok(exit)
}

/// Prints the commands that restore a backup with other tools alone.
fn recovery(selection: &Selection, context: &Context) -> Result<Exit, Failure> {
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open_first(&selection.reading)?;
    let script = freezer_agent::recovery(&store, &wanted(selection)?);
    drop(store);
    let exit = session.end_with(Exit::Ok);
    let script = script.map_err(|error| failure::of_agent(&error))?;
    match context.output.style {
        Style::Json => context.output.finish(exit, json!({ "script": script }))?,
        _ => context.output.print_raw(script.as_bytes())?,
    }
    Ok(exit)
}

/// Lists the files of a backup, one line each as they are read: a backup may have millions.
///
/// # Errors
/// When nothing matches, or the index is damaged.
pub(super) fn ls(ls: &Ls, context: &Context) -> Result<Exit, Failure> {
    let reading = &ls.selection.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open_first(reading)?;
    let options = LsOptions {
        wanted: wanted(&ls.selection)?,
        path: ls.path.clone(),
        recursive: ls.recursive,
    };
    let json = context.output.style == Style::Json;
    let zone = &context.config.zone;
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let mut visit = |entry: &LsEntry| {
        let mut line = if json {
            listing::entry_document(entry)
        } else {
            listing::entry(entry, zone)
        };
        line.push('\n');
        out.write_all(line.as_bytes())
    };
    let result =
        session.with_context(|recipe| freezer_agent::ls(&store, &options, &keyring, recipe, &mut visit));
    drop(store);
    let exit = session.end_with(Exit::Ok);
    let flushed = out.flush();
    // The lock must be given back before a document is printed.
    drop(out);
    match (result, flushed) {
        (Ok(entries), flushed) => {
            render::written(flushed)?;
            context.output.finish(exit, json!({ "entries": entries }))?;
            Ok(exit)
        }
        (Err(error), _) if render::is_closed_pipe(&error) => Ok(exit),
        (Err(error), _) => Err(failure::of_agent(&error)),
    }
}

/// Writes one file's content to standard output.
///
/// # Errors
/// When there is no such file, or what it needs is damaged.
pub(super) fn dump(dump: &Dump, context: &Context) -> Result<Exit, Failure> {
    let reading = &dump.selection.reading;
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let session = Session::start(context, Vec::new())?;
    let (_, store) = session.open_first(reading)?;
    let wanted = wanted(&dump.selection)?;
    // Unbuffered by lines: a file's content isn't text.
    let mut out = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    let result = session.with_context(|recipe| {
        freezer_agent::dump(&store, (&wanted, &dump.path), &keyring, &mut out, recipe)
    });
    drop(store);
    let exit = session.end_with(Exit::Ok);
    let flushed = out.flush();
    drop(out);
    match (result, flushed) {
        (Ok(bytes), flushed) => {
            render::written(flushed)?;
            context.output.finish(exit, json!({ "bytes": bytes }))?;
            Ok(exit)
        }
        (Err(error), _) if render::is_closed_pipe(&error) => Ok(exit),
        (Err(error), _) => Err(failure::of_agent(&error)),
    }
}
