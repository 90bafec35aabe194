//! `tag`: lists and changes tags and pins, in each storage by itself.

use freezer_agent::{Keyring, TagListing, Which};

use super::session::{Session, passphrase};
use super::{Context, failure, filter, wanted};
use crate::command::{Tag, TagChange};
use crate::exit::{Exit, Failure};
use crate::render::{Style, retention};

/// Does what is asked about tags.
///
/// # Errors
/// When a storage fails or there is no such backup.
pub(super) fn run(tag: &Tag, context: &Context) -> Result<Exit, Failure> {
    let reading = match tag {
        Tag::List { reading, .. } => reading,
        Tag::Change(change) => &change.selection.reading,
    };
    let keyring = Keyring::new(
        passphrase(reading.pass_file.as_deref(), &context.output)?,
        reading.compat,
    );
    let which = match tag {
        Tag::List { .. } => None,
        Tag::Change(change) => Some(which(change)?),
    };
    let session = Session::start(context, Vec::new())?;
    let mut shown = TagListing::default();
    for spec in &reading.storages {
        let (_, store) = session.open(spec)?;
        let result = session.with_context(|recipe| match (tag, &which) {
            (Tag::Change(change), Some(which)) => {
                let backups = freezer_agent::change_tags(&*store, which, &change.change, &keyring, recipe)?;
                Ok(TagListing {
                    backups,
                    ..TagListing::default()
                })
            }
            (Tag::List { filter: asked, .. }, _) => {
                freezer_agent::list_tags(&*store, &filter(asked), &keyring, recipe)
            }
            (Tag::Change(_), None) => Ok(TagListing::default()),
        });
        drop(store);
        match result {
            Ok(found) => {
                shown.backups.extend(found.backups);
                shown.unreadable.extend(found.unreadable);
            }
            Err(error) => {
                drop(session.end());
                return Err(failure::of_agent(&error));
            }
        }
    }
    let exit = session.end_with(failure::exit(shown.exit_class()));
    if let Tag::Change(change) = tag {
        for backup in shown.backups.iter().filter(|backup| !backup.changed) {
            context.output.note(&retention::unchanged(backup, &change.change));
        }
    }
    tell(&shown, exit, context)?;
    Ok(exit)
}

fn which(change: &TagChange) -> Result<Which, Failure> {
    let wanted = wanted(&change.selection)?;
    Ok(match change.all {
        true => Which::All(wanted.name),
        false => Which::One(wanted),
    })
}

fn tell(shown: &TagListing, exit: Exit, context: &Context) -> Result<(), Failure> {
    let output = &context.output;
    match output.style {
        Style::Json => context.finish(exit, retention::tag_document(shown)),
        _ if output.quiet => Ok(()),
        _ => output.print(&retention::tags(shown)),
    }
}
