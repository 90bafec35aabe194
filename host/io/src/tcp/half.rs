//! One direction of a connection: a call takes it, and puts it back if it went well.

use std::sync::{Mutex, PoisonError};

use super::failure;
use crate::error::{Error, ErrorKind};

/// One direction.
pub(super) struct Half<T>(Mutex<State<T>>);

enum State<T> {
    /// Ready for the next call.
    Here(T),
    /// A call has it, or broke with it.
    Taken,
    /// A stream has it.
    Lent,
    /// Nothing more will be written.
    Ended,
    /// It is closed, and nobody can bring it back.
    Gone,
}

impl<T> Half<T> {
    pub(super) fn new(half: T) -> Self {
        Self(Mutex::new(State::Here(half)))
    }

    /// Takes it for one call.
    ///
    /// # Errors
    /// `Invalid` while a stream has it and after the end; `Unavailable` if it is gone.
    pub(super) fn take(&self, place: &str) -> Result<T, Error> {
        self.replace(place, State::Taken)
    }

    /// Takes it for a stream, which brings it back at its end.
    ///
    /// # Errors
    /// As [`Half::take`].
    pub(super) fn lend(&self, place: &str) -> Result<T, Error> {
        self.replace(place, State::Lent)
    }

    /// Takes it for good; `None` if that was done before.
    ///
    /// # Errors
    /// `Unavailable` if it is gone.
    pub(super) fn end(&self, place: &str) -> Result<Option<T>, Error> {
        if matches!(*self.state(), State::Ended) {
            return Ok(None);
        }
        self.replace(place, State::Ended).map(Some)
    }

    /// Brings it back, unless the connection was closed meanwhile.
    pub(super) fn give(&self, half: T) {
        let mut state = self.state();
        if matches!(*state, State::Taken | State::Lent) {
            *state = State::Here(half);
        }
    }

    /// Drops it, wherever it is.
    pub(super) fn discard(&self) {
        *self.state() = State::Gone;
    }

    fn replace(&self, place: &str, next: State<T>) -> Result<T, Error> {
        let mut state = self.state();
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("{place}: {why}")));
        match std::mem::replace(&mut *state, next) {
            State::Here(half) => Ok(half),
            State::Lent => {
                *state = State::Lent;
                invalid("a stream of this connection isn't used up")
            }
            State::Ended => {
                *state = State::Ended;
                invalid("nothing can be written after the end")
            }
            gone @ (State::Taken | State::Gone) => {
                *state = gone;
                Err(failure::unavailable(place, "the connection was closed before"))
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
