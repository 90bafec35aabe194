//! Which level is made, when a chain ends, under which key, and at which second.

use std::fs;
use std::sync::atomic::Ordering;

use freezer_format::compression::Compression;
use freezer_format::layout::{BackupKeys, Engine};
use freezer_format::level::FullReason;
use freezer_format::metadata::Metadata;
use rstest::rstest;

use super::support::*;
use crate::*;

fn level(bench: &Bench) -> u32 {
    bench.backup().id.level.0
}

fn key_of(bench: &Bench, outcome: &BackupOutcome) -> String {
    let key = BackupKeys::new(Engine::Tar, &outcome.name, outcome.id).metadata();
    Metadata::parse(&bench.store.object(&key).unwrap())
        .unwrap()
        .key
        .unwrap()
        .wrapped
}

#[test]
fn an_existing_chain_makes_the_next_level() {
    let bench = Bench::new();
    let first = bench.backup();
    assert_eq!((first.id.level.0, first.id.zero), (0, first.id.time));
    assert_eq!(first.full_reason, Some(FullReason::FirstBackup));
    let second = bench.backup();
    assert_eq!(
        (second.id.level.0, second.id.zero, second.parent),
        (1, first.id.zero, Some(first.id))
    );
    assert_eq!(second.full_reason, None);
}

#[test]
fn a_differential_is_made_against_level_zero() {
    let mut bench = Bench::new();
    bench.write("a", "1");
    let first = bench.backup();
    bench.write("b", "2");
    assert_eq!(level(&bench), 1);
    bench.options.policy.differential = true;
    bench.write("c", "3");
    let differential = bench.backup();
    assert_eq!(
        (differential.id.level.0, differential.parent),
        (1, Some(first.id))
    );
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
    assert_eq!(bench.check(true).problems, []);
}

#[test]
fn an_always_level_is_repeated() {
    let mut bench = Bench::new();
    bench.options.policy.always_level = Some(1);
    assert_eq!((level(&bench), level(&bench), level(&bench)), (0, 1, 1));
    bench.write("a", "1");
    bench.backup();
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn another_compression_begins_a_chain() {
    let mut bench = Bench::new();
    bench.backup();
    bench.options.compression = Compression::Zstd;
    let outcome = bench.backup();
    assert_eq!(
        outcome.full_reason,
        Some(FullReason::OptionChanged("the compression".into()))
    );
    assert_eq!(level(&bench), 1);
}

#[test]
fn encrypting_from_now_on_begins_a_chain() {
    let mut bench = Bench::new();
    bench.backup();
    bench.passphrase = Some("right");
    let outcome = bench.backup();
    assert_eq!(outcome.id.level.0, 0);
    assert!(outcome.full_reason.is_some());
    assert_eq!(level(&bench), 1);
}

#[test]
fn a_forgotten_pass_phrase_doesnt_go_on_in_clear() {
    let mut bench = Bench::encrypted();
    bench.backup();
    bench.passphrase = None;
    let error = bench.try_backup().unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::Failed);
    assert!(
        error
            .to_string()
            .contains("is encrypted, and no password is given"),
        "{error}"
    );
    bench.options.policy.incremental = false;
    assert_eq!(level(&bench), 0);
}

#[test]
fn a_new_pass_phrase_begins_a_chain_with_a_new_key_only_if_asked_for() {
    let mut bench = Bench::encrypted();
    let first = bench.backup();
    bench.passphrase = Some("another");
    let before = bench.store.keys();
    let error = bench.try_backup().unwrap_err();
    assert!(
        error.to_string().ends_with("wrong password or damaged"),
        "{error}"
    );
    assert!(error.next()[0].contains("--full"), "{:?}", error.next());
    assert_eq!(bench.store.keys(), before);
    bench.options.policy.incremental = false;
    let second = bench.backup();
    assert_ne!(key_of(&bench, &first), key_of(&bench, &second));
    let warned = bench.warnings.lock().unwrap()[0].message.clone();
    assert!(warned.starts_with("the password doesn't open"), "{warned}");
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
    bench.passphrase = Some("right");
    assert_eq!(bench.restore(Some(first.id.time)).unwrap(), bench.expected());
}

#[test]
fn a_new_chain_of_the_same_pass_phrase_keeps_the_key() {
    let mut bench = Bench::encrypted();
    let first = bench.backup();
    bench.options.policy.incremental = false;
    let second = bench.backup();
    assert_eq!(key_of(&bench, &first), key_of(&bench, &second));
}

#[test]
fn every_object_has_a_salt_of_its_own() {
    let bench = Bench::encrypted();
    for number in 0..3 {
        bench.write("a", &number.to_string());
        bench.backup();
    }
    let mut salts: Vec<_> = [bench.keys_ending("/data"), bench.keys_ending("/index")]
        .concat()
        .iter()
        .map(|key| bench.store.object(key).unwrap()[8..16].to_vec())
        .collect();
    assert_eq!(salts.len(), 6);
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 6);
}

#[test]
fn a_clock_set_back_gives_later_times_all_the_same() {
    let bench = Bench::new();
    let first = bench.backup();
    bench.clock.store(1_000_000_000, Ordering::Relaxed);
    let second = bench.backup();
    assert_eq!((second.id.level.0, second.id.time.0), (1, first.id.time.0 + 1));
}

#[test]
fn a_place_claimed_by_another_run_gives_way_to_the_next_second() {
    let bench = Bench::new();
    let first = bench.backup();
    let now = bench.clock.load(Ordering::Relaxed);
    for second in [now, now + 1] {
        let claim = format!("data/tar/web01_etc/{}/1_{second}/claim", first.id.zero);
        bench.store.set_object(&claim, b"0123456789abcdef".to_vec());
    }
    assert_eq!(bench.backup().id.time.0, now + 2);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn a_level_folder_without_commit_is_no_parent() {
    let bench = Bench::new();
    let first = bench.backup();
    let half = format!(
        "metadata/tar/web01_etc/{}/1_{}/temporary",
        first.id.zero,
        first.id.time.0 + 1
    );
    bench.store.set_object(&half, Vec::new());
    let second = bench.backup();
    assert_eq!((second.id.level.0, second.parent), (1, Some(first.id)));
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[rstest]
#[case("/manifest")]
#[case("/index")]
fn a_damaged_parent_begins_a_chain_and_says_so(#[case] object: &str) {
    let bench = Bench::encrypted();
    bench.backup();
    let key = bench.keys_ending(object).remove(0);
    bench.store.set_object(&key, b"damaged".to_vec());
    let outcome = bench.backup();
    assert!(
        matches!(outcome.full_reason, Some(FullReason::ParentUnusable(_))),
        "{:?}",
        outcome.full_reason
    );
    assert_eq!(bench.warnings.lock().unwrap().len(), 1);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[rstest]
#[case(Compression::Zstd)]
#[case(Compression::None)]
fn compat_refuses_what_the_original_cant_read(#[case] compression: Compression) {
    let mut bench = Bench::new();
    bench.options.compat = true;
    bench.options.compression = compression;
    let error = bench.try_backup().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the original can't read compression {compression}")
    );
    assert_eq!(bench.store.keys(), Vec::<String>::new());
}

#[test]
fn compat_documents_are_what_the_original_reads() {
    let mut bench = Bench::encrypted();
    bench.options.compat = true;
    let outcome = bench.backup();
    let keys = BackupKeys::new(Engine::Tar, &outcome.name, outcome.id);
    let metadata = bench.store.object(&keys.metadata()).unwrap();
    let start = r#"{"engine_name": "tar", "compression": "gzip", "encryption": true, "#;
    assert!(
        metadata.starts_with(start.as_bytes()),
        "{}",
        String::from_utf8_lossy(&metadata)
    );
    assert!(
        bench
            .store
            .object(&keys.engine_metadata())
            .unwrap()
            .starts_with(b"GNU tar-1.34-2\n")
    );
    assert!(bench.warnings.lock().unwrap()[0].message.starts_with("--compat"));
}

/// A file that nobody may read, as far as there is one: root reads what modes forbid, but not what the kernel only
/// takes in.
fn unreadable_file(bench: &Bench) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    bench.write("locked", "1");
    let locked = bench.source().join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let known = [locked, "/sys/bus/platform/uevent".into()];
    known
        .into_iter()
        .find(|path| fs::symlink_metadata(path).is_ok() && fs::read(path).is_err())
}

#[test]
fn an_unreadable_file_makes_the_backup_partial() {
    let bench = Bench::new();
    let Some(unreadable) = unreadable_file(&bench) else {
        eprintln!("==== SKIPPED: this user can read every file here ====");
        return;
    };
    let name = unreadable.file_name().unwrap().to_string_lossy().into_owned();
    let outcome = bench.backup_by(&Directory::new(unreadable)).unwrap();
    assert_eq!(outcome.exit_class(), ExitClass::Partial);
    assert_eq!(outcome.report.counts.unreadable, 1);
    assert_eq!(bench.rows()[0].state, State::Partial);
    let warnings = bench.warnings.lock().unwrap();
    let told = |warning: &freezer_pipeline::counters::Warning| {
        warning.partial && String::from_utf8_lossy(&warning.path).contains(&name)
    };
    assert!(warnings.iter().any(told), "{warnings:?}");
}
