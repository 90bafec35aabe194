//! A running command: who watches it, how it is waited for and how it ends.
//!
//! One thread starts the command, waits for its end and reaps it. Until then the ended command stays a zombie, so that
//! the number of its group can't belong to anybody else when the group is stopped.

use std::io::Read;
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::command::Command;
use super::output::OutputReader;
use super::stderr::{self, Tail};
use super::{input, spawn};
use crate::error::{Error, ErrorKind};
use crate::stop::{POLL, Stop};

/// How long a command may clean up after SIGTERM, as the contract says.
const GRACE: Duration = Duration::from_secs(5);
/// How long after the end the last words and the fate of the input are waited for: others may hold these pipes open.
const AFTERMATH: Duration = Duration::from_secs(1);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last 16 KiB of standard error, escaped.
    pub stderr: String,
}

impl Exit {
    /// What happened, for a message: "exit code 3: the last lines".
    #[must_use]
    pub fn reason(&self) -> String {
        let how = match (self.signal, self.code) {
            (Some(signal), _) => format!("it was ended by signal {signal}"),
            (None, 127) => "exit code 127, command not found".to_owned(),
            (None, code) => format!("exit code {code}"),
        };
        match stderr::last_lines(&self.stderr) {
            text if text.is_empty() => how,
            text => format!("{how}: {text}"),
        }
    }
}

/// What became of the input.
pub(super) enum Fed {
    /// There is none, or the command has all of it.
    All,
    /// It is being fed.
    Feeding,
    /// The command ended or closed its input before it had read everything.
    Unread,
    /// The input itself broke off.
    Broken(Error),
}

pub(super) struct State {
    pub(super) fed: Fed,
    output: Option<ChildStdout>,
    ended: Option<(Instant, i32, Option<i32>)>,
    tail: Tail,
    stderr_open: bool,
    stopping: bool,
    gone: bool,
}

/// What the threads of one command share.
pub(super) struct Shared {
    name: String,
    pid: Pid,
    state: Mutex<State>,
    changed: Condvar,
}

/// A command with its process group, stopped when it is dropped.
pub struct Process {
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Process").field(&self.shared.name).finish()
    }
}

impl Process {
    /// Starts a command, feeds it `input` and closes that.
    ///
    /// # Errors
    /// `Invalid` beyond the limits, `NotFound`, `Denied`, `Other` if the system can't start it.
    pub fn start(command: &Command, input: Option<Box<dyn Read + Send>>) -> Result<Arc<Self>, Error> {
        let (started, start) = sync_channel(1);
        let (with_input, own) = (input.is_some(), command.clone());
        let keeper = thread("keeper", move || keep(&own, with_input, &started))?;
        let lost = || Error::new(ErrorKind::Other, "the thread of a command ended early");
        let (shared, child) = start.recv().map_err(|_| lost())??;
        let process = Arc::new(Self {
            shared: Arc::clone(&shared),
            keeper: Mutex::new(Some(keeper)),
        });
        if let Some(stderr) = child.stderr {
            let shared = Arc::clone(&shared);
            thread("errors", move || {
                stderr::drain(super::output::Until::gone(stderr, &shared), |piece| {
                    shared.lock().tail.push(piece);
                });
                shared.change(|state| state.stderr_open = false);
            })?;
        }
        if let (Some(source), Some(stdin)) = (input, child.stdin) {
            thread("input", move || {
                let fed = input::feed(source, stdin, &shared);
                shared.change(|state| state.fed = fed);
            })?;
        }
        Ok(process)
    }

    /// The program, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Standard output, once. Reading fails with `Cancelled` once `stop` is raised, and at the end unless the command ended
    /// with 0. The reader keeps the command alive.
    ///
    /// # Errors
    /// `Invalid` the second time.
    pub fn output(self: &Arc<Self>, stop: Stop) -> Result<OutputReader, Error> {
        let output = self.shared.lock().output.take();
        let taken = || Error::new(ErrorKind::Invalid, "the command's output was taken before");
        let output = output.ok_or_else(taken)?;
        Ok(OutputReader::new(Arc::clone(self), output, stop))
    }

    /// Waits for the end, without a thread; output that nobody took is thrown away.
    ///
    /// # Errors
    /// `Cancelled`; those of [`Process::ended`].
    pub async fn wait(&self, stop: &Stop) -> Result<Exit, Error> {
        self.discard_output()?;
        loop {
            if let Some(exit) = self.ended() {
                return exit;
            }
            stop.check()?;
            tokio::time::sleep(POLL / 4).await;
        }
    }

    /// The same for a thread that has nothing else to do.
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub fn wait_blocking(&self, stop: &Stop) -> Result<Exit, Error> {
        self.discard_output()?;
        loop {
            if let Some(exit) = self.ended() {
                return exit;
            }
            stop.check()?;
            self.shared.wait_for_change(POLL);
        }
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// `Other` if it ended with 0 and hadn't read all of its input; what broke the input.
    #[must_use]
    pub fn ended(&self) -> Option<Result<Exit, Error>> {
        let state = self.shared.lock();
        let (when, code, signal) = state.ended?;
        let pending = state.stderr_open || matches!(state.fed, Fed::Feeding);
        if pending && !state.gone && when.elapsed() < AFTERMATH {
            return None;
        }
        let name = &self.shared.name;
        Some(match &state.fed {
            Fed::Broken(error) => Err(error.clone()),
            Fed::Unread | Fed::Feeding if code == 0 => Err(Error::new(
                ErrorKind::Other,
                format!("{name:?} ended before it had read all of its input"),
            )),
            _ => Ok(Exit {
                code,
                signal,
                stderr: state.tail.text(),
            }),
        })
    }

    /// Stops the command with its whole group: SIGTERM, and SIGKILL after 5 s. Returns when it is gone; may be repeated.
    ///
    /// # Errors
    /// `Denied` if it runs as somebody else by now.
    pub fn stop(&self) -> Result<(), Error> {
        let asked = self.shared.signal(Signal::TERM);
        self.shared.change(|state| state.stopping = true);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && !self.shared.lock().gone {
            self.shared.wait_for_change(POLL);
        }
        if !self.shared.lock().gone {
            asked.and_then(|()| self.shared.signal(Signal::KILL))?;
            while !self.shared.lock().gone {
                self.shared.wait_for_change(POLL);
            }
        }
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            // A panic in it has been told by then.
            drop(keeper.join());
        }
        Ok(())
    }

    /// Lets output flow away that nobody asked for, or the command would wait for a reader forever.
    fn discard_output(&self) -> Result<(), Error> {
        let output = self.shared.lock().output.take();
        if let Some(output) = output {
            let output = super::output::Until::gone(output, &self.shared);
            thread("output", move || stderr::drain(output, |_| {}))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a command is left running");
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once the command and its group are no more.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// True once the command itself ended.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Ends the group at once: what it was given isn't whole.
    pub(super) fn kill(&self) {
        if let Err(error) = self.signal(Signal::KILL) {
            tracing::warn!(%error, "a command goes on with an input that broke off");
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let state = self.lock();
        if state.gone {
            return Ok(());
        }
        // The lock is held: the number can't be given to somebody else meanwhile.
        match rustix::process::kill_process_group(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::system(&format!("stop {:?}", self.name), errno)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_for_change(&self, at_most: Duration) {
        let waited = self.changed.wait_timeout(self.lock(), at_most);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The pipes of a command that was just started.
struct Pipes {
    stdin: Option<std::process::ChildStdin>,
    stderr: Option<std::process::ChildStderr>,
}

/// The life of the thread behind a command.
fn keep(command: &Command, with_input: bool, started: &SyncSender<Result<(Arc<Shared>, Pipes), Error>>) {
    let mut child = match spawn::start(command, with_input) {
        Ok(child) => child,
        Err(error) => {
            // Who asked waits for exactly this one answer.
            drop(started.send(Err(error)));
            return;
        }
    };
    // A process has a number above 0.
    let pid = Pid::from_child(&child);
    let shared = Arc::new(Shared {
        name: command.name(),
        pid,
        state: Mutex::new(State {
            fed: if with_input { Fed::Feeding } else { Fed::All },
            output: child.stdout.take(),
            ended: None,
            tail: Tail::default(),
            stderr_open: child.stderr.is_some(),
            stopping: false,
            gone: false,
        }),
        changed: Condvar::new(),
    });
    let pipes = Pipes {
        stdin: child.stdin.take(),
        stderr: child.stderr.take(),
    };
    drop(started.send(Ok((Arc::clone(&shared), pipes))));
    let (code, signal) = await_end(pid);
    shared.change(|state| state.ended = Some((Instant::now(), code, signal)));
    while !shared.lock().stopping {
        shared.wait_for_change(Duration::from_secs(60));
    }
    bury(&mut child, &shared);
}

/// Waits for the end without reaping.
fn await_end(pid: Pid) -> (i32, Option<i32>) {
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => {
                return match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => (code, None),
                    (None, signal) => (128 + signal.unwrap_or_default(), signal),
                };
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // Nobody else waits for our children, so this can't be; it must not pass for a success.
            Err(_) => return (255, None),
        }
    }
}

/// Ends what is left of the group and reaps.
fn bury(child: &mut Child, shared: &Shared) {
    if let Err(error) = child.wait() {
        tracing::debug!(%error, "can't reap a command");
    }
    let deadline = Instant::now() + GRACE;
    // As long as one member lives, the number of the group is taken.
    while rustix::process::test_kill_process_group(shared.pid).is_ok() {
        let signal = match Instant::now() < deadline {
            true => Signal::TERM,
            false => Signal::KILL,
        };
        if rustix::process::kill_process_group(shared.pid, signal).is_err() {
            break;
        }
        std::thread::sleep(POLL);
    }
    shared.change(|state| state.gone = true);
}

fn thread(what: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let builder = std::thread::Builder::new().name(format!("command {what}"));
    let started = builder.spawn(work);
    started.map_err(|error| {
        Error::new(
            ErrorKind::Other,
            format!("can't start a thread for a command: {error}"),
        )
    })
}
