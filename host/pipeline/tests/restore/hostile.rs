//! Archives made to harm: nothing outside the target changes, what is refused is named, the rest is restored.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use freezer_format::tar::{END, Member, MemberKind, encode, padding};
use freezer_pipeline::restore::{RestoreError, RestoreReport};
use rstest::rstest;

use crate::support::{Surroundings, list, plain_level, restore_into};

pub(crate) fn file(path: &str, content: &[u8]) -> (Member, Vec<u8>) {
    (
        Member {
            mode: 0o644,
            size: content.len() as u64,
            ..Member::new(path, MemberKind::File)
        },
        content.to_vec(),
    )
}

fn link(kind: MemberKind, path: &str, goal: &str) -> (Member, Vec<u8>) {
    (
        Member {
            mode: 0o777,
            link: goal.into(),
            ..Member::new(path, kind)
        },
        Vec::new(),
    )
}

pub(crate) fn archive(members: &[(Member, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (member, content) in members {
        encode(member, &mut archive).unwrap();
        archive.extend_from_slice(content);
        archive.resize(archive.len() + padding(content.len() as u64), 0);
    }
    archive.extend_from_slice(&END);
    archive
}

/// `encode` writes what archives of ours hold; this makes the path what no archive of ours has.
pub(crate) fn with_raw_path(archive: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = archive
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    archive[at..at + to.len()].copy_from_slice(to.as_bytes());
    let header = at / 512 * 512;
    let sum: u32 = (0..512)
        .map(|i| {
            if (148..156).contains(&i) {
                32
            } else {
                u32::from(archive[header + i])
            }
        })
        .sum();
    archive[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Restores into `target` below a place that must not change.
fn run(place: &Path, archive: Vec<u8>) -> (Result<RestoreReport, RestoreError>, Vec<String>) {
    let around = Surroundings::default();
    let result = restore_into(
        vec![plain_level(0, archive, None)],
        &place.join("target"),
        &around,
        |_| {},
    );
    (result, around.lines())
}

fn names(place: &Path) -> Vec<String> {
    list(place)
        .keys()
        .map(|path| path.escape_ascii().to_string())
        .collect()
}

#[rstest]
#[case::absolute("/tmp/")]
#[case::above("../")]
#[case::above_by_a_detour("a/../../")]
fn a_path_out_of_the_target_is_refused(#[case] way_out: &str) {
    let place = tempfile::tempdir().unwrap();
    let name = format!("evil-{}", std::process::id());
    let hostile = &format!("{way_out}{name}");
    // A plain name of the same length is written; it has two bytes more (`./`), which are filled up with zeros.
    let written = &"w".repeat(hostile.len());
    let mut bytes = archive(&[file("before", b"1"), file(written, b"evil"), file("behind", b"2")]);
    let in_header = format!("./{written}");
    let padded = format!("{hostile}\0\0");
    with_raw_path(&mut bytes, &in_header, &padded);
    let (result, warnings) = run(place.path(), bytes);
    let report = result.unwrap();
    assert_eq!(
        (report.partial, report.refused, report.files),
        (true, 1, 2),
        "{warnings:?}"
    );
    assert!(warnings[0].starts_with(hostile.as_str()), "{warnings:?}");
    assert_eq!(names(place.path()), ["target", "target/before", "target/behind"]);
    assert!(!Path::new("/tmp").join(name).exists());
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/precious"), b"precious").unwrap();
    let absolute = place.path().join("outside");
    let bytes = archive(&[
        link(MemberKind::Symlink, "rel", "../outside"),
        link(MemberKind::Symlink, "abs", absolute.to_str().unwrap()),
        link(MemberKind::Symlink, "direct", "../outside/precious"),
        file("rel/precious", b"evil"),
        file("abs/new", b"evil"),
        file("direct", b"a file now"),
        (
            Member {
                mode: 0o777,
                ..Member::new("rel/dir", MemberKind::Directory)
            },
            Vec::new(),
        ),
        link(MemberKind::HardLink, "hard", "rel/precious"),
        file("behind", b"2"),
    ]);
    let (result, warnings) = run(place.path(), bytes);
    let report = result.unwrap();
    assert!(report.partial, "{warnings:?}");
    assert_eq!(
        fs::read(place.path().join("outside/precious")).unwrap(),
        b"precious"
    );
    assert_eq!(
        fs::metadata(place.path().join("outside/precious"))
            .unwrap()
            .nlink(),
        1
    );
    assert_eq!(fs::read_dir(place.path().join("outside")).unwrap().count(), 1);
    assert_eq!(
        fs::read(place.path().join("target/direct")).unwrap(),
        b"a file now"
    );
    assert_eq!(fs::read(place.path().join("target/behind")).unwrap(), b"2");
}

#[rstest]
#[case("/etc/passwd")]
#[case("../outside")]
#[case("absent")]
fn a_hard_link_out_of_the_target_is_refused(#[case] goal: &str) {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("outside"), b"x").unwrap();
    let bytes = archive(&[link(MemberKind::HardLink, "hard", goal), file("behind", b"2")]);
    let (result, warnings) = run(place.path(), bytes);
    let report = result.unwrap();
    assert_eq!((report.partial, report.files), (true, 1), "{warnings:?}");
    assert_eq!(names(place.path()), ["outside", "target", "target/behind"]);
}

#[test]
fn names_deeper_than_any_tree_are_refused_and_the_rest_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let deep = "d/".repeat(100_000) + "f";
    let long = "x".repeat(300) + "/f";
    let bytes = archive(&[file(&deep, b"1"), file(&long, b"1"), file("behind", b"2")]);
    let (result, _) = run(place.path(), bytes);
    assert_eq!((result.as_ref().unwrap().refused, result.unwrap().files), (2, 1));
    assert_eq!(names(place.path()), ["target", "target/behind"]);
}

#[test]
fn a_tree_deeper_than_one_path_can_name_is_restored() {
    let place = tempfile::tempdir().unwrap();
    let mut members = Vec::new();
    let mut path = String::new();
    for _ in 0..300 {
        path.push_str("a-directory-name/");
        members.push((
            Member {
                mode: 0o500,
                ..Member::new(path.trim_end_matches('/'), MemberKind::Directory)
            },
            Vec::new(),
        ));
    }
    members.push(file(&format!("{path}f"), b"deep"));
    let (result, warnings) = run(place.path(), archive(&members));
    assert_eq!((result.unwrap().partial, warnings), (false, Vec::new()));
}

#[test]
fn sizes_that_lie_are_errors_and_leave_no_file() {
    let place = tempfile::tempdir().unwrap();
    let mut bytes = archive(&[file("big", b"little")]);
    bytes.truncate(bytes.len() - 1024 - 512);
    let lie = Member {
        mode: 0o644,
        size: 1 << 50,
        ..Member::new("big", MemberKind::File)
    };
    let mut lying = Vec::new();
    encode(&lie, &mut lying).unwrap();
    lying.extend_from_slice(&[7; 4096]);
    let (result, _) = run(place.path(), lying);
    assert!(result.unwrap_err().is_damage());
    assert_eq!(names(place.path()), ["target"]);
}

#[test]
fn a_bomb_is_read_without_swelling_memory() {
    let place = tempfile::tempdir().unwrap();
    // A file that claims 2 GiB and has 256 MiB of zeros, about 1 MiB stored: streamed, found cut off.
    let lie = Member {
        mode: 0o644,
        size: 2 << 30,
        ..Member::new("zeros", MemberKind::File)
    };
    let mut start = Vec::new();
    encode(&lie, &mut start).unwrap();
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(&start).unwrap();
    for _ in 0..256 {
        writer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (result, _) = run(place.path(), writer.finish().unwrap());
    assert!(result.unwrap_err().is_damage());
    assert_eq!(names(place.path()), ["target"]);
}

#[test]
fn setuid_files_are_counted() {
    let place = tempfile::tempdir().unwrap();
    let (mut member, content) = file("su", b"x");
    member.mode = 0o4755;
    let (result, _) = run(place.path(), archive(&[(member, content)]));
    let report = result.unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(
        (report.setuid_kept, report.setuid_dropped),
        (u64::from(is_root), u64::from(!is_root))
    );
    let mode = fs::metadata(place.path().join("target/su")).unwrap().mode() & 0o7777;
    assert_eq!(mode, if is_root { 0o4755 } else { 0o755 });
}

#[test]
fn a_target_that_is_not_empty_is_refused_before_anything_is_read() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("target")).unwrap();
    fs::write(place.path().join("target/mine"), b"x").unwrap();
    let (result, _) = run(place.path(), archive(&[file("f", b"1")]));
    assert!(matches!(result.unwrap_err(), RestoreError::TargetNotEmpty { .. }));
    assert_eq!(names(place.path()), ["target", "target/mine"]);
}
