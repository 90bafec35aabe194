//! Turns of a conversation: what the client says until the server speaks, and what the server says until the client does.
//!
//! They need no knowledge of the protocol, so they are counted where it is encrypted too: over all connections of a proxy, from 0.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Break, Direction};

/// Where in a turn something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the server hears anything of it.
    Request,
    /// In the middle of what the client says first.
    InRequest,
    /// After the server answered, before the client hears anything of it.
    Answer,
    /// In the middle of what the server says first.
    InAnswer,
}

impl Point {
    fn direction(self) -> Direction {
        match self {
            Self::Request | Self::InRequest => Direction::Up,
            Self::Answer | Self::InAnswer => Direction::Down,
        }
    }

    /// After how many bytes of the piece that comes first.
    fn offset(self, length: u64) -> u64 {
        match self {
            Self::Request | Self::Answer => 0,
            Self::InRequest | Self::InAnswer => length / 2,
        }
    }
}

/// One break of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtTurn {
    /// The turn's number.
    pub turn: u64,
    /// Where in it.
    pub point: Point,
    /// What happens then.
    pub event: Break,
}

impl AtTurn {
    /// What happens to the first piece of a direction in a turn, and after how many of its bytes.
    pub(super) fn due(&self, turn: u64, direction: Direction, length: u64) -> Option<(u64, Break)> {
        let hits = self.turn == turn && self.point.direction() == direction;
        hits.then(|| (self.point.offset(length), self.event))
    }
}

/// The turn that a connection is in.
pub(super) struct Turn(Mutex<State>);

struct State {
    number: u64,
    /// Who has spoken in it, by direction.
    spoke: [bool; 2],
}

impl Turn {
    /// A new connection is a turn: some servers speak first.
    pub(super) fn new(turns: &AtomicU64) -> Self {
        Self(Mutex::new(State {
            number: turns.fetch_add(1, Ordering::Relaxed),
            spoke: [false; 2],
        }))
    }

    /// Takes note of a piece; answers the turn's number if it is the first of its direction in that turn.
    pub(super) fn piece(&self, direction: Direction, turns: &AtomicU64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if direction == Direction::Up && state.spoke[Direction::Down as usize] {
            state.number = turns.fetch_add(1, Ordering::Relaxed);
            state.spoke = [false; 2];
        }
        let first = !std::mem::replace(&mut state.spoke[direction as usize], true);
        first.then_some(state.number)
    }
}
