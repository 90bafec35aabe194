//! `info`, `storage test`, `storage list`, and where settings of storages come from, against storages that are there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use freezer_tests::{Sandbox, Server, write};
use rustix::process::Signal;
use serde_json::Value;

/// All files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path.display().to_string()),
        }
    }
    found
}

/// The rows of a trial that didn't go as they should.
fn failed(document: &Value) -> Vec<&Value> {
    let rows = document["result"]["rows"].as_array().expect("rows");
    assert!(rows.len() > 10, "{document}");
    rows.iter().filter(|row| row["result"] == "failed").collect()
}

#[test]
fn info_tells_what_a_storage_holds() {
    let sandbox = Sandbox::new();
    write(&sandbox.source().join("file"), b"content");
    sandbox.backup(&[]);
    let url = sandbox.url();
    let table = sandbox.freezer(["info", "--from", &url]).run().expect(0).text();
    assert!(table.starts_with("STORAGE"), "{table}");
    assert!(table.contains(&url), "{table}");
    let document = sandbox
        .freezer(["info", "--json", "--from", &url])
        .run()
        .expect(0)
        .json();
    let container = &document["result"]["storages"][0]["containers"][0];
    assert_eq!(container["objects"], files(&sandbox.store()).len(), "{document}");
    assert!(container["available_bytes"].as_u64().is_some(), "{document}");
}

#[test]
fn info_of_several_names_the_one_that_is_missing() {
    let sandbox = Sandbox::new();
    write(&sandbox.source().join("file"), b"content");
    sandbox.backup(&[]);
    let config = format!(
        "[storage.here]\nurl = \"{}\"\n[storage.gone]\nurl = \"local:{}\"\n",
        sandbox.url(),
        sandbox.path("gone").display()
    );
    write(&sandbox.path("c.toml"), config.as_bytes());
    // Without --from all storages of the file are meant.
    let all = sandbox.freezer(["info", "--config", "c.toml"]).run().expect(3);
    assert!(all.text().contains(&sandbox.url()), "{all}");
    all.says("gone");
    sandbox
        .freezer(["info", "--config", "c.toml", "--from", "gone:"])
        .run()
        .expect(4)
        .says("can't tell what");
}

#[test]
fn a_trial_of_a_directory_works_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let url = sandbox.url();
    let arguments = ["storage", "test", &url, "--size", "1M", "--json"];
    let document = sandbox.freezer(arguments).run().expect(0).json();
    assert_eq!(failed(&document), [&Value::Null; 0], "{document}");
    assert_eq!(document["result"]["left"].as_array().map(Vec::len), Some(0));
    assert_eq!(files(&sandbox.store()), [""; 0]);
    let screen = sandbox
        .freezer(["storage", "test", &url, "--size", "1M"])
        .run()
        .expect(0)
        .text();
    for word in ["upload, one at a time", "read a range", "/s"] {
        assert!(screen.contains(word), "{screen}");
    }
    // What a trial makes is no backup to anybody, not even while it is there.
    sandbox.freezer(["list", "--from", &url]).run().expect(0);
}

#[test]
fn an_interrupted_trial_takes_everything_away() {
    let sandbox = Sandbox::new();
    let url = sandbox.url();
    // The limit keeps it busy for minutes.
    let arguments = ["storage", "test", &url, "--size", "8M", "--upload-limit", "64K"];
    let mut running = sandbox.freezer(arguments).start();
    let store = sandbox.store();
    assert!(running.until(|| !files(&store).is_empty()));
    running.signal(Signal::INT);
    running.wait().expect(130).says("interrupted");
    assert_eq!(files(&store), [""; 0]);
}

#[test]
fn a_trial_of_a_directory_that_can_t_be_written_fails_by_rows() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("store/data"), b"a file where a directory is needed");
    let url = format!("local:{}", sandbox.path("store/data").display());
    let result = sandbox
        .freezer(["storage", "test", &url, "--size", "64K"])
        .run()
        .no_crash();
    assert_eq!(result.code, Some(1), "{result}");
}

#[test]
fn bandwidth_limits_come_from_the_configuration_and_are_lifted_by_the_command_line() {
    let sandbox = Sandbox::new();
    let config = "[defaults]\nupload-limit = \"256K\"\n";
    write(&sandbox.path("c.toml"), config.as_bytes());
    let url = sandbox.url();
    let trial = |more: &[&str]| {
        let arguments = [
            "storage", "test", &url, "--size", "1M", "--json", "--config", "c.toml",
        ];
        let document = sandbox.freezer(arguments).args(more).run().expect(0).json();
        let rows = document["result"]["rows"].as_array().expect("rows").clone();
        let upload = rows
            .iter()
            .find(|row| row["name"] == "upload, one at a time")
            .expect("a row");
        upload["seconds"].as_f64().expect("seconds")
    };
    // A mebibyte at a quarter of one a second, of which the first part may pass at once.
    let limited = trial(&[]);
    assert!(limited > 2.0, "took {limited} s");
    let free = trial(&["--upload-limit", "-1"]);
    assert!(
        free < limited,
        "took {free} s without a limit, {limited} s with one"
    );
}

#[test]
fn the_list_shows_names_and_schemes() {
    let sandbox = Sandbox::new();
    write(
        &sandbox.path("c.toml"),
        b"[storage.nas]\nurl = \"local:/srv/nas\"\n",
    );
    let text = sandbox
        .freezer(["storage", "list", "--config", "c.toml"])
        .run()
        .expect(0)
        .text();
    assert!(text.contains("nas:") && text.contains("local:/srv/nas"), "{text}");
    assert!(text.contains("plugin local"), "{text}");
}

/// A file with these variables that only we can read.
fn osrc(sandbox: &Sandbox, server: &Server) -> String {
    let lines: Vec<String> = server
        .values()
        .filter(|(name, _)| name.starts_with("OS_") || name.starts_with("ST_"))
        .map(|(name, value)| format!("export {name}=\"{value}\"\n"))
        .collect();
    let path = sandbox.path("osrc");
    write(&path, lines.concat().as_bytes());
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("changed");
    path.display().to_string()
}

mod needs_swift {
    use super::*;

    #[test]
    fn the_login_to_swift_comes_from_an_osrc_file() {
        let sandbox = Sandbox::new();
        let server = Server::shared("swift", || Server::start("swift", &[]));
        let osrc = osrc(&sandbox, &server);
        let arguments = ["storage", "test", "swift://verbs/trial", "--size", "1M", "--json"];
        let result = sandbox
            .freezer(arguments)
            .args(["--osrc", &osrc])
            .run()
            .expect_any(&[0, 1]);
        for (name, value) in server.values() {
            if name == "ST_KEY" {
                assert!(
                    !result.text().contains(value) && !result.stderr.contains(value),
                    "{result}"
                );
            }
        }
        let document = result.json();
        assert_eq!(failed(&document), [&Value::Null; 0], "{document}");
        let info = ["info", "--from", "swift://verbs/trial", "--json", "--osrc", &osrc];
        let document = sandbox.freezer(info).run().expect(0).json();
        assert_eq!(
            document["result"]["storages"][0]["storage"], "swift://verbs/trial",
            "{document}"
        );
    }
}
