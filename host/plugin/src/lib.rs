//! The WebAssembly host: finds, checks, grants, limits and runs plugins.
//!
//! In reading order: what a plugin says about itself, what it may do, how it is run, and what the agent sees of it.
//! The agent is the only caller. The bytes of a backup pass by as host resources; none enters a guest unless the
//! plugin was granted to read it. What interfaces do natively lies in `freezer-io`.

pub mod discover;
mod component;
pub mod manifest;
pub mod settings;
mod settings_file;
mod url;
pub mod grants;
pub mod grant_file;
pub mod signature;
pub mod trust;
pub mod policy;
pub mod pack;
pub mod installed;
pub mod fetch;
pub mod audit;
mod contract;
#[doc(hidden)]
pub mod testing;
mod engine;
mod confine;
pub mod compiler;
mod cache;
mod facts;
pub mod limits;
mod pace;
mod usage;
mod guest;
mod handles;
mod death;
mod calls;
pub mod apart;
mod running;
mod log_gate;
mod interfaces;
mod bindings;
pub mod run;
mod fault;
mod journal;
pub mod host;
pub mod mode;
mod storage;
mod trusted;
mod pool;
mod answers;
mod convert;
mod escape;
pub mod error;

pub use self::url::UrlPart;
pub use audit::{AuditConfig, AuditLog};
pub use discover::Discovered;
pub use error::{CONTRACT, LimitHit, PluginError, Refusal};
pub use fault::Fault;
pub use grants::admission::{Inadmissible, InstallAsk, Standing};
pub use host::{HostConfig, Isolation, LeftoverReport, Plugin, PluginHost, SshSurroundings, StorageRequest};
pub use manifest::{PluginKind, PluginManifest};
pub use mode::{BackupRequest, Destination, ModeBackup, ModeRestore, ModeSource, Outcome, RestoreRequest};
pub use run::{BandwidthLimits, Run, RunConfig};
pub use settings::{SettingType, SettingValue, Settings};
pub use trust::{Scope, ScopedFile};
pub use usage::PluginUsage;
