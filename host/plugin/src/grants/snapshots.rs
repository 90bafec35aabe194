//! Which paths may be frozen.

use std::path::{Path, PathBuf};

use super::{Ask, GrantKind, Grants, NAMED_PATH, lies_in_any};
use crate::error::Refusal;

impl Grants {
    /// May the volume of this path be frozen for it? It must lie in a granted path, links resolved: what is frozen can be read.
    pub(crate) fn snapshot(&self, path: &str, named: &[PathBuf]) -> Result<(), Refusal> {
        let asked = Path::new(path);
        let granted = self.granted.snapshots.iter();
        let paths: Vec<PathBuf> = granted
            .flat_map(|granted| match granted == NAMED_PATH {
                true => named.to_vec(),
                false => vec![PathBuf::from(granted)],
            })
            .collect();
        let granted = lies_in_any(asked, paths.iter().map(PathBuf::as_path));
        let (request, line) = (
            format!("to make a snapshot of {path:?}"),
            format!("snapshots = [{path:?}]"),
        );
        self.decide(
            Ask::new(GrantKind::Snapshots, request, line),
            granted.then_some(()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn grants(text: &str) -> Grants {
        Grants::new("p", "00", &toml::from_str(text).unwrap(), &Settings::new())
    }

    #[test]
    fn a_snapshot_needs_a_plain_absolute_grant() {
        for granted in ["", "srv", "/srv/../etc", NAMED_PATH] {
            let granted = grants(&format!("snapshots = [{granted:?}]"));
            for asked in ["/", "/srv/x", "/srv/../etc", "/etc", NAMED_PATH] {
                assert!(granted.snapshot(asked, &[]).is_err(), "{asked}");
            }
        }
        let temp = tempfile::tempdir().unwrap();
        let (srv, x) = (temp.path().join("srv"), temp.path().join("srv/x"));
        std::fs::create_dir_all(&x).unwrap();
        std::os::unix::fs::symlink("/etc", srv.join("link")).unwrap();
        let granted = grants(&format!("snapshots = [{srv:?}]"));
        let asks = |path: &Path| granted.snapshot(path.to_str().unwrap(), &[]).is_ok();
        assert!(asks(&srv) && asks(&x));
        assert!(!asks(&srv.join("link")) && !asks(temp.path()) && !asks(&srv.join("absent")));
    }

    #[test]
    fn the_named_path_may_be_frozen_where_that_is_granted() {
        let named = [PathBuf::from("/srv/data")];
        let granted = grants("snapshots = [\"named\"]");
        assert!(granted.snapshot("/srv/data", &named).is_ok());
        assert!(granted.snapshot("/srv", &named).is_err());
        assert!(grants("").snapshot("/srv/data", &named).is_err());
    }
}
