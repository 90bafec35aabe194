//! What a backup leaves out because no restore would make it, and what a target shows to others meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use freezer_format::compression::Compression;
use freezer_format::tar::{END, Member, MemberKind, encode};
use freezer_pipeline::RunContext;
use freezer_pipeline::counters::{Warning, WarningKind};
use freezer_pipeline::restore::{RestoreJob, restore};
use rstest::rstest;
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::support::{Backups, Surroundings, plain_level, restore_into};

/// Makes directories within each other, deeper than one path can name.
fn nest(root: &Path, name: &str, levels: usize) {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// An archive of members without content.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    for member in members {
        encode(member, &mut archive).unwrap();
    }
    archive.extend_from_slice(&END);
    archive
}

fn member(path: &str, kind: MemberKind, mode: u32) -> Member {
    Member {
        mode,
        ..Member::new(path, kind)
    }
}

#[rstest]
#[case(1, 5000, 4096, "its path is too deep, left out")]
#[case(250, 400, 126, "its path is too long, left out")]
fn what_is_too_deep_to_restore_is_left_out_and_named_once(
    #[case] name_bytes: usize,
    #[case] levels: usize,
    #[case] kept: u64,
    #[case] message: &str,
) {
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    fs::create_dir(&source).unwrap();
    nest(&source, &"d".repeat(name_bytes), levels);
    let mut backups = Backups::new(Compression::Gzip, None);
    for _ in 0..2 {
        backups.back_up(&source);
        let report = backups.reports.last().unwrap();
        assert!(report.partial);
        assert_eq!(
            (report.counts.directories, report.counts.unreadable),
            (1 + kept, 1)
        );
        let [warning] = &report.warnings[..] else {
            panic!("{} warnings", report.warnings.len());
        };
        assert_eq!(
            (warning.kind, &warning.message[..]),
            (WarningKind::Unsupported, message)
        );
        assert!(warning.to_string().len() < 1100, "{warning}");
    }
    let around = Surroundings::default();
    let report = restore_into(backups.levels(1), &target, &around, |_| {}).unwrap();
    assert_eq!(
        (report.directories, report.partial),
        (1 + kept, false),
        "{:?}",
        around.lines()
    );
    // More levels than the standard library can hold open to remove them.
    let removed = Command::new("rm").arg("-rf").args([&source, &target]).status();
    assert!(removed.unwrap().success());
}

#[test]
fn a_new_target_is_closed_to_others_until_its_levels_are_applied() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("above/target");
    let root = member("", MemberKind::Directory, 0o755);
    let refused = Member {
        link: "absent".into(),
        ..member("name", MemberKind::HardLink, 0o644)
    };
    let streams = [vec![root.clone(), refused.clone()], vec![root, refused]].map(|members| archive(&members));
    let seen = Mutex::new(Vec::new());
    let warn = |_: &Warning| seen.lock().unwrap().push(mode(&target));
    let report = Surroundings::default().with(|context| {
        let context = RunContext {
            warn: &warn,
            ..*context
        };
        restore(RestoreJob {
            levels: (0..)
                .zip(streams)
                .map(|(number, stream)| plain_level(number, stream, None))
                .collect(),
            target: target.clone(),
            paths: Vec::new(),
            overwrite: false,
            stale: false,
            dry_run: false,
            workers: 2,
            memory_bytes: 64 << 20,
            sequential: false,
            context: &context,
        })
    });
    assert_eq!(report.unwrap().refused, 2);
    assert_eq!(*seen.lock().unwrap(), [0o700, 0o700]);
    assert_eq!(mode(&target), 0o755);
}

#[test]
fn a_target_gets_its_mode_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for name in ["source", "default", "existing"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("source/f"), vec![7; 100_000]).unwrap();
    fs::set_permissions(at("source"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(at("existing"), fs::Permissions::from_mode(0o750)).unwrap();
    let mut backups = Backups::new(Compression::None, None);
    backups.back_up(&at("source"));
    for sequential in [false, true] {
        for (name, paths, expected) in [
            (format!("all-{sequential}"), vec![], 0o751),
            (
                format!("some-{sequential}"),
                vec![b"f".to_vec()],
                mode(&at("default")),
            ),
            ("existing".to_owned(), vec![b"f".to_vec()], 0o750),
        ] {
            let around = Surroundings::default();
            let report = restore_into(backups.levels(0), &at(&name), &around, |job| {
                (job.paths, job.sequential, job.overwrite) = (paths, sequential, true);
            });
            assert_eq!((report.unwrap().files, mode(&at(&name))), (1, expected), "{name}");
        }
    }
    let mut damaged = (*backups.store.object("0/data").unwrap()).clone();
    damaged[2000] ^= 1;
    backups.store.set_object("0/data", damaged);
    let around = Surroundings::default();
    assert!(restore_into(backups.levels(0), &at("broken"), &around, |_| {}).is_err());
    assert_eq!(mode(&at("broken")), 0o700);
}

#[test]
fn fifos_and_devices_lose_setuid() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("target");
    let stream = archive(&[
        member("", MemberKind::Directory, 0o755),
        member("directory", MemberKind::Directory, 0o6755),
        member("fifo", MemberKind::Fifo, 0o6755),
    ]);
    let around = Surroundings::default();
    let report = restore_into(vec![plain_level(0, stream, None)], &target, &around, |_| {}).unwrap();
    assert_eq!((report.setuid_kept, report.setuid_dropped), (0, 1));
    assert_eq!(mode(&target.join("directory")), 0o6755);
    assert_eq!(mode(&target.join("fifo")), 0o755);
}

#[test]
fn a_size_that_no_file_can_have_is_damage() {
    let place = tempfile::tempdir().unwrap();
    let sparse = Member {
        size: 7_777_777_777_777_777_777,
        sparse: Some(Vec::new()),
        ..member("f", MemberKind::File, 0o644)
    };
    let mut stream = archive(&[sparse]);
    let digits = b"7777777777777777777";
    let at = stream.windows(19).position(|window| window == digits).unwrap();
    stream[at..at + 19].copy_from_slice(b"9999999999999999999");
    let around = Surroundings::default();
    let error = restore_into(
        vec![plain_level(0, stream, None)],
        &place.path().join("target"),
        &around,
        |_| {},
    )
    .unwrap_err();
    assert!(error.is_damage(), "{error:?}");
    assert_eq!(fs::read_dir(place.path().join("target")).unwrap().count(), 0);
}
