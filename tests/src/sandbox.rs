//! One test's own place: home, cache, a storage, a source tree and restore targets, removed at the end.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{Finished, Program, program};

/// Files below a folder of the workspace whose name ends so, in order.
#[track_caller]
pub fn workspace_files(below: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // The fuzz targets are built in a folder of their own.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {below}");
    found
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// The binary under test: `$FREEZER_BIN`, else `target/release/freezer` of the workspace.
///
/// # Panics
/// When it isn't there: the end-to-end tests run what `make build` has made, never something else.
#[expect(
    clippy::disallowed_methods,
    reason = "the one variable by which a test run names the binary"
)]
pub fn freezer_binary() -> PathBuf {
    let binary = std::env::var_os("FREEZER_BIN")
        .map_or_else(|| workspace().join("target/release/freezer"), PathBuf::from);
    assert!(
        binary.is_file(),
        "no {}: run `make build` first, or set FREEZER_BIN",
        binary.display()
    );
    binary
}

/// A scratch directory with the usual places in it.
pub struct Sandbox {
    root: TempDir,
    /// Whether compiled plugins are those of all test runs.
    shares_cache: bool,
}

/// The caches of all test runs (`XDG_CACHE_HOME`), so that a plugin is compiled once.
#[must_use]
pub fn shared_cache() -> PathBuf {
    workspace().join("target/tmp/cache")
}

impl Sandbox {
    /// In memory where the machine has `/dev/shm`, so that `fsync` costs nothing.
    #[track_caller]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        Self::below(if memory.is_dir() {
            memory
        } else {
            Path::new("/tmp")
        })
    }

    /// On a disk: for tests about durability.
    #[track_caller]
    pub fn on_disk() -> Self {
        Self::below(Path::new("/var/tmp"))
    }

    /// Below a directory of the caller's choice, such as a small mount.
    #[track_caller]
    pub fn below(parent: &Path) -> Self {
        let root = tempfile::Builder::new()
            .prefix("freezer-test.")
            .tempdir_in(parent)
            .unwrap_or_else(|error| panic!("no scratch directory in {}: {error}", parent.display()));
        for name in ["home", "source", "store"] {
            fs::create_dir(root.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        Self {
            root,
            shares_cache: true,
        }
    }

    /// Begins without compiled plugins, and keeps them in its own home.
    #[must_use]
    pub fn with_own_cache(self) -> Self {
        Self {
            shares_cache: false,
            ..self
        }
    }

    /// A path in the sandbox.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// The tree that is backed up.
    pub fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// The storage directory.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The storage as a URL.
    pub fn url(&self) -> String {
        format!("local:{}", self.store().display())
    }

    /// A pass file of the usual content.
    pub fn pass_file(&self) -> PathBuf {
        let path = self.path("pass");
        crate::write(&path, b"correct horse battery staple\n");
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, own).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// `freezer` in a scrubbed environment: only `PATH`, `HOME`, `TZ`, `LC_ALL` and where compiled plugins lie.
    pub fn freezer<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Program {
        self.scrubbed(&freezer_binary()).args(arguments)
    }

    /// Any program in the same scrubbed environment.
    pub fn scrubbed(&self, name: &Path) -> Program {
        let scrubbed = program(name)
            .env("HOME", self.path("home"))
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .cwd(self.root.path());
        match self.shares_cache {
            true => scrubbed.env("XDG_CACHE_HOME", shared_cache()),
            false => scrubbed,
        }
    }

    /// `freezer backup SOURCE --name t --host h --to STORE` and more arguments.
    pub fn backup_command(&self, more: &[&str]) -> Program {
        let source = self.source();
        let url = self.url();
        self.freezer(["backup"])
            .arg(source)
            .args(["--name", "t", "--host", "h", "--to", &url])
            .args(more)
    }

    /// Makes `NAME.key` to sign with, without a password, and `NAME.pub`; answers the public key's line.
    #[track_caller]
    pub fn signing_key(&self, name: &str) -> String {
        let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
        program("minisign")
            .args(["-G", "-W", "-p", &public, "-s", &secret])
            .cwd(&self.path("."))
            .run()
            .expect(0);
        let text = fs::read_to_string(self.path(&public)).expect("the public key");
        text.lines().nth(1).expect("its line").to_owned()
    }

    /// The same as [`Sandbox::backup_command`], run to its end, which must be success.
    #[track_caller]
    pub fn backup(&self, more: &[&str]) -> Finished {
        self.backup_command(more).run().expect(0)
    }

    /// `freezer restore` of that backup into a target inside the sandbox.
    pub fn restore_command(&self, target: &str, more: &[&str]) -> Program {
        let url = self.url();
        self.freezer([
            "restore", "--name", "t", "--host", "h", "--from", &url, "--target",
        ])
        .arg(self.path(target))
        .args(more)
    }

    /// The same, run to its end, which must be success; returns where.
    #[track_caller]
    pub fn restore(&self, target: &str, more: &[&str]) -> PathBuf {
        self.restore_command(target, more).run().expect(0);
        self.path(target)
    }

    /// `freezer VERB --name t --host h --from STORE` and more arguments.
    pub fn verb(&self, verb: &str, more: &[&str]) -> Program {
        let url = self.url();
        self.freezer([verb, "--name", "t", "--host", "h", "--from", &url])
            .args(more)
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
