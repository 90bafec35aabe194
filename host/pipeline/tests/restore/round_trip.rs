//! Our own backups come back as they were: every kind of entry, every compression, level upon level.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use freezer_format::chain_key::{ChainKey, Cipher};
use freezer_format::compression::Compression;
use freezer_pipeline::restore::verify;
use rstest::rstest;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::support::{Backups, Listing, Surroundings, differences, list, list_fully, restore_into};

pub(crate) fn cipher() -> Cipher {
    Cipher::Chain(ChainKey::new([7; 32]))
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Noise that no compression shortens, the same for each seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Makes a tree with every kind of entry that this account can make.
pub(crate) fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("d/e/f")).unwrap();
    fs::write(root.join("d/one"), b"one").unwrap();
    fs::hard_link(root.join("d/one"), root.join("d/e/two")).unwrap();
    fs::hard_link(root.join("d/one"), root.join("three")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("d/large"), noise(9_000_000, 1)).unwrap();
    fs::write(root.join("d/zeros"), vec![0; 3_000_000]).unwrap();
    for number in 0..200 {
        fs::write(
            root.join(format!("d/e/{number}")),
            noise(number * 37, number as u64),
        )
        .unwrap();
    }
    symlink("../three", root.join("d/link")).unwrap();
    symlink("nowhere/at all", root.join("dangling")).unwrap();
    rustix::fs::mknodat(
        CWD,
        root.join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let odd: &[&[u8]] = &[
        b"bad\xff\xfe",
        b"new\nline",
        b"blank end ",
        b"-dash",
        b"*",
        b"\xc3\xa9t\xc3\xa9",
    ];
    for name in odd {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(root.join("n".repeat(255)), b"longest name").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(8_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 4_000_000).unwrap();
    let hollow = fs::File::create(root.join("hollow")).unwrap();
    hollow.set_len(3_000_000).unwrap();
    let attributed = root.join("d/attributed");
    fs::write(&attributed, b"x").unwrap();
    for (name, value) in [
        ("user.binary", &b"\0\n\xff"[..]),
        ("user.empty", b""),
        ("user.a=b%c", b"odd name"),
    ] {
        rustix::fs::setxattr(&attributed, name, value, XattrFlags::empty()).unwrap();
    }
    rustix::fs::setxattr(root.join("d/e"), "user.directory", b"1", XattrFlags::empty()).unwrap();
    fs::set_permissions(root.join("d/one"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(root.join("d/e"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    if rustix::process::geteuid().is_root() {
        make_what_root_may(root);
    }
    set_times(root);
}

/// Devices, foreign owners, setuid, capabilities and access control lists.
fn make_what_root_may(root: &Path) {
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        device,
    )
    .unwrap();
    for (name, id) in [("owned", 4711), ("d/link", 4712), ("fifo", 4713), ("d/e/f", 4714)] {
        if name == "owned" {
            fs::write(root.join(name), b"x").unwrap();
        }
        std::os::unix::fs::lchown(root.join(name), Some(id), Some(id + 1)).unwrap();
    }
    fs::set_permissions(root.join("owned"), fs::Permissions::from_mode(0o6755)).unwrap();
    // cap_net_raw+ep, as `setcap` writes it.
    let capability = hex::decode("0100000200200000000000000000000000000000").unwrap();
    rustix::fs::setxattr(
        root.join("empty"),
        "security.capability",
        &capability,
        XattrFlags::empty(),
    )
    .unwrap();
    let list = hex::decode(
        "0200000001000700ffffffff02000500f401000004000500ffffffff10000500ffffffff20000500ffffffff",
    );
    let list = list.unwrap();
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        rustix::fs::setxattr(root.join("d/e/f"), name, &list, XattrFlags::empty()).unwrap();
    }
}

fn set_times(root: &Path) {
    set_time(&root.join("empty"), -5, 500_000_000);
    set_time(&root.join("d/zeros"), 5_000_000_000, 1);
    set_time(&root.join("dangling"), 1_000_000_000, 123_456_789);
    set_time(&root.join("fifo"), 1_000_000_001, 0);
    set_time(&root.join("d/e"), 1_000_000_002, 999_999_999);
    set_time(&root.join("d"), 1_000_000_003, 7);
    set_time(root, 1_000_000_004, 8);
}

fn check(backups: &Backups, newest: u32, expected: &Listing, sequential: bool) {
    let target = tempfile::tempdir().unwrap();
    let around = Surroundings::default();
    let restored = restore_into(backups.levels(newest), target.path(), &around, |job| {
        job.sequential = sequential
    });
    let report = restored.unwrap();
    assert_eq!((report.partial, around.lines()), (false, Vec::new()));
    let differing = differences(expected, &list_fully(target.path()));
    assert_eq!(
        differing,
        Vec::<String>::new(),
        "level {newest}, sequential: {sequential}"
    );
}

#[rstest]
fn every_kind_of_entry_comes_back(
    #[values(
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd
    )]
    compression: Compression,
    #[values(false, true)] encrypted: bool,
) {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(compression, encrypted.then(cipher));
    backups.back_up(source.path());
    let expected = list_fully(source.path());
    check(&backups, 0, &expected, false);
    check(&backups, 0, &expected, true);
    let around = Surroundings::default();
    let report = around.with(|context| verify(&backups.level(0), context)).unwrap();
    assert_eq!((report.damage, report.damage_count), (Vec::new(), 0));
    assert_eq!(report.segments_sha256, Some(backups.reports[0].data.sha256));
    assert_eq!(report.bytes, backups.reports[0].data.bytes);
    assert_eq!(report.members, expected.len() as u64);
}

#[test]
fn a_hollow_file_beyond_eight_gibibytes_stays_hollow() {
    let source = tempfile::tempdir().unwrap();
    let hollow = fs::File::create(source.path().join("hollow")).unwrap();
    hollow.set_len(9 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hollow, b"end", (9 << 30) - 3).unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    for sequential in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let around = Surroundings::default();
        restore_into(backups.levels(0), target.path(), &around, |job| {
            job.sequential = sequential
        })
        .unwrap();
        let restored = fs::File::open(target.path().join("hollow")).unwrap();
        let state = restored.metadata().unwrap();
        let mut end = [0; 3];
        std::os::unix::fs::FileExt::read_exact_at(&restored, &mut end, (9 << 30) - 3).unwrap();
        assert_eq!((state.len(), &end), (9 << 30, b"end"));
        assert!(std::os::unix::fs::MetadataExt::blocks(&state) < 1000);
    }
}

#[test]
fn a_directory_s_attribute_that_a_level_dropped_is_dropped() {
    let source = tempfile::tempdir().unwrap();
    let directory = source.path().join("d");
    fs::create_dir(&directory).unwrap();
    let mut backups = Backups::new(Compression::Gzip, None);
    rustix::fs::setxattr(&directory, "user.old", b"1", XattrFlags::empty()).unwrap();
    backups.back_up(source.path());
    rustix::fs::removexattr(&directory, "user.old").unwrap();
    rustix::fs::setxattr(&directory, "user.new", b"2", XattrFlags::empty()).unwrap();
    backups.back_up(source.path());
    let expected = list_fully(source.path());
    check(&backups, 1, &expected, false);
    check(&backups, 1, &expected, true);
}

/// A step of a history: something that a user does to a tree.
pub(crate) fn change(root: &Path, step: u64) {
    let random = noise(64, step);
    let name = |at: usize| root.join(format!("{}", random[at] % 6));
    let below = |at: usize| name(at).join(format!("{}", random[at + 1] % 4));
    let clear = |path: &Path| {
        fs::remove_file(path).ok();
        fs::remove_dir_all(path).ok();
    };
    for at in (0..60).step_by(6) {
        let (one, other) = (below(at), below(at + 2));
        match random[at + 4] % 8 {
            0 => {
                clear(&name(at));
                fs::create_dir(name(at)).unwrap();
            }
            1 | 2 => {
                fs::create_dir_all(name(at)).ok();
                clear(&one);
                fs::write(&one, &random[..usize::from(random[at + 5] % 64)]).ok();
            }
            3 => {
                clear(&other);
                fs::hard_link(&one, &other).ok();
            }
            4 => {
                clear(&other);
                symlink(format!("{}", random[at + 5]), &other).ok();
            }
            5 => {
                clear(&name(at + 2));
                fs::rename(name(at), name(at + 2)).ok();
            }
            6 => clear(&one),
            _ => {
                clear(&name(at));
                fs::write(name(at), b"a file where a directory may have been").ok();
            }
        }
    }
}

#[rstest]
fn any_history_comes_back_at_each_level(#[values(1, 2, 3, 4, 5, 6, 7, 8)] seed: u64) {
    let source = tempfile::tempdir().unwrap();
    let mut backups = Backups::new(Compression::Zstd, None);
    for level in 0..4 {
        change(source.path(), seed * 100 + u64::from(level));
        backups.back_up(source.path());
        let expected = list_fully(source.path());
        check(&backups, level, &expected, false);
        check(&backups, level, &expected, true);
        let around = Surroundings::default();
        let report = around
            .with(|context| verify(&backups.level(level), context))
            .unwrap();
        assert_eq!(
            (report.damage, report.damage_count),
            (Vec::new(), 0),
            "seed {seed} level {level}"
        );
    }
}

/// Makes a symbolic link, a FIFO and, if this is root, a device with two names each.
fn make_linked_specials(root: &Path) -> Vec<&'static str> {
    fs::create_dir(root.join("d")).unwrap();
    symlink("/somewhere", root.join("symlink")).unwrap();
    rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let mut names = vec!["symlink", "fifo"];
    if rustix::process::geteuid().is_root() {
        let device = rustix::fs::makedev(1, 3);
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(CWD, root.join("null"), kind, Mode::RUSR, device).unwrap();
        names.push("null");
    }
    for name in &names {
        fs::hard_link(root.join(name), root.join("d").join(name)).unwrap();
    }
    names
}

#[rstest]
fn links_and_nodes_with_several_names_stay_one(#[values(false, true)] sequential: bool) {
    let source = tempfile::tempdir().unwrap();
    make_linked_specials(source.path());
    let mut backups = Backups::new(Compression::Zstd, None);
    for level in 0..3 {
        if level == 2 {
            fs::hard_link(source.path().join("fifo"), source.path().join("z")).unwrap();
        }
        backups.back_up(source.path());
        check(&backups, level, &list_fully(source.path()), sequential);
    }
}

#[rstest]
fn the_second_name_of_a_link_or_node_comes_alone(#[values(false, true)] sequential: bool) {
    let source = tempfile::tempdir().unwrap();
    let names = make_linked_specials(source.path());
    // The first in order is in `d`.
    let mut backups = Backups::new(Compression::Zstd, None);
    backups.back_up(source.path());
    let target = tempfile::tempdir().unwrap();
    // Of the names that aren't asked for, something else is there already: it must neither be linked to nor touched.
    fs::create_dir(target.path().join("d")).unwrap();
    for name in &names {
        fs::write(target.path().join("d").join(name), b"foreign").unwrap();
        fs::write(target.path().join(name), b"old").unwrap();
    }
    let around = Surroundings::default();
    let report = restore_into(backups.levels(0), target.path(), &around, |job| {
        job.sequential = sequential;
        job.overwrite = true;
        job.paths = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    });
    assert!(!report.unwrap().partial, "{:?}", around.lines());
    let (expected, found) = (list(source.path()), list(target.path()));
    for name in &names {
        let in_d = format!("d/{name}").into_bytes();
        let shown = |text: &String| text.split(" = ").next().map(str::to_owned);
        assert_eq!(
            found.get(name.as_bytes()).and_then(shown),
            expected.get(&in_d).and_then(shown)
        );
        assert_eq!(fs::read(target.path().join("d").join(name)).unwrap(), b"foreign");
    }
}

#[test]
fn selected_paths_come_with_the_directories_above_them() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    for sequential in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let around = Surroundings::default();
        // `three` is a further name of a file whose first name isn't selected.
        let wanted = [&b"d/e/7"[..], b"d/e/f/", b"three", b"./sparse"];
        let restored = restore_into(backups.levels(0), target.path(), &around, |job| {
            job.paths = wanted.iter().map(|path| path.to_vec()).collect();
            job.sequential = sequential;
        });
        assert_eq!((restored.unwrap().partial, around.lines()), (false, Vec::new()));
        let mut found = list_fully(target.path());
        found.remove(&b""[..]);
        let names: Vec<_> = found.keys().map(|path| path.escape_ascii().to_string()).collect();
        assert_eq!(names, ["d", "d/e", "d/e/7", "d/e/f", "sparse", "three"]);
        let mut expected = list_fully(source.path());
        expected.retain(|path, _| found.contains_key(path));
        let alone = expected[&b"three"[..]]
            .replace(" = d/e/two", "")
            .replace(" = d/one", "");
        expected.insert(b"three".to_vec(), alone);
        assert_eq!(differences(&expected, &found), Vec::<String>::new());
    }
}

#[test]
fn overwriting_replaces_what_the_backup_has_and_keeps_the_rest() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(Compression::Zstd, None);
    backups.back_up(source.path());
    for sequential in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), b"kept").unwrap();
        fs::write(target.path().join("foreign"), b"kept").unwrap();
        // A directory that is a link elsewhere, a file that shares its content, a file where a directory comes.
        symlink(outside.path(), target.path().join("d")).unwrap();
        fs::hard_link(outside.path().join("kept"), target.path().join("empty")).unwrap();
        symlink(outside.path().join("kept"), target.path().join("three")).unwrap();
        let around = Surroundings::default();
        let restored = restore_into(backups.levels(0), target.path(), &around, |job| {
            job.overwrite = true;
            job.sequential = sequential;
        });
        assert_eq!((restored.unwrap().partial, around.lines()), (false, Vec::new()));
        assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        fs::remove_file(target.path().join("foreign")).unwrap();
        set_time(target.path(), 1_000_000_004, 8);
        let differing = differences(&list_fully(source.path()), &list_fully(target.path()));
        assert_eq!(differing, Vec::<String>::new(), "sequential: {sequential}");
    }
}

#[test]
fn a_cancelled_restore_stops() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut backups = Backups::new(Compression::Gzip, None);
    backups.back_up(source.path());
    for sequential in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let around = Surroundings::default();
        around.cancel.cancel();
        let stopped = restore_into(backups.levels(0), target.path(), &around, |job| {
            job.sequential = sequential
        });
        assert_eq!(stopped.unwrap_err().to_string(), "cancelled");
    }
}
