//! Backups in an account of tempauth.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{Mutator, assert_same, copy_tree, write};
use rstest::rstest;

use crate::account::{Account, tempauth};

mod needs_swift {
    use super::*;

    #[rstest]
    #[case::dynamic("false", "plain")]
    #[case::fixed("true", "prefix/ключ ё")]
    fn every_level_comes_back(#[case] slo: &str, #[case] prefix: &str) {
        let mut account = Account::new();
        account.container = format!("{}/{prefix}", account.container);
        account.login.push(("swift-slo".to_owned(), slo.to_owned()));
        let sandbox = &account.sandbox;
        sandbox.pass_file();
        let mut mutator = Mutator::new(41);
        let mut times = Vec::new();
        let pass = ["--encrypt-pass-file", "pass"];
        for level in 0..3 {
            mutator.change(&sandbox.source(), 40);
            account.backup(&[&pass[..], &["--max-segment-size", "64K"]].concat());
            copy_tree(&sandbox.source(), &sandbox.path(format!("state{level}")));
            times.push(newest_time(&account));
        }
        assert_eq!(account.levels(), [0, 1, 2]);
        account
            .verb("check", &[&pass[..], &["--read-data"]].concat())
            .run()
            .expect(0);
        for (level, time) in times.iter().enumerate() {
            let at = time.to_string();
            let target = account.restore(&format!("out{level}"), &[&pass[..], &["--at", &at]].concat());
            assert_same(&sandbox.path(format!("state{level}")), &target, &[]);
        }
    }

    #[test]
    fn plain_tools_restore_what_is_stored() {
        let account = Account::new();
        let sandbox = &account.sandbox;
        sandbox.pass_file();
        Mutator::new(42).change(&sandbox.source(), 60);
        account.backup(&[
            "--compat",
            "--encrypt-pass-file",
            "pass",
            "--max-segment-size",
            "64K",
        ]);
        let data = object(&account, "/data");
        let stored = sandbox.path("stored");
        let target = stored.display().to_string();
        account
            .ask(
                "GET",
                &format!("/{}/{data}", account.container),
                &["-f", "-o", &target],
            )
            .expect(0);
        fs::create_dir(sandbox.path("out")).expect("a directory");
        let script = "set -eo pipefail; openssl enc -d -aes-256-cfb -md sha256 -pass file:pass -in stored | gzip -d | \
             tar -x --incremental --xattrs --xattrs-include='*' --acls --warning=no-timestamp -C out";
        sandbox
            .scrubbed(Path::new("bash"))
            .args(["-c", script])
            .run()
            .expect(0);
        assert_same(&sandbox.source(), &sandbox.path("out"), &[]);
    }

    #[test]
    fn nothing_is_made_by_reading() {
        let account = Account::new();
        let url = account.url();
        account
            .freezer_as(&account.login, &["list", "--from", &url])
            .run()
            .expect_any(&[0, 4]);
        account.verb("check", &[]).run().expect_any(&[0, 4]);
        let listed = account.ask("HEAD", &format!("/{}", account.container), &["-I"]);
        assert!(listed.text().contains("404"), "{listed}");
    }

    #[test]
    fn a_flipped_byte_on_the_server_s_disk_is_found() {
        let account = Account::new();
        let sandbox = &account.sandbox;
        let options = account.many_segments();
        account.backup(options);
        let names = account.segments();
        let name = &names[names.len() / 2];
        let file = file_of(&account, name);
        let mut bytes = fs::read(&file).expect("the object's file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("written");
        account.verb("check", &["--read-data"]).run().expect(5);
        let out = sandbox.path("out");
        account
            .verb("restore", &["--target"])
            .arg(&out)
            .run()
            .expect_any(&[1, 3, 5])
            .no_crash();
    }

    #[test]
    fn a_used_up_quota_is_named_and_leaves_nothing() {
        let account = Account::new();
        account.make(&["X-Container-Meta-Quota-Bytes: 1000"]);
        let options = account.many_segments();
        account
            .backup_command(options)
            .run()
            .expect(1)
            .says("quota")
            .says("413");
        assert!(account.levels().is_empty());
        assert!(account.objects().is_empty(), "left: {:?}", account.objects());
    }

    #[test]
    fn a_killed_backup_leaves_no_half_and_the_next_one_works() {
        let account = Account::at(freezer_tests::Server::start("swift", &[]));
        let options = account.many_segments();
        let mut running = account.backup_command(options).start();
        assert!(account.stop_in_the_middle(&mut running), "it ended too soon");
        running.signal(rustix::process::Signal::KILL);
        running.wait();
        assert!(account.levels().is_empty());
        account.backup(options);
        assert_eq!(account.levels(), [0]);
        let target = account.restore("out", &[]);
        assert_same(&account.sandbox.source(), &target, &[]);
    }

    #[test]
    fn wrong_logins_say_what_is_wrong_and_not_the_key() {
        let account = Account::new();
        write(&account.sandbox.source().join("f"), b"x");
        for (user, key) in [("test:tester", "wrong-secret"), ("test:nobody", "testing-secret")] {
            let login = tempauth(&account.server, user, key);
            account
                .backup_as(&login, &["-vv"])
                .run()
                .expect(1)
                .says("refuses the login")
                .says(user)
                .never_says(key);
        }
        // Rights in no container at all.
        let login = tempauth(&account.server, "test:reader", "reading");
        account
            .backup_as(&login, &[])
            .run()
            .expect(1)
            .says("not permitted")
            .says("403");
        let mut nowhere = account.login.clone();
        nowhere[0].1 = "http://127.0.0.1:1/auth/v1.0".to_owned();
        account
            .verb_as(&nowhere, "list", &[])
            .run()
            .expect_any(&[1, 2])
            .no_crash();
    }

    #[test]
    fn access_lists_let_one_write_and_another_read() {
        let account = Account::new();
        account.make(&[
            "X-Container-Write: test:writer",
            "X-Container-Read: test:writer,test:reader",
            "X-Versions-Enabled: true",
        ]);
        let options = account.many_segments();
        let writer = tempauth(&account.server, "test:writer", "writing");
        let reader = tempauth(&account.server, "test:reader", "reading");
        account.backup_as(&writer, options).run().expect(0);
        account.backup_as(&reader, options).run().expect(1).says("403");
        account
            .verb_as(&reader, "check", &["--read-data"])
            .run()
            .expect(0);
        let out = account.sandbox.path("out");
        account
            .verb_as(&reader, "restore", &["--target"])
            .arg(&out)
            .run()
            .expect(0);
        assert_same(&account.sandbox.source(), &out, &[]);
        // Whoever steals the writer's key can delete, but not for ever.
        let metadata = object(&account, "/metadata");
        let path = format!("/{}/{metadata}", account.container);
        let stolen = account.token_of("test:writer", "writing");
        let deleted = account.ask_as(&stolen, "DELETE", &path, &["-f"]);
        deleted.expect(0);
        assert!(account.levels().is_empty());
        let versions = account.ask("GET", &format!("/{}?versions", account.container), &["-f"]);
        assert!(versions.text().contains(&metadata), "{versions}");
    }

    #[test]
    fn no_secret_is_in_any_output() {
        let account = Account::new();
        write(&account.sandbox.source().join("f"), b"x");
        let (key, token) = ("testing", account.token.as_str());
        let clean = |run: freezer_tests::Finished| {
            run.never_says(token)
                .never_says(&format!("={key}"))
                .never_says(&format!("{key}\""));
        };
        clean(account.backup_command(&["-vv"]).run().expect(0));
        clean(account.verb("check", &["-vv", "--read-data"]).run().expect(0));
        let out = account.sandbox.path("out");
        clean(
            account
                .verb("restore", &["-vv", "--target"])
                .arg(out)
                .run()
                .expect(0),
        );
        let manifest = object(&account, "/manifest");
        let stored = account.ask("GET", &format!("/{}/{manifest}", account.container), &["-f"]);
        clean(stored.expect(0));
    }
}

/// The only object whose name ends so.
#[track_caller]
fn object(account: &Account, end: &str) -> String {
    let objects = account.objects();
    let found = objects.iter().find(|name| name.ends_with(end));
    found.unwrap_or_else(|| panic!("no {end} in {objects:?}")).clone()
}

/// The time of the newest backup, by the name of its folder.
fn newest_time(account: &Account) -> i64 {
    let (container, prefix) = account
        .container
        .split_once('/')
        .unwrap_or((&account.container, ""));
    let listed = account.ask("GET", &format!("/{container}"), &["-f"]);
    let of = |name: &str| -> Option<i64> {
        let folder = name.strip_prefix(prefix)?.strip_suffix("/metadata")?;
        folder.rsplit_once('_')?.1.parse().ok()
    };
    listed.text().lines().filter_map(of).max().expect("a backup")
}

/// The file in which the server keeps an object, found by its content.
#[track_caller]
fn file_of(account: &Account, name: &str) -> PathBuf {
    let content = account
        .ask("GET", &format!("/{}/{name}", account.container), &["-f"])
        .expect(0)
        .stdout;
    let mut folders = vec![account.server.folder().join("data/d1/objects")];
    while let Some(folder) = folders.pop() {
        // Other tests add and remove files meanwhile.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "data")
                && fs::metadata(&path).is_ok_and(|facts| facts.len() == content.len() as u64)
                && fs::read(&path).is_ok_and(|bytes| bytes == content)
            {
                return path;
            }
        }
    }
    panic!("no file holds {name}");
}
