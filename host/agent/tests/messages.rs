//! What ends a recipe, to the letter, with the first thing to do about it: one row for each variant, or the count doesn't fit.

use std::io;

use freezer_agent::AgentError;
use freezer_format::chain::SelectError;
use freezer_format::chain_key::KeyError;
use freezer_format::name::{Level, LevelId, Timestamp};
use freezer_pipeline::BackupError;
use freezer_pipeline::object::ObjectError;
use freezer_pipeline::restore::RestoreError;
use freezer_pipeline::store::{ErrorKind, StoreError};
use freezer_plugin::PluginError;

/// An error, what it says, and the first thing to do.
type Row = (AgentError, &'static str, &'static str);

const CHECK: &str = "freezer check --read-data names everything that is damaged and the backups it hits";

fn backup() -> String {
    "h_t level 1 (2026-03-01T02:00:00Z)".to_owned()
}

fn store(kind: ErrorKind) -> StoreError {
    StoreError {
        kind,
        storage: "swift:freezer".to_owned(),
        operation: "write",
        key: "data/x".to_owned(),
        message: "the service answered 503".to_owned(),
        cause: None,
    }
}

fn selection() -> Vec<Row> {
    let wanted = LevelId {
        zero: Timestamp(0),
        level: Level(2),
        time: Timestamp(86_400),
    };
    let reason = SelectError::MissingLevel {
        zero: Timestamp(0),
        level: Level(1),
        wanted,
    };
    vec![
        (
            AgentError::UnknownName {
                name: "web01_etc".to_owned(),
                storage: "local:/srv".to_owned(),
                nearest: Some("web1_etc".to_owned()),
                empty: false,
            },
            "No matching backup name \"web01_etc\" found in local:/srv",
            "did you mean web1_etc?",
        ),
        (
            AgentError::NoContainer {
                storage: "local:/srv".to_owned(),
                reason: "container \"/srv\" does not exist".to_owned(),
            },
            "no backups in local:/srv: container \"/srv\" does not exist",
            "check the storage's URL; the first backup makes the container",
        ),
        (
            AgentError::Select {
                name: "web01_etc".to_owned(),
                reason,
            },
            "can't choose a backup of web01_etc: level 1 of the chain begun at 1970-01-01T00:00:00Z is missing, so level 2 \
             of 1970-01-02T00:00:00Z can't be restored",
            "copy level 1 back into the storage, or restore a state before 1970-01-02T00:00:00Z with --at",
        ),
    ]
}

fn damage() -> Vec<Row> {
    let (backup, reason) = (backup, "is missing".to_owned());
    vec![
        (
            AgentError::Damaged {
                backup: backup(),
                object: "data/x/manifest".to_owned(),
                reason,
            },
            "h_t level 1 (2026-03-01T02:00:00Z) is damaged: \"data/x/manifest\" is missing",
            "freezer check names everything that is damaged and the backups it hits",
        ),
        (
            AgentError::Newer {
                backup: backup(),
                format: 2,
            },
            "h_t level 1 (2026-03-01T02:00:00Z) has format 2, and this freezer reads up to 1",
            "use the freezer that wrote it, or a newer one",
        ),
        (
            AgentError::Unauthenticated {
                backup: backup(),
                reason: "its manifest has no seal".to_owned(),
            },
            "h_t level 1 (2026-03-01T02:00:00Z) is not authenticated: its manifest has no seal",
            "if it was written without a password or by the original, and you trust the storage: --compat",
        ),
        (
            AgentError::NoPassphrase { backup: backup() },
            "Cannot restore encrypted backup without key: h_t level 1 (2026-03-01T02:00:00Z)",
            "give the password with --encrypt-pass-file FILE",
        ),
        (
            AgentError::Key {
                backup: backup(),
                source: KeyError::Wrong,
            },
            "h_t level 1 (2026-03-01T02:00:00Z) can't be opened",
            "check the pass file: its first line is the password",
        ),
        (
            AgentError::Object {
                backup: backup(),
                source: ObjectError::Salt {
                    key: "data/x".to_owned(),
                },
            },
            "h_t level 1 (2026-03-01T02:00:00Z) can't be read",
            CHECK,
        ),
        (
            AgentError::Restore {
                operation: "restoring",
                backup: backup(),
                source: RestoreError::NoLevels,
            },
            "restoring h_t level 1 (2026-03-01T02:00:00Z) failed",
            CHECK,
        ),
    ]
}

fn failures() -> Vec<Row> {
    vec![
        (
            AgentError::SinkCommand {
                backup: backup(),
                source: std::io::Error::other("its command ended with exit status 3"),
            },
            "the command that h_t level 1 (2026-03-01T02:00:00Z) is restored to failed",
            "mend the command, or write the stream to a file with -o: it is whole in the storage",
        ),
        (
            AgentError::Backup {
                backup: backup(),
                source: BackupError::Store(store(ErrorKind::Unavailable)),
            },
            "backing up h_t level 1 (2026-03-01T02:00:00Z) failed",
            "wait until the storage answers, then run it again",
        ),
        (
            AgentError::Store(store(ErrorKind::Denied)),
            "can't write \"data/x\" in swift:freezer: the service answered 503",
            "let this user read and write the storage, or name another one",
        ),
        (
            AgentError::Plugin(PluginError::Changed {
                plugin: "acme".to_owned(),
            }),
            "plugin acme was changed on disk while it was being loaded: run the command again",
            "freezer plugin list shows the plugins and what is wrong with them",
        ),
        (
            AgentError::TargetNotEmpty {
                path: "/restore".into(),
            },
            "the restore directory /restore is not empty",
            "give --overwrite to restore over what is there, or another directory with --target",
        ),
        (
            AgentError::Target {
                path: "/restore".into(),
                source: io::Error::from(io::ErrorKind::PermissionDenied),
            },
            "can't look into the restore directory /restore",
            "name a directory with --target that this user may write, or run it as root",
        ),
        (
            AgentError::Unsupported {
                reason: "the original can't read compression zstd".to_owned(),
                next: "take gzip".to_owned(),
            },
            "the original can't read compression zstd",
            "take gzip",
        ),
        (
            AgentError::Taken { backup: backup() },
            "another run is writing h_t level 1 (2026-03-01T02:00:00Z) at the same time",
            "wait for the other run, then try again",
        ),
        (
            AgentError::CommitUnknown {
                backup: backup(),
                source: store(ErrorKind::Unavailable),
            },
            "h_t level 1 (2026-03-01T02:00:00Z) may or may not be stored: the storage didn't answer the last write",
            "freezer list shows whether it is there",
        ),
        (AgentError::Interrupted, "interrupted", "run it again"),
    ]
}

#[test]
fn every_end_says_what_happened_and_what_to_do() {
    let rows: Vec<Row> = selection()
        .into_iter()
        .chain(damage())
        .chain(failures())
        .collect();
    for (error, wanted, next) in &rows {
        assert_eq!(error.to_string(), *wanted);
        assert_eq!(error.next().first().map(String::as_str), Some(*next), "{wanted}");
    }
    let variants = include_str!("../src/error.rs").matches("#[error(").count();
    assert_eq!(variants, rows.len(), "each variant has one row here");
}

#[test]
fn what_stood_in_the_way_has_an_advice_of_its_own() {
    use freezer_pipeline::store::Cause;
    let mut told = std::collections::BTreeSet::new();
    for (cause, begins) in [
        (Cause::Login, "check user name, password, key or token"),
        (Cause::UnknownMachine, "compare the fingerprint"),
        (Cause::ChangedMachine, "send nothing there"),
        (Cause::NoSuchHost, "check the host's name"),
        (Cause::NoConnection, "check host and port"),
        (
            Cause::Certificate,
            "check the host's name and this machine's clock",
        ),
        (Cause::Limit, "raise that limit in [limits.NAME]"),
    ] {
        let error = AgentError::Store(StoreError {
            cause: Some(cause),
            ..store(ErrorKind::Denied)
        });
        let [next] = &error.next()[..] else {
            panic!("{cause:?} has one advice")
        };
        assert!(next.starts_with(begins), "{cause:?}: {next}");
        told.insert(next.clone());
    }
    assert_eq!(told.len(), Cause::ALL.len() + 1, "one of them no plugin can say");
}
