//! Commands: of this machine ([`spawn`]) or of another ([`crate::host::ssh`]).

use crate::error::{Error, Result};
use crate::host::backend::{commands as backend, processes};
use crate::host::bodies::Body;

pub use crate::bindings::imports::freezer::plugin::commands::Command;
pub use crate::bindings::imports::freezer::plugin::types::Field;

impl Command {
    /// A command with these arguments, an empty environment and no inputs.
    pub fn new<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        Command {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: None,
            inputs: Vec::new(),
        }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push(Field {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Gives it a file in memory: `{input:NAME}` in arguments and variables is its path, `{secret:NAME}` in its content a secret.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, content: impl Into<String>) -> Self {
        self.inputs.push(Field {
            name: name.into(),
            value: content.into(),
        });
        self
    }
}

/// Starts a command of this machine; `input` is fed to its standard input. Needs the grant `processes`.
///
/// # Errors
/// `denied` without a grant; `not-found` if there is no such program.
pub fn spawn(command: &Command, input: Option<&Body>) -> Result<Child> {
    Ok(Child(processes::spawn(command, input.map(|body| &body.0))?))
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// The last 16 KiB of standard error, escaped.
    pub stderr: String,
}

/// A started command with its process group.
#[derive(Debug)]
pub struct Child(pub(crate) backend::Child);

impl Child {
    /// Standard output as a stream, once. Its last read fails unless the exit code is 0: a dump that broke off can't pass.
    ///
    /// # Errors
    /// `invalid` the second time.
    pub fn output(&self) -> Result<Body> {
        Ok(Body(self.0.output()?))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `cancelled`; `unavailable` if the connection to the other machine broke. A failed command is no error here: see [`run`].
    pub fn wait(&self) -> Result<Exit> {
        let (code, stderr) = self.0.wait()?;
        Ok(Exit { code, stderr })
    }

    /// Stops the command and returns when it is gone.
    ///
    /// # Errors
    /// `unavailable` if the connection to the other machine broke.
    pub fn kill(&self) -> Result<()> {
        Ok(self.0.kill()?)
    }
}

/// Runs a command of this machine to its end and demands exit code 0.
///
/// # Errors
/// As [`spawn`] and [`Child::wait`]; `other` with the last line of standard error for another exit code.
pub fn run(command: &Command) -> Result<()> {
    let exit = spawn(command, None)?.wait()?;
    if exit.code == 0 {
        return Ok(());
    }
    let line = exit.stderr.lines().last().unwrap_or("no message");
    Err(Error::other(format!(
        "\"{}\" ended with {}: {line}",
        command.program, exit.code
    )))
}
