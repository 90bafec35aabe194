//! Trees: made, copied, and compared by programs that know nothing of freezer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{Finished, program};
use crate::sandbox::workspace;

/// A program of `tests/tools`.
pub fn tool(name: &str) -> PathBuf {
    workspace().join("tests/tools").join(name)
}

/// Writes a file, making its directories.
#[track_caller]
pub fn write(path: &Path, content: &[u8]) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
    }
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn lister(arguments: &[&str], directories: &[&Path]) -> Finished {
    let (verb, options) = arguments.split_first().unwrap_or((&"list", &[]));
    program("python3")
        .arg(tool("lister.py"))
        .arg(verb)
        .args(directories)
        .args(options)
        .run()
}

/// How `actual` differs from `expected`, as the independent lister says it; `None` when in nothing.
/// `options` are those of `tests/tools/lister.py`.
#[track_caller]
pub fn differences(expected: &Path, actual: &Path, options: &[&str]) -> Option<String> {
    let words: Vec<&str> = ["compare"].iter().chain(options).copied().collect();
    verdict(lister(&words, &[expected, actual]))
}

/// The same against a list in a file.
#[track_caller]
pub fn differences_from_list(list: &Path, actual: &Path, options: &[&str]) -> Option<String> {
    let words: Vec<&str> = ["against"].iter().chain(options).copied().collect();
    verdict(lister(&words, &[list, actual]))
}

#[track_caller]
fn verdict(finished: Finished) -> Option<String> {
    match finished.code {
        Some(0) => None,
        Some(1) if !finished.stdout.is_empty() => Some(finished.text()),
        _ => panic!("the lister itself failed\n{finished}"),
    }
}

/// Panics with the differences, if any.
#[track_caller]
pub fn assert_same(expected: &Path, actual: &Path, options: &[&str]) {
    if let Some(list) = differences(expected, actual, options) {
        panic!(
            "{} differs from {}:\n{list}",
            actual.display(),
            expected.display()
        );
    }
}

/// Makes the tree of odd entries; `many` is the size of its large directory.
#[track_caller]
pub fn make_odd_tree(root: &Path, many: usize) {
    program("python3")
        .arg(tool("oddtree.py"))
        .arg(root)
        .args(["--many", &many.to_string()])
        .run()
        .expect(0);
}

/// A naive copy with everything kept, by `cp -a`.
#[track_caller]
pub fn copy_tree(from: &Path, to: &Path) {
    program("cp")
        .args(["-a", "--sparse=always", "-T"])
        .arg(from)
        .arg(to)
        .run()
        .expect(0);
}
