//! Backups in an account of Keystone, also together with the original's agent.

use std::fs;
use std::path::PathBuf;

use freezer_tests::{Mutator, Program, Server, assert_same, differences, program, workspace, write};
use rstest::rstest;

use crate::account::{Account, header};

mod needs_keystone_swift {
    use super::*;

    #[rstest]
    #[case::password("demo.osrc")]
    #[case::application_credential("credential.osrc")]
    fn a_login_finds_the_account(#[case] file: &str) {
        let mut account = on_keystone();
        account.login = osrc(&account, file);
        Mutator::new(51).change(&account.sandbox.source(), 30);
        account.backup(&["--max-segment-size", "64K"]);
        account.verb("check", &["--read-data"]).run().expect(0);
        let target = account.restore("out", &[]);
        assert_same(&account.sandbox.source(), &target, &[]);
    }

    #[test]
    fn a_token_is_enough_with_the_catalogue_or_an_address() {
        let mut account = on_keystone();
        write(&account.sandbox.source().join("f"), b"x");
        let auth = account.server.value("OS_AUTH_URL").to_owned();
        for other in [("os-auth-url", auth), ("os-storage-url", account.address.clone())] {
            account.login = vec![
                ("os-token".to_owned(), account.token.clone()),
                (other.0.to_owned(), other.1),
            ];
            account.backup(&["-vv"]).never_says(&account.token);
        }
        assert_eq!(account.levels(), [0, 1]);
        account.login[0].1 = "gAAAAAnonsense".to_owned();
        account
            .backup_command(&[])
            .run()
            .expect(1)
            .says("401")
            .never_says("gAAAAAnonsense");
    }

    #[test]
    fn wrong_logins_say_what_is_wrong() {
        let account = on_keystone();
        write(&account.sandbox.source().join("f"), b"x");
        let change = |name: &str, value: &str| {
            let mut login = osrc(&account, "demo.osrc");
            login.retain(|(other, _)| other != name);
            login.push((name.to_owned(), value.to_owned()));
            login
        };
        for (login, words) in [
            (
                change("os-password", "not-the-one"),
                "refuses the login of user \"demo\"",
            ),
            (change("os-project-name", "elsewhere"), "project \"elsewhere\""),
            (
                change("os-region-name", "Mars"),
                "in region \"Mars\"; there are: RegionOne",
            ),
            (change("os-user-domain-name", "Nowhere"), "domain \"Nowhere\""),
            (osrc(&account, "reader.osrc"), "403"),
        ] {
            account
                .backup_as(&login, &["-vv"])
                .run()
                .expect(1)
                .says(words)
                .never_says("not-the-one")
                .never_says("demo-secret")
                .never_says("gAAAAA");
        }
    }

    #[test]
    fn another_project_sees_nothing_of_it() {
        let account = on_keystone();
        write(&account.sandbox.source().join("f"), b"x");
        account.backup(&[]);
        let other = osrc(&account, "other.osrc");
        account
            .verb_as(&other, "list", &[])
            .run()
            .expect_any(&[0, 4])
            .never_says("committed");
        let mut trespassing = other;
        trespassing.push(("os-storage-url".to_owned(), account.address.clone()));
        account
            .verb_as(&trespassing, "list", &[])
            .run()
            .expect(1)
            .says("403");
    }
}

/// Together with the original's agent: these are left out where it isn't installed, as all of its tests.
mod needs_keystone_swift_and_agent {
    use super::*;

    /// Its tar restores neither xattrs nor ACLs, and its archives hold whole seconds.
    const OF_THE_ORIGINAL: &[&str] = &["--whole-seconds", "--ignore", "xattrs,holes"];

    fn agent(account: &Account, action: &str, more: &[&str]) -> Program {
        let mut run = account.sandbox.scrubbed(&agent_binary());
        for (name, value) in account
            .server
            .values()
            .filter(|(name, _)| name.starts_with("OS_"))
        {
            run = run.env(name, value);
        }
        run.env("OS_IDENTITY_API_VERSION", "3")
            .args([
                "--action",
                action,
                "--storage",
                "swift",
                "--container",
                &account.container,
            ])
            .args(["--backup-name", "t", "--hostname", "h"])
            .args(more)
    }

    #[test]
    fn the_agent_restores_ours() {
        let account = on_keystone();
        let sandbox = &account.sandbox;
        let mut mutator = Mutator::new(52);
        for _ in 0..2 {
            mutator.change(&sandbox.source(), 30);
            account.backup(&["--compat", "--max-segment-size", "64K"]);
        }
        let out = sandbox.path("out").display().to_string();
        agent(&account, "restore", &["--restore-abs-path", &out])
            .run()
            .expect(0);
        assert_close(&account, &mutator);
    }

    #[test]
    fn we_restore_the_agent_s_and_continue_it() {
        let account = on_keystone();
        let sandbox = &account.sandbox;
        let mut mutator = Mutator::new(53);
        let source = sandbox.source().display().to_string();
        for _ in 0..2 {
            mutator.change(&sandbox.source(), 30);
            agent(
                &account,
                "backup",
                &[
                    "--incremental",
                    "--path-to-backup",
                    &source,
                    "--max-segment-size",
                    "65536",
                ],
            )
            .run()
            .expect(0);
        }
        assert_eq!(account.levels(), [0, 1]);
        account.restore("out", &["--compat"]);
        assert_close(&account, &mutator);
        fs::remove_dir_all(sandbox.path("out")).expect("removed");
        mutator.change(&sandbox.source(), 10);
        account.backup(&["--compat"]);
        assert_eq!(account.levels(), [0, 1, 2]);
        let out = sandbox.path("out").display().to_string();
        agent(&account, "restore", &["--restore-abs-path", &out])
            .run()
            .expect(0);
        assert_close(&account, &mutator);
    }

    #[track_caller]
    fn assert_close(account: &Account, mutator: &Mutator) {
        let (source, out) = (account.sandbox.source(), account.sandbox.path("out"));
        if let Some(found) = differences(&source, &out, OF_THE_ORIGINAL) {
            panic!("{found}\n{}", mutator.log.join("\n"));
        }
    }

    fn agent_binary() -> PathBuf {
        let binary = workspace().join(".venv/bin/freezer-agent");
        assert!(
            binary.is_file(),
            "the original's agent is not installed in .venv: run `make setup`"
        );
        binary
    }
}

/// An account of Keystone's user "demo".
#[track_caller]
fn on_keystone() -> Account {
    let server = Server::shared("keystone-swift", || {
        let keystone = Server::shared("keystone", || Server::start("keystone", &[]));
        let folder = keystone.folder().display().to_string();
        Server::start("swift", &[("KEYSTONE", &folder)]).above(keystone)
    });
    let document = r#"{"auth": {
        "identity": {"methods": ["password"], "password": {"user":
            {"name": "demo", "domain": {"name": "Default"}, "password": "demo-secret"}}},
        "scope": {"project": {"name": "demo", "domain": {"name": "Default"}}}}}"#;
    let answer = program("curl")
        .args([
            "-sS",
            "-i",
            "-H",
            "Content-Type: application/json",
            "-d",
            document,
        ])
        .arg(format!("{}/auth/tokens", server.value("OS_AUTH_URL")))
        .run()
        .expect(0);
    let token = header(&answer, "x-subject-token");
    let text = answer.text();
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let project = body["token"]["project"]["id"]
        .as_str()
        .expect("a project")
        .to_owned();
    let address = format!("{}/v1/AUTH_{project}", server.value("SWIFT"));
    let mut account = Account::of(server, Vec::new(), (address, token));
    account.login = osrc(&account, "demo.osrc");
    account
}

/// The settings that an osrc file of the Keystone holds.
#[track_caller]
fn osrc(account: &Account, file: &str) -> Vec<(String, String)> {
    let path = PathBuf::from(account.server.value("KEYSTONE")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let setting = |line: &str| -> Option<(String, String)> {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        let name = name.to_lowercase().replace('_', "-");
        let known = !matches!(name.as_str(), "os-identity-api-version" | "os-auth-type");
        known.then(|| (name, value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(setting).collect()
}
