//! Fake `tcp`.

use std::cell::RefCell;

use super::bodies::Body;
use crate::bindings::imports::freezer::plugin::{tcp::Target, types::Error};
use crate::error::ErrorKind;
use crate::testing::body::FakeBody;
use crate::testing::machine::{Machine, OpenHandle, WitResult, call, fault};
use crate::testing::unanswered;

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Connection {
    /// What the other side has sent and nobody has read.
    pending: RefCell<Vec<u8>>,
    _open: OpenHandle,
}

impl Connection {
    /// `tcp.connection.write`.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        call("tcp.write", bytes.len().to_string(), |machine| {
            self.hear(machine, bytes)
        })
    }

    /// `tcp.connection.read`.
    pub fn read(&self, max: u32) -> Result<Vec<u8>, Error> {
        call("tcp.read", max.to_string(), |_| {
            Ok(self.take(u64::from(max.max(1))).0)
        })
    }

    /// `tcp.connection.send`.
    pub fn send(&self, content: &Body) -> Result<u64, Error> {
        call("tcp.send", "", |machine| {
            let bytes = content.drain()?;
            self.hear(machine, &bytes)?;
            Ok(bytes.len() as u64)
        })
    }

    /// `tcp.connection.receive`.
    pub fn receive(&self, length: Option<u64>) -> Result<Body, Error> {
        call("tcp.receive", "", |_| {
            let (content, whole) = self.take(length.unwrap_or(u64::MAX));
            let short = length.is_some() && !whole;
            let end = short.then(|| fault(ErrorKind::Corrupt, "the connection ended too early"));
            Ok(FakeBody::stream(&content, end).into())
        })
    }

    /// `tcp.connection.shut`.
    pub fn shut(&self) -> Result<(), Error> {
        call("tcp.shut", "", |_| Ok(()))
    }

    fn hear(&self, machine: &Machine, bytes: &[u8]) -> WitResult<()> {
        let mut answer = machine.state().tcp.take().ok_or_else(|| unanswered("tcp"))?;
        let result = answer(bytes);
        machine.state().tcp = Some(answer);
        self.pending.borrow_mut().extend(result?);
        Ok(())
    }

    /// At most that many bytes, and whether there were as many.
    fn take(&self, wanted: u64) -> (Vec<u8>, bool) {
        let mut pending = self.pending.borrow_mut();
        let count = pending.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let rest = pending.split_off(count);
        (std::mem::replace(&mut *pending, rest), count as u64 == wanted)
    }
}

/// `tcp.connect`.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    call(
        "tcp.connect",
        format!("{}:{}", target.host, target.port),
        |machine| {
            Ok(Connection {
                pending: RefCell::default(),
                _open: OpenHandle::new(machine),
            })
        },
    )
}
