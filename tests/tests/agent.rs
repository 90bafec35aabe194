//! The original's own agent (PyPI `freezer` 19.0.0, pinned in `tests/agent-requirements.txt`) as the other side.
//!
//! `make setup` installs it into `.venv`. Where that failed, `tests/run.sh` says so loudly and leaves this whole
//! binary out, so that it counts as skipped; run directly without the agent, these tests fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use freezer_tests::{
    Mutator, Program, Sandbox, assert_same, backups, copy_tree, differences, tool, workspace,
};
use rstest::rstest;

fn agent_binary() -> PathBuf {
    let binary = workspace().join(".venv/bin/freezer-agent");
    assert!(
        binary.is_file(),
        "the original agent is not installed in .venv: run `make setup`"
    );
    binary
}

/// A Keystone that ends with the test.
struct Keystone {
    child: Child,
    port: u16,
}

impl Keystone {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(tool("fake_keystone.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a port");
        Self {
            child,
            port: line.trim().parse().expect("a port"),
        }
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A sandbox with the original's agent in it.
struct Original {
    sandbox: Sandbox,
    keystone: Keystone,
}

impl Original {
    fn new() -> Self {
        Self {
            sandbox: Sandbox::new(),
            keystone: Keystone::start(),
        }
    }

    fn agent(&self, action: &str, more: &[&str]) -> Program {
        self.sandbox
            .scrubbed(&agent_binary())
            .env(
                "OS_AUTH_URL",
                format!("http://127.0.0.1:{}/v3", self.keystone.port),
            )
            .env("OS_USERNAME", "u")
            .env("OS_PASSWORD", "p")
            .env("OS_PROJECT_NAME", "p")
            .env("OS_USER_DOMAIN_NAME", "Default")
            .env("OS_PROJECT_DOMAIN_NAME", "Default")
            .env("OS_IDENTITY_API_VERSION", "3")
            .args([
                "--action",
                action,
                "--storage",
                "local",
                "--backup-name",
                "t",
                "--hostname",
                "h",
                "--container",
            ])
            .arg(self.sandbox.store())
            .args(more)
    }

    #[track_caller]
    fn backup(&self, more: &[&str]) {
        let source = self.sandbox.source();
        self.agent("backup", &["--incremental"])
            .arg("--path-to-backup")
            .arg(source)
            .args(more)
            .run()
            .expect(0);
    }

    #[track_caller]
    fn restore(&self, target: &str, more: &[&str]) -> PathBuf {
        let path = self.sandbox.path(target);
        self.agent("restore", &["--restore-abs-path"])
            .arg(&path)
            .args(more)
            .run()
            .expect(0);
        path
    }

    fn levels(&self) -> Vec<u32> {
        backups(&self.sandbox.store(), "h_t")
            .iter()
            .map(|b| b.level)
            .collect()
    }
}

/// The agent's tar restores neither xattrs nor ACLs, and its archives hold whole seconds.
const OF_THE_ORIGINAL: &[&str] = &["--ignore", "xattrs,holes"];

#[track_caller]
fn assert_close(expected: &Path, actual: &Path, mutator: &Mutator, options: &[&str]) {
    if let Some(found) = differences(expected, actual, options) {
        panic!("{found}\n{}", mutator.log.join("\n"));
    }
}

#[rstest]
#[case::gzip("gzip", false)]
#[case::bzip2("bzip2", false)]
#[case::xz("xz", false)]
#[case::gzip_encrypted("gzip", true)]
fn the_agent_restores_our_chain(#[case] compression: &str, #[case] encrypted: bool) {
    let original = Original::new();
    let sandbox = &original.sandbox;
    sandbox.pass_file();
    let mut mutator = Mutator::new(31);
    mutator.change(&sandbox.source(), 40);
    let mut times = Vec::new();
    for level in 0..3 {
        let mut options = vec!["--compat", "--compression", compression];
        if encrypted {
            options.extend(["--encrypt-pass-file", "pass"]);
        }
        sandbox.backup(&options);
        times.push(
            backups(&sandbox.store(), "h_t")
                .iter()
                .map(|b| b.time)
                .max()
                .expect("a backup"),
        );
        copy_tree(&sandbox.source(), &sandbox.path(format!("state{level}")));
        mutator.change(&sandbox.source(), 12);
    }
    let pass: &[&str] = if encrypted {
        &["--encrypt-pass-file", "pass"]
    } else {
        &[]
    };
    let target = original.restore("out", pass);
    assert_close(&sandbox.path("state2"), &target, &mutator, OF_THE_ORIGINAL);
}

#[test]
fn the_agent_continues_our_chain_and_both_restore_it() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    let mut mutator = Mutator::new(32);
    mutator.change(&sandbox.source(), 40);
    sandbox.backup(&["--compat"]);
    mutator.change(&sandbox.source(), 12);
    original.backup(&[]);
    assert_eq!(original.levels(), [0, 1], "the agent began a chain of its own");
    let theirs = original.restore("theirs", &[]);
    assert_close(
        &sandbox.source(),
        &theirs,
        &mutator,
        &["--whole-seconds", "--ignore", "xattrs,holes"],
    );
    let ours = sandbox.restore("ours", &["--compat"]);
    assert_close(
        &sandbox.source(),
        &ours,
        &mutator,
        &["--whole-seconds", "--ignore", "xattrs,holes"],
    );
}

#[test]
fn an_unchanged_tree_of_ours_is_unchanged_for_the_agent() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    fs::create_dir_all(sandbox.path("source/a/b")).expect("mkdir");
    fs::write(
        sandbox.path("source/a/b/big"),
        freezer_tests::Random::new(1).bytes(1 << 20),
    )
    .expect("write");
    sandbox.backup(&["--compat", "--compression", "gzip"]);
    original.backup(&[]);
    let newest = backups(&sandbox.store(), "h_t")
        .into_iter()
        .max_by_key(|b| b.level)
        .expect("a backup");
    assert_eq!(newest.level, 1);
    let size = fs::metadata(newest.object(freezer_tests::Part::Data))
        .expect("data")
        .len();
    assert!(size < 10_000, "the agent stored the tree again: {size} bytes");
}

#[test]
fn we_continue_the_agents_chain_and_both_restore_it() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    let mut mutator = Mutator::new(33);
    mutator.change(&sandbox.source(), 40);
    original.backup(&[]);
    mutator.change(&sandbox.source(), 12);
    sandbox.backup(&["--compat"]);
    assert_eq!(original.levels(), [0, 1], "we began a chain of our own");
    let ours = sandbox.restore("ours", &["--compat"]);
    assert_close(
        &sandbox.source(),
        &ours,
        &mutator,
        &["--whole-seconds", "--ignore", "xattrs,holes"],
    );
    let theirs = original.restore("theirs", &[]);
    assert_close(
        &sandbox.source(),
        &theirs,
        &mutator,
        &["--whole-seconds", "--ignore", "xattrs,holes"],
    );
}

#[test]
fn a_chain_is_continued_by_turns() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    let mut mutator = Mutator::new(34);
    mutator.change(&sandbox.source(), 30);
    for turn in 0..4 {
        if turn % 2 == 0 {
            original.backup(&[]);
        } else {
            sandbox.backup(&["--compat"]);
        }
        mutator.change(&sandbox.source(), 6);
    }
    sandbox.backup(&["--compat"]);
    assert_eq!(original.levels(), [0, 1, 2, 3, 4]);
    let ours = sandbox.restore("ours", &["--compat"]);
    assert_close(
        &sandbox.source(),
        &ours,
        &mutator,
        &["--whole-seconds", "--ignore", "xattrs,holes"],
    );
}

/// With simple renames the agent writes rename records; we replay them.
#[test]
fn renames_recorded_by_the_agent_are_replayed() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    for name in ["a/x", "b/y", "c/d/z"] {
        freezer_tests::write(&sandbox.path("source").join(name), name.as_bytes());
    }
    original.backup(&[]);
    let source = sandbox.source();
    fs::rename(source.join("a"), source.join("renamed")).expect("mv");
    fs::rename(source.join("b"), source.join("a")).expect("mv");
    fs::rename(source.join("c/d"), source.join("moved")).expect("mv");
    original.backup(&[]);
    let ours = sandbox.restore("ours", &["--compat"]);
    assert_same(&source, &ours, &["--whole-seconds", "--ignore", "xattrs,holes"]);
}

/// The same program name with the same options does the same.
#[test]
fn freezer_agent_of_ours_takes_the_originals_command_line() {
    let original = Original::new();
    let sandbox = &original.sandbox;
    freezer_tests::write(&sandbox.path("source/f"), b"content");
    let agent = sandbox.path("freezer-agent");
    std::os::unix::fs::symlink(freezer_tests::freezer_binary(), &agent).expect("symlink");
    sandbox
        .scrubbed(&agent)
        .args([
            "--action",
            "backup",
            "--storage",
            "local",
            "--backup-name",
            "t",
            "--hostname",
            "h",
            "--incremental",
        ])
        .arg("--container")
        .arg(sandbox.store())
        .arg("--path-to-backup")
        .arg(sandbox.source())
        .run()
        .expect(0);
    let theirs = original.restore("theirs", &[]);
    assert_same(&sandbox.source(), &theirs, OF_THE_ORIGINAL);
}
