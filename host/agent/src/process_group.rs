//! Commands of the user (hooks, `exec`) in a process group of their own, run to their end, within a time.
//!
//! One loop waits for everything: what the commands say, room for what they are told, their end, the clock and the
//! cancel token. A group that is stopped gets SIGTERM, a few seconds, then SIGKILL, all members alike. What a command
//! leaves running in the background after it ended by itself is left alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use freezer_pipeline::cancel::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Between SIGTERM and SIGKILL: enough to close files and undo a mount.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a background process may keep the outputs of an ended command open before nobody listens any more.
const LISTEN_ON: Duration = Duration::from_millis(200);
/// How often clock and cancel token are looked at while nothing else happens.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// A longer line is handed on in pieces.
const MAX_LINE: usize = 4096;

/// When a group is stopped.
#[derive(Debug, Clone, Copy)]
pub struct Stops<'a> {
    /// After this time; `None` for never.
    pub time_limit: Option<Duration>,
    /// When it is raised.
    pub cancel: &'a Cancel,
    /// When it is raised there is no wait between SIGTERM and SIGKILL.
    pub at_once: &'a Cancel,
}

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupEnd {
    /// By itself: the status of its last command.
    Ended(ExitStatus),
    /// Its time was up.
    TimedOut,
    /// It was cancelled.
    Cancelled,
}

/// Starts `commands` as a pipeline in one process group, tells the first `input`, hands what is said line by line to
/// `said`, and waits for their end. Outputs that the caller set to be inherited are not heard.
///
/// # Errors
/// When a command can't be started; those already started are killed.
pub(crate) fn run(
    commands: Vec<Command>,
    input: &[u8],
    stops: Stops<'_>,
    said: &mut dyn FnMut(&str),
) -> io::Result<GroupEnd> {
    let mut group = Group::default();
    let started = group.start(commands, input);
    match started.and_then(|()| group.wait(stops, said)) {
        Ok(why) => {
            let status = group.reap()?;
            Ok(why.unwrap_or(GroupEnd::Ended(status)))
        }
        Err(error) => {
            group.signal(Signal::KILL);
            drop(group.reap());
            Err(error)
        }
    }
}

/// Commands that run.
#[derive(Default)]
struct Group {
    leader: Option<Pid>,
    members: Vec<Child>,
    /// Readable as soon as a member has ended; it is reaped later, so that its number stays the group's.
    ends: Vec<OwnedFd>,
    input: Option<Input>,
    outputs: Vec<Lines>,
}

/// What is still to be told to the first command.
struct Input {
    pipe: OwnedFd,
    rest: Vec<u8>,
}

/// What comes out of one pipe.
struct Lines {
    pipe: File,
    line: Vec<u8>,
}

impl Group {
    fn start(&mut self, commands: Vec<Command>, input: &[u8]) -> io::Result<()> {
        let last = commands.len().saturating_sub(1);
        let mut previous: Option<Stdio> = None;
        for (number, mut command) in commands.into_iter().enumerate() {
            command.process_group(self.leader.map_or(0, |leader| leader.as_raw_nonzero().get()));
            if let Some(output) = previous.take() {
                command.stdin(output);
            }
            if number < last {
                command.stdout(Stdio::piped());
            }
            let mut child = command.spawn()?;
            let pid = Pid::from_child(&child);
            self.leader.get_or_insert(pid);
            let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            self.members.push(child);
            self.ends.push(pidfd_open(pid, PidfdFlags::empty())?);
            let (stdin, stdout, stderr) = pipes;
            if let Some(pipe) = stdin {
                self.input = Some(Input {
                    pipe: patient(pipe.into())?,
                    rest: input.to_vec(),
                });
            }
            match (stdout, number < last) {
                (Some(pipe), true) => previous = Some(pipe.into()),
                (Some(pipe), false) => self.listen(pipe.into())?,
                (None, _) => {}
            }
            if let Some(pipe) = stderr {
                self.listen(pipe.into())?;
            }
        }
        Ok(())
    }

    fn listen(&mut self, pipe: OwnedFd) -> io::Result<()> {
        self.outputs.push(Lines {
            pipe: File::from(patient(pipe)?),
            line: Vec::new(),
        });
        Ok(())
    }

    /// Waits until all members ended and nothing more is said; answers why they were stopped, if they were.
    fn wait(&mut self, stops: Stops<'_>, said: &mut dyn FnMut(&str)) -> io::Result<Option<GroupEnd>> {
        let begun = Instant::now();
        let mut stopped: Option<(GroupEnd, Instant)> = None;
        let mut all_ended: Option<Instant> = None;
        loop {
            self.turn(said)?;
            let now = Instant::now();
            if self.ends.is_empty() {
                let since = *all_ended.get_or_insert(now);
                if self.outputs.is_empty() || now - since >= LISTEN_ON || stopped.is_some() {
                    if stopped.is_some() {
                        // Members that outlived the one that was waited for.
                        self.signal(Signal::KILL);
                    }
                    self.outputs.iter_mut().for_each(|output| output.flush(said));
                    return Ok(stopped.map(|(why, _)| why));
                }
                continue;
            }
            match stopped {
                None => {
                    let is_late = stops.time_limit.is_some_and(|limit| now - begun >= limit);
                    let why = match (stops.cancel.is_raised(), is_late) {
                        (true, _) => GroupEnd::Cancelled,
                        (false, true) => GroupEnd::TimedOut,
                        (false, false) => continue,
                    };
                    stopped = Some((why, now));
                    self.signal(Signal::TERM);
                }
                Some((_, since)) if now - since >= LAST_WORDS || stops.at_once.is_raised() => {
                    self.signal(Signal::KILL);
                }
                Some(_) => {}
            }
        }
    }

    /// Waits for anything to happen and takes it up.
    fn turn(&mut self, said: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut awaited: Vec<PollFd<'_>> = Vec::with_capacity(self.ends.len() + self.outputs.len() + 1);
        awaited.extend(self.ends.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        awaited.extend(
            self.outputs
                .iter()
                .map(|lines| PollFd::new(&lines.pipe, PollFlags::IN)),
        );
        awaited.extend(
            self.input
                .iter()
                .map(|input| PollFd::new(&input.pipe, PollFlags::OUT)),
        );
        match poll(&mut awaited, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened: Vec<bool> = awaited.iter().map(|one| !one.revents().is_empty()).collect();
        let (ends, rest) = happened.split_at(self.ends.len());
        let (outputs, input) = rest.split_at(self.outputs.len());
        let mut ends = ends.iter();
        self.ends.retain(|_| !ends.next().copied().unwrap_or(false));
        let mut outputs = outputs.iter();
        self.outputs
            .retain_mut(|lines| !outputs.next().copied().unwrap_or(false) || lines.read(said));
        if input.first() == Some(&true) {
            self.input = self.input.take().and_then(Input::write);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader
            && let Err(error) = kill_process_group(leader, signal)
        {
            // Everybody is gone already, which is what was wanted.
            tracing::debug!(%error, "no signal to a process group");
        }
    }

    /// Takes the members out of the process table; the status of the last one.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        let mut last = Err(io::Error::other("there is no command"));
        for member in &mut self.members {
            last = member.wait();
        }
        last
    }
}

impl Input {
    /// Writes what there is room for; `None` when all is told, or nobody listens.
    fn write(mut self) -> Option<Input> {
        let mut pipe = File::from(self.pipe);
        match pipe.write(&self.rest) {
            Ok(written) if written >= self.rest.len() => None,
            Ok(written) => {
                self.rest.drain(..written);
                Some(Input {
                    pipe: pipe.into(),
                    rest: self.rest,
                })
            }
            Err(error) if is_for_later(&error) => Some(Input {
                pipe: pipe.into(),
                rest: self.rest,
            }),
            // A command needn't read what it is told.
            Err(_) => None,
        }
    }
}

impl Lines {
    /// Reads what is there and hands on whole lines; false at the end.
    fn read(&mut self, said: &mut dyn FnMut(&str)) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.pipe.read(&mut buffer) {
            Ok(read) if read > 0 => {
                for byte in &buffer[..read] {
                    match byte {
                        b'\n' => self.flush(said),
                        byte => self.line.push(*byte),
                    }
                    if self.line.len() >= MAX_LINE {
                        self.flush(said);
                    }
                }
                true
            }
            Err(error) if is_for_later(&error) => true,
            Ok(_) | Err(_) => {
                self.flush(said);
                false
            }
        }
    }

    fn flush(&mut self, said: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end();
        if !line.is_empty() {
            said(line);
        }
        self.line.clear();
    }
}

pub(crate) fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A pipe that answers at once that there is nothing, instead of waiting.
pub(crate) fn patient(pipe: OwnedFd) -> io::Result<OwnedFd> {
    let flags = fcntl_getfl(pipe.as_fd())?;
    fcntl_setfl(pipe.as_fd(), flags | OFlags::NONBLOCK)?;
    Ok(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_all(commands: Vec<Command>, input: &[u8], limit: Option<Duration>) -> (GroupEnd, Vec<String>) {
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        let mut lines = Vec::new();
        let stops = Stops {
            time_limit: limit,
            cancel: &cancel,
            at_once: &at_once,
        };
        let end = run(commands, input, stops, &mut |line| lines.push(line.to_owned()));
        (end.expect("it starts"), lines)
    }

    fn code(end: GroupEnd) -> Option<i32> {
        match end {
            GroupEnd::Ended(status) => status.code(),
            GroupEnd::TimedOut | GroupEnd::Cancelled => None,
        }
    }

    #[test]
    fn a_command_is_told_and_heard() {
        let (end, mut lines) = run_all(vec![shell("cat; echo two >&2; exit 7")], b"one\n", None);
        lines.sort();
        assert_eq!((code(end), lines), (Some(7), vec!["one".into(), "two".into()]));
    }

    #[test]
    fn a_command_that_does_not_listen_is_no_error_and_a_large_input_is_told_whole() {
        let input = vec![b'x'; 1 << 20];
        let (end, lines) = run_all(vec![shell("exit 0")], &input, None);
        assert_eq!((code(end), lines.len()), (Some(0), 0));
        let (_, lines) = run_all(vec![shell("sleep 0.1; wc -c")], &input, None);
        assert_eq!(lines, ["1048576"]);
    }

    #[test]
    fn of_a_pipeline_the_last_status_counts() {
        let (end, lines) = run_all(vec![shell("echo a; echo b; exit 3"), shell("wc -l")], b"", None);
        assert_eq!((code(end), lines), (Some(0), vec!["2".into()]));
    }

    #[test]
    fn a_command_whose_time_is_up_ends_with_its_children() {
        let text = "trap '' TERM; sleep 300 & echo $!; wait; sleep 300";
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        at_once.cancel();
        let mut lines = Vec::new();
        let stops = Stops {
            time_limit: Some(Duration::from_millis(300)),
            cancel: &cancel,
            at_once: &at_once,
        };
        let end = run(vec![shell(text)], b"", stops, &mut |line| {
            lines.push(line.to_owned())
        });
        assert_eq!(end.expect("it starts"), GroupEnd::TimedOut);
        let child: i32 = lines[0].parse().expect("a number");
        let child = Pid::from_raw(child).expect("a process");
        // Whoever adopts it reaps it soon.
        let deadline = Instant::now() + Duration::from_secs(30);
        while rustix::process::test_kill_process(child).is_ok() && !is_zombie(child) {
            assert!(Instant::now() < deadline, "the child lives on");
            std::thread::yield_now();
        }
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_raised_token_stops_it() {
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        cancel.cancel();
        let stops = Stops {
            time_limit: None,
            cancel: &cancel,
            at_once: &at_once,
        };
        let end = run(vec![shell("sleep 300")], b"", stops, &mut |_| {});
        assert_eq!(end.expect("it starts"), GroupEnd::Cancelled);
    }

    #[test]
    fn a_process_left_in_the_background_is_not_waited_for() {
        let begun = Instant::now();
        let (end, lines) = run_all(vec![shell("sleep 60 & echo $!")], b"", None);
        assert_eq!(code(end), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(50));
        let left: i32 = lines[0].parse().expect("a number");
        let left = Pid::from_raw(left).expect("a process");
        rustix::process::kill_process(left, Signal::KILL).expect("it is still there");
    }
}
