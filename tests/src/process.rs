//! Runs a program with a time limit and keeps everything it said.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a program was told and what it answered.
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shorten = |text: &str| -> String {
            let mut kept: String = text.chars().take(6000).collect();
            if kept.len() < text.len() {
                kept.push('…');
            }
            kept
        };
        write!(
            f,
            "$ {}\nexit code {:?}, signal {:?}, {:.2} s\n--- stdout\n{}\n--- stderr\n{}\n---",
            shorten(&self.line),
            self.code,
            self.signal,
            self.elapsed.as_secs_f64(),
            shorten(&String::from_utf8_lossy(&self.stdout)),
            shorten(&self.stderr)
        )
    }
}

impl Finished {
    /// Panics with the whole transcript unless the program ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Panics unless it ended with one of these codes.
    #[track_caller]
    pub fn expect_any(self, codes: &[i32]) -> Self {
        assert!(
            self.code.is_some_and(|code| codes.contains(&code)),
            "expected one of {codes:?}\n{self}"
        );
        self
    }

    /// Panics unless standard error holds the words, compared without regard to case.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.to_lowercase().contains(&words.to_lowercase()),
            "standard error lacks {words:?}\n{self}"
        );
        self
    }

    /// Panics unless one of the outputs holds the words.
    #[track_caller]
    pub fn tells(self, words: &str) -> Self {
        let told = self.stderr.contains(words) || self.text().contains(words);
        assert!(told, "the outputs lack {words:?}\n{self}");
        self
    }

    /// Panics when either output holds the words.
    #[track_caller]
    pub fn never_says(self, words: &str) -> Self {
        let hit = self.stderr.contains(words) || String::from_utf8_lossy(&self.stdout).contains(words);
        assert!(!hit, "output holds {words:?}\n{self}");
        self
    }

    /// Panics when the program crashed rather than reported: a panic message, or a signal that is a fault.
    #[track_caller]
    pub fn no_crash(self) -> Self {
        let crashed = self.stderr.contains("panicked at")
            || self.stderr.contains("RUST_BACKTRACE")
            || matches!(self.signal, Some(4 | 6 | 7 | 8 | 11))
            || self.code == Some(101);
        assert!(!crashed, "the program crashed\n{self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON document, or its last line as one.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text)
            .or_else(|_| serde_json::from_str(text.lines().next_back().unwrap_or_default()))
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{self}"))
    }
}

/// A program about to run. Its environment is empty but for `PATH` and what is set here.
pub struct Program {
    command: Command,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// A program by name or path, with an empty environment but for `PATH`.
pub fn program(name: impl AsRef<OsStr>) -> Program {
    let mut command = Command::new(name);
    command.env_clear().env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    Program {
        command,
        stdin: None,
        limit: Duration::from_secs(300),
    }
}

impl Program {
    /// Appends one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Appends arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable out of its environment.
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in this directory.
    pub fn cwd(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it where these shell commands ran before, in a mount namespace of its own.
    pub fn in_mounts(mut self, commands: &str) -> Self {
        let inner = std::mem::replace(&mut self.command, Command::new("unshare"));
        let script = format!("{commands}\nexec \"$@\"");
        self.command
            .env_clear()
            .args(["--mount", "--propagation", "private", "sh", "-ec", &script, "sh"])
            .arg(inner.get_program())
            .args(inner.get_args());
        let variables = inner.get_envs();
        self.command
            .envs(variables.filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = inner.get_current_dir() {
            self.command.current_dir(directory);
        }
        self
    }

    /// Feeds it these bytes.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Kills it after this time; the default is five minutes.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let mut line = self.command.get_program().to_string_lossy().into_owned();
        for argument in self.command.get_args() {
            line.push(' ');
            line.push_str(&quote(argument));
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.stdin(if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A program that closes its input early is no failure of the harness.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Running {
            child,
            line,
            stdout,
            stderr,
            started: Instant::now(),
            limit: self.limit,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Finished {
        self.start().wait()
    }
}

/// A started program.
pub struct Running {
    child: Child,
    line: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    started: Instant,
    limit: Duration,
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; one that has ended already is left alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The only failure is that it has ended, which wait() reports better.
            kill_process(pid, signal).ok();
        }
    }

    /// True while it has a file open whose path begins and ends so.
    pub fn has_open(&self, directory: &Path, name: &str) -> bool {
        let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) else {
            return false;
        };
        let mut goals = open
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok());
        goals.any(|goal| goal.starts_with(directory) && goal.ends_with(name))
    }

    /// True when it has ended.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until the condition holds; false when the program ended or ten seconds passed first.
    pub fn until(&mut self, mut condition: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if condition() {
                return true;
            }
            if self.ended() {
                return condition();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Waits for its end; a program over its limit is killed and the test fails.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if self.started.elapsed() > self.limit => {
                    drop(self.child.kill());
                    drop(self.child.wait());
                    panic!("ran longer than {:?}: {}", self.limit, self.line);
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => panic!("cannot wait for {}: {error}", self.line),
            }
        };
        let elapsed = self.started.elapsed();
        let collect =
            |handle: Option<JoinHandle<Vec<u8>>>| handle.and_then(|h| h.join().ok()).unwrap_or_default();
        Finished {
            line: self.line,
            code: status.code(),
            signal: status.signal(),
            stdout: collect(self.stdout.take()),
            stderr: String::from_utf8_lossy(&collect(self.stderr.take())).into_owned(),
            elapsed,
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// An argument as it would be typed in a shell.
fn quote(argument: &OsStr) -> String {
    let text = OsString::from(argument).to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A line of the status of a process, by its number; empty if it is gone.
pub fn process_status(process: &str, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(":"));
    line.unwrap_or_default().trim().to_owned()
}

/// All that processes show of themselves to others: arguments and variables.
#[must_use]
pub fn shown_by_processes() -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    all
}
