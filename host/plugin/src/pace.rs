//! How fast a plugin may have the host make requests: those that come too fast wait.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of its pace a plugin may have in advance: after a pause it may make a second's requests at once.
const IN_ADVANCE: Duration = Duration::from_secs(1);

/// The pace of one opened plugin, which all its instances share.
pub(crate) struct Pace {
    /// Between two requests.
    interval: Duration,
    /// When all requests until now would have been made, one interval apart.
    spent: Mutex<Instant>,
}

impl Pace {
    /// A pace of so many requests a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            spent: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request that is made now, and answers how long it has to wait.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*spent).max(now);
        *spent = begin + self.interval;
        begin
            .duration_since(now)
            .saturating_sub(IN_ADVANCE - self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_requests_pass_and_the_next_ones_wait_in_turn() {
        let pace = Pace::new(4);
        let begun = Instant::now();
        let waits: Vec<u128> = (0..6).map(|_| pace.wait(begun).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500]);
        let rested = begun + Duration::from_secs(60);
        assert!(pace.wait(rested).is_zero());
        assert!((0..3).all(|_| pace.wait(rested).is_zero()) && !pace.wait(rested).is_zero());
    }

    #[test]
    fn a_pace_of_nothing_is_one_a_second() {
        let pace = Pace::new(0);
        let begun = Instant::now();
        assert_eq!(
            [pace.wait(begun), pace.wait(begun)],
            [Duration::ZERO, Duration::from_secs(1)]
        );
    }
}
