//! What a host is made of, and what it is asked for when it opens a storage.

use std::path::PathBuf;

use crate::audit::AuditConfig;
use crate::limits::LimitOverrides;
use crate::settings::Settings;
use crate::trust::ScopedFile;

/// Where the host looks and what it keeps to.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// Directories with `*.wasm` files; of two plugins of one name the one in the earlier directory wins, but no foreign
    /// one over one that was built together with this binary.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where compiled plugins are kept; without it every run compiles.
    pub cache_dir: Option<PathBuf>,
    /// The program that compiles and runs plugins in processes of its own: one that calls [`serve`](crate::compiler::serve)
    /// when its first argument is [`WORD`](crate::compiler::WORD), and [`serve`](crate::apart::serve) when it is
    /// [`WORD`](crate::apart::WORD). Without it foreign plugins are compiled in this process, and none can run apart.
    pub compiler: Option<PathBuf>,
    /// Which plugins run in processes of their own.
    pub isolation: Isolation,
    /// The grants.toml files, system before user; absent ones are skipped.
    pub grant_files: Vec<PathBuf>,
    /// The policy.toml files, system before user.
    pub policy_files: Vec<ScopedFile>,
    /// The trust.toml files, system before user.
    pub trust_files: Vec<ScopedFile>,
    /// Where decisions are written down; without it they aren't.
    pub audit: Option<AuditConfig>,
    /// Where the journal of leftovers is kept; without it a mode that announces one is refused.
    pub state_dir: Option<PathBuf>,
    /// Where snapshots of volumes are written down and mounted: one place for the whole machine; without it none is made.
    pub snapshot_dir: Option<PathBuf>,
    /// Changed ceilings.
    pub limits: LimitOverrides,
    /// What the user's machine knows for SSH.
    pub ssh: SshSurroundings,
}

/// Which plugins run in processes of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// None.
    #[default]
    None,
    /// Those that weren't built together with this program.
    Foreign,
    /// All.
    All,
}

impl Isolation {
    /// Whether such a plugin does.
    #[must_use]
    pub fn covers(self, first_party: bool) -> bool {
        match self {
            Self::None => false,
            Self::Foreign => !first_party,
            Self::All => true,
        }
    }
}

/// What SSH finds on the user's machine where settings name nothing else.
#[derive(Debug, Clone, Default)]
pub struct SshSurroundings {
    /// Files of known machines; a new one is written into the first.
    pub known_hosts: Vec<PathBuf>,
    /// The socket of the user's agent.
    pub agent: Option<PathBuf>,
}

/// How a storage is to be opened.
#[derive(Debug, Clone, Default)]
pub struct StorageRequest {
    /// Its settings.
    pub settings: Settings,
    /// The most calls at once; the storage's own limit without it, and never more than that.
    pub uploads: Option<u32>,
}

impl From<Settings> for StorageRequest {
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            uploads: None,
        }
    }
}
