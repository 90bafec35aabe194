//! What each error of this crate says, to the letter: one row for each variant, or the count doesn't fit.

use std::io;

use freezer_format::index::IndexError;
use freezer_format::tar::TarError;
use freezer_pipeline::cancel::Cancelled;
use freezer_pipeline::object::{ObjectError, OpenIndexError};
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::source::ExcludeRules;
use freezer_pipeline::store::{ErrorKind, StoreError};
use freezer_pipeline::{BackupError, TransferError};

/// A source of this crate beside the rows for its errors.
#[track_caller]
fn says(source: &str, rows: &[(&dyn std::fmt::Display, &str)]) {
    for (error, wanted) in rows {
        assert_eq!(error.to_string(), *wanted);
    }
    assert_eq!(
        source.matches("#[error(").count(),
        rows.len(),
        "each variant has one row here"
    );
}

fn io() -> io::Error {
    io::Error::other("the disk says no")
}

fn store() -> StoreError {
    StoreError {
        kind: ErrorKind::Unavailable,
        storage: "ssh://backup.example.org/srv".to_owned(),
        operation: "finish writing",
        key: "data/tar/h_n/1/0_1/data".to_owned(),
        message: "the server closed the connection".to_owned(),
        cause: None,
    }
}

const STORE: &str = "can't finish writing \"data/tar/h_n/1/0_1/data\" in ssh://backup.example.org/srv: the server closed the \
                     connection";

fn object() -> ObjectError {
    ObjectError::TooShort {
        key: "data".to_owned(),
        bytes: 3,
    }
}

#[test]
fn of_storages_and_cancelling() {
    says(include_str!("../src/store.rs"), &[(&store(), STORE)]);
    says(include_str!("../src/cancel.rs"), &[(&Cancelled, "cancelled")]);
    let Err(pattern) = ExcludeRules::new(&["a[".to_owned()], &[], false) else {
        panic!("an open bracket is no pattern");
    };
    assert!(
        pattern
            .to_string()
            .starts_with("can't understand the exclude pattern \"a[\": ")
    );
}

#[test]
fn of_backups() {
    says(
        include_str!("../src/error.rs"),
        &[
            (&BackupError::Cancelled(Cancelled), "cancelled"),
            (
                &BackupError::Source {
                    operation: "open",
                    path: "/srv/data".into(),
                    source: io(),
                },
                "can't open the source \"/srv/data\"",
            ),
            (
                &BackupError::Stream {
                    name: "db.sql".to_owned(),
                    source: io(),
                },
                "can't read \"db.sql\" to its end",
            ),
            (
                &BackupError::EmptyStream {
                    name: "db.sql".to_owned(),
                },
                "\"db.sql\" is empty: nothing came before its end",
            ),
            (&BackupError::Store(store()), STORE),
            (
                &BackupError::ParentIndex(IndexError::Io(io())),
                "can't read the index of the previous level",
            ),
            (
                &BackupError::ParentSnar(TarError::Truncated { offset: 1 }),
                "can't read the snapshot file of the previous level",
            ),
            (
                &BackupError::TooManySegments {
                    key: "data".to_owned(),
                    storage: "s3://bucket".to_owned(),
                    max_segments: 10_000,
                    segment_bytes: 33_554_432,
                },
                "\"data\" needs more than 10000 segments of 33554432 bytes in s3://bucket",
            ),
            (
                &BackupError::Compress {
                    compression: "xz",
                    source: io(),
                },
                "can't compress with xz",
            ),
            (&BackupError::Index(IndexError::Io(io())), "can't write the index"),
            (&BackupError::Spool(io()), "can't use a temporary file"),
        ],
    );
}

#[test]
fn of_copies() {
    says(
        include_str!("../src/transfer.rs"),
        &[
            (&TransferError::Read(io()), "can't read the object to be copied"),
            (&TransferError::Write(BackupError::Store(store())), STORE),
            (&TransferError::Differs("it grew".to_owned()), "it grew"),
        ],
    );
}

#[test]
fn of_stored_objects() {
    let key = || "data".to_owned();
    says(
        include_str!("../src/object.rs"),
        &[
            (&ObjectError::Store(store()), STORE),
            (
                &ObjectError::Read {
                    key: key(),
                    offset: 512,
                    source: io(),
                },
                "can't read \"data\" at byte 512",
            ),
            (&object(), "\"data\" is damaged: it is only 3 bytes long"),
            (
                &ObjectError::Salt { key: key() },
                "\"data\" is damaged: it doesn't begin with its salt",
            ),
            (
                &ObjectError::Undecipherable { key: key() },
                "can't decrypt \"data\": wrong password or damaged",
            ),
            (
                &ObjectError::Beyond {
                    key: key(),
                    offset: 10,
                    end: 20,
                    bytes: 15,
                },
                "\"data\" is damaged: bytes 10 to 20 of its content are asked for, it has 15",
            ),
            (
                &OpenIndexError::Object(object()),
                "\"data\" is damaged: it is only 3 bytes long",
            ),
            (
                &OpenIndexError::Index(IndexError::Damaged("rows out of order")),
                "the index is damaged: rows out of order",
            ),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each variant")]
fn of_restores() {
    let path = || "etc/hosts".to_owned();
    says(
        include_str!("../src/restore/error.rs"),
        &[
            (&RestoreError::Cancelled(Cancelled), "cancelled"),
            (&RestoreError::NoLevels, "there is no level to restore"),
            (
                &RestoreError::MissingLevel { level: 2 },
                "the backup needs level 2, which is missing or has no index",
            ),
            (
                &RestoreError::Object {
                    level: 1,
                    source: object(),
                },
                "level 1 can't be read",
            ),
            (
                &RestoreError::Index {
                    level: 1,
                    source: IndexError::Io(io()),
                },
                "the index of level 1 can't be read",
            ),
            (
                &RestoreError::Damaged {
                    object: "data".to_owned(),
                    level: 1,
                    offset: 4096,
                    reason: "the frame's digest is wrong".to_owned(),
                },
                "\"data\" of level 1 is damaged at byte 4096: the frame's digest is wrong",
            ),
            (
                &RestoreError::Target {
                    operation: "write",
                    path: "/restore/a".into(),
                    source: io(),
                },
                "can't write \"/restore/a\"",
            ),
            (
                &RestoreError::TargetNotEmpty {
                    path: "/restore".into(),
                },
                "the target \"/restore\" isn't empty",
            ),
            (
                &RestoreError::NothingMatched {
                    paths: "a, b".to_owned(),
                },
                "the backup holds none of the paths asked for: a, b",
            ),
            (
                &RestoreError::NotFound { path: path() },
                "the backup doesn't hold \"etc/hosts\"",
            ),
            (
                &RestoreError::NotAStream { level: 0 },
                "level 0 holds a tree of files, no stream",
            ),
            (
                &RestoreError::NotAFile {
                    path: path(),
                    kind: "directory",
                },
                "\"etc/hosts\" is a directory, only files can be dumped",
            ),
            (
                &RestoreError::IsSymlink {
                    path: path(),
                    goal: "../run/hosts".to_owned(),
                },
                "\"etc/hosts\" is a symbolic link to \"../run/hosts\", only files can be dumped",
            ),
            (
                &RestoreError::Unreadable { path: path() },
                "\"etc/hosts\" couldn't be read when it was backed up",
            ),
            (&RestoreError::Output(io()), "can't write the output"),
            (&RestoreError::Spool(io()), "can't use a temporary file"),
        ],
    );
}
