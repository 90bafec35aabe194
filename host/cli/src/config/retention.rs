//! Judges the verbs that remove or keep from removal: prune, tag and admin.

use std::collections::BTreeMap;

use freezer_agent::Change;
use freezer_format::retention::{Bucket, Cut, Period, Policy};
use freezer_format::tags::check_tag;

use super::Config;
use super::backup::missing;
use super::rules::Rules;
use crate::args::{AdminArgs, PinArgs, PruneArgs, TagListArgs, TagVerb};
use crate::command::{Admin, Filter, Prune, Removal, Tag, TagChange};
use crate::exit::Failure;

/// Between mark and removal: long enough for a listing to catch up, short enough for the next daily run.
const PRUNE_GRACE_SECONDS: i64 = 3600;
/// What is younger may belong to a run that is at work.
const LEFTOVER_GRACE_SECONDS: i64 = 7 * 86_400;

impl Config {
    /// Judges the options of `prune`.
    ///
    /// # Errors
    /// Whatever is missing or contradicts itself.
    pub(crate) fn prune(&self, args: PruneArgs) -> Result<Prune, Failure> {
        let even_newest = args.all_of.is_some();
        let name = args.all_of.or(args.name);
        let below = self.below(name.as_deref());
        let host = match args.all_hosts {
            true => None,
            false => Some(
                args.host
                    .or_else(|| below.host.clone())
                    .unwrap_or_else(|| self.environment.machine.clone()),
            ),
        };
        let rules = Rules::from(args.keep).or(below.rules);
        let zero = rules.first_zero();
        let removal = self.removal(rules)?;
        if let (true, Some(rule)) = (removal.is_empty(), zero) {
            return Err(Failure::usage(format!(
                "{rule} 0 keeps nothing, and no other rule keeps anything"
            ))
            .advise("give a number of 1 or more; what nothing keeps goes anyway, apart from the newest"));
        }
        if removal.is_empty() {
            return Err(missing(
                "what to keep",
                "a rule such as --keep-daily 7, or keep-daily = 7 in the [backup.NAME] of the configuration file",
            ));
        }
        Ok(Prune {
            reading: self.reading(args.storage, name.as_deref())?,
            filter: Filter { name, host },
            removal,
            limit: args.limit,
            even_newest,
            grace_seconds: match (args.now, args.grace) {
                (true, _) => 0,
                (false, Some(grace)) => grace.seconds(),
                (false, None) => PRUNE_GRACE_SECONDS,
            },
            dry_run: args.dry_run,
        })
    }

    /// What the rules mean.
    ///
    /// # Errors
    /// When a date or a tag can't be one, or both kinds of date are given.
    pub(crate) fn removal(&self, rules: Rules) -> Result<Removal, Failure> {
        let counts = [
            (Bucket::Hourly, rules.keep_hourly),
            (Bucket::Daily, rules.keep_daily),
            (Bucket::Weekly, rules.keep_weekly),
            (Bucket::Monthly, rules.keep_monthly),
            (Bucket::Yearly, rules.keep_yearly),
        ];
        let buckets: BTreeMap<Bucket, u32> = counts
            .into_iter()
            .filter_map(|(bucket, count)| Some((bucket, count?)))
            .collect();
        let mut tags = Vec::new();
        for list in &rules.keep_tag {
            let list: Vec<String> = list.split(',').map(str::to_owned).collect();
            tags.push(judged_tags(list)?);
        }
        if rules.remove_before_date.is_some() && rules.remove_older_than.is_some() {
            return Err(
                Failure::usage("remove-older-than and remove-before-date are both given")
                    .advise("keep one of them"),
            );
        }
        let before = rules
            .remove_before_date
            .map(|date| date.0.in_zone(&self.zone))
            .transpose()
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Removal {
            policy: Policy {
                last: rules.keep_last.unwrap_or(0),
                buckets,
                within: rules.keep_within,
                tags,
                cut: before.map(|at| Cut { at, by_clock: false }),
            },
            older_than_days: rules.remove_older_than.map(|days| days.0),
        })
    }

    /// Judges the options of `tag`.
    ///
    /// # Errors
    /// Whatever is missing, or can't be a tag.
    pub(crate) fn tag(&self, verb: TagVerb) -> Result<Tag, Failure> {
        let (target, change) = match verb {
            TagVerb::List(args) => return self.tag_list(args),
            TagVerb::Add(args) => {
                let tags = judged_tags(args.tags)?;
                (args.target, Change::Add(tags))
            }
            TagVerb::Remove(args) => (args.target, Change::Remove(args.tags)),
            TagVerb::Pin(target) => (target, Change::Pin),
            TagVerb::Unpin(target) => (target, Change::Unpin),
        };
        let PinArgs { source, all } = target;
        Ok(Tag::Change(TagChange {
            selection: self.selection(source)?,
            all,
            change,
        }))
    }

    fn tag_list(&self, args: TagListArgs) -> Result<Tag, Failure> {
        let reading = self.reading(args.storage, args.name.as_deref())?;
        let filter = Filter {
            name: args.name,
            host: args.host,
        };
        Ok(Tag::List { reading, filter })
    }

    /// Judges the options of `admin`.
    ///
    /// # Errors
    /// Whatever is missing.
    pub(crate) fn admin(&self, args: AdminArgs) -> Result<Admin, Failure> {
        Ok(Admin {
            reading: self.reading(args.storage, None)?,
            grace_seconds: args
                .grace
                .map_or(LEFTOVER_GRACE_SECONDS, |grace: Period| grace.seconds()),
            remove: args.remove,
        })
    }
}

/// Checks the tags of the command line or the configuration file.
///
/// # Errors
/// When one can't be a tag.
pub(crate) fn judged_tags(tags: Vec<String>) -> Result<Vec<String>, Failure> {
    let judged = tags.iter().try_for_each(|tag| check_tag(tag));
    judged
        .map(|()| tags)
        .map_err(|error| Failure::usage(error.to_string()).advise("write tags as words: --tag monthly"))
}
