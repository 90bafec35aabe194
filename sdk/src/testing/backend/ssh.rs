//! Fake `ssh`: directories added for a host, and the commands that the fake host answers.

use super::bodies::{Body, drain};
use super::commands::Child;
use super::directories::Directory;
use crate::bindings::imports::freezer::plugin::commands::Command;
use crate::bindings::imports::freezer::plugin::directories::Access;
use crate::bindings::imports::freezer::plugin::{ssh::Target, types::Error};
use crate::testing::machine::{OpenHandle, call, remote_root};

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Connection {
    host: String,
    _open: OpenHandle,
}

impl Connection {
    /// `ssh.connection.open`.
    pub fn open(&self, root: &str, access: Access) -> Result<Directory, Error> {
        let root = remote_root(&self.host, root);
        call("ssh.open", root.clone(), |machine| {
            Directory::open(machine.granted(&root)?, access)
        })
    }

    /// `ssh.connection.spawn`.
    pub fn spawn(&self, command: &Command, input: Option<&Body>) -> Result<Child, Error> {
        call("ssh.spawn", command.program.clone(), |machine| {
            Child::start(machine, command, &drain(input)?)
        })
    }
}

/// `ssh.connect`.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    call(
        "ssh.connect",
        format!("{}:{}", target.host, target.port),
        |machine| {
            Ok(Connection {
                host: target.host.clone(),
                _open: OpenHandle::new(machine),
            })
        },
    )
}
