//! The WebAssembly host: finds, checks, grants, limits and runs plugins.
//!
//! In reading order: what a plugin says about itself, what it may do, how it is run, and what the agent sees of it.
//! The agent is the only caller. The bytes of a backup pass by as host resources; none enters a guest unless the
//! plugin was granted to read it. What interfaces do natively lies in `freezer-io`.

mod answers;
mod bindings;
mod cache;
mod component;
mod convert;
pub mod discover;
mod engine;
pub mod error;
mod escape;
mod grant_file;
pub mod grants;
mod guest;
pub mod host;
mod interfaces;
mod journal;
pub mod limits;
mod log_gate;
pub mod manifest;
pub mod mode;
mod pool;
pub mod run;
pub mod settings;
mod storage;
mod url;

pub use discover::Discovered;
pub use error::{CONTRACT, LimitHit, PluginError, Refusal};
pub use host::{HostConfig, LeftoverReport, Plugin, PluginHost};
pub use manifest::{PluginKind, PluginManifest};
pub use mode::{BackupRequest, Destination, ModeBackup, ModeRestore, ModeSource, Outcome, RestoreRequest};
pub use run::{Run, RunConfig};
pub use settings::{SettingType, SettingValue, Settings};
pub use url::UrlPart;
