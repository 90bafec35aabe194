//! Real servers, started by the scripts of `tests/servers`.
//!
//! `tests/run.sh` starts those that tests share, and names their folders in `FREEZER_TEST_…`. A test that breaks its server, or is run
//! without that script, starts its own, which ends with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::program;
use crate::sandbox::workspace;

/// A running server.
pub struct Server {
    script: &'static str,
    folder: PathBuf,
    options: Vec<(String, String)>,
    values: BTreeMap<String, String>,
    /// Its folder and those of the servers that it needs; `None` for a shared one.
    own: Option<TempDir>,
    /// What it leans on: ended after it.
    _below: Option<Box<Server>>,
}

impl Server {
    /// The shared one that `tests/run.sh` started under this name ("swift", "keystone-swift"); else what `start` makes.
    #[expect(
        clippy::disallowed_methods,
        reason = "the variables by which a test run names its servers"
    )]
    #[track_caller]
    pub fn shared(name: &str, start: impl FnOnce() -> Self) -> Self {
        let variable = format!("FREEZER_TEST_{}", name.to_uppercase().replace('-', "_"));
        match std::env::var_os(&variable) {
            Some(folder) => Self {
                script: "",
                values: values(Path::new(&folder)),
                folder: folder.into(),
                options: Vec::new(),
                own: None,
                _below: None,
            },
            None => start(),
        }
    }

    /// An own one: `tests/servers/SCRIPT.sh up` with these variables.
    #[track_caller]
    pub fn start(script: &'static str, options: &[(&str, &str)]) -> Self {
        let own = tempfile::Builder::new()
            .prefix("freezer-server.")
            .tempdir()
            .unwrap_or_else(|error| panic!("no folder for a server: {error}"));
        let mut server = Self {
            script,
            folder: own.path().to_path_buf(),
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            values: BTreeMap::new(),
            own: Some(own),
            _below: None,
        };
        server.up();
        server
    }

    /// Keeps another server as long as this one.
    pub fn above(mut self, below: Self) -> Self {
        self._below = Some(Box::new(below));
        self
    }

    /// Starts again what has ended.
    #[track_caller]
    pub fn up(&mut self) {
        let script = workspace().join(format!("tests/servers/{}.sh", self.script));
        let mut run = program(&script).arg("up").arg(&self.folder);
        for (name, value) in &self.options {
            run = run.env(name, value);
        }
        run.limit(Duration::from_secs(200)).run().expect(0);
        self.values = values(&self.folder);
    }

    /// Lets its script do something else: `tests/servers/SCRIPT.sh ACTION`.
    ///
    /// # Panics
    /// For a shared server: other tests need it as it is.
    #[track_caller]
    pub fn act(&self, action: &str) {
        assert!(self.own.is_some(), "a shared server must not be changed");
        let script = workspace().join(format!("tests/servers/{}.sh", self.script));
        program(script).arg(action).arg(&self.folder).run().expect(0);
    }

    /// The folder with all its things.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What its `env` says.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {}/env", self.folder.display()))
    }

    /// All that its `env` says.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Kills one of its processes at once, by the name that its script gave it.
    ///
    /// # Panics
    /// For a shared server: other tests need it.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        assert!(self.own.is_some(), "a shared server must not be broken");
        let file = self.folder.join("pids").join(name);
        let pid = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw)
            .unwrap_or_else(|| panic!("no pid in {}", file.display()));
        kill_process(pid, Signal::KILL).unwrap_or_else(|error| panic!("cannot kill {name}: {error}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.own.is_some() {
            let script = workspace().join(format!("tests/servers/{}.sh", self.script));
            // A test that failed has more to say than this could.
            drop(program(script).arg("down").arg(&self.folder).run());
        }
    }
}

fn values(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join("env")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
