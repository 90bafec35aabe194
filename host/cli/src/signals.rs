//! Ctrl-C, SIGTERM and SIGHUP (the terminal is gone): the first asks the run to stop, the second ends the process at once.
//!
//! The first one only raises the run's cancel token: the run then closes what it opened, aborts its
//! uploads and reports. Nothing of a backup that was stopped counts, so leaving at once is safe as well.
//! SIGPIPE stays ignored, as Rust starts programs: writes to a closed pipe fail and `render` ends quietly.

use std::sync::Arc;
use std::thread::JoinHandle;

use freezer_pipeline::cancel::Cancel;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::exit::{Exit, Failure, leave};
use crate::render;

/// Watches for signals until it is dropped.
pub(crate) struct Signals {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Starts to watch: from here on a first Ctrl-C no longer ends the process.
    ///
    /// # Errors
    /// When the system refuses a handler or a thread.
    pub(crate) fn watch(cancel: Cancel) -> Result<Signals, Failure> {
        Signals::start(Asked {
            cancel,
            at_once: None,
        })
    }

    /// Watches while a command of the user runs: the first signal asks it to stop, the second kills it, and only a third
    /// leaves it behind.
    ///
    /// # Errors
    /// As [`Signals::watch`].
    pub(crate) fn watch_command(cancel: Cancel, at_once: Cancel) -> Result<Signals, Failure> {
        Signals::start(Asked {
            cancel,
            at_once: Some(at_once),
        })
    }

    fn start(asked: Asked) -> Result<Signals, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, "can't watch for signals").because(error.to_string())
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let mut watched = Watched {
            interrupt: hear(&runtime, SignalKind::interrupt()).map_err(failed)?,
            terminate: hear(&runtime, SignalKind::terminate()).map_err(failed)?,
            hang_up: hear(&runtime, SignalKind::hangup()).map_err(failed)?,
        };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listen(&mut watched, &stopped, &asked)))
            .map_err(failed)?;
        Ok(Signals {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by its hook.
            drop(thread.join());
        }
    }
}

/// The signals that ask to stop.
struct Watched {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// Who is told.
struct Asked {
    cancel: Cancel,
    at_once: Option<Cancel>,
}

impl Asked {
    /// Takes up one signal.
    fn take(&self) {
        match (self.cancel.is_raised(), &self.at_once) {
            (false, None) => {
                self.cancel.cancel();
                render::complain(
                    "stopping: finishing what is in the air; press Ctrl-C again to leave at once",
                );
            }
            (false, Some(_)) => {
                self.cancel.cancel();
                render::complain("stopping the command; press Ctrl-C again to kill it");
            }
            (true, Some(at_once)) if !at_once.is_raised() => at_once.cancel(),
            // Also while the run cleans up: who asks twice wants out.
            (true, _) => leave(Exit::Interrupted),
        }
    }
}

/// Begins to hear a signal.
fn hear(runtime: &Runtime, kind: SignalKind) -> std::io::Result<Signal> {
    let _inside = runtime.enter();
    signal(kind)
}

/// Waits for signals until `stop`.
async fn listen(watched: &mut Watched, stop: &Notify, asked: &Asked) {
    loop {
        tokio::select! {
            _ = watched.interrupt.recv() => {}
            _ = watched.terminate.recv() => {}
            _ = watched.hang_up.recv() => {}
            () = stop.notified() => return,
        }
        asked.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_asked_first_and_killed_then() {
        let asked = Asked {
            cancel: Cancel::new(),
            at_once: Some(Cancel::new()),
        };
        asked.take();
        let at_once = asked.at_once.as_ref().is_some_and(Cancel::is_raised);
        assert_eq!((asked.cancel.is_raised(), at_once), (true, false));
        asked.take();
        assert!(asked.at_once.as_ref().is_some_and(Cancel::is_raised));
    }

    #[test]
    fn dropping_the_watch_ends_its_thread() {
        let cancel = Cancel::new();
        drop(Signals::watch(cancel.clone()));
        assert!(!cancel.is_raised());
    }
}
