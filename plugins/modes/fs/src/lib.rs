//! Mode fs: a directory tree, archived file by file, as it stands or, if a snapshot is asked for, as it was at one moment.
//!
//! The host walks the path that the user named, or the frozen view of it, and tells which files change meanwhile. Reading needs no
//! grants, since that path is allowed by having been named; freezing it does.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::snapshots::{self, Snapshot};
use freezer_sdk::mode::{
    Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source, TreeSource,
};

/// The only source of such a backup.
const SOURCE: &str = "tree";
/// A restore needs to know nothing; the version is for those who change that.
const NOTE: &str = r#"{"version":1}"#;

struct Fs;

export_mode!(Fs);

impl Mode for Fs {
    type Backup = FsBackup;
    type Restore = FsRestore;

    fn prepare_backup(request: BackupRequest) -> Result<FsBackup> {
        let path = absolute(request.path, "name the directory to back up")?;
        let snapshot = snapshots::create_if_wanted(&path, &request.settings)?;
        let root = snapshot.as_ref().map_or(path, Snapshot::path);
        let tree = TreeSource {
            name: SOURCE.to_owned(),
            root,
            one_file_system: request.settings.flag("one-file-system")?,
            exclude: request.settings.many("exclude")?.to_vec(),
        };
        Ok(FsBackup {
            tree: Some(tree),
            _snapshot: snapshot,
        })
    }

    fn prepare_restore(request: RestoreRequest) -> Result<FsRestore> {
        let target = absolute(request.target, "name the directory to restore into")?;
        Ok(FsRestore { target })
    }
}

/// Holds the tree until it is asked for.
struct FsBackup {
    tree: Option<TreeSource>,
    /// Held until the end: the tree is read from it.
    _snapshot: Option<Snapshot>,
}

impl Backup for FsBackup {
    fn next(&mut self) -> Result<Option<Source>> {
        Ok(self.tree.take().map(Source::Tree))
    }

    fn finish(self, _outcome: Outcome) -> Result<String> {
        Ok(NOTE.to_owned())
    }
}

struct FsRestore {
    target: String,
}

impl Restore for FsRestore {
    fn destination(&mut self, source: &str) -> Result<Destination> {
        if source != SOURCE {
            return Err(Error::not_found(format!(
                "mode fs knows no source {source:?}, only \"{SOURCE}\""
            )));
        }
        Ok(Destination::Directory(self.target.clone()))
    }
}

/// Checks a path that the user must have given.
fn absolute(path: Option<String>, advice: &str) -> Result<String> {
    match path {
        Some(path) if path.starts_with('/') => Ok(path),
        Some(path) => Err(Error::invalid(format!("the path {path:?} is not absolute"))),
        None => Err(Error::invalid(format!("mode fs needs a path: {advice}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;
    use freezer_sdk::settings::{SettingValue, Settings};
    use freezer_sdk::testing::FakeHost;

    fn request(path: Option<&str>, settings: Settings) -> BackupRequest {
        BackupRequest {
            path: path.map(str::to_owned),
            settings,
            level: 0,
            parent_note: None,
        }
    }

    #[test]
    fn the_named_path_is_the_only_source() {
        let settings = Settings::new([
            ("one-file-system", SettingValue::Flag(true)),
            (
                "exclude",
                SettingValue::Many(vec!["*.tmp".into(), "/cache".into()]),
            ),
        ]);
        let mut backup = Fs::prepare_backup(request(Some("/etc"), settings)).unwrap();
        let Some(Source::Tree(tree)) = backup.next().unwrap() else {
            panic!("no tree")
        };
        assert_eq!((tree.name.as_str(), tree.root.as_str()), ("tree", "/etc"));
        assert!(tree.one_file_system);
        assert_eq!(tree.exclude, ["*.tmp", "/cache"]);
        assert!(backup.next().unwrap().is_none());
        assert_eq!(backup.finish(Outcome::Done).unwrap(), NOTE);
    }

    #[test]
    fn other_file_systems_are_entered_only_if_asked() {
        let settings = Settings::new([("one-file-system", SettingValue::Flag(false))]);
        let mut backup = Fs::prepare_backup(request(Some("/"), settings)).unwrap();
        let Some(Source::Tree(tree)) = backup.next().unwrap() else {
            panic!("no tree")
        };
        assert!(!tree.one_file_system);
    }

    #[test]
    fn a_level_above_zero_has_the_same_source() {
        let request = BackupRequest {
            level: 3,
            parent_note: Some(NOTE.to_owned()),
            ..request(Some("/etc"), Settings::default())
        };
        let mut backup = Fs::prepare_backup(request).unwrap();
        let Some(Source::Tree(tree)) = backup.next().unwrap() else {
            panic!("no tree")
        };
        assert_eq!(tree.name, SOURCE);
    }

    #[test]
    fn a_frozen_view_is_read_if_it_is_asked_for() {
        let host = FakeHost::new();
        let settings = || Settings::new([("snapshot", SettingValue::Text("auto".into()))]);
        let Err(refused) = Fs::prepare_backup(request(Some("/srv"), settings())) else {
            panic!("frozen")
        };
        assert_eq!(refused.kind, ErrorKind::Unsupported);
        host.allow_snapshot("/srv");
        let mut backup = Fs::prepare_backup(request(Some("/srv"), settings())).unwrap();
        let Some(Source::Tree(tree)) = backup.next().unwrap() else {
            panic!("no tree")
        };
        assert_eq!(tree.root, "/snapshot/srv");
        assert_eq!(host.open_handles(), 1, "held while it is read");
        backup.finish(Outcome::Done).unwrap();
        assert_eq!(host.open_handles(), 0);
    }

    #[test]
    fn a_backup_without_an_absolute_path_is_refused() {
        for path in [None, Some("etc"), Some("")] {
            let Err(error) = Fs::prepare_backup(request(path, Settings::default())) else {
                panic!("accepted {path:?}")
            };
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn finish_succeeds_whatever_the_outcome() {
        for outcome in [
            Outcome::Done,
            Outcome::Cancelled,
            Outcome::Failed(Error::other("disk full")),
        ] {
            let backup = Fs::prepare_backup(request(Some("/etc"), Settings::default())).unwrap();
            backup.finish(outcome).unwrap();
        }
    }

    #[test]
    fn a_restore_goes_to_the_named_directory() {
        let request = RestoreRequest {
            target: Some("/tmp/back".into()),
            settings: Settings::default(),
            note: NOTE.into(),
        };
        let mut restore = Fs::prepare_restore(request).unwrap();
        let Destination::Directory(target) = restore.destination("tree").unwrap() else {
            panic!("no directory")
        };
        assert_eq!(target, "/tmp/back");
        assert_eq!(restore.destination("dump").unwrap_err().kind, ErrorKind::NotFound);
        restore.finish(Outcome::Done).unwrap();
    }

    #[test]
    fn a_restore_without_a_target_is_refused() {
        let Err(error) = Fs::prepare_restore(RestoreRequest::default()) else {
            panic!("accepted")
        };
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}
