//! Retention with the real program: rules, two phases, pins, what killed runs left, the original's removal options.
//!
//! What needs many days is tested with a clock that is set by hand, beside the recipes.

use std::fs;

use freezer_tests::{Sandbox, assert_same, backups, write};

fn levels(sandbox: &Sandbox) -> Vec<u32> {
    backups(&sandbox.store(), "h_t").iter().map(|b| b.level).collect()
}

/// Backups with these options, each after a change.
fn history(sandbox: &Sandbox, steps: &[&[&str]]) {
    for options in steps {
        let number = backups(&sandbox.store(), "h_t").len();
        write(&sandbox.path(format!("source/step{number}")), b"x");
        sandbox.backup(options);
    }
}

#[test]
fn prune_tells_marks_and_removes_and_the_rest_restores() {
    let sandbox = Sandbox::new();
    let pass = sandbox.pass_file();
    let pass = ["--encrypt-pass-file", pass.to_str().expect("text")];
    let full = [pass[0], pass[1], "--full"];
    history(&sandbox, &[&pass, &pass, &full, &pass]);
    let rules = [pass[0], pass[1], "--keep-last", "2"];
    let dry = sandbox
        .verb("prune", &[&rules[..], &["--dry-run", "--json"]].concat())
        .run()
        .expect(0);
    let document = dry.json();
    let told = document["result"]["storages"][0]["names"][0]["backups"]
        .as_array()
        .expect("a list");
    let actions: Vec<&str> = told.iter().filter_map(|b| b["action"].as_str()).collect();
    assert_eq!(actions, ["remove", "remove", "keep", "keep"]);
    assert!(
        told.iter()
            .all(|backup| !backup["reasons"].as_array().expect("a list").is_empty())
    );
    assert!(
        !sandbox.store().join("freezer").exists(),
        "a dry run writes nothing"
    );
    sandbox
        .verb("prune", &rules)
        .run()
        .expect(0)
        .tells("2 kept, 2 marked to go after the grace, 0 removed");
    assert_eq!(levels(&sandbox), [0, 1, 0, 1]);
    let now = [&rules[..], &["--now"]].concat();
    sandbox.verb("prune", &now).run().expect(0).tells("2 removed");
    assert_eq!(levels(&sandbox), [0, 1]);
    assert_same(&sandbox.source(), &sandbox.restore("out", &pass), &[]);
    sandbox
        .verb("check", &[&pass[..], &["--read-data"]].concat())
        .run()
        .expect(0)
        .never_says("damage");
    // Nothing of the old chain is left, no folder either.
    let chains = fs::read_dir(sandbox.store().join("data/tar/h_t"))
        .expect("a folder")
        .count();
    assert_eq!(chains, 1);
    sandbox
        .verb("prune", &now)
        .run()
        .expect(0)
        .tells("2 kept, 0 marked");
}

#[test]
fn a_damaged_newest_backup_keeps_all_and_is_said() {
    let sandbox = Sandbox::new();
    history(&sandbox, &[&[], &["--full"]]);
    let newest = backups(&sandbox.store(), "h_t").pop().expect("two");
    fs::remove_file(newest.object(freezer_tests::Part::Data)).expect("rm");
    sandbox
        .verb("prune", &["--keep-last", "1", "--now"])
        .run()
        .expect(5)
        .tells("nothing of h_t is removed")
        .tells("freezer check");
    assert_eq!(levels(&sandbox), [0, 0]);
}

#[test]
fn pins_and_tags_keep_and_rules_come_from_the_configuration() {
    let sandbox = Sandbox::new();
    history(&sandbox, &[&["--tag", "monthly"], &["--full"], &["--full"]]);
    let url = sandbox.url();
    let config =
        format!("[backup.t]\nstorage = \"{url}\"\nhost = \"h\"\nkeep-last = 1\nkeep-tag = \"monthly\"\n");
    write(&sandbox.path("freezer.toml"), config.as_bytes());
    let prune = ["prune", "--config", "freezer.toml", "--name", "t", "--now"];
    sandbox
        .freezer(prune)
        .run()
        .expect(0)
        .tells("tag monthly")
        .tells("1 removed");
    let first = backups(&sandbox.store(), "h_t")[0].time.to_string();
    sandbox
        .freezer([
            "tag",
            "remove",
            "monthly",
            "--config",
            "freezer.toml",
            "--name",
            "t",
            "--at",
            &first,
        ])
        .run()
        .expect(0);
    sandbox
        .freezer([
            "tag",
            "pin",
            "--config",
            "freezer.toml",
            "--name",
            "t",
            "--at",
            &first,
        ])
        .run()
        .expect(0)
        .tells("pinned");
    sandbox
        .freezer(prune)
        .run()
        .expect(0)
        .tells("pinned")
        .tells("0 removed");
    sandbox
        .freezer([
            "tag",
            "unpin",
            "--config",
            "freezer.toml",
            "--name",
            "t",
            "--at",
            &first,
        ])
        .run()
        .expect(0);
    sandbox.freezer(prune).run().expect(0).tells("1 removed");
    assert_eq!(levels(&sandbox), [0]);
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

#[test]
fn leftovers_are_removed_after_two_looks() {
    let sandbox = Sandbox::new();
    history(&sandbox, &[&[]]);
    let zero = backups(&sandbox.store(), "h_t")[0].zero;
    let folder = sandbox
        .store()
        .join(format!("data/tar/h_t/{zero}/1_{}", zero + 1));
    write(&folder.join("claim"), b"0123456789abcdef");
    write(&folder.join("data"), b"half");
    let url = sandbox.url();
    let admin = |more: &[&str]| {
        sandbox
            .freezer(["admin", "--gc", "--from", &url])
            .args(more)
            .run()
            .expect(0)
    };
    admin(&["--remove"]).tells("young");
    assert!(folder.join("data").exists());
    admin(&["--grace", "0h", "--remove"]).tells("1 removed");
    assert!(!folder.exists());
    admin(&[]).tells("nothing is left over");
    assert_same(&sandbox.source(), &sandbox.restore("out", &[]), &[]);
}

#[test]
fn the_original_s_removal_options_remove_whole_chains() {
    let sandbox = Sandbox::new();
    history(&sandbox, &[&["--compat"], &["--compat"], &["--compat", "--full"]]);
    let agent = sandbox.path("freezer-agent");
    std::os::unix::fs::symlink(freezer_tests::freezer_binary(), &agent).expect("link");
    let store = sandbox.store();
    let store = store.to_str().expect("text");
    let place = [
        "--storage",
        "local",
        "--container",
        store,
        "-N",
        "t",
        "--hostname",
        "h",
    ];
    // The newest chain stays whatever the clock says.
    sandbox
        .scrubbed(&agent)
        .args(["--action", "admin", "--remove-before-date", "2999-01-01T00:00:00"])
        .args(place)
        .run()
        .expect(0);
    assert_eq!(levels(&sandbox), [0]);
    sandbox
        .scrubbed(&agent)
        .args([
            "--action",
            "admin",
            "-R",
            "1",
            "--remove-before-date",
            "2999-01-01T00:00:00",
        ])
        .args(place)
        .run()
        .expect(1)
        .tells("Critical Error: --remove-older-than and --remove-before-date are given together");
    // A backup with a removal option removes afterwards.
    let source = sandbox.source();
    sandbox
        .scrubbed(&agent)
        .args([
            "--action",
            "backup",
            "--remove-before-date",
            "2999-01-01T00:00:00",
            "-F",
        ])
        .arg(&source)
        .args(place)
        .run()
        .expect(0);
    assert_eq!(levels(&sandbox), [0]);
    assert_same(&source, &sandbox.restore("out", &["--compat"]), &[]);
    // Backups made in one second are dated a little ahead of the clock.
    std::thread::sleep(std::time::Duration::from_secs(4));
    // Older than nothing is everything, said in so many words.
    sandbox
        .scrubbed(&agent)
        .args(["--action", "admin", "--remove-older-than", "0"])
        .args(place)
        .run()
        .expect(0);
    assert_eq!(levels(&sandbox), Vec::<u32>::new());
}
