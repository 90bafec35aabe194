//! The author's road, as docs/plugins.md walks it: the real binary makes, tries out, packs and signs a plugin, and what comes
//! out of it is installed and used.

mod road;

use std::fs;

use freezer_tests::{assert_same, backups, workspace, write};
use serde_json::json;

use road::Road;

#[test]
fn a_new_storage_goes_all_the_way_to_a_restore() {
    let road = Road::new();
    road.plugin(&["new", "--kind", "storage", "shelf"])
        .expect(0)
        .says("next: cd shelf && freezer plugin test");
    let tested = road.within("shelf", &["test", "--json"]).expect(0).json();
    let result = &tested["result"];
    assert_eq!(result["failed"], 0, "{tested}");
    assert_eq!(result["skipped"], 0, "{tested}");
    assert!(result["passed"].as_u64() > Some(40), "{tested}");

    let key = road.key("acme");
    road.within("shelf", &["pack", "--sign", "../acme.key"])
        .expect(0)
        .says("dist/shelf-0.1.0.wasm")
        .says("signed by key ");
    road.plugin(&["trust", &key, "--name", "Acme"]).expect(0);
    road.plugin(&["install", "shelf/dist", "--yes", "--grant", "asked"])
        .expect(0)
        .says("installed shelf 0.1.0 with 1 grant");

    a_backup_comes_back_from(&road, "shelf");
    a_broken_rule_is_told(&road);
    the_walk_of_the_documentation_leads_to_a_working_mode(&road);
}

/// Backs up to a storage that was made here, and restores from it.
fn a_backup_comes_back_from(road: &Road, storage: &str) {
    let sandbox = &road.sandbox;
    write(&sandbox.path("source/file"), b"content");
    let url = format!("{storage}:{}", sandbox.path("objects").display());
    sandbox
        .freezer(["backup", "source", "--name", "t", "--host", "h", "--to", &url])
        .run()
        .expect(0);
    assert_eq!(backups(&sandbox.path("objects"), "h_t").len(), 1);
    sandbox
        .freezer([
            "restore", "--name", "t", "--host", "h", "--from", &url, "--target", "back",
        ])
        .run()
        .expect(0);
    assert_same(&sandbox.path("source"), &sandbox.path("back"), &[]);
}

/// The same plugin with a fault in it, so that nothing is compiled from nothing once more.
fn a_broken_rule_is_told(road: &Road) {
    let test = road.sandbox.path("shelf/freezer-test.toml");
    let text = fs::read_to_string(&test).expect("freezer-test.toml");
    fs::write(
        &test,
        text.replace("refusal = \"atomic\"", "refusal = \"unsupported\""),
    )
    .expect("write");
    let component = "target/wasm/wasm32-wasip2/release/freezer_storage_shelf.wasm";
    let failed = road
        .within("shelf", &["test", "--component", component])
        .expect(1);
    let shown = failed.text();
    assert!(
        shown.contains(
            "FAILED   refusing keeps the old\n           put with refuse must fail with [Unsupported]"
        ),
        "{failed}"
    );
    assert!(
        shown.contains(
            "skipped  of several writers one wins: it can't refuse to replace an object atomically"
        ),
        "{failed}"
    );
    assert!(shown.contains(" passed, 1 failed, 1 skipped"), "{failed}");
    failed.says("next: mend what FAILED says");
}

/// The mode that docs/plugins.md makes of the template, by the very pieces of code that stand there.
fn the_walk_of_the_documentation_leads_to_a_working_mode(road: &Road) {
    road.plugin(&["new", "--kind", "mode", "project"]).expect(0);
    road.move_compiled("shelf", "project");
    road.change_as_documented();
    let tested = road.within("project", &["test"]).expect(0);
    assert!(tested.text().contains("18 passed, 0 failed"), "{tested}");
    road.within("project", &["pack"]).expect(0).says("not signed: ");
    road.plugin(&["install", "project/dist", "--allow-unsigned", "--yes"])
        .expect(0);
    let sandbox = &road.sandbox;
    for path in ["main.rs", "target/debug/main", ".git/HEAD"] {
        write(&sandbox.path("source").join(path), b"x");
    }
    sandbox.backup(&["--mode", "project", "--mode-option", "leave-out=.git"]);
    let back = sandbox.restore("without-built", &[]);
    assert!(back.join("main.rs").is_file());
    assert!(!back.join("target").exists() && !back.join(".git").exists());
    road.within("project", &["docs"])
        .expect(0)
        .tells("# Mode project");
}

#[test]
fn a_mode_in_python_keeps_the_same_rules() {
    let road = Road::new();
    road.plugin(&["new", "--kind", "mode", "--lang", "python", "notes"])
        .expect(0);
    let tested = road.within("notes", &["test"]).expect(0);
    assert!(tested.text().contains("18 passed, 0 failed"), "{tested}");
    let made = || {
        let component = road.sandbox.path("notes/target/wasm/component.wasm");
        let about = fs::metadata(component).expect("the component");
        about.modified().expect("its time")
    };
    let first = made();
    road.within("notes", &["pack"])
        .expect(0)
        .says("dist/notes-0.1.0.wasm");
    assert_eq!(made(), first, "nothing changed, and it was made anew");
}

#[test]
fn a_storage_in_python_keeps_the_same_rules_and_holds_a_backup() {
    let road = Road::new();
    road.plugin(&["new", "--kind", "storage", "--lang", "python", "shelf"])
        .expect(0);
    let tested = road.within("shelf", &["test", "--json"]).expect(0).json();
    let result = &tested["result"];
    assert_eq!(
        (&result["failed"], &result["skipped"]),
        (&json!(0), &json!(0)),
        "{tested}"
    );
    assert!(result["passed"].as_u64() > Some(40), "{tested}");
    road.within("shelf", &["pack"]).expect(0);
    road.plugin(&[
        "install",
        "shelf/dist",
        "--allow-unsigned",
        "--yes",
        "--grant",
        "asked",
    ])
    .expect(0);
    a_backup_comes_back_from(&road, "shelf");
}

#[test]
fn the_example_in_python_keeps_the_same_rules_in_a_process_of_its_own() {
    let road = Road::new();
    let example = workspace().join("plugins/examples/home");
    let copy = road.sandbox.path("example");
    fs::create_dir(&copy).expect("a folder");
    for file in fs::read_dir(example).expect("the example").flatten() {
        if file.path().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).expect("a copy");
        }
    }
    let tested = road.within("example", &["test", "--isolate=all"]).expect(0);
    assert!(tested.text().contains("18 passed, 0 failed"), "{tested}");
    road.within("example", &["pack"]).expect(0);
    road.plugin(&["install", "example/dist", "--allow-unsigned", "--yes"])
        .expect(0);
    let sandbox = &road.sandbox;
    for path in [
        "letter",
        ".cache/page",
        "Downloads/film",
        "site/node_modules/x.js",
    ] {
        write(&sandbox.path("source").join(path), b"x");
    }
    let keep = |word| {
        sandbox
            .backup_command(&["--isolate", "--mode", "home", "--mode-option", word])
            .run()
    };
    let refused = keep("keep=all").expect(1);
    drop(refused.says("keep=all: there are only caches, trash, downloads, built"));
    keep("keep=downloads").expect(0);
    let back = sandbox.restore("back", &[]);
    assert!(back.join("letter").is_file() && back.join("Downloads/film").is_file());
    assert!(!back.join(".cache").exists() && !back.join("site/node_modules").exists());
}

#[test]
fn what_is_no_plugins_folder_is_told() {
    let road = Road::new();
    road.plugin(&["build", "source"])
        .expect(2)
        .says("there is no plugin.toml in ")
        .says("next: run it in a plugin's folder");
    road.plugin(&["new", "--kind", "mode", "Bad_Name"])
        .expect(2)
        .says("no plugin can be named \"Bad_Name\"");
    write(&road.sandbox.path("taken/file"), b"x");
    road.plugin(&["new", "--kind", "mode", "taken"])
        .expect(2)
        .says("is there already and isn't empty");
    road.plugin(&["new", "--kind", "mode", "acme", "--license", "see LICENSE"])
        .expect(2)
        .says("is no SPDX expression");
    assert!(!road.sandbox.path("acme").exists());
}

#[test]
fn without_a_compiler_it_says_what_to_install() {
    let road = Road::new();
    road.plugin(&["new", "--kind", "mode", "acme"]).expect(0);
    road.within_without_compiler("acme", &["build"])
        .expect(1)
        .says("nothing here compiles plugins: there is no rustc on the PATH")
        .says("next: rustup target add wasm32-wasip2");
}
