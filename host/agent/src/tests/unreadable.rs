//! What a storage refuses to show, and what is missing below an increment: told by itself, and never instead of all else.

use std::sync::Arc;

use freezer_format::manifest::Manifest;
use freezer_format::name::HostBackupName;
use freezer_format::retention::Policy;
use freezer_pipeline::store::Store;
use freezer_pipeline::testing::MemoryStore;
use jiff::tz::TimeZone;
use rstest::rstest;

use super::support::*;
use crate::*;

/// Two names with two levels each: "bad" first, so that it comes before "good" in every listing.
fn two_names() -> Bench {
    let mut bench = Bench::new();
    for name in ["bad", "good"] {
        bench.options.name = HostBackupName::new("h", name).unwrap();
        bench.write("file", &format!("first of {name}"));
        bench.options.policy.incremental = false;
        bench.backup();
        bench.options.policy.incremental = true;
        bench.write("file", &format!("second of {name}"));
        bench.backup();
    }
    bench
}

fn listing(bench: &Bench) -> Listing {
    let options = ListOptions::default();
    bench
        .run(|context| list(&bench.store(), &options, &keyring(None, false), context))
        .unwrap()
}

/// Which part of "bad" is refused, and how many rows it still has.
#[rstest]
#[case::its_names("metadata/tar/h_bad", 0)]
#[case::a_commit_point("metadata/tar/h_bad/1900000000/1_", 2)]
#[case::its_data("data/tar/h_bad", 2)]
fn a_refused_entry_hides_no_other(#[case] refused: &str, #[case] rows: usize) {
    let bench = two_names();
    bench.store.forbid(refused);
    let listing = listing(&bench);
    let of = |name: &str| -> Vec<State> {
        let of_name = listing.backups.iter().filter(|row| row.backup_name == name);
        of_name.map(|row| row.state).collect()
    };
    assert_eq!(of("good"), [State::Committed; 2]);
    assert_eq!(of("bad").len(), rows);
    let told = listing.unreadable.len()
        + of("bad")
            .iter()
            .filter(|state| **state == State::Unreadable)
            .count();
    assert!(told > 0, "{listing:?}");
    assert_eq!(listing.exit_class(), ExitClass::Partial);
    for row in listing
        .backups
        .iter()
        .filter(|row| row.state == State::Unreadable)
    {
        assert!(
            row.trouble.as_ref().unwrap().contains("it may not be opened"),
            "{row:?}"
        );
    }

    let report = bench.check(true);
    let of_bad = |problem: &Problem| problem.object.contains("h_bad");
    assert!(report.problems.iter().all(of_bad), "{report:#?}");
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.severity == Severity::Unreadable)
    );
    // What can't be seen is no garbage: nobody must be told to remove it.
    assert!(
        report
            .problems
            .iter()
            .all(|problem| problem.severity != Severity::Notice),
        "{report:#?}"
    );
    assert!(report.backups >= 2);
    assert_eq!(report.exit_class(), ExitClass::Failed);
}

#[rstest]
#[case::its_names("metadata/tar/h_bad", 0)]
#[case::a_commit_point("metadata/tar/h_bad/1900000000/1_", 1)]
fn tags_are_listed_of_all_that_is_shown(#[case] refused: &str, #[case] left: usize) {
    let bench = two_names();
    bench.store.forbid(refused);
    let listing = bench
        .run(|context| list_tags(&bench.store, &Filter::default(), &bench.keyring(), context))
        .unwrap();
    let of = |name: &str| {
        listing
            .backups
            .iter()
            .filter(|backup| backup.name.as_str() == name)
            .count()
    };
    assert_eq!((of("h_bad"), of("h_good")), (left, 2));
    let [told] = &listing.unreadable[..] else {
        panic!("{:?}", listing.unreadable)
    };
    assert!(
        told.object.contains("h_bad") && told.reason.contains("it may not be opened"),
        "{told:?}"
    );
    assert_eq!(listing.exit_class(), ExitClass::Partial);
}

/// Removes all but the newest of each name.
fn prune_all(bench: &Bench) -> PruneReport {
    let options = PruneOptions {
        seen: None,
        filter: Filter::default(),
        policy: Policy {
            last: 1,
            ..Policy::default()
        },
        older_than_days: None,
        zone: TimeZone::UTC,
        limit: None,
        even_newest: false,
        grace_seconds: 0,
        dry_run: false,
    };
    bench
        .run(|context| prune(&bench.store, &options, &bench.keyring(), context))
        .unwrap()
}

#[rstest]
#[case::its_names("metadata/tar/h_bad")]
#[case::its_data("data/tar/h_bad")]
fn prune_leaves_a_name_alone_that_it_cannot_read_and_goes_on(#[case] refused: &str) {
    let bench = two_names();
    bench.options.policy.incremental.then_some(()).unwrap();
    bench.store.forbid(refused);
    let report = prune_all(&bench);
    let [bad, good] = &report.names[..] else {
        panic!("{report:#?}")
    };
    assert!(
        bad.unreadable && bad.held.as_ref().unwrap().contains("it may not be opened"),
        "{bad:#?}"
    );
    assert!(!good.unreadable && good.backups.len() == 2, "{good:#?}");
    assert_eq!(report.exit_class(), ExitClass::Partial);
}

#[rstest]
#[case::newest(CopyWhich::Newest)]
#[case::all(CopyWhich::All)]
fn copy_goes_on_with_the_other_names(
    #[case] which: CopyWhich,
    #[values("metadata/tar/h_bad", "data/tar/h_bad")] refused: &str,
) {
    let bench = two_names();
    bench.store.forbid(refused);
    let to = MemoryStore::named("memory:to");
    let stores: (Arc<dyn Store>, Arc<dyn Store>) = (bench.store(), Arc::new(to.clone()));
    let options = copy_options(which);
    let report = bench
        .run(|context| copy((&stores.0, &stores.1), &options, context))
        .unwrap();
    assert_eq!(report.levels.len(), 2, "{report:#?}");
    let [failed] = &report.failed[..] else {
        panic!("{report:#?}")
    };
    assert_eq!(failed.name.as_str(), "h_bad");
    assert!(failed.reason.contains("it may not be opened"), "{failed:?}");
    assert_eq!(report.exit_class(), ExitClass::Partial);
}

#[test]
fn a_copy_of_the_one_refused_name_fails_with_its_reason() {
    let bench = two_names();
    bench.store.forbid("data/tar/h_bad");
    let to: Arc<dyn Store> = Arc::new(MemoryStore::named("memory:to"));
    let mut options = copy_options(CopyWhich::Newest);
    options.filter.name = Some("bad".to_owned());
    let error = bench
        .run(|context| copy((&bench.store(), &to), &options, context))
        .unwrap_err();
    assert!(error.to_string().contains("it may not be opened"), "{error}");
}

#[test]
fn a_target_that_refuses_ends_a_copy() {
    let bench = two_names();
    let to = MemoryStore::named("memory:to");
    to.forbid("data/");
    let to: Arc<dyn Store> = Arc::new(to);
    let options = copy_options(CopyWhich::All);
    bench
        .run(|context| copy((&bench.store(), &to), &options, context))
        .unwrap_err();
}

/// Levels 0 to 3; one is taken away.
fn without_level(level: usize) -> (Bench, Vec<String>) {
    let bench = Bench::new();
    for number in 0..4 {
        bench.write("file", &format!("state {number}"));
        bench.backup();
    }
    let commits = bench.keys_ending("/metadata");
    bench.store.remove_object(&commits[level]);
    (bench, commits)
}

#[rstest]
#[case::level_0(0, &[(1, 0), (2, 0), (3, 0)])]
#[case::level_1(1, &[(2, 1), (3, 1)])]
#[case::level_2(2, &[(3, 2)])]
#[case::the_newest(3, &[])]
fn an_increment_without_what_it_is_built_on_is_listed_as_incomplete(
    #[case] gone: usize,
    #[case] incomplete: &[(u32, u32)],
) {
    let (bench, _) = without_level(gone);
    let rows = bench.rows();
    let found: Vec<(u32, u32)> = rows
        .iter()
        .filter(|row| row.state == State::Incomplete)
        .map(|row| (row.id.level.0, row.missing_level.unwrap()))
        .collect();
    assert_eq!(found, incomplete);
    for row in &rows {
        let restored = bench.restore(Some(row.id.time));
        assert_eq!(restored.is_ok(), row.state == State::Committed, "{row:?}");
        assert_eq!(row.trouble.is_some(), row.state == State::Incomplete, "{row:?}");
    }
}

#[test]
fn a_lost_commit_point_of_level_0_gets_one_advice() {
    let (bench, commits) = without_level(0);
    // The folder is still there: something else lies in it.
    bench
        .store
        .set_object(&commits[0].replace("/metadata", "/other"), Vec::new());
    bench.store.set_object(&format!("{}x", commits[0]), Vec::new());
    let report = bench.check(false);
    let removing = |problem: &&Problem| problem.next.contains("remove it when");
    assert_eq!(report.problems.iter().find(removing), None, "{report:#?}");
    let notices: Vec<_> = report
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Notice)
        .collect();
    let [lost] = notices[..] else {
        panic!("{report:#?}")
    };
    assert!(lost.next.contains("don't remove it"), "{lost:?}");
    let damage: Vec<_> = report
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Damage)
        .collect();
    assert!(!damage.is_empty());
    for problem in damage {
        assert!(
            problem.next.contains(&commits[0]),
            "names the very object: {problem:?}"
        );
    }
}

#[test]
fn a_copied_chain_s_predecessor_is_not_called_removed() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.write("file", "x");
        bench.options.policy.incremental = false;
        bench.backup();
    }
    let to = MemoryStore::named("memory:to");
    let target: Arc<dyn Store> = Arc::new(to.clone());
    let options = copy_options(CopyWhich::Newest);
    bench
        .run(|context| copy((&bench.store(), &target), &options, context))
        .unwrap();
    bench.store = to;
    let report = bench.check(false);
    let [notice] = &report.problems[..] else {
        panic!("{report:#?}")
    };
    assert!(notice.reason.ends_with("which isn't here"), "{notice:?}");
    assert!(notice.next.contains("only this chain was copied"), "{notice:?}");
}

/// Makes a level one of a format to come; or only its manifest, as a changed digit does.
fn of_a_later_format(bench: &Bench, level: usize, whole: bool) {
    let change = |key: &str, from: &str, to: &str| {
        let bytes = bench.store.object(key).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        bench
            .store
            .set_object(key, text.replacen(from, to, 1).into_bytes());
    };
    let manifest = &bench.keys_ending("/manifest")[level];
    let digest = || hex::encode(Manifest::line_digest(&bench.store.object(manifest).unwrap()).unwrap());
    let before = digest();
    change(manifest, "\"format\":1", "\"format\":2");
    if whole {
        change(&bench.keys_ending("/metadata")[level], &before, &digest());
    }
}

#[test]
fn what_a_later_freezer_wrote_is_no_damage() {
    let bench = Bench::new();
    bench.write("file", "first");
    bench.backup();
    bench.write("file", "second");
    bench.backup();
    of_a_later_format(&bench, 1, true);

    let listing = listing(&bench);
    let states: Vec<State> = listing.backups.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Committed, State::Unreadable]);
    assert_eq!(listing.exit_class(), ExitClass::Partial);
    let report = bench.check(true);
    let [problem] = &report.problems[..] else {
        panic!("{report:#?}")
    };
    assert_eq!(problem.severity, Severity::Unreadable);
    assert!(problem.reason.contains("format 2"), "{problem:?}");
    assert!(problem.next.contains("a newer one"), "{problem:?}");

    let error = bench.restore(None).unwrap_err();
    assert!(matches!(error, AgentError::Newer { format: 2, .. }), "{error}");
    assert_eq!(error.exit_class(), ExitClass::Failed);
    // A backup goes on without it.
    bench.write("file", "third");
    assert_eq!(bench.backup().id.level.0, 0);
}

#[test]
fn a_changed_digit_is_damage_and_no_later_format() {
    let bench = two_names();
    of_a_later_format(&bench, 0, false);
    let report = bench.check(false);
    assert_eq!(report.exit_class(), ExitClass::Damaged, "{report:#?}");
}

/// "bad" comes first.
#[test]
fn what_a_later_freezer_wrote_holds_its_name_and_no_other() {
    let bench = two_names();
    of_a_later_format(&bench, 0, true);

    let report = prune_all(&bench);
    let [bad, good] = &report.names[..] else {
        panic!("{report:#?}")
    };
    assert!(bad.held.as_ref().unwrap().contains("format 2"), "{bad:?}");
    assert!(good.held.is_none(), "{good:?}");
    assert_eq!(report.exit_class(), ExitClass::Partial);

    let target: Arc<dyn Store> = Arc::new(MemoryStore::named("memory:to"));
    let options = copy_options(CopyWhich::All);
    let copied = bench
        .run(|context| copy((&bench.store(), &target), &options, context))
        .unwrap();
    let failed: Vec<_> = copied.failed.iter().map(|failed| failed.name.as_str()).collect();
    assert_eq!(failed, ["h_bad"]);
}
