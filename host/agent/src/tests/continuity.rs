//! Whether a chain is this backup's to continue, and what the storage's own directories are spared.

use std::fs;
use std::sync::atomic::Ordering;

use freezer_format::level::FullReason;
use freezer_format::name::{HostBackupName, Timestamp};
use rstest::rstest;

use super::support::*;
use crate::*;

#[test]
fn two_hosts_never_share_a_chain() {
    let mut bench = Bench::new();
    let as_host = |bench: &mut Bench, host: &str, name: &str| {
        bench.options.name = HostBackupName::new(host, name).unwrap();
        bench.options.host = host.to_owned();
    };
    as_host(&mut bench, "a_b", "c");
    bench.backup();
    as_host(&mut bench, "a", "b_c");
    for incremental in [true, false] {
        bench.options.policy.incremental = incremental;
        let error = bench.try_backup().unwrap_err();
        assert_eq!(
            error.to_string(),
            "b_c of host a and c of host a_b would both be stored as a_b_c, and the second is there already"
        );
        assert!(error.next()[0].contains("--name"));
    }
}

#[rstest]
#[case::data("/data")]
#[case::index("/index")]
#[case::snapshot("/engine_metadata")]
fn nothing_is_put_upon_a_broken_chain(#[case] object: &str, #[values(true, false)] short: bool) {
    let bench = Bench::new();
    for content in ["0", "1"] {
        bench.write("a", content);
        bench.backup();
    }
    let broken = bench
        .keys_ending(object)
        .into_iter()
        .find(|key| key.contains("/0_"))
        .unwrap();
    if short {
        bench.store.set_object(&broken, b"x".to_vec());
    } else {
        bench.store().remove(std::slice::from_ref(&broken)).unwrap();
    }
    let outcome = bench.backup();
    assert_eq!(outcome.id.level.0, 0);
    let warned = bench.warnings.lock().unwrap()[0].message.clone();
    assert!(warned.contains(&broken), "{warned}");
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn another_source_begins_a_chain_and_says_so() {
    let mut bench = Bench::new();
    let [first, second] = ["first", "second"].map(|name| bench.directory.path().join(name));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    bench.options.path = Some(first.clone());
    bench.backup();
    bench.options.path = Some(second.clone());
    let reason = |was: &str| Some(FullReason::ParentUnusable(was.to_owned()));
    let moved = format!(
        "the source was {} and is now {}",
        first.display(),
        second.display()
    );
    assert_eq!(bench.backup().full_reason, reason(&moved));
    assert_eq!(bench.backup().id.level.0, 1);
    fs::remove_dir(&second).unwrap();
    fs::write(&second, "").unwrap();
    assert_eq!(
        bench.backup().full_reason,
        reason("the source was a directory and is now a file")
    );
    bench.options.mode = "other".to_owned();
    assert_eq!(
        bench.backup().full_reason,
        reason("the mode was fs and is now other")
    );
}

#[test]
fn a_mistyped_source_leaves_nothing() {
    let mut bench = Bench::new();
    bench.options.path = Some(bench.directory.path().join("mistyped"));
    let error = bench.try_backup().unwrap_err();
    assert!(matches!(error, AgentError::Backup { .. }), "{error}");
    assert!(error.next()[0].contains("mistyped"), "{:?}", error.next());
    assert_eq!(bench.store.keys(), Vec::<String>::new());
}

#[test]
fn a_storage_in_the_future_is_told() {
    let bench = Bench::new();
    let first = bench.backup();
    bench.clock.fetch_sub(86_400, Ordering::Relaxed);
    assert_eq!(bench.backup().id.time.0, first.id.time.0 + 1);
    let warned = bench.warnings.lock().unwrap()[0].message.clone();
    assert!(warned.contains("one of the clocks is off"), "{warned}");
}

#[test]
fn an_empty_folder_with_a_far_date_dates_no_backup() {
    let bench = Bench::new();
    let first = bench.backup();
    let name = bench.options.name.as_str();
    let planted = format!("metadata/tar/{name}/999999999999/0_999999999999/nothing");
    bench.store.set_object(&planted, Vec::new());
    let second = bench.backup();
    assert_eq!(second.id.zero, first.id.zero);
    assert!(second.id.time.0 < 999_999_999_999, "{:?}", second.id);
}

#[test]
fn nothing_is_dated_behind_the_end_of_time() {
    let now = Timestamp(5);
    assert_eq!(crate::plan::time_after(None, now).unwrap(), now);
    assert_eq!(
        crate::plan::time_after(Some(Timestamp(9)), now).unwrap(),
        Timestamp(10)
    );
    assert!(crate::plan::time_after(Some(Timestamp(i64::MAX)), now).is_err());
}

#[test]
fn a_storage_below_the_source_is_left_out() {
    let mut bench = Bench::new();
    bench.write("kept", "1");
    bench.write("a [b]*/store/object", "2");
    bench.options.storage_directories = vec![bench.source().join("a [b]*/store")];
    bench.options.excludes.gitignore = vec!["!store".to_owned()];
    bench.backup();
    let restored: Vec<String> = bench.restore(None).unwrap().into_keys().collect();
    assert_eq!(restored, ["a [b]*/", "kept"]);
    let warned = bench.warnings.lock().unwrap()[0].message.clone();
    assert!(warned.ends_with("is left out: it is the storage"), "{warned}");
    bench.options.storage_directories = vec![bench.source()];
    let error = bench.try_backup().unwrap_err().to_string();
    assert!(error.ends_with("is the storage itself"), "{error}");
}

#[rstest]
#[case("")]
#[case("below/it")]
fn nothing_is_restored_into_the_storage(#[case] below: &str) {
    let bench = Bench::new();
    bench.backup();
    let storage = bench.directory.path().join("storage");
    fs::create_dir(&storage).unwrap();
    let options = RestoreOptions {
        storage_directories: vec![storage.clone()],
        overwrite: true,
        ..restore_options(storage.join(below))
    };
    let error = bench
        .run(|context| {
            restore_from(
                &bench.store(),
                (&bench.wanted(None), &options),
                &bench.keyring(),
                context,
            )
        })
        .unwrap_err();
    assert!(error.to_string().contains("lies in the storage"), "{error}");
    assert_eq!(tree(&storage).len(), 0);
}

#[test]
fn a_wrong_host_is_told_the_right_one() {
    let bench = Bench::new();
    bench.backup();
    let options = restore_options(bench.target());
    let wanted = Wanted {
        name: HostBackupName::new("elsewhere", "etc").unwrap(),
        at: None,
    };
    let error = bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap_err();
    assert_eq!(error.next()[0], "did you mean --name etc --host web01?");
}
