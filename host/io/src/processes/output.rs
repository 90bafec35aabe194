//! Standard output as a reader that fails at its end unless the command ended well.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ChildStdout;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::process::{Process, Shared};
use crate::error::{Error, ErrorKind};
use crate::stop::{POLL, Stop};

/// A command's output. Dropped early, it closes the pipe; the last handle stops the command.
pub struct OutputReader {
    pipe: Option<ChildStdout>,
    process: Arc<Process>,
    stop: Stop,
    end: Option<Result<(), Error>>,
}

impl std::fmt::Debug for OutputReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("OutputReader")
            .field(&self.process)
            .finish()
    }
}

impl OutputReader {
    pub(super) fn new(process: Arc<Process>, pipe: ChildStdout, stop: Stop) -> Self {
        Self {
            pipe: Some(pipe),
            process,
            stop,
            end: None,
        }
    }

    /// How the command ended, after its output did.
    fn judge(&self) -> Result<(), Error> {
        let exit = self.process.wait_blocking(&self.stop)?;
        if exit.code == 0 {
            return Ok(());
        }
        let message = format!("{:?} failed: {}", self.process.name(), exit.reason());
        Err(Error::new(ErrorKind::Other, message))
    }
}

impl Read for OutputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(pipe) = &mut self.pipe {
            self.stop.check()?;
            if !is_readable(pipe)? {
                continue;
            }
            match pipe.read(buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.end.is_none() {
            self.end = Some(self.judge());
        }
        match &self.end {
            Some(Err(error)) => Err(error.clone().into()),
            _ => Ok(0),
        }
    }
}

/// Waits a moment for bytes or the end.
fn is_readable(pipe: &impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(pipe, PollFlags::IN)];
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(POLL.subsec_nanos()),
    };
    match rustix::event::poll(&mut asked, Some(&moment)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A pipe that also ends when the command's group is gone: somebody who left the group may still hold it open.
pub(super) struct Until<P> {
    pipe: P,
    shared: Arc<Shared>,
}

impl<P> Until<P> {
    pub(super) fn gone(pipe: P, shared: &Arc<Shared>) -> Self {
        Self {
            pipe,
            shared: Arc::clone(shared),
        }
    }
}

impl<P: Read + AsFd> Read for Until<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if is_readable(&self.pipe)? {
                return self.pipe.read(buffer);
            }
            // What it said just before its end is still in the pipe.
            if self.shared.is_gone() && !is_readable(&self.pipe)? {
                return Ok(0);
            }
        }
    }
}
