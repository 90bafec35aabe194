//! What the process finds around itself: the only place that reads environment variables,
//! the host name, the clock's zone and the terminal.
//!
//! Everything is read once into [`Environment`]; tests make their own. A missing HOME is no
//! error: then there is no user configuration, no cache and no state directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use freezer_plugin::{Scope, ScopedFile};

/// Where plugins for all users are.
const SYSTEM_PLUGINS: &str = "/usr/lib/freezer/plugins";

/// Variables and facts that the configuration is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `$HOME`, absolute.
    pub(crate) home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) config_home: Option<PathBuf>,
    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub(crate) data_home: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub(crate) cache_home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, else `~/.local/state`.
    pub(crate) state_home: Option<PathBuf>,
    /// Where snapshots are written down and mounted: root's are the whole machine's, whoever root's HOME is, unless
    /// `$XDG_STATE_HOME` says otherwise.
    pub(crate) snapshot_home: Option<PathBuf>,
    /// `$FREEZER_CONFIG`.
    pub(crate) config: Option<PathBuf>,
    /// `$FREEZER_PLUGINS`, split at `:`.
    pub(crate) plugins: Vec<PathBuf>,
    /// `$FREEZER_STORAGE`.
    pub(crate) storage: Option<String>,
    /// `$FREEZER_HOST`.
    pub(crate) host: Option<String>,
    /// `$FREEZER_PASS_FILE`.
    pub(crate) pass_file: Option<PathBuf>,
    /// All variables, for the settings of plugins that name them.
    pub(crate) variables: Variables,
    /// `$SSH_AUTH_SOCK`, absolute.
    pub(crate) ssh_agent: Option<PathBuf>,
    /// The machine's host name.
    pub(crate) machine: String,
    /// The program's own file, to find the plugins beside it.
    pub(crate) program: Option<PathBuf>,
    /// Processors this process may use.
    pub(crate) processors: usize,
    /// Standard error is a terminal that understands cursor movement.
    pub(crate) stderr_is_terminal: bool,
    /// Somebody can be asked: standard input and standard error are terminals.
    pub(crate) can_ask: bool,
}

/// Environment variables that are text and not empty.
#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    fn read() -> Variables {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let all = std::env::vars_os().filter_map(text);
        Variables(all.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Variables {
        Variables(pairs.into_iter().collect())
    }
}

impl std::fmt::Debug for Variables {
    /// Variables hold passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Variables({})", self.0.len())
    }
}

impl Environment {
    /// Where compiled plugins are kept.
    pub(crate) fn plugin_cache(&self) -> Option<PathBuf> {
        self.cache_home.as_ref().map(|home| home.join("freezer"))
    }

    /// Reads it from the running process.
    pub(crate) fn read() -> Environment {
        let home = absolute("HOME");
        let below = |variable: &str, fallback: &str| {
            absolute(variable).or_else(|| home.as_ref().map(|home| home.join(fallback)))
        };
        let dumb = variable("TERM").is_none_or(|term| term == "dumb");
        Environment {
            config_home: below("XDG_CONFIG_HOME", ".config"),
            data_home: below("XDG_DATA_HOME", ".local/share"),
            cache_home: below("XDG_CACHE_HOME", ".cache"),
            state_home: below("XDG_STATE_HOME", ".local/state"),
            snapshot_home: absolute("XDG_STATE_HOME")
                .or_else(|| {
                    rustix::process::geteuid()
                        .is_root()
                        .then(|| PathBuf::from("/var/lib"))
                })
                .or_else(|| below("XDG_STATE_HOME", ".local/state")),
            config: variable("FREEZER_CONFIG").map(PathBuf::from),
            plugins: variable("FREEZER_PLUGINS")
                .map(|list| {
                    std::env::split_paths(&list)
                        .filter(|path| !path.as_os_str().is_empty())
                        .collect()
                })
                .unwrap_or_default(),
            storage: text("FREEZER_STORAGE"),
            host: text("FREEZER_HOST"),
            pass_file: variable("FREEZER_PASS_FILE").map(PathBuf::from),
            variables: Variables::read(),
            ssh_agent: absolute("SSH_AUTH_SOCK"),
            machine: machine(),
            program: std::env::current_exe().ok(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            stderr_is_terminal: std::io::stderr().is_terminal() && !dumb,
            can_ask: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            home,
        }
    }

    /// Where cargo keeps the sources of crates.
    pub(crate) fn cargo_home(&self) -> Option<PathBuf> {
        let named = self.variables.get("CARGO_HOME").map(PathBuf::from);
        named.or_else(|| self.home.as_ref().map(|home| home.join(".cargo")))
    }

    /// What SSH finds on this machine: the user's known machines before the system's, and the user's agent.
    pub(crate) fn ssh(&self) -> freezer_plugin::SshSurroundings {
        let own = self.home.iter().map(|home| home.join(".ssh/known_hosts"));
        freezer_plugin::SshSurroundings {
            known_hosts: own.chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect(),
            agent: self.ssh_agent.clone(),
        }
    }

    /// A file of ours for the machine and, if there is a HOME, for the user: system before user.
    pub(crate) fn scoped(&self, name: &str) -> Vec<ScopedFile> {
        let system = ScopedFile {
            scope: Scope::System,
            path: Path::new("/etc/freezer").join(name),
        };
        let user = self.config_home.iter().map(|home| ScopedFile {
            scope: Scope::User,
            path: home.join("freezer").join(name),
        });
        std::iter::once(system).chain(user).collect()
    }

    /// Where plugins are installed.
    pub(crate) fn plugin_dir(&self, scope: Scope) -> Option<PathBuf> {
        match scope {
            Scope::System => Some(PathBuf::from(SYSTEM_PLUGINS)),
            Scope::User => self.data_home.as_ref().map(|home| home.join("freezer/plugins")),
        }
    }

    /// Where plugins are looked for, the first place first; `asked` are the places of the command line.
    pub(crate) fn plugin_dirs(&self, asked: &[PathBuf]) -> Vec<PathBuf> {
        let mut places = asked.to_vec();
        places.extend(self.plugins.iter().cloned());
        places.extend(self.plugin_dir(Scope::User));
        places.extend(self.plugin_dir(Scope::System));
        if let Some(beside) = self.program.as_deref().and_then(Path::parent) {
            places.push(beside.join("lib/freezer/plugins"));
            if let Some(above) = beside.parent() {
                places.push(above.join("lib/freezer/plugins"));
            }
        }
        places
    }
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable as text; bytes that are no UTF-8 are replaced, so that a message can name them.
fn text(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}

/// A variable that holds an absolute path; others are ignored, as the base directory rules say.
fn absolute(name: &str) -> Option<PathBuf> {
    variable(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The host name as the kernel has it.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_in_the_order_of_how_near_they_were_named() {
        let environment = Environment {
            plugins: vec!["/variable".into()],
            data_home: Some("/home/u/.local/share".into()),
            program: Some("/opt/freezer/bin/freezer".into()),
            ..Environment::default()
        };
        let places = environment.plugin_dirs(&["/asked".into()]);
        let expected = [
            "/asked",
            "/variable",
            "/home/u/.local/share/freezer/plugins",
            "/usr/lib/freezer/plugins",
            "/opt/freezer/bin/lib/freezer/plugins",
            "/opt/freezer/lib/freezer/plugins",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
    }

    #[test]
    fn without_a_home_there_are_fewer_places_and_no_error() {
        assert_eq!(
            Environment::default().plugin_dirs(&[]),
            [PathBuf::from("/usr/lib/freezer/plugins")]
        );
    }
}
