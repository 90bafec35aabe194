//! What each error of the configuration says, to the letter: one row for each variant, or the count doesn't fit.

use std::path::PathBuf;

use super::clouds::CloudError;
use super::date::DateError;
use super::file::{FileError, Reason};
use super::size::SizeError;

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

fn path() -> PathBuf {
    "/etc/freezer/freezer.toml".into()
}

fn unreadable() -> FileError {
    FileError::Read {
        path: path(),
        source: std::io::Error::other("the disk says no"),
    }
}

#[test]
fn of_files() {
    let reason = || Reason("unknown key `pth`; did you mean `path`?".to_owned());
    let (path, line, source) = (path(), 3, reason());
    says(
        include_str!("file.rs"),
        &[
            (
                &unreadable(),
                "can't read the configuration file \"/etc/freezer/freezer.toml\"",
            ),
            (
                &FileError::Invalid { path, line, source },
                "invalid configuration file \"/etc/freezer/freezer.toml\", line 3",
            ),
            (&reason(), "unknown key `pth`; did you mean `path`?"),
        ],
    );
}

#[test]
fn of_clouds() {
    let (name, path) = (
        || "prod".to_owned(),
        || PathBuf::from("/etc/openstack/clouds.yaml"),
    );
    says(
        include_str!("clouds.rs"),
        &[
            (
                &CloudError::NoFile {
                    name: name(),
                    places: vec![path()],
                },
                "cloud \"prod\" is not known: there is no clouds.yaml in /etc/openstack/clouds.yaml",
            ),
            (
                &CloudError::File(unreadable()),
                "can't read the configuration file \"/etc/freezer/freezer.toml\"",
            ),
            (
                &CloudError::Invalid {
                    path: path(),
                    source: Reason("no mapping".to_owned()),
                },
                "\"/etc/openstack/clouds.yaml\" is no valid clouds.yaml",
            ),
            (
                &CloudError::Unknown {
                    name: name(),
                    path: path(),
                    nearest: Some("prod1".to_owned()),
                },
                "cloud \"prod\" is not in \"/etc/openstack/clouds.yaml\"; did you mean \"prod1\"?",
            ),
            (
                &CloudError::Unsupported {
                    name: name(),
                    path: path(),
                    what: "a profile".to_owned(),
                },
                "cloud \"prod\" in \"/etc/openstack/clouds.yaml\" has a profile, which is not supported",
            ),
        ],
    );
}

#[test]
fn of_sizes_and_dates() {
    says(
        include_str!("size.rs"),
        &[
            (&SizeError::NoNumber, "a size starts with a number, such as 32M"),
            (
                &SizeError::Unit("x".to_owned()),
                "unknown unit \"x\"; units are B K M G T P E (powers of 1024)",
            ),
            (&SizeError::TooLarge, "too large"),
        ],
    );
    says(
        include_str!("date.rs"),
        &[
            (
                &DateError::Form,
                "dates are YYYY-MM-DD, YYYY-MM-DD HH:MM[:SS], RFC 3339 or Unix seconds",
            ),
            (&DateError::Value("month 13".to_owned()), "no such date: month 13"),
        ],
    );
}
