//! Fake `commands` and `processes`.

use std::cell::Cell;

use super::bodies::{Body, drain};
use crate::bindings::imports::freezer::plugin::commands::Command;
use crate::bindings::imports::freezer::plugin::types::Error;
use crate::error::ErrorKind;
use crate::testing::body::FakeBody;
use crate::testing::machine::{Machine, OpenHandle, call, fault};
use crate::testing::{FakeExit, unanswered};

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Child {
    exit: FakeExit,
    taken: Cell<bool>,
    _open: OpenHandle,
}

impl Child {
    pub(super) fn start(machine: &Machine, command: &Command, input: &[u8]) -> Result<Self, Error> {
        // The answer is taken out while it runs, since it may look at the host itself.
        let mut answer = machine
            .state()
            .commands
            .take()
            .ok_or_else(|| unanswered("processes"))?;
        let exit = answer(command, input);
        machine.state().commands = Some(answer);
        Ok(Child {
            exit: exit?,
            taken: Cell::new(false),
            _open: OpenHandle::new(machine),
        })
    }

    /// `child.output`.
    pub fn output(&self) -> Result<Body, Error> {
        call("child.output", "", |_| {
            if self.taken.replace(true) {
                return Err(fault(ErrorKind::Invalid, "the output was taken before"));
            }
            let failed = || {
                fault(
                    ErrorKind::Other,
                    format!("the command ended with {}", self.exit.code),
                )
            };
            let end = (self.exit.code != 0).then(failed);
            Ok(FakeBody::stream(&self.exit.stdout, end).into())
        })
    }

    /// `child.wait`.
    pub fn wait(&self) -> Result<(i32, String), Error> {
        call("child.wait", "", |_| {
            Ok((self.exit.code, self.exit.stderr.clone()))
        })
    }

    /// `child.kill`.
    pub fn kill(&self) -> Result<(), Error> {
        call("child.kill", "", |_| Ok(()))
    }
}

/// Fake `processes`.
pub mod processes {
    use super::{Body, Child, Command, Error, call, drain};

    /// `processes.spawn`.
    pub fn spawn(command: &Command, input: Option<&Body>) -> Result<Child, Error> {
        call("processes.spawn", command.program.clone(), |machine| {
            Child::start(machine, command, &drain(input)?)
        })
    }
}
