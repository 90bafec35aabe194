//! What the code promises about its own shape: directions between crates, sizes, module documents, words, plugin folders.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{workspace, workspace_files};

/// Which of our own crates each may use. A new crate needs a line here, and so a decision.
const DIRECTIONS: [(&str, &[&str]); 12] = [
    ("host/format", &[]),
    ("host/io", &[]),
    ("host/pipeline", &["freezer-format"]),
    (
        "host/plugin",
        &["freezer-format", "freezer-pipeline", "freezer-io"],
    ),
    ("host/conformance", &["freezer-pipeline", "freezer-plugin"]),
    (
        "host/author",
        &[
            "freezer-format",
            "freezer-pipeline",
            "freezer-plugin",
            "freezer-conformance",
        ],
    ),
    (
        "host/agent",
        &["freezer-format", "freezer-pipeline", "freezer-plugin"],
    ),
    (
        "host/cli",
        &[
            "freezer-format",
            "freezer-pipeline",
            "freezer-plugin",
            "freezer-conformance",
            "freezer-author",
            "freezer-agent",
        ],
    ),
    ("sdk", &[]),
    // Every plugin folder, and the guests of the tests.
    ("plugins", &["freezer-sdk"]),
    ("tests/fuzz", &["freezer-pipeline", "freezer-plugin"]),
    // Storages are tested through the host, and failing ones through the recipes; all else from outside.
    (
        "tests",
        &[
            "freezer-format",
            "freezer-pipeline",
            "freezer-plugin",
            "freezer-conformance",
            "freezer-agent",
        ],
    ),
];

/// Lines that a file may have, apart from tests.
const MOST_LINES: usize = 500;

/// Marks of unfinished or unreasoned code.
const BANNED: [&str; 8] = [
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("dbg", "!("),
    concat!("#[al", "low("),
    concat!("#![al", "low("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("HA", "CK"),
];

fn sources() -> Vec<PathBuf> {
    ["host", "sdk", "plugins", "tests"]
        .iter()
        .flat_map(|folder| workspace_files(folder, ".rs"))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Our own crates in `[dependencies]` of one Cargo.toml.
fn own_dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| name.starts_with("freezer-"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let mut wrong = String::new();
    for manifest in ["host", "sdk", "plugins", "tests"]
        .iter()
        .flat_map(|folder| workspace_files(folder, "Cargo.toml"))
    {
        let folder = shown(manifest.parent().expect("a folder"));
        let kind = match &folder {
            guest if guest.starts_with("tests/guests/") => "plugins",
            plugin if plugin.starts_with("plugins/") => "plugins",
            other => other,
        };
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == kind) else {
            writeln!(wrong, "{folder}: has no direction yet").expect("text");
            continue;
        };
        for used in own_dependencies(&read(&manifest)) {
            if !allowed.contains(&used.as_str()) {
                writeln!(wrong, "{folder} must not use {used}").expect("text");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Lines before the unit tests at the end of the file.
fn lines_of_code(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    tests.unwrap_or(lines.len())
}

fn is_test(path: &Path) -> bool {
    let shown = shown(path);
    shown.contains("/tests/") || shown.ends_with("/tests.rs")
}

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| (path, lines_of_code(&read(path))))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines, at most {MOST_LINES}", shown(path)))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| shown(path))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let mut found = String::new();
    for path in sources() {
        for (number, line) in read(&path).lines().enumerate() {
            if let Some(word) = BANNED.iter().find(|word| line.contains(**word)) {
                writeln!(found, "{}:{}: {word}", shown(&path), number + 1).expect("text");
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn files_are_named_after_what_they_own() {
    let vague = [
        "util.rs",
        "utils.rs",
        "misc.rs",
        "common.rs",
        "helper.rs",
        "helpers.rs",
    ];
    let found: Vec<String> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| shown(path))
        .filter(|path| vague.iter().any(|name| path.ends_with(&format!("/{name}"))))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_plugin_folder_describes_itself() {
    let mut missing = Vec::new();
    for kind in ["plugins/modes", "plugins/storages"] {
        for folder in fs::read_dir(workspace().join(kind)).expect(kind).flatten() {
            for name in ["README.md", "plugin.toml", "Cargo.toml", "src/lib.rs"] {
                let path = folder.path().join(name);
                if !path.is_file() {
                    missing.push(shown(&path));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Who may speak of denial in the plugin host beside `grants`, and why.
const DENIALS: [(&str, &str); 10] = [
    ("apart/values.rs", "names each kind of an error"),
    ("convert.rs", "one word for another"),
    ("error.rs", "what a refusal says"),
    ("fetch.rs", "where the operator's own download may lead"),
    ("grant_file.rs", "what the machine denies"),
    ("trust.rs", "what the machine denies"),
    ("interfaces/control.rs", "what the machine denies"),
    ("interfaces/reach.rs", "passes a refusal on"),
    ("mode.rs", "passes a refusal on"),
    ("mode/source.rs", "passes a refusal on"),
];

#[test]
fn only_grants_decide_what_a_plugin_may_do() {
    let mut wrong = String::new();
    for path in workspace_files("host/plugin/src", ".rs") {
        let shown = shown(&path);
        let name = shown.trim_start_matches("host/plugin/src/");
        if name.starts_with("grants.rs") || name.starts_with("grants/") {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if code.contains("Denied") && !DENIALS.iter().any(|(allowed, _)| *allowed == name) {
            writeln!(wrong, "{name} denies something").expect("text");
        }
        if code.contains("Refusal {") && name != "error.rs" {
            writeln!(wrong, "{name} makes a refusal").expect("text");
        }
    }
    // Whatever a plugin asks for, the grants are asked.
    for (name, asks) in [
        ("files", "grants.directory("),
        ("processes", ".command(&program"),
        ("ssh", "grants.network(Network::Ssh"),
        ("sql", "grants.network(Network::Sql"),
        ("tcp", "grants.network(Network::Tcp"),
        ("snapshots", "grants.snapshot("),
        ("bodies", "grants.bodies()"),
    ] {
        let text = read(&workspace().join(format!("host/plugin/src/interfaces/{name}.rs")));
        if !text.contains(asks) {
            writeln!(wrong, "interfaces/{name}.rs doesn't ask {asks}").expect("text");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
