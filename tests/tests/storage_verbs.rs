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

/// Two names, of which the first has its data behind a link.
fn with_a_link() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox.source().join("file"), b"content");
    for name in ["aaa", "zzz"] {
        let source = sandbox.source();
        let url = sandbox.url();
        let backup = sandbox.freezer(["backup", "--name", name, "--host", "h", "--to", &url]);
        backup.arg(source).run().expect(0);
    }
    let (place, moved) = (sandbox.path("store/data/tar/h_aaa"), sandbox.path("moved"));
    fs::rename(&place, &moved).expect("moved");
    std::os::unix::fs::symlink(&moved, &place).expect("a link");
    sandbox
}

#[test]
fn a_link_in_a_storage_hides_nothing_else() {
    let sandbox = with_a_link();
    let url = sandbox.url();
    let listed = sandbox
        .freezer(["list", "--json", "--from", &url])
        .run()
        .expect(3)
        .json();
    let rows = listed["result"]["backups"].as_array().expect("rows");
    let states: Vec<_> = rows
        .iter()
        .map(|row| (row["backup_name"].as_str(), row["state"].as_str()))
        .collect();
    assert_eq!(
        states,
        [
            (Some("aaa"), Some("unreadable")),
            (Some("zzz"), Some("committed"))
        ]
    );
    let checked = sandbox
        .freezer(["check", "--read-data", "--from", &url])
        .run()
        .expect(1);
    checked.tells("unreadable: data/tar/h_aaa").tells("2 backups");
    let prune = ["prune", "--host", "h", "--keep-last", "1", "--from", &url];
    sandbox
        .freezer(prune)
        .run()
        .expect(3)
        .says("nothing of h_aaa is removed")
        .tells("h_zzz");
    let other = format!("local:{}", sandbox.path("other").display());
    let copy = ["copy", "--from", &url, "--to", &other];
    sandbox
        .freezer(copy)
        .run()
        .expect(3)
        .says("h_aaa isn't copied whole")
        .tells("h_zzz level 0");
    let restore = [
        "restore", "--name", "zzz", "--host", "h", "--from", &other, "--target", "back",
    ];
    sandbox.freezer(restore).run().expect(0);
}

#[test]
fn what_is_no_key_is_passed_over_and_told() {
    let sandbox = with_a_link();
    fs::create_dir_all(sandbox.path("store/metadata/tar/odd\nname/1/0_1")).expect("a folder");
    let url = sandbox.url();
    let listed = sandbox
        .freezer(["list", "--from", &url])
        .run()
        .expect(3)
        .tells("zzz");
    listed.says("odd\\nname").says("passed over");
}

/// Nobody answers there: the queue is full.
#[test]
fn waiting_for_a_storage_is_said_unless_quiet() {
    let sandbox = Sandbox::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    write(&sandbox.path("key"), b"x");
    let endpoint = format!("endpoint=http://{nobody}");
    let list = |more: &[&str]| {
        let run = sandbox.freezer(["list", "--from", "s3://bucket/x", "--storage-option", &endpoint]);
        let run = run.args([
            "--storage-option",
            "access-key=a",
            "--storage-option",
            "secret-key=@key",
        ]);
        run.args(["--storage-option", "region=r"]).args(more).start()
    };
    let (told, quiet, json) = (list(&[]), list(&["--quiet"]), list(&["--json"]));
    let told = told
        .wait()
        .expect(1)
        .says("waiting: s3://bucket/x: can't list")
        .says(" of 6)");
    let waiting = told
        .stderr
        .lines()
        .filter(|line| line.starts_with("waiting: "))
        .count();
    assert!((1..=4).contains(&waiting), "{told}");
    let told = told.says("next: check host and port");
    assert!(!told.stderr.contains("let this user"), "{told}");
    quiet.wait().expect(1).never_says("waiting:");
    json.wait().expect(1).never_says("waiting:");
}

#[test]
fn the_libraries_are_heard_only_on_request() {
    let sandbox = Sandbox::new();
    write(&sandbox.source().join("file"), b"content");
    let foreign = |run: freezer_tests::Finished| {
        let of_library = |line: &&str| {
            line.strip_prefix("debug: ")
                .is_some_and(|rest| !rest.starts_with("freezer"))
        };
        run.expect(0).stderr.lines().filter(of_library).count()
    };
    assert_eq!(foreign(sandbox.backup_command(&["-vv"]).run()), 0);
}

/// They become another user. `tests/run.sh` leaves them out where that is impossible.
mod needs_root {
    use super::*;

    use freezer_tests::{Program, freezer_binary, program};

    fn shell(sandbox: &Sandbox, script: &str) {
        program("sh")
            .args(["-ec", script])
            .cwd(&sandbox.path("."))
            .run()
            .expect(0);
    }

    fn as_user(sandbox: &Sandbox, user: u32, arguments: &[&str]) -> Program {
        sandbox
            .scrubbed(Path::new("setpriv"))
            .args([format!("--reuid={user}"), format!("--regid={user}")])
            .arg("--clear-groups")
            .arg(freezer_binary())
            .args(arguments)
            .env("HOME", sandbox.path(format!("home{user}")))
    }

    /// What an administrator does after each backup: it belongs to root then, and nobody else can replace or remove it.
    const SEAL: &str = "chown -R root:root store; find store -type d -exec chmod 1777 {} +; find store -type f -exec chmod 644 {} +";

    #[test]
    fn a_directory_that_lets_nothing_be_replaced_or_removed_takes_backups_and_gives_them_back() {
        const WRITER: u32 = 65_534;
        const READER: u32 = 65_533;
        let sandbox = Sandbox::new();
        write(&sandbox.source().join("file"), b"first");
        shell(
            &sandbox,
            "mkdir home65534 home65533 out; chmod 777 home65534 home65533 out; chmod a+rX . source; chmod 1777 store",
        );
        let url = sandbox.url();
        let backup = ["backup", "source", "--name", "t", "--host", "h", "--to", &url];
        as_user(&sandbox, WRITER, &backup).run().no_crash().expect(0);
        shell(&sandbox, SEAL);
        let sealed = files(&sandbox.store());
        let content = |paths: &[String]| {
            paths
                .iter()
                .map(|path| fs::read(path).expect(path))
                .collect::<Vec<_>>()
        };
        let before = content(&sealed);
        write(&sandbox.source().join("file"), b"second, and longer");
        as_user(&sandbox, WRITER, &backup).run().no_crash().expect(0);
        assert_eq!(
            files(&sandbox.store()).len(),
            2 * sealed.len(),
            "a level of its own"
        );
        // The writer may not take away what was sealed, by whatever verb.
        let prune = [
            "prune",
            "--name",
            "t",
            "--host",
            "h",
            "--from",
            &url,
            "--remove-before-date",
            "2100-01-01",
            "--now",
        ];
        as_user(&sandbox, WRITER, &prune).run().no_crash();
        assert_eq!(content(&sealed), before);
        // Who may only read checks and restores.
        shell(
            &sandbox,
            "chown -R root:root store; find store -type d -exec chmod 755 {} +; find store -type f -exec chmod 644 {} +",
        );
        as_user(&sandbox, READER, &["check", "--read-data", "--from", &url])
            .run()
            .no_crash()
            .expect(0);
        let restore = [
            "restore", "--name", "t", "--host", "h", "--from", &url, "--target", "out/back",
        ];
        as_user(&sandbox, READER, &restore).run().no_crash().expect(0);
        assert_eq!(
            fs::read(sandbox.path("out/back/file")).expect("restored"),
            b"second, and longer"
        );
    }

    #[test]
    fn a_folder_that_may_not_be_opened_hides_nothing_else() {
        let sandbox = Sandbox::new();
        write(&sandbox.source().join("file"), b"content");
        let url = sandbox.url();
        for name in ["aaa", "zzz"] {
            let backup = ["backup", "source", "--name", name, "--host", "h", "--to", &url];
            sandbox.freezer(backup).run().expect(0);
        }
        shell(
            &sandbox,
            "mkdir home65533; chmod 777 home65533; chmod -R a+rX .; mkdir store/my_own; chmod 700 store/metadata/tar/h_aaa store/my_own",
        );
        let run = |arguments: &[&str]| as_user(&sandbox, 65_533, arguments).run().no_crash();
        run(&["list", "--from", &url])
            .expect(3)
            .tells("zzz")
            .tells("metadata/tar/h_aaa can't be read")
            .tells("my_own can't be read");
        let checked = run(&["check", "--from", &url])
            .expect(1)
            .tells("unreadable: metadata/tar/h_aaa");
        assert!(!checked.text().contains("belongs to no backup"), "{checked}");
        let other = format!("local:{}", sandbox.path("home65533/other").display());
        run(&["copy", "--from", &url, "--to", &other])
            .expect(3)
            .tells("h_zzz level 0");
    }
}
