//! What the fake host holds, and the one gate through which every fallible call goes: recording, cancel, faults.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::disk::Disk;
use super::{FakeAnswer, FakeExit, FakeHost, FakeResponse};
use crate::bindings::imports::freezer::plugin::{commands, http, sql, types};
use crate::error::{Error, ErrorKind, Result};
use crate::host::control::LogLevel;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

pub(super) type WitResult<T> = std::result::Result<T, types::Error>;
pub(super) type HttpAnswer = Box<dyn FnMut(&http::Request, &[u8]) -> Result<FakeResponse>>;
pub(super) type CommandAnswer = Box<dyn FnMut(&commands::Command, &[u8]) -> Result<FakeExit>>;
pub(super) type SqlAnswer = Box<dyn FnMut(&str, &[sql::Value]) -> Result<FakeAnswer>>;
pub(super) type Intrusion = Box<dyn FnOnce(&FakeHost)>;
pub(super) type TcpAnswer = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>>>;

/// One recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Interface or resource, and function: "files.open", "directory.write".
    pub name: &'static str,
    /// What it was about: a path, a URL, a statement.
    pub subject: String,
}

/// Where and how a call fails.
#[derive(Debug)]
pub(super) struct Fault {
    /// Matching calls to let pass before.
    pub(super) position: usize,
    /// Only calls of that name match; all do without it.
    pub(super) name: Option<&'static str>,
    pub(super) error: types::Error,
    /// True: the call takes effect and its answer gets lost.
    pub(super) applied: bool,
}

/// All that changes while a plugin runs.
#[derive(Default)]
pub(super) struct State {
    pub(super) calls: Vec<Call>,
    pub(super) fault: Option<Fault>,
    pub(super) intrusion: Option<(&'static str, Intrusion)>,
    pub(super) cancelled: bool,
    pub(super) logs: Vec<(LogLevel, String)>,
    pub(super) progress: Option<(String, Option<u8>)>,
    pub(super) waited: Duration,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) leftovers: BTreeMap<u64, (String, String)>,
    pub(super) announced: u64,
    pub(super) open_handles: usize,
    pub(super) freezable: Vec<String>,
    pub(super) http: Option<HttpAnswer>,
    pub(super) commands: Option<CommandAnswer>,
    pub(super) sql: Option<SqlAnswer>,
    pub(super) tcp: Option<TcpAnswer>,
}

/// The fake host of one thread.
#[derive(Default)]
pub(super) struct Machine {
    state: RefCell<State>,
    disks: RefCell<BTreeMap<String, Rc<Disk>>>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// The disk behind a root; a new one has no root directory yet.
    pub(super) fn disk(&self, root: &str) -> Rc<Disk> {
        Rc::clone(self.disks.borrow_mut().entry(root.to_owned()).or_default())
    }

    /// The disk behind a root that was granted.
    pub(super) fn granted(&self, root: &str) -> WitResult<Rc<Disk>> {
        let disk = self.disks.borrow().get(root).map(Rc::clone);
        disk.ok_or_else(|| fault(ErrorKind::Denied, format!("not granted: files \"{root}\"")))
    }

    pub(super) fn cut_power(&self) {
        self.disks.borrow().values().for_each(|disk| disk.cut_power());
    }
}

/// The root under which the directory of another machine is kept.
pub(super) fn remote_root(host: &str, root: &str) -> String {
    format!("{host}:{root}")
}

pub(super) fn install(machine: Rc<Machine>) {
    let before = CURRENT.with(|current| current.borrow_mut().replace(machine));
    assert!(
        before.is_none(),
        "this thread has a fake host already: drop it first"
    );
}

pub(super) fn remove() {
    CURRENT.with(|current| current.borrow_mut().take());
}

/// The host of this thread.
pub(super) fn current() -> Rc<Machine> {
    let machine = CURRENT.with(|current| current.borrow().as_ref().map(Rc::clone));
    machine.expect("a test that makes host calls begins with `FakeHost::new()`")
}

/// Runs `act` unless the run is cancelled or the script wants this call to fail.
pub(super) fn call<T>(
    name: &'static str,
    subject: impl Into<String>,
    act: impl FnOnce(&Machine) -> WitResult<T>,
) -> WitResult<T> {
    let machine = current();
    let lost = {
        let mut state = machine.state();
        state.calls.push(Call {
            name,
            subject: subject.into(),
        });
        if state.cancelled {
            return Err(fault(ErrorKind::Cancelled, "cancelled"));
        }
        match due(&mut state, name) {
            Some(fault) if !fault.applied => return Err(fault.error),
            lost => lost,
        }
    };
    if let Some(act) = intruder(&machine, name) {
        super::lend(&machine, act);
    }
    let result = act(&machine);
    match lost {
        Some(fault) => Err(fault.error),
        None => result,
    }
}

/// What another program does before this call, if anything.
fn intruder(machine: &Machine, name: &'static str) -> Option<Intrusion> {
    let mut state = machine.state();
    let due = state.intrusion.take_if(|(wanted, _)| *wanted == name);
    due.map(|(_, act)| act)
}

/// The scripted fault, if it is this call's turn.
fn due(state: &mut State, name: &'static str) -> Option<Fault> {
    let scripted = state
        .fault
        .as_mut()
        .filter(|fault| fault.name.is_none_or(|wanted| wanted == name))?;
    if scripted.position == 0 {
        return state.fault.take();
    }
    scripted.position -= 1;
    None
}

/// A failure in the contract's own type.
pub(super) fn fault(kind: ErrorKind, message: impl Into<String>) -> types::Error {
    Error::new(kind, message).into()
}

/// Counts a handle as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenHandle(());

impl OpenHandle {
    pub(super) fn new(machine: &Machine) -> Self {
        machine.state().open_handles += 1;
        OpenHandle(())
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        // A handle may outlive its host at the end of a test.
        let machine = CURRENT.with(|current| current.borrow().as_ref().map(Rc::clone));
        if let Some(machine) = machine {
            machine.state().open_handles -= 1;
        }
    }
}
