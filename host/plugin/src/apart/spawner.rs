//! The thread that starts the processes of guests.
//!
//! A process whose parent is gone is to end, also in the middle of a loop. The kernel sees to that, but the parent that it
//! means is the thread that started it, and the threads of a run come and go while its instances stay.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

type Order = (Command, SyncSender<io::Result<Child>>);

/// Starts processes that live as long as this, at most.
#[derive(Debug)]
pub(crate) struct Spawner(SyncSender<Order>);

impl Spawner {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    /// If there can't be another thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("freezer-workers".to_owned())
            .spawn(move || work(&inbox))?;
        Ok(Self(orders))
    }

    /// Starts a process.
    ///
    /// # Errors
    /// Why it can't be started.
    pub(super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes is gone");
        let (answer, inbox) = mpsc::sync_channel(1);
        self.0.send((command, answer)).map_err(|_| gone())?;
        inbox.recv().map_err(|_| gone())?
    }
}

fn work(orders: &Receiver<Order>) {
    for (mut command, answer) in orders {
        if answer.send(command.spawn()).is_err() {
            tracing::debug!("nobody waits for the process of a plugin");
        }
    }
}
