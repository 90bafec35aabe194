//! A place to install into, components of a stranger, and keys that the real minisign made.

use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{Finished, Sandbox, freezer_binary, program, write};
use serde_json::Value;

/// What storage `acmes`, which is `local` under another name, asks for.
pub(crate) const ASKED: &str = "files={path}:read-write";

/// The bytes of storage `local` as those of a stranger's storage `acmes`.
pub(crate) fn component(version: &str) -> Vec<u8> {
    let plugins = freezer_binary()
        .parent()
        .expect("a folder")
        .join("lib/freezer/plugins");
    let mut bytes = fs::read(plugins.join("local.wasm")).expect("plugin local");
    let version = format!("\nversion = \"{version}\"\n");
    for (from, to) in [
        ("\nversion = \"0.1.0\"\n", version.as_str()),
        ("name = \"local\"\n", "name = \"acmes\"\n"),
        ("schemes = [\"local\"]", "schemes = [\"acmes\"]"),
    ] {
        assert_eq!(from.len(), to.len(), "the section keeps its length");
        let place = bytes
            .windows(from.len())
            .rposition(|window| window == from.as_bytes());
        let place = place.unwrap_or_else(|| panic!("no {from:?} in the component"));
        bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// A sandbox with a maker's keys and builds.
pub(crate) struct Road {
    pub(crate) sandbox: Sandbox,
}

impl Road {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        fs::create_dir(sandbox.path("builds")).expect("builds");
        Self { sandbox }
    }

    /// Makes a key and answers its public line.
    pub(crate) fn key(&self, name: &str) -> String {
        self.sandbox.signing_key(name)
    }

    /// A build without a signature.
    pub(crate) fn unsigned(&self, version: &str) -> PathBuf {
        let path = self.sandbox.path(format!("builds/acmes-{version}.wasm"));
        write(&path, &component(version));
        path
    }

    /// A build that a key signed.
    pub(crate) fn signed(&self, version: &str, key: &str) -> PathBuf {
        let path = self.unsigned(version);
        self.sign(&path, key);
        path
    }

    pub(crate) fn sign(&self, path: &Path, key: &str) {
        program("minisign")
            .args(["-S", "-s", &format!("{key}.key"), "-m"])
            .arg(path)
            .cwd(&self.sandbox.path("."))
            .run()
            .expect(0);
    }

    /// `freezer plugin WORDS`.
    pub(crate) fn plugin(&self, words: &[&str]) -> Finished {
        self.sandbox.freezer(["plugin"]).args(words).run().no_crash()
    }

    pub(crate) fn trust(&self, key: &str) {
        self.plugin(&["trust", key, "--name", "Acme releases"]).expect(0);
    }

    pub(crate) fn install(&self, source: &Path, more: &[&str]) -> Finished {
        let source = source.to_str().expect("UTF-8");
        self.plugin(&[&["install", source, "--yes"], more].concat())
    }

    /// A road on which version 0.1.0, signed by a trusted key, is installed with what it asks for.
    pub(crate) fn installed() -> (Self, String) {
        let road = Self::new();
        let key = road.key("acme");
        road.trust(&key);
        road.install(&road.signed("0.1.0", "acme"), &["--grant", "asked"])
            .expect(0);
        (road, key)
    }

    pub(crate) fn backup(&self) -> Finished {
        let store = self.sandbox.path("objects");
        let to = format!("acmes:{}", store.display());
        self.sandbox
            .freezer([
                "backup", "source", "--name", "t", "--host", "h", "--full", "--to", &to,
            ])
            .run()
            .no_crash()
    }

    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.sandbox.path("home/.local/share/freezer/plugins")
    }

    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.sandbox.path("home/.config/freezer").join(name)
    }

    /// The audit log's lines.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.sandbox.path("home/.local/state/freezer/audit/log.jsonl"))
            .expect("the audit log");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    pub(crate) fn inspected(&self) -> Value {
        self.plugin(&["inspect", "acmes", "--json"]).expect(0).json()["result"].clone()
    }
}
