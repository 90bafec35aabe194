//! The plugin contract grows old without breaking: what was released of it stays as it was, and what was compiled for it loads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freezer_plugin::{BandwidthLimits, CONTRACT, HostConfig, PluginHost, PluginKind, Run, RunConfig};
use freezer_tests::workspace;
use rstest::rstest;

/// What plugins export: a function more would be one that older plugins lack.
const EXPORTED: [&str; 2] = ["mode", "storage"];

/// Released versions, oldest first.
fn released() -> Vec<(String, PathBuf)> {
    let folder = workspace().join("tests/golden/wit");
    let mut found: Vec<_> = fs::read_dir(&folder)
        .expect("tests/golden/wit")
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    found.sort_by_key(|(version, _)| numbers(version));
    assert!(!found.is_empty(), "no released contract");
    found
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|number| number.parse().expect("a number"))
        .collect()
}

/// All of a contract's text, without comments and with single spaces.
fn text(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("wit")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|path| fs::read_to_string(path).expect("a wit file"));
    plain(&texts.collect::<String>())
}

fn plain(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// The items of a block: functions and uses end with a semicolon, all else with a brace.
fn items(block: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (place, letter) in block.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let uses = block[start..].trim_start().starts_with("use ");
        if depth == 0 && (letter == ';' || (letter == '}' && !uses)) {
            found.push(block[start..=place].trim());
            start = place + 1;
        }
    }
    found
}

/// The head and the inside of an item with braces.
fn opened(item: &str) -> Option<(&str, &str)> {
    let (head, rest) = item.split_once('{')?;
    Some((head.trim(), rest.strip_suffix('}')?))
}

/// What each interface and world promises: its types as wholes, its functions and those of its resources one by one.
fn promises(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in items(text) {
        let Some((head, inside)) = opened(block) else {
            continue;
        };
        let promised = all.entry(head.to_owned()).or_default();
        for item in items(inside) {
            match opened(item) {
                Some((resource, functions)) if resource.contains("resource ") => {
                    promised.insert(resource.to_owned());
                    let functions = items(functions);
                    promised.extend(functions.iter().map(|function| format!("{resource}: {function}")));
                }
                _ => {
                    promised.insert(item.to_owned());
                }
            }
        }
    }
    all
}

/// What a later contract of the same major version breaks of an older one.
fn broken(older: &str, newer: &str) -> Vec<String> {
    let (old, new) = (promises(older), promises(newer));
    let mut wrong = Vec::new();
    for (name, promised) in &old {
        let Some(kept) = new.get(name) else {
            wrong.push(format!("{name} is gone"));
            continue;
        };
        wrong.extend(
            promised
                .difference(kept)
                .map(|item| format!("{name}: {item} is gone or changed")),
        );
        let exported = name
            .strip_prefix("interface ")
            .is_some_and(|name| EXPORTED.contains(&name));
        for added in kept.difference(promised) {
            if exported {
                wrong.push(format!(
                    "{name}: {added} would have to be exported by older plugins"
                ));
            } else if !added.contains("@since(") && !name.starts_with("world ") {
                wrong.push(format!("{name}: {added} doesn't say since when it is there"));
            }
        }
    }
    wrong
}

#[test]
fn what_was_released_of_the_contract_is_kept() {
    let today = text(&workspace().join("wit"));
    for (version, folder) in released() {
        if numbers(&version)[0] != numbers(CONTRACT)[0] {
            continue;
        }
        let older = text(&folder);
        let today = today.replace(&format!("@{CONTRACT};"), "@;");
        let older = older.replace(&format!("@{version};"), "@;");
        let wrong = broken(&older, &today);
        assert!(wrong.is_empty(), "since {version}: {wrong:#?}");
    }
}

/// A released version doesn't change, not even compatibly: that is what the next one is for.
#[test]
fn the_contract_of_today_is_the_one_that_was_released_under_its_number() {
    let released = released();
    let (newest, folder) = released.last().expect("one");
    assert_eq!(
        newest, CONTRACT,
        "a new contract is frozen: tests/golden/wit/{CONTRACT}"
    );
    for block in items(&text(&workspace().join("wit"))) {
        if let Some(package) = block.strip_prefix("package ") {
            assert_eq!(package, format!("freezer:plugin@{CONTRACT};"));
        }
    }
    assert_eq!(text(folder), text(&workspace().join("wit")));
}

/// The judge above finds what breaks older plugins, and lets pass what doesn't.
#[rstest]
#[case::a_function_is_gone("wait: func(milliseconds: u32) -> result<_, error>;", "", Some("wait: func"))]
#[case::a_parameter_changed(
    "wait: func(milliseconds: u32)",
    "wait: func(milliseconds: u64)",
    Some("wait: func")
)]
#[case::a_case_more("enum error-kind {", "enum error-kind { purple,", Some("enum error-kind"))]
#[case::a_field_more("record setting {", "record setting { colour: u8,", Some("record setting"))]
#[case::a_method_is_gone("is-replayable: func() -> bool;", "", Some("is-replayable"))]
#[case::an_export_more(
    "interface storage {",
    "interface storage { @since(version = 1.1.0) more: func();",
    Some("would have to be exported")
)]
#[case::an_interface_is_gone("interface tcp {", "interface udp {", Some("interface tcp is gone"))]
#[case::an_import_more_without_a_date(
    "interface http {",
    "interface http { more: func();",
    Some("since when")
)]
#[case::an_import_more(
    "interface http {",
    "interface http { @since(version = 1.1.0) more: func();",
    None
)]
#[case::an_interface_more(
    "world host-side {",
    "interface udp { open: func(); } world host-side {",
    None
)]
fn a_change_is_judged(#[case] from: &str, #[case] to: &str, #[case] says: Option<&str>) {
    let today = text(&workspace().join("wit"));
    assert!(today.contains(from), "{from}");
    let changed = today.replacen(from, to, 1);
    let wrong = broken(&today, &plain(&changed)).join("\n");
    match says {
        Some(says) => assert!(wrong.contains(says), "{wrong:?}"),
        None => assert!(wrong.is_empty(), "{wrong}"),
    }
}

/// Components that call every interface, as they were compiled for each released contract.
#[test]
fn guests_of_every_released_contract_still_load() {
    for (version, _) in released() {
        let folder = workspace().join("tests/golden/guests").join(&version);
        let host = PluginHost::new(HostConfig {
            plugin_dirs: vec![folder],
            ..HostConfig::default()
        })
        .expect("a host");
        let run = Run::new(RunConfig {
            cancel: freezer_pipeline::cancel::Cancel::new(),
            named_paths: Vec::new(),
            warn: Arc::new(|_| {}),
            progress: Arc::new(|_, _| {}),
            tell: Arc::new(|_| {}),
            bandwidth: BandwidthLimits::default(),
        });
        let mut imported = BTreeSet::new();
        for (kind, name) in [
            (PluginKind::Storage, "hostile"),
            (PluginKind::Mode, "hostile-mode"),
        ] {
            let plugin = host
                .find(kind, name)
                .unwrap_or_else(|error| panic!("{version}: {error}"));
            host.load(&plugin, &run)
                .unwrap_or_else(|error| panic!("{version}, {name}: {error}"));
        }
        for found in host.discover() {
            imported.extend(found.imports);
        }
        let interfaces = promises(&text(&workspace().join("tests/golden/wit").join(&version)));
        for interface in interfaces
            .keys()
            .filter_map(|name| name.strip_prefix("interface "))
        {
            let name = format!("freezer:plugin/{interface}@{version}");
            let covered = EXPORTED.contains(&interface) || imported.contains(&name);
            assert!(
                covered,
                "no kept guest of {version} imports {interface}: {imported:?}"
            );
        }
    }
}
