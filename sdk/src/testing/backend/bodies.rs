//! Fake `bodies`.

use std::cell::RefCell;

use crate::bindings::imports::freezer::plugin::{bodies::DigestAlgorithm, types::Error};
use crate::testing::body::FakeBody;
use crate::testing::machine::call;

/// Stands for the generated resource.
#[derive(Debug)]
pub struct Body(RefCell<FakeBody>);

impl From<FakeBody> for Body {
    fn from(body: FakeBody) -> Self {
        Body(RefCell::new(body))
    }
}

impl Body {
    /// `bodies.body`, its constructor.
    pub fn new(content: &[u8]) -> Self {
        FakeBody::replayable(content).into()
    }

    /// `body.size`.
    pub fn size(&self) -> Option<u64> {
        self.0.borrow().size()
    }

    /// `body.is-replayable`.
    pub fn is_replayable(&self) -> bool {
        self.0.borrow().is_replayable()
    }

    /// `body.digest`.
    pub fn digest(&self, algorithm: DigestAlgorithm) -> Result<String, Error> {
        call("body.digest", format!("{algorithm:?}"), |_| {
            self.0.borrow().digest(algorithm)
        })
    }

    /// `body.read`.
    pub fn read(&self, max: u32) -> Result<Vec<u8>, Error> {
        call("body.read", max.to_string(), |_| self.0.borrow_mut().read(max))
    }

    /// All bytes, as the host uses them in another call; no call of its own.
    pub(crate) fn drain(&self) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().drain()
    }
}

/// The bytes of an optional body.
pub(super) fn drain(content: Option<&Body>) -> Result<Vec<u8>, Error> {
    content.map_or_else(|| Ok(Vec::new()), Body::drain)
}
