//! What the tests share: an account of a Swift, looked into by curl and not by our code, and freezer logged in to it.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use freezer_tests::{Finished, Program, Running, Sandbox, Server, program};

/// An account, a container of one test in it, and a sandbox.
pub(crate) struct Account {
    pub(crate) sandbox: Sandbox,
    pub(crate) server: Server,
    /// A container, perhaps with a prefix.
    pub(crate) container: String,
    /// Settings by which freezer logs in.
    pub(crate) login: Vec<(String, String)>,
    pub(crate) address: String,
    pub(crate) token: String,
}

/// The settings of tempauth for one of its users.
pub(crate) fn tempauth(server: &Server, user: &str, key: &str) -> Vec<(String, String)> {
    [
        ("st-auth", server.value("ST_AUTH")),
        ("st-user", user),
        ("st-key", key),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl Account {
    /// An account of tempauth at a shared server.
    pub(crate) fn new() -> Self {
        Self::at(Server::shared("swift", || Server::start("swift", &[])))
    }

    /// The same at this server.
    #[track_caller]
    pub(crate) fn at(server: Server) -> Self {
        let login = tempauth(&server, USUAL.0, USUAL.1);
        let account = log_in(&server, USUAL);
        Self::of(server, login, account)
    }

    /// Takes a new token if the old one has expired.
    #[track_caller]
    pub(crate) fn renew(&mut self) {
        self.token = log_in(&self.server, USUAL).1;
    }

    /// A token of another user.
    #[track_caller]
    pub(crate) fn token_of(&self, user: &str, key: &str) -> String {
        log_in(&self.server, (user, key)).1
    }

    /// An account whose address and token are known.
    pub(crate) fn of(
        server: Server,
        login: Vec<(String, String)>,
        (address, token): (String, String),
    ) -> Self {
        let sandbox = Sandbox::new();
        let unique = sandbox
            .path("")
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Self {
            container: format!("c{}", unique.unwrap_or_default()),
            sandbox,
            server,
            login,
            address,
            token,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("swift://{}", self.container)
    }

    /// freezer with these settings: those of a login by the usual variables, others by options.
    pub(crate) fn freezer_as(&self, login: &[(String, String)], arguments: &[&str]) -> Program {
        let mut run = self.sandbox.freezer(arguments);
        for (name, value) in login {
            run = match name.as_bytes() {
                [b'o' | b's', b's' | b't', b'-', ..] => {
                    run.env(&name.to_uppercase().replace('-', "_"), value)
                }
                _ => run.args(["--storage-option", &format!("{name}={value}")]),
            };
        }
        run
    }

    pub(crate) fn backup_as(&self, login: &[(String, String)], more: &[&str]) -> Program {
        let (source, url) = (self.sandbox.source(), self.url());
        let source = source.display().to_string();
        self.freezer_as(
            login,
            &["backup", &source, "--name", "t", "--host", "h", "--to", &url],
        )
        .args(more)
    }

    pub(crate) fn backup_command(&self, more: &[&str]) -> Program {
        self.backup_as(&self.login, more)
    }

    #[track_caller]
    pub(crate) fn backup(&self, more: &[&str]) -> Finished {
        self.backup_command(more).run().expect(0)
    }

    pub(crate) fn verb(&self, verb: &str, more: &[&str]) -> Program {
        self.verb_as(&self.login, verb, more)
    }

    pub(crate) fn verb_as(&self, login: &[(String, String)], verb: &str, more: &[&str]) -> Program {
        let url = self.url();
        self.freezer_as(login, &[verb, "--name", "t", "--host", "h", "--from", &url])
            .args(more)
    }

    #[track_caller]
    pub(crate) fn restore(&self, target: &str, more: &[&str]) -> PathBuf {
        let path = self.sandbox.path(target);
        self.verb("restore", more)
            .arg("--target")
            .arg(&path)
            .run()
            .expect(0);
        path
    }

    /// The levels that `freezer list` shows.
    #[track_caller]
    pub(crate) fn levels(&self) -> Vec<u64> {
        let url = self.url();
        let listed = self
            .freezer_as(&self.login, &["list", "--from", &url, "--json"])
            .run()
            .expect_any(&[0, 4]);
        let backups = listed.json();
        let levels = backups["result"]["backups"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        levels
            .iter()
            .filter_map(|backup| backup["level"].as_u64())
            .collect()
    }

    /// A request with the tests' own token. `path` stands behind the account's address, encoded.
    pub(crate) fn ask(&self, method: &str, path: &str, more: &[&str]) -> Finished {
        self.ask_as(&self.token, method, path, more)
    }

    /// The same with another token.
    pub(crate) fn ask_as(&self, token: &str, method: &str, path: &str, more: &[&str]) -> Finished {
        program("curl")
            .args(["-sS", "-X", method, "-H"])
            .arg(format!("X-Auth-Token: {token}"))
            .args(more)
            .arg(format!("{}{path}", self.address))
            .run()
    }

    /// Makes the container, with headers.
    #[track_caller]
    pub(crate) fn make(&self, headers: &[&str]) {
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        let path = format!("/{}", self.container);
        self.ask("PUT", &path, &[&["-f"], &headers[..]].concat())
            .expect(0);
    }

    /// The names of all objects in the container.
    pub(crate) fn objects(&self) -> Vec<String> {
        let listed = self.ask("GET", &format!("/{}", self.container), &["-f"]);
        listed.text().lines().map(str::to_owned).collect()
    }

    /// The names of segments of the data object.
    pub(crate) fn segments(&self) -> Vec<String> {
        let is_segment = |name: &String| {
            name.contains("/segments/data.") && name.ends_with(|last: char| last.is_ascii_digit())
        };
        self.objects()
            .into_iter()
            .filter(|name| is_segment(name) && name.matches('/').count() == 7)
            .collect()
    }

    /// Stops a running backup as soon as it has stored a segment; false if it ended before.
    pub(crate) fn stop_in_the_middle(&self, running: &mut Running) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(100) && !running.ended() {
            if self.stores_segments() {
                running.signal(rustix::process::Signal::STOP);
                return true;
            }
            sleep(Duration::from_millis(2));
        }
        false
    }

    /// True if the server's disk holds a file of some size, and only this test's backup could have made it: without a token, which
    /// may expire.
    fn stores_segments(&self) -> bool {
        let mut folders = vec![self.server.folder().join("data/d1/objects")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::metadata(&path).is_ok_and(|facts| facts.len() == 64 << 10) {
                    return true;
                }
            }
        }
        false
    }

    /// A tree whose backup takes many requests.
    pub(crate) fn many_segments(&self) -> &'static [&'static str] {
        let mut random = freezer_tests::Random::new(7);
        for number in 0..60 {
            let noise: Vec<u8> = (0..25_000).flat_map(|_| random.word().to_le_bytes()).collect();
            freezer_tests::write(&self.sandbox.source().join(number.to_string()), &noise);
        }
        &["--max-segment-size", "64K", "--compression", "none"]
    }
}

/// The owner of tempauth's account.
const USUAL: (&str, &str) = ("test:tester", "testing");

/// The account's address and a token of a user of tempauth.
#[track_caller]
fn log_in(server: &Server, (user, key): (&str, &str)) -> (String, String) {
    let answer = program("curl")
        .args([
            "-sS",
            "-i",
            "-H",
            &format!("X-Auth-User: {user}"),
            "-H",
            &format!("X-Auth-Key: {key}"),
        ])
        .arg(server.value("ST_AUTH"))
        .run()
        .expect(0);
    (header(&answer, "x-storage-url"), header(&answer, "x-auth-token"))
}

/// A header of curl's `-i`, by its name in lower case.
#[track_caller]
pub(crate) fn header(answer: &Finished, name: &str) -> String {
    let text = answer.text();
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.to_ascii_lowercase() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| panic!("no header {name}\n{answer}"))
}

/// Waits for a condition of the server, at most a minute.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        sleep(Duration::from_millis(100));
    }
}
