//! Storage `ssh` against a real OpenSSH server: every way to log in, machines that aren't the right ones, connections and disks that
//! fail. `tests/run.sh` leaves out what is in `needs_sshd` where no server can be started.

mod needs_sshd {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use freezer_tests::{Finished, Program, Random, Sandbox, Server, assert_same, program, write};

    /// The exit code when a storage can't be used.
    const REFUSED: i32 = 1;

    /// A sandbox with a container of its own on the server.
    struct Vault {
        server: Server,
        sandbox: Sandbox,
        container: String,
        user: String,
    }

    impl Vault {
        fn shared() -> Self {
            Self::on(Server::shared("sshd", || Server::start("sshd", &[])), "USER")
        }

        fn own(options: &[(&str, &str)]) -> Self {
            Self::on(Server::start("sshd", options), "USER")
        }

        fn on(server: Server, user: &str) -> Self {
            let sandbox = Sandbox::new();
            let name = sandbox
                .path("")
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let user = server.value(user).to_owned();
            Self {
                container: format!("~/{name}"),
                server,
                sandbox,
                user,
            }
        }

        fn file(&self, name: &str) -> String {
            self.server.folder().join(name).display().to_string()
        }

        fn url(&self) -> String {
            let port = self.server.value("PORT");
            format!("ssh://{}@127.0.0.1:{port}/{}", self.user, self.container)
        }

        fn secret(&self) -> &str {
            self.server.value("SECRET")
        }

        fn option(name: &str, value: &str) -> [String; 2] {
            ["--storage-option".to_owned(), format!("{name}={value}")]
        }

        /// Any verb on the container, with the server's machine known and nothing said about the login.
        fn verb(&self, verb: &[&str], place: &str) -> Program {
            self.sandbox
                .freezer(verb)
                .args(["--name", "t", "--host", "h", place, &self.url()])
                .args(Self::option("ssh-known-hosts", &self.file("known_hosts")))
        }

        fn backup(&self) -> Program {
            let source = self.sandbox.source().display().to_string();
            self.verb(&["backup", &source, "--compression", "none"], "--to")
        }

        fn by_key(&self, run: Program, key: &str) -> Program {
            run.args(Self::option("ssh-key", &self.file(key)))
        }

        fn restore(&self, target: &str, key: &str) -> PathBuf {
            let place = self.sandbox.path(target);
            self.by_key(self.verb(&["restore"], "--from"), key)
                .arg("--target")
                .arg(&place)
                .run()
                .expect(0);
            place
        }

        fn small_tree(&self) {
            write(&self.sandbox.source().join("folder/a"), b"one");
            write(&self.sandbox.source().join("b"), &[7; 5000]);
        }

        /// Bytes that no compression makes smaller, in segments enough for all connections.
        fn large_tree(&self, megabytes: usize) {
            let mut random = Random::new(4711);
            for number in 0..megabytes / 8 {
                write(
                    &self.sandbox.source().join(format!("file{number}")),
                    &random.bytes(8 << 20),
                );
            }
        }

        fn home(&self) -> PathBuf {
            Path::new("/home")
                .join(&self.user)
                .join(self.container.trim_start_matches("~/"))
        }
    }

    impl Drop for Vault {
        fn drop(&mut self) {
            if self.container.starts_with("~/") {
                drop(fs::remove_dir_all(self.home()));
            }
        }
    }

    /// Levels 0 and 1, listed, checked and restored.
    fn round(vault: &Vault, login: impl Fn(Program) -> Program) {
        vault.small_tree();
        login(vault.backup()).run().expect(0).no_crash();
        write(&vault.sandbox.source().join("folder/c"), b"three");
        login(vault.backup()).run().expect(0);
        let list = login(vault.verb(&["list", "--json"], "--from")).run().expect(0);
        assert_eq!(list.text().matches("\"level\":").count(), 2, "{list}");
        login(vault.verb(&["check", "--read-data"], "--from"))
            .run()
            .expect(0);
        let target = vault.sandbox.path("out");
        login(vault.verb(&["restore"], "--from"))
            .arg("--target")
            .arg(&target)
            .run()
            .expect(0);
        assert_same(&vault.sandbox.source(), &target, &[]);
    }

    #[test]
    fn every_kind_of_key_logs_in() {
        for key in [
            "user_ed25519",
            "user_ecdsa",
            "user_rsa",
            "user_rsa_pem",
            "user_ecdsa_pem",
        ] {
            let vault = Vault::shared();
            round(&vault, |run| vault.by_key(run, key));
        }
    }

    #[test]
    fn a_key_with_a_passphrase_logs_in_and_no_wrong_one_does() {
        let vault = Vault::shared();
        let locked = |run| vault.by_key(run, "user_ed25519_locked");
        round(&vault, |run| {
            locked(run).env("FREEZER_SSH_KEY_PASSPHRASE", vault.secret())
        });
        locked(vault.backup())
            .env("FREEZER_SSH_KEY_PASSPHRASE", "quite-wrong")
            .run()
            .expect(REFUSED)
            .says("the passphrase doesn't open the key")
            .never_says("quite-wrong");
        locked(vault.backup())
            .run()
            .expect(REFUSED)
            .says("has a passphrase: give it with the setting ssh-key-passphrase");
    }

    #[test]
    fn a_password_logs_in_and_is_never_shown() {
        let vault = Vault::shared();
        let secret = vault.secret().to_owned();
        round(&vault, |run| run.env("FREEZER_SSH_PASSWORD", &secret));
        vault
            .backup()
            .arg("-vv")
            .env("FREEZER_SSH_PASSWORD", &secret)
            .run()
            .expect(0)
            .never_says(&secret);
        let wrong = vault
            .backup()
            .arg("-vv")
            .env("FREEZER_SSH_PASSWORD", "quite-wrong")
            .run();
        wrong
            .expect(REFUSED)
            .says("refused the password; it takes: publickey, password")
            .never_says("quite-wrong");
        let state = program("grep")
            .args(["-rl", &secret])
            .arg(vault.sandbox.path("home"))
            .run();
        assert_eq!(state.text(), "", "the password lies in a file");
    }

    /// An agent that ends with the test.
    struct Agent {
        socket: PathBuf,
        pid: String,
    }

    impl Agent {
        fn start(vault: &Vault, key: Option<&str>) -> Self {
            let socket = vault.sandbox.path("agent");
            let said = program("ssh-agent").arg("-a").arg(&socket).run().expect(0).text();
            let pid = said
                .split("SSH_AGENT_PID=")
                .nth(1)
                .and_then(|rest| rest.split(';').next());
            let agent = Self {
                socket,
                pid: pid.unwrap_or_default().to_owned(),
            };
            if let Some(key) = key {
                program("ssh-add")
                    .arg(vault.file(key))
                    .env("SSH_AUTH_SOCK", &agent.socket)
                    .run()
                    .expect(0);
            }
            agent
        }
    }

    impl Drop for Agent {
        fn drop(&mut self) {
            drop(program("kill").arg(&self.pid).run());
        }
    }

    #[test]
    fn an_agent_logs_in_and_its_lack_is_told() {
        let vault = Vault::shared();
        let agent = Agent::start(&vault, Some("user_ecdsa"));
        round(&vault, |run| run.env("SSH_AUTH_SOCK", &agent.socket));
        vault
            .backup()
            .run()
            .expect(2)
            .says("there is no agent to log in by")
            .says("next: check user name, password, key or token");
        let absent = vault.sandbox.path("absent");
        vault
            .backup()
            .env("SSH_AUTH_SOCK", absent)
            .run()
            .expect(REFUSED)
            .says("can't ask the agent");
        let other = Vault::shared();
        let empty = Agent::start(&other, None);
        other
            .backup()
            .env("SSH_AUTH_SOCK", &empty.socket)
            .run()
            .expect(REFUSED)
            .says("holds no key");
    }

    #[test]
    fn an_account_in_a_chroot_without_a_shell_will_do() {
        let mut vault = Vault::shared();
        vault.user = vault.server.value("JAILED").to_owned();
        let name = vault.container.trim_start_matches("~/").to_owned();
        vault.container = format!("upload/{name}");
        round(&vault, |run| vault.by_key(run, "user_ed25519"));
        fs::remove_dir_all(Path::new(vault.server.value("JAIL")).join("upload").join(name)).unwrap();
    }

    #[test]
    fn a_strange_key_is_refused_with_what_the_server_takes() {
        let vault = Vault::shared();
        vault.small_tree();
        vault
            .by_key(vault.backup(), "stranger")
            .run()
            .expect(REFUSED)
            .says("it takes: publickey, password")
            .says("next: check user name, password, key or token")
            .never_says("let this user");
        vault
            .by_key(vault.backup(), "absent")
            .run()
            .expect(REFUSED)
            .says("can't read the key");
        vault
            .by_key(vault.backup(), "known_hosts")
            .run()
            .expect(REFUSED)
            .says("holds no private key");
    }

    #[test]
    fn an_unknown_machine_is_refused_until_it_is_accepted_or_written_down() {
        let vault = Vault::shared();
        vault.small_tree();
        let own = vault.sandbox.path("known/hosts").display().to_string();
        let run = |more: &[String]| {
            let source = vault.sandbox.source().display().to_string();
            let run = vault.sandbox.freezer([
                "backup",
                &source,
                "--name",
                "t",
                "--host",
                "h",
                "--to",
                &vault.url(),
            ]);
            vault.by_key(run, "user_ed25519").args(more).run()
        };
        let known = Vault::option("ssh-known-hosts", &own);
        let refused = run(&known)
            .expect(REFUSED)
            .says("isn't a known machine")
            .says("--storage-option ssh-accept-new=true")
            .says("next: compare the fingerprint")
            .never_says("let this user");
        let line = refused
            .stderr
            .split("add this line to ")
            .nth(1)
            .and_then(|rest| rest.split_once(": "));
        let line = line
            .and_then(|(_, rest)| rest.split_once(" (or"))
            .map(|(line, _)| line.to_owned());
        assert!(!Path::new(&own).exists(), "a refused machine was written down");
        let accepted = [known.to_vec(), Vault::option("ssh-accept-new", "true").to_vec()].concat();
        run(&accepted).expect(0);
        run(&known).expect(0);
        let written = fs::read_to_string(&own).unwrap();
        assert_eq!(
            Some(written.trim_end()),
            line.as_deref(),
            "the line that was told is the one that was written"
        );
        // Without a file of one's own, the user's usual one counts; names may be hashed.
        let usual = vault.sandbox.path("home/.ssh/known_hosts");
        run(&[]).expect(REFUSED).says("isn't a known machine");
        write(&usual, written.as_bytes());
        program("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(&usual)
            .run()
            .expect(0);
        assert!(!fs::read_to_string(&usual).unwrap().contains("127.0.0.1"));
        run(&[]).expect(0);
        let revoked = format!(
            "@revoked * {}\n{written}",
            written.split_once(' ').unwrap_or_default().1
        );
        write(&usual, revoked.as_bytes());
        run(&[]).expect(REFUSED).says("was revoked");
    }

    #[test]
    fn a_machine_known_by_any_kind_of_its_keys_is_asked_for_that_one() {
        let vault = Vault::shared();
        vault.small_tree();
        let all = fs::read_to_string(vault.file("known_hosts")).unwrap();
        for line in all.lines() {
            let one = vault.sandbox.path("one");
            write(&one, line.as_bytes());
            let source = vault.sandbox.source().display().to_string();
            let run = vault.sandbox.freezer([
                "backup",
                &source,
                "--name",
                "t",
                "--host",
                "h",
                "--to",
                &vault.url(),
            ]);
            let known = Vault::option("ssh-known-hosts", &one.display().to_string());
            vault.by_key(run, "user_ed25519").args(known).run().expect(0);
        }
    }

    #[test]
    fn a_machine_whose_key_changed_is_refused_whatever_is_set() {
        let vault = Vault::own(&[("OTHER_KEYS", "1")]);
        vault.small_tree();
        let accept = Vault::option("ssh-accept-new", "true");
        let before = fs::read_to_string(vault.file("known_hosts")).unwrap();
        vault
            .by_key(vault.backup(), "user_ed25519")
            .args(accept)
            .run()
            .expect(REFUSED)
            .says("is not the one in")
            .says("somebody may be in between")
            .says("next: send nothing there before you know why its key changed");
        assert_eq!(fs::read_to_string(vault.file("known_hosts")).unwrap(), before);
    }

    #[test]
    fn a_full_disk_is_named_and_leaves_no_backup() {
        let mut vault = Vault::on(Server::start("sshd", &[("SIZE", "24M")]), "JAILED");
        vault.container = "upload/backups".to_owned();
        vault.large_tree(40);
        let failed = vault.by_key(vault.backup(), "user_ed25519").run();
        failed.expect(REFUSED).says("file system is full").no_crash();
        for file in fs::read_dir(vault.sandbox.source()).unwrap().skip(1) {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        vault.by_key(vault.backup(), "user_ed25519").run().expect(0);
        assert_same(
            &vault.sandbox.source(),
            &vault.restore("out", "user_ed25519"),
            &[],
        );
    }

    #[test]
    fn many_segments_go_over_several_connections_and_come_back() {
        let vault = Vault::own(&[]);
        vault.large_tree(96);
        let log = vault.file("log/sshd");
        vault.by_key(vault.backup(), "user_ed25519").run().expect(0);
        let logins = fs::read_to_string(&log)
            .unwrap()
            .matches("Accepted publickey")
            .count();
        assert!((2..=8).contains(&logins), "{logins} connections");
        assert_same(
            &vault.sandbox.source(),
            &vault.restore("out", "user_ed25519"),
            &[],
        );
    }

    /// True while a segment is being written.
    fn is_writing(vault: &Vault) -> bool {
        let found = program("find")
            .arg(vault.home())
            .args(["-name", ".data.*.partial", "-size", "+9M"])
            .run();
        !found.text().is_empty()
    }

    #[track_caller]
    fn interrupted(vault: &Vault, act: impl FnOnce()) -> Finished {
        let run = vault
            .by_key(vault.backup(), "user_ed25519")
            .limit(Duration::from_secs(200));
        let mut running = run.start();
        assert!(running.until(|| is_writing(vault)), "nothing was being written");
        act();
        running.wait()
    }

    #[test]
    fn connections_that_are_cut_are_made_anew_and_the_backup_is_whole() {
        let vault = Vault::own(&[]);
        vault.large_tree(160);
        interrupted(&vault, || vault.server.act("cut")).expect(0);
        assert_same(
            &vault.sandbox.source(),
            &vault.restore("out", "user_ed25519"),
            &[],
        );
        vault
            .by_key(vault.verb(&["check", "--read-data"], "--from"), "user_ed25519")
            .run()
            .expect(0);
    }

    #[test]
    fn a_server_that_goes_away_fails_the_backup_and_a_later_run_succeeds() {
        let mut vault = Vault::own(&[]);
        vault.large_tree(160);
        let failed = interrupted(&vault, || vault.server.act("crash"));
        failed.expect(REFUSED).says("127.0.0.1").no_crash();
        let list = |vault: &Vault| {
            vault
                .by_key(vault.verb(&["list", "--json"], "--from"), "user_ed25519")
                .run()
        };
        vault.server.up();
        assert!(
            !list(&vault).text().contains("\"level\":"),
            "a broken backup is listed"
        );
        vault.by_key(vault.backup(), "user_ed25519").run().expect(0);
        assert_same(
            &vault.sandbox.source(),
            &vault.restore("out", "user_ed25519"),
            &[],
        );
    }
}
