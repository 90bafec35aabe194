//! The pages of the modes and of streams are true: every command on them is typed as it stands there, in file systems and a network of
//! the test's own, and what comes back is compared.

use std::fs;

use freezer_tests::workspace;

/// The pages that are run below.
const PAGES: &[&str] = &["fs", "mongo", "mysql", "postgres"];

#[test]
fn every_page_is_run_and_every_mode_has_one() {
    let names = |folder: &str, with: &str| {
        let entries = fs::read_dir(workspace().join(folder))
            .expect("the folder")
            .flatten();
        let fits = |path: &std::path::Path| {
            path.join(with).exists() || path.extension().is_some_and(|end| end == "md")
        };
        let paths = entries.map(|entry| entry.path()).filter(|path| fits(path));
        let mut names: Vec<_> = paths
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("docs/modes", ""), PAGES);
    assert_eq!(names("plugins/modes", "plugin.toml"), PAGES);
}

mod needs_mounts {
    use std::time::Duration;

    use freezer_tests::{freezer_binary, program, workspace};

    /// Runs `tests/documented/NAME.sh` where its paths and ports are nobody else's.
    #[track_caller]
    fn as_written(name: &str) {
        let script = workspace().join(format!("tests/documented/{name}.sh"));
        let finished = program("unshare")
            .args(["--mount", "--net", "--propagation", "private", "--"])
            .arg(script)
            .arg(freezer_binary())
            .limit(Duration::from_secs(300))
            .run();
        let text = finished.text();
        assert!(
            text.ends_with(&format!("ok {name}\n")),
            "{text}\n{}",
            finished.stderr
        );
    }

    #[test]
    fn fs_as_written() {
        as_written("fs");
    }

    mod needs_mariadb {
        #[test]
        fn mysql_as_written() {
            super::as_written("mysql");
        }
    }

    mod needs_postgres {
        #[test]
        fn streams_as_written() {
            super::as_written("streams");
        }

        #[test]
        fn postgres_as_written() {
            super::as_written("postgres");
        }
    }

    mod needs_mongo {
        #[test]
        fn mongo_as_written() {
            super::as_written("mongo");
        }
    }
}
