//! Rules one by one, then random histories against a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::name::Level;

/// 2026-11-24T12:00:00Z, a Tuesday.
const NOON: i64 = 1_795_521_600;
static UTC: TimeZone = TimeZone::UTC;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

fn id(zero: i64, level: u32, time: i64) -> LevelId {
    LevelId {
        zero: Timestamp(zero),
        level: Level(level),
        time: Timestamp(time),
    }
}

fn full(time: i64) -> Backup {
    Backup {
        id: id(time, 0, time),
        parent: None,
        tags: BTreeSet::new(),
        pinned: false,
        complete: true,
        busy: false,
    }
}

fn child(parent: &Backup, time: i64) -> Backup {
    Backup {
        id: id(parent.id.zero.0, parent.id.level.0 + 1, time),
        parent: Some(parent.id),
        ..full(time)
    }
}

fn around(now: i64) -> Circumstances<'static> {
    Circumstances {
        zone: &UTC,
        now: Timestamp(now),
        limit: None,
        even_newest: false,
    }
}

fn buckets(rules: &[(Bucket, u32)]) -> Policy {
    Policy {
        buckets: rules.iter().copied().collect(),
        ..Policy::default()
    }
}

fn last(count: u32) -> Policy {
    Policy {
        last: count,
        ..Policy::default()
    }
}

fn cut(at: i64, by_clock: bool) -> Policy {
    Policy {
        cut: Some(Cut {
            at: Timestamp(at),
            by_clock,
        }),
        ..Policy::default()
    }
}

fn kept(plan: &Plan) -> Vec<i64> {
    let kept = plan.verdicts.iter().filter(|verdict| verdict.keep);
    kept.map(|verdict| verdict.id.time.0).collect()
}

fn reasons(plan: &Plan, time: i64) -> String {
    let verdict = plan.verdicts.iter().find(|verdict| verdict.id.time.0 == time);
    let texts: Vec<String> = verdict.unwrap().reasons.iter().map(Reason::to_string).collect();
    texts.join("; ")
}

#[test]
fn a_policy_without_rules_is_refused() {
    assert_eq!(
        plan(&[full(NOON)], &Policy::default(), &around(NOON)),
        Err(EmptyPolicy)
    );
    assert!(buckets(&[(Bucket::Daily, 0)]).is_empty());
}

#[test]
fn the_newest_of_each_day_stays_and_says_which_day() {
    let history: Vec<Backup> = (0..6).map(|n| full(NOON - n * DAY / 2)).collect();
    let plan = plan(&history, &buckets(&[(Bucket::Daily, 2)]), &around(NOON)).unwrap();
    assert_eq!(kept(&plan), [NOON - DAY / 2 * 2, NOON]);
    assert_eq!(reasons(&plan, NOON), "newest backup; daily 2026-11-24");
    assert_eq!(reasons(&plan, NOON - DAY / 2), "no rule keeps it");
}

#[test]
fn a_young_history_keeps_its_oldest_for_the_rule_it_will_fill() {
    let history: Vec<Backup> = (0..4).map(|n| full(NOON - n * HOUR)).collect();
    let plan = plan(&history, &buckets(&[(Bucket::Yearly, 2)]), &around(NOON)).unwrap();
    assert_eq!(kept(&plan), [NOON - 3 * HOUR, NOON]);
}

#[test]
fn days_are_those_of_the_time_zone() {
    // 23:30 and 00:30 UTC are one day in New York.
    let midnight = NOON - 12 * HOUR;
    let history = [
        full(midnight - HOUR / 2),
        full(midnight + HOUR / 2),
        full(NOON + DAY),
    ];
    let rule = buckets(&[(Bucket::Daily, 2)]);
    let utc = plan(&history, &rule, &around(NOON + DAY)).unwrap();
    assert_eq!(kept(&utc), [midnight + HOUR / 2, NOON + DAY]);
    let zone = TimeZone::fixed(jiff::tz::offset(-5));
    let there = Circumstances {
        zone: &zone,
        ..around(NOON + DAY)
    };
    let labels: Vec<String> = history[..2]
        .iter()
        .map(|backup| Bucket::Daily.label(backup.id.time, there.zone))
        .collect();
    assert_eq!(labels, ["2026-11-23", "2026-11-23"]);
}

#[rstest]
#[case(Bucket::Hourly, "2026-11-24 12:00+00:00")]
#[case(Bucket::Daily, "2026-11-24")]
#[case(Bucket::Weekly, "2026-W48")]
#[case(Bucket::Monthly, "2026-11")]
#[case(Bucket::Yearly, "2026")]
fn stretches_of_the_calendar_have_names(#[case] bucket: Bucket, #[case] label: &str) {
    assert_eq!(bucket.label(Timestamp(NOON), &TimeZone::UTC), label);
    assert_eq!(
        bucket.label(Timestamp(i64::MAX), &TimeZone::UTC),
        i64::MAX.to_string()
    );
}

#[rstest]
#[case("1y5m7d2h", Some((1, 5, 7, 2)))]
#[case("30d", Some((0, 0, 30, 0)))]
#[case("0h", Some((0, 0, 0, 0)))]
#[case("", None)]
#[case("d", None)]
#[case("7", None)]
#[case("7d1y", None)]
#[case("1d1d", None)]
#[case("99999d", None)]
#[case("1w", None)]
#[case("1d ü", None)]
fn periods_are_written_as_restic_writes_them(
    #[case] text: &str,
    #[case] expected: Option<(u16, u16, u16, u16)>,
) {
    let period = text.parse::<Period>().ok();
    let fields = period.map(|period| (period.years, period.months, period.days, period.hours));
    assert_eq!(fields, expected);
    if let Some(period) = period {
        assert_eq!(period.to_string(), text);
    }
}

#[test]
fn within_counts_from_the_newest_backup_by_the_calendar() {
    let history = [full(NOON - 32 * DAY), full(NOON - 31 * DAY), full(NOON)];
    let policy = Policy {
        within: Some("1m".parse().unwrap()),
        ..Policy::default()
    };
    // October has 31 days.
    let plan = plan(&history, &policy, &around(NOON + 20 * DAY)).unwrap();
    assert_eq!(kept(&plan), [NOON - 31 * DAY, NOON]);
    assert_eq!(reasons(&plan, NOON), "newest backup; within 1m");
}

#[test]
fn tags_and_pins_keep() {
    let mut history = [
        full(NOON - 3 * DAY),
        full(NOON - 2 * DAY),
        full(NOON - DAY),
        full(NOON),
    ];
    history[0].pinned = true;
    history[1].tags = ["a".to_owned(), "b".to_owned()].into();
    history[2].tags = ["a".to_owned()].into();
    let policy = Policy {
        tags: vec![vec!["a".to_owned(), "b".to_owned()]],
        ..Policy::default()
    };
    let plan = plan(&history, &policy, &around(NOON)).unwrap();
    assert_eq!(kept(&plan), [NOON - 3 * DAY, NOON - 2 * DAY, NOON]);
    assert_eq!(reasons(&plan, NOON - 3 * DAY), "pinned");
    assert_eq!(reasons(&plan, NOON - 2 * DAY), "tag a,b");
}

#[test]
fn a_kept_level_keeps_what_it_is_built_on() {
    let zero = full(NOON - 9 * DAY);
    let one = child(&zero, NOON - 8 * DAY);
    let two = child(&one, NOON - 7 * DAY);
    let branch = child(&zero, NOON - 6 * DAY);
    let history = [zero.clone(), one, two, branch.clone(), full(NOON)];
    let plan = plan(&history, &last(2), &around(NOON)).unwrap();
    assert_eq!(kept(&plan), [zero.id.time.0, branch.id.time.0, NOON]);
    assert_eq!(
        reasons(&plan, zero.id.time.0),
        "needed by level 1 of 2026-11-18T12:00:00Z"
    );
    let going: Vec<u32> = plan.removals().iter().map(|id| id.level.0).collect();
    assert_eq!(going, [2, 1], "children before parents");
}

#[test]
fn a_date_spares_chains_with_a_younger_level() {
    let old = full(NOON - 9 * DAY);
    let young = child(&old, NOON - DAY);
    let gone = full(NOON - 20 * DAY);
    let history = [gone.clone(), child(&gone, NOON - 15 * DAY), old, young];
    let plan = plan(&history, &cut(NOON - 5 * DAY, false), &around(NOON)).unwrap();
    assert_eq!(kept(&plan), [NOON - 9 * DAY, NOON - DAY]);
    assert_eq!(
        reasons(&plan, gone.id.time.0),
        "not younger than 2026-11-19T12:00:00Z"
    );
}

#[test]
fn fractions_of_days_count() {
    assert_eq!(
        Cut::older_than(0.5, Timestamp(NOON)).at,
        Timestamp(NOON - DAY / 2)
    );
    assert_eq!(Cut::older_than(f64::MAX, Timestamp(NOON)).at.0, NOON - i64::MAX);
}

#[test]
fn the_newest_goes_only_when_that_is_said() {
    let history = [full(NOON - DAY), full(NOON)];
    let everything = cut(NOON + DAY, false);
    assert_eq!(kept(&plan(&history, &everything, &around(NOON)).unwrap()), [NOON]);
    let all = Circumstances {
        even_newest: true,
        ..around(NOON)
    };
    assert!(kept(&plan(&history, &everything, &all).unwrap()).is_empty());
}

#[test]
fn a_newest_backup_that_cant_be_restored_holds_everything_back() {
    let zero = full(NOON - DAY);
    let mut one = child(&zero, NOON);
    one.complete = false;
    let history = [full(NOON - 9 * DAY), zero, one.clone()];
    let held = plan(&history, &last(1), &around(NOON)).unwrap();
    assert_eq!(held.hold, Some(Hold::NewestNotRestorable(one.id)));
    assert_eq!(kept(&held).len(), 3);
    // Also where a level below is missing.
    one.complete = true;
    let history = [full(NOON - 9 * DAY), one];
    assert!(plan(&history, &last(1), &around(NOON)).unwrap().hold.is_some());
}

#[test]
fn what_cant_be_restored_takes_no_place_in_a_rule() {
    let mut broken = full(NOON - DAY);
    broken.complete = false;
    let history = [full(NOON - 2 * DAY), broken, full(NOON)];
    let plan = plan(&history, &last(2), &around(NOON)).unwrap();
    assert_eq!(kept(&plan).len(), 3);
    assert_eq!(reasons(&plan, NOON - 2 * DAY), "last 2");
}

#[test]
fn a_clock_that_ran_ahead_when_backups_were_made_displaces_none() {
    let mut history: Vec<Backup> = (0..20).map(|n| full(NOON - n * DAY)).collect();
    history.extend((0..7).map(|n| full(NOON + (900 + n) * DAY)));
    let held = plan(&history, &buckets(&[(Bucket::Daily, 7)]), &around(NOON)).unwrap();
    assert_eq!(held.doubts, [Doubt::FutureBackups(7)]);
    assert_eq!(held.hold, Some(Hold::Limit { going: 13, limit: 10 }));
    let limit = Circumstances {
        limit: Some(13),
        ..around(NOON)
    };
    let done = plan(&history, &buckets(&[(Bucket::Daily, 7)]), &limit).unwrap();
    assert_eq!(kept(&done).len(), 14);
}

#[test]
fn a_clock_that_runs_ahead_now_removes_no_more_than_the_limit() {
    let history: Vec<Backup> = (0..30).map(|n| full(NOON - n * DAY)).collect();
    let later = NOON + 400 * DAY;
    let policy = Policy {
        cut: Some(Cut::older_than(60.0, Timestamp(later))),
        ..Policy::default()
    };
    let held = plan(&history, &policy, &around(later)).unwrap();
    assert!(matches!(held.doubts[..], [Doubt::LongPause { .. }]));
    assert_eq!(kept(&held).len(), 30);
    assert_eq!(reasons(&held, NOON - DAY), "held back");
    // Rules that ask no clock aren't in doubt.
    let calm = plan(&history, &last(3), &around(later)).unwrap();
    assert_eq!((calm.doubts.len(), kept(&calm).len()), (0, 3));
}

/// Chains of increments, branches and lost levels, some tagged, pinned, busy or broken.
fn histories() -> impl Strategy<Value = Vec<Backup>> {
    let step = (0u8..6, 1i64..40 * DAY, 0u8..40, prop::bool::weighted(0.05));
    prop::collection::vec(step, 1..40).prop_map(|steps| {
        let (mut time, mut stack, mut all) = (NOON - 900 * DAY, Vec::<Backup>::new(), Vec::new());
        for (kind, pause, marks, lost) in steps {
            time += pause;
            match kind {
                0 => stack.clear(),
                1 => stack.truncate(1),
                2 if stack.len() > 1 => drop(stack.pop()),
                _ => {}
            }
            let mut made = stack
                .last()
                .map_or_else(|| full(time), |parent| child(parent, time));
            made.pinned = marks == 0;
            made.busy = marks == 1;
            made.complete = marks != 2;
            if marks % 4 == 3 {
                made.tags.insert("t".to_owned());
            }
            stack.push(made.clone());
            if !lost || all.is_empty() {
                all.push(made);
            }
        }
        all
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let counts = prop::collection::btree_map(prop::sample::select(&Bucket::ALL[..]), 0u32..6, 0..4);
    let within = prop::option::of((0u16..30).prop_map(|days| Period {
        days,
        ..Period::default()
    }));
    let tags = prop::collection::vec(Just(vec!["t".to_owned()]), 0..2);
    let date = prop::option::of((NOON - 900 * DAY..NOON + DAY).prop_map(|at| Cut {
        at: Timestamp(at),
        by_clock: at % 2 == 0,
    }));
    (0u32..5, counts, within, tags, date).prop_map(|(last, buckets, within, tags, cut)| Policy {
        last,
        buckets,
        within,
        tags,
        cut,
    })
}

fn by_id(history: &[Backup]) -> BTreeMap<LevelId, &Backup> {
    history.iter().map(|backup| (backup.id, backup)).collect()
}

/// All levels that a restore of `id` reads, by the definition; `None` if one is missing or broken.
fn needs(history: &BTreeMap<LevelId, &Backup>, id: LevelId) -> Option<Vec<LevelId>> {
    let backup = history.get(&id).filter(|backup| backup.complete)?;
    match backup.parent {
        None => Some(vec![id]),
        Some(parent) => {
            let mut all = needs(history, parent)?;
            all.push(id);
            Some(all)
        }
    }
}

/// What the rules keep, each by its definition, without what is needed below.
fn naive(history: &[Backup], policy: &Policy, now: i64) -> BTreeSet<LevelId> {
    let known = by_id(history);
    let good: Vec<&Backup> = history
        .iter()
        .filter(|b| needs(&known, b.id).is_some() && b.id.time.0 <= now + DAY)
        .collect();
    let younger = |backup: &Backup| good.iter().filter(|b| b.id.time > backup.id.time).count();
    let mut kept = BTreeSet::new();
    for backup in history {
        let is_good = good.iter().any(|b| b.id == backup.id);
        let by_bucket = |(bucket, count): (&Bucket, &u32)| {
            let label = |b: &Backup| bucket.label(b.id.time, &TimeZone::UTC);
            let newer = good.iter().filter(|b| b.id.time > backup.id.time);
            let stretches: BTreeSet<String> = newer.map(|b| label(b)).collect();
            let first = !stretches.contains(&label(backup));
            let oldest = younger(backup) + 1 == good.len();
            (first || oldest) && stretches.len() < *count as usize
        };
        let rule = is_good
            && (younger(backup) < policy.last as usize
                || policy.buckets.iter().any(by_bucket)
                || policy.within.is_some_and(|within| {
                    let newest = good.iter().map(|b| b.id.time.0).max().unwrap();
                    backup.id.time.0 >= newest - i64::from(within.days) * DAY
                })
                || policy
                    .tags
                    .iter()
                    .any(|list| list.iter().all(|t| backup.tags.contains(t))));
        let by_date = match policy.cut {
            Some(cut) => backup.id.time > cut.at,
            None => needs(&known, backup.id).is_none(),
        };
        let standing = backup.pinned || backup.busy || backup.id.time.0 > now + DAY;
        if rule || by_date || standing {
            kept.insert(backup.id);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_plan_agrees_with_the_definition(history in histories(), policy in policies(), late in -300i64..300) {
        prop_assume!(!policy.is_empty());
        let now = history.last().unwrap().id.time.0 + late * DAY;
        let around = Circumstances { limit: Some(usize::MAX), ..around(now) };
        let plan = plan(&history, &policy, &around).unwrap();
        prop_assert_eq!(plan.verdicts.len(), history.len());
        prop_assert!(plan.verdicts.iter().all(|verdict| !verdict.reasons.is_empty()));
        let known = by_id(&history);
        let newest = history.iter().max_by_key(|b| b.id.time).unwrap().id;
        if needs(&known, newest).is_none() {
            prop_assert!(plan.removals().is_empty());
            return Ok(());
        }
        let mut expected = naive(&history, &policy, now);
        expected.insert(newest);
        for id in expected.clone() {
            let mut level = known[&id];
            while let Some(parent) = level.parent.and_then(|parent| known.get(&parent)) {
                expected.insert(parent.id);
                level = parent;
            }
        }
        let kept: BTreeSet<LevelId> = plan.verdicts.iter().filter(|v| v.keep).map(|v| v.id).collect();
        prop_assert_eq!(kept, expected);
    }

    #[test]
    fn whatever_stays_restores_as_before(history in histories(), policy in policies(), late in -300i64..300, cap in prop::option::of(0usize..20)) {
        prop_assume!(!policy.is_empty());
        let now = history.last().unwrap().id.time.0 + late * DAY;
        let around = Circumstances { limit: cap, ..around(now) };
        let first = plan(&history, &policy, &around).unwrap();
        let going = first.removals();
        if let Some(limit) = cap {
            prop_assert!(going.len() <= limit);
        } else if !first.doubts.is_empty() {
            prop_assert!(going.len() <= DOUBT_LIMIT);
        }
        // Removing in order, a crash may come after any step: what is still there is as whole as before.
        let known = by_id(&history);
        let mut left = history.clone();
        for gone in &going {
            left.retain(|backup| backup.id != *gone);
            let remaining = by_id(&left);
            for backup in &left {
                prop_assert_eq!(needs(&known, backup.id), needs(&remaining, backup.id));
            }
        }
        // A second run finds nothing more to remove.
        let second = plan(&left, &policy, &around).unwrap();
        prop_assert_eq!(second.removals(), Vec::new());
    }

    #[test]
    fn more_rules_keep_more(history in histories(), policy in policies(), more in 0u32..3) {
        let now = history.last().unwrap().id.time.0;
        let mut policy = Policy { cut: None, ..policy };
        policy.last = policy.last.max(1);
        let mut wider = policy.clone();
        wider.last += more;
        wider.buckets.values_mut().for_each(|count| *count += more);
        let kept = |policy: &Policy| -> BTreeSet<LevelId> {
            let plan = plan(&history, policy, &around(now)).unwrap();
            plan.verdicts.into_iter().filter(|v| v.keep).map(|v| v.id).collect()
        };
        prop_assert!(kept(&wider).is_superset(&kept(&policy)));
    }
}
