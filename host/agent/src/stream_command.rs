//! A command of the user's that writes or reads a stream: a line for `sh -c`, in a process group of its own.
//!
//! Its exit status counts as much as its bytes: a source fails at its end if the command did, and a sink isn't done before
//! the command is. Waiting heeds the cancel token; a group that is given up gets SIGTERM, a few seconds, then SIGKILL.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use freezer_pipeline::cancel::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::process_group::{is_for_later, patient};

/// Between SIGTERM and SIGKILL: enough to close files and roll back.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often the cancel token is looked at while nothing else happens.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A command that runs. Dropping it ends all of its group.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Readable as soon as the command has ended.
    end: OwnedFd,
    cancel: Cancel,
    is_over: bool,
    guard: Option<Guard>,
}

/// A process that kills the command's group when this one is gone without having said that all is well: after `kill -9`,
/// or a second Ctrl-C, the end of the pipe would look to a sink like the end of its stream. So the guard keeps the pipe
/// open until the group is dead.
#[derive(Debug)]
struct Guard {
    child: Child,
    /// The guard waits for its end, which comes with the end of this process at the latest.
    _life: PipeWriter,
}

impl Guard {
    /// What the guard does: nothing is ever written to its standard input.
    const SCRIPT: &str = "read -r line; kill -s KILL -- \"-$0\"";

    fn start(group: Pid, held_open: Stdio) -> io::Result<Self> {
        let (reader, life) = io::pipe()?;
        let child = Command::new("sh")
            .args(["-c", Self::SCRIPT, &group.as_raw_nonzero().to_string()])
            .stdin(reader)
            .stdout(held_open)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child, _life: life })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its pipe is closed, or it would do its work.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::debug!(%error, "a guard can't be ended");
        }
    }
}

impl Running {
    fn start(
        line: &OsStr,
        (stdin, stdout): (Stdio, Stdio),
        hidden: &[String],
        cancel: &Cancel,
    ) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(line)
            .stdin(stdin)
            .stdout(stdout)
            .process_group(0);
        for name in hidden {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(end) => Ok(Self {
                child,
                end,
                cancel: cancel.clone(),
                is_over: false,
                guard: None,
            }),
            Err(errno) => {
                drop(child.kill());
                drop(child.wait());
                Err(errno.into())
            }
        }
    }

    /// Has the group killed if this process ends before it; `held_open` stays open until then.
    fn guard(&mut self, held_open: Stdio) -> io::Result<()> {
        self.guard = Some(Guard::start(Pid::from_child(&self.child), held_open)?);
        Ok(())
    }

    /// Waits for the end of the command; an error if it isn't status 0.
    fn finish(&mut self) -> io::Result<()> {
        await_ready(self.end.as_fd(), PollFlags::IN, &self.cancel)?;
        self.is_over = true;
        // Its number is free for others once it is reaped.
        drop(self.guard.take());
        judge(self.child.wait()?)
    }

    fn has_ended(&self, within: &Timespec) -> io::Result<bool> {
        let mut awaited = [PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN)];
        match poll(&mut awaited, Some(within)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(Pid::from_child(&self.child), signal) {
            // Everybody is gone already, which is what was wanted.
            tracing::debug!(%error, "no signal to a process group");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < LAST_WORDS && !self.has_ended(&TICK).unwrap_or(true) {}
        // Members that outlive the one that was waited for go too.
        self.signal(Signal::KILL);
        drop(self.guard.take());
        if let Err(error) = self.child.wait() {
            tracing::debug!(%error, "a command can't be waited for");
        }
    }
}

/// Waits until `pipe` is ready.
///
/// # Errors
/// Once the run is cancelled, and what the system says.
pub fn await_ready(pipe: BorrowedFd<'_>, wanted: PollFlags, cancel: &Cancel) -> io::Result<()> {
    loop {
        if cancel.is_cancelled() {
            return Err(io::Error::other("the run was stopped"));
        }
        let mut awaited = [PollFd::from_borrowed_fd(pipe, wanted)];
        match poll(&mut awaited, Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn judge(status: ExitStatus) -> io::Result<()> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(io::Error::other(format!(
            "its command ended with exit status {code}"
        ))),
        (None, signal) => Err(io::Error::other(format!(
            "signal {} ended its command",
            signal.unwrap_or(0)
        ))),
    }
}

/// What a command writes to its standard output. Its end is one only if the command ended with status 0.
#[derive(Debug)]
pub(crate) struct CommandSource {
    running: Running,
    pipe: File,
    is_over: bool,
}

impl CommandSource {
    /// Starts a command; `hidden` variables of the environment are kept from it.
    ///
    /// # Errors
    /// There is no shell, or no process can be made.
    pub(crate) fn start(line: &OsStr, hidden: &[String], cancel: &Cancel) -> io::Result<Self> {
        let mut running = Running::start(line, (Stdio::null(), Stdio::piped()), hidden, cancel)?;
        running.guard(Stdio::null())?;
        let pipe = running.child.stdout.take().ok_or_else(no_pipe)?;
        Ok(Self {
            running,
            pipe: File::from(patient(pipe.into())?),
            is_over: false,
        })
    }
}

impl Read for CommandSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            await_ready(self.pipe.as_fd(), PollFlags::IN, &self.running.cancel)?;
            match self.pipe.read(buffer) {
                Ok(0) => {
                    self.running.finish()?;
                    self.is_over = true;
                    return Ok(0);
                }
                Err(error) if is_for_later(&error) => {}
                read => return read,
            }
        }
    }
}

/// A command that reads from its standard input. Dropped before [`CommandSink::finish`], it is ended by force, so that it
/// never takes a part for the whole.
#[derive(Debug)]
pub(crate) struct CommandSink {
    running: Running,
    pipe: Option<File>,
}

impl CommandSink {
    /// Starts a command; `hidden` variables of the environment are kept from it. What it says goes to `stdout`.
    ///
    /// # Errors
    /// There is no shell, or no process can be made.
    pub(crate) fn start(line: &OsStr, stdout: Stdio, hidden: &[String], cancel: &Cancel) -> io::Result<Self> {
        let mut running = Running::start(line, (Stdio::piped(), stdout), hidden, cancel)?;
        let pipe = running.child.stdin.take().ok_or_else(no_pipe)?;
        running.guard(pipe.as_fd().try_clone_to_owned()?.into())?;
        Ok(Self {
            running,
            pipe: Some(File::from(patient(pipe.into())?)),
        })
    }

    /// Says that this is all, and waits for the command's end.
    ///
    /// # Errors
    /// The command failed, or the run was cancelled.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        // The guard holds the pipe open, too.
        drop(self.running.guard.take());
        drop(self.pipe.take());
        self.running.finish()
    }
}

impl Write for CommandSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = self.pipe.as_mut().ok_or_else(no_pipe)?;
        loop {
            await_ready(pipe.as_fd(), PollFlags::OUT, &self.running.cancel)?;
            match pipe.write(bytes) {
                Err(error) if is_for_later(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    // The reason is the command's, if it has one.
                    self.running.finish()?;
                    return Err(io::Error::other(
                        "its command ended before it had read everything",
                    ));
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("its command has no pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> (io::Result<usize>, Vec<u8>) {
        let mut source = CommandSource::start(OsStr::new(line), &[], &Cancel::new()).unwrap();
        let mut bytes = Vec::new();
        (source.read_to_end(&mut bytes), bytes)
    }

    fn sink(line: &str, bytes: &[u8]) -> io::Result<()> {
        let mut sink = CommandSink::start(OsStr::new(line), Stdio::null(), &[], &Cancel::new()).unwrap();
        sink.write_all(bytes)?;
        sink.finish()
    }

    #[test]
    fn a_command_s_bytes_end_well_only_with_status_0() {
        assert!(matches!(source("printf abc"), (Ok(3), bytes) if bytes == b"abc"));
        let (failed, bytes) = source("printf abc; exit 3");
        assert_eq!(bytes, b"abc");
        assert_eq!(
            failed.unwrap_err().to_string(),
            "its command ended with exit status 3"
        );
        let (killed, _) = source("printf abc; kill -9 $$");
        assert_eq!(killed.unwrap_err().to_string(), "signal 9 ended its command");
        // What closes its output early can still fail.
        assert!(source("exec >&-; sleep 0.2; exit 4").0.is_err());
    }

    #[test]
    fn a_sink_is_done_when_its_command_is() {
        assert!(sink("test \"$(cat)\" = abc", b"abc").is_ok());
        assert_eq!(
            sink("cat >/dev/null; exit 5", b"abc").unwrap_err().to_string(),
            "its command ended with exit status 5"
        );
        let large = vec![0; 1 << 20];
        assert_eq!(
            sink("head -c 10 >/dev/null", &large).unwrap_err().to_string(),
            "its command ended before it had read everything"
        );
    }

    #[test]
    fn a_dropped_sink_does_not_tell_its_command_that_this_is_all() {
        let directory = tempfile::tempdir().unwrap();
        let done = directory.path().join("done");
        let line = format!("cat >/dev/null; touch {}", done.display());
        let mut sink = CommandSink::start(OsStr::new(&line), Stdio::null(), &[], &Cancel::new()).unwrap();
        sink.write_all(b"a part").unwrap();
        drop(sink);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!done.exists());
    }

    #[test]
    fn cancelling_ends_a_command_that_says_nothing() {
        let cancel = Cancel::new();
        let mut source = CommandSource::start(OsStr::new("sleep 300"), &[], &cancel).unwrap();
        let later = cancel.clone();
        let raised = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            later.cancel();
        });
        assert!(source.read(&mut [0; 8]).is_err());
        drop(source);
        raised.join().unwrap();
    }
}
