//! What a directory refuses and keeps.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::{Access, Directory, EntryKind, Existing};
use crate::error::ErrorKind;

fn open(root: &std::path::Path, access: Access) -> Directory {
    Directory::open(root, std::path::Path::new(""), access).unwrap()
}

fn content(directory: &Directory, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    directory
        .read(path, 0, None)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn writes_pieces_in_any_order_and_publishes_them() {
    let temp = tempfile::tempdir().unwrap();
    let directory = open(temp.path(), Access::ReadWrite);
    assert_eq!(directory.write("tmp/x", 3, b"def").unwrap(), 3);
    assert_eq!(directory.write_stream("tmp/x", 0, &mut &b"abc"[..]).unwrap(), 3);
    directory.publish("tmp/x", "a/b/c", Existing::Refuse).unwrap();
    assert_eq!(content(&directory, "a/b/c"), b"abcdef");
    assert_eq!(directory.stat("tmp/x").unwrap_err().kind, ErrorKind::NotFound);
    let mode = |path: &str| fs::metadata(temp.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b"), mode("a/b/c")), (0o700, 0o700, 0o600));
}

#[test]
fn publish_refuses_or_replaces_an_existing_target() {
    let temp = tempfile::tempdir().unwrap();
    let directory = open(temp.path(), Access::ReadWrite);
    directory.write("old", 0, b"old").unwrap();
    directory.write("new", 0, b"new").unwrap();
    let error = directory.publish("new", "old", Existing::Refuse).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(content(&directory, "old"), b"old");
    directory.publish("new", "old", Existing::Replace).unwrap();
    assert_eq!(content(&directory, "old"), b"new");
    assert_eq!(
        directory
            .publish("new", "other", Existing::Replace)
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
    directory.make_directory("folder").unwrap();
    assert_eq!(
        directory
            .publish("folder", "other", Existing::Replace)
            .unwrap_err()
            .kind,
        ErrorKind::Invalid
    );
}

#[test]
fn reads_ranges_and_says_when_a_file_is_too_short() {
    let temp = tempfile::tempdir().unwrap();
    let directory = open(temp.path(), Access::ReadOnly);
    fs::write(temp.path().join("f"), b"0123456789").unwrap();
    let mut bytes = Vec::new();
    directory
        .read("f", 2, Some(3))
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"234");
    assert_eq!(
        directory.read("f", 2, Some(9)).unwrap_err().kind,
        ErrorKind::Corrupt
    );
    assert_eq!(
        directory.read("f", 11, None).unwrap_err().kind,
        ErrorKind::Invalid
    );
    let mut reader = directory.read("f", 0, None).unwrap();
    fs::write(temp.path().join("f"), b"01234").unwrap();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn refuses_every_way_out() {
    let temp = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"x").unwrap();
    fs::write(temp.path().join("inside"), b"x").unwrap();
    symlink(outside.path(), temp.path().join("way")).unwrap();
    symlink(outside.path().join("secret"), temp.path().join("link")).unwrap();
    symlink("inside", temp.path().join("harmless")).unwrap();
    let directory = open(temp.path(), Access::ReadWrite);
    for path in [
        "../x",
        "/etc/passwd",
        "a/../../x",
        ".",
        "a//b",
        "a/",
        "a\0b",
        &"x/".repeat(3000),
    ] {
        assert_eq!(
            directory.stat(path).unwrap_err().kind,
            ErrorKind::Invalid,
            "{path:?}"
        );
        assert_eq!(
            directory.write(path, 0, b"x").unwrap_err().kind,
            ErrorKind::Invalid,
            "{path:?}"
        );
    }
    for path in ["way/secret", "link", "harmless"] {
        assert_eq!(
            directory.read(path, 0, None).unwrap_err().kind,
            ErrorKind::Denied,
            "{path:?}"
        );
        assert_eq!(
            directory.write(path, 0, b"x").unwrap_err().kind,
            ErrorKind::Denied,
            "{path:?}"
        );
    }
    assert_eq!(
        directory
            .publish("inside", "way/x", Existing::Replace)
            .unwrap_err()
            .kind,
        ErrorKind::Denied
    );
    assert_eq!(
        directory.make_directory("way/new").unwrap_err().kind,
        ErrorKind::Denied
    );
    assert_eq!(directory.list("way", None).unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(directory.stat("link").unwrap().kind, EntryKind::Symlink);
    directory.remove("link").unwrap();
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"x");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_granted_root_can_be_opened_further_down_but_not_out() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("root/sub")).unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    symlink("sub", temp.path().join("root/inward")).unwrap();
    symlink("../outside", temp.path().join("root/outward")).unwrap();
    let root = temp.path().join("root");
    let below = |name: &str| Directory::open(&root, std::path::Path::new(name), Access::ReadOnly);
    assert!(below("sub").is_ok());
    assert!(below("inward").is_ok());
    assert_eq!(below("outward").unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(below("..").unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(below("absent").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn looking_makes_nothing_and_writing_makes_the_root() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("new/place");
    let directory = open(&root, Access::ReadWrite);
    assert_eq!(directory.list("", None).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(directory.stat("x").unwrap_err().kind, ErrorKind::NotFound);
    directory.remove("x").unwrap();
    assert!(!temp.path().join("new").exists());
    directory.write("x", 0, b"x").unwrap();
    assert_eq!(content(&directory, "x"), b"x");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn read_only_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("f"), b"x").unwrap();
    let directory = open(temp.path(), Access::ReadOnly);
    let errors = [
        directory.write("f", 0, b"y").unwrap_err(),
        directory.publish("f", "g", Existing::Replace).unwrap_err(),
        directory.make_directory("d").unwrap_err(),
        directory.remove("f").unwrap_err(),
    ];
    assert!(
        errors.iter().all(|error| error.kind == ErrorKind::Denied),
        "{errors:?}"
    );
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), b"x");
}

#[test]
fn lists_pages_in_order_and_counts_what_is_not_utf8() {
    let temp = tempfile::tempdir().unwrap();
    for number in 0..2500 {
        fs::write(temp.path().join(format!("n{number:05}")), b"x").unwrap();
    }
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    fs::write(temp.path().join(odd), b"x").unwrap();
    let directory = open(temp.path(), Access::ReadOnly);
    let (mut names, mut cursor, mut pages, mut unreadable) = (Vec::new(), None, 0, 0);
    loop {
        let page = directory.list("", cursor.as_deref()).unwrap();
        pages += 1;
        unreadable += page.unreadable_names;
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((pages, unreadable), (3, 1));
    assert_eq!(
        names,
        (0..2500)
            .map(|number| format!("n{number:05}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(
        directory.list("", Some("a/b")).unwrap_err().kind,
        ErrorKind::Invalid
    );
    assert_eq!(
        directory.list("n00001", None).unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[test]
fn removes_files_and_empty_directories_only() {
    let temp = tempfile::tempdir().unwrap();
    let directory = open(temp.path(), Access::ReadWrite);
    directory.write("d/f", 0, b"x").unwrap();
    assert_eq!(directory.remove("d").unwrap_err().kind, ErrorKind::Invalid);
    directory.remove("d/f").unwrap();
    directory.remove("d/f").unwrap();
    directory.remove("d").unwrap();
    directory.remove("no/such/folder").unwrap();
    assert_eq!(directory.remove("").unwrap_err().kind, ErrorKind::Invalid);
    directory.write("plain", 0, b"x").unwrap();
    assert_eq!(
        directory.make_directory("plain").unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        directory.make_directory("plain/d").unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
}

#[test]
fn odd_files_are_neither_read_nor_written() {
    let temp = tempfile::tempdir().unwrap();
    let fifo = temp.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let directory = open(temp.path(), Access::ReadWrite);
    assert_eq!(
        directory.read("fifo", 0, None).unwrap_err().kind,
        ErrorKind::Invalid
    );
    assert!(directory.write("fifo", 0, b"x").is_err());
    assert_eq!(directory.stat("fifo").unwrap().kind, EntryKind::Other);
    assert_eq!(
        directory.write("f", u64::MAX - 1, b"xy").unwrap_err().kind,
        ErrorKind::Invalid
    );
}

/// They mount file systems in a name space of their own. `tests/run.sh` leaves them out where that is impossible.
mod needs_mounts {
    use super::*;

    #[test]
    fn a_full_file_system_is_said_and_publishes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(temp.path())
            .status()
            .unwrap();
        assert!(mount.success(), "can't mount a tmpfs");
        let directory = open(temp.path(), Access::ReadWrite);
        let error = directory.write("tmp", 0, &vec![1; 2 << 20]).unwrap_err();
        let space = directory.space().unwrap();
        drop(directory);
        assert!(
            Command::new("umount")
                .arg(temp.path())
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(error.kind, ErrorKind::Other);
        assert_eq!(
            error.message,
            format!(
                "can't write {}/tmp: the file system is full",
                temp.path().display()
            )
        );
        assert_eq!((space.available, space.used), (0, 1 << 20));
    }
}
