//! What each error about the original's options and files says, to the letter: one row for each variant, or the count doesn't fit.

use super::ini::IniError;
use super::parse::ParseError;
use crate::config::file::Reason;

#[test]
fn of_options() {
    let (argument, option) = (|| "--actoin".to_owned(), || "--mode".to_owned());
    let rows = [
        (
            ParseError::Unknown {
                argument: argument(),
                nearest: Some("action".to_owned()),
            },
            "unrecognized arguments: --actoin (did you mean --action?)",
        ),
        (
            ParseError::Ambiguous {
                argument: "--restore".to_owned(),
                candidates: vec!["--restore-abs-path".to_owned(), "--restore-from-date".to_owned()],
            },
            "ambiguous option: --restore could match --restore-abs-path, --restore-from-date",
        ),
        (
            ParseError::Missing(option()),
            "argument --mode: expected one argument",
        ),
        (
            ParseError::Excess("--insecure".to_owned()),
            "argument --insecure: ignored explicit argument",
        ),
        (
            ParseError::Type {
                option: "--max-level".to_owned(),
                kind: "int",
                value: "x".to_owned(),
            },
            "argument --max-level: invalid int value: \"x\"",
        ),
        (
            ParseError::Choice {
                option: option(),
                value: "x".to_owned(),
                choices: &["fs", "mysql"],
            },
            "argument --mode: invalid choice: \"x\" (choose from fs, mysql)",
        ),
    ];
    for (error, wanted) in &rows {
        assert_eq!(error.to_string(), *wanted);
    }
    let variants = include_str!("parse.rs").matches("#[error(").count();
    assert_eq!(variants, rows.len(), "each variant has one row here");
}

#[test]
fn of_ini_files() {
    let error = IniError {
        path: "/etc/freezer/job.ini".into(),
        line: 3,
        reason: Reason("no value".to_owned()),
    };
    assert_eq!(
        error.to_string(),
        "invalid configuration file \"/etc/freezer/job.ini\", line 3"
    );
}
