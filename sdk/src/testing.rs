//! A fake host, so that a plugin is tested natively, without wasm.
//!
//! [`FakeHost::new`] puts one in place for the current thread; all wrappers of [`crate::host`] then talk to it until it is
//! dropped. It keeps directories in memory, records calls and log lines, and fails where it is told to: to test every fault
//! position, run the same thing with [`FakeHost::fail_call`] at 0, 1, 2 … until [`FakeHost::fault_struck`] says no.

#[doc(hidden)]
pub mod backend;
mod body;
mod disk;
mod machine;

use std::rc::Rc;
use std::time::Duration;

use crate::bindings::imports::freezer::plugin::{commands, http, sql, types};
use crate::error::{Error, Result};
use crate::host::bodies::Body;
use crate::host::control::LogLevel;
use body::FakeBody;
use machine::{Fault, Machine};

pub use machine::Call;

/// The host of the current thread. Dropping it takes it away, with all that it holds.
#[derive(Debug)]
pub struct FakeHost {
    machine: Rc<Machine>,
    /// False for the one that is lent to a test's own code: dropping that doesn't take the host away.
    owner: bool,
}

/// An HTTP answer.
#[derive(Clone, Debug, Default)]
pub struct FakeResponse {
    /// The status.
    pub status: u16,
    /// The headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub content: Vec<u8>,
}

/// What a command does.
#[derive(Clone, Debug, Default)]
pub struct FakeExit {
    /// The exit code; unless it is 0, the output stream fails at its end.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// A database's answer to `execute` (the count) or `query` (the rows).
#[derive(Clone, Debug, Default)]
pub struct FakeAnswer {
    /// Affected rows.
    pub affected: u64,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<sql::Value>>,
}

impl FakeHost {
    /// Puts an empty host in place: no directories, no secrets, no services.
    ///
    /// # Panics
    /// If the thread has one already.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the thread, which a default must not"
    )]
    pub fn new() -> Self {
        let machine = Rc::new(Machine::default());
        machine::install(Rc::clone(&machine));
        FakeHost { machine, owner: true }
    }

    /// Makes an empty directory of this machine and grants it for reading and writing.
    pub fn add_directory(&self, root: &str) {
        self.machine.disk(root).make_root();
    }

    /// Grants a directory of this machine that isn't there yet.
    pub fn grant_directory(&self, root: &str) {
        self.machine.disk(root);
    }

    /// Makes a directory of another machine, for `ssh`.
    pub fn add_remote_directory(&self, host: &str, root: &str) {
        self.machine.disk(&machine::remote_root(host, root)).make_root();
    }

    /// From now on, writing below this root is denied, as on a read-only file system.
    pub fn set_read_only(&self, root: &str) {
        self.machine.disk(root).set_read_only();
    }

    /// Lets the files below this root hold that many bytes in all; what goes beyond fails in the middle, as on a full disk.
    pub fn set_capacity(&self, root: &str, bytes: u64) {
        self.machine.disk(root).set_capacity(bytes);
    }

    /// Puts a file below a root, with its parents, as if another program had.
    ///
    /// # Panics
    /// If the path leads through something that is no directory.
    pub fn put_file(&self, root: &str, path: &str, content: &[u8]) {
        self.machine.disk(root).put_file(path, content);
    }

    /// Puts a symlink below a root, as if another program had.
    ///
    /// # Panics
    /// If the path leads through something that is no directory.
    pub fn put_symlink(&self, root: &str, path: &str) {
        self.machine.disk(root).put_symlink(path);
    }

    /// The content of a file below a root, if there is one.
    pub fn file(&self, root: &str, path: &str) -> Option<Vec<u8>> {
        self.machine.disk(root).file(path)
    }

    /// The paths of all files and symlinks below a root, in order.
    pub fn paths(&self, root: &str) -> Vec<String> {
        self.machine.disk(root).paths()
    }

    /// Cuts the power: files that were written but not published lose their content.
    pub fn cut_power(&self) {
        self.machine.cut_power();
    }

    /// Sets a secret setting and grants it.
    pub fn set_secret(&self, name: &str, value: &str) {
        self.machine
            .state()
            .secrets
            .insert(name.to_owned(), value.to_owned());
    }

    /// Gives a setting of type `file` its content.
    pub fn set_file(&self, setting: &str, content: impl Into<Vec<u8>>) {
        self.machine
            .state()
            .files
            .insert(setting.to_owned(), content.into());
    }

    /// A replayable body, such as a segment of the backup.
    pub fn segment(&self, content: &[u8]) -> Body {
        Body(backend::bodies::Body::from(FakeBody::replayable(content)))
    }

    /// A stream that can be used once.
    pub fn stream(&self, content: &[u8]) -> Body {
        Body(backend::bodies::Body::from(FakeBody::stream(content, None)))
    }

    /// A stream that fails after these bytes.
    pub fn broken_stream(&self, content: &[u8], error: Error) -> Body {
        Body(backend::bodies::Body::from(FakeBody::stream(
            content,
            Some(error.into()),
        )))
    }

    /// Takes all bytes of a body, as the host does when it stores or restores it.
    ///
    /// # Errors
    /// What broke the stream; `invalid` if it was used before.
    pub fn drain(&self, body: &Body) -> Result<Vec<u8>> {
        Ok(body.0.drain()?)
    }

    /// Answers HTTP requests; the second argument is the request's content.
    pub fn serve_http(&self, answer: impl FnMut(&http::Request, &[u8]) -> Result<FakeResponse> + 'static) {
        self.machine.state().http = Some(Box::new(answer));
    }

    /// Answers commands, of this machine and by `ssh`; the second argument is standard input.
    pub fn serve_commands(
        &self,
        answer: impl FnMut(&commands::Command, &[u8]) -> Result<FakeExit> + 'static,
    ) {
        self.machine.state().commands = Some(Box::new(answer));
    }

    /// Answers SQL statements.
    pub fn serve_sql(&self, answer: impl FnMut(&str, &[sql::Value]) -> Result<FakeAnswer> + 'static) {
        self.machine.state().sql = Some(Box::new(answer));
    }

    /// Answers what is written to a TCP connection; the answer is what can be read next.
    pub fn serve_tcp(&self, answer: impl FnMut(&[u8]) -> Result<Vec<u8>> + 'static) {
        self.machine.state().tcp = Some(Box::new(answer));
    }

    /// Lets a path be frozen by `snapshots`.
    pub fn allow_snapshot(&self, path: &str) {
        self.machine.state().freezable.push(path.to_owned());
    }

    /// Handles that are open now: connections, snapshots, unread commands. 0 when a plugin has cleaned up.
    pub fn open_handles(&self) -> usize {
        self.machine.state().open_handles
    }

    /// Announced and unsettled leftovers: description and undo text.
    pub fn leftovers(&self) -> Vec<(String, String)> {
        self.machine.state().leftovers.values().cloned().collect()
    }

    /// The user cancels: from now on host calls fail with `cancelled`.
    pub fn cancel(&self) {
        self.machine.state().cancelled = true;
    }

    /// What the host does before `finish`: host calls work again.
    pub fn mask_cancel(&self) {
        self.machine.state().cancelled = false;
    }

    /// The log, in order.
    pub fn logs(&self) -> Vec<(LogLevel, String)> {
        self.machine.state().logs.clone()
    }

    /// What the progress line says now.
    pub fn progress(&self) -> Option<(String, Option<u8>)> {
        self.machine.state().progress.clone()
    }

    /// How long the plugin has waited in all. No time passes in tests.
    pub fn waited(&self) -> Duration {
        self.machine.state().waited
    }

    /// All calls that can fail, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.machine.state().calls.clone()
    }

    /// Forgets the recorded calls.
    pub fn clear_calls(&self) {
        self.machine.state().calls.clear();
    }

    /// Lets the `position`-th call from now (0 is the next) fail before it has any effect.
    pub fn fail_call(&self, position: usize, error: Error) {
        self.script(Fault {
            position,
            name: None,
            error: error.into(),
            applied: false,
        });
    }

    /// Lets the `position`-th call from now take effect, and its answer get lost.
    pub fn lose_answer(&self, position: usize, error: Error) {
        self.script(Fault {
            position,
            name: None,
            error: error.into(),
            applied: true,
        });
    }

    /// Lets the next call of that name ("directory.write") fail before it has any effect.
    pub fn fail_next(&self, name: &'static str, error: Error) {
        self.script(Fault {
            position: 0,
            name: Some(name),
            error: error.into(),
            applied: false,
        });
    }

    /// Lets another program act just before the next call of that name takes effect.
    pub fn before_next(&self, name: &'static str, act: impl FnOnce(&FakeHost) + 'static) {
        self.machine.state().intrusion = Some((name, Box::new(act)));
    }

    /// True if the scripted fault has struck; it is forgotten either way.
    pub fn fault_struck(&self) -> bool {
        self.machine.state().fault.take().is_none()
    }

    fn script(&self, fault: Fault) {
        self.machine.state().fault = Some(fault);
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        if self.owner {
            machine::remove();
        }
    }
}

/// The host, lent to a test's own code while a call is being answered.
fn lend(machine: &Rc<Machine>, act: impl FnOnce(&FakeHost)) {
    let machine = Rc::clone(machine);
    act(&FakeHost {
        machine,
        owner: false,
    });
}

/// The error that a service gives when nobody answers for it.
fn unanswered(interface: &str) -> types::Error {
    Error::denied(format!("the fake host was not told to answer \"{interface}\"")).into()
}

#[cfg(test)]
mod tests;
