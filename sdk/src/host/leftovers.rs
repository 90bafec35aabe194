//! What would outlive a killed run: announced before it is made, so that `undo` can find it.

use crate::error::Result;
use crate::host::backend::leftovers as backend;

/// Tells of a leftover *before* it is made; durable on return. `undo` (at most 4 KiB, no secrets) is what
/// [`Mode::undo`](crate::mode::Mode::undo) of a fresh instance will be given.
///
/// # Errors
/// `invalid` if a text is too long; `other` if the journal can't be written: then don't make the thing.
pub fn announce(description: &str, undo: &str) -> Result<Leftover> {
    Ok(Leftover(backend::announce(description, undo)?))
}

/// An announced leftover. Dropping it leaves it announced, which is right for anything that may still exist.
#[derive(Debug)]
#[must_use = "a leftover that is never settled is undone at the end of the run"]
pub struct Leftover(u64);

impl Leftover {
    /// Says that it is gone, or is kept on purpose.
    ///
    /// # Errors
    /// `other` if the journal can't be written; may be repeated.
    pub fn settle(&self) -> Result<()> {
        Ok(backend::settle(self.0)?)
    }
}
