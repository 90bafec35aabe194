//! Backing up and getting back: every level, every encoding, single files, dry runs.

use std::fs;

use freezer_format::compression::Compression;
use rstest::rstest;

use super::support::*;
use crate::*;

fn three_levels(bench: &Bench) -> Vec<(BackupOutcome, std::collections::BTreeMap<String, String>)> {
    bench.write("a/one", "first");
    bench.write("two", "second");
    std::os::unix::fs::symlink("two", bench.source().join("link")).unwrap();
    let mut made = vec![(bench.backup(), bench.expected())];
    bench.write("a/one", "first, changed");
    bench.write("b/three", "third");
    made.push((bench.backup(), bench.expected()));
    fs::remove_file(bench.source().join("two")).unwrap();
    fs::remove_dir_all(bench.source().join("b")).unwrap();
    bench.write("b", "now a file");
    made.push((bench.backup(), bench.expected()));
    made
}

#[rstest]
#[case(None, false, Compression::Gzip)]
#[case(None, false, Compression::Zstd)]
#[case(None, false, Compression::None)]
#[case(None, true, Compression::Bzip2)]
#[case(Some("right"), false, Compression::Gzip)]
#[case(Some("right"), false, Compression::Xz)]
#[case(Some("right"), true, Compression::Gzip)]
fn every_level_comes_back(
    #[case] passphrase: Option<&'static str>,
    #[case] compat: bool,
    #[case] compression: Compression,
) {
    let mut bench = Bench {
        passphrase,
        ..Bench::new()
    };
    bench.options.compat = compat;
    bench.options.compression = compression;
    let made = three_levels(&bench);
    for (level, (outcome, expected)) in made.iter().enumerate() {
        assert_eq!(outcome.id.level.0 as usize, level);
        assert_eq!(
            &bench.restore(Some(outcome.id.time)).unwrap(),
            expected,
            "level {level}"
        );
    }
    assert_eq!(&bench.restore(None).unwrap(), &made[2].1);
    let report = bench.check(true);
    assert_eq!(report.problems, []);
    assert_eq!(report.backups, 3);
    assert_eq!(report.authenticated, if passphrase.is_some() { 3 } else { 0 });
}

#[test]
fn the_list_needs_no_key() {
    let bench = Bench::encrypted();
    three_levels(&bench);
    let rows = bench.rows();
    assert_eq!(
        rows.iter().map(|row| row.id.level.0).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(
        rows.iter()
            .all(|row| row.state == State::Committed && row.encrypted == Some(true))
    );
    assert_eq!(
        (rows[0].host.as_str(), rows[0].backup_name.as_str()),
        ("web01", "etc")
    );
    let json = serde_json::to_value(&rows[0]).unwrap();
    assert_eq!(json["level"], 0);
    assert_eq!(json["state"], "committed");
}

#[test]
fn an_encrypted_backup_shows_no_names() {
    let bench = Bench::encrypted();
    bench.write("canary-name", "canary-content");
    bench.backup();
    assert_eq!(bench.keys_ending("/engine_metadata"), Vec::<String>::new());
    for key in bench.store.keys() {
        let bytes = bench.store.object(&key).unwrap();
        let found = bytes.windows(6).any(|window| window == b"canary");
        assert!(!found, "{key}");
    }
}

#[test]
fn one_file_is_dumped_from_the_level_that_holds_it() {
    let bench = Bench::encrypted();
    three_levels(&bench);
    for (path, expected) in [
        ("a/one", "first, changed"),
        ("/b", "now a file"),
        ("./a/one", "first, changed"),
    ] {
        let mut content = Vec::new();
        let wanted = bench.wanted(None);
        let bytes = bench
            .run(|context| {
                dump(
                    &bench.store(),
                    (&wanted, path.as_bytes()),
                    &bench.keyring(),
                    &mut content,
                    context,
                )
            })
            .unwrap();
        assert_eq!(
            (bytes as usize, content.as_slice()),
            (expected.len(), expected.as_bytes())
        );
    }
}

#[test]
fn dumping_what_isnt_there_finds_nothing() {
    let bench = Bench::new();
    three_levels(&bench);
    let wanted = bench.wanted(None);
    let error = bench
        .run(|context| {
            dump(
                &bench.store(),
                (&wanted, b"two"),
                &bench.keyring(),
                &mut Vec::new(),
                context,
            )
        })
        .unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::NothingFound, "{error}");
}

#[test]
fn ls_shows_children_or_everything() {
    let bench = Bench::new();
    three_levels(&bench);
    let names = |path: &str, recursive| {
        let options = LsOptions {
            wanted: bench.wanted(None),
            path: path.into(),
            recursive,
        };
        let mut names = Vec::new();
        let mut visit = |listed: Listed<'_>| {
            if let Listed::Entry(entry) = listed {
                names.push(String::from_utf8(entry.entry.path.clone()).unwrap());
            }
            Ok(())
        };
        bench
            .run(|context| ls(&bench.store(), &options, &bench.keyring(), context, &mut visit))
            .map(|_| names)
    };
    assert_eq!(names("", false).unwrap(), ["a", "b", "link"]);
    assert_eq!(names("", true).unwrap(), ["a", "a/one", "b", "link"]);
    assert_eq!(names("a/", false).unwrap(), ["a/one"]);
    assert_eq!(names("b", false).unwrap(), ["b"]);
    assert_eq!(
        names("nowhere", false).unwrap_err().exit_class(),
        ExitClass::NothingFound
    );
}

#[test]
fn a_dry_run_writes_nothing_and_reports_all_the_same() {
    let mut bench = Bench::encrypted();
    three_levels(&bench);
    let before = bench.store.keys();
    bench.write("new", "content");
    bench.options.dry_run = true;
    let outcome = bench.backup();
    assert_eq!(bench.store.keys(), before);
    assert_eq!((outcome.id.level.0, outcome.report.counts.new), (3, 1));
    assert_eq!(bench.store.open_uploads(), 0);
}

#[test]
fn a_full_directory_is_refused_without_overwrite() {
    let bench = Bench::new();
    three_levels(&bench);
    let target = bench.target();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "keep").unwrap();
    let options = restore_options(target.clone());
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
    let expected = format!("the restore directory {} is not empty", target.display());
    assert_eq!(error.to_string(), expected);
    let options = RestoreOptions {
        overwrite: true,
        ..options
    };
    bench
        .run(|context| {
            restore_from(
                &bench.store(),
                (&bench.wanted(None), &options),
                &bench.keyring(),
                context,
            )
        })
        .unwrap();
    assert_eq!(tree(&target).get("mine").map(String::as_str), Some("keep"));
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let bench = Bench::new();
    bench.backup();
    let wanted = Wanted {
        name: freezer_format::name::HostBackupName::new("web01", "ect").unwrap(),
        at: None,
    };
    let options = restore_options(bench.target());
    let error = bench
        .run(|context| restore_from(&bench.store(), (&wanted, &options), &bench.keyring(), context))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("No matching backup name \"web01_ect\" found"),
        "{error}"
    );
    assert_eq!(error.next()[0], "did you mean --name etc?");
    assert_eq!(error.exit_class(), ExitClass::NothingFound);
}

#[test]
fn a_date_before_the_first_backup_names_it() {
    let bench = Bench::new();
    bench.backup();
    let error = bench
        .restore(Some(freezer_format::name::Timestamp(5)))
        .unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::NothingFound);
    let said = error.to_string();
    assert!(
        said.contains("none of 1970-01-01T00:00:05Z") && said.contains("oldest is of 2030-"),
        "{said}"
    );
}

#[test]
fn the_recovery_script_restores_with_plain_tools() {
    let bench = Bench::encrypted();
    let made = three_levels(&bench);
    let container = bench.directory.path().join("container");
    for key in bench.store.keys() {
        let path = container.join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &**bench.store.object(&key).unwrap()).unwrap();
    }
    let pass = bench.directory.path().join("pass");
    fs::write(&pass, "right\n").unwrap();
    let script = recovery(&bench.store(), &bench.wanted(None)).unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(bench.directory.path())
        .env("CONTAINER", &container)
        .env("PASS", &pass)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{script}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(tree(&bench.directory.path().join("out")), made[2].1);
}

#[rstest]
#[case::clear(None)]
#[case::encrypted(Some("right"))]
fn a_backup_of_more_than_all_segments_of_the_first_size_is_stored_and_copied(
    #[case] passphrase: Option<&'static str>,
) {
    use freezer_pipeline::store::Limits;
    use freezer_pipeline::testing::{MemoryStore, Operation};
    let limits = Limits {
        max_segments: 16,
        min_segment_bytes: 1,
        max_segment_bytes: 16_000,
        parallel_calls: 4,
    };
    let mut bench = Bench {
        passphrase,
        ..Bench::new()
    };
    bench.store = MemoryStore::with_limits(limits);
    bench.options.compression = Compression::None;
    bench.options.segment_bytes = 1000;
    bench.write("large", &"0123456789".repeat(4000));
    let made = bench.backup();
    let bytes = bench.store.object(&bench.keys_ending("/data")[0]).unwrap().len() as u64;
    assert!(bytes > 16 * 1000, "the limit is met: {bytes}");
    assert_eq!(
        made.report.data.segments,
        bytes.div_ceil(1000),
        "digests are of pieces of one size"
    );
    assert!(bench.store.requests().count(Operation::PutSegment) <= 2 * 16);
    assert_eq!(bench.check(true).problems, []);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());

    let to = MemoryStore::with_limits(limits);
    let target: std::sync::Arc<dyn freezer_pipeline::store::Store> = std::sync::Arc::new(to.clone());
    let options = copy_options(CopyWhich::All);
    bench
        .run(|context| copy((&bench.store(), &target), &options, context))
        .unwrap();
    bench.store = to;
    assert_eq!(bench.check(true).problems, []);
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}
