//! Frozen views of local volumes. Needs the grant `snapshots` for the path. Only modes may use it.

use crate::error::Result;
use crate::host::backend::snapshots as backend;

pub use crate::bindings::imports::freezer::plugin::types::Field;

/// Freezes the volume that holds `path` and mounts the view.
///
/// # Errors
/// `unsupported` if it can't be frozen; `denied` without a grant; `invalid` for an unknown option; `other` if there is no room.
pub fn create(path: &str, options: &[Field]) -> Result<Snapshot> {
    Ok(Snapshot(backend::create(path, options)?))
}

/// A frozen view; released when dropped and at the end of the run, however it ends.
#[derive(Debug)]
pub struct Snapshot(backend::Snapshot);

impl Snapshot {
    /// The absolute path at which the frozen view of the asked path can be read.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// What was made, for people.
    pub fn description(&self) -> String {
        self.0.description()
    }
}
