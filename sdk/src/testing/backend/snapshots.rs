//! Fake `snapshots`.

use crate::bindings::imports::freezer::plugin::types::{Error, Field};
use crate::error::ErrorKind;
use crate::testing::machine::{OpenHandle, call, fault};

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Snapshot {
    path: String,
    _open: OpenHandle,
}

impl Snapshot {
    /// `snapshot.path`.
    pub fn path(&self) -> String {
        format!("/snapshot{}", self.path)
    }

    /// `snapshot.description`.
    pub fn description(&self) -> String {
        format!("fake {}", self.path)
    }
}

/// `snapshots.create`.
pub fn create(path: &str, _options: &[Field]) -> Result<Snapshot, Error> {
    call("snapshots.create", path, |machine| {
        if !machine
            .state()
            .freezable
            .iter()
            .any(|freezable| freezable == path)
        {
            return Err(fault(
                ErrorKind::Unsupported,
                format!("\"{path}\" can't be frozen"),
            ));
        }
        Ok(Snapshot {
            path: path.to_owned(),
            _open: OpenHandle::new(machine),
        })
    })
}
