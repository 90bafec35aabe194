//! The original's removal options: as the admin action, or after a backup or a restore.
//!
//! What goes is decided by the age of a chain's youngest level, as the first era documents it: the later one removed
//! young increments with an old level 0. The newest chain stays, except where the admin action is told to remove
//! what is older than 0 days: that is no clock's mistake.

use freezer_format::retention::{Cut, Policy};
use jiff::tz::TimeZone;

use super::Era;
use super::map::{Options, as_failed, common, failed};
use super::storage;
use crate::args::{BeforeText, Days};
use crate::command::{Filter, Prune, Reading, Removal};
use crate::config::Config;
use crate::exit::Failure;

/// The removal options that are given.
pub(super) fn given(options: &Options<'_>) -> Vec<&'static str> {
    let all = ["remove_older_than", "remove_before_date", "remove_from_date"];
    all.into_iter()
        .filter(|dest| options.get(dest).is_some())
        .collect()
}

/// What is to be removed.
///
/// # Errors
/// When several options are given, or a value is none.
pub(super) fn judge(options: &Options<'_>, config: &Config) -> Result<Prune, Failure> {
    let given = given(options);
    if given.len() > 1 {
        let names: Vec<String> = given
            .iter()
            .map(|dest| format!("--{}", dest.replace('_', "-")))
            .collect();
        return Err(failed(format!("{} are given together", names.join(" and "))).advise("keep one of them"));
    }
    let layer = common(options, config)?;
    let name = options.name()?;
    let host = config.host(layer.host.as_deref(), &name).map_err(as_failed)?;
    let days = options.parsed::<Days>("remove_older_than")?.map(|days| days.0);
    Ok(Prune {
        reading: Reading {
            storages: storage::storages(options, &layer, config)?,
            pass_file: layer.encrypt_pass_file,
            compat: true,
        },
        filter: Filter {
            name: Some(name),
            host: Some(host),
        },
        removal: Removal {
            policy: Policy {
                cut: cut(options, config)?,
                ..Policy::default()
            },
            older_than_days: days,
        },
        limit: None,
        even_newest: options.action() == "admin" && days == Some(0.0),
        grace_seconds: 0,
        dry_run: options.flag("dry_run"),
    })
}

/// The date, in the time zone of the era.
fn cut(options: &Options<'_>, config: &Config) -> Result<Option<Cut>, Failure> {
    let zone = match options.era {
        Era::Freezerc => config.zone.clone(),
        Era::Agent => TimeZone::UTC,
    };
    for dest in ["remove_before_date", "remove_from_date"] {
        if let Some(BeforeText(date)) = options.parsed::<BeforeText>(dest)? {
            let at = date.in_zone(&zone).map_err(|error| failed(error.to_string()))?;
            return Ok(Some(Cut { at, by_clock: false }));
        }
    }
    Ok(None)
}
