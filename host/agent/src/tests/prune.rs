//! Retention on real chains in memory: what goes, when, in which order, and what a crash leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use freezer_format::name::Timestamp;
use freezer_format::retention::{Cut, Policy};
use freezer_pipeline::store::{ErrorKind, Existing, Store};
use freezer_pipeline::testing::{Fault, Operation};
use jiff::tz::TimeZone;
use rstest::rstest;

use super::support::*;
use crate::*;

const DAY: i64 = 86_400;
const START: i64 = 1_900_000_000;

pub(super) fn keep_last(last: u32) -> PruneOptions {
    PruneOptions {
        filter: Filter::default(),
        policy: Policy {
            last,
            ..Policy::default()
        },
        older_than_days: None,
        zone: TimeZone::UTC,
        limit: None,
        even_newest: false,
        grace_seconds: 0,
        dry_run: false,
        seen: None,
    }
}

fn everything() -> PruneOptions {
    PruneOptions {
        policy: Policy {
            cut: Some(Cut {
                at: Timestamp(i64::MAX),
                by_clock: false,
            }),
            ..Policy::default()
        },
        even_newest: true,
        ..keep_last(0)
    }
}

fn run(bench: &Bench, options: &PruneOptions) -> Result<PruneReport, AgentError> {
    bench.run(|context| prune(&bench.store, options, &bench.keyring(), context))
}

/// Both clocks.
fn set_clock(bench: &Bench, time: i64) {
    bench.clock.store(time, Ordering::Relaxed);
    bench.store.set_clock(time);
}

type States = BTreeMap<Timestamp, BTreeMap<String, String>>;

/// Chains of these numbers of levels, one backup a day from [`START`] on, and what each of them holds.
fn history(bench: &mut Bench, chains: &[u32]) -> States {
    let mut states = States::new();
    let mut day = 0;
    for levels in chains {
        for level in 0..*levels {
            set_clock(bench, START + day * DAY);
            bench.options.policy.incremental = level > 0;
            bench.write("state", &format!("day {day}"));
            bench.write(&format!("of-day-{day}"), "x");
            let made = bench.backup();
            assert_eq!(made.id.level.0, level);
            states.insert(made.id.time, bench.expected());
            day += 1;
        }
    }
    // What was just written doesn't make its chain busy: it is committed.
    set_clock(bench, START + day * DAY);
    states
}

fn times(bench: &Bench) -> Vec<Timestamp> {
    let mut times: Vec<Timestamp> = bench.rows().iter().map(|row| row.id.time).collect();
    times.sort_unstable();
    times
}

/// Every backup that is listed restores as it was made, and nothing else is visible.
fn require_whole(bench: &Bench, states: &States, case: &str) {
    for time in times(bench) {
        assert_eq!(
            bench
                .restore(Some(time))
                .unwrap_or_else(|error| panic!("{case}: {error}")),
            states[&time],
            "{case}"
        );
    }
    assert_eq!(bench.check(true).problem_count, 0, "{case}");
}

fn day(number: i64) -> Timestamp {
    Timestamp(START + number * DAY)
}

#[rstest]
#[case::plain(Bench::new())]
#[case::encrypted(Bench::encrypted())]
fn old_chains_go_whole_and_the_rest_restores(#[case] mut bench: Bench) {
    let states = history(&mut bench, &[3, 2, 3]);
    let report = run(&bench, &keep_last(4)).unwrap();
    assert_eq!(report.count(Action::Remove), 3);
    assert_eq!(times(&bench), (3..8).map(day).collect::<Vec<_>>());
    require_whole(&bench, &states, "pruned");
    // No data is left without its commit point.
    let data = bench.keys_ending("/data").len();
    assert_eq!((data, bench.keys_ending("/claim").len()), (5, 5));
    assert!(
        !bench
            .store
            .keys()
            .iter()
            .any(|key| key.starts_with("freezer/marks"))
    );
    let again = run(&bench, &keep_last(4)).unwrap();
    assert_eq!(again.count(Action::Remove) + again.count(Action::Mark), 0);
    assert_eq!(again.exit_class(), ExitClass::Ok);
}

#[test]
fn a_dry_run_gives_a_reason_for_each_and_writes_nothing() {
    let mut bench = Bench::new();
    history(&mut bench, &[2, 2]);
    let before = bench.store.keys();
    let options = PruneOptions {
        dry_run: true,
        ..keep_last(1)
    };
    let report = run(&bench, &options).unwrap();
    assert_eq!(bench.store.keys(), before);
    let reasons: Vec<&str> = report.names[0]
        .backups
        .iter()
        .map(|backup| backup.reasons[0].as_str())
        .collect();
    let needed = "needed by level 1 of 2030-03-20T17:46:40Z";
    assert_eq!(
        reasons,
        ["no rule keeps it", "no rule keeps it", needed, "newest backup"]
    );
    assert_eq!(report.count(Action::Remove), 2);
}

#[test]
fn what_is_marked_goes_only_after_the_grace_and_a_pin_saves_it() {
    let mut bench = Bench::new();
    let states = history(&mut bench, &[1, 1, 1]);
    let options = PruneOptions {
        grace_seconds: 3600,
        ..keep_last(1)
    };
    let report = run(&bench, &options).unwrap();
    assert_eq!((report.count(Action::Mark), times(&bench).len()), (2, 3));
    bench.store.set_clock(START + 3 * DAY + 3599);
    assert_eq!(run(&bench, &options).unwrap().count(Action::Mark), 2);
    let which = Which::One(bench.wanted(Some(day(0))));
    bench
        .run(|context| change_tags(&bench.store, &which, &Change::Pin, &bench.keyring(), context))
        .unwrap();
    bench.store.set_clock(START + 3 * DAY + 3600);
    let report = run(&bench, &options).unwrap();
    assert_eq!(report.count(Action::Remove), 1);
    assert_eq!(times(&bench), [day(0), day(2)]);
    require_whole(&bench, &states, "after the grace");
}

#[test]
fn a_run_that_writes_in_a_chain_keeps_it() {
    let mut bench = Bench::new();
    history(&mut bench, &[2, 2]);
    let claim = format!("data/tar/web01_etc/{}/2_{}/claim", day(0), day(9));
    let content = Arc::new(b"0123456789abcdef".to_vec());
    bench.store.put(&claim, content, Existing::Refuse).unwrap();
    let report = run(&bench, &keep_last(1)).unwrap();
    assert_eq!(report.count(Action::Remove), 0, "{report:?}");
    assert!(
        report.names[0].backups[0]
            .reasons
            .contains(&"a run may be writing in its chain".to_owned())
    );
    // A claim that is older than any run is one that a killed run left.
    bench.store.set_clock(START + 30 * DAY);
    assert_eq!(run(&bench, &keep_last(1)).unwrap().count(Action::Remove), 2);
}

#[test]
fn a_backup_doesn_t_build_on_what_is_marked() {
    let mut bench = Bench::new();
    history(&mut bench, &[2]);
    let options = PruneOptions {
        grace_seconds: 3600,
        ..everything()
    };
    assert_eq!(run(&bench, &options).unwrap().count(Action::Mark), 2);
    bench.options.policy.incremental = true;
    let next = bench.backup();
    assert_eq!(next.id.level.0, 0);
    let reason = next.full_reason.unwrap().to_string();
    assert!(reason.contains("marked for removal"), "{reason}");
}

#[test]
fn a_mark_that_comes_after_the_decision_stops_the_backup() {
    let mut bench = Bench::new();
    history(&mut bench, &[2]);
    let tip = times(&bench)[1];
    let store = bench.store.clone();
    // The removal begins when the mode prepares: the claim is written, the mark follows.
    let mark = format!(
        r#"{{"format":1,"levels":[{{"zero":{},"level":1,"time":{tip},"since":{tip}}}]}}"#,
        day(0)
    );
    let marked = Arc::new(mark.into_bytes());
    let reads = bench.store.requests().count(Operation::Read);
    bench.options.policy.incremental = true;
    let made = bench.backup();
    let needed = bench.store.requests().count(Operation::Read) - reads;
    assert_eq!(made.id.level.0, 2);
    store
        .put("freezer/marks/tar/web01_etc", marked, Existing::Replace)
        .unwrap();
    // Whichever read of the note misses it, the other one sees it.
    let mut stopped = 0;
    for call in 0..needed {
        let before = bench.store.keys();
        bench.store.fail(Fault {
            operation: Some(Operation::Read),
            call,
            kind: ErrorKind::NotFound,
            applied: false,
        });
        match bench.try_backup() {
            Ok(made) => assert_eq!(made.id.level.0, 0, "call {call}"),
            Err(error) if error.to_string().contains("is being removed") => {
                assert_eq!(bench.store.keys(), before, "call {call}");
                stopped += 1;
            }
            Err(_) => {}
        }
        for key in bench.store.keys() {
            if !before.contains(&key) {
                bench.store.remove_object(&key);
            }
        }
    }
    assert!(stopped > 0);
}

#[test]
fn the_newest_goes_only_when_it_was_named_for_it() {
    let mut bench = Bench::new();
    history(&mut bench, &[2, 2]);
    let spared = PruneOptions {
        even_newest: false,
        ..everything()
    };
    assert_eq!(run(&bench, &spared).unwrap().count(Action::Remove), 2);
    assert_eq!(times(&bench).len(), 2);
    assert_eq!(run(&bench, &everything()).unwrap().count(Action::Remove), 2);
    assert!(bench.store.keys().iter().all(|key| key == "freezer/clock"));
}

#[rstest]
#[case::data("/data")]
#[case::index("/index")]
#[case::manifest("/manifest")]
fn a_damaged_newest_backup_holds_everything_back(#[case] object: &str) {
    let mut bench = Bench::encrypted();
    history(&mut bench, &[2, 2]);
    let lost = bench.keys_ending(object).pop().unwrap();
    bench.store.remove_object(&lost);
    let before = bench.store.keys();
    let report = run(&bench, &keep_last(1)).unwrap();
    assert_eq!(report.exit_class(), ExitClass::Damaged);
    assert_eq!(report.count(Action::Keep), 4);
    let held = report.names[0].held.as_deref().unwrap();
    assert!(held.contains("can't be restored"), "{held}");
    assert!(
        report.names[0]
            .warnings
            .iter()
            .any(|warning| warning.contains(&lost))
    );
    let mut after = bench.store.keys();
    after.retain(|key| key != "freezer/clock");
    assert_eq!(after, before);
}

#[test]
fn a_newest_backup_that_the_pass_phrase_didn_t_seal_holds_everything_back() {
    let mut bench = Bench::encrypted();
    history(&mut bench, &[1, 1]);
    // Somebody puts a backup of his own on top.
    let forger = Bench {
        passphrase: Some("wrong"),
        ..Bench::new()
    };
    forger.clock.store(START + 9 * DAY, Ordering::Relaxed);
    forger.write("state", "forged");
    forger.backup();
    for key in forger.store.keys() {
        bench
            .store
            .set_object(&key, forger.store.object(&key).unwrap().to_vec());
    }
    set_clock(&bench, START + 10 * DAY);
    let report = run(&bench, &keep_last(1)).unwrap();
    assert_eq!(report.exit_class(), ExitClass::Damaged, "{report:?}");
    assert_eq!(times(&bench).len(), 3);
}

#[test]
fn an_empty_policy_and_an_unknown_name_are_refused() {
    let mut bench = Bench::new();
    history(&mut bench, &[1]);
    let error = run(&bench, &keep_last(0)).unwrap_err();
    assert!(error.to_string().contains("everything would go"), "{error}");
    let other = PruneOptions {
        filter: Filter {
            name: Some("nothing".to_owned()),
            host: None,
        },
        ..keep_last(1)
    };
    let error = run(&bench, &other).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::NothingFound);
}

/// Whatever call of a removal fails, or is its last because the process is killed: what is visible is whole, and the
/// next run ends the work.
#[rstest]
#[case::refused(false)]
#[case::answer_lost(true)]
fn every_call_of_a_removal_may_be_its_last(#[case] applied: bool) {
    for call in 0.. {
        let mut bench = Bench::encrypted();
        let states = history(&mut bench, &[3, 1]);
        bench.store.reset_requests();
        bench.store.fail(Fault {
            operation: None,
            call,
            kind: ErrorKind::Unavailable,
            applied,
        });
        let result = run(&bench, &keep_last(1));
        let case = format!("call {call} applied {applied}: {result:?}");
        let happened = bench.store.requests().total() > call;
        if !happened {
            assert!(call > 40 && result.is_ok(), "{case}");
            return;
        }
        let left = times(&bench);
        // A chain only ever gets shorter from its tip.
        let expected: Vec<Timestamp> = (0..left.len() as i64 - 1).chain([3]).map(day).collect();
        assert_eq!(left, expected, "{case}");
        require_whole(&bench, &states, &case);
        run(&bench, &keep_last(1)).unwrap();
        assert_eq!(times(&bench), [day(3)], "{case}");
        require_whole(&bench, &states, &case);
        let garbage = bench.store.keys();
        assert!(
            !garbage.iter().any(|key| key.contains(&format!("/{}/", day(0)))),
            "{case}: {garbage:?}"
        );
    }
}
