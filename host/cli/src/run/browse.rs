//! `list`, `ls`, `dump`: what is in a storage, and in a backup.

use std::io::{BufWriter, Write};

use freezer_agent::{AgentError, ExitClass, Keyring, ListOptions, Listed, Listing, LsOptions};
use serde_json::json;

use super::session::{Session, passphrase};
use super::{Context, failure, filter, wanted};
use crate::command::{Dump, List, Ls, Selection};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style, listing, text, units};

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
    let opened = session.open_all(&list.reading.storages)?;
    let options = ListOptions {
        filter: filter(&list.filter),
        verify: list.verify,
        seen: session.seen(),
    };
    let mut rows_of = Vec::with_capacity(opened.storages.len());
    for storage in opened.storages {
        let url = storage.url().to_owned();
        let rows = storage.into_store().and_then(|store| {
            session.with_context(|recipe| freezer_agent::list(&store, &options, &keyring, recipe))
        });
        rows_of.push((url, rows));
    }
    let exit = session.end_with(Exit::Ok);
    let (lists, exit) = those_that_answered(rows_of, exit, context)?;
    let hidden = lists
        .iter()
        .any(|(_, listing)| listing.exit_class() != ExitClass::Ok);
    let exit = match (hidden, exit) {
        (true, Exit::Ok) => Exit::Partial,
        _ => exit,
    };
    show_lists(list, &lists, exit, context)
}

/// What of several storages could be read; the others are told, and make the result partial.
///
/// # Errors
/// None could be read: the first one's failure.
pub(super) fn those_that_answered<T>(
    answers: Vec<(String, Result<T, AgentError>)>,
    exit: Exit,
    context: &Context,
) -> Result<(Vec<(String, T)>, Exit), Failure> {
    let mut good = Vec::with_capacity(answers.len());
    let mut bad = Vec::new();
    for (url, answer) in answers {
        match answer {
            Ok(answer) => good.push((url, answer)),
            Err(error) => bad.push((url, failure::of_agent(&error))),
        }
    }
    let interrupted = bad
        .iter()
        .position(|(_, failure)| failure.exit == Exit::Interrupted);
    if good.is_empty() || interrupted.is_some() {
        let (_, failure) = bad.swap_remove(interrupted.unwrap_or(0));
        return Err(failure);
    }
    for (url, failure) in &bad {
        let (url, message) = (text::lines(url), text::lines(&failure.message));
        context
            .output
            .insist(&format!("warning: {url} can't be read: {message}"));
    }
    let exit = match (bad.is_empty(), exit) {
        (false, Exit::Ok) => Exit::Partial,
        _ => exit,
    };
    Ok((good, exit))
}

/// Shows the backups of each storage that answered.
fn show_lists(
    list: &List,
    lists: &[(String, Listing)],
    exit: Exit,
    context: &Context,
) -> Result<Exit, Failure> {
    let output = &context.output;
    let asked = list.filter.name.is_some() || list.filter.host.is_some();
    let is_empty = lists
        .iter()
        .all(|(_, listing)| listing.backups.is_empty() && listing.unreadable.is_empty());
    if is_empty && asked {
        return Err(Failure::new(
            Exit::NothingFound,
            format!("no such backup in {}", list.reading.places()),
        )
        .advise("leave out --name and --host to see all"));
    }
    match (output.style, lists) {
        (Style::Json, [(_, listing)]) if list.reading.storages.len() == 1 => {
            context.finish(exit, listing::list_document(listing))?;
        }
        (Style::Json, lists) => {
            let one = |(url, listing): &(String, Listing)| {
                let mut document = listing::list_document(listing);
                document["storage"] = json!(url);
                document
            };
            let storages: Vec<_> = lists.iter().map(one).collect();
            context.finish(exit, json!({ "storages": storages }))?;
        }
        _ if is_empty => output.note(&format!("no backups in {}", list.reading.places())),
        (_, [(_, listing)]) if list.reading.storages.len() == 1 => {
            output.print(&listing::backups(listing))?
        }
        (_, lists) => {
            for (url, listing) in lists {
                output.print(&format!("{}:", text::lines(url)))?;
                match listing.backups.is_empty() && listing.unreadable.is_empty() {
                    true => output.print("no backups")?,
                    false => output.print(&listing::backups(listing))?,
                }
            }
        }
    }
    Ok(exit)
}

/// Prints the commands that restore a backup with other tools alone: by the first storage that holds it.
fn recovery(selection: &Selection, context: &Context) -> Result<Exit, Failure> {
    let session = Session::start(context, Vec::new())?;
    let opened = session.open_all(&selection.reading.storages)?;
    let wanted = wanted(selection)?;
    let scripts = opened.storages.into_iter().map(|storage| {
        let store = storage.into_store()?;
        freezer_agent::recovery(&store, &wanted)
    });
    let mut first_error = None;
    let mut found = None;
    for script in scripts {
        match script {
            Ok(script) => {
                found = Some(script);
                break;
            }
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    let exit = session.end_with(Exit::Ok);
    let script = match (found, first_error) {
        (Some(script), _) => script,
        (None, Some(error)) => return Err(failure::of_agent(&error)),
        (None, None) => return Err(Failure::usage("a storage is missing")),
    };
    match context.output.style {
        Style::Json => context.finish(exit, json!({ "script": script }))?,
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
    let wanted = wanted(&ls.selection)?;
    let (store, _) = session.open_for(reading, &wanted, &keyring)?;
    let options = LsOptions {
        wanted,
        path: ls.path.clone(),
        recursive: ls.recursive,
    };
    let json = context.output.style == Style::Json;
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let output = &context.output;
    let mut visit = |listed: Listed<'_>| {
        let entry = match listed {
            Listed::Entry(entry) => entry,
            Listed::ReadsStreams { backup, bytes } => {
                output.note(&reads_streams(backup, bytes));
                return Ok(());
            }
        };
        let mut line = if json {
            listing::entry_document(entry)
        } else {
            listing::entry(entry)
        };
        line.push('\n');
        out.write_all(line.as_bytes())
    };
    let result =
        session.with_context(|recipe| freezer_agent::ls(&store, &options, &keyring, recipe, &mut visit));
    drop(store);
    let exit = match session.has_left_something_out() {
        true => Exit::Partial,
        false => Exit::Ok,
    };
    let exit = session.end_with(exit);
    let flushed = out.flush();
    // The lock must be given back before a document is printed.
    drop(out);
    match (result, flushed) {
        (Ok(entries), flushed) => {
            render::written(flushed)?;
            context.finish(exit, json!({ "entries": entries }))?;
            Ok(exit)
        }
        (Err(error), _) if render::is_closed_pipe(&error) => Ok(exit),
        (Err(error), _) => Err(failure::of_agent(&error)),
    }
}

/// Said before a listing that takes as long as reading the backup.
fn reads_streams(backup: &str, bytes: u64) -> String {
    let (backup, bytes) = (text::lines(backup), units::bytes(bytes));
    format!("{backup} has no index: the streams of its levels are read to their end, {bytes}")
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
    let wanted = wanted(&dump.selection)?;
    let (store, _) = session.open_for(reading, &wanted, &keyring)?;
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
            context.finish(exit, json!({ "bytes": bytes }))?;
            Ok(exit)
        }
        (Err(error), _) if render::is_closed_pipe(&error) => Ok(exit),
        (Err(error), _) => Err(failure::of_agent(&error)),
    }
}
