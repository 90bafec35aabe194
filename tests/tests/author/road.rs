//! A place to make plugins in, with the machine's own compilers.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use freezer_tests::{Finished, Program, Sandbox, workspace};

/// A crate is compiled from nothing, on a machine that may be busy.
const COMPILING: Duration = Duration::from_secs(1500);

/// A sandbox in which plugins are made.
pub(crate) struct Road {
    pub(crate) sandbox: Sandbox,
}

impl Road {
    pub(crate) fn new() -> Self {
        Self {
            // What is made here is compiled here and nowhere else.
            sandbox: Sandbox::on_disk().with_own_cache(),
        }
    }

    /// `freezer plugin WORDS`.
    pub(crate) fn plugin(&self, words: &[&str]) -> Finished {
        self.sandbox.freezer(["plugin"]).args(words).run().no_crash()
    }

    /// The same within a folder, with compilers at hand.
    pub(crate) fn within(&self, folder: &str, words: &[&str]) -> Finished {
        let mut command = self.command(folder, words).limit(COMPILING);
        for (name, fallback) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            command = command.env(name, home(name, fallback));
        }
        command.env("PATH", path()).run().no_crash()
    }

    /// The same without any.
    pub(crate) fn within_without_compiler(&self, folder: &str, words: &[&str]) -> Finished {
        self.command(folder, words)
            .env("PATH", "/nowhere")
            .run()
            .no_crash()
    }

    fn command(&self, folder: &str, words: &[&str]) -> Program {
        let command = self.sandbox.freezer(["plugin"]).args(words);
        command.cwd(&self.sandbox.path(folder))
    }

    /// Makes a key and answers its public line.
    pub(crate) fn key(&self, name: &str) -> String {
        self.sandbox.signing_key(name)
    }

    /// Lets a second plugin have what was compiled for a first one: the crates that both use.
    pub(crate) fn move_compiled(&self, from: &str, to: &str) {
        let (from, to) = (self.sandbox.path(from), self.sandbox.path(to));
        fs::copy(from.join("Cargo.lock"), to.join("Cargo.lock")).expect("Cargo.lock");
        fs::rename(from.join("target"), to.join("target")).expect("target");
    }

    /// Changes the mode project as the walk in docs/plugins.md says, piece by piece.
    pub(crate) fn change_as_documented(&self) {
        let docs = fs::read_to_string(workspace().join("docs/plugins.md")).expect("docs/plugins.md");
        let walk = docs.split("## In 15 minutes").nth(1).expect("the walk");
        let walk = walk.split("\n## ").next().expect("its end");
        let pieces: Vec<&str> = walk
            .split("```rust\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        let [built, exclude, expectation] = pieces.as_slice() else {
            panic!("the walk has {} pieces of code", pieces.len())
        };
        let path = self.sandbox.path("project/src/lib.rs");
        let mut code = fs::read_to_string(&path).expect("the template");
        let below = "const SOURCE: &str = \"tree\";\n";
        let changes = [
            (below.to_owned(), format!("{below}{built}")),
            (
                "        let exclude = request.settings.many(\"leave-out\")?.to_vec();\n".to_owned(),
                (*exclude).to_owned(),
            ),
            (
                line_with(&code, "assert_eq!((tree.root.as_str()"),
                (*expectation).to_owned(),
            ),
        ];
        for (from, to) in changes {
            assert_eq!(code.matches(&from).count(), 1, "{from}");
            code = code.replace(&from, &to);
        }
        fs::write(&path, code).expect("write");
    }
}

/// The line of a text that holds these words.
fn line_with(text: &str, words: &str) -> String {
    let line = text.lines().find(|line| line.contains(words));
    format!("{}\n", line.expect("the line of the template"))
}

/// Where the machine's programs are, its compilers first.
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own compilers are found as their owner set them up"
)]
fn path() -> OsString {
    let mut path = home("CARGO_HOME", ".cargo").join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// Where the machine's compilers keep what is theirs.
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own compilers are found as their owner set them up"
)]
fn home(name: &str, fallback: &str) -> PathBuf {
    match std::env::var_os(name) {
        Some(named) => PathBuf::from(named),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(fallback),
    }
}
