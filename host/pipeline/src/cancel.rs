//! The token by which a run is asked to stop: made once, passed down explicitly, polled between pieces of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Says that a run was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A flag that can only be raised. Clones share it.
///
/// Who cleans up holds a [`Masked`]: until it is dropped nobody sees the flag, so that what removes the traces of a
/// stopped run isn't stopped itself.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    raised: AtomicBool,
    masks: AtomicUsize,
}

/// Hides a raised flag until it is dropped.
#[derive(Debug)]
#[must_use = "the flag is hidden only as long as this lives"]
pub struct Masked(Cancel);

impl Drop for Masked {
    fn drop(&mut self) {
        self.0.0.masks.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Cancel {
    /// Makes a token that nobody has raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every holder to stop; asking again changes nothing.
    pub fn cancel(&self) {
        self.0.raised.store(true, Ordering::Release);
    }

    /// Tells whether the work should stop: somebody asked for it, and nobody cleans up.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_raised() && self.0.masks.load(Ordering::Acquire) == 0
    }

    /// Tells whether somebody asked to stop, whatever is done at the moment.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Hides the flag from all holders, for steps that must not be cut short: cleaning up, the last writes.
    pub fn mask(&self) -> Masked {
        self.0.masks.fetch_add(1, Ordering::AcqRel);
        Masked(self.clone())
    }

    /// Answers an error once somebody asked to stop, so that `?` ends the work.
    ///
    /// # Errors
    /// [`Cancelled`] after `cancel` was called.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_sees_the_cancellation() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert_eq!(clone.check(), Ok(()));
        cancel.cancel();
        assert_eq!(clone.check(), Err(Cancelled));
    }

    #[test]
    fn a_mask_hides_the_flag_until_it_is_dropped() {
        let cancel = Cancel::new();
        cancel.cancel();
        let outer = cancel.mask();
        drop(cancel.clone().mask());
        assert!(!cancel.is_cancelled() && cancel.is_raised());
        drop(outer);
        assert!(cancel.is_cancelled());
    }
}
