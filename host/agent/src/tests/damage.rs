//! The damage matrix: whatever happens to whichever stored object, a restore is right or fails, never wrong, and
//! `check` names the object.

use std::collections::BTreeMap;

use rstest::rstest;

use super::support::*;
use crate::*;

type Tree = BTreeMap<String, String>;

/// What may happen to an object. Swaps and replacements take the same object of another level.
const ACTIONS: [&str; 8] = [
    "delete",
    "empty",
    "truncate",
    "flip-first",
    "flip-middle",
    "flip-last",
    "duplicate",
    "replace",
];

fn damaged(bench: &Bench, key: &str, other: &str, action: &str) -> Option<Vec<u8>> {
    let mut bytes = bench.store.object(key).unwrap().to_vec();
    let (middle, last) = (bytes.len() / 2, bytes.len() - 1);
    match action {
        "delete" => return None,
        "empty" => bytes.clear(),
        "truncate" => bytes.truncate(middle),
        "flip-first" => bytes[0] ^= 1,
        "flip-middle" => bytes[middle] ^= 1,
        "flip-last" => bytes[last] ^= 0x10,
        "duplicate" => bytes.extend_from_within(..),
        _ => bytes = bench.store.object(other).unwrap().to_vec(),
    }
    Some(bytes)
}

fn three_levels(bench: &Bench) -> Vec<Tree> {
    let mut expected = Vec::new();
    for level in 0..3 {
        bench.write("same", &"the same in all levels ".repeat(50));
        bench.write("changed", &format!("content of level {level} ").repeat(100));
        bench.write(&format!("new{level}"), &format!("only from level {level} on"));
        bench.backup();
        expected.push(bench.expected());
    }
    expected
}

#[rstest]
#[case::clear(Bench::new())]
#[case::encrypted(Bench::encrypted())]
fn damage_is_an_error_or_harmless_but_never_wrong(
    #[case] bench: Bench,
    #[values("/data", "/index", "/manifest", "/metadata", "/engine_metadata")] object: &str,
) {
    let expected = three_levels(&bench);
    let keys = bench.keys_ending(object);
    for (level, key) in keys.iter().enumerate() {
        let other = &keys[(level + 1) % keys.len()];
        for action in ACTIONS {
            let whole = bench.store.object(key).unwrap().to_vec();
            match damaged(&bench, key, other, action) {
                Some(bytes) => bench.store.set_object(key, bytes),
                None => bench.store.remove_object(key),
            }
            let case = format!("{action} {key}");
            let wrong = judge(&bench, (object, action, level), &expected, &case);
            judge_check(&bench, (object, action), key, &case, wrong);
            bench.store.set_object(key, whole);
        }
    }
    assert_eq!(bench.restore(None).unwrap(), expected[2]);
}

/// Restores; answers whether it failed.
fn judge(bench: &Bench, (object, action, level): (&str, &str, usize), expected: &[Tree], case: &str) -> bool {
    match bench.restore_or_part(None) {
        // Without its commit point the newest level isn't there: the state before it is the newest.
        Ok(tree) if object == "/metadata" && action == "delete" && level == 2 => {
            assert_eq!(tree, expected[1], "{case}");
            false
        }
        Ok(tree) => {
            assert_eq!(tree, expected[2], "{case}");
            false
        }
        Err((error, written)) => {
            // Damage inside a stream is met on the way: what has its name by then is whole.
            let whole = written
                .iter()
                .all(|(path, content)| expected[2].get(path) == Some(content));
            assert!(
                whole && (object == "/data" || written.is_empty()),
                "{case}: {error}"
            );
            assert_eq!(error.exit_class(), ExitClass::Damaged, "{case}: {error}");
            assert!(!error.next().is_empty(), "{case}: {error}");
            true
        }
    }
}

/// The check names what is damaged, whether a restore minds or not.
fn judge_check(bench: &Bench, (object, action): (&str, &str), key: &str, case: &str, failed: bool) {
    let report = bench.check(true);
    let of_object = |problem: &&Problem| problem.object == key;
    if object == "/metadata" && action == "delete" {
        // It names the level's folder as garbage; higher levels, if any, as hit.
        assert!(
            report
                .problems
                .iter()
                .any(|p| key.contains("metadata/") && !p.reason.is_empty()),
            "{case}"
        );
        return;
    }
    let found = report.problems.iter().find(of_object);
    let problem = found.unwrap_or_else(|| panic!("{case} (restore failed: {failed}): {report:#?}"));
    assert_eq!(problem.severity, Severity::Damage, "{case}");
    assert!(!problem.hits.is_empty() && !problem.next.is_empty(), "{case}");
    assert_eq!(report.exit_class(), ExitClass::Damaged, "{case}");
}

#[test]
fn damage_at_level_one_hits_the_levels_above_it_only() {
    let bench = Bench::encrypted();
    three_levels(&bench);
    let key = bench.keys_ending("/data").remove(1);
    bench.store.remove_object(&key);
    let report = bench.check(false);
    assert_eq!(report.problems.len(), 1);
    let hits: Vec<&str> = report.problems[0].hits.iter().map(|hit| &hit[..17]).collect();
    assert_eq!(hits, ["web01_etc level 1", "web01_etc level 2"]);
    assert!(
        report.problems[0].next.contains("--at 2030-"),
        "{}",
        report.problems[0].next
    );
}

#[test]
fn the_stored_bytes_are_checked_without_the_pass_phrase_too() {
    let mut bench = Bench::encrypted();
    three_levels(&bench);
    let key = bench.keys_ending("/data").remove(0);
    let mut bytes = bench.store.object(&key).unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bench.passphrase = None;
    assert_eq!(bench.check(true).problems, []);
    bench.store.set_object(&key, bytes);
    let report = bench.check(true);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].object, key);
}

#[test]
fn a_missing_middle_level_is_named() {
    let bench = Bench::new();
    let expected = three_levels(&bench);
    for key in bench.store.keys().iter().filter(|key| key.contains("/1_")) {
        bench.store.remove_object(key);
    }
    let error = bench.restore(None).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged);
    let said = error.to_string();
    assert!(
        said.contains("level 1 of the chain begun at 2030-03-17T17:46:40Z is missing"),
        "{said}"
    );
    assert_eq!(
        bench
            .restore(Some(freezer_format::name::Timestamp(1_900_000_030)))
            .unwrap(),
        expected[0]
    );
}
