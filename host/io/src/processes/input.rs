//! Feeds a command's standard input, and finds out whether the command read all of it.

use std::io::{Read, Write};
use std::process::ChildStdin;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::process::{Fed, Shared};
use crate::error::Error;

/// How much is handed over at once: what a pipe holds by default.
const PIECE_BYTES: usize = 64 << 10;
/// How often it is asked whether the command has read the rest.
const LOOK: Duration = Duration::from_millis(5);

/// Writes everything and closes the pipe once it has been read: what still lies in a pipe when its reader ends is lost
/// without an error.
pub(super) fn feed(mut source: Box<dyn Read + Send>, mut pipe: ChildStdin, shared: &Shared) -> Fed {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match source.read(&mut piece) {
            Ok(0) => return settle(&pipe, shared),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return break_off(shared, &error),
        };
        if pipe.write_all(&piece[..count]).is_err() {
            return Fed::Unread;
        }
    }
}

/// The input broke: the command must not take what it has for the whole, so it is ended before its input is.
fn break_off(shared: &Shared, error: &std::io::Error) -> Fed {
    shared.kill();
    Fed::Broken(Error::from_io(error))
}

/// Waits until the pipe is empty, or nobody reads it any more.
fn settle(pipe: &ChildStdin, shared: &Shared) -> Fed {
    loop {
        if matches!(rustix::io::ioctl_fionread(pipe), Ok(0)) {
            return Fed::All;
        }
        let mut asked = [PollFd::new(pipe, PollFlags::empty())];
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(LOOK.subsec_nanos()),
        };
        let lost = rustix::event::poll(&mut asked, Some(&moment)).unwrap_or_default() > 0;
        // Asked again: the last bytes may have been read between the two questions.
        if (lost || shared.has_ended()) && !matches!(rustix::io::ioctl_fionread(pipe), Ok(0)) {
            return Fed::Unread;
        }
    }
}
