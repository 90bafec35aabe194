//! A storage that shows less than this machine has seen there is told of, and nothing is blocked.

use std::collections::BTreeMap;

use freezer_format::retention::Policy;
use rstest::rstest;

use super::support::*;
use crate::*;

/// A bench that remembers.
fn bench(encrypted: bool) -> Bench {
    let mut bench = if encrypted {
        Bench::encrypted()
    } else {
        Bench::new()
    };
    bench.options.seen = Some(seen(&bench));
    bench
}

fn seen(bench: &Bench) -> SeenBackups {
    SeenBackups::new(bench.directory.path().join("state/seen"))
}

/// All objects of the storage, and putting it back to them.
fn objects(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let keys = bench.store.keys().into_iter();
    keys.map(|key| (key.clone(), bench.store.object(&key).unwrap().to_vec()))
        .collect()
}

fn put_back(bench: &Bench, objects: &BTreeMap<String, Vec<u8>>) {
    for key in bench.store.keys() {
        if !objects.contains_key(&key) {
            bench.store.remove_object(&key);
        }
    }
    for (key, content) in objects {
        bench.store.set_object(key, content.clone());
    }
}

/// What was said of the storage since the last time.
fn said(bench: &Bench) -> Vec<String> {
    let warnings = std::mem::take(&mut *bench.warnings.lock().unwrap());
    let texts = warnings.into_iter().map(|warning| warning.message);
    texts
        .filter(|text| text.contains("this machine has seen"))
        .collect()
}

fn look(bench: &Bench, verify: bool) -> Vec<String> {
    let options = ListOptions {
        verify,
        seen: Some(seen(bench)),
        ..ListOptions::default()
    };
    bench
        .run(|context| list(&bench.store(), &options, &bench.keyring(), context))
        .unwrap();
    said(bench)
}

fn check_again(bench: &Bench) -> Vec<String> {
    let options = CheckOptions {
        seen: Some(seen(bench)),
        ..CheckOptions::default()
    };
    bench
        .run(|context| check(&bench.store(), &options, &bench.keyring(), context))
        .unwrap();
    said(bench)
}

fn restore_again(bench: &Bench) -> Vec<String> {
    let opened = OpenBackup::open(&bench.store(), &bench.wanted(None), &bench.keyring()).unwrap();
    bench.run(|context| opened.compare_seen(&seen(bench), context));
    said(bench)
}

#[rstest]
fn a_storage_put_back_to_an_earlier_state_is_told_by_every_verb(#[values(false, true)] encrypted: bool) {
    let bench = bench(encrypted);
    bench.write("a", "one");
    bench.backup();
    let earlier = objects(&bench);
    bench.write("a", "two");
    bench.backup();
    for verb in [look(&bench, false), check_again(&bench), restore_again(&bench)] {
        assert_eq!(verb, Vec::<String>::new(), "nothing is wrong yet");
    }
    put_back(&bench, &earlier);
    let expected = "the newest backup of web01_etc is of 2030-03-17T17:46:40Z, and this machine has seen level 1 of \
                    2030-03-17T17:47:40Z: newer ones were removed, or the storage is an older copy; if that is right, \
                    remove ";
    for verb in [look(&bench, false), check_again(&bench), restore_again(&bench)] {
        assert_eq!(verb.len(), 1, "{verb:?}");
        assert!(verb[0].starts_with(expected), "{verb:?}");
    }
    // A backup says so too, and is then the newest one.
    bench.backup();
    assert_eq!(said(&bench).len(), 1);
    assert_eq!(look(&bench, false), Vec::<String>::new());
}

#[test]
fn a_backup_that_was_replaced_is_told() {
    let bench = bench(false);
    bench.write("a", "one");
    let made = bench.backup();
    let other = Bench::new();
    other.write("a", "another");
    other.backup();
    put_back(&bench, &objects(&other));
    let texts = look(&bench, false);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("level 0 of 2030-03-17T17:46:40Z of web01_etc isn't the one"),
        "{texts:?}"
    );
    assert_eq!(made.id.level.0, 0);
}

#[test]
fn a_name_that_is_gone_is_told_where_it_was_asked_for() {
    let bench = bench(false);
    bench.backup();
    put_back(&bench, &BTreeMap::new());
    let texts = look(&bench, false);
    assert!(
        texts[0].starts_with("web01_etc has no backup any more"),
        "{texts:?}"
    );
    let options = ListOptions {
        filter: Filter {
            host: None,
            name: Some("other".to_owned()),
        },
        seen: Some(seen(&bench)),
        ..ListOptions::default()
    };
    bench
        .run(|context| list(&bench.store(), &options, &bench.keyring(), context))
        .unwrap();
    assert_eq!(said(&bench), Vec::<String>::new());
}

#[test]
fn what_this_machine_prunes_is_not_missed() {
    let bench = bench(false);
    bench.backup();
    bench.backup();
    let options = PruneOptions {
        policy: Policy {
            cut: Some(freezer_format::retention::Cut {
                at: freezer_format::name::Timestamp(i64::MAX),
                by_clock: false,
            }),
            ..Policy::default()
        },
        even_newest: true,
        seen: Some(seen(&bench)),
        ..super::prune::keep_last(0)
    };
    bench
        .run(|context| prune(&bench.store, &options, &bench.keyring(), context))
        .unwrap();
    assert_eq!(bench.rows().len(), 0);
    assert_eq!(look(&bench, false), Vec::<String>::new());
}

/// Else whoever can write to the storage could make an authentic backup forgotten by one that only looks newer.
#[test]
fn what_nobody_authenticated_does_not_make_an_authentic_backup_forgotten() {
    let bench = bench(true);
    bench.backup();
    let earlier = objects(&bench);
    bench.backup();
    let mut forger = Bench::new();
    forger.clock = (1_900_009_000).into();
    forger.backup();
    for (key, content) in objects(&forger) {
        bench.store.set_object(&key, content);
    }
    look(&bench, false);
    put_back(&bench, &earlier);
    assert_eq!(look(&bench, false).len(), 1);
}

#[test]
fn a_dry_run_remembers_nothing() {
    let mut bench = bench(false);
    bench.options.dry_run = true;
    bench.backup();
    assert!(!bench.directory.path().join("state").exists());
}

#[test]
fn a_state_file_of_others_is_not_believed_and_blocks_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench(false);
    bench.backup();
    let directory = bench.directory.path().join("state/seen");
    let file = std::fs::read_dir(&directory)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&file).unwrap();
    let doubt = |bench: &Bench| {
        look(bench, false);
        bench.backup();
        let options = ListOptions {
            seen: Some(seen(bench)),
            ..ListOptions::default()
        };
        bench.warnings.lock().unwrap().clear();
        bench
            .run(|context| list(&bench.store(), &options, &bench.keyring(), context))
            .unwrap();
        let warnings = std::mem::take(&mut *bench.warnings.lock().unwrap());
        warnings
            .into_iter()
            .map(|warning| warning.message)
            .collect::<Vec<_>>()
            .join("\n")
    };
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(doubt(&bench).contains("can't be used: others may write to it; remove it"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    for wrong in ["", "{", "[]", "{\"storage\": 1}", &"x".repeat(9 << 20)] {
        std::fs::write(&file, wrong).unwrap();
        assert!(
            doubt(&bench).contains("it is no file of ours; remove it"),
            "{:.20}",
            wrong
        );
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("elsewhere", &file).unwrap();
    assert!(doubt(&bench).contains("can't be used"));
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, text).unwrap();
    assert_eq!(doubt(&bench), "");
}
