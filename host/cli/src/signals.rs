//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends the process at once.
//!
//! The first one only raises the run's cancel token: the run then closes what it opened, aborts its
//! uploads and reports. Nothing of a backup that was stopped counts, so leaving at once is safe as well.
//! SIGPIPE stays ignored, as Rust starts programs: writes to a closed pipe fail and `render` ends quietly.

use std::sync::Arc;
use std::thread::JoinHandle;

use freezer_pipeline::cancel::Cancel;
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
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, "can't watch for signals").because(error.to_string())
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt()).map_err(failed)?,
                signal(SignalKind::terminate()).map_err(failed)?,
            )
        };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listen(interrupt, terminate, &stopped, &cancel)))
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

/// Waits for signals until `stop`.
async fn listen(mut interrupt: Signal, mut terminate: Signal, stop: &Notify, cancel: &Cancel) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stop.notified() => return,
        }
        if cancel.is_cancelled() {
            leave(Exit::Interrupted);
        }
        cancel.cancel();
        render::complain("stopping: finishing what is in the air; press Ctrl-C again to leave at once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_watch_ends_its_thread() {
        let cancel = Cancel::new();
        drop(Signals::watch(cancel.clone()));
        assert!(!cancel.is_cancelled());
    }
}
