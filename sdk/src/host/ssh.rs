//! Another machine, by SSH and SFTP. Needs the grant `ssh` for host and port.

use crate::error::Result;
use crate::host::backend::ssh as backend;
use crate::host::bodies::Body;
use crate::host::commands::{Child, Command};
use crate::host::directories::{Access, Directory};

pub use crate::bindings::imports::freezer::plugin::ssh::{Login, PrivateKey, Target};

/// Connects and logs in.
///
/// # Errors
/// `denied` (no grant, unknown key, refused login); `unavailable`; `not-found`.
pub fn connect(target: &Target) -> Result<Connection> {
    Ok(Connection(backend::connect(target)?))
}

/// An open connection; what was opened from it keeps it open.
#[derive(Debug)]
pub struct Connection(backend::Connection);

impl Connection {
    /// Opens a directory of the other machine.
    ///
    /// # Errors
    /// `not-found`; `denied`; `invalid`; `unavailable` if the connection broke.
    pub fn open(&self, root: &str, access: Access) -> Result<Directory> {
        Ok(Directory(self.0.open(root, access)?))
    }

    /// Starts a command there.
    ///
    /// # Errors
    /// `denied` by the other machine; `unavailable` if the connection broke.
    pub fn spawn(&self, command: &Command, input: Option<&Body>) -> Result<Child> {
        Ok(Child(self.0.spawn(command, input.map(|body| &body.0))?))
    }
}
