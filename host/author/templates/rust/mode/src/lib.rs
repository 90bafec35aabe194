//! Mode {{name}}: a folder, without what needs no backup.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::control;
use freezer_sdk::mode::{
    Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source, TreeSource,
};

/// The one source of a backup. It has the same name at every level.
const SOURCE: &str = "tree";

struct Plugin;

export_mode!(Plugin);

impl Mode for Plugin {
    type Backup = Prepared;
    type Restore = Target;

    fn prepare_backup(request: BackupRequest) -> Result<Prepared> {
        let root = request
            .path
            .ok_or_else(|| Error::invalid("name the folder to back up"))?;
        let exclude = request.settings.many("leave-out")?.to_vec();
        if !exclude.is_empty() {
            control::info(format!("leaving out {}", exclude.join(", ")));
        }
        let tree = TreeSource {
            name: SOURCE.into(),
            root,
            one_file_system: true,
            exclude,
        };
        Ok(Prepared { tree: Some(tree) })
    }

    fn prepare_restore(request: RestoreRequest) -> Result<Target> {
        let path = request
            .target
            .ok_or_else(|| Error::invalid("name the folder to restore into"))?;
        Ok(Target { path })
    }
}

/// A backup whose source is still to be offered.
struct Prepared {
    tree: Option<TreeSource>,
}

impl Backup for Prepared {
    fn next(&mut self) -> Result<Option<Source>> {
        Ok(self.tree.take().map(Source::Tree))
    }

    fn finish(self, _outcome: Outcome) -> Result<String> {
        // What a restore must know. Newer versions of the plugin must read it, so it has a version.
        Ok(r#"{"version":1}"#.into())
    }
}

/// Where a restore goes.
struct Target {
    path: String,
}

impl Restore for Target {
    fn destination(&mut self, source: &str) -> Result<Destination> {
        match source {
            SOURCE => Ok(Destination::Directory(self.path.clone())),
            _ => Err(Error::not_found(format!(
                "mode {{name}} knows no source \"{source}\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::error::ErrorKind;
    use freezer_sdk::settings::{SettingValue, Settings};
    use freezer_sdk::testing::FakeHost;

    fn request(leave_out: &[&str]) -> BackupRequest {
        let names = leave_out.iter().map(|name| (*name).to_owned()).collect();
        BackupRequest {
            path: Some("/home/ann".into()),
            settings: Settings::new([("leave-out", SettingValue::Many(names))]),
            ..BackupRequest::default()
        }
    }

    #[test]
    fn the_folder_is_offered_once_without_what_is_left_out() {
        let host = FakeHost::new();
        let mut backup = Plugin::prepare_backup(request(&["cache"])).unwrap();
        let Some(Source::Tree(tree)) = backup.next().unwrap() else {
            panic!("no tree")
        };
        assert_eq!((tree.root.as_str(), tree.exclude), ("/home/ann", vec!["cache".into()]));
        assert!(backup.next().unwrap().is_none());
        assert_eq!(host.logs().len(), 1);
    }

    #[test]
    fn a_restore_goes_where_the_user_says_and_knows_no_other_source() {
        let request = RestoreRequest {
            target: Some("/tmp/back".into()),
            ..RestoreRequest::default()
        };
        let mut restore = Plugin::prepare_restore(request).unwrap();
        let destination = restore.destination(SOURCE).unwrap();
        assert!(matches!(destination, Destination::Directory(path) if path == "/tmp/back"));
        assert_eq!(restore.destination("other").unwrap_err().kind, ErrorKind::NotFound);
    }

    #[test]
    fn a_missing_path_is_told() {
        let Err(error) = Plugin::prepare_backup(BackupRequest::default()) else {
            panic!("it succeeded")
        };
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}
