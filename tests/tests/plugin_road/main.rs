//! The operator's road: a plugin from somebody else is installed, granted, updated, revoked and removed by the real binary,
//! with signatures that the real minisign made.

mod https;
mod policy;
mod road;
mod system;
mod trust;

use std::fs;
use std::path::Path;

use freezer_tests::{backups, freezer_binary, write};

use road::{ASKED, Road};

#[test]
fn a_signed_plugin_works_with_what_it_was_granted_and_with_no_more() {
    let (road, _) = Road::installed();
    road.backup().expect(0);
    assert_eq!(backups(&road.sandbox.path("objects"), "h_t").len(), 1);
    road.plugin(&["revoke", "acmes", ASKED]).expect(0);
    road.backup()
        .expect(1)
        .says("isn't allowed to open directory")
        .says("files = [{ root =");
    assert_eq!(backups(&road.sandbox.path("objects"), "h_t").len(), 1);
    road.plugin(&["grant", "acmes", ASKED]).expect(0);
    road.backup().expect(0);
    let shown = road.inspected();
    assert_eq!(shown["grants"], serde_json::json!([ASKED]));
    assert!(
        shown["signature"]
            .as_str()
            .expect("text")
            .starts_with("signed by Acme releases (key "),
        "{shown}"
    );
    assert!(
        shown["source"]
            .as_str()
            .expect("text")
            .ends_with("/builds/acmes-0.1.0.wasm"),
        "{shown}"
    );
    assert_eq!(shown["last_run"]["used"][0]["allowed"], true, "{shown}");
    assert!(shown["imports"].as_array().expect("a list").len() > 3, "{shown}");
}

#[test]
fn a_folder_that_holds_one_plugin_is_installed_too() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    let builds = road.sandbox.path("builds");
    road.install(&builds, &[])
        .expect(0)
        .says("installed acmes 0.1.0 with 0 grants");
    road.signed("0.2.0", "acme");
    road.install(&builds, &[]).expect(2).says("holds 2 files *.wasm");
}

#[test]
fn an_update_shows_what_changes_and_voids_the_grants_unless_they_are_renewed() {
    let (road, _) = Road::installed();
    let newer = road.signed("0.2.0", "acme");
    let newer = newer.to_str().expect("UTF-8");
    road.plugin(&["update", "acmes", newer])
        .expect(2)
        .says("version    0.1.0 -> 0.2.0")
        .says("it had, and would have again, that it")
        .says(&format!(
            "freezer plugin update acmes {newer} --yes --grant '{ASKED}'"
        ));
    road.plugin(&["update", "acmes", newer, "--yes"])
        .expect(0)
        .says("updated acmes 0.2.0 with 0 grants");
    road.backup().expect(1).says("isn't allowed to open directory");
    let older = road.sandbox.path("builds/acmes-0.1.0.wasm");
    road.install(&older, &[])
        .expect(1)
        .says("it is version 0.1.0, and version 0.2.0 is installed");
    road.install(&older, &["--allow-downgrade", "--grant", "asked"])
        .expect(0);
    road.plugin(&["update", "acmes", newer, "--yes", "--keep-grants"])
        .expect(0);
    road.backup().expect(0);
    // Its source is known now.
    road.plugin(&["update", "acmes"])
        .expect(0)
        .says("is what is installed already");
}

#[test]
fn what_nobody_can_be_asked_is_refused_with_the_command_that_does_it() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let path = path.to_str().expect("UTF-8");
    let refused = road.plugin(&["install", path]).expect(2);
    let refused = refused
        .says("may read, write and delete files in what its setting path names")
        .says("may NOT run programs");
    assert!(!road.plugin_dir().exists(), "{refused}");
    let line = refused
        .stderr
        .lines()
        .find(|line| line.starts_with("next: to allow all"));
    let command = line
        .and_then(|line| line.split_once(": freezer "))
        .expect("a command")
        .1
        .to_owned();
    let shell = format!("{} {command}", freezer_binary().display());
    road.sandbox
        .scrubbed(Path::new("/bin/sh"))
        .args(["-c", &shell])
        .run()
        .expect(0);
    road.backup().expect(0);
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let asked = |answer: &str| {
        let command = format!("{} plugin install {}", freezer_binary().display(), path.display());
        road.sandbox
            .scrubbed(Path::new("/usr/bin/script"))
            .args(["-qec", &command, "/dev/null"])
            .stdin(format!("{answer}\n"))
            .run()
    };
    let refused = asked("no").expect(1);
    assert!(
        refused
            .text()
            .contains("Install it and allow all that it asks for?"),
        "{refused}"
    );
    assert!(!road.plugin_dir().exists(), "{refused}");
    asked("none").expect(0);
    assert_eq!(road.inspected()["grants"], serde_json::json!([]));
    asked("yes").expect(0);
    assert_eq!(road.inspected()["grants"], serde_json::json!([ASKED]));
}

#[test]
fn what_is_removed_is_gone_with_its_grants() {
    let (road, _) = Road::installed();
    road.plugin(&["remove", "acmes"]).expect(0);
    assert_eq!(
        fs::read_dir(road.plugin_dir().join("installed"))
            .expect("records")
            .count(),
        0
    );
    assert!(
        !fs::read_to_string(road.config("grants.toml"))
            .expect("grants")
            .contains("acmes")
    );
    road.plugin(&["remove", "acmes"])
        .expect(4)
        .says("no plugin acmes is installed");
    road.backup().expect(2).says("no storage plugin named \"acmes\"");
}

#[test]
fn a_plugin_of_this_programs_name_is_not_installed() {
    let road = Road::new();
    let plugins = freezer_binary()
        .parent()
        .expect("a folder")
        .join("lib/freezer/plugins");
    let mut bytes = fs::read(plugins.join("local.wasm")).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    let path = road.sandbox.path("builds/local.wasm");
    write(&path, &bytes);
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("its name belongs to the plugin");
}
