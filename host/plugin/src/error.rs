//! Everything that can go wrong between the host and a plugin, so that callers can tell the cases apart.
//!
//! The outer failures (trap, limit, broken contract) mean that the instance was dropped. [`PluginError::Failed`] is
//! what the plugin itself reported; its text is the plugin's own, already cut and escaped.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use freezer_pipeline::store::{Cause, ErrorKind};

use crate::grants::admission::Inadmissible;
use crate::manifest::{ManifestError, PluginKind};
use crate::policy::RuleLine;

/// The contract version that this host speaks.
pub const CONTRACT: &str = "1.0.0";

/// A failure of finding, loading, asking or running a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No plugin of that name or scheme is installed.
    #[error(
        "no {kind} plugin named {wanted:?} is installed ({}){}",
        Available(available),
        DidYouMean(nearest)
    )]
    Unknown {
        /// Which kind was wanted.
        kind: PluginKind,
        /// The name or scheme that was asked for.
        wanted: String,
        /// Names and schemes of that kind that are installed.
        available: Vec<String>,
        /// The installed name that is most like the wanted one.
        nearest: Option<String>,
    },
    /// Several plugins serve one scheme, and none bears it as its name.
    #[error(
        "{scheme:?} is served by plugin {} ({}) and by plugin {} ({}): put the plugin's name in the place of the scheme",
        names[0], files[0].display(), names[1], files[1].display()
    )]
    Ambiguous {
        /// The scheme.
        scheme: String,
        /// The names of the first two.
        names: [String; 2],
        /// Their files.
        files: [PathBuf; 2],
    },
    /// The component that left something behind isn't the one that bears its name now.
    #[error(
        "plugin {plugin} with sha256 {sha256} made it and isn't installed any more: install it again, or remove it by hand"
    )]
    OtherComponent {
        /// The plugin's name.
        plugin: String,
        /// The digest of the one that is needed, in hex.
        sha256: String,
    },
    /// A mode announced more than a journal may hold.
    #[error(
        "plugin {plugin} announced too many leftovers: a run has at most 1000 open ones and 4 MiB of them"
    )]
    Leftovers {
        /// The plugin.
        plugin: String,
    },
    /// The plugin's file can't be read.
    #[error("can't read plugin {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no usable component.
    #[error("{} is no plugin: {why}", path.display())]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The plugin.toml inside the component is missing or wrong.
    #[error("{} has a bad plugin.toml", path.display())]
    Manifest {
        /// The component's file.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The plugin was built for a contract that this host doesn't speak.
    #[error(
        "plugin {plugin} needs plugin contract {wanted}, this freezer speaks {CONTRACT}: install a build of it for contract 1"
    )]
    Contract {
        /// The plugin's name, or its file where it has none.
        plugin: String,
        /// The version that it asks for.
        wanted: String,
    },
    /// A setting is missing, unknown or of the wrong type.
    #[error("plugin {plugin}: setting {setting:?} {why}")]
    Setting {
        /// The plugin.
        plugin: String,
        /// The setting's name.
        setting: String,
        /// What is wrong with it, in words that follow the name.
        why: String,
    },
    /// The component doesn't load: wrong imports or exports, or it fails while it starts.
    #[error("plugin {plugin} doesn't load: {why}")]
    Load {
        /// The plugin.
        plugin: String,
        /// What the engine said.
        why: String,
    },
    /// The file changed between looking at it and loading it.
    #[error("plugin {plugin} was changed on disk while it was being loaded: run the command again")]
    Changed {
        /// The plugin.
        plugin: String,
    },
    /// The WebAssembly engine or its threads can't be started.
    #[error("can't start the plugin engine: {why}")]
    Engine {
        /// What failed.
        why: String,
    },
    /// The host refused something that was not granted.
    #[error("{0}")]
    Denied(Refusal),
    /// A grants.toml can't be used.
    #[error("can't use grants file {}: {why}", path.display())]
    Grants {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A trust.toml can't be used.
    #[error("can't use trust file {}: {why}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A policy.toml can't be used.
    #[error("can't use policy file {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The component may not be installed or loaded.
    #[error("plugin {plugin} isn't let in: {why}")]
    NotLetIn {
        /// The plugin.
        plugin: String,
        /// Why.
        why: Inadmissible,
    },
    /// The component isn't the one that was installed in its place.
    #[error("{} isn't what was installed: that had sha256 {installed}, this has {found}", path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
        /// The digest of what was installed, in hex.
        installed: String,
        /// The digest of what is there.
        found: String,
    },
    /// What is known of an installed component can't be read.
    #[error("can't use the record of installed plugin {}", path.display())]
    Record {
        /// The component's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A plugin can't be put into its directory or taken out of it.
    #[error("can't install or remove {}", path.display())]
    Install {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A plugin can't be fetched.
    #[error("can't fetch {url}: {why}")]
    Fetch {
        /// Where from.
        url: String,
        /// Why not.
        why: String,
    },
    /// The plugin crashed. Its instance is gone.
    #[error("plugin {plugin} crashed in {call}: {why}")]
    Trap {
        /// The plugin.
        plugin: String,
        /// The call that it was answering.
        call: &'static str,
        /// The engine's words.
        why: String,
    },
    /// The plugin used more than it may. Its instance is gone.
    #[error("plugin {plugin} was stopped in {call}: {limit}")]
    Limit {
        /// The plugin.
        plugin: String,
        /// The call that it was answering.
        call: &'static str,
        /// Which limit it hit.
        limit: LimitHit,
    },
    /// The plugin answered something that the contract forbids.
    #[error("plugin {plugin} broke the plugin contract in {call}: {why}")]
    Broken {
        /// The plugin.
        plugin: String,
        /// The call.
        call: &'static str,
        /// What was wrong with the answer.
        why: String,
    },
    /// The plugin reported a failure of its own.
    #[error("plugin {plugin}: {message}")]
    Failed {
        /// The plugin.
        plugin: String,
        /// The call.
        call: &'static str,
        /// The kind that it reported.
        kind: ErrorKind,
        /// Its own words, cut and escaped.
        message: String,
        /// What stood in the way, if that is known.
        cause: Option<Cause>,
        /// How long the service asked to wait before another try.
        retry_after: Option<Duration>,
    },
    /// What was read of something frozen isn't what it was frozen as.
    #[error("what was read can't be trusted: {why}")]
    Spoiled {
        /// What happened to it.
        why: String,
    },
    /// A snapshot of a killed run can't be released.
    #[error("{why}")]
    Snapshot {
        /// Why it is still there.
        why: String,
    },
    /// The journal of leftovers can't be written, so nothing that would outlive the run may be made.
    #[error("can't keep the journal of leftovers in {}", path.display())]
    Journal {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PluginError {
    /// The kind that this failure has for a caller of a storage.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { kind, .. } => *kind,
            Self::Denied(_) | Self::NotLetIn { .. } => ErrorKind::Denied,
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Setting { .. } | Self::Ambiguous { .. } => ErrorKind::Invalid,
            Self::Broken { .. } => ErrorKind::Corrupt,
            Self::Limit {
                limit: LimitHit::Time(_),
                ..
            } => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    /// Tells whether the instance that failed can't be used any more.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Trap { .. } | Self::Limit { .. } | Self::Broken { .. })
    }
}

/// The limit that stopped a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitHit {
    /// It computed for longer than this without an answer.
    Cpu(Duration),
    /// The call took longer than this, waiting included.
    Time(Duration),
    /// It wanted more linear memory than this many bytes.
    Memory(u64),
    /// It wanted larger tables than this many elements.
    Table(u64),
    /// It held more handles than this.
    Handles(usize),
    /// It held more than this many bytes in bodies that it made.
    Bodies(usize),
    /// It read more than this many bytes from bodies in one call.
    Read(u64),
    /// Compiling it takes longer than this.
    CompileTime(Duration),
    /// Compiling it needs more memory than this many bytes.
    CompileMemory(u64),
    /// It moved more than this many bytes into the host in one call.
    Transfer(usize),
}

impl LimitHit {
    /// The key that raises it in `[limits.PLUGIN]` of a configuration file; none for one that can't be raised.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        Some(match self {
            Self::Cpu(_) => "cpu-seconds",
            Self::Time(_) => "call-seconds",
            Self::Memory(_) => "memory-bytes",
            Self::Table(_) => "table-elements",
            Self::Handles(_) => "handles",
            Self::Bodies(_) => return None,
            Self::Read(_) => "read-bytes",
            Self::CompileTime(_) => "compile-seconds",
            Self::CompileMemory(_) => "compile-memory-bytes",
            Self::Transfer(_) => "transfer-bytes",
        })
    }
}

impl fmt::Display for LimitHit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(limit) => write!(
                out,
                "it computed for more than {} s in one call",
                limit.as_secs_f64()
            ),
            Self::Time(limit) => write!(out, "the call took more than {} s", limit.as_secs_f64()),
            Self::Memory(limit) => write!(out, "it needs more than {} of memory", Amount(*limit)),
            Self::Table(limit) => write!(out, "it needs tables of more than {limit} elements"),
            Self::Handles(limit) => write!(out, "it holds more than {limit} handles"),
            Self::Bodies(limit) => write!(out, "it holds more than {} in bodies", Amount(*limit as u64)),
            Self::Read(limit) => write!(
                out,
                "it read more than {} from bodies in one call",
                Amount(*limit)
            ),
            Self::CompileTime(limit) => write!(out, "compiling it takes more than {} s", limit.as_secs_f64()),
            Self::CompileMemory(limit) => {
                write!(out, "compiling it needs more than {} of memory", Amount(*limit))
            }
            Self::Transfer(limit) => write!(out, "it passed more than {} in one call", Amount(*limit as u64)),
        }
    }
}

/// Shows a limit in bytes exactly, in the largest unit that does.
struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        match bytes {
            1 => out.write_str("1 byte"),
            _ if *bytes > 0 && bytes % (1 << 20) == 0 => write!(out, "{} MiB", bytes >> 20),
            _ if *bytes > 0 && bytes % (1 << 10) == 0 => write!(out, "{} KiB", bytes >> 10),
            _ => write!(out, "{bytes} bytes"),
        }
    }
}

/// What was refused to a plugin, and how an operator would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The plugin.
    pub plugin: String,
    /// What it asked for, in words: "to open directory /etc read-only".
    pub request: String,
    /// The line of grants.toml that would allow it.
    pub line: String,
    /// The digest that the table must name, in hex.
    pub sha256: String,
    /// The line of a policy that forbids it, whatever is granted.
    pub rule: Option<RuleLine>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plugin,
            request,
            line,
            sha256,
            rule,
        } = self;
        if let Some(rule) = rule {
            return write!(out, "a policy forbids plugin {plugin} {request}: {rule}");
        }
        write!(
            out,
            "plugin {plugin} isn't allowed {request}; to allow it, put this line into grants.toml below \
             [{plugin}] with sha256 = \"{sha256}\": {line}"
        )
    }
}

/// Shows which plugins there are.
struct Available<'a>(&'a [String]);

impl fmt::Display for Available<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            out.write_str("none is")
        } else {
            write!(out, "there are: {}", self.0.join(", "))
        }
    }
}

/// Shows the nearest name, if any is near.
struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(out, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}
