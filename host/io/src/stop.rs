//! How long work asks whether it should stop: a question that callers answer, since who cancels is not this crate's matter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How soon waiting work notices that it should stop.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Answers whether the work should stop now. Clones ask the same.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Stop {
    /// Work that stops once `asked` answers true.
    pub fn when(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(asked))
    }

    /// Work that nobody stops.
    #[must_use]
    pub fn never() -> Self {
        Self::when(|| false)
    }

    /// Tells whether the work should stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        (self.0)()
    }

    /// Fails once the work should stop.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_raised() {
            Err(cancelled())
        } else {
            Ok(())
        }
    }

    /// Waits until the work should stop.
    pub async fn raised(&self) {
        while !self.is_raised() {
            tokio::time::sleep(POLL).await;
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Stop({})", self.is_raised())
    }
}

/// What stopped work answers.
#[must_use]
pub fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the run was cancelled")
}
