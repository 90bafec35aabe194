//! One SSH connection without a blocking call: every wait ends when the run is cancelled or the other side is silent for too long.
//!
//! libssh2 holds half-sent packets after "try again": the same call must come again before any other. So a call that is given up
//! breaks the link for good, and whoever needs it connects anew.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use ssh2::{BlockDirections, ErrorCode, Session};

use crate::error::{Error, ErrorKind};
use crate::stop::{Stop, cancelled};

/// libssh2's "try again".
const AGAIN: i32 = -37;
/// How soon a wait notices that the run was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// How long the other side may be silent in a call. A disk that spins up or a file system that syncs 32 MiB needs seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection, or what is left of one.
pub(super) struct Link {
    pub(super) session: Session,
    socket: TcpStream,
    /// User and machine, for messages.
    pub(super) place: String,
    /// Ends the waits of the current call.
    pub(super) stop: Stop,
    broken: bool,
}

impl Link {
    pub(super) fn new(session: Session, socket: TcpStream, place: String, stop: Stop) -> Self {
        session.set_blocking(false);
        Self {
            session,
            socket,
            place,
            stop,
            broken: false,
        }
    }

    /// Calls until libssh2 has an answer.
    ///
    /// # Errors
    /// The outer one if the wait was given up; the inner one is libssh2's.
    pub(super) fn call<T>(
        &mut self,
        mut call: impl FnMut(&mut Session) -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>, Error> {
        self.check()?;
        let mut since = Instant::now();
        loop {
            match call(&mut self.session) {
                Err(error) if error.code() == ErrorCode::Session(AGAIN) => self.wait(&mut since)?,
                answer => return Ok(answer),
            }
        }
    }

    /// The same for reading and writing.
    ///
    /// # Errors
    /// `Cancelled`, or `Unavailable` if the connection broke.
    pub(super) fn transfer<T>(&mut self, mut call: impl FnMut() -> io::Result<T>) -> Result<T, Error> {
        self.check()?;
        let mut since = Instant::now();
        loop {
            match call() {
                Ok(value) => return Ok(value),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(&mut since)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    /// Says that the connection can't be used any more, and why.
    pub(super) fn lost(&mut self, why: &str) -> Error {
        self.broken = true;
        let message = format!("the connection to {} broke: {why}", self.place);
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Tells whether the connection was given up.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn check(&self) -> Result<(), Error> {
        if self.broken {
            let message = format!("the connection to {} is broken", self.place);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// Waits for the socket, a short while at a time.
    fn wait(&mut self, since: &mut Instant) -> Result<(), Error> {
        if self.stop.is_raised() {
            self.broken = true;
            return Err(cancelled());
        }
        if since.elapsed() > SILENCE {
            return Err(self.lost(&format!("no answer for {} s", SILENCE.as_secs())));
        }
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
        };
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), flags)];
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: CANCEL_POLL.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut fds, Some(&pause)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => {
                *since = Instant::now();
                Ok(())
            }
            Err(errno) => Err(self.lost(&errno.to_string())),
        }
    }
}
