//! Attacks by someone who writes the storage and hasn't the password (stored-format: attacks).

use freezer_format::manifest::Manifest;
use freezer_format::metadata::Metadata;
use freezer_format::name::HostBackupName;

use super::support::*;
use crate::*;

fn refused(bench: &Bench, expected: &str) {
    let error = bench.restore(None).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged, "{error}");
    let text = crate::level::chain_text(&error);
    assert!(text.contains(expected), "{text}");
}

/// Copies all objects of one bench into another's storage.
fn plant(from: &Bench, into: &Bench) {
    for key in from.store.keys() {
        into.store
            .set_object(&key, from.store.object(&key).unwrap().to_vec());
    }
}

fn clear_bench_after(bench: &Bench) -> Bench {
    let attacker = Bench::new();
    attacker.write("evil", "planted");
    attacker.clock.store(
        bench.clock.load(std::sync::atomic::Ordering::Relaxed),
        std::sync::atomic::Ordering::Relaxed,
    );
    attacker
}

#[test]
fn a_clear_backup_planted_as_the_newest_is_refused() {
    let mut bench = Bench::encrypted();
    bench.write("a", "1");
    bench.backup();
    let attacker = clear_bench_after(&bench);
    attacker.backup();
    plant(&attacker, &bench);
    refused(&bench, "is not encrypted, though a password is given");
    bench.options.compat = true;
    assert_eq!(bench.restore(None).unwrap(), attacker.expected());
}

#[test]
fn an_original_s_backup_planted_as_the_newest_is_refused() {
    let bench = Bench::encrypted();
    bench.backup();
    let attacker = clear_bench_after(&bench);
    attacker.backup();
    for key in attacker.keys_ending("/manifest") {
        attacker.store.remove_object(&key);
    }
    let key = attacker.keys_ending("/metadata").remove(0);
    let document = br#"{"engine_name": "tar", "compression": "gzip", "encryption": false}"#;
    attacker.store.set_object(&key, document.to_vec());
    plant(&attacker, &bench);
    refused(&bench, "it has no manifest of ours");
}

#[test]
fn a_backup_under_another_pass_phrase_is_refused() {
    let bench = Bench::encrypted();
    bench.backup();
    let attacker = Bench {
        passphrase: Some("guess"),
        ..clear_bench_after(&bench)
    };
    attacker.backup();
    plant(&attacker, &bench);
    let error = bench.restore(None).unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "can't decrypt: wrong password or damaged"
    );
}

#[test]
fn another_name_s_backup_of_the_same_key_is_refused() {
    let bench = Bench::encrypted();
    bench.backup();
    for key in bench.store.keys() {
        let moved = key.replace("web01_etc", "web01_usr");
        bench
            .store
            .set_object(&moved, bench.store.object(&key).unwrap().to_vec());
    }
    let wanted = Wanted {
        name: HostBackupName::new("web01", "usr").unwrap(),
        at: None,
    };
    let options = restore_options(bench.target());
    let error = bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap_err();
    assert!(error.to_string().contains("belongs to another backup"), "{error}");
    assert_eq!(error.exit_class(), ExitClass::Damaged);
}

#[test]
fn a_backup_replayed_at_a_newer_time_is_refused() {
    let bench = Bench::encrypted();
    bench.write("a", "old");
    let first = bench.backup();
    let (old, new) = (first.id.time.0.to_string(), (first.id.time.0 + 1000).to_string());
    for key in bench.store.keys() {
        bench.store.set_object(
            &key.replace(&old, &new),
            bench.store.object(&key).unwrap().to_vec(),
        );
    }
    refused(&bench, "belongs to another backup");
}

#[test]
fn a_middle_level_replaced_by_its_twin_is_refused() {
    let bench = Bench::encrypted();
    bench.write("a", "0");
    bench.backup();
    // Two runs of one second against one parent: equal places, different contents, one key.
    let twin = Bench::encrypted();
    plant(&bench, &twin);
    twin.clock.store(
        bench.clock.load(std::sync::atomic::Ordering::Relaxed),
        std::sync::atomic::Ordering::Relaxed,
    );
    twin.random.store(1 << 40, std::sync::atomic::Ordering::Relaxed);
    twin.write("a", "twin");
    twin.backup();
    bench.write("a", "1");
    bench.backup();
    bench.write("b", "2");
    bench.backup();
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
    for key in twin.store.keys().iter().filter(|key| key.contains("/1_")) {
        bench
            .store
            .set_object(key, twin.store.object(key).unwrap().to_vec());
    }
    refused(&bench, "isn't the one that level 2");
    let report = bench.check(false);
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.reason.contains("another level 1")),
        "{report:#?}"
    );
}

#[test]
fn a_dropped_chain_is_noticed_by_the_check() {
    let mut bench = Bench::encrypted();
    let first = bench.backup();
    bench.options.policy.incremental = false;
    bench.backup();
    let place = format!("/{}/", first.id.zero);
    for key in bench.store.keys().iter().filter(|key| key.contains(&place)) {
        bench.store.remove_object(key);
    }
    let report = bench.check(false);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].severity, Severity::Notice);
    assert!(report.problems[0].reason.contains("isn't here"));
    assert_eq!(report.exit_class(), ExitClass::Ok);
}

#[test]
fn documents_of_hostile_size_or_cost_are_refused_at_once() {
    let bench = Bench::encrypted();
    bench.backup();
    let key = bench.keys_ending("/manifest").remove(0);
    let whole = bench.store.object(&key).unwrap().to_vec();
    bench.store.set_object(&key, vec![b' '; (16 << 20) + 100]);
    refused(&bench, "more than 16777216 bytes");
    let text = String::from_utf8(whole.clone()).unwrap();
    let costly = text.replace(
        "\"iterations\":1,\"check\"",
        "\"iterations\":2147483648,\"check\"",
    );
    assert_ne!(text, costly);
    bench.store.set_object(&key, costly.into_bytes());
    refused(&bench, "iteration count");
    bench.store.set_object(&key, whole);
    let key = bench.keys_ending("/metadata").remove(0);
    bench.store.set_object(&key, vec![b' '; 2 << 20]);
    refused(&bench, "more than 1048576 bytes");
}

#[test]
fn metadata_with_another_key_or_less_encryption_is_damage() {
    let bench = Bench::encrypted();
    bench.backup();
    let key = bench.keys_ending("/metadata").remove(0);
    let metadata = Metadata::parse(&bench.store.object(&key).unwrap()).unwrap();
    let mut other = metadata.clone();
    other.key.as_mut().unwrap().wrapped.replace_range(20..24, "AAAA");
    let clear = Metadata {
        encryption: false,
        ..metadata.clone()
    };
    let bare = Metadata {
        manifest_sha256: None,
        key: None,
        ..metadata
    };
    for document in [other, clear, bare] {
        bench.store.set_object(&key, document.to_bytes());
        refused(&bench, "contradicts the manifest");
    }
}

#[test]
fn a_manifest_resealed_without_the_key_is_refused() {
    let bench = Bench::encrypted();
    bench.backup();
    let key = bench.keys_ending("/manifest").remove(0);
    let opened = Manifest::open(&bench.store.object(&key).unwrap(), None).unwrap();
    let forged = Manifest {
        path: Some("/forged".into()),
        ..opened.manifest
    };
    bench.store.set_object(&key, forged.seal(None));
    let error = bench.restore(None).unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Damaged, "{error}");
    let metadata_key = bench.keys_ending("/metadata").remove(0);
    let mut metadata = Metadata::parse(&bench.store.object(&metadata_key).unwrap()).unwrap();
    metadata.manifest_sha256 = Some(Manifest::peek(&forged.seal(None)).unwrap().line_sha256);
    bench.store.set_object(&metadata_key, metadata.to_bytes());
    refused(&bench, "isn't sealed by the password's key");
}

#[test]
fn a_wrong_pass_phrase_is_said_before_anything_is_written() {
    let mut bench = Bench::encrypted();
    bench.backup();
    bench.passphrase = Some("wrong");
    let error = bench.restore(None).unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "can't decrypt: wrong password or damaged"
    );
    bench.passphrase = None;
    let error = bench.restore(None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Cannot restore encrypted backup without key"),
        "{error}"
    );
    assert_eq!(error.exit_class(), ExitClass::Failed);
}

#[test]
fn verifying_the_list_tells_the_authentic_from_the_planted() {
    let bench = Bench::encrypted();
    bench.backup();
    let attacker = clear_bench_after(&bench);
    attacker.backup();
    plant(&attacker, &bench);
    let options = ListOptions {
        verify: true,
        ..ListOptions::default()
    };
    let rows = bench
        .run(|context| list(&bench.store(), &options, &bench.keyring(), context))
        .unwrap()
        .backups;
    assert_eq!(
        rows.iter().map(|row| row.authentic).collect::<Vec<_>>(),
        [Some(true), Some(false)]
    );
    assert_eq!(rows[1].state, State::Unauthenticated);
    let report = bench.check(false);
    assert_eq!(report.authenticated, 1);
    assert_eq!(report.exit_class(), ExitClass::Damaged);
}
